"""photomend pair"""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.dataset_options import dataset_options, exit_code, size_options, tell
from pipelines.cli.terminal import PATH, Progress


@click.command("pair", short_help="Make a dataset from two folders that hold both sides already.")
@click.argument("a_dir", type=PATH)
@click.argument("b_dir", type=PATH)
@click.argument("dataset", type=PATH)
@click.option("--resize", is_flag=True, help="Bring images of another size to S × S; without it they are rejected.")
@size_options
@dataset_options
def command(
    a_dir: Path,
    b_dir: Path,
    dataset: Path,
    resize: bool,
    size: int,
    split: str,
    group_by: str | None,
    seed: int,
    workers: int | None,
    time_limit: float,
    fresh: bool,
    license: str | None,
    as_json: bool,
) -> int:
    """Make DATASET from the inputs in A_DIR and the originals in B_DIR.

    Files belong together when their relative paths without suffix are equal (x/1.png and x/1.jpg). A file without a
    partner, with several, or of another size is a row of DATASET/manifest.jsonl with its reason.

    Exit code 0: every photo was read. 3: the dataset is made, and some photos failed, each a row with its reason.
    """
    from dataset_tools.pair import PairRecipe, pair_dataset

    recipe = PairRecipe(size, resize, seed, group_by, split)
    report = pair_dataset(
        a_dir,
        b_dir,
        dataset,
        recipe,
        fresh=fresh,
        license=license,
        workers=workers,
        time_limit=time_limit,
        progress=Progress("pairing", "pairs"),
    )
    tell(report, as_json)
    return exit_code(report)

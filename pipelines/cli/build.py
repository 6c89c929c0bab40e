"""photomend build"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipelines.cli.dataset_options import (
    chosen_degradations,
    crop_options,
    dataset_options,
    degrade_options,
    exit_code,
    tell,
    tell_unused,
)
from pipelines.cli.terminal import PATH, Progress


@click.command("build", short_help="Make a dataset of pairs from an archive of photos.")
@click.argument("archives", metavar="ARCHIVE...", nargs=-1, type=PATH)
@click.argument("dataset", type=PATH)
@crop_options
@degrade_options
@click.option(
    "--dedupe",
    is_flag=True,
    help="Of photos that are duplicates of one another keep only the best: the one of most pixels, of "
    "equals the one of most bytes.",
)
@click.option(
    "--format",
    type=click.Choice(["folder", "webdataset"]),
    default="folder",
    show_default=True,
    help="How the pairs are stored: one PNG each, or in tar shards that the webdataset library reads.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where the work is done: processes of this machine, or a Ray cluster (RAY_ADDRESS, else one of its own).",
)
@dataset_options
def command(
    archives: tuple[Path, ...],
    dataset: Path,
    degrade: tuple[str, ...],
    recipe_file: str | None,
    license: str | None,
    engine: str,
    workers: int | None,
    time_limit: float,
    fresh: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Make DATASET, a folder of pairs (degraded | original), from the photos in the folders ARCHIVE...

    Every photo and every face becomes a row of DATASET/manifest.jsonl, kept or with the reason why not; DATASET/report.html
    shows them. Stopped at any moment, the same command goes on where it was; with new photos in the archive it adds them. A
    dataset stays with one archive or with several, whose folders' names stand before those of the photos.

    Exit code 0: every photo was read. 3: the dataset is made, and some photos failed, each a row with its reason.

    \b
    photomend build photos/ faces/
    photomend build photos/ old/ --recipe old-photo --align --search thorough
    photomend build photos/ gray/ --crop tiles --degrade grayscale --group-by folder
    """
    from dataset_tools.build import build_dataset
    from dataset_tools.recipe import Recipe

    if not archives:
        raise click.UsageError("one folder was given; give the folder of the photos and the one for the dataset")
    tell_unused(options)
    recipe = Recipe(degrade=chosen_degradations(degrade, recipe_file), **options)
    report = build_dataset(
        archives, dataset, recipe, fresh=fresh, license=license, workers=workers, time_limit=time_limit, engine=engine,
        progress=Progress("building", "photos"),
    )  # fmt: skip
    tell(report, as_json)
    return exit_code(report)

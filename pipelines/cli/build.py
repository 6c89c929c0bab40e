"""photomend build"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipelines.cli.dataset_options import crop_options, dataset_options, degrade_options, exit_code, tell
from pipelines.cli.terminal import Progress


@click.command("build", short_help="Make a dataset of pairs from an archive of photos.")
@click.argument("archives", metavar="ARCHIVE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("dataset", type=click.Path(path_type=Path))
@crop_options
@degrade_options
@click.option("--dedupe", is_flag=True, help="Of photos that are duplicates of one another keep only the best.")
@click.option(
    "--format",
    type=click.Choice(["folder", "webdataset"]),
    default="folder",
    show_default=True,
    help="How the pairs are stored: one PNG each, or in tar shards that the webdataset library reads.",
)
@click.option("--license", default=None, metavar="NAME", help="Licence of the photos, for the dataset's card, such as cc0-1.0.")
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
    shows them. Stopped at any moment, the same command goes on where it was; with new photos in the archive it adds them.

    \b
    photomend build photos/ faces/
    photomend build photos/ old/ --recipe old-photo --align --search thorough
    photomend build photos/ gray/ --crop tiles --degrade grayscale --group-by folder
    """
    from dataset_tools.build import build_dataset
    from dataset_tools.recipe import Recipe
    from pipelines.cli.dataset_options import chosen_degradations

    recipe = Recipe(degrade=chosen_degradations(degrade, recipe_file), **options)
    report = build_dataset(
        archives, dataset, recipe, fresh=fresh, license=license, workers=workers, time_limit=time_limit, engine=engine,
        progress=Progress("building", "photos"),
    )  # fmt: skip
    tell(report, as_json)
    return exit_code(report)

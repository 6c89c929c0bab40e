"""photomend build"""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.dataset_options import dataset_options, exit_code, tell
from pipelines.cli.terminal import Progress


@click.command("build", short_help="Make a dataset of pairs from an archive of photos.")
@click.argument("archives", metavar="ARCHIVE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--crop",
    type=click.Choice(["faces", "center", "tiles"]),
    default="faces",
    show_default=True,
    help="What a pair shows: each face, the photo's middle, or several random squares of it.",
)
@click.option(
    "--tiles", default=4, show_default=True, type=click.IntRange(1, 1000), help="Random squares a photo, with --crop tiles."
)
@click.option(
    "--degrade",
    multiple=True,
    default=("mosaic:block=16",),
    show_default=True,
    metavar="NAME[:OPTION=VALUE,...]",
    help="What is done to the original to make the input; repeatable, applied in order. mosaic (block=16 or 8..24, "
    "phase=0|random), grayscale.",
)
@click.option(
    "--margin",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0, 4),
    help="Room around a face, as a share of its box, on each side.",
)
@click.option(
    "--padding",
    type=click.Choice(["clamp", "replicate", "reflect"]),
    default="clamp",
    show_default=True,
    help="A crop that would leave the photo: move it inside, or make up what is outside.",
)
@click.option(
    "--max-enlarge",
    default=1.25,
    show_default=True,
    type=click.FloatRange(0.01, 100),
    metavar="TIMES",
    help="Reject a crop as too_small that would have to be enlarged more than this.",
)
@click.option(
    "--detector",
    type=click.Choice(["full", "short"]),
    default="full",
    show_default=True,
    help="MediaPipe's full-range or short-range face detector.",
)
@click.option("--confidence", default=0.5, show_default=True, type=click.FloatRange(0, 1), help="Least score of a face.")
@dataset_options
def command(
    archives: tuple[Path, ...],
    dataset: Path,
    crop: str,
    tiles: int,
    degrade: tuple[str, ...],
    margin: float,
    padding: str,
    max_enlarge: float,
    detector: str,
    confidence: float,
    size: int,
    split: str,
    group_by: str | None,
    seed: int,
    workers: int | None,
    fresh: bool,
    as_json: bool,
) -> int:
    """Make DATASET, a folder of pairs (degraded | original), from the photos in the folders ARCHIVE...

    Every photo and every face becomes a row of DATASET/manifest.jsonl, kept or with the reason why not. Stopped at any
    moment, the same command goes on where it was; with new photos in the archive it adds them.

    \b
    photomend build photos/ faces/
    photomend build photos/ gray/ --crop tiles --degrade grayscale --group-by folder
    """
    from dataset_tools.build import build_dataset
    from dataset_tools.staging import Recipe

    recipe = Recipe(size, crop, tiles, margin, padding, max_enlarge, detector, confidence, degrade, seed, group_by, split)
    report = build_dataset(archives, dataset, recipe, workers=workers, fresh=fresh, progress=Progress("building", "photos"))
    tell(report, as_json)
    return exit_code(report)

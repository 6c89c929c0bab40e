"""photomend preview"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipelines.cli.dataset_options import chosen_degradations, crop_options, degrade_options


@click.command("preview", short_help="Draw a sheet of a few photos as a build would treat them.")
@click.argument("archives", metavar="ARCHIVE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", default="preview.png", show_default=True, type=click.Path(path_type=Path), help="The sheet, a PNG.")
@click.option("--photos", default=6, show_default=True, type=click.IntRange(1, 100), help="How many; --seed draws which.")
@crop_options
@degrade_options
def command(
    archives: tuple[Path, ...], output: Path, photos: int, degrade: tuple[str, ...], recipe_file: str | None, **options: Any
) -> None:
    """Show what the options would make of a few photos of ARCHIVE... without building anything.

    Each line of the sheet holds the photo with the windows of its crops (green: kept, orange: rejected), the input A and the
    original B.

    \b
    photomend preview photos/ --recipe old-photo --align
    """
    from dataset_tools.preview import write_preview
    from dataset_tools.recipe import Recipe

    rows = write_preview(archives, output, Recipe(degrade=chosen_degradations(degrade, recipe_file), **options), photos)
    kept = sum(row["kind"] != "photo" and row["status"] == "kept" for row in rows)
    crops = sum(row["kind"] != "photo" for row in rows)
    click.echo(f"{output}: {len(rows) - crops} photos, {kept} of {crops} crops would be kept")

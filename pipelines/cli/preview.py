"""photomend preview"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from pipelines.cli.dataset_options import chosen_degradations, crop_options, degrade_options, several, tell_unused
from pipelines.cli.terminal import PATH


@click.command("preview", short_help="Draw a sheet of a few photos as a build would treat them.")
@click.argument("archives", metavar="ARCHIVE...", nargs=-1, required=True, type=PATH)
@click.option("--output", default="preview.png", show_default=True, type=PATH, help="The sheet, a PNG.")
@click.option("--photos", default=6, show_default=True, type=click.IntRange(1, 100), help="How many; --seed draws which.")
@crop_options
@degrade_options
def command(
    archives: tuple[Path, ...], output: Path, photos: int, degrade: tuple[str, ...], recipe_file: str | None, **options: Any
) -> None:
    """Show what the options would make of a few photos of ARCHIVE... without building anything.

    Each line of the sheet holds the photo with the windows of its crops (green: kept, orange: rejected), the input A and the
    original B. Photos that give pairs are preferred; the reasons of the others are counted.

    \b
    photomend preview photos/ --recipe old-photo --align
    """
    from dataset_tools.image_io import printable
    from dataset_tools.preview import write_preview
    from dataset_tools.recipe import Recipe

    tell_unused(options)
    seen = write_preview(archives, output, Recipe(degrade=chosen_degradations(degrade, recipe_file), **options), photos)
    kept, made = (
        Counter(row["status"] == "kept" for row in seen.rows if (row["kind"] == "photo") is photo) for photo in (True, False)
    )
    for number, name in enumerate(seen.shown, 1):
        click.echo(f"{number}. {printable(name)}")
    click.echo(f"{output}: shows {len(seen.shown)} of {several(kept.total(), 'photo')} looked at; "
               f"{kept[True]} would give pairs, {made[True]} of {several(made.total(), 'crop')} would be kept")  # fmt: skip
    for (kind, word), number in sorted(Counter((row["kind"], row["reason"]) for row in seen.rows if row["reason"]).items()):
        click.echo(f"  {kind} {word}: {number}")

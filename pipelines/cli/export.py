"""photomend export"""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.terminal import PATH
from pipelines.export_formats import FORMATS

WEB = "web"


@click.command("export", short_help="Write a model as a file, or as a web page, to give away.")
@click.argument("models", metavar="MODEL...", nargs=-1)
@click.argument("output", type=PATH)
@click.option(
    "--format",
    type=click.Choice([*FORMATS, WEB]),
    default="onnx",
    show_default=True,
    help="What OUTPUT becomes. "
    + " ".join(f"{name}: {each.about}." for name, each in FORMATS.items())
    + f" {WEB}: a folder OUTPUT for any web server, a page that restores in the browser, with one MODEL or several.",
)
@click.option(
    "--float16",
    is_flag=True,
    help=f"Store the weights in half the bytes ({', '.join(name for name, each in FORMATS.items() if each.half)}, {WEB}).",
)
@click.option("--license", metavar="NAME", default=None, help="Of the weights, for the model's card, such as cc0-1.0.")
def command(models: tuple[str, ...], output: Path, format: str, float16: bool, license: str | None) -> None:
    """Write MODEL (a run folder, a model file, or mosaic or colorize, which ship) as OUTPUT, which must not exist yet.

    The photos that ship, degraded as the model learned, go through both, pixels in and pixels out: a value that is off by more
    than one grey level, and nothing is written. The model's card (its task, size, figures and licence) goes inside.

    \b
    photomend export runs/mend mine.onnx --float16 --license cc-by-4.0
    photomend export runs/mend mine.tflite --format litert --float16
    photomend export runs/mend mine --format savedmodel
    photomend export runs/mend runs/gray site --format web --float16
    """
    if not models:
        raise click.UsageError("one path was given; give the model, and what is to become of it")
    from pipelines.export import export_model, export_site

    if format == WEB:
        click.echo(export_site(models, output, float16=float16, license=license).line())
        return
    if len(models) > 1:
        raise click.UsageError(f"--format {format} takes one MODEL, and {len(models)} were given")
    click.echo(export_model(models[0], output, format=format, float16=float16, license=license).line())

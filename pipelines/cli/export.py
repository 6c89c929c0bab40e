"""photomend export"""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.terminal import PATH


@click.command("export", short_help="Write a model as a file to give away.")
@click.argument("model")
@click.argument("output", metavar="OUTPUT.onnx", type=PATH)
@click.option("--float16", is_flag=True, help="Store the weights in half the bytes.")
@click.option("--license", metavar="NAME", default=None, help="Of the weights, for the model's card, such as cc0-1.0.")
def command(model: str, output: Path, float16: bool, license: str | None) -> None:
    """Write MODEL, a run folder or a model file, as the file OUTPUT.onnx.

    What it restores of the photos that ship is compared with what MODEL does: a value that is off by more than one grey level,
    and nothing is written.

    photomend export runs/mend mine.onnx --float16 --license cc-by-4.0
    """
    from pipelines.export import export_model

    click.echo(export_model(model, output, float16=float16, license=license).line())

"""photomend evaluate"""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.terminal import PATH, Progress, emit_json


@click.command("evaluate", short_help="Measure a model on a dataset, beside doing nothing.")
@click.argument("model")
@click.argument("dataset", type=PATH)
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True, help="Which pairs.")
@click.option(
    "--direction",
    type=click.Choice(["AtoB", "BtoA"]),
    default=None,
    help="Of classic datasets: which half is the input.  [default: the one that the model learned from]",
)
@click.option("--csv", type=PATH, default=None, metavar="FILE", help="Write the figures of every image here.")
@click.option("--sheet", type=PATH, default=None, metavar="FILE.png", help="Write a contact sheet here.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout.")
def command(
    model: str, dataset: Path, split: str, direction: str | None, csv: Path | None, sheet: Path | None, as_json: bool
) -> int:
    """Restore the pairs of a split of DATASET with MODEL and print PSNR, SSIM and L1 beside the trivial baselines.

    input is the degraded image as it is; bicubic, for a mosaic, is the bicubic enlargement of its cell means. A model that
    does not beat them is worth less than doing nothing.
    """
    from pipelines.evaluate import evaluate_model

    result = evaluate_model(model, dataset, split=split, direction=direction, csv=csv, sheet=sheet,
                            progress=Progress("evaluating", "images"))  # fmt: skip
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(result.table())
    if as_json:
        emit_json(result.summary())
    return 0

"""photomend evaluate"""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.terminal import PATH, Progress, emit_json, engine_option


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
@click.option("--worst", type=PATH, default=None, metavar="FILE.png", help="Write a sheet of the images restored worst here.")
@click.option("--best", type=PATH, default=None, metavar="FILE.png", help="Write a sheet of the images restored best here.")
@click.option(
    "--by",
    default=None,
    metavar="METRIC",
    help="What worst and best mean: psnr, ssim, l1 or delta_e.  [default: psnr, for colours delta_e]",
)
@click.option(
    "--identity", is_flag=True, help="Measure how far faces are from the originals', too (an extra: photomend[identity])."
)
@click.option("--detected", is_flag=True, help="Measure in how many of the faces a detector finds one, too.")
@click.option(
    "--per",
    default=None,
    metavar="RULE",
    help="Tell the figures of groups apart: 'folder' (the parent folder), or a regular expression on the photos' names.",
)
@click.option(
    "--sweep",
    default=None,
    metavar="STEP",
    help="Degrade the originals anew with each value of an option, such as "
    "mosaic:block=4,8,16,32, and print the figures for each.",
)
@click.option("--plot", type=PATH, default=None, metavar="FILE.png", help="With --sweep: draw quality against the values here.")
@engine_option
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout.")
def command(
    model: str, dataset: Path, split: str, direction: str | None, csv: Path | None, sheet: Path | None, worst: Path | None,
    best: Path | None, by: str | None, identity: bool, detected: bool, per: str | None,
    sweep: str | None, plot: Path | None, engine: str, as_json: bool,
) -> int:  # fmt: skip
    """Restore the pairs of a split of DATASET with MODEL and print PSNR, SSIM and L1 beside the trivial baselines.

    MODEL is mosaic or colorize, which ship, a run folder, or an .onnx file of photomend.

    input is the degraded image as it is; bicubic, for a mosaic, is the bicubic enlargement of its cell means. A model that
    does not beat them is worth less than doing nothing.
    """
    if sweep and (csv or sheet or worst or best or by or identity or detected or per):
        raise click.UsageError("--sweep goes with --plot, --split, --engine and --json alone")
    if sweep:
        return _sweep(model, dataset, sweep, split, engine, plot, as_json)
    if plot:
        raise click.UsageError("--plot goes with --sweep")
    from pipelines.evaluate import evaluate_model

    result = evaluate_model(model, dataset, split=split, direction=direction, csv=csv, sheet=sheet, worst=worst, best=best, by=by,
                            identity=identity, detected=detected, per=per, engine=engine,
                            progress=Progress("evaluating", "images"))  # fmt: skip
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(result.table())
    if as_json:
        emit_json(result.summary())
    return 0


def _sweep(model: str, dataset: Path, sweep: str, split: str, engine: str, plot: Path | None, as_json: bool) -> int:
    from dataset_tools import image_io
    from pipelines.evaluate import check_outputs
    from pipelines.sweep import sweep_model

    check_outputs(dataset, {"--plot": plot})
    found = sweep_model(model, dataset, sweep, split=split, engine=engine, progress=Progress("evaluating", "images"))
    for line in found.lines():
        click.echo(line)
    if plot:
        image_io.write(plot, found.plot(), "PNG")
    if as_json:
        emit_json(found.summary())
    return 0

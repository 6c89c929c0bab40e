"""photomend restore"""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.terminal import PATH, Progress, emit_json, engine_option


@click.command("restore", short_help="Restore photos with a trained model.")
@click.argument("model")
@click.argument("inputs", metavar="INPUT...", nargs=-1, type=PATH)
@click.argument("output", type=PATH)
@click.option(
    "--input",
    "input_kind",
    type=click.Choice(["photo", "crop", "pair"]),
    default=None,
    help="What the files show. photo (the default): a whole photo; MODEL knows what is restored in it: the mosaicked regions, "
    "its colours, or all of it. crop: one face crop. pair: A|B side by side; A is restored, B is compared with. The files of a "
    "dataset are known to be pairs; those of one in tar shards cannot be restored (photomend evaluate reads them).",
)
@click.option(
    "--direction",
    type=click.Choice(["AtoB", "BtoA"]),
    default="AtoB",
    show_default=True,
    help="Of pairs: which half is the input.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    default="test",
    show_default=True,
    help="What of a dataset is restored, where INPUT is its folder.",
)
@click.option(
    "--strength", type=float, default=1.0, show_default=True, help="Of photos: how much of what was restored shows, above 0 to 1."
)
@click.option("--largest", type=int, default=None, help="Of photos: at most so many regions in each, the largest ones.")
@click.option("--min-face", type=int, default=0, show_default=True, help="Of photos: leave smaller regions alone, in pixels.")
@click.option(
    "--gps/--no-gps", default=True, show_default=True, help="Keep the location that a photo tells, as coordinates or in words."
)
@click.option(
    "--format",
    type=click.Choice(["jpeg", "png", "webp", "tiff"]),
    default=None,
    help="Of what is restored; by default each photo keeps its own.",
)
@click.option("--mask", is_flag=True, help="Write NAME.mask.png beside each photo: white is invented.")
@click.option("--label", is_flag=True, help="Draw a small visible note on what was restored.")
@click.option(
    "--manifest",
    type=PATH,
    default=None,
    metavar="DATASET",
    help="A dataset built of these photos: its crops are what a model that learned from faces restores, not the faces found.",
)
@engine_option
@click.option("--time-limit", type=float, default=None, help="Seconds for one photo; 1800 by default. Not with --workers 0.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--workers", type=click.IntRange(0), default=None, help="Processes; by default one a core. 0: none but this.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout.")
def command(
    model: str, inputs: tuple[Path, ...], output: Path, input_kind: str | None, direction: str, split: str, strength: float,
    largest: int | None, min_face: int, gps: bool, format: str | None, mask: bool, label: bool, manifest: Path | None,
    engine: str, time_limit: float | None, dry_run: bool, workers: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Restore the files and folders INPUT... with MODEL into the folder OUTPUT.

    MODEL is mosaic or colorize, which ship, a run folder, or an .onnx file of photomend. Folders are mirrored below OUTPUT;
    names, sizes and formats are kept, and no input is ever written to. The same command goes on where it was stopped, and does
    again only what has changed. OUTPUT also gets report.html, report.json, report.csv, sheet.png, and failures.csv where a file
    could not be restored (exit code 3).

    What comes back is a plausible invention of the model, not a record of what was there. Every file says so in its metadata.
    """
    from pipelines.job import Plan, RestoreJob
    from pipelines.whole_photo import Wishes

    if not inputs:
        raise click.UsageError("two paths were given; give the model, the photos, and the folder for what is restored")
    job = RestoreJob(model, inputs, output, input_kind=input_kind, direction=direction, split=split,
                     wishes=Wishes(strength, largest, min_face), gps=gps, format=format.upper() if format else None,
                     mask=mask, label=label, manifest=manifest, engine=engine)  # fmt: skip
    told = job.plan() if dry_run else job.run(workers, time_limit, Progress("restoring", "images"))
    for line in told.lines():
        click.echo(line)
    if as_json:
        emit_json(told.summary())
    return 0 if isinstance(told, Plan) else told.exit_code

"""photomend train"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.terminal import PATH, clock, emit_json
from pix2pix.spec import PRESETS

if TYPE_CHECKING:
    from pix2pix.events import Event

METRICS = ("auto", "psnr", "ssim", "l1", "delta_e")


@click.command("train", short_help="Train a model on a dataset; the same command resumes.")
@click.argument("dataset", type=PATH)
@click.argument("run", type=PATH)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="mend",
    show_default=True,
    help="What is trained. mend: our own, the best. article: the recipe this project began with. "
    "paper: pix2pix as published. tiny: small and quick.",
)
@click.option(
    "--steps", default=None, type=click.IntRange(1), help="Updates in all.  [default: 5000, or what the run was begun with]"
)
@click.option("--batch", default=None, type=click.IntRange(1), metavar="N", help="Pairs a step; the preset's own by default.")
@click.option("--seed", default=0, show_default=True, help="Of the weights, the order and the augmentation.")
@click.option(
    "--from",
    "source",
    default=None,
    metavar="MODEL|RUN",
    help="Start from these weights: of a model file, or of mosaic or colorize, which ship, the generator; of a run folder "
    "both networks.",
)
@click.option(
    "--warmup-d",
    default=None,
    type=click.IntRange(0),
    metavar="STEPS",
    help="First steps in which the discriminator trains alone: 200 with --from a model file, else 0.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "mixed_bfloat16"]),
    default="auto",
    show_default=True,
    help="auto measures what this machine is good at; it is decided once, and the run keeps it.",
)
@click.option(
    "--metric",
    type=click.Choice(METRICS),
    default="auto",
    show_default=True,
    help="The best model is chosen by it. auto: delta_e for colorization, psnr for all else.",
)
@click.option(
    "--patience",
    default=None,
    type=click.IntRange(0),
    metavar="N",
    help="Stop after N validations without a better one; 0 is never.  [default: 0, or what the run was begun with]",
)
@click.option(
    "--ema",
    default=None,
    type=float,
    metavar="DECAY",
    help="Moving average of the generator's weights, which is then what restores; 0 is none. The preset's own by default.",
)
@click.option(
    "--cooldown",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    metavar="STEPS",
    help="The learning rate falls to nothing in so many steps, and the run is over: the last polish, mostly with --from RUN. "
    "0: it stays high, and the run can be made longer.",
)
@click.option(
    "--recalibrate",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="For article and paper: take BatchNorm's statistics anew from N training batches before each validation and export.",
)
@click.option(
    "--direction",
    type=click.Choice(["AtoB", "BtoA"]),
    default="AtoB",
    show_default=True,
    help="BtoA for datasets of other programs that hold the input on the right.",
)
@click.option(
    "--updates",
    type=click.Choice(["fused", "article"]),
    default="fused",
    show_default=True,
    help="fused: both networks in one pass. article: the printed loop, three updates a step.",
)
@click.option("--val-images", default=64, show_default=True, type=click.IntRange(1), help="Validation images, chosen by hash.")
@click.option(
    "--val-every",
    default=None,
    type=click.IntRange(1),
    metavar="STEPS",
    help="Steps between validations.  [default: 250, or what the run was begun with]",
)
@click.option(
    "--checkpoint-every",
    default=None,
    type=click.IntRange(1),
    metavar="STEPS",
    help="Steps between checkpoints.  [default: 250, or what the run was begun with]",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="gpu refuses to train without one; auto takes what there is.",
)
@click.option("--threads", default=None, type=click.IntRange(1), metavar="N", help="Of the processor; all of them by default.")
@click.option(
    "--inexact",
    is_flag=True,
    help="Go on with a run on another machine, number of threads, precision or version: no longer the same bits.",
)
@click.option(
    "--strategy",
    type=click.Choice(["none", "mirrored", "multiworker"]),
    default="none",
    show_default=True,
    help="Several GPUs of this machine, or several machines named in TF_CONFIG (docs/scale.md).",
)
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout.")
def command(dataset: Path, run: Path, source: str | None, as_json: bool, **options: Any) -> int:
    """Train on the train split of DATASET and keep everything in the folder RUN.

    RUN holds checkpoints, the log, sample grids on fixed validation images, a timeline of how the same faces emerged, what
    TensorBoard shows, and model.onnx, the best model so far. Every validation prints its figures beside what doing nothing
    is worth. Stopped at any moment, the same command goes on from the last checkpoint. DATASET may also be a folder of other
    programs with train/, val/ and test/ of A|B images.
    """
    from pix2pix.train import train_model

    teller = Teller()
    report = train_model(dataset, run, source=_source(source), tell=teller, **options)
    teller.end()
    if report.ended == "patience":
        best = report.best["step"] if report.best else 0
        click.echo(f"stopped at step {report.steps}: no better validation since step {best} (--patience)", err=True)
    if report.best and report.best["figures"]:
        figures = report.best["figures"]
        click.echo(f"best at step {report.best['step']}: {figures_line(figures)}")
        for line in verdict(figures, report.best["metric"]):
            click.echo(line)
    if report.model:
        click.echo(f"model: {report.model}")
    if as_json:
        emit_json({"run": str(run), "steps": report.steps, "seconds": round(report.seconds, 3), "figures": report.figures,
                   "best": report.best, "ended": report.ended})  # fmt: skip
    return 0


def _source(given: str | None) -> Path | None:
    """What --from means."""
    if given is None:
        return None
    if not given:
        raise click.UsageError("--from: an empty path was given")
    from pipelines.engines import SHIPPED, resolve_model

    return resolve_model(given) if given in SHIPPED else Path(given)


def verdict(figures: dict[str, dict[str, float]], metric: str) -> list[str]:
    """A line that says so where the best model does not beat what needs no model."""
    from pix2pix.validation import unbeaten

    names = unbeaten(figures, metric)
    return [f"note: by {metric} it does not beat doing without a model ({', '.join(names)}): train longer"] if names else []


def figures_line(figures: dict[str, dict[str, float]]) -> str:
    """ "restored 22.15 dB / 0.658 / 12.30, bicubic …": PSNR, SSIM, L1 in grey levels of each, and what tells about colour."""
    rows = sorted(figures.items(), key=lambda item: item[0] != "restored")
    return ", ".join(f"{name} {_row(values)}" for name, values in rows)


def _row(values: dict[str, float]) -> str:
    text = f"{values['psnr']:.2f} dB / {values['ssim']:.3f} / {values['l1']:.2f}"
    if "delta_e" in values:
        text += f" / ΔE {values['delta_e']:.2f}"
    if "colourfulness" in values:
        text += f" / colourfulness {values['colourfulness']:.1f}"
    return text


class Teller:
    """Prints what train_model tells: one live line on a terminal, else a line every 50 steps; a line for each validation."""

    def __init__(self) -> None:
        self.live = bool(sys.stderr and sys.stderr.isatty())
        self.first, self.batch, self.last = 0, 1, ""
        self.shown = 0.0  # when the live line was last drawn

    def __call__(self, event: Event) -> None:
        if event.kind == "loading":
            click.echo("loading Keras ...", err=True)
        elif event.kind == "start":
            self._start(event)
        elif event.kind in ("note", "alarm"):
            self._say(f"{event.kind}: {event.values['text']}")
        elif event.kind == "validation":
            self.last = _short(dict(event.values))
            self.end()
            click.echo(f"step {event.step}: PSNR / SSIM / L1 of {figures_line(dict(event.values))}")
        else:
            self._step(event)

    def end(self) -> None:
        """Clears the live line, so that the next one starts at the left."""
        if self.live:
            click.echo("\r\033[K", err=True, nl=False)

    def _say(self, text: str) -> None:
        self.end()
        click.echo(text, err=True)

    def _start(self, event: Event) -> None:
        spec, exact = event.values["spec"], event.values["exact"]
        verb = f"going on from step {event.step}" if event.values["resumed"] else "starting"
        self._say(f"{verb} on {exact['device']}, {exact['precision']}: preset {spec.name} at {spec.size}×{spec.size}, "
                  f"batch {spec.batch}, {event.values['pairs']} pairs")  # fmt: skip
        self.first, self.batch = event.step, spec.batch

    def _step(self, event: Event) -> None:
        now, ends = time.monotonic(), event.step == event.steps
        if not (ends or (now - self.shown > 0.2 if self.live else event.step % 50 == 0)):
            return
        self.shown = now
        speed = (event.step - self.first) / max(event.values["seconds"], 1e-6)
        left = clock((event.steps - event.step) / max(speed, 1e-6))
        losses = [f"{name} {value:.4f}" for name, value in event.values.items() if name not in ("seconds", "g_loss")]
        text = f"step {event.step}/{event.steps}, {speed * self.batch:.1f} images/s, {left} left"
        if not self.live:
            click.echo(f"{text}: {' '.join(losses)}", err=True)
            return
        for part in ([f"| {self.last} |"] if self.last else []) + sorted(losses, key=lambda each: not each.startswith("g_l1")):
            if len(text) + 1 + len(part) < _columns():  # whole parts, as many as there is room for
                text += f" {part}"
        click.echo(f"\r{text[: _columns() - 1]}\033[K", err=True, nl=False)


def _short(figures: dict[str, dict[str, float]]) -> str:
    """ "22.15 dB, bicubic 21.37": the last validation beside the best baseline."""
    others = {name: row["psnr"] for name, row in figures.items() if name not in ("restored", "raw")}
    best = max(others, key=lambda name: others[name])
    return f"{figures['restored']['psnr']:.2f} dB, {best} {others[best]:.2f}"


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns

"""photomend train"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.terminal import PATH, clock, emit_json
from pix2pix.spec import PRESETS

if TYPE_CHECKING:
    from pix2pix.train import Event


@click.command("train", short_help="Train a model on a dataset; the same command resumes.")
@click.argument("dataset", type=PATH)
@click.argument("run", type=PATH)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="article",
    show_default=True,
    help="What is trained. article: the recipe this project began with. paper: pix2pix as published. tiny: small and quick.",
)
@click.option("--steps", default=5000, show_default=True, type=click.IntRange(1), help="Updates in all.")
@click.option("--batch", default=None, type=click.IntRange(1), metavar="N", help="Pairs a step; the preset's own by default.")
@click.option("--seed", default=0, show_default=True, help="Of the weights, the order and the augmentation.")
@click.option(
    "--updates",
    type=click.Choice(["fused", "article"]),
    default="fused",
    show_default=True,
    help="fused: both networks in one pass. article: the printed loop, three updates a step.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16"]),
    default="float32",
    show_default=True,
    help="mixed_bfloat16 is about twice as fast where the processor knows it.",
)
@click.option(
    "--direction",
    type=click.Choice(["AtoB", "BtoA"]),
    default="AtoB",
    show_default=True,
    help="BtoA for datasets of other programs that hold the input on the right.",
)
@click.option("--val-images", default=64, show_default=True, type=click.IntRange(1), help="Validation images, chosen by hash.")
@click.option(
    "--val-every", default=250, show_default=True, type=click.IntRange(1), metavar="STEPS", help="Steps between validations."
)
@click.option(
    "--checkpoint-every",
    default=250,
    show_default=True,
    type=click.IntRange(1),
    metavar="STEPS",
    help="Steps between checkpoints.",
)
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout.")
def command(
    dataset: Path,
    run: Path,
    preset: str,
    steps: int,
    batch: int | None,
    seed: int,
    updates: str,
    precision: str,
    direction: str,
    val_images: int,
    val_every: int,
    checkpoint_every: int,
    as_json: bool,
) -> int:
    """Train on the train split of DATASET and keep everything in the folder RUN.

    RUN holds checkpoints, the log, sample grids on fixed validation images, and model.onnx, the best model so far. Every
    validation prints PSNR, SSIM and L1 beside what doing nothing is worth. Stopped at any moment, the same command goes on
    from the last checkpoint. DATASET may also be a folder of other programs with train/, val/ and test/ of A|B images.
    """
    click.echo("loading TensorFlow ...", err=True)
    from pix2pix.train import train_model

    report = train_model(dataset, run, preset=preset, steps=steps, batch=batch, seed=seed, updates=updates, precision=precision,
                         direction=direction, val_images=val_images, val_every=val_every, checkpoint_every=checkpoint_every,
                         tell=Teller())  # fmt: skip
    if report.best and report.best["figures"]:
        click.echo(f"best at step {report.best['step']}: {figures_line(report.best['figures'])}")
    if report.model:
        click.echo(f"model: {report.model}")
    if as_json:
        emit_json({"run": str(run), "steps": report.steps, "seconds": round(report.seconds, 3), "figures": report.figures,
                   "best": report.best})  # fmt: skip
    return 0


def figures_line(figures: dict[str, dict[str, float]]) -> str:
    """ "restored 22.15 dB / 0.658 / 12.3, bicubic …": PSNR, SSIM and L1 in grey levels of each."""
    rows = sorted(figures.items(), key=lambda item: item[0] != "restored")
    return ", ".join(f"{name} {row['psnr']:.2f} dB / {row['ssim']:.3f} / {row['l1']:.2f}" for name, row in rows)


class Teller:
    """Prints what train_model tells: a line every 50 steps, and one for every validation."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.first = 0

    def __call__(self, event: Event) -> None:
        if event.kind == "start":
            spec = event.values["spec"]
            verb = f"going on from step {event.step}" if event.values["resumed"] else "starting"
            click.echo(
                f"{verb}: preset {spec.name} at {spec.size}×{spec.size}, batch {spec.batch}, {event.values['pairs']} pairs",
                err=True,
            )
            self.since, self.first = time.monotonic(), event.step
        elif event.kind == "note":
            click.echo(f"note: {event.values['text']}", err=True)
        elif event.kind == "validation":
            click.echo(f"step {event.step}: PSNR / SSIM / L1 of {figures_line(dict(event.values))}")
        elif event.step % 50 == 0 or event.step == event.steps:
            speed = (event.step - self.first) / max(time.monotonic() - self.since, 1e-6)
            left = clock((event.steps - event.step) / max(speed, 1e-6))
            losses = ", ".join(f"{name} {value:.4f}" for name, value in event.values.items())
            click.echo(f"step {event.step}/{event.steps}, {speed:.2f} steps/s, {left} left: {losses}", err=True)

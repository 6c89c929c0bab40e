"""What the parts of `mend` bring: the preset and changes of it, each trained for the same time on the same photos, in turn.

    python -m bench.ablation DATASET [--seconds 300] [--work FOLDER]
    python -m bench.ablation DATASET --start-from RUN [...]

With --start-from all go on from a run of `mend`, which shows what a larger adversarial weight makes of a model that is good already. Each variant is a run folder below --work, so a bench that was stopped goes on. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.tables import machine, table
from dataset_tools.manifest import open_dataset
from pix2pix.run_folder import RunFolder
from pix2pix.spec import PRESETS, GeneratorSpec, Spec

MEND = PRESETS["mend"]
MOST_STEPS = 1_000_000


class Fixed(Spec):
    """A spec whose generator is what it says, whatever the task."""

    def for_task(self, task: str) -> Spec:
        return self


def generator(**change: Any) -> dict[str, Any]:
    """A variant whose generator is that of mosaics, changed so."""
    return {"generator": replace(MEND.for_task("mosaic").generator, **change)}


# {name: what is changed}
VARIANTS: dict[str, dict[str, Any]] = {
    "`mend`": {},
    "it starts from A at 256 × 256, not from cells": {"generator": replace(MEND.generator, starts_from="input")},
    "Adam for all kernels": {"muon": 0.0},
    "Adam for all kernels, batches of 8": {"muon": 0.0, "batch": 8},
    "Muon at 0.01": {"muon": 0.01},
    "Muon at 0.04": {"muon": 0.04},
    "batches of 8": {"batch": 8},
    "batches of 32": {"batch": 32},
    "half the channels": generator(filters=(32, 64, 128, 192)),
    "a coarsest level of 256 channels": generator(filters=(64, 128, 256, 256)),
    "two blocks on each level but the finest": generator(blocks=(1, 2, 2, 2)),
    "two blocks on the finest level": generator(blocks=(2, 1, 1, 2)),
    "a U-Net of 4 × 4 convolutions with BatchNorm, as `article`": {
        "generator": GeneratorSpec("upsampling_unet", (32, 64, 128, 256, 512, 512, 512, 512)), "muon": 0.0},
    "A as it was built, not anew": {"fresh": False},
    "no jitter, no mirroring": {"jitter": 0, "flip": False},
    "no SSIM in the loss": {"ssim_weight": 0.0},
    "the discriminator from the first step": {"alone": 0},
    "the discriminator from the first step, weight 1": {"alone": 0, "adversarial_weight": 1.0},
    "the same, 70 × 70 patches of normed features": {
        "alone": 0, "adversarial_weight": 1.0,
        "discriminator": replace(PRESETS["paper"].discriminator, filters=(32, 64, 128))},
}  # fmt: skip

SHARPER: dict[str, dict[str, Any]] = {
    "`mend`, longer": {},
    "adversarial weight 0.5": {"adversarial_weight": 0.5},
    "adversarial weight 2": {"adversarial_weight": 2.0},
}


def spec_of(name: str, change: dict[str, Any]) -> Spec:
    whole = {field.name: getattr(MEND.for_task("mosaic"), field.name) for field in fields(MEND)}
    return Fixed(**{**whole, **change, "name": name})


def detail(images: list[np.ndarray]) -> float:
    """The mean absolute Laplacian of the luma, 0 to 255: how much fine structure there is, true or invented."""
    lumas = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images)
    return float(np.mean([np.abs(cv2.Laplacian(luma, cv2.CV_32F)).mean() for luma in lumas]))


def restored_detail(dataset: Path, run: Path, spec: Spec) -> float:
    """Of the validation images as the run's newest checkpoint restores them, where 1 is the originals'."""
    from pix2pix.model import Pix2Pix
    from pix2pix.validation import Validation

    folder, data = RunFolder(run), open_dataset(dataset)
    size = int((data.info or {})["size"])
    model = Pix2Pix(spec.with_size(size))
    model.set_variables(folder.load(folder.steps()[-1])[0])
    validation = Validation(data.pairs("val"), size, 64, "AtoB", spec.batch, ("psnr",), spec.cells_side, spec.stride)
    restored = validation.restore(lambda a: model.restore(a, averaged=True))
    return detail(restored) / detail(validation.b)


def over_bicubic(figures: dict[str, dict[str, float]], name: str) -> str:
    """ "+1.20 / +0.0460": PSNR in dB and SSIM of `name` above those of bicubic."""
    return " / ".join(
        f"{figures[name][each] - figures['bicubic'][each]:+.{digits}f}" for each, digits in (("psnr", 2), ("ssim", 4))
    )


def main() -> None:
    from pix2pix.train import train_model

    parser = argparse.ArgumentParser(prog="python -m bench.ablation")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--start-from", type=Path, metavar="RUN")
    parser.add_argument("--work", type=Path, default=Path("build/bench/ablation"))
    given = parser.parse_args()
    print(machine())
    rows: list[list[str]] = []
    for place, (name, change) in enumerate((SHARPER if given.start_from else VARIANTS).items()):
        run, spec = given.work / str(place), spec_of(name, change)
        PRESETS[spec.name] = spec
        if not (run / "summary.json").exists():
            train_model(given.dataset, run, preset=spec.name, source=given.start_from, steps=MOST_STEPS, precision="mixed_bfloat16",
                        max_seconds=given.seconds, val_every=MOST_STEPS, val_images=64, checkpoint_every=MOST_STEPS)  # fmt: skip
        last = [row for row in RunFolder(run).rows() if row["kind"] == "validation"][-1]
        figures = last["figures"]
        rows.append([name, over_bicubic(figures, "restored"), over_bicubic(figures, "raw"),
                     f"{restored_detail(given.dataset, run, spec):.2f}", str(last["step"]),
                     f"{last['step'] * spec.batch}"])  # fmt: skip
        print(" | ".join(rows[-1]), flush=True)
    table(
        f"`mend` and changes of it after {given.seconds:.0f} s each: PSNR (dB) / SSIM above bicubic, on 64 images",
        ["", "restored", "without the moving average", "detail, 1 is the originals'", "steps", "images"],
        rows,
    )


if __name__ == "__main__":
    main()

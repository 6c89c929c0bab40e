"""What each part of `mend` brings: the preset without that part, for as many steps, on the same photos.

    python -m bench.ablation DATASET [--work FOLDER]

DATASET as for bench.train. Each variant is a run folder below --work, so a bench that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.tables import machine, table
from dataset_tools.manifest import open_dataset
from pix2pix.run_folder import RunFolder
from pix2pix.spec import PRESETS, Spec

MEND = PRESETS["mend"]
AFTER = (400, 1000, 2000)  # steps after which figures are given


class Fixed(Spec):
    """A spec whose generator starts from what it says, whatever the task."""

    def for_task(self, task: str) -> Spec:
        return self


# {name: what is changed}; "start" is what the generator starts from. What belongs to the generator shows in the steps before the
# discriminator comes; the rest needs more.
OF_THE_GENERATOR: dict[str, dict[str, Any]] = {
    "it starts from A, not from the prior": {"start": "input"},
    "A as it was built, not anew": {"fresh": False},
    "no jitter, no mirroring": {"jitter": 0, "flip": False},
    "no SSIM in the loss": {"ssim_weight": 0.0},
}
OF_THE_GAME: dict[str, dict[str, Any]] = {
    "no discriminator": {"alone": AFTER[-1]},
    "the discriminator from the first step": {"alone": 0},
    "adversarial weight 1": {"adversarial_weight": 1.0},
}


def spec_of(name: str, change: dict[str, Any]) -> Spec:
    more = dict(change)
    start = more.pop("start", "prior")
    whole = {field.name: getattr(MEND, field.name) for field in fields(MEND)}
    return Fixed(**{**whole, **more, "name": name, "generator": replace(MEND.generator, starts_from=start)})


def detail(images: list[np.ndarray]) -> float:
    """The mean absolute Laplacian of the luma, 0 to 255: how much fine structure there is, true or invented."""
    lumas = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images)
    return float(np.mean([np.abs(cv2.Laplacian(luma, cv2.CV_32F)).mean() for luma in lumas]))


def details(dataset: Path, run: Path, spec: Spec) -> tuple[float, float]:
    """Of the validation images as the run's newest checkpoint restores them, and of the originals."""
    from pix2pix.model import Pix2Pix
    from pix2pix.validation import Validation

    folder = RunFolder(run)
    spec = spec.with_size(int((open_dataset(dataset).info or {})["size"]))
    model = Pix2Pix(spec)
    model.set_variables(folder.load(folder.steps()[-1])[0])
    rows = open_dataset(dataset).pairs("val")
    validation = Validation(rows, spec.size, 64, "AtoB", spec.batch, ("psnr",), spec.generator.starts_from == "prior")
    restored = validation.restore(lambda a, prior: model.restore(a, prior, averaged=True))
    return detail(restored), detail(validation.b)


def over_bicubic(found: dict[int, dict[str, Any]], step: int, name: str) -> str:
    """ "+1.20 / +0.0460": PSNR in dB and SSIM of `name` above those of bicubic after `step`; "" where nothing was found."""
    if step not in found:
        return ""
    figures = found[step]["figures"]
    return " / ".join(
        f"{figures[name][each] - figures['bicubic'][each]:+.{digits}f}" for each, digits in (("psnr", 2), ("ssim", 4))
    )


def train(dataset: Path, run: Path, spec: Spec, steps: int) -> dict[int, dict[str, Any]]:
    """The run's validations by step; where the run is done already, those of its log."""
    from pix2pix.train import train_model

    PRESETS[spec.name] = spec
    train_model(dataset, run, preset=spec.name, steps=steps, precision="mixed_bfloat16", val_every=100, checkpoint_every=100)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    return {row["step"]: row for row in rows if row["kind"] == "validation"}


def follow(run: Path, other: Path, spec: Spec) -> None:
    """Lets `run` go on from where `other` is, if that is where G has trained alone: its steps would be the same with `spec`."""
    if run.exists() or RunFolder(other).steps()[-1] != MEND.alone:
        return
    shutil.copytree(other, run)
    told = json.loads((run / "run.json").read_text("utf-8"))
    spec = spec.with_size(told["options"]["spec"]["size"])
    RunFolder(run).write({**told["options"], "preset": spec.name, "spec": spec.to_json()}, told["exact"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ablation")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/bench/ablation"))
    given = parser.parse_args()
    print(machine())
    lengths = dict.fromkeys(OF_THE_GENERATOR, MEND.alone) | dict.fromkeys(("mend", *OF_THE_GAME), AFTER[-1])
    variants = {"mend": {}} | OF_THE_GENERATOR | OF_THE_GAME
    runs = {name: given.work / str(place) for place, name in enumerate(variants)}
    rows: list[list[str]] = []
    train(given.dataset, runs["mend"], spec_of("mend", {}), MEND.alone)
    for name in OF_THE_GAME:
        if (spec := spec_of(name, variants[name])).alone >= MEND.alone:  # until then it is as `mend`
            follow(runs[name], runs["mend"], spec)
    for name, change in variants.items():
        run, spec, steps = runs[name], spec_of(name, change), lengths[name]
        found = train(given.dataset, run, spec, steps)
        ours, theirs = details(given.dataset, run, spec)
        rows.append([name, *(over_bicubic(found, step, "restored") for step in AFTER), f"{ours / theirs:.2f}",
                     f"{found[steps]['time']['seconds']:.0f}"])  # fmt: skip
        if name == "mend":
            rows.append(["no moving average", *(over_bicubic(found, step, "raw") for step in AFTER), "", ""])
    table(
        "`mend` without one part: PSNR (dB) / SSIM above bicubic, on 64 images",
        ["", *(f"{step} steps" for step in AFTER), "detail, 1 is the originals'", "seconds"],
        rows,
    )


if __name__ == "__main__":
    main()

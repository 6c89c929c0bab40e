"""What the parts of `mend` bring: the preset and changes of it, each trained for the same time on the same photos, in turn.

    python -m bench.ablation DATASET [--seconds 300] [--work FOLDER]
    python -m bench.ablation DATASET --start-from RUN [--cooldown 400]

DATASET holds mosaics or gray copies; bench/variants.py has what is changed. With --start-from all go on from a run of `mend` for
so many steps: what other losses make of a model that is good already. Each variant is a run folder below --work: a bench that was
stopped does not do again what was finished; sheet.png beside them shows what each makes of the same images. Nothing else should
run beside it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.tables import machine, table
from bench.variants import VARIANTS
from dataset_tools import image_io, sheets
from dataset_tools.dataset import open_dataset
from dataset_tools.metrics import colourfulness
from pix2pix.run_folder import RunFolder
from pix2pix.spec import PRESETS, Spec
from pix2pix.task import task_of

MOST_STEPS = 1_000_000
SHOWN = 50  # rows of the sheet
Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
HEADS = {
    "mosaic": ["restored", "without the moving average", "detail, 1 is the originals'"],
    "colorize": ["ΔE2000, 1 is the gray copies'", "without the moving average", "colourfulness, 1 is the originals'"],
}
TITLES = {"mosaic": "PSNR (dB) / SSIM above bicubic", "colorize": "ΔE2000 and colourfulness"}


def detail(images: list[np.ndarray]) -> float:
    """The mean absolute Laplacian of the luma, 0 to 255: how much fine structure there is, true or invented."""
    lumas = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images)
    return float(np.mean([np.abs(cv2.Laplacian(luma, cv2.CV_32F)).mean() for luma in lumas]))


def colours(images: list[np.ndarray]) -> float:
    return float(np.mean([colourfulness(image, image) for image in images]))


def restored_by(dataset: Path, run: Path, spec: Spec, count: int) -> tuple[list[Rgb], list[Rgb], list[Rgb]]:
    """A, what the run's newest checkpoint makes of it, and B, of the validation images."""
    from pix2pix.model import Pix2Pix
    from pix2pix.validation import Validation

    folder, data = RunFolder(run), open_dataset(dataset)
    size = int((data.info or {})["size"])
    model = Pix2Pix(spec.with_size(size))
    model.set_variables(folder.load(folder.steps()[-1])[0])
    validation = Validation(data.pairs("val"), size, count, "AtoB", spec.batch, ("psnr",), spec.cells_side, spec.stride)
    return validation.a, validation.restore(lambda a: model.restore(a, averaged=True)), validation.b


def told(task: str, figures: dict[str, dict[str, float]], name: str) -> str:
    """ "+1.20 / +0.0460", PSNR in dB and SSIM of `name` above those of bicubic; of colours "0.86", the share of ΔE2000."""
    if task == "colorize":
        return f"{figures[name]['delta_e'] / figures['input']['delta_e']:.3f}"
    return " / ".join(
        f"{figures[name][each] - figures['bicubic'][each]:+.{digits}f}" for each, digits in (("psnr", 2), ("ssim", 4))
    )


def main() -> None:
    from pix2pix.train import train_model

    parser = argparse.ArgumentParser(prog="python -m bench.ablation")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--images", type=int, default=64, help="to validate on, at most")
    parser.add_argument("--start-from", type=Path, metavar="RUN")
    parser.add_argument("--cooldown", type=int, default=400, metavar="STEPS", help="with --start-from")
    parser.add_argument("--only", type=int, nargs="*", metavar="N", help="the variants of these numbers, from 0")
    parser.add_argument("--work", type=Path, default=Path("build/bench/ablation"))
    given = parser.parse_args()
    data = open_dataset(given.dataset)
    task, images = task_of(data), min(given.images, len(data.pairs("val")))
    print(machine())
    measure = detail if task == "mosaic" else colours
    rows: list[list[str]] = []
    shown: dict[str, list[Rgb]] = {}
    kind = "polished" if given.start_from else task
    length = {"cooldown": given.cooldown} if given.start_from else {"steps": MOST_STEPS, "max_seconds": given.seconds}
    after = f"{given.cooldown} steps" if given.start_from else f"{given.seconds:.0f} s"
    for place, (name, variant) in enumerate(VARIANTS[kind].items()):
        if given.only is not None and place not in given.only:
            continue
        run, spec = given.work / f"{kind} {after}" / str(place), variant.spec(name, task)
        PRESETS[spec.name] = spec
        with variant.in_place():
            if not (run / "summary.json").exists():
                shutil.rmtree(run, ignore_errors=True)  # what was stopped in between would get its time twice
                train_model(given.dataset, run, preset=spec.name, source=given.start_from, precision="mixed_bfloat16",
                            val_every=MOST_STEPS, val_images=images, checkpoint_every=MOST_STEPS, **length)  # fmt: skip
            a, restored, b = restored_by(given.dataset, run, spec, images)
        shown |= {"input": a, name: restored}
        last = [row for row in RunFolder(run).rows() if row["kind"] == "validation"][-1]
        figures, steps = last["figures"], last["step"]
        share = f"{measure(restored) / measure(b):.2f}"
        over = [told(task, figures, each) for each in ("restored", "raw")]
        rows.append([name, *over, share, str(steps), str(steps * spec.batch)])
        print(" | ".join(rows[-1]), flush=True)
    if rows:
        shown["original"] = b
        sheet = sheets.grid(list(zip(*shown.values(), strict=True))[:SHOWN], titles=list(shown), cell=224)
        image_io.write(run.with_name("sheet.png"), sheet, "PNG")
    table(
        f"`mend` and changes of it after {after} each: {TITLES[task]}, on {images} images",
        ["", *HEADS[task], "steps", "images"],
        rows,
    )


if __name__ == "__main__":
    main()

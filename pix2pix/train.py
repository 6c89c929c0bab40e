"""Training: a dataset folder and a run folder in, a run that can be stopped, resumed and trusted out. Read top to bottom."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from dataset_tools.errors import RunError, UsageError
from dataset_tools.manifest import Dataset, open_dataset
from pix2pix.batches import Batches
from pix2pix.run_folder import RunFolder
from pix2pix.spec import PRESETS, Spec
from pix2pix.validation import Figures, Validation

LOG_EVERY = 50  # steps whose mean losses make one row of the log


@dataclass(frozen=True)
class Event:
    """What `train_model` tells its caller as it goes."""

    kind: str  # "start" | "step" | "validation" | "note"
    step: int
    steps: int  # in all, as far as can be told
    values: Mapping[str, Any]


@dataclass(frozen=True)
class TrainReport:
    """How a run stands when `train_model` returns. Figures are means over the validation images, baselines beside them."""

    run: Path
    steps: int
    seconds: float  # of this call's steps and loading, without validation and export
    figures: Figures | None  # of the last validation
    best: Mapping[str, Any] | None  # best.json
    model: Path | None


def train_model(
    dataset: Path, run: Path, *, preset: str = "article", steps: int = 5000, batch: int | None = None, seed: int = 0,
    updates: str = "fused", precision: str = "float32", direction: str = "AtoB", val_images: int = 64,
    val_every: int = 250, checkpoint_every: int = 250, max_seconds: float = math.inf,
    tell: Callable[[Event], None] = lambda event: None,
) -> TrainReport:  # fmt: skip
    """Trains `preset` on the train split of `dataset` until `steps` updates are done; the same call resumes.

    Args:
        batch: pairs a step; None is the preset's own.
        updates: "fused" (one pass, both networks) or "article" (the printed loop).
        precision: "float32" or "mixed_bfloat16".
        direction: "BtoA" for classic datasets that hold the input on the right.
        val_images: validation images, chosen by hash; figures are given every `val_every` steps and at the end.
        max_seconds: of steps and loading in this call, after which it ends as if `steps` were reached.

    Raises:
        DatasetError, RunError, UsageError, FolderBusy, OutputError: one line each. Ctrl-C and SIGTERM save first.
    """
    # --- what is to be done
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: give 0 to {2**32 - 1}")
    data = open_dataset(dataset, direction)
    spec = spec_for(preset, data, batch)
    record = {"versions": _versions(), "device": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    asked = {"dataset": data.fingerprint, "preset": preset, "spec": spec.to_json(), "seed": seed, "updates": updates,
             "precision": precision, "direction": direction, "val_images": val_images, "steps": steps,
             "val_every": val_every, "checkpoint_every": checkpoint_every}  # fmt: skip
    batches = Batches(data.pairs("train"), spec.size, spec.batch, seed, jitter=spec.jitter, flip=spec.flip, direction=direction)
    folder = RunFolder(run)
    with folder.lock(), _Stopper() as stopper:
        folder.begin(asked, record)

        # --- the model, and where it stands
        from pix2pix.export import write_model_file
        from pix2pix.model import Pix2Pix

        import keras  # isort: skip - networks.py chooses its backend first

        keras.utils.set_random_seed(seed)
        model = Pix2Pix(spec, updates=updates, precision=precision)
        done = (folder.steps() or [0])[-1]
        if done:
            model.set_variables(folder.load(done))
        folder.rewind(done)
        start, last_saved = done, done
        tell(Event("start", done, steps, {"pairs": len(batches), "spec": spec, "resumed": bool(done)}))

        # --- the validation images
        extra = ("delta_e", "colourfulness") if task_of(data) == "colorize" else ()
        validation = Validation(data.pairs("val"), spec.size, val_images, direction, spec.batch, extra)
        if not len(validation):
            tell(
                Event("note", done, steps, {"text": "the val split is empty: no figures, and model.onnx follows the newest step"})
            )

        def validate(step: int) -> Figures | None:
            figures = None
            if len(validation):
                restored = validation.restore(lambda a: model.generator(a, training=False))
                figures = validation.measure(restored)
                header = f"{preset}, step {step}: " + ", ".join(
                    f"{n} {v['psnr']:.2f} dB / {v['ssim']:.3f}" for n, v in figures.items()
                )
                validation.write_sample(run / "samples" / f"step-{step:06d}.png", restored, header)
                folder.log({"kind": "validation", "step": step, "figures": figures})
                tell(Event("validation", step, steps, figures))
            best = folder.best()
            if figures is None or best is None or figures["restored"]["psnr"] > best["figures"]["restored"]["psnr"]:
                card = model_card(spec, data, step, figures)
                write_model_file(model.generator, folder.model, card)
                folder.set_best({"step": step, "metric": "psnr", "figures": figures})
            return figures

        def save(step: int) -> None:
            best = folder.best()
            arrays = {name: np.asarray(value).copy() for name, value in model.variables_by_path().items()}
            folder.save(step, arrays, best["step"] if best else None)

        # --- the loop
        figures: Figures | None = None
        window: list[dict[str, float]] = []
        seconds = 0.0
        tick = time.perf_counter()
        for a, b in batches.stream(start, steps):
            losses = model.train_on_batch(a, b)
            done += 1
            seconds += time.perf_counter() - tick
            _check_finite(losses, done, last_saved)
            window.append(losses)
            last = done == steps or seconds >= max_seconds
            if done % LOG_EVERY == 0 or last:
                means = {name: float(np.mean([row[name] for row in window])) for name in losses}
                folder.log({"kind": "losses", "step": done, "losses": means, "time": {"seconds": round(seconds, 3)}})
                window = []
            within = done + int((max_seconds - seconds) * (done - start) / seconds) if max_seconds < math.inf else steps
            tell(Event("step", done, max(done, min(steps, within)), losses))
            if stopper.asked:
                save(done)
                break
            if done % val_every == 0 or last:
                figures = validate(done)
            best = folder.best()
            if done % checkpoint_every == 0 or last or (best and best["step"] == done):  # the best one stays on disk
                save(done)
                last_saved = done
            if last:
                break
            tick = time.perf_counter()
        return TrainReport(run, done, seconds, figures or _last_figures(folder), folder.best(),
                           folder.model if folder.model.exists() else None)  # fmt: skip


def spec_for(preset: str, data: Dataset, batch: int | None = None) -> Spec:
    """The spec of `preset` at the size of the dataset's pairs. Raises UsageError where it cannot take that size."""
    if preset not in PRESETS:
        raise UsageError(f"there is no preset {preset!r}: choose one of {', '.join(PRESETS)}")
    spec = PRESETS[preset].with_size(pair_size(data))
    if batch is not None and batch < 1:
        raise UsageError(f"--batch {batch}: give 1 or more")
    return replace(spec, batch=batch) if batch else spec


def pair_size(data: Dataset) -> int:
    """S, from dataset.json or, in a classic folder, from the first image."""
    if data.info:
        return int(data.info["size"])
    from dataset_tools import image_io

    first = next(row for split in ("train", "val", "test") for row in data.pairs(split))
    return image_io.read(first.path).info.height


def task_of(data: Dataset) -> str:
    """What a model of this dataset does: mosaic | colorize | other."""
    steps = (data.info or {}).get("recipe", {}).get("degrade", [])
    if any(step.startswith("mosaic") for step in steps):
        return "mosaic"
    return "colorize" if [step.partition(":")[0] for step in steps] == ["grayscale"] else "other"


def model_card(spec: Spec, data: Dataset, step: int, figures: Figures | None) -> dict[str, Any]:
    """What the model file says of itself (the fields are documented in model_file.py)."""
    recipe = (data.info or {}).get("recipe", {})
    return {
        "task": task_of(data), "preset": spec.name, "size": spec.size, "recipe": recipe.get("degrade", []),
        "crop": {"kind": recipe.get("crop"), "margin": recipe.get("margin"), "padding": recipe.get("padding"), "align": False},
        "step": step, "weights": "raw", "dataset": data.fingerprint, "validation": figures, "spec": spec.to_json(),
    }  # fmt: skip


def _check_finite(losses: Mapping[str, float], step: int, last_saved: int) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            network = "discriminator" if name.startswith("d_") else "generator"
            raise RunError(f"the {network}'s loss {name} is {value} at step {step}: the checkpoint of step {last_saved} is kept; "
                           "start a new run with another --seed or --precision float32")  # fmt: skip


def _last_figures(folder: RunFolder) -> Figures | None:
    found = [row["figures"] for row in folder.rows() if row["kind"] == "validation"]
    return found[-1] if found else None


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("keras", "numpy", "photomend", "tensorflow")}


@contextmanager
def _Stopper() -> Iterator[Any]:
    """Turns the first Ctrl-C or SIGTERM into a wish that the loop reads after its step; passed on when the block ends."""

    class Wish:
        asked: int | None = None

    wish = Wish()
    before: dict[int, Any] = {}

    def note(signum: int, frame: FrameType | None) -> None:
        wish.asked = signum
        signal.signal(signum, before[signum])  # the second one stops at once

    if threading.current_thread() is threading.main_thread():
        before = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wish
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if wish.asked is not None:
        signal.raise_signal(wish.asked)

"""What a dataset asks of a model: the task that its recipe tells, the spec that fits it, the metrics that judge it, its card."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dataset_tools import degradations
from dataset_tools.cells import CELL
from dataset_tools.dataset import Dataset
from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.metrics import METRICS
from pix2pix.spec import PRESETS, Spec
from pix2pix.validation import Figures


def spec_for(preset: str, data: Dataset, batch: int | None = None, ema: float | None = None, cooldown: int = 0) -> Spec:
    """The spec of `preset` for the dataset's task and size. Raises UsageError where it cannot take that size."""
    if preset not in PRESETS:
        raise UsageError(f"there is no preset {preset!r}: choose one of {', '.join(PRESETS)}")
    spec = PRESETS[preset].for_task(task_of(data)).with_size(pair_size(data))
    if batch is not None and batch < 1:
        raise UsageError(f"--batch {batch}: give 1 or more")
    if ema is not None and not 0 <= ema < 1:
        raise UsageError(f"--ema {ema}: give 0 (none) to less than 1, such as 0.999")
    if cooldown < 0:
        raise UsageError(f"--cooldown {cooldown}: give 0 (none) or more steps")
    return replace(spec, batch=batch or spec.batch, ema=spec.ema if ema is None else ema, cooldown=cooldown)


def pair_size(data: Dataset) -> int:
    """S, from dataset.json or, in a classic folder, from the first image. Raises DatasetError where that is no pair."""
    if data.info:
        return int(data.info["size"])
    from dataset_tools import image_io

    first = next(row for split in ("train", "val", "test") for row in data.pairs(split))
    height, width = image_io.read(first.path).rgb8.shape[:2]
    if width != 2 * height:
        raise DatasetError(f"{first.path} is {width}×{height} pixels and no pair: A|B stand side by side, twice as wide as high")
    return int(height)


TONES = {"grayscale", "sepia", "fade", "noise", "poisson", "grain", "jpeg"}  # what a photo in gray may have on it


def task_of(data: Dataset) -> str:
    """What a model of this dataset does: mosaic | colorize | other.

    colorize: the colours are gone, and nothing but tone and noise has changed beside, so that the luminance can stay as it is.
    """
    names = {step.partition(":")[0] for step in (data.info or {}).get("recipe", {}).get("degrade", [])}
    if "mosaic" in names:
        return "mosaic"
    return "colorize" if "grayscale" in names <= TONES else "other"


def recipe_anew(data: Dataset) -> list[degradations.Step]:
    """The steps of the recipe, if `degrade_anew` can lay them on any crop, whatever it shows and wherever it was; else none."""
    recipe = (data.info or {}).get("recipe", {})
    steps = [degradations.parse(text) for text in recipe.get("degrade", [])] if recipe.get("made_by") == "build" else []
    whole = all(step.options.get("region", "whole") == "whole" for step in steps)
    turned = recipe.get("align", False) and any(map(degradations.in_photo, steps))  # the cells are tilted in the crop
    return steps if whole and not turned else []


def model_card(spec: Spec, data: Dataset, step: int, figures: Figures | None, direction: str = "AtoB") -> dict[str, Any]:
    """What the model file says of itself (the fields are documented in model_file.py)."""
    recipe = (data.info or {}).get("recipe", {})
    return {
        "task": task_of(data), "preset": spec.name, "size": spec.size, "recipe": recipe.get("degrade", []),
        "cell": CELL if spec.generator.starts_from == "cells" else None, "direction": direction,
        "crop": {"kind": recipe.get("crop"), "margin": recipe.get("margin"), "padding": recipe.get("padding"),
                 "align": recipe.get("align", False)},
        "step": step, "weights": _weights(spec), "dataset": data.fingerprint, "validation": figures,
        "spec": spec.to_json(),
    }  # fmt: skip


def _weights(spec: Spec) -> str:
    return "ema" if spec.ema else "recalibrated" if spec.recalibrate else "raw"


def metric_of(metric: str, data: Dataset) -> str:
    """The metric that a best model is chosen by: "auto" is delta_e for colorization, else psnr. Raises UsageError."""
    if metric == "auto":
        return "delta_e" if task_of(data) == "colorize" else "psnr"
    ranking = [name for name, each in METRICS.items() if each.better != "none"]
    if metric not in ranking:
        raise UsageError(f"--metric {metric}: choose one of auto, {', '.join(ranking)}")
    return metric


def metrics_told(data: Dataset, metric: str) -> tuple[str, ...]:
    """The metrics of every validation: a gray copy wins on PSNR, so colorization is told in colours too."""
    colours = ("delta_e", "colourfulness") if task_of(data) == "colorize" else ()
    return tuple(dict.fromkeys(("psnr", "ssim", "l1", *colours, metric)))

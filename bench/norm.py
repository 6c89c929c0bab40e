"""What the moving statistics of BatchNorm cost `article`: the same weights, restored with other statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools.dataset import open_dataset
from pix2pix.batches import Batches
from pix2pix.model import Pix2Pix
from pix2pix.networks import weights_by_path
from pix2pix.run_folder import RunFolder
from pix2pix.task import spec_for
from pix2pix.validation import Validation

STEPS = 100  # of training, during which the statistics of other momenta gather
MOMENTA = (0.9, 0.5)
BATCHES = (16, 64)  # that a recalibration sees


def compare(dataset: Path, run: Path) -> dict[str, dict[str, float]]:
    """{which statistics: figures on the validation images}, STEPS after the newest checkpoint of `run`.

    The moving statistics of G have no part in its training, so those of several momenta can be gathered in one: a batch's own are
    (new - momentum * old) / (1 - momentum) of the moving ones before and after its step.
    """
    data = open_dataset(dataset)
    spec = spec_for("article", data)
    folder = RunFolder(run)
    step = folder.steps()[-1]
    model = Pix2Pix(replace(spec, recalibrate=BATCHES[-1]))
    arrays, _ = folder.load(step)
    own = {path: array for path, array in arrays.items() if path in model.variables_by_path()}
    copies = {path: arrays[path.removeprefix("ema/")] for path in model.variables_by_path() if path.startswith("ema/")}
    model.set_variables({**own, **copies})
    batches = Batches(data.pairs("train"), spec.size, spec.batch, 0)
    moving = {path: each for path, each in weights_by_path(model.generator).items() if "/moving_" in path}
    gathered = {momentum: {path: np.asarray(each) for path, each in moving.items()} for momentum in MOMENTA}
    for a, b in batches.stream(step, step + STEPS):
        before = {path: np.asarray(each).copy() for path, each in moving.items()}
        model.train_on_batch(a, b)
        for path, each in moving.items():
            batch = (np.asarray(each) - 0.99 * before[path]) / (1 - 0.99)
            for momentum, found in gathered.items():
                found[path] = momentum * found[path] + (1 - momentum) * batch
    validation = Validation(data.pairs("val"), spec.size, 64, "AtoB", spec.batch)
    result = {"moving, momentum 0.99 (as it is)": _figures(model, validation, {})}
    for momentum, found in gathered.items():
        result[f"moving, momentum {momentum}"] = _figures(model, validation, found)
    for count in BATCHES:
        model.recalibrate(map(batches.at, range(count)))
        result[f"recalibrated from {count} batches (--recalibrate {count})"] = validation.mean(
            validation.restore(lambda a: model.restore(a, averaged=True))
        )
    result["of each batch itself (training mode)"] = validation.mean(
        validation.restore(lambda a: np.asarray(model.generator(a, training=True)))
    )
    return result


def _figures(model: Pix2Pix, validation: Validation, statistics: Mapping[str, Any]) -> dict[str, float]:
    weights = weights_by_path(model.generator)
    kept = {path: np.asarray(weights[path]).copy() for path in statistics}
    for path, value in statistics.items():
        weights[path].assign(value)
    figures = validation.mean(validation.restore(model.restore))
    for path, value in kept.items():
        weights[path].assign(value)
    return figures

"""A model as a file to give away: as small as it may be, its licence in its card, and proven to restore what it did."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx

from dataset_tools import degradations, image_io, resources
from dataset_tools.degrade_crop import degrade_anew
from dataset_tools.errors import ModelFileError, UsageError
from pipelines.engines import OnnxEngine, resolve_model
from pipelines.restore import Rgb, in_words
from pix2pix import half, model_file

LEVELS = 1  # by which no value of the proof may be off, or more


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    size: int  # bytes
    sha256: str
    most: int  # levels by which a value of the proof is off from what MODEL restores
    share: float  # of the values of the proof that are off at all

    def line(self) -> str:
        """The same in words."""
        off = f"{self.share:.1%} of the values are off by {self.most} level" if self.most else "not a value is off"
        return f"{in_words(self.path)}: {self.size / 1e6:.1f} MB, sha256 {self.sha256}; on the photos that ship {off}"


def export_model(model: str | Path, output: Path, *, float16: bool = False, license: str | None = None) -> Exported:
    """Writes MODEL as the file `output`, which must not exist.

    Args:
        model: a run folder, an .onnx file, or the name of a model that ships.
        float16: store the weights in half the bytes.
        license: of the weights, for the card; None: as MODEL says.

    Raises:
        UsageError: `output` is there, or is called otherwise than .onnx.
        ModelFileError: not a model; or on the photos that ship, degraded as it learned, it would restore a value that is off by
            more than one grey level. Nothing is written then.
    """
    source = resolve_model(model)
    if output.suffix.lower() != ".onnx":
        raise UsageError(f"OUTPUT {in_words(output)}: give a name that ends in .onnx")
    if os.path.lexists(output):
        raise UsageError(f"OUTPUT {in_words(output)} exists: choose another name, or remove it")
    data, card = model_file.read(source)
    made = onnx.load_model_from_string(data)
    made = half.halved(made) if float16 else made
    card = {name: value for name, value in card.items() if name not in model_file.CONSTANT}
    card |= {"licence": license} if license else {}
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / output.name
        model_file.write(trial, made, card)
        before, after = OnnxEngine(source), OnnxEngine(trial)
        a = probe(before.card, before.size)
        off = np.abs(before.restore(a).astype(np.int16) - after.restore(a))
        if off.max() > LEVELS:
            raise ModelFileError(f"{in_words(output)} was not written: it would restore values that are {off.max()} levels off")
        model_file.write(output, made, card)
    size, sha256 = output.stat().st_size, model_file.sha256(output)
    return Exported(output, size, sha256, int(off.max()), float((off > 0).mean()))


def probe(card: Mapping[str, Any], size: int) -> Rgb:
    """A, (N, size, size, 3) uint8: photos that ship, degraded as the card says the model learned."""
    steps = [degradations.parse(step) for step in card["recipe"]]
    paths = sorted(resources.path("samples").glob("*.jpg"))[::3]
    made = []
    for number, path in enumerate(paths):
        b = cv2.resize(image_io.read(path).rgb8, (size, size), interpolation=cv2.INTER_AREA)
        made.append(degrade_anew(steps, np.random.default_rng(number), np.asarray(b))[0])
    return np.stack(made)

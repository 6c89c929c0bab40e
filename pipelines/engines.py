"""What runs a model file: ONNX Runtime. And what MODEL on a command line means. Neither Keras nor TensorFlow is imported."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dataset_tools import priors, resources
from dataset_tools.archive import encode_name
from dataset_tools.errors import ModelFileError, PhotomendError, UsageError
from pix2pix import model_file
from pix2pix.pixels import to_float, to_uint8

MODEL = "model.onnx"  # the best model of a run folder
MAX_SIZE = 4096  # pixels


class OnnxEngine:
    """A model file in ONNX Runtime on the CPU, in so many threads; None: one for each core.

    Attributes:
        name: of the run folder, or of the file without its suffix.
        sha256: of the file.
        card: the metadata that it carries.
        size: S, pixels along each side of the images it was trained on.
        any_size: whether it takes others, height and width multiples of the card's stride.

    Raises:
        ModelFileError: not a model file of photomend, not whole, or one that this version cannot run.
    """

    def __init__(self, path: Path, threads: int | None = None):
        data, card = model_file.read(path)
        self.card: dict[str, Any] = card
        self.size: int = card["size"]
        resolved = path.resolve()
        self.name = encode_name(os.fsencode(resolved.parent.name if resolved.name == MODEL else resolved.stem))
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._path = path
        self._session = _session(data, path, threads)
        self.any_size = all(isinstance(side, str) for side in self._session.get_inputs()[0].shape[2:])  # a name: any
        self._try()

    def restore(self, batch: NDArray[np.uint8], known: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8 sRGB -> the same shape, restored. H = W = `size`, unless it takes any.

        known: the priors, alike, for a model that starts from one; None: as the pixels tell.

        Raises:
            ModelFileError: the graph cannot do it.
        """
        image = _channels_first(batch)
        given = {model_file.INPUT: image}
        if self.card["prior"]:
            known = np.stack([priors.estimated(each) for each in batch]) if known is None else known
            given[model_file.PRIOR] = _channels_first(known)
        try:
            (restored,) = self._session.run([model_file.OUTPUT], given)
        except Exception as error:  # ONNX Runtime's exceptions have no common base but this one
            raise ModelFileError(f"{_shown(self._path)} cannot restore {image.shape}: {_first_line(error)}") from error
        if restored.shape != image.shape:
            raise ModelFileError(f"{_shown(self._path)} makes {restored.shape} of {image.shape}, which restores nothing")
        return to_uint8(restored.transpose(0, 2, 3, 1))  # (N, H, W, 3) uint8

    def _try(self) -> None:
        """A model whose graph does not do what its card says is refused before the first photo, not in the middle."""
        if not isinstance(self.size, int) or not 1 <= self.size <= MAX_SIZE:
            raise ModelFileError(f"the card of {_shown(self._path)} names no size from 1 to {MAX_SIZE}: export the model again")
        self.restore(np.zeros((1, self.size, self.size, 3), np.uint8))


def _channels_first(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 [-1, 1]."""
    return np.ascontiguousarray(to_float(batch).transpose(0, 3, 1, 2))


def _session(data: bytes, path: Path, threads: int | None) -> ort.InferenceSession:
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))  # told, ONNX Runtime does not try to pin its threads
    options.log_severity_level = 4  # what goes wrong is said in our own line
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelFileError(f"ONNX Runtime cannot load {_shown(path)}: {_first_line(error)}") from error


def open_engine(model: str | Path) -> OnnxEngine:
    """The engine of what `resolve_model` finds."""
    return OnnxEngine(resolve_model(model))


def resolve_model(model: str | Path) -> Path:
    """The model file that MODEL means: a run folder's best, an .onnx file, or a model that ships under that name.

    A bare name (a str without "/" and suffix) is a model that ships; where a path of that name exists as well, nobody can
    tell which is meant. A Path is always a path.

    Raises:
        UsageError: a bare name that is both.
        ModelFileError: there is no such model, or a run folder has none yet.
    """
    path = Path(model)
    if isinstance(model, str) and "/" not in model and not path.suffix:
        shipped = _shipped(model)
        if shipped and path.exists():
            raise UsageError(f"MODEL {model} is both a model that ships and a path here: write ./{model} for the path")
        if shipped:
            return shipped
    if path.is_dir():
        return _of_run(path)
    if not path.exists():
        raise ModelFileError(f"there is no model {_shown(path)}: give a run folder, an .onnx file, or a model that ships")
    return path


def _of_run(folder: Path) -> Path:
    if (folder / MODEL).exists():
        return folder / MODEL
    if (folder / "best.json").exists():
        raise ModelFileError(
            f"the run {_shown(folder)} has lost its {MODEL}: start its training command again, which writes it anew"
        )
    if (folder / "run.json").exists():
        raise ModelFileError(f"the run {_shown(folder)} has no model yet: train longer, until its first validation")
    raise ModelFileError(f"the folder {_shown(folder)} is no run: it has no {MODEL}")


def _shipped(name: str) -> Path | None:
    try:
        return resources.path(f"models/{name}.onnx")
    except PhotomendError:
        return None


def _shown(path: Path) -> str:
    return encode_name(os.fsencode(path))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

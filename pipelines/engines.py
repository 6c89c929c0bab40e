"""What runs a model file: ONNX Runtime or OpenVINO. And what MODEL on a command line means. No Keras, no TensorFlow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dataset_tools import cells, resources
from dataset_tools.archive import encode_name
from dataset_tools.cells import Cells
from dataset_tools.errors import MissingDependency, ModelFileError, PhotomendError, UsageError
from pipelines.whole_image import in_tiles
from pix2pix import graph, model_file
from pix2pix.pixels import to_float, to_uint8

MODEL = "model.onnx"  # the best model of a run folder
SHIPPED = ("mosaic", "colorize")  # data/models/NAME.onnx
GPUS = ("CUDAExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider", "CoreMLExecutionProvider")


class Engine:
    """What runs a model file, whatever computes it.

    Attributes:
        name: of the run folder, or of the file without its suffix.
        sha256: of the file.
        card: the metadata that it carries.
        size: S, pixels along each side of the images it was trained on.
        any_size: whether it takes others, height and width multiples of the card's stride.
        takes_any_crop: whether `restore` does: of a model of mosaics.
        runs_on: what computes, in words.

    Raises:
        ModelFileError: not a model file of photomend, not whole, or one that this version cannot run.
    """

    any_size: bool
    runs_on: str

    def __init__(self, path: Path, decoder: str):
        """`decoder`: what is faster in this engine, see graph.rewritten."""
        data, card = model_file.read(path)
        self.card: dict[str, Any] = card
        self.size: int = card["size"]
        self.takes_any_crop = card["cell"] is not None
        resolved = path.resolve()
        self.name = encode_name(os.fsencode(resolved.parent.name if resolved.name == MODEL else resolved.stem))
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._path = path
        try:
            self._load(graph.rewritten(data, decoder))
        except PhotomendError:
            raise
        except Exception as error:  # of an engine's own, which have no common base but this one
            raise ModelFileError(f"{self.runs_on} cannot load {_shown(path)}: {_first_line(error)}") from error
        self._try()

    def _load(self, data: bytes) -> None:
        """Makes ready what `_run` needs, and sets `any_size`."""
        raise NotImplementedError

    def _run(self, given: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """{input: (N, 3, H, W) float32} -> what the graph makes of it."""
        raise NotImplementedError

    def restore(self, batch: NDArray[np.uint8], known: Sequence[Cells | None] | None = None) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8 sRGB -> the same shape, restored. H = W = `size`; of a model of mosaics, any.

        known: the cells of each image, for a model of mosaics; None: as the pixels tell. Where they tell none it stays as it is.

        Raises:
            ModelFileError: the graph cannot do it.
        """
        if not self.card["cell"]:
            return self.run(batch)
        found = [cells.estimated(each) for each in batch] if known is None else known
        return np.stack(cells.restore(batch, found, self.card["stride"], partial(in_tiles, self.run)))

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the graph itself makes of (N, H, W, 3) uint8: alike. A model of mosaics takes them as `cells.even` makes them.

        Raises:
            ModelFileError: the graph cannot do it.
        """
        image = _channels_first(batch)
        try:
            restored = self._run({model_file.INPUT: image})
        except Exception as error:
            raise ModelFileError(f"{_shown(self._path)} cannot restore {image.shape}: {_first_line(error)}") from error
        if restored.shape != image.shape:
            raise ModelFileError(f"{_shown(self._path)} makes {restored.shape} of {image.shape}, which restores nothing")
        return to_uint8(restored.transpose(0, 2, 3, 1))  # (N, H, W, 3) uint8

    def _try(self) -> None:
        """A model whose graph does not do what its card says is refused before the first photo, not in the middle."""
        self.run(np.zeros((1, self.size, self.size, 3), np.uint8))


class OnnxEngine(Engine):
    """ONNX Runtime, on a GPU where its package has one, else on so many threads of the CPU; None: one for each core."""

    def __init__(self, path: Path, threads: int | None = None):
        self._threads, self.runs_on = threads or len(os.sched_getaffinity(0)), "ONNX Runtime"
        super().__init__(path, "transposed")

    def _load(self, data: bytes) -> None:
        ort.disable_telemetry_events()
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads  # told, ONNX Runtime does not try to pin its threads
        options.log_severity_level = 4  # what goes wrong is said in our own line
        there = ort.get_available_providers()
        wanted = [name for name in GPUS if name in there] + ["CPUExecutionProvider"]
        self._session = ort.InferenceSession(data, options, providers=wanted)
        self.runs_on = f"ONNX Runtime, {self._session.get_providers()[0].removesuffix('ExecutionProvider')}"
        self.any_size = all(isinstance(side, str) for side in self._session.get_inputs()[0].shape[2:])  # a name: any

    def _run(self, given: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        (restored,) = self._session.run([model_file.OUTPUT], given)
        return np.asarray(restored)


class OpenVinoEngine(Engine):
    """OpenVINO on the CPU: an extra, often faster. "bfloat16" is faster still on a CPU that has it, and less exact."""

    def __init__(self, path: Path, threads: int | None = None, precision: str = "float32"):
        self._threads, self._precision = threads or len(os.sched_getaffinity(0)), precision
        self.runs_on = f"OpenVINO, CPU, {precision}"
        super().__init__(path, "subpixel" if precision == "bfloat16" else "transposed")

    def _load(self, data: bytes) -> None:
        openvino = _import_openvino()
        model = openvino.Core().read_model(data, b"")
        self.any_size = model.input(model_file.INPUT).partial_shape[2].is_dynamic
        options = {"INFERENCE_NUM_THREADS": self._threads, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False,
                   "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[self._precision]}  # fmt: skip
        self._compiled = openvino.Core().compile_model(model, "CPU", options)

    def _run(self, given: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.asarray(self._compiled(given, share_inputs=True, share_outputs=True)[model_file.OUTPUT])


def _import_openvino() -> Any:
    """Raises MissingDependency. system.forbid_telemetry has been called before."""
    try:
        import openvino
    except ImportError as error:
        raise MissingDependency("OpenVINO is missing: pip install 'photomend[openvino]', or take --engine onnxruntime") from error
    return openvino


def _channels_first(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 [-1, 1]."""
    return np.ascontiguousarray(to_float(batch).transpose(0, 3, 1, 2))


ENGINES: dict[str, Callable[[Path, int | None], Engine]] = {
    "onnxruntime": OnnxEngine,
    "openvino": OpenVinoEngine,
    "openvino-bfloat16": lambda path, threads: OpenVinoEngine(path, threads, "bfloat16"),
}


def open_engine(model: str | Path, engine: str = "onnxruntime", threads: int | None = None) -> Engine:
    """What `resolve_model` finds, in the engine of that name, with so many threads.

    Raises:
        UsageError: no such engine. MissingDependency: an extra that is not installed. ModelFileError: as `Engine`.
    """
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: choose one of {', '.join(ENGINES)}")
    return ENGINES[engine](resolve_model(model), threads)


def resolve_model(model: str | Path) -> Path:
    """The model file that MODEL means: a run folder's best, an .onnx file, or a model that ships under that name.

    A bare name (a str without "/" and suffix) is a model that ships; where a path of that name exists as well, nobody can
    tell which is meant. A Path is always a path.

    Raises:
        UsageError: a bare name that is both.
        UsageError: there is no such model.
        ModelFileError: a run folder has none yet.
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
        raise UsageError(
            f"there is no model {_shown(path)}: give a run folder, an .onnx file, or a model that ships ({', '.join(SHIPPED)})"
        )
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


def shipped() -> list[str]:
    """The names of the models that this installation has."""
    return [name for name in SHIPPED if _shipped(name)]


def _shipped(name: str) -> Path | None:
    try:
        return resources.path(f"models/{name}.onnx")
    except PhotomendError:
        return None


def _shown(path: Path) -> str:
    return encode_name(os.fsencode(path))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

"""The formats that a model is given away in: what each is, and what writes it. Importing this imports nothing heavy.

A writer makes the thing where nobody looks yet and gives what runs it there, for the proof. When its block ends well the thing
lies at OUTPUT; when it does not, nothing of it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_tools import files
from dataset_tools.errors import UsageError

if TYPE_CHECKING:
    from pipelines.restore import Rgb

Run = Callable[["Rgb"], "Rgb"]  # (N, H, W, 3) uint8 -> alike: what the bare graph makes of it, as Engine.run


@dataclass(frozen=True)
class Format:
    """One of FORMATS."""

    about: str  # what OUTPUT is, for the help of the command
    suffix: str  # that the name of OUTPUT ends in; "" of a folder
    half: bool  # whether --float16 is possible
    # (a model file, OUTPUT, the card, --float16) -> what runs the thing that is to be OUTPUT
    write: Callable[[Path, Path, Mapping[str, Any], bool], AbstractContextManager[Run]]


@contextmanager
def _onnx(source: Path, output: Path, card: Mapping[str, Any], float16: bool) -> Iterator[Run]:
    import tempfile

    import onnx

    from pipelines.engines import OnnxEngine
    from pix2pix import half, model_file

    made = onnx.load_model_from_string(model_file.read(source)[0])
    made = half.halved(made) if float16 else made
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / output.name
        model_file.write(trial, made, card)
        yield OnnxEngine(trial).run
    model_file.write(output, made, card)


@contextmanager
def _litert(source: Path, output: Path, card: Mapping[str, Any], float16: bool) -> Iterator[Run]:
    generator = _generator(source, "litert")
    from pix2pix import litert

    data = litert.to_litert(generator, card, float16)
    yield _on_pixels(litert.opened(data))
    files.replace_bytes(output, data, durable=True)


@contextmanager
def _saved_model(source: Path, output: Path, card: Mapping[str, Any], float16: bool) -> Iterator[Run]:
    generator = _generator(source, "savedmodel")
    from pix2pix import saved_model

    with files.new_folder(output) as folder:
        saved_model.save(generator, folder, card)
        yield _on_pixels(saved_model.opened(folder))


FORMATS: dict[str, Format] = {
    "onnx": Format("a file OUTPUT.onnx, for photomend and ONNX Runtime", ".onnx", True, _onnx),
    "litert": Format("a file OUTPUT.tflite, for LiteRT (TensorFlow Lite) on phones", ".tflite", True, _litert),
    "savedmodel": Format("a folder OUTPUT, for TensorFlow and its servers", "", False, _saved_model),
}


def _generator(source: Path, name: str) -> Any:
    """The Keras generator of a model file, on TensorFlow. Raises UsageError where Keras runs on something else."""
    from pix2pix import backend
    from pix2pix.export import load_generator

    if backend.name() != "tensorflow":
        raise UsageError(f"--format {name} needs TensorFlow, but Keras is set to {backend.name()}: leave KERAS_BACKEND away")
    return load_generator(source)


def _on_pixels(restore: Callable[[Any], Any]) -> Run:
    """`restore`, of float32 [-1, 1], for uint8."""
    from pix2pix.pixels import to_float, to_uint8

    return lambda batch: to_uint8(restore(to_float(batch)))

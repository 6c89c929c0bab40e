"""Models for LiteRT and for TensorFlow: the same pictures, the card with them; and nothing at all where that is not so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_tools.cells import CELL
from dataset_tools.errors import ModelFileError, OutputError, UsageError
from pipelines import export
from pipelines.cli import run as photomend
from pipelines.engines import OnnxEngine
from pipelines.export import export_model
from pipelines.export_formats import FORMATS
from pix2pix import litert, model_file, saved_model
from pix2pix.export import load_generator, write_model_file
from pix2pix.layers import Between, KeepMeans
from pix2pix.networks import build_generator
from pix2pix.spec import PRESETS, Spec
from tests.conftest import some
from tests.test_export import VARIANTS, card
from tests.test_networks import SMALL, scramble
from tests.test_pipelines_engines import write_model

import tensorflow as tf  # isort: skip

ROOT = Path(__file__).resolve().parent.parent
RECIPES = {"mosaic": ["mosaic:block=4..8,phase=random"], "colorize": ["grayscale"], "other": ["noise:sigma=20"]}
TASKS = {"cells": "mosaic", "luminance": "colorize", "input": "other"}
OUTPUTS = {"onnx": "out.onnx", "litert": "out.tflite", "savedmodel": "out"}
KERAS = ("litert", "savedmodel")  # what is made of the Keras network


def kinds(fast: str) -> list[Any]:
    """The names in SMALL, all but one of them slow."""
    return some([fast], [name for name in SMALL if name != fast])


def model(folder: Path, spec: Spec, wrong: Callable[[Any], None] | None = None) -> Path:
    """A model file of random weights, as `wrong` changes them."""
    generator = scramble(build_generator(spec))
    if wrong:
        wrong(generator)
    task = TASKS[spec.generator.starts_from]
    write_model_file(generator, folder / "model.onnx", card(spec) | {"task": task, "recipe": RECIPES[task]})
    return folder / "model.onnx"


def given(spec: Spec, *shape: int) -> np.ndarray:
    """(*shape, 3) float32 [-1, 1]; mosaics for those that take them."""
    count, height, width = shape
    side = CELL if spec.generator.starts_from == "cells" else 1
    image = np.random.default_rng(5).uniform(-1, 1, (count, height // side, width // side, 3)).astype(np.float32)
    return image.repeat(side, 1).repeat(side, 2)


def expected(path: Path, image: np.ndarray) -> np.ndarray:
    return OnnxEngine(path)._run({"image": np.ascontiguousarray(image.transpose(0, 3, 1, 2))}).transpose(0, 2, 3, 1)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_registry_and_the_command_know_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert {*OUTPUTS} <= {*FORMATS}
    assert photomend(["export", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for name, each in FORMATS.items():
        assert f"{name}: {each.about}." in said
    assert FORMATS[next(iter(FORMATS))].suffix == ".onnx"  # the default


@pytest.mark.slow
@pytest.mark.parametrize("name", kinds("mend"))
def test_a_litert_file_restores_the_same_with_builtin_operators_alone(name: str, tmp_path: Path) -> None:
    spec = SMALL[name]
    source, out = model(tmp_path, spec), tmp_path / "out.tflite"
    done = export_model(source, out, format="litert", license="cc0-1.0")
    assert (done.size, done.sha256) == (out.stat().st_size, model_file.sha256(out))
    assert done.share < 0.01
    assert names(tmp_path) == ["model.onnx", "out.tflite"]
    data = out.read_bytes()
    assert litert.read_card(data) == {**model_file.read_card(source), "licence": "cc0-1.0"}

    with pytest.warns(UserWarning, match="LiteRT"):
        interpreter = tf.lite.Interpreter(model_content=data)
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["restored"]}}
    assert interpreter.get_input_details()[0]["shape"].tolist() == [1, spec.size, spec.size, 3]
    assert not [code.CustomCode() for code in codes(data) if code.CustomCode()]
    run, size = interpreter.get_signature_runner(), spec.size
    sizes = [(size, size), *([(size, 3 * size), (2 * size, size)] if spec.generator.kind == "residual" else [])]
    for height, width in sizes:
        image = given(spec, 1, height, width)
        assert np.abs(run(image=image)["restored"] - expected(source, image)).max() < 1e-4
    if name == "tiny":
        assert export_model(source, tmp_path / "again.tflite", format="litert", license="cc0-1.0").sha256 == done.sha256


def codes(data: bytes) -> Iterator[Any]:
    from tensorflow.lite.python import schema_py_generated as schema

    parsed = schema.Model.GetRootAs(data, 0)
    return (parsed.OperatorCodes(number) for number in range(parsed.OperatorCodesLength()))


@pytest.mark.slow
@pytest.mark.parametrize("name", kinds("article"))
def test_a_saved_model_restores_the_same_any_number_of_images(name: str, tmp_path: Path) -> None:
    spec = SMALL[name]
    source, out = model(tmp_path, spec), tmp_path / "out"
    done = export_model(source, out, format="savedmodel", license="cc0-1.0")
    assert done.sha256 is None
    assert done.share < 0.01
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "out"}
    assert {"saved_model.pb", "variables", "assets.extra/photomend.json"} <= {*names(out)}
    assert done.size == sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    told = json.loads((out / "assets.extra" / "photomend.json").read_text("utf-8"))
    assert told == {**model_file.read_card(source), "licence": "cc0-1.0"}

    loaded = tf.saved_model.load(str(out))
    assert list(loaded.signatures) == ["serving_default"]
    run, size = loaded.signatures["serving_default"], spec.size
    (image_spec,) = run.structured_input_signature[1].values()
    free = spec.generator.kind == "residual"
    assert (image_spec.name, image_spec.dtype) == ("image", tf.float32)
    assert image_spec.shape.as_list() == [None, *([None, None] if free else [size, size]), 3]
    for shape in [(1, size, size), (3, size, size), *([(2, 2 * size, 3 * size)] if free else [])]:
        image = given(spec, *shape)
        assert np.abs(run(image=tf.constant(image))["restored"].numpy() - expected(source, image)).max() < 1e-4


@pytest.mark.slow
def test_half_the_bytes(tmp_path: Path) -> None:
    source = model(tmp_path, SMALL["tiny"])
    whole = export_model(source, tmp_path / "whole.tflite", format="litert")
    small = export_model(source, tmp_path / "small.tflite", format="litert", float16=True)
    weights = sum(weight.nbytes for weight in model_file.read_weights(source).values())
    assert 0.6 * weights / 2 < whole.size - small.size <= weights / 2  # each is an operator more
    assert small.most == 1  # the weights are rounded
    halved = export_model(source, tmp_path / "half.onnx", float16=True).path
    again = export_model(halved, tmp_path / "again.tflite", format="litert", float16=True)
    assert again.share < 0.001  # they were rounded before
    assert names(tmp_path) == ["again.tflite", "half.onnx", "model.onnx", "small.tflite", "whole.tflite"]


# --- refused, and nothing left of it


@pytest.mark.parametrize("format", KERAS)
def test_a_wrong_weight_is_refused(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(path: Path) -> Any:
        generator = load_generator(path)
        bias = generator.get_layer("out_conv").bias
        bias.assign_add([0.1, 0, 0])
        return generator

    source = model(tmp_path, SMALL["article"])
    monkeypatch.setattr("pix2pix.export.load_generator", wrong)
    line = rf"{OUTPUTS[format]} was not written: it would restore values that are \d+ levels off"
    with pytest.raises(ModelFileError, match=line):
        export_model(source, tmp_path / OUTPUTS[format], format=format)
    assert names(tmp_path) == ["model.onnx"]


@pytest.mark.slow
def test_a_wrong_operator_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = model(tmp_path, SMALL["mend"])
    line = r" was not written: it would restore values that are \d+ levels off"
    with monkeypatch.context() as patch:
        patch.setitem(litert.REWRITTEN, KeepMeans, lambda layer, image, cells: image)
        with pytest.raises(ModelFileError, match="out.tflite" + line):
            export_model(source, tmp_path / "out.tflite", format="litert")
    with monkeypatch.context() as patch:
        patch.setattr(KeepMeans, "call", lambda self, given: given[0])
        with pytest.raises(ModelFileError, match="out" + line):
            export_model(source, tmp_path / "out", format="savedmodel")
    assert names(tmp_path) == ["model.onnx"]


@pytest.mark.slow
def test_what_differs_at_other_sizes_alone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator that holds the side of the images it was made for is right at that, and at no other."""
    source = model(tmp_path, SMALL["mend"])
    between = litert.REWRITTEN[Between]

    def fixed(layer: Any, cells: Any) -> Any:
        made = between(layer, cells)
        return made + np.random.default_rng(0).uniform(0, 1e-6, made.shape).astype(np.float32)

    monkeypatch.setitem(litert.REWRITTEN, Between, fixed)
    with pytest.raises(ModelFileError, match=r"out.tflite was not written: it cannot restore \(1, 16, 32, 3\): "):
        export_model(source, tmp_path / "out.tflite", format="litert")
    assert names(tmp_path) == ["model.onnx"]


@pytest.mark.slow
def test_operators_that_are_not_of_litert_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = model(tmp_path, SMALL["mend"])
    monkeypatch.setitem(litert.REWRITTEN, KeepMeans, lambda layer, image, cells: tf.math.erfinv(image))
    with pytest.raises(ModelFileError, match="LiteRT cannot compute this network: ") as caught:
        export_model(source, tmp_path / "out.tflite", format="litert")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["model.onnx"]


def test_weights_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    source = model(tmp_path, SMALL["article"], lambda made: made.get_layer("out_conv").bias.assign([1e5] * 3))
    with pytest.raises(ModelFileError, match="the weight generator/out_conv/bias holds numbers that float16 cannot"):
        export_model(source, tmp_path / "out.tflite", format="litert", float16=True)
    assert names(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize(("error", "line"), [
    (tf.errors.ResourceExhaustedError(None, None, "full"), r"no room left on the disk to write .*out: free some space"),
    (tf.errors.PermissionDeniedError(None, None, "may not\nbe"), r"cannot write .*out: may not; choose another place for it$"),
])  # fmt: skip
def test_a_disk_that_takes_no_saved_model(error: Exception, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = model(tmp_path, SMALL["article"])

    def fail(module: Any, folder: str, **_: Any) -> None:
        (Path(folder) / "saved_model.pb").write_bytes(b"half")
        raise error

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OutputError, match=line):
        export_model(source, tmp_path / "out", format="savedmodel")
    assert names(tmp_path) == ["model.onnx"]


@pytest.mark.slow
def test_what_comes_to_lie_at_output_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out, save = model(tmp_path, SMALL["article"]), tmp_path / "out", saved_model.save

    def slow(*given: Any) -> None:
        save(*given)
        out.mkdir()
        (out / "mine").write_text("x")

    monkeypatch.setattr(saved_model, "save", slow)
    with pytest.raises(OutputError, match=r"cannot write .*out: Directory not empty"):
        export_model(source, out, format="savedmodel")
    assert names(tmp_path) == ["model.onnx", "out", "out/mine"]


def test_what_cannot_be_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(write_model(tmp_path / "m.onnx"))
    (tmp_path / "there").mkdir()
    (tmp_path / "there.tflite").symlink_to("nowhere")
    for words, line in (
        (["x.onnx", "--format", "litert"], "x.onnx: give a name that ends in .tflite, or another --format than litert"),
        (["x.tflite"], "x.tflite: give a name that ends in .onnx, or another --format than onnx"),
        (["there", "--format", "savedmodel"], "there exists: choose another name, or remove it"),
        (["there.tflite", "--format", "litert"], "there.tflite exists: choose another name, or remove it"),
        (["x", "--format", "savedmodel", "--float16"], "leave --float16 out, or take --format onnx or litert"),
        (["x", "--format", "coreml"], "'coreml' is not one of "),
    ):  # fmt: skip
        assert photomend(["export", source, str(tmp_path / words[0]), *words[1:]]) == 2
        assert line in capsys.readouterr().err
    with pytest.raises(UsageError, match="--format coreml: choose one of onnx, litert, savedmodel"):
        export_model(source, tmp_path / "x", format="coreml")
    assert names(tmp_path) == ["m.onnx", "there", "there.tflite"]


@pytest.mark.parametrize("format", KERAS)
def test_a_model_that_is_no_keras_network(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_model(tmp_path / "m.onnx")
    assert photomend(["export", str(source), str(tmp_path / OUTPUTS[format]), "--format", format]) == 1
    assert f"the model in {source} cannot be built: " in capsys.readouterr().err
    assert names(tmp_path) == ["m.onnx"]


@pytest.mark.parametrize("format", KERAS)
def test_another_backend(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = model(tmp_path, SMALL["article"])
    monkeypatch.setattr("pix2pix.backend.name", lambda: "jax")
    with pytest.raises(UsageError, match=f"--format {format} needs TensorFlow, but Keras is set to jax: leave KERAS_BACKEND"):
        export_model(source, tmp_path / OUTPUTS[format], format=format)
    assert names(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize("format", KERAS)
def test_without_tensorflow(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = model(tmp_path, SMALL["article"])
    for name in ("litert", "saved_model"):
        monkeypatch.delitem(sys.modules, f"pix2pix.{name}")
        monkeypatch.delattr(f"pix2pix.{name}")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert photomend(["export", str(source), str(tmp_path / OUTPUTS[format]), "--format", format]) == 1
    line = "photomend: the Python package tensorflow is missing; install photomend again: pip install photomend\n"
    assert capsys.readouterr().err == line
    assert names(tmp_path) == ["model.onnx"]


# --- the proof


def test_the_proof_of_a_model_of_mosaics_is_made_of_cells(tmp_path: Path) -> None:
    """Any mosaic it may meet comes to the graph in squares of 8 pixels: those of the photos that ship, and nothing in between."""
    mosaics = OnnxEngine(write_model(tmp_path / "m.onnx", size=64, cell=8, recipe=["mosaic:block=12..20,phase=random"]))
    shown, wide = export._given(mosaics)
    assert shown.shape == (8, 64, 64, 3)
    assert wide.shape == (1, 64, 128, 3)
    squares = shown.reshape(8, 8, CELL, 8, CELL, 3)
    assert np.array_equal(squares, np.broadcast_to(squares[:, :, :1, :, :1], squares.shape))
    assert len(np.unique(squares[:, :, 0, :, 0].reshape(-1, 3), axis=0)) > 8 * 4  # several in each photo
    other = OnnxEngine(write_model(tmp_path / "o.onnx", size=32, recipe=["noise:sigma=20"]))
    (shown,) = export._given(other)
    assert np.array_equal(shown, np.stack([a for _, a, _ in export._degraded(other.card, 32)]))
    unknown = OnnxEngine(write_model(tmp_path / "u.onnx", size=32, cell=8, recipe=[]))
    assert next(export._given(unknown)).shape == (8, 32, 32, 3)


def test_what_was_made_must_run_and_have_the_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_model(tmp_path / "m.onnx")

    def breaks(batch: np.ndarray) -> np.ndarray:
        raise RuntimeError("no kernel\nfor this")

    for run, line in (
        (breaks, r"out.onnx was not written: it cannot restore \(8, 16, 16, 3\): no kernel$"),
        (lambda batch: batch[:1], r"out.onnx was not written: it would make \(1, 16, 16, 3\) of \(8, 16, 16, 3\)$"),
        (lambda batch: batch - 2 * (batch > 99), "out.onnx was not written: it would restore values that are 2 levels off"),
    ):

        @contextmanager
        def writer(*_: Any, run: Any = run) -> Iterator[Any]:
            yield run

        monkeypatch.setitem(FORMATS, "onnx", export_format(writer))
        with pytest.raises(ModelFileError, match=line):
            export_model(source, tmp_path / "out.onnx")


def export_format(writer: Any) -> Any:
    return type(FORMATS["onnx"])("a test", ".onnx", True, writer)


# --- everything, and a process of its own


SHIPS = PRESETS["mend"].for_task("mosaic")  # the network of the model that most will export
EVERY = some([], [SHIPS], soak=[spec for spec in VARIANTS if spec != SHIPS])


@pytest.mark.parametrize("format", some([], ["litert"], soak=["savedmodel"]))
@pytest.mark.parametrize("spec", EVERY, ids=lambda spec: f"{spec.name}-{spec.generator.starts_from}")
def test_every_preset_for_every_task(spec: Spec, format: str, tmp_path: Path) -> None:
    done = export_model(model(tmp_path, spec), tmp_path / OUTPUTS[format], format=format)
    assert done.share < 0.01


@pytest.mark.soak
@pytest.mark.parametrize("format", ["litert", "savedmodel"])
def test_the_command_says_one_line(format: str, tmp_path: Path) -> None:
    source = model(tmp_path, SMALL["mend"])
    words = ["export", str(source), str(tmp_path / OUTPUTS[format]), "--format", format]
    script = f"import sys; from pipelines.cli import run; sys.exit(run({words!r}))"
    shell = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}  # which this process has set
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=shell)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.count("\n") == 1
    assert "on the photos that ship" in told.stdout

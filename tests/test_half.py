"""Model files to give away: half the bytes, the same pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataset_tools.errors import ModelFileError, UsageError
from dataset_tools.mosaic_grid import estimate
from pipelines import export
from pipelines.cli import run as photomend
from pipelines.engines import OnnxEngine
from pipelines.export import export_model
from pix2pix import half, model_file
from pix2pix.graph import rewritten
from pix2pix.half import halved, widen
from tests.test_graph import decoder, run
from tests.test_pipelines_engines import write_model


def scaled(path: Path, factor: float, size: int = 16, **card: Any) -> Path:
    """A model that multiplies by a weight."""
    write_model(path, size, **card)
    _, told = model_file.read(path)
    shape = ["batch", 3, size, size]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["image", "factor"], ["scaled"]), helper.make_node("Identity", ["scaled"], ["restored"])],
        "generator",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("restored", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.full((1, 3, 1, 1), factor, np.float32), "factor")],
    )
    card = {name: value for name, value in told.items() if name not in model_file.CONSTANT}
    model_file.write(path, model_file.make(graph), card)
    return path


def test_the_graph_computes_with_the_rounded_weights() -> None:
    plain = onnx.load_model_from_string(decoder())
    small = halved(plain)
    assert {each.data_type for each in small.graph.initializer} == {TensorProto.FLOAT16}
    assert {each.data_type for each in plain.graph.initializer} == {TensorProto.FLOAT}  # as it was
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 9)).astype(np.float32)
    rounded = onnx.load_model_from_string(decoder())
    for each in rounded.graph.initializer:
        values = numpy_helper.to_array(each).astype(np.float16).astype(np.float32)
        each.CopyFrom(numpy_helper.from_array(values, each.name))
    expected = run(rounded.SerializeToString(), x)
    assert np.array_equal(run(small.SerializeToString(), x), expected)
    assert not np.array_equal(run(plain.SerializeToString(), x), expected)
    again = halved(small)
    assert again == small
    widen(small)
    assert [node.op_type for node in small.graph.node] == [node.op_type for node in plain.graph.node]
    assert np.array_equal(run(small.SerializeToString(), x), expected)


def test_it_is_rewritten_for_an_engine_as_the_large_one_is() -> None:
    small = halved(onnx.load_model_from_string(decoder())).SerializeToString()
    new = onnx.load_model_from_string(rewritten(small, "transposed"))
    assert [node.op_type for node in new.graph.node] == ["ConvTranspose"]
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 9)).astype(np.float32)
    assert np.abs(run(new.SerializeToString(), x) - run(small, x)).max() < 1e-5


def test_what_float16_cannot_hold_is_refused() -> None:
    model = onnx.load_model_from_string(decoder())
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((4, 4, 5, 3), 1e5, np.float32), "w"))
    with pytest.raises(ModelFileError, match="the weight w holds numbers that float16 cannot: leave --float16 out"):
        halved(model)


def test_an_exported_model_restores_the_same_and_carries_its_licence(tmp_path: Path) -> None:
    model = scaled(tmp_path / "m.onnx", 0.701, recipe=["noise:sigma=40"])
    done = export_model(model, tmp_path / "small.onnx", float16=True, license="cc0-1.0")
    card, before = model_file.read_card(tmp_path / "small.onnx"), model_file.read_card(model)
    assert card == {**before, "licence": "cc0-1.0"}
    assert (done.size, done.sha256) == ((tmp_path / "small.onnx").stat().st_size, model_file.sha256(tmp_path / "small.onnx"))
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    one, other = (OnnxEngine(path).restore(levels).astype(int) for path in (model, tmp_path / "small.onnx"))
    assert np.abs(one - other).max() <= 1
    assert done.most == 1
    assert 0 < done.share < 0.1
    same = export_model(model, tmp_path / "same.onnx")
    assert (same.most, same.share) == (0, 0.0)
    assert model_file.read_weights(tmp_path / "small.onnx")["factor"][0, 0, 0, 0] == np.float32(np.float16(0.701))


def test_a_model_that_would_restore_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = scaled(tmp_path / "m.onnx", 0.7)
    monkeypatch.setattr(half, "halved", lambda made: onnx.load(scaled(tmp_path / "other.onnx", 0.75)))
    with pytest.raises(ModelFileError, match=r"small\.onnx was not written: it would restore values that are \d+ levels off"):
        export_model(model, tmp_path / "small.onnx", float16=True)
    assert not (tmp_path / "small.onnx").exists()


def test_the_proof_is_made_of_photos_as_the_model_knows_them() -> None:
    def degraded(recipe: str, size: int) -> np.ndarray:
        return np.stack([a for _, a, _ in export._degraded({"recipe": [recipe]}, size)])

    a = degraded("mosaic:block=8,phase=random", 64)
    assert a.shape == (8, 64, 64, 3)
    assert a.dtype == np.uint8
    assert np.array_equal(a, degraded("mosaic:block=8,phase=random", 64))
    assert {grid.block for image in a if (grid := estimate(image))} == {8}
    gray = degraded("grayscale", 32)
    assert gray.shape == (8, 32, 32, 3)
    assert np.ptp(gray, axis=-1).max() == 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = str(scaled(tmp_path / "m.onnx", 0.7)), str(tmp_path / "small.onnx")
    assert photomend(["export", model, out, "--float16"]) == 0
    assert "small.onnx: 0.0 MB, sha256 " in capsys.readouterr().out
    for words, line in (
        ([model, out], "exists: choose another name, or remove it"),
        ([model, str(tmp_path / "x.h5")], "give a name that ends in .onnx"),
        (["nowhere.onnx", str(tmp_path / "y.onnx")], "there is no model nowhere.onnx"),
    ):
        assert photomend(["export", *words]) in (1, 2)
        assert line in capsys.readouterr().err
    with pytest.raises(UsageError):
        export_model(model, Path(out))

"""The model file: what is written comes back, and anything else is refused in one line."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataset_tools.errors import ModelFileError, OutputError
from pix2pix import model_file

KERNEL = np.random.default_rng(0).normal(size=(1, 1, 3, 3)).astype(np.float32)  # HWIO
GIVEN = {
    "task": "mosaic", "preset": "tiny", "size": 64, "stride": 8, "recipe": ["mosaic:block=8"], "crop": {"margin": 0.3}, "step": 7,
    "weights": "raw", "dataset": "abc", "validation": {"restored": {"psnr": 20.5}}, "spec": {}, "largest_difference": 1e-6,
}  # fmt: skip


def graph(names: tuple[str, ...] = ("image", "restored")) -> Any:
    """One 1×1 convolution with a kernel in Keras shape, from the first of `names` to the last; all but the last are inputs."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, 8, 8]) for name in names]
    nodes = [
        helper.make_node("Transpose", ["generator/conv/kernel"], ["oihw"], perm=[3, 2, 0, 1]),
        helper.make_node("Conv", [names[0], "oihw"], [names[-1]]),
    ]
    return helper.make_graph(nodes, "g", value[:-1], value[-1:], [numpy_helper.from_array(KERNEL, "generator/conv/kernel")])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model_file.write(tmp_path / "model.onnx", model_file.make(graph()), GIVEN)
    return tmp_path / "model.onnx"


def refused(path: Path) -> str:
    """The one line that every reader gives."""
    lines = set()
    for reader in (model_file.read_card, model_file.read_weights, model_file.read):
        with pytest.raises(ModelFileError) as caught:
            reader(path)
        lines.add(str(caught.value))
    assert len(lines) == 1
    assert "\n" not in min(lines)
    assert str(path) in min(lines)
    return lines.pop()


def test_card_and_weights_come_back(path: Path) -> None:
    card = model_file.read_card(path)
    assert card == {**GIVEN, **model_file.CONSTANT, "licence": "not stated", "cell": None, "direction": "AtoB"}
    assert card["format_version"] == 3
    assert card.keys() == model_file.CARD.keys()
    assert "invented" in card["statement"]
    assert "not recovered" in card["statement"]
    weights = model_file.read_weights(path)
    assert list(weights) == ["generator/conv/kernel"]
    assert np.array_equal(weights["generator/conv/kernel"], KERNEL)
    data, same = model_file.read(path)
    assert (data, same) == (path.read_bytes(), card)


def test_it_is_plain_onnx_with_one_property(path: Path) -> None:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [prop.key for prop in model.metadata_props] == ["photomend"]


def test_the_same_model_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    model_file.write(tmp_path / "again.onnx", model_file.make(graph()), dict(reversed(GIVEN.items())))
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    assert model_file.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_card_with_other_fields_is_not_written(path: Path) -> None:
    before = path.read_bytes()
    for wrong, name in (({**GIVEN, "colour": 1}, "colour"), ({key: GIVEN[key] for key in GIVEN if key != "step"}, "step")):
        with pytest.raises(ValueError, match=f"missing or unknown: {name}$"):
            model_file.write(path, model_file.make(graph()), wrong)
    with pytest.raises(ValueError):
        model_file.write(path, model_file.make(graph()), {**GIVEN, "largest_difference": float("nan")})
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_what_every_card_says_cannot_be_overruled(tmp_path: Path) -> None:
    model_file.write(tmp_path / "m.onnx", model_file.make(graph()), {**GIVEN, "statement": "it is true", "licence": "CC0"})
    card = model_file.read_card(tmp_path / "m.onnx")
    assert card["statement"] == model_file.CONSTANT["statement"]
    assert card["licence"] == "CC0"


def test_a_place_that_cannot_be_written(path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        model_file.write(path / "inside.onnx", model_file.make(graph()), GIVEN)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "is not an ONNX file"),
        (b"hello, I am a text\n", "is not an ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not an ONNX file"),
        (pickle.dumps({"generator": [1, 2, 3]}), "is not an ONNX file"),
        (b"PK\x03\x04" + bytes(200), "is not an ONNX file"),
        (np.random.default_rng(0).bytes(5000), "is not an ONNX file"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, data: bytes, line: str) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    assert line in refused(tmp_path / "model.onnx")


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    data = path.read_bytes()
    lines = set()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        lines.add(refused(path).replace(str(path), "FILE"))
    assert "FILE is damaged or cut short: copy it again" in lines
    assert all("cut short" in line or "is not an ONNX file" in line for line in lines)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert "cannot read the model file" in refused(tmp_path / "absent.onnx")
    assert "cannot read the model file" in refused(tmp_path)
    with pytest.raises(ModelFileError):
        model_file.sha256(tmp_path)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with open(tmp_path / "large.onnx", "wb") as handle:
        handle.truncate(model_file.MAX_BYTES + 1)  # sparse: it takes no room
    assert "larger than 1 GB" in refused(tmp_path / "large.onnx")


def test_an_onnx_model_of_another_program(path: Path) -> None:
    onnx.save(model_file.make(graph()), path)
    assert "has no photomend card" in refused(path)


def external() -> Any:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "other")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def in_weights(model: Any) -> None:
    model.graph.initializer.append(external())


def in_a_node(model: Any) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=external()))


def in_a_branch(model: Any) -> None:
    inner = helper.make_graph([], "inner", [], [], [external()])
    model.graph.node.append(helper.make_node("If", ["condition"], ["c"], then_branch=inner, else_branch=inner))


def in_a_function(model: Any) -> None:
    node = helper.make_node("Constant", [], ["c"], value=external())
    model.functions.append(helper.make_function("own", "f", [], ["c"], [node], [helper.make_opsetid("", 17)]))


def sparse(model: Any) -> None:
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=external(), dims=[3]))


@pytest.mark.parametrize("change", [in_weights, in_a_node, in_a_branch, in_a_function, sparse])
def test_external_data_is_refused(path: Path, change: Callable[[Any], None]) -> None:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    assert "refers to other files" in refused(path)


def with_card(path: Path, text: str) -> None:
    model = onnx.load(path)
    helper.set_model_props(model, {"photomend": text})
    onnx.save(model, path)


def test_cards_that_cannot_be_read(path: Path) -> None:
    card = model_file.read_card(path)
    for text, line in (
        ("{not json", "is damaged"),
        ("[]", "format version None"),
        (json.dumps({**card, "format_version": 4}), "is of format version 4, this photomend reads 3: install a newer one"),
        (json.dumps({**card, "format_version": 0}), "is of format version 0"),
        (json.dumps({**card, "format_version": "3"}), "is of format version 3"),
        (json.dumps({**card, "cell": 16}), "takes mosaics with cells of 16 pixels, this photomend 8: export it again"),
        (json.dumps({**card, "cell": "8"}), "takes mosaics with cells of '8' pixels, this photomend 8: export it again"),
        (json.dumps({key: card[key] for key in card if key != "size"}), "lacks size"),
    ):
        with_card(path, text)
        with pytest.raises(ModelFileError, match=line):
            model_file.read_card(path)
        with pytest.raises(ModelFileError, match=line):
            model_file.read(path)


@pytest.mark.parametrize("version", [1, 2])
def test_a_card_of_an_earlier_version_has_no_cell(path: Path, version: int) -> None:
    """The second one said whether there was a second image, which it may not have any more."""
    card = {**model_file.read_card(path), "format_version": version}
    del card["cell"]
    with_card(path, json.dumps({**card, "prior": None} if version == 2 else card))
    assert model_file.read_card(path) == {**card, "cell": None}
    assert model_file.read(path)[1] == {**card, "cell": None}
    assert list(model_file.read_weights(path)) == ["generator/conv/kernel"]


def test_a_model_of_mosaics_says_how_large_its_cells_are(tmp_path: Path) -> None:
    model_file.write(tmp_path / "m.onnx", model_file.make(graph()), {**GIVEN, "cell": 8})
    assert model_file.read_card(tmp_path / "m.onnx")["cell"] == 8


@pytest.mark.parametrize(
    "names",
    [("x", "restored"), ("image", "y"), ("image", "other", "restored"), ("image", "prior", "restored"), ("prior", "restored")],
)
def test_other_inputs_and_outputs(path: Path, names: tuple[str, ...]) -> None:
    """A second image, too, as models of mosaics took it before."""
    model = model_file.make(graph(names))
    helper.set_model_props(model, {"photomend": json.dumps(model_file.read_card(path))})
    onnx.save(model, path)
    assert "has the inputs and outputs" in refused(path)
    assert "but ours have image and restored: train it again" in refused(path)


def test_a_weight_that_is_too_short(path: Path) -> None:
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="a weight in it cannot be read"):
        model_file.read_weights(path)


def test_reading_a_model_file_imports_no_keras() -> None:
    code = "import sys, pix2pix.model_file; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"keras", "tensorflow", "onnxruntime"} & set(loaded)

"""Model files as they come from elsewhere: cut, flipped, and made to do harm. For tests; tests nothing itself."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Harm = Callable[[bytes, np.random.Generator], bytes]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    made = bytearray(data)
    for _ in range(int(rng.integers(1, 40))):
        made[int(rng.integers(0, len(made)))] ^= 1 << int(rng.integers(0, 8))
    return bytes(made)


def overwritten(data: bytes, rng: np.random.Generator) -> bytes:
    start, length = int(rng.integers(0, len(data))), int(rng.integers(1, 4000))
    filler = rng.bytes(length) if rng.random() < 0.5 else bytes(length)
    return data[:start] + filler + data[start + length :]


def spliced(data: bytes, rng: np.random.Generator) -> bytes:
    first, second = sorted(int(each) for each in rng.integers(0, len(data), 2))
    return data[:second] + data[first:]


def _changed(change: Callable[[onnx.ModelProto, np.random.Generator], None]) -> Harm:
    def harm(data: bytes, rng: np.random.Generator) -> bytes:
        model = onnx.load_model_from_string(data)
        change(model, rng)
        return bytes(model.SerializeToString())

    harm.__name__ = change.__name__.strip("_")
    return harm


def _other_dimensions(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    weight = model.graph.initializer[int(rng.integers(0, len(model.graph.initializer)))]
    weight.dims[int(rng.integers(0, len(weight.dims)))] = int(rng.choice([0, -1, 1, 7, 2**31, 2**40, 2**62]))


def _other_attributes(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    given = [each for node in model.graph.node for each in node.attribute if each.ints]
    chosen = given[int(rng.integers(0, len(given)))]
    chosen.ints[int(rng.integers(0, len(chosen.ints)))] = int(rng.choice([-1, 0, 3, 10**4, 10**6, 2**40, -(2**62)]))


def _other_operator(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = model.graph.node[int(rng.integers(0, len(model.graph.node)))]
    node.op_type = str(rng.choice(["Loop", "If", "Scan", "ConstantOfShape", "Expand", "Tile", "Resize", "Identity", "PyOp", ""]))
    node.domain = str(rng.choice(["", "", "com.microsoft", "evil"]))


def _enlarging(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """A Resize by a huge factor before the output."""
    factor = float(rng.choice([3.0, 1e3, 1e6, 1e30, np.inf, np.nan, -2.0]))
    scales = numpy_helper.from_array(np.array([1, 1, factor, factor], np.float32))
    last = model.graph.node[-1]
    model.graph.node.extend([
        helper.make_node("Constant", [], ["huge"], value=scales),
        helper.make_node("Resize", [last.input[0], "", "huge"], ["grown"], mode="nearest"),
    ])  # fmt: skip
    last.input[0] = "grown"
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*(node for node in nodes if node is not last), last])


def _elsewhere(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    weight = model.graph.initializer[int(rng.integers(0, len(model.graph.initializer)))]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=str(rng.choice(["/etc/passwd", "../secret", "w.bin", "C:\\boot.ini"])))


def _other_card(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    card = json.loads(model.metadata_props[0].value)
    name = str(rng.choice(list(card)))
    values = [None, -1, 0, 10**9, 1e300, "", "x" * 10**6, [], {}, [[]], "<script>", True, {"a": [1]}]
    card[name] = values[int(rng.integers(0, len(values)))]
    model.metadata_props[0].value = json.dumps(card) if rng.random() < 0.9 else str(card)


def _in_a_circle(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    nodes = [node for node in model.graph.node if node.input]
    nodes[int(rng.integers(0, len(nodes)))].input[0] = nodes[-1].output[0]


def _other_type(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    weight = model.graph.initializer[int(rng.integers(0, len(model.graph.initializer)))]
    weight.data_type = int(rng.choice([0, 2, 6, 7, 8, 10, 11, 16, 99]))


HARMS: tuple[Harm, ...] = (
    cut, flipped, overwritten, spliced, *map(_changed, (_other_dimensions, _other_attributes, _other_operator, _enlarging,
                                                       _elsewhere, _other_card, _in_a_circle, _other_type)),
)  # fmt: skip


def damaged(data: bytes, number: int) -> tuple[str, bytes]:
    """(what was done, the file) of the `number`-th damaged model, of every kind in turn."""
    harm = HARMS[number % len(HARMS)]
    return harm.__name__, harm(data, np.random.default_rng(number))

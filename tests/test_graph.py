"""A graph rewritten for an engine computes what the plain one does; what does not fit the pattern is left alone."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pix2pix.graph import DECODERS, rewritten


def decoder(kernel: tuple[int, int] = (4, 4), scales: tuple[int, ...] = (1, 1, 2, 2), mode: str = "nearest", bias: bool = True,
            pads: tuple[int, ...] = (1, 1, 2, 2), seen_twice: bool = False) -> bytes:  # fmt: skip
    """A doubling and a convolution of 5 channels to 3, as a model file holds them."""
    rng = np.random.default_rng(1)
    values = {"w": rng.normal(size=(*kernel, 5, 3)).astype(np.float32), "b": rng.normal(size=3).astype(np.float32)}
    nodes = [
        helper.make_node("Constant", [], ["scales"], value=numpy_helper.from_array(np.array(scales, np.float32))),
        helper.make_node("Resize", ["x", "", "scales"], ["double"], mode=mode, nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric"),
        helper.make_node("Transpose", ["w"], ["kernel"], perm=[3, 2, 0, 1]),
        helper.make_node("Conv", ["double", "kernel", *(["b"] if bias else [])], ["y"], pads=pads),
    ]  # fmt: skip
    nodes += [helper.make_node("Neg", ["double"], ["z"])] if seen_twice else []
    outputs = ["y", *(["z"] if seen_twice else [])]
    graph = helper.make_graph(
        nodes, "decoder", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5, "h", "w_"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in values.items() if name == "w" or bias],
    )  # fmt: skip
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def run(model: bytes, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return np.asarray(onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0])


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_doubling_and_its_convolution_become_one(kind: str, bias: bool) -> None:
    plain = decoder(bias=bias)
    new = rewritten(plain, kind)
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 9)).astype(np.float32)
    assert run(new, x).shape == (2, 3, 14, 18)
    assert np.abs(run(new, x) - run(plain, x)).max() < 1e-5  # at the borders as well
    graph = onnx.load_model_from_string(new).graph
    kinds = {"subpixel": ["Conv", "DepthToSpace"], "transposed": ["ConvTranspose"]}[kind]
    assert [node.op_type for node in graph.node] == kinds
    assert {each.name for each in graph.initializer} <= {name for node in graph.node for name in node.input}


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("other", [
    {"kernel": (3, 3), "pads": (1, 1, 1, 1)}, {"scales": (1, 1, 3, 3)}, {"mode": "linear"}, {"pads": (2, 2, 1, 1)},
    {"seen_twice": True},
])  # fmt: skip
def test_anything_else_stays_as_it_is(kind: str, other: dict) -> None:
    plain = decoder(**other)
    both = [onnx.load_model_from_string(model).graph for model in (plain, rewritten(plain, kind))]
    nodes = [[node.op_type for node in graph.node] for graph in both]
    assert nodes[0] == nodes[1]
    x = np.random.default_rng(0).normal(size=(1, 5, 6, 6)).astype(np.float32)
    assert np.array_equal(run(rewritten(plain, kind), x), run(plain, x))


def test_another_decoder_is_refused() -> None:
    with pytest.raises(ValueError, match="decoder must be one of subpixel, transposed"):
        rewritten(decoder(), "bilinear")

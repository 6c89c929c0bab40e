"""The graph of a model file, rewritten for an engine: the same function, fewer multiplications. The file keeps the plain one.

Doubling an image by repeating its pixels and then convolving it with 4 x 4 taps multiplies each pixel 64 times. The four pixels
that come of one are sums over 3 x 3 neighbours before the doubling, 36 multiplications (a "sub-pixel" convolution: Shi et al.
2016, arXiv:1609.05158), of which all but 25 are by zero: those are a transposed convolution with 5 x 5 taps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pix2pix import half

Kernel = NDArray[np.float32]  # (out, in, height, width)

DECODERS = ("subpixel", "transposed")
# Which of the four taps along a side fall on the pixel before, the pixel itself and the one after: (even | odd, 3, 4)
_TAPS = np.array([[[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]], np.float32)
_TRANSPOSED_TAPS = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], np.float32)  # (5, 4)


def rewritten(data: bytes, decoder: str) -> bytes:
    """The model in `data` with each doubling and 4 x 4 convolution as one convolution that makes four pixels of each.

    Args:
        decoder: "subpixel" (3 x 3 taps, then depth to space) or "transposed" (5 x 5 taps, stride 2).

    Raises:
        ValueError: another decoder.
    """
    if decoder not in DECODERS:
        raise ValueError(f"decoder must be one of {', '.join(DECODERS)}. Received: {decoder}")
    model = onnx.load_model_from_string(data)
    widened = half.widen(model)
    nodes, made = model.graph.node, {output: node for node in model.graph.node for output in node.output}
    weights = {each.name: each for each in model.graph.initializer}
    readers = [name for node in nodes for name in node.input]
    kept: list[Any] = []
    gone: set[str] = set()
    for node in nodes:
        double = made.get(node.input[0]) if node.op_type == "Conv" else None
        kernel = _kernel(node, made, weights) if node.op_type == "Conv" else None
        if double is None or kernel is None or not _is_doubling(double, made) or not _is_decoder(node, kernel):
            kept.append(node)
            continue
        if readers.count(double.output[0]) > 1:
            kept.append(node)
            continue
        gone |= {double.output[0], node.input[1]}
        new, values = _SPLIT[decoder](node, double.input[0], kernel, weights)
        kept += new
        model.graph.initializer.extend(values)
    if not gone and not widened:
        return data  # writing it anew would cost a tenth of a second
    kept = [node for node in kept if not gone & set(node.output)]
    read = {name for node in kept for name in node.input}
    del nodes[:]
    nodes.extend(node for node in kept if node.op_type != "Constant" or read & set(node.output))
    for index in reversed([at for at, each in enumerate(model.graph.initializer) if each.name not in read]):
        del model.graph.initializer[index]
    return bytes(model.SerializeToString())


def _kernel(node: Any, made: dict[str, Any], weights: dict[str, Any]) -> Kernel | None:
    """The kernel of a convolution, where it is a transposed weight of the file."""
    source = made.get(node.input[1])
    if source is None or source.op_type != "Transpose" or source.input[0] not in weights:
        return None
    return np.asarray(numpy_helper.to_array(weights[source.input[0]]).transpose(_attributes(source)["perm"]))


def _is_doubling(node: Any, made: dict[str, Any]) -> bool:
    if node.op_type != "Resize" or _attributes(node).get("mode") != b"nearest" or len(node.input) < 3:
        return False
    scales = made.get(node.input[2])
    told = _attributes(scales).get("value") if scales is not None and scales.op_type == "Constant" else None
    return told is not None and numpy_helper.to_array(told).tolist() == [1, 1, 2, 2]


def _is_decoder(node: Any, kernel: Kernel) -> bool:
    told = _attributes(node)
    plain = told.get("strides", [1, 1]) == [1, 1] and told.get("dilations", [1, 1]) == [1, 1] and told.get("group", 1) == 1
    return plain and kernel.shape[2:] == (4, 4) and told.get("pads") == [1, 1, 2, 2]


def _subpixel(node: Any, source: str, kernel: Kernel, weights: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    name = node.output[0]
    taps = np.concatenate([_resampled(kernel, rows, columns) for rows in _TAPS for columns in _TAPS])  # (4 out, in, 3, 3)
    values = [numpy_helper.from_array(taps, f"{name}/taps")]
    inputs = [source, f"{name}/taps"]
    if len(node.input) > 2:
        bias = numpy_helper.to_array(weights[node.input[2]])
        values.append(numpy_helper.from_array(np.tile(bias, 4), f"{name}/bias"))
        inputs.append(f"{name}/bias")
    return [
        helper.make_node("Conv", inputs, [f"{name}/four"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", [f"{name}/four"], [name], blocksize=2, mode="DCR"),
    ], values


def _transposed(node: Any, source: str, kernel: Kernel, weights: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    name = node.output[0]
    taps = _resampled(kernel, _TRANSPOSED_TAPS, _TRANSPOSED_TAPS).swapaxes(0, 1)  # (in, out, 5, 5)
    values = [numpy_helper.from_array(np.ascontiguousarray(taps), f"{name}/taps")]
    inputs: Sequence[str] = [source, f"{name}/taps", *node.input[2:]]
    return [helper.make_node("ConvTranspose", inputs, [name], kernel_shape=[5, 5], strides=[2, 2], pads=[2, 2, 1, 1])], values


def _resampled(kernel: Kernel, rows: Kernel, columns: Kernel) -> Kernel:
    """rows @ each (height, width) of `kernel` @ columns transposed."""
    both = np.kron(rows, columns)
    made = kernel.reshape(-1, both.shape[1]) @ both.T
    return made.reshape(*kernel.shape[:2], rows.shape[0], columns.shape[0])


def _attributes(node: Any) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


_SPLIT = {"subpixel": _subpixel, "transposed": _transposed}

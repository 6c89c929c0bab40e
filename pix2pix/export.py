"""Keras -> model file, with its parity proof, and back. The graph is written from the layers, one emitter for each type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dataset_tools.cells import CELL
from dataset_tools.errors import ModelFileError, UsageError
from pix2pix import model_file
from pix2pix.backend import keras
from pix2pix.layers import REACH, between_kernel
from pix2pix.networks import build_generator, weights_by_path
from pix2pix.pixels import LUMA, chroma_matrix
from pix2pix.spec import Spec

TOLERANCE = 1e-3  # on [-1, 1]: an eighth of a grey level
PROVEN = 2  # seeded random images that the proof runs on

Probe = NDArray[np.float32]


def write_model_file(generator: Any, path: Path, card: Mapping[str, Any], probe: Probe | None = None) -> float:
    """Writes `generator` as the model file `path`, if ONNX Runtime computes with it what Keras does.

    Args:
        generator: built from `card["spec"]`, in any precision; the file holds its float32 weights.
        card: the fields of model_file.CARD, except those filled in here (stride, largest_difference) and there.
        probe: A, (N, side, side, 3) float32 [-1, 1]: images to compare on beside two seeded random ones.

    Returns:
        The largest absolute difference between the two, on [-1, 1]; it also stands in the card.

    Raises:
        ModelFileError: a layer that has no emitter, or a difference above 1e-3. No file is written then.
        OutputError: the file cannot be written.
    """
    spec = Spec.from_json(card["spec"])
    weights = {name: np.asarray(value) for name, value in weights_by_path(generator).items()}
    with keras.device("cpu:0"):  # a GPU may compute in TensorFloat-32, which says nothing about the graph
        network = _network(spec, weights)
        model = model_file.make(to_graph(network))
        difference = _largest_difference(model.SerializeToString(), network, _images(spec, probe))
    if not difference <= TOLERANCE:  # not a number is refused too
        raise ModelFileError(f"{path} was not written: its graph differs from the Keras network by {difference:.3g} on [-1, 1]")
    model_file.write(path, model, {**card, "stride": spec.stride, "largest_difference": difference})
    return difference


def load_generator(path: Path) -> Any:
    """The Keras generator in the model file at `path`: (N, S, S, 3) float32 [-1, 1] -> alike, same weights bit for bit.

    Raises:
        ModelFileError: not a model file of ours, or weights that do not fit the spec in its card.
    """
    card, weights = model_file.read_card(path), model_file.read_weights(path)
    try:
        return _network(Spec.from_json(card["spec"]), weights)
    except (ValueError, TypeError, UsageError) as error:
        raise ModelFileError(f"the model in {path} cannot be built: {error}") from error


def _network(spec: Spec, weights: Mapping[str, NDArray[np.float32]]) -> Any:
    """A float32 generator of `spec` with `weights`. Raises ValueError where they do not fit."""
    network = build_generator(spec)
    expected = weights_by_path(network)
    if wrong := sorted(expected.keys() ^ weights.keys()):
        raise ValueError(f"{wrong[0]} is {'missing' if wrong[0] in expected else 'unknown'} ({len(wrong)} weights do not fit)")
    for name, variable in expected.items():
        if tuple(variable.shape) != weights[name].shape:
            raise ValueError(f"{name} has the shape {weights[name].shape}, not {tuple(variable.shape)}")
        variable.assign(weights[name])
    return network


def _images(spec: Spec, probe: Probe | None) -> NDArray[np.float32]:
    """What the proof runs on: (N, side, side, 3)."""
    images = np.random.default_rng(0).uniform(-1, 1, (PROVEN, spec.side, spec.side, 3)).astype(np.float32)
    return images if probe is None else np.concatenate([images, probe])


def _largest_difference(model: bytes, network: Any, images: NDArray[np.float32]) -> float:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (restored,) = session.run([model_file.OUTPUT], {model_file.INPUT: images.transpose(0, 3, 1, 2)})
    expected = np.asarray(network(images, training=False))
    return float(np.abs(restored.transpose(0, 2, 3, 1) - expected).max())


class _Nodes:
    """The nodes of a graph under construction. A tensor has the name of the layer that makes it."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, value: Any, output: str) -> str:
        array = numpy_helper.from_array(np.asarray(value, np.float32))
        return self.add("Constant", [], output, value=array)


def to_graph(network: Any) -> Any:
    """The onnx.GraphProto of a functional Keras network with the input A and one output, NHWC; the graph is NCHW.

    One initializer for each weight, under its path and in its Keras shape. Raises ModelFileError where a layer has no emitter.
    """
    names, nodes = {id(network.inputs[0]): model_file.INPUT}, _Nodes()
    for layer in network.operations:
        if type(layer).__name__ == "InputLayer":
            continue
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        _require(layer, type(layer).__name__ in EMITTERS, f"one of the types {', '.join(EMITTERS)}")
        _require(layer, all(id(tensor) in names for tensor in given), "inputs from layers that are used once")
        names[id(layer.output)] = EMITTERS[type(layer).__name__](nodes, layer, [names[id(tensor)] for tensor in given])
    nodes.add("Identity", [names[id(network.output)]], model_file.OUTPUT)
    _, height, width, channels = network.inputs[0].shape
    sides = [height or "height", width or "width"]
    return helper.make_graph(
        nodes.nodes,
        "generator",
        [helper.make_tensor_value_info(model_file.INPUT, TensorProto.FLOAT, ["batch", channels, *sides])],
        [helper.make_tensor_value_info(model_file.OUTPUT, TensorProto.FLOAT, ["batch", network.output_shape[-1], *sides])],
        [numpy_helper.from_array(np.asarray(weight), path) for path, weight in weights_by_path(network).items()],
    )


def _require(layer: Any, holds: bool, what: str) -> None:
    if not holds:
        raise ModelFileError(f"the layer {layer.name} ({type(layer).__name__}) cannot be exported: it must have {what}")


def _weight(layer: Any, name: str) -> str:
    return f"generator/{layer.name}/{name}"


def _convolution(operator: str, nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    """Kernels stay as Keras holds them (height, width, in, out; transposed: height, width, out, in); ONNX wants them reversed."""
    _require(layer, layer.data_format == "channels_last" and layer.padding == "same", "channels last and padding same")
    _require(layer, tuple(layer.dilation_rate) == (1, 1) and layer.activation.__name__ == "linear", "no dilation, no activation")
    _require(layer, operator == "ConvTranspose" or layer.groups == 1, "no groups")
    _require(layer, operator == "Conv" or layer.output_padding is None, "no output padding")
    surplus = [kernel - stride for kernel, stride in zip(layer.kernel_size, layer.strides, strict=True)]
    _require(layer, min(surplus) >= 0, "a kernel that is no smaller than its stride")
    before = [total // 2 for total in surplus]  # 'same' for sizes that the stride divides
    after = [total - first for total, first in zip(surplus, before, strict=True)]
    kernel = nodes.add("Transpose", [_weight(layer, "kernel")], f"{layer.name}/kernel", perm=[3, 2, 0, 1])
    bias = [_weight(layer, "bias")] if layer.use_bias else []
    return nodes.add(operator, [*inputs, kernel, *bias], layer.name, strides=list(layer.strides), pads=before + after,
                     kernel_shape=list(layer.kernel_size))  # fmt: skip


def _conv(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    return _convolution("Conv", nodes, layer, inputs)


def _conv_transpose(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    return _convolution("ConvTranspose", nodes, layer, inputs)


def _doubled_conv(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    """The doubling and the 4×4 convolution that the layer stands for, with its own kernel."""
    doubled = _repeated(nodes, inputs, f"{layer.name}/double", (2, 2))
    kernel = nodes.add("Transpose", [_weight(layer, "kernel")], f"{layer.name}/kernel", perm=[3, 2, 0, 1])
    return nodes.add("Conv", [doubled, kernel, _weight(layer, "bias")], layer.name, pads=[1, 1, 2, 2], kernel_shape=[4, 4])


def _space_to_depth(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    return nodes.add("SpaceToDepth", inputs, layer.name, blocksize=layer.factor)


def _depth_to_space(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    return nodes.add("DepthToSpace", inputs, layer.name, blocksize=layer.factor, mode="DCR")


def _cell_means(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    return _means(nodes, inputs[0], layer.name)


def _means(nodes: _Nodes, image: str, name: str) -> str:
    return nodes.add("AveragePool", [image], name, kernel_shape=[CELL, CELL], strides=[CELL, CELL])


def _between(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    pads = nodes.add("Constant", [], f"{layer.name}/pads", value_ints=[0, 0, REACH, REACH, 0, 0, REACH, REACH])
    padded = nodes.add("Pad", [*inputs, pads], f"{layer.name}/padded", mode="edge")
    kernel = nodes.constant(between_kernel().transpose(3, 2, 0, 1), f"{layer.name}/kernel")  # (192, 3, 9, 9)
    return nodes.add("Conv", [padded, kernel], layer.name, kernel_shape=[2 * REACH + 1] * 2)


def _keep_means(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    image, cells = inputs
    off = nodes.add("Sub", [cells, _means(nodes, image, f"{layer.name}/means")], f"{layer.name}/off")
    return nodes.add("Add", [image, _repeated(nodes, [off], f"{layer.name}/even", (CELL, CELL))], layer.name)


def _luminance(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    kernel = nodes.constant(np.tile(LUMA, (3, 1))[:, :, None, None], f"{layer.name}/kernel")  # (3, 3, 1, 1)
    return nodes.add("Conv", [*inputs, kernel], layer.name, kernel_shape=[1, 1])


def _chroma(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    kernel = nodes.constant(chroma_matrix().T[:, :, None, None], f"{layer.name}/kernel")  # (3, 2, 1, 1)
    return nodes.add("Conv", [*inputs, kernel], layer.name, kernel_shape=[1, 1])


def _batch_norm(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    _require(layer, layer.axis in (-1, 3) and layer.scale and layer.center, "the channels as its axis, a scale and a centre")
    statistics = [_weight(layer, name) for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    return nodes.add("BatchNormalization", [*inputs, *statistics], layer.name, epsilon=layer.epsilon)


def _leaky_relu(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    return nodes.add("LeakyRelu", inputs, layer.name, alpha=float(layer.negative_slope))


def _relu(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    _require(layer, layer.max_value is None and not layer.negative_slope and not layer.threshold, "no options")
    return nodes.add("Relu", inputs, layer.name)


def _silu(nodes: _Nodes, name: str, inputs: list[str]) -> str:
    return nodes.add("Mul", [*inputs, nodes.add("Sigmoid", inputs, f"{name}/sigmoid")], name)


def _clip(nodes: _Nodes, name: str, inputs: list[str]) -> str:
    return nodes.add("Clip", [*inputs, nodes.constant(-1, f"{name}/min"), nodes.constant(1, f"{name}/max")], name)


ACTIVATIONS: dict[str, Callable[[_Nodes, str, list[str]], str]] = {
    "linear": lambda nodes, name, inputs: inputs[0],
    "relu": lambda nodes, name, inputs: nodes.add("Relu", inputs, name),
    "tanh": lambda nodes, name, inputs: nodes.add("Tanh", inputs, name),
    "silu": _silu,
    "hard_tanh": _clip,
}


def _activation(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    name = layer.activation.__name__
    _require(layer, name in ACTIVATIONS, f"one of the activations {', '.join(ACTIVATIONS)}, not {name}")
    return ACTIVATIONS[name](nodes, layer.name, inputs)


def _upsampling(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    _require(layer, layer.interpolation == "nearest", "nearest interpolation")
    return _repeated(nodes, inputs, layer.name, layer.size)


def _repeated(nodes: _Nodes, inputs: list[str], name: str, factors: Sequence[int]) -> str:
    scales = nodes.constant([1, 1, *factors], f"{name}/scales")
    return nodes.add("Resize", [*inputs, "", scales], name, mode="nearest", nearest_mode="floor",
                     coordinate_transformation_mode="asymmetric")  # fmt: skip


def _concatenate(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    _require(layer, layer.axis in (-1, 3), "the channels as its axis")
    return nodes.add("Concat", inputs, layer.name, axis=1)


def _add(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    return nodes.add("Sum", inputs, layer.name)


def _dropout(nodes: _Nodes, layer: Any, inputs: list[str]) -> str:
    return inputs[0]  # the identity when restoring


EMITTERS: dict[str, Callable[[_Nodes, Any, list[str]], str]] = {
    "Conv2D": _conv, "Conv2DTranspose": _conv_transpose, "BatchNormalization": _batch_norm, "LeakyReLU": _leaky_relu,
    "ReLU": _relu, "Activation": _activation, "UpSampling2D": _upsampling, "Concatenate": _concatenate, "Add": _add,
    "Dropout": _dropout, "SpaceToDepth": _space_to_depth, "DepthToSpace": _depth_to_space, "DoubledConv2D": _doubled_conv,
    "CellMeans": _cell_means, "Between": _between, "KeepMeans": _keep_means, "Luminance": _luminance, "Chroma": _chroma,
    "Clip": lambda nodes, layer, inputs: _clip(nodes, layer.name, inputs),
}  # fmt: skip

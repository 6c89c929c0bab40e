"""Rewrites the full-range face detector of data/models as ONNX, for engines that read no TFLite.

    python -m bench.face_to_onnx OUT.onnx

    pixels  float32 [1, 192, 192, 3]: sRGB / 127.5 - 1, black where there is no photo
    boxes   float32 [1, 2304, 16]: middle x, y, width, height and six keypoints x, y, in pixels of the input off the anchor
    scores  float32 [1, 2304, 1], before the sigmoid

pipelines/page/src/faces.ts says where the anchors lie, and makes faces of the outputs. The weights stay float16, as they are in
the TFLite file, and are cast when a session begins. Nothing is written unless the outputs are within TOLERANCE of TensorFlow
Lite's, on noise and on the sample photos.
"""

from __future__ import annotations

import argparse
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dataset_tools import files, image_io, resources
from dataset_tools.faces import MODELS

Array = NDArray[Any]
Tensors = Sequence[int]  # by their number in the TFLite graph

OPSET, IR = 17, 8
TOLERANCE = 1e-3  # most by which a box (in pixels of the input) or a score (before the sigmoid) may be off
OUTPUTS = ("boxes", "scores")
DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}  # TFLite's numbers of types


class _Writer:
    """ONNX nodes of a TFLite graph: images are NCHW here and NHWC there, other tensors are the same in both."""

    def __init__(self, model: Any) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        self._model, self._graph = model, model.subgraphs[0]
        self._unpacked: dict[int, Array] = {}  # constants that the file makes with operators of their own
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        kinds = {number: name.lower() for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
        self._node("Transpose", ["pixels"], self._name(self._graph.inputs[0]), perm=[0, 3, 1, 2])
        for operator in self._graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
            _check(hasattr(self, f"_{kind}"), f"the operator {kind}")
            getattr(self, f"_{kind}")(operator.inputs, operator.outputs[0], operator.builtinOptions)

    def shape(self, tensor: int) -> list[int]:
        return [int(side) for side in self._graph.tensors[tensor].shape]

    def _name(self, tensor: int) -> str:
        outputs = self._graph.outputs.tolist()
        return OUTPUTS[outputs.index(tensor)] if tensor in outputs else f"t{tensor}"

    def _node(self, kind: str, inputs: Sequence[str], output: str, activation: int = 0, **values: Any) -> None:
        _check(activation in (0, 1), f"the activation {activation}")
        before = f"{output}_linear" if activation else output
        self.nodes.append(helper.make_node(kind, inputs, [before], **values))
        if activation:
            self.nodes.append(helper.make_node("Relu", [before], [output]))

    def _weight(self, name: str, values: Array | list[int]) -> str:
        """A constant; float16 is cast to float32, which is exact."""
        half = isinstance(values, np.ndarray) and values.dtype == np.float16
        self.weights.append(numpy_helper.from_array(np.array(values, order="C"), f"{name}_half" if half else name))
        if half:
            self._node("Cast", [f"{name}_half"], name, to=TensorProto.FLOAT)
        return name

    # --- constants

    def _stored(self, tensor: int) -> Array:
        described = self._graph.tensors[tensor]
        return np.frombuffer(bytes(self._model.buffers[described.buffer].data), DTYPES[described.type])

    def _constant(self, tensor: int) -> Array:
        return self._unpacked[tensor] if tensor in self._unpacked else self._stored(tensor).reshape(self.shape(tensor))

    def _dequantize(self, inputs: Tensors, output: int, _: Any) -> None:
        self._unpacked[output] = self._constant(inputs[0])

    def _densify(self, inputs: Tensors, output: int, _: Any) -> None:
        """Weights of which only some are stored, row by row; the others are 0."""
        sparse = self._graph.tensors[inputs[0]].sparsity
        *dense, last = sparse.dimMetadata
        plain = last.format == 1 and not any(each.format for each in dense) and list(sparse.traversalOrder) == [0, 1, 2, 3]
        _check(plain, "weights that are sparse along other than their last side")
        counts = np.diff(np.asarray(last.arraySegments.values, np.int64))
        values = np.zeros((len(counts), self.shape(output)[-1]), np.float16)
        values[np.repeat(np.arange(len(counts)), counts), np.asarray(last.arrayIndices.values)] = self._stored(inputs[0])
        self._unpacked[output] = values.reshape(self.shape(output))

    # --- images

    def _conv_2d(self, inputs: Tensors, output: int, options: Any) -> None:
        self._convolve(inputs, output, options, self._constant(inputs[1]).transpose(0, 3, 1, 2), 1)

    def _depthwise_conv_2d(self, inputs: Tensors, output: int, options: Any) -> None:
        kernel = self._constant(inputs[1]).transpose(3, 0, 1, 2)
        self._convolve(inputs, output, options, kernel, len(kernel))

    def _convolve(self, inputs: Tensors, output: int, options: Any, kernel: Array, group: int) -> None:
        name = self._name(output)
        given = [self._name(inputs[0]), self._weight(f"{name}_w", kernel), self._weight(f"{name}_b", self._constant(inputs[2]))]
        strides = [options.strideH, options.strideW]
        _check(options.padding == 1 or kernel.shape[2:] == (1, 1), "images that a convolution pads")
        self._node("Conv", given, name, options.fusedActivationFunction, group=group, strides=strides)

    def _add(self, inputs: Tensors, output: int, options: Any) -> None:
        self._node("Add", [self._name(each) for each in inputs], self._name(output), options.fusedActivationFunction)

    def _pad(self, inputs: Tensors, output: int, _: Any) -> None:
        pads = self._constant(inputs[1])[[0, 3, 1, 2]].T.ravel().tolist()
        self._node("Pad", [self._name(inputs[0]), self._weight(f"t{output}_pads", pads)], self._name(output))

    def _resize_bilinear(self, inputs: Tensors, output: int, options: Any) -> None:
        _check(options.halfPixelCenters and not options.alignCorners, "resizing by other places than the middles of pixels")
        number, height, width, channels = self.shape(output)
        given = [self._name(inputs[0]), "", "", self._weight(f"t{output}_sizes", [number, channels, height, width])]
        self._node("Resize", given, self._name(output), mode="linear", coordinate_transformation_mode="half_pixel")

    def _depth_to_space(self, inputs: Tensors, output: int, options: Any) -> None:
        self._node("DepthToSpace", [self._name(inputs[0])], self._name(output), blocksize=options.blockSize, mode="DCR")

    def _reshape(self, inputs: Tensors, output: int, _: Any) -> None:
        self._node("Transpose", [self._name(inputs[0])], f"t{output}_nhwc", perm=[0, 2, 3, 1])
        self._node("Reshape", [f"t{output}_nhwc", self._weight(f"t{output}_shape", self.shape(output))], self._name(output))


def _check(known: bool, what: str) -> None:
    if not known:
        raise SystemExit(f"face_to_onnx: no rule for {what}")


def convert(tflite: bytes) -> bytes:
    """The .onnx file of the .tflite file."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite, 0))
    writer, graph = _Writer(model), model.subgraphs[0]
    shown = zip(("pixels", *OUTPUTS), (*graph.inputs, *graph.outputs), strict=True)
    given, *got = (helper.make_tensor_value_info(name, TensorProto.FLOAT, writer.shape(tensor)) for name, tensor in shown)
    made = helper.make_model(
        helper.make_graph(writer.nodes, "faces", [given], got, writer.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="photomend",
    )
    about = "BlazeFace of Google's MediaPipe, rewritten from TFLite with the same weights"
    helper.set_model_props(made, {"about": about, "license": "Apache-2.0", "source_sha256": hashlib.sha256(tflite).hexdigest()})
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString())


def difference(tflite: bytes, converted: bytes) -> float:
    """The largest difference between the outputs of TensorFlow Lite and of ONNX Runtime, on noise and on the sample photos."""
    from tensorflow.lite.python.interpreter import Interpreter

    with warnings.catch_warnings(action="ignore"):  # it says where it moves to
        lite = Interpreter(model_content=tflite)
    lite.allocate_tensors()
    (given,), got = lite.get_input_details(), lite.get_output_details()
    session = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
    most = 0.0
    for pixels in _inputs(int(given["shape"][1])):
        lite.set_tensor(given["index"], pixels)
        lite.invoke()
        pairs = zip(got, session.run(list(OUTPUTS), {"pixels": pixels}), strict=True)
        most = max(most, *(float(np.abs(lite.get_tensor(each["index"]) - ours).max()) for each, ours in pairs))
    return most


def _inputs(side: int) -> Iterator[Array]:
    rng = np.random.default_rng(0)
    yield from (rng.uniform(-1, 1, (1, side, side, 3)).astype(np.float32) for _ in range(4))
    for path in sorted(resources.path("samples").glob("*.jpg")):
        rgb = cv2.resize(image_io.read(path).rgb8, (side, side), interpolation=cv2.INTER_AREA)
        yield rgb[None].astype(np.float32) / 127.5 - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    tflite = resources.path(MODELS["full"]).read_bytes()
    data = convert(tflite)
    most = difference(tflite, data)
    if not most <= TOLERANCE:
        raise SystemExit(f"face_to_onnx: nothing is written: the outputs differ by {most:.2g}, more than {TOLERANCE:g}")
    files.replace_bytes(output, data)
    print(f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}; outputs differ by at most {most:.2g}")


if __name__ == "__main__":
    main()

"""The generator as a LiteRT (TensorFlow Lite) file: NHWC, builtin operators alone, its card in the metadata.

Signature `serving_default`: `image` -> `restored`, each float32 (1, S, S, 3) in [-1, 1] RGB. Of a network that takes any size the
file does, too, after `resize_tensor_input`: no operator of it knows how large the image is.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import ConverterError
from tensorflow.lite.tools import flatbuffer_utils

from dataset_tools.cells import CELL
from dataset_tools.errors import ModelFileError
from dataset_tools.system import quiet_native
from pix2pix import half, layers
from pix2pix.backend import keras
from pix2pix.model_file import INPUT, KEY, OUTPUT
from pix2pix.networks import weights_by_path
from pix2pix.pixels import LUMA, chroma_matrix

Batch = NDArray[np.float32]  # (N, H, W, 3) [-1, 1] RGB


def to_litert(network: Any, card: Mapping[str, Any], float16: bool = False) -> bytes:
    """The file of `network`, a generator on Keras's TensorFlow backend, for images of the card's size.

    float16: weights in half the bytes; the engine makes them float32 again.

    Raises:
        ModelFileError: a weight that is too large for float16, or an operator that is none of LiteRT's own.
    """
    if float16:
        for path, weight in weights_by_path(network).items():
            half.narrowed(path, np.asarray(weight))  # the converter would write an infinity
    constants = [(each, np.asarray(each)) for each in network.variables]
    image = tf.TensorSpec([1, card["size"], card["size"], 3], tf.float32, name=INPUT)

    @tf.function(autograph=False, input_signature=[image])  # type: ignore[untyped-decorator]
    def restore(given: Any) -> dict[str, Any]:
        with keras.StatelessScope(state_mapping=[(each, tf.constant(value)) for each, value in constants]):
            return {OUTPUT: computed(network, given)}

    with quiet_native():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([restore.get_concrete_function()], tf.Module())
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # anything else fails the conversion
        if float16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        try:
            data = converter.convert()
        except ConverterError as error:
            raise ModelFileError(f"LiteRT cannot compute this network: {_first_line(error)}") from error
    return _with_card(data, card)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def computed(network: Any, image: Any) -> Any:
    """What the functional `network` makes of the tensor `image` (1, S, S, 3) in inference; layers in REWRITTEN by that."""
    made = {id(network.inputs[0]): image}
    for layer in network.operations:
        if id(layer.output) in made:  # the input
            continue
        given = [made[id(each)] for each in (layer.input if isinstance(layer.input, list) else [layer.input])]
        rewritten = REWRITTEN.get(type(layer))
        made[id(layer.output)] = rewritten(layer, *given) if rewritten else layer(given if len(given) > 1 else given[0])
    return made[id(network.output)]


def _doubled_conv(layer: Any, x: Any) -> Any:
    """As the layer says it in words: in its sum of kernels the file would be half as large again."""
    sides = [2 * side for side in x.shape[1:3]]
    doubled = tf.raw_ops.ResizeNearestNeighbor(images=x, size=sides)
    return tf.nn.conv2d(doubled, layer.kernel, 1, "SAME") + layer.bias


def _space_to_depth(layer: Any, x: Any) -> Any:
    return tf.nn.space_to_depth(x, layer.factor)


def _depth_to_space(layer: Any, x: Any) -> Any:
    return tf.nn.depth_to_space(x, layer.factor)


def _cell_means(layer: Any, x: Any) -> Any:
    return tf.nn.avg_pool2d(x, CELL, CELL, "VALID")


def _between(layer: Any, cells: Any) -> Any:
    x = cells
    for axis in (1, 2):
        first, last = (x[:, :1], x[:, -1:]) if axis == 1 else (x[:, :, :1], x[:, :, -1:])
        x = tf.concat([first] * layers.REACH + [x] + [last] * layers.REACH, axis)
    return tf.nn.conv2d(x, layers.between_kernel(), 1, "VALID")


def _keep_means(layer: Any, image: Any, cells: Any) -> Any:
    off = cells - _cell_means(layer, image)
    return image + tf.nn.depth_to_space(tf.tile(off, [1, 1, 1, CELL**2]), CELL)  # each in all the pixels of its square


def _luminance(layer: Any, x: Any) -> Any:
    return tf.nn.conv2d(x, np.tile(LUMA[:, None], (1, 3))[None, None], 1, "VALID")  # (1, 1, 3, 3)


def _chroma(layer: Any, x: Any) -> Any:
    return tf.nn.conv2d(x, chroma_matrix()[None, None], 1, "VALID")  # (1, 1, 2, 3)


REWRITTEN: dict[type, Callable[..., Any]] = {  # layers whose own operators hold the sides of the image, or are many for one
    layers.DoubledConv2D: _doubled_conv, layers.SpaceToDepth: _space_to_depth, layers.DepthToSpace: _depth_to_space,
    layers.CellMeans: _cell_means, layers.Between: _between, layers.KeepMeans: _keep_means, layers.Luminance: _luminance,
    layers.Chroma: _chroma,
}  # fmt: skip


def _with_card(data: bytes, card: Mapping[str, Any]) -> bytes:
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    text = json.dumps(card, sort_keys=True, ensure_ascii=False, allow_nan=False).encode("utf-8")
    model.metadata.append(schema.MetadataT(name=KEY, buffer=len(model.buffers)))
    model.buffers.append(schema.BufferT(data=np.frombuffer(text, np.uint8)))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def read_card(data: bytes) -> dict[str, Any]:
    """The card in the file `data` that `to_litert` made."""
    model = schema.ModelT.InitFromPackedBuf(data)
    (entry,) = [each for each in model.metadata if each.name == KEY.encode()]
    card: dict[str, Any] = json.loads(bytes(model.buffers[entry.buffer].data))
    return card


def opened(data: bytes) -> Callable[[Batch], Batch]:
    """What the file `data` makes of images, one after another, in the interpreter that TensorFlow brings."""
    with warnings.catch_warnings(action="ignore"), quiet_native():  # it says where it moves to, and how it computes
        interpreter = tf.lite.Interpreter(model_content=data, num_threads=len(os.sched_getaffinity(0)))
        interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()  # resizes the input to what it is given

    def restore(images: Batch) -> Batch:
        return np.concatenate([run(**{INPUT: each[None]})[OUTPUT] for each in images])

    return restore

"""THE model file: one .onnx with the plain graph, every weight under its Keras path, and a card that says what it is.

Input "image", output "restored": float32 (N, 3, H, W) in [-1, 1] RGB. Where the card names a cell, the image is a mosaic whose
cells are squares of so many pixels from the corner on (dataset_tools.cells.even). No Keras here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dataset_tools import files
from dataset_tools.cells import CELL
from dataset_tools.errors import ModelFileError

KEY = "photomend"  # of the one metadata property: the card as JSON
FORMAT_VERSION = 3
READABLE = (1, 2, FORMAT_VERSION)  # 1 knew no mosaics; 2 took them with a second image, and is read where it has none
MAX_BYTES = 1 << 30
MAX_SIZE = 4096  # pixels
INPUT, OUTPUT = "image", "restored"
OPSET, IR_VERSION = 17, 8  # old enough for the engines in use

OPERATORS = frozenset((  # all that a graph of ours may hold: no loops, no branches, nothing that makes tensors of any size
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv", "ConvTranspose", "DepthToSpace",
    "Identity", "LeakyRelu", "Mul", "Neg", "Pad", "Relu", "Resize", "Sigmoid", "SpaceToDepth", "Sub", "Sum", "Tanh", "Transpose",
))  # fmt: skip
MOST_VALUES = 1024  # of a tensor in the graph, for each pixel of the image

CARD = {  # the fields of the card, all of them always there
    "format_version": "3",
    "task": "mosaic | colorize | other",
    "kind": "generator",
    "preset": "name of the spec it was trained with",
    "size": "S, pixels: the side of the images it was trained on",
    "stride": "pixels: a size it can take is a multiple of it; the graph's input says whether any but S is possible",
    "value_range": "[-1, 1]: uint8 x is x / 127.5 - 1, of the input and of the output",
    "cell": "pixels a side of a cell of the mosaics that it takes | null where it takes images as they are",
    "recipe": "the degradations of its training inputs, in order, as text",
    "direction": "AtoB | BtoA: which half of its training pairs was the input",
    "crop": "what a training image showed of its photo: kind, margin, align, padding",
    "step": "updates it was trained for",
    "weights": "raw | ema | recalibrated: what train --ema and --recalibrate mean",
    "dataset": "fingerprint of the dataset",
    "validation": "{restored or a baseline: {metric: mean}} on the validation images, or null where there were none",
    "licence": "of the weights",
    "spec": "the whole spec (spec.py)",
    "largest_difference": "between this graph in ONNX Runtime and the Keras network, on [-1, 1]",
    "statement": "what a restored photo is not",
}
CONSTANT: dict[str, Any] = {  # what every card says alike
    "format_version": FORMAT_VERSION,
    "kind": "generator",
    "value_range": [-1, 1],
    "statement": "What this model restores is invented, not recovered: a plausible guess, learned from other photos. "
    "It does not show who or what was there.",
}
DEFAULT = {"licence": "not stated", "validation": None, "cell": None, "direction": "AtoB"}


def read_card(path: Path) -> dict[str, Any]:
    """The card of the model file at `path`: every field of CARD. Raises ModelFileError where it is not ours, or not whole."""
    return read(path)[1]


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """{Keras path: float32 array in Keras shape} of the model file at `path`. Raises ModelFileError."""
    model = _parse(path, _bytes(path))
    try:
        return {each.name: numpy_helper.to_array(each).astype(np.float32) for each in model.graph.initializer}
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{path} is damaged, a weight in it cannot be read ({error}): copy it again") from error


def read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the model file at `path`, safe to hand to an engine, and its card. Raises ModelFileError in one line."""
    data = _bytes(path)
    model = _parse(path, data)
    card = _card(path, model)
    _check_graph(path, model, card["size"])
    return data, card


def make(graph: Any) -> Any:
    """The onnx.ModelProto of `graph` (an onnx.GraphProto), checked, still without its card."""
    model = helper.make_model(graph, producer_name=KEY, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def write(path: Path, model: Any, card: Mapping[str, Any]) -> None:
    """Writes `model` with its card under `path`, whole or not at all.

    `card` may leave out what CONSTANT and DEFAULT say. Raises OutputError; ValueError for a missing or an unknown field.
    """
    whole = {**DEFAULT, **card, **CONSTANT}
    if wrong := sorted(whole.keys() ^ CARD.keys()):
        raise ValueError(f"a card has the fields {', '.join(CARD)}; missing or unknown: {', '.join(wrong)}")
    helper.set_model_props(model, {KEY: json.dumps(whole, sort_keys=True, ensure_ascii=False, allow_nan=False)})
    files.replace_bytes(path, model.SerializeToString(deterministic=True), durable=True)


def sha256(path: Path) -> str:
    """The SHA-256 of the file at `path`, in hexadecimal. Raises ModelFileError where it cannot be read."""
    return hashlib.sha256(_bytes(path)).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelFileError(f"{path} is larger than 1 GB: no model file of photomend is")
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read the model file {path}: {error.strerror or error}") from error


def _parse(path: Path, data: bytes) -> Any:
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        cut = data[:1] == b"\x08"  # how an ONNX file begins: its IR version
        what = "is damaged or cut short: copy it again" if cut else "is not an ONNX file: give an .onnx that photomend wrote"
        raise ModelFileError(f"{path} {what}") from error
    if not model.graph.node:
        raise ModelFileError(f"{path} is not an ONNX file, or is empty: give an .onnx that photomend wrote")
    if any(onnx.external_data_helper.uses_external_data(tensor) for tensor in _tensors(model)):
        raise ModelFileError(f"{path} refers to other files for its weights: no model file of photomend does")
    if KEY not in {prop.key for prop in model.metadata_props}:
        raise ModelFileError(f"{path} has no photomend card: it was made by another program, or is cut short")
    names = ([each.name for each in model.graph.input], [each.name for each in model.graph.output])
    if names != ([INPUT], [OUTPUT]):
        raise ModelFileError(f"{path} has the inputs and outputs {names}, but ours have {INPUT} and {OUTPUT}: train it again")
    return model


def _check_graph(path: Path, model: Any, size: object) -> None:
    """Raises ModelFileError for a graph that could do, or fill memory with, more than ours ever do. Runs nothing of it."""
    for node in model.graph.node:
        inner = any(each.type in (each.GRAPH, each.GRAPHS) for each in node.attribute)
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx") or inner or model.functions:
            raise ModelFileError(f"{path} has the operator {node.op_type[:40]!r} in its graph, which no model of photomend has")
    if not isinstance(size, int) or not 1 <= size <= MAX_SIZE:
        raise ModelFileError(f"the card of {path} names no size from 1 to {MAX_SIZE}: export the model again")
    skeleton = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)  # the graph without its weights
    skeleton.graph.CopyFrom(onnx.GraphProto(name="skeleton", node=model.graph.node, output=model.graph.output))
    for each in model.graph.input:
        shape = [1, 3, *(dim.dim_value or size for dim in each.type.tensor_type.shape.dim[2:])]
        skeleton.graph.input.append(helper.make_tensor_value_info(each.name, onnx.TensorProto.FLOAT, shape))
    for each in model.graph.initializer:
        skeleton.graph.input.append(helper.make_tensor_value_info(each.name, each.data_type, list(each.dims)))
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton, strict_mode=True, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, TypeError) as error:
        raise ModelFileError(f"the graph of {path} does not fit together: export the model again") from error
    known = {each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in inferred.value_info}
    known |= {name: [1] for node in model.graph.node if node.op_type in ("Constant", "Identity") for name in node.output}
    for name in (name for node in model.graph.node for name in node.output if name != OUTPUT):
        values = math.prod(known.get(name, [0]))
        if not 0 < values <= MOST_VALUES * size * size + max(4096, _largest_weight(model)):
            raise ModelFileError(f"{path} would fill a tensor of {known.get(name, 'unknown')} values, more than a photo needs")


def _largest_weight(model: Any) -> int:
    return max((math.prod(each.dims) for each in model.graph.initializer), default=0)


def _card(path: Path, model: Any) -> dict[str, Any]:
    text = next(prop.value for prop in model.metadata_props if prop.key == KEY)
    try:
        card = json.loads(text)
    except ValueError as error:
        raise ModelFileError(f"the card of {path} is damaged ({error}): copy it again") from error
    if not isinstance(card, dict) or card.get("format_version") not in READABLE:
        found = card.get("format_version") if isinstance(card, dict) else None
        raise ModelFileError(f"{path} is of format version {found}, this photomend reads {FORMAT_VERSION}: install a newer one")
    card.pop("prior", None)  # of version 2
    card.setdefault("cell", None)
    card.setdefault("direction", "AtoB")
    if missing := sorted(CARD.keys() - card.keys()):
        raise ModelFileError(f"the card of {path} lacks {', '.join(missing)}: export the model again")
    if card["cell"] not in (None, CELL):
        raise ModelFileError(
            f"{path} takes mosaics with cells of {card['cell']!r} pixels, this photomend {CELL}: export it again"
        )
    return card


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor that the file could fetch from elsewhere: weights, sparse ones, and those in attributes at any depth."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _of_graph(graph)

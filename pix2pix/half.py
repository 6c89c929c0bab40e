"""A model file in half the bytes: float16 weights, each made float32 again by the first node that meets it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dataset_tools.errors import ModelFileError

_WIDE = "/float32"  # behind the name of a weight: what it is in the graph


def halved(model: Any) -> Any:
    """A copy of the onnx.ModelProto `model`, its metadata too, with float16 weights. One that has them stays as it is.

    Raises:
        ModelFileError: a weight that is too large for float16.
    """
    made = type(model)()
    made.CopyFrom(model)
    casts, wide = [], {}
    for each in made.graph.initializer:
        if each.data_type != TensorProto.FLOAT:
            continue
        each.CopyFrom(numpy_helper.from_array(narrowed(each.name, numpy_helper.to_array(each)), each.name))
        wide[each.name] = f"{each.name}{_WIDE}"
        casts.append(helper.make_node("Cast", [each.name], [wide[each.name]], to=TensorProto.FLOAT))
    for node in made.graph.node:
        node.input[:] = [wide.get(name, name) for name in node.input]
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def narrowed(name: str, weight: NDArray[Any]) -> NDArray[np.float16]:
    """The array `weight` as float16. Raises ModelFileError, which names it, where one of its numbers is too large for that."""
    with np.errstate(over="ignore"):
        array = weight.astype(np.float16)
    if not np.isfinite(array).all():
        raise ModelFileError(f"the weight {name} holds numbers that float16 cannot: leave --float16 out")
    return array


def widen(model: Any) -> bool:
    """Makes the float16 weights of an onnx.ModelProto float32 again, for those that look at kernels and for all engines.

    Returns:
        Whether there were any.
    """
    weights = {each.name: each for each in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in weights:
            array = numpy_helper.to_array(weights[node.input[0]]).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
        else:
            kept.append(node)
    found = len(kept) < len(model.graph.node)
    if found:
        del model.graph.node[:]
        model.graph.node.extend(kept)
    return found

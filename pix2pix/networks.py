"""The two networks of a spec, free of a backend, and the names of their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pix2pix.backend import keras, layers
from pix2pix.discriminators import DISCRIMINATORS
from pix2pix.generators import GENERATORS
from pix2pix.spec import Spec


def build_generator(spec: Spec, precision: str = "float32") -> Any:
    """keras.Model: A (N, S, S, 3) float32 [-1, 1] -> restored, alike. The residual kind takes any multiple of the stride.

    One that starts from cells takes and makes them in squares of 8 pixels (dataset_tools.cells.even), as many as there are.

    precision: the dtype policy of the layers, "float32" or "mixed_bfloat16"; input, weights and output stay float32.
    """
    return GENERATORS[spec.generator.kind](spec, precision)


def build_discriminator(spec: Spec, precision: str = "float32") -> Any:
    """keras.Model: [A, B], each (N, side, side, 3) float32 [-1, 1] -> logits (N, h, w, 1) float32, one for each patch.

    The two are concatenated in this order, A first. 256 pixels a side give 16 × 16 (article) or 30 × 30 patches (paper).
    """
    a = layers.Input((spec.side, spec.side, 3), name="a")
    b = layers.Input((spec.side, spec.side, 3), name="b")
    x = layers.Concatenate(name="pair", dtype=precision)([a, b])  # (N, S, S, 6)
    x = DISCRIMINATORS[spec.discriminator.kind](spec, precision, x)
    x = layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model([a, b], x, name="discriminator")


def weights_by_path(network: Any) -> dict[str, Any]:
    """{"generator/down_1_conv/kernel": keras.Variable, …}: weights and moving statistics of `network`, in layer order."""
    return _by_path(network, lambda layer: layer.weights)


def variables_by_path(network: Any) -> dict[str, Any]:
    """`weights_by_path` and the states of the dropout layers' random generators."""
    return _by_path(network, lambda layer: layer.variables)


def _by_path(network: Any, of: Callable[[Any], list[Any]]) -> dict[str, Any]:
    # Not Keras's own path: the dropout seeds of a second network in the process would be numbered on.
    found = {f"{network.name}/{layer.name}/{value.name}": value for layer in network.layers for value in of(layer)}
    assert len(found) == len(of(network)), f"weight paths of {network.name} are not unique"
    return found

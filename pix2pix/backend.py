"""Keras on its backend: TensorFlow, or what KERAS_BACKEND says. Everything here that needs Keras imports it from here."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports failures of optional parts (no GPU) as errors

from dataset_tools.errors import MissingDependency, UsageError
from dataset_tools.system import quiet_native

BACKENDS = ("tensorflow", "jax")

if (_asked := os.environ["KERAS_BACKEND"]) not in BACKENDS:
    raise UsageError(f"training runs on TensorFlow or JAX, but KERAS_BACKEND is {_asked}: set it to {' or '.join(BACKENDS)}")
if _asked == "jax" and importlib.util.find_spec("jax") is None:
    raise MissingDependency("KERAS_BACKEND is jax, but JAX is not installed: pip install 'photomend[jax]'")

with quiet_native():
    import keras
    from keras import layers, ops

__all__ = ["keras", "layers", "name", "ops", "steps"]


def name() -> str:
    """ "tensorflow" or "jax"."""
    return str(keras.backend.backend())


def steps() -> Any:
    """The module step_<backend>: what compiles the objective into an update, and what there is to run it on.

    Raises:
        UsageError: Keras runs on a backend that has none.
    """
    if name() == "tensorflow":
        from pix2pix import step_tf

        return step_tf
    if name() == "jax":
        from pix2pix import step_jax

        return step_jax
    raise UsageError(f"training runs on TensorFlow or JAX, but Keras is set to {name()}: set KERAS_BACKEND to one of them")

"""Keras on its backend: TensorFlow, or what KERAS_BACKEND says. Everything here that needs Keras imports it from here."""

from __future__ import annotations

import importlib.util
import os

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

__all__ = ["keras", "layers", "name", "ops"]


def name() -> str:
    """ "tensorflow" or "jax"."""
    return str(keras.backend.backend())

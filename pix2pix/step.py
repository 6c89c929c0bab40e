"""Which of step_tf.py and step_jax.py makes the updates: that of the backend on which Keras runs."""

from __future__ import annotations

from typing import Any

from dataset_tools.errors import UsageError
from pix2pix.backend import name


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

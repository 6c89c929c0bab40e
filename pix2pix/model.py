"""Pix2Pix: two networks, two optimizers, one update. Free of a backend: the step comes from step_<backend>.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dataset_tools.errors import RunError, UsageError
from pix2pix.networks import build_discriminator, build_generator, variables_by_path
from pix2pix.spec import Spec

import keras  # isort: skip - networks.py chooses its backend first

LOSSES = ("d_loss", "d_real", "d_fake", "g_loss", "g_adversarial", "g_l1")


class Pix2Pix(keras.Model):  # type: ignore[misc]  # keras is not typed
    """A conditional GAN (Isola et al. 2017) built from a Spec. Called on A, it runs the generator.

    Args:
        spec: networks, losses and optimizers.
        updates: "fused" (one pass, both networks) or "article" (the printed loop; see step_tf.py).
        precision: dtype policy of the networks, "float32" or "mixed_bfloat16". Weights, outputs and losses stay float32.

    Input and output of a call: (N, S, S, 3) float32 [-1, 1] RGB.

    Raises:
        UsageError: Keras runs on a backend that has no step here, or `updates` is none of the two.
    """

    def __init__(self, spec: Spec, updates: str = "fused", precision: str = "float32"):
        super().__init__(name="pix2pix")
        available = _updates()
        if updates not in available:
            raise UsageError(f"there are no updates {updates!r}: choose one of {', '.join(available)}")
        self.spec = spec
        self.generator = build_generator(spec, precision)
        self.discriminator = build_discriminator(spec, precision)
        self.generator_optimizer = _adam(spec, self.generator)
        self.discriminator_optimizer = _adam(spec, self.discriminator)
        self._step = available[updates](
            spec, self.generator, self.discriminator, self.generator_optimizer, self.discriminator_optimizer
        )

    def call(self, a: Any, training: bool = False) -> Any:
        """A -> restored, both (N, S, S, 3) float32 [-1, 1]."""
        return self.generator(a, training=training)

    def train_on_batch(self, a: Any, b: Any) -> dict[str, float]:
        """One update of both networks on A and B, each (N, S, S, 3) float32 [-1, 1].

        Returns:
            d_loss = 0.5 * (d_real + d_fake), and g_loss = g_adversarial + l1_weight * g_l1, all from before the update
            (with updates "article": each from before its own). g_l1 is on [-1, 1].
        """
        return dict(zip(LOSSES, np.asarray(self._step(a, b)).tolist(), strict=True))

    def variables_by_path(self) -> dict[str, Any]:
        """Everything that training changes, for a checkpoint: weights, moving statistics, dropout seeds, both optimizers.

        Keys are paths such as "generator/down_1_conv/kernel" and "generator_optimizer/iteration"; values are Keras variables.
        """
        found = variables_by_path(self.generator) | variables_by_path(self.discriminator)
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            found |= {value.path: value for value in optimizer.variables}
        return found

    def set_variables(self, arrays: Mapping[str, Any]) -> None:
        """Puts back what `variables_by_path` gave, as arrays. Nothing is changed where anything does not fit.

        Raises:
            RunError: a key is missing or unknown, or an array has another shape; the line names the first one.
        """
        variables = self.variables_by_path()
        if missing := sorted(variables.keys() - arrays.keys()):
            raise RunError(f"the checkpoint lacks {missing[0]} ({len(missing)} missing): it is not of this model")
        if unknown := sorted(arrays.keys() - variables.keys()):
            raise RunError(f"the checkpoint holds {unknown[0]}, which this model has not ({len(unknown)} unknown)")
        for path, variable in variables.items():
            shape, expected = tuple(np.shape(arrays[path])), tuple(variable.shape)
            if shape != expected:
                raise RunError(f"the checkpoint's {path} has the shape {shape}, but this model's has {expected}")
        for path, variable in variables.items():
            variable.assign(arrays[path])


def _updates() -> dict[str, Any]:
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise UsageError(f"training runs on TensorFlow, but Keras is set to {backend}: set KERAS_BACKEND=tensorflow")
    from pix2pix.step_tf import UPDATES

    return UPDATES


def _adam(spec: Spec, network: Any) -> Any:
    """Adam (Kingma and Ba 2015) for the weights of `network`, its variables made now so that a checkpoint can hold them."""
    optimizer = keras.optimizers.Adam(spec.learning_rate, beta_1=spec.beta1, name=f"{network.name}_optimizer")
    optimizer.build(network.trainable_variables)
    return optimizer

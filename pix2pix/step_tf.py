"""The update on TensorFlow: losses -> gradients -> Adam, as one compiled function. The only file that imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pix2pix.losses import adversarial, discriminator_loss, generator_loss
from pix2pix.spec import Spec

# (a, b) -> (6,) float32 in the order of model.LOSSES
Step = Callable[[Any, Any], Any]


def fused(spec: Spec, generator: Any, discriminator: Any, generator_optimizer: Any, discriminator_optimizer: Any) -> Step:
    """One pass, both networks: G and D run in training mode, and both gradients are those of the weights before the step.

    D's moving statistics see the real pairs and the generated ones once each; G's update adds nothing to them.
    """

    def step(a: Any, b: Any) -> Any:
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            fake = generator(a, training=True)
            logits_real = discriminator([a, b], training=True)
            logits_fake = discriminator([a, fake], training=True)
            d_loss, d_real, d_fake = discriminator_loss(spec, logits_real, logits_fake)
            g_loss, g_adversarial, g_l1 = generator_loss(spec, logits_fake, fake, b)
        _apply(generator_optimizer, generator_tape, g_loss, generator)
        _apply(discriminator_optimizer, discriminator_tape, d_loss, discriminator)
        return tf.stack([d_loss, d_real, d_fake, g_loss, g_adversarial, g_l1])

    return _compiled(step)


def article(spec: Spec, generator: Any, discriminator: Any, generator_optimizer: Any, discriminator_optimizer: Any) -> Step:
    """The article's printed loop, with a D that trains: D on real pairs, D on generated ones, then G through a frozen D.

    D learns from fakes that G makes in inference mode, in two updates of the whole loss each (d_loss is half their sum). G runs
    in training mode, through D in inference mode, so that D's statistics are used and not touched.
    """

    def train_discriminator(a: Any, image: Any, real: bool) -> Any:
        with tf.GradientTape() as tape:
            loss = adversarial(spec, discriminator([a, image], training=True), real)
        _apply(discriminator_optimizer, tape, loss, discriminator)
        return loss

    def step(a: Any, b: Any) -> Any:
        fake = generator(a, training=False)
        d_real = train_discriminator(a, b, True)
        d_fake = train_discriminator(a, fake, False)
        with tf.GradientTape() as tape:
            fake = generator(a, training=True)
            g_loss, g_adversarial, g_l1 = generator_loss(spec, discriminator([a, fake], training=False), fake, b)
        _apply(generator_optimizer, tape, g_loss, generator)
        return tf.stack([0.5 * (d_real + d_fake), d_real, d_fake, g_loss, g_adversarial, g_l1])

    return _compiled(step)


UPDATES: dict[str, Callable[[Spec, Any, Any, Any, Any], Step]] = {"fused": fused, "article": article}


def _apply(optimizer: Any, tape: tf.GradientTape, loss: Any, network: Any) -> None:
    weights = network.trainable_variables
    optimizer.apply(tape.gradient(loss, weights), weights)


def _compiled(step: Step) -> Step:
    """`step` as one graph, traced once for each shape of a batch."""
    return tf.function(step)  # type: ignore[no-any-return]

"""The losses, free of a backend. Logits are the discriminator's raw outputs; images are (N, S, S, 3) float32 [-1, 1]."""

from __future__ import annotations

from typing import Any

from keras import ops

from pix2pix.spec import Spec


def adversarial(spec: Spec, logits: Any, real: bool) -> Any:
    """How far `logits`, (N, h, w, 1) float32, are from "real" (or from "generated"): a scalar, the mean over all patches.

    mse: (logit - 1)² or logit² (least squares, Mao et al. 2017). bce: binary cross-entropy of sigmoid(logit) (Goodfellow
    et al. 2014), computed as softplus so that it stays finite for any logit.
    """
    if spec.adversarial == "mse":
        return ops.mean(ops.square(logits - (1.0 if real else 0.0)))
    return ops.mean(ops.softplus(-logits if real else logits))


def discriminator_loss(spec: Spec, logits_real: Any, logits_fake: Any) -> tuple[Any, Any, Any]:
    """(0.5 * (real + fake), real, fake): three scalars."""
    real = adversarial(spec, logits_real, True)
    fake = adversarial(spec, logits_fake, False)
    return 0.5 * (real + fake), real, fake


def generator_loss(spec: Spec, logits_fake: Any, fake: Any, b: Any) -> tuple[Any, Any, Any]:
    """(adversarial + l1_weight * l1, adversarial, l1): three scalars; l1 = mean |fake - b| on [-1, 1] (Isola et al. 2017)."""
    fooled = adversarial(spec, logits_fake, True)
    l1 = ops.mean(ops.abs(fake - b))
    return fooled + spec.l1_weight * l1, fooled, l1

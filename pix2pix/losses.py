"""The losses and the objective, free of a backend. Logits are D's raw outputs; images are (N, S, S, 3) float32 [-1, 1].

step_tf.py and step_jax.py turn `objective` into gradients and updates; what is minimised stands here alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pix2pix.backend import keras, ops
from pix2pix.pixels import LUMA
from pix2pix.spec import Spec

BLOCK = 8  # pixels a side, of the windows of `dissimilarity`
PLAYS = ("both", "generator", "discriminator")  # which networks an update changes


def adversarial(spec: Spec, logits: Any, real: bool) -> Any:
    """How far `logits`, (N, h, w, 1) float32, are from "real" (or from "generated"): a scalar, the mean over all patches.

    mse: (logit - 1)² or logit² (least squares, Mao et al. 2017). bce: binary cross-entropy of sigmoid(logit) (Goodfellow
    et al. 2014), computed as softplus so that it stays finite for any logit.
    """
    if spec.adversarial == "mse":
        return ops.mean(ops.square(logits - (1.0 if real else 0.0)))
    return ops.mean(ops.softplus(-logits if real else logits))


def dissimilarity(fake: Any, b: Any) -> Any:
    """1 - SSIM of each channel on [0, 1], the mean over blocks of 8 × 8 pixels: a scalar, 0 for equal images, at most 2.

    Wang et al. 2004 with a flat window, as a loss after Zhao et al. 2017. The blocks lie side by side: means of a sliding window
    cost much more.
    """
    height, width = (side // BLOCK * BLOCK for side in b.shape[1:3])

    def means(image: Any) -> Any:
        blocks = ops.reshape(image, (-1, height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3))
        return ops.mean(blocks, axis=(2, 4))

    x, y = (0.5 * (image[:, :height, :width] + 1.0) for image in (fake, b))
    mean_x, mean_y = means(x), means(y)
    covariance = means(x * y) - mean_x * mean_y
    variances = means(x * x) - mean_x * mean_x + means(y * y) - mean_y * mean_y
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2.0 * mean_x * mean_y + c1) * (2.0 * covariance + c2)
    return 1.0 - ops.mean(ssim / ((mean_x * mean_x + mean_y * mean_y + c1) * (variances + c2)))


def in_range(image: Any) -> Any:
    """uint8 0..255 -> float32 [-1, 1], as pixels.to_float; what is float32 already, as it is.

    Batches travel to the device as uint8: a quarter of the bytes.
    """
    if keras.backend.standardize_dtype(image.dtype) != "uint8":
        return image
    return ops.cast(image, "float32") / 127.5 - 1.0


def objective(spec: Spec, generator: Any, discriminator: Any, a: Any, b: Any, play: str) -> dict[str, Any]:
    """One pass of both networks in training mode over a batch: every loss, scalars.

    d_loss = (d_real + d_fake) / 2 is what D minimises; g_loss = adversarial_weight * g_adversarial + l1_weight * g_l1
    (+ ssim_weight * g_ssim) is what G minimises; g_l1 = mean |fake - b| on [-1, 1] (Isola et al. 2017), g_ssim = `dissimilarity`.
    D sees A and an image. A generator of colours alone is held against B of its own luminance (that of A, which may have faded,
    is none of its business) and of stronger colours. In the play "generator" D is not asked, and g_loss is without it; in
    the play "discriminator" G runs as it restores.
    """
    fake = generator(a, training=play != "discriminator")
    if spec.generator.starts_from == "luminance":
        b = with_luminance(b, fake, spec.vivid)
    losses: dict[str, Any] = {}
    if play != "generator":
        losses["d_real"] = adversarial(spec, discriminator([a, b], training=True), True)
        logits = discriminator([a, fake], training=True)
        losses["d_fake"] = adversarial(spec, logits, False)
        losses["d_loss"] = 0.5 * (losses["d_real"] + losses["d_fake"])
        losses["g_adversarial"] = adversarial(spec, logits, True)
    return {**losses, **generator_losses(spec, losses.get("g_adversarial"), fake, b)}


def with_luminance(b: Any, image: Any, vivid: float = 1.0) -> Any:
    """`b`, (N, H, W, 3) float32, with the Y of BT.601 of `image`, and colours `vivid` times as strong.

    L1 makes the median of what may be, and where much may be that is close to gray: stronger colours to aim at make up for it.
    """
    luma = ops.convert_to_tensor(LUMA)
    own, given = (ops.sum(each * luma, axis=-1, keepdims=True) for each in (b, image))
    return ops.stop_gradient(given) + vivid * (b - own)


def generator_losses(spec: Spec, fooled: Any, fake: Any, b: Any) -> dict[str, Any]:
    """g_l1, g_ssim where it has a weight, and g_loss: their sum with `fooled`, the adversarial loss, or None without D."""
    losses = {"g_l1": ops.mean(ops.abs(fake - b))}
    total = spec.l1_weight * losses["g_l1"]
    if fooled is not None:
        total = spec.adversarial_weight * fooled + total
    if spec.ssim_weight:
        losses["g_ssim"] = dissimilarity(fake, b)
        total = total + spec.ssim_weight * losses["g_ssim"]
    return {**losses, "g_loss": total}


def norm(gradients: Sequence[Any]) -> Any:
    """The Euclidean norm of all gradients of a network together, a scalar: not finite where any of them is not."""
    return ops.sqrt(sum(ops.sum(ops.square(each)) for each in gradients))


def averaged(average: Any, value: Any, updates: Any, decay: float) -> Any:
    """One step of the moving average of a weight; its decay grows with the updates done, (1 + n) / (10 + n), up to `decay`."""
    count = ops.cast(updates, "float32")
    keep = ops.minimum(decay, (1.0 + count) / (10.0 + count))
    return average + (1.0 - keep) * (value - average)

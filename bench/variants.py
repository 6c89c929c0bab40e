"""What `bench.ablation` compares `mend` with: changes of its numbers, and parts that others use and it does not have."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, fields, replace
from typing import Any
from unittest.mock import patch

from pix2pix import losses
from pix2pix.backend import keras, layers, ops
from pix2pix.losses import generator_losses, objective
from pix2pix.spec import PRESETS, GeneratorSpec, Spec

MEND = PRESETS["mend"]


@dataclass(frozen=True)
class Variant:
    """`changes` of the spec, by field; and what stands in for parts of the package while it is trained, by their dotted names."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    swapped: Mapping[str, Any] = field(default_factory=dict)

    def spec(self, name: str, task: str) -> Spec:
        """`mend` for the task, changed, under that name."""
        mend = MEND.for_task(task)
        return Fixed(**{**{each.name: getattr(mend, each.name) for each in fields(mend)}, **self.changes, "name": name})

    def in_place(self) -> AbstractContextManager[Any]:
        """As long as it is entered, the parts are swapped."""
        swaps = ExitStack()
        for place, part in self.swapped.items():
            swaps.enter_context(patch.dict(place, part) if isinstance(part, dict) else patch(place, part))
        return swaps


class Fixed(Spec):
    """A spec whose generator is what it says, whatever the task."""

    def for_task(self, task: str) -> Spec:
        return self


def generator(task: str = "mosaic", **changes: Any) -> dict[str, Any]:
    """The generator for a task, changed so."""
    return {"generator": replace(MEND.for_task(task).generator, **changes)}


# --- parts that the package does not have


def gradient_difference(fake: Any, b: Any) -> Any:
    """mean |∇fake - ∇b|, of neighbours across and down (Mathieu et al. 2016, with an exponent of 1); in the place of 1 - SSIM."""
    down = (fake[:, 1:] - fake[:, :-1]) - (b[:, 1:] - b[:, :-1])
    across = (fake[:, :, 1:] - fake[:, :, :-1]) - (b[:, :, 1:] - b[:, :, :-1])
    return ops.mean(ops.abs(down)) + ops.mean(ops.abs(across))


def matching_features(spec: Spec, generator: Any, discriminator: Any, a: Any, b: Any, play: str) -> dict[str, Any]:
    """`losses.objective`, and 10 times the mean difference of D's features of restored and original (Wang et al. 2018)."""
    if play == "generator":
        return objective(spec, generator, discriminator, a, b, play)
    fake = generator(a, training=play != "discriminator")
    seen = [layer.output for layer in discriminator.layers if layer.name.endswith("_act")]
    features = keras.Model(discriminator.inputs, [*seen, *discriminator.outputs])
    *originals, real = features([a, b], training=True)
    *restored, logits = features([a, fake], training=True)
    found = {"d_real": losses.adversarial(spec, real, True), "d_fake": losses.adversarial(spec, logits, False)}
    found["d_loss"] = 0.5 * (found["d_real"] + found["d_fake"])
    found["g_adversarial"] = losses.adversarial(spec, logits, True)
    found |= generator_losses(spec, found["g_adversarial"], fake, b)
    pairs = zip(originals, restored, strict=True)
    found["g_features"] = sum(ops.mean(ops.abs(ops.cast(ops.stop_gradient(one) - other, "float32"))) for one, other in pairs)
    found["g_loss"] = found["g_loss"] + 10.0 * found["g_features"]
    return found


def two_scales(spec: Spec, precision: str, x: Any) -> Any:
    """The plain discriminator, and another one on the images at half the size (Wang et al. 2018): (N, h, w, 2)."""
    scales = []
    for name, image in (("whole", x), ("half", layers.AveragePooling2D(2, dtype=precision, name="half_pool")(x))):
        y = image
        for level, width in enumerate(spec.discriminator.filters, 1):
            y = layers.Conv2D(width, 4, strides=2, padding="same", dtype=precision, name=f"{name}_{level}_conv")(y)
            y = layers.LeakyReLU(0.2, dtype=precision, name=f"{name}_{level}_act")(y)
        scales.append(layers.Conv2D(1, 4, padding="same", dtype=precision, name=f"{name}_out_conv")(y))
    whole, half = scales
    half = layers.UpSampling2D(2, dtype=precision, name="half_double")(half)
    return layers.Concatenate(dtype=precision, name="scales")([whole, half])


def squared(spec: Spec, fooled: Any, fake: Any, b: Any) -> dict[str, Any]:
    """`losses.generator_losses` with 4 mean (fake - b)² in the place of mean |fake - b|: it aims at the mean, not the median."""
    found = generator_losses(spec, fooled, fake, b)
    return {**found, "g_loss": found["g_loss"] + spec.l1_weight * (4.0 * ops.mean(ops.square(fake - b)) - found["g_l1"])}


def in_lab(spec: Spec, fooled: Any, fake: Any, b: Any) -> dict[str, Any]:
    """`losses.generator_losses` with L1 in CIELAB, a hundredth of it, in the place of L1 in sRGB."""
    found = generator_losses(spec, fooled, fake, b)
    different = ops.mean(ops.abs(lab(fake) - lab(b))) / 100.0
    return {**found, "g_loss": found["g_loss"] + spec.l1_weight * (different - found["g_l1"])}


def lab(image: Any) -> Any:
    """(N, H, W, 3) sRGB [-1, 1] -> CIELAB (IEC 61966-2-1, D65); values beyond sRGB go on linearly."""
    x = 0.5 * (image + 1.0)
    linear = ops.where(x > 0.04045, ((ops.maximum(x, 0.04045) + 0.055) / 1.055) ** 2.4, x / 12.92)
    red, green, blue = (linear[..., channel] for channel in range(3))
    x, y, z = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883,
    )
    edge = 6.0 / 29.0
    x, y, z = (ops.where(t > edge**3, ops.maximum(t, edge**3) ** (1 / 3), t / (3 * edge**2) + 4.0 / 29.0) for t in (x, y, z))
    return ops.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1)


# --- {name: what is changed}

EARLY = {"alone": 0, "adversarial_weight": 1.0}  # D from the first step, with a weight that shows
PATCHES = replace(PRESETS["paper"].discriminator, filters=(16, 32, 64, 128))  # four levels see 70 × 70 pixels
MOSAIC = {
    "`mend`": Variant(),
    "it starts from A at 256 × 256, not from cells": Variant(generator(starts_from="input", stem=4)),
    "Adam for all kernels": Variant({"muon": 0.0}),
    "Muon at 0.01": Variant({"muon": 0.01}),
    "Muon at 0.04": Variant({"muon": 0.04}),
    "batches of 8": Variant({"batch": 8}),
    "batches of 32": Variant({"batch": 32}),
    "the rate falls from step 30 on": Variant({"hold": 30}),
    "half the channels": Variant(generator(filters=(16, 32, 64, 96))),
    "twice the channels": Variant(generator(filters=(64, 128, 256, 384))),
    "a coarsest level of 128 channels": Variant(generator(filters=(32, 64, 128, 128))),
    "two blocks on each level but the finest": Variant(generator(blocks=(1, 2, 2, 2))),
    "two blocks on the finest level": Variant(generator(blocks=(2, 1, 1, 2))),
    "a U-Net of 4 × 4 convolutions with BatchNorm, as `article`": Variant(
        {"generator": GeneratorSpec("upsampling_unet", (32, 64, 128, 256, 512, 512, 512, 512)), "muon": 0.0}
    ),
    "A as it was built, not anew": Variant({"fresh": False}),
    "no jitter, no mirroring": Variant({"jitter": 0, "flip": False}),
    "no SSIM in the loss": Variant({"ssim_weight": 0.0}),
    "differences of gradients in the loss, not SSIM": Variant(
        {"ssim_weight": 25.0}, {"pix2pix.losses.dissimilarity": gradient_difference}
    ),
    "the discriminator from the first step": Variant({"alone": 0}),
    "the discriminator from the first step, weight 1": Variant(EARLY),
    "the same, 70 × 70 patches of normed features": Variant({**EARLY, "discriminator": PATCHES}),
    "the same, at two scales": Variant(EARLY, {"pix2pix.discriminators.DISCRIMINATORS": {"plain": two_scales}}),
    "the same, features matched": Variant(EARLY, {"pix2pix.step_tf.objective": matching_features}),
}
COLORIZE = {
    "`mend`": Variant(),
    "half the channels": Variant(generator("colorize", filters=(16, 32, 64, 96))),
    "twice the channels": Variant(generator("colorize", filters=(64, 128, 256, 384))),
    "aims at colours as they are": Variant({"vivid": 1.0}),
    "at colours twice as strong": Variant({"vivid": 2.0}),
    "L1 in CIELAB": Variant({}, {"pix2pix.losses.generator_losses": in_lab}),
    "it predicts R, G and B as they are, from A": Variant({"generator": MEND.generator}),
    "Adam for all kernels": Variant({"muon": 0.0}),
    "the discriminator from the first step, weight 2": Variant({"alone": 0, "adversarial_weight": 2.0}),
}
POLISHED = {  # that go on from a run of `mend`, with a cooldown
    "the same loss": Variant(),
    "squares in the place of L1": Variant({}, {"pix2pix.losses.generator_losses": squared}),
    "adversarial weight 0.5": Variant({"adversarial_weight": 0.5}),
    "adversarial weight 2": Variant({"adversarial_weight": 2.0}),
}
VARIANTS = {"mosaic": MOSAIC, "colorize": COLORIZE, "polished": POLISHED}

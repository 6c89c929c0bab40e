"""The variants of `bench.ablation` are what their names say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench import variants
from bench.variants import COLORIZE, MOSAIC, POLISHED, VARIANTS, Variant
from dataset_tools.metrics import srgb_to_lab
from pix2pix import losses
from pix2pix.model import Pix2Pix
from pix2pix.networks import build_discriminator
from pix2pix.pixels import to_float
from pix2pix.spec import GeneratorSpec

pytestmark = pytest.mark.slow
MATCHED, SCALES, GRADIENTS, PATCHES = (
    next(name for name in MOSAIC if word in name) for word in ("features matched", "two scales", "gradients", "70 × 70")
)


def update(variant: Variant, task: str = "mosaic") -> dict[str, float]:
    """The losses of one update of a small model, the same of every variant."""
    spec = variant.spec("small", task)
    small = GeneratorSpec("residual", (8, 8), blocks=(1, 1), stem=spec.generator.stem, starts_from=spec.generator.starts_from)
    spec = replace(spec, generator=small, size=64, window=64)
    a, b = np.random.default_rng(3).uniform(-1, 1, (2, 1, 64, 64, 3)).astype(np.float32)
    with variant.in_place():
        return Pix2Pix(spec).train_on_batch(a, b, "both")


def test_each_is_another_spec_or_has_a_part_swapped() -> None:
    for kind, several in VARIANTS.items():
        task = "mosaic" if kind == "polished" else kind
        known = [(variant.spec("same", task), sorted(variant.swapped)) for variant in several.values()]
        assert all(one not in known[:place] for place, one in enumerate(known)), kind


@pytest.mark.soak
def test_features_matched_are_a_part_of_the_loss() -> None:
    told = update(MOSAIC[MATCHED])
    early = told["g_adversarial"] + 100 * told["g_l1"] + 5 * told["g_ssim"]
    assert told["g_loss"] == pytest.approx(early + 10 * told["g_features"], rel=1e-4)
    assert told["g_features"] > 0
    assert "g_features" not in update(Variant(variants.EARLY)), "it is put back"


@pytest.mark.soak
def test_squares_stand_in_for_l1() -> None:
    told = update(POLISHED["squares in the place of L1"])
    assert (
        told["g_loss"] > 400 * told["g_l1"] ** 2 > 2 * 100 * told["g_l1"]
    )  # a mean of squares is never below the square of the mean


@pytest.mark.soak
def test_gradients_stand_in_for_ssim() -> None:
    told = update(MOSAIC[GRADIENTS])
    assert told["g_ssim"] != pytest.approx(update(Variant(variants.EARLY))["g_ssim"], rel=0.1)
    image = np.random.default_rng(0).uniform(-1, 1, (2, 6, 7, 3)).astype(np.float32)
    assert float(variants.gradient_difference(image, image + 0.25)) == pytest.approx(0, abs=1e-6)  # it knows no level
    slope = np.broadcast_to(np.arange(7, dtype=np.float32)[None, None, :, None] / 10, image.shape)
    assert float(variants.gradient_difference(slope, np.zeros_like(slope))) == pytest.approx(0.1)


@pytest.mark.soak
def test_two_discriminators_judge_patches_of_two_sizes() -> None:
    assert update(MOSAIC[SCALES])["d_loss"] > 0
    spec = replace(MOSAIC[SCALES].spec("two", "mosaic"), size=64, window=64)
    with MOSAIC[SCALES].in_place():
        two = build_discriminator(spec)
    assert two.output_shape[-1] == 2
    assert build_discriminator(spec).output_shape[-1] == 1
    assert two.count_params() == 2 * build_discriminator(spec).count_params()


def test_patches_of_70_pixels() -> None:
    """How many pixels a side of the input one logit sees: the kernels and strides of its convolutions tell."""
    spec = MOSAIC[PATCHES].spec("patches", "mosaic")
    seen, stride = 1, 1
    for layer in build_discriminator(spec).layers:
        if hasattr(layer, "kernel_size"):
            seen += (layer.kernel_size[0] - 1) * stride
            stride *= layer.strides[0]
    assert seen == 70


@pytest.mark.soak
def test_lab_is_that_of_the_metrics() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    assert np.abs(np.asarray(variants.lab(to_float(rgb)))[0] - srgb_to_lab(rgb[0])).max() < 0.2
    told: dict[str, Any] = update(COLORIZE["L1 in CIELAB"], "colorize")
    assert losses.generator_losses is variants.generator_losses, "it is put back"
    assert told["g_loss"] != pytest.approx(100 * told["g_l1"] + 5 * told["g_ssim"] + 0.1 * told["g_adversarial"], rel=1e-3)

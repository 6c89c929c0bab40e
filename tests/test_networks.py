"""The networks: exact sizes, stable names, and what their layers promise."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest

from dataset_tools.cells import CELL
from pix2pix.discriminators import DISCRIMINATORS
from pix2pix.generators import GENERATORS
from pix2pix.model import Pix2Pix
from pix2pix.networks import build_discriminator, build_generator, variables_by_path, weights_by_path
from pix2pix.pixels import to_float, to_uint8
from pix2pix.spec import DISCRIMINATOR_KINDS, GENERATOR_KINDS, PRESETS, STARTS, DiscriminatorSpec, GeneratorSpec, Spec

# preset -> generator: all, trainable; discriminator: all, trainable; its output at the preset's size
COUNTS = {
    "article": (41_937_603, 41_928_515, 2_771_649, 2_769_729, 16),
    "paper": (54_423_811, 54_413_955, 2_770_497, 2_768_705, 30),  # trainable: as the reference implementation counts
}

# The kinds of the presets, small: every test that does not count parameters uses these.
SMALL = {
    "article": replace(
        PRESETS["article"], size=16, generator=GeneratorSpec("upsampling_unet", (4, 6)),
        discriminator=DiscriminatorSpec("activation_norm", (4,)),
    ),
    "paper": replace(
        PRESETS["paper"], size=32, generator=GeneratorSpec("transposed_unet", (4, 6, 6, 6, 6), dropout=0.5),
        discriminator=DiscriminatorSpec("patchgan", (4, 6)),
    ),
    "tiny": replace(
        PRESETS["tiny"], size=16, generator=GeneratorSpec("residual", (6, 8), blocks=(1, 1), stem=2),
        discriminator=DiscriminatorSpec("plain", (4,)),
    ),
    "mend": replace(
        PRESETS["mend"], size=16, generator=GeneratorSpec("residual", (6, 8, 8), blocks=(1, 0, 2), stem=2, starts_from="cells"),
        discriminator=DiscriminatorSpec("plain", (4,)), window=16,
    ),
    "colorize": replace(
        PRESETS["mend"], size=16, generator=GeneratorSpec("residual", (6, 8), blocks=(1, 0), stem=4, starts_from="luminance"),
        discriminator=DiscriminatorSpec("plain", (4,)),
    ),
}  # fmt: skip
RESIDUAL = [name for name, spec in SMALL.items() if spec.generator.kind == "residual"]


def images(spec: Spec, count: int = 2, seed: int = 0) -> np.ndarray:
    """(N, side, side, 3) float32 in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, spec.side, spec.side, 3)).astype(np.float32)


def means(image: np.ndarray, side: int = CELL) -> np.ndarray:
    """(N, H, W, C) -> (N, H / side, W / side, C)."""
    count, height, width, channels = image.shape
    return image.reshape(count, height // side, side, width // side, side, channels).mean((2, 4), np.float64)


def scramble(network: Any, seed: int = 0) -> Any:
    """`network` with every weight random, so that no zero and no one hides a mistake, and no activation overflows."""
    rng = np.random.default_rng(seed)
    for path, weight in weights_by_path(network).items():
        reach = np.sqrt(3 / np.prod(weight.shape[:-1])) if path.endswith("kernel") else 0.2
        low, high = (0.5, 1.5) if path.endswith(("gamma", "moving_variance")) else (-reach, reach)
        weight.assign(rng.uniform(low, high, weight.shape))
    return network


def test_every_kind_is_built_somewhere() -> None:
    assert COUNTS.keys() | {"mend", "tiny"} == PRESETS.keys()
    assert SMALL.keys() == {*PRESETS, "colorize"}
    assert {spec.generator.starts_from for spec in SMALL.values()} == set(STARTS)
    assert set(GENERATORS) == set(GENERATOR_KINDS) == {spec.generator.kind for spec in SMALL.values()}
    assert set(DISCRIMINATORS) == set(DISCRIMINATOR_KINDS) == {spec.discriminator.kind for spec in SMALL.values()}


@pytest.mark.parametrize("name", ["article", pytest.param("paper", marks=pytest.mark.slow)])
def test_exact_parameter_counts(name: str) -> None:
    spec = PRESETS[name]
    generator, discriminator = build_generator(spec), build_discriminator(spec)
    trainable = [sum(int(np.prod(w.shape)) for w in network.trainable_weights) for network in (generator, discriminator)]
    side = discriminator.output_shape[1]
    assert (generator.count_params(), trainable[0], discriminator.count_params(), trainable[1], side) == COUNTS[name]
    assert discriminator.output_shape == (None, side, side, 1)


def residual_count(spec: GeneratorSpec) -> int:
    """The parameters of the residual generator, from its drawing: a kernel and a bias for each convolution."""
    convolution = lambda side, given, made: side**2 * given * made + made  # noqa: E731
    given, made = {"input": (3, 3), "cells": (3, 3), "luminance": (3, 2)}[spec.starts_from]
    first, levels = spec.filters[0], list(zip(spec.filters, spec.blocks, strict=True))
    blocks = [count * 2 * convolution(3, width, width) for width, count in levels]
    steps = sum(convolution(2, fine, coarse) + convolution(1, coarse, 4 * fine) for fine, coarse in pairwise(spec.filters))
    ends = convolution(3, given * spec.stem**2, first) + convolution(3, first, made * spec.stem**2)
    return ends + steps + 2 * sum(blocks[:-1]) + blocks[-1]


@pytest.mark.parametrize("task", ["mosaic", "colorize", "other"])
@pytest.mark.parametrize("name", ["mend", "tiny"])
def test_parameter_counts_of_our_own(name: str, task: str) -> None:
    spec = PRESETS[name].for_task(task)
    generator, discriminator = build_generator(spec), build_discriminator(spec)
    assert generator.count_params() == residual_count(spec.generator) <= 12_000_000
    assert not [weight for network in (generator, discriminator) for weight in network.weights if not weight.trainable]
    widths = (6, *spec.discriminator.filters)
    assert discriminator.count_params() == sum(16 * given * made + made for given, made in pairwise((*widths, 1)))
    side = spec.side >> len(spec.discriminator.filters)
    assert discriminator.output_shape == (None, side, side, 1)


@pytest.mark.parametrize("name", SMALL)
def test_shapes_and_range(name: str) -> None:
    spec = SMALL[name]
    a = images(spec)
    restored = np.asarray(scramble(build_generator(spec))(a))
    assert restored.shape == a.shape
    assert restored.dtype == np.float32
    assert np.abs(restored).max() <= 1
    logits = np.asarray(build_discriminator(spec)([a, a]))
    assert logits.dtype == np.float32
    assert logits.shape[0] == 2
    assert logits.shape[3] == 1


@pytest.mark.parametrize("name", SMALL)
def test_names_are_unique_and_the_same_in_the_next_network(name: str) -> None:
    first, second = (variables_by_path(build_generator(SMALL[name])) for _ in range(2))
    assert list(first) == list(second)
    assert all(path.startswith("generator/") and path.count("/") == 2 for path in first)
    assert not [path for path in weights_by_path(build_generator(SMALL[name])) if "seed" in path]


def test_paths_of_the_article() -> None:
    paths = list(weights_by_path(build_generator(SMALL["article"])))
    assert paths[:6] == [
        "generator/down_1_conv/kernel", "generator/down_1_conv/bias", "generator/down_1_norm/gamma",
        "generator/down_1_norm/beta", "generator/down_1_norm/moving_mean", "generator/down_1_norm/moving_variance",
    ]  # fmt: skip
    assert paths[-2:] == ["generator/out_conv/kernel", "generator/out_conv/bias"]


@pytest.mark.parametrize("name", SMALL)
def test_mixed_precision_keeps_float32_outside(name: str) -> None:
    spec = SMALL[name]
    for build, inputs in ((build_generator, images(spec)), (build_discriminator, [images(spec), images(spec, seed=1)])):
        exact, mixed = scramble(build(spec)), scramble(build(spec, "mixed_bfloat16"))
        assert {str(weight.dtype) for weight in mixed.weights} == {"float32"}
        assert {layer.compute_dtype for layer in mixed.layers if "conv" in layer.name} == {"bfloat16"}
        given = np.asarray(mixed(inputs))
        assert given.dtype == np.float32
        assert 0 < np.abs(given - np.asarray(exact(inputs))).max() < 0.05


def test_the_discriminator_sees_a_before_b() -> None:
    spec = SMALL["tiny"]
    discriminator = scramble(build_discriminator(spec))
    a, b = images(spec), images(spec, seed=1)
    kernel = discriminator.get_layer("level_1_conv").kernel
    kernel.assign(np.concatenate([np.asarray(kernel)[:, :, :3], np.zeros_like(np.asarray(kernel)[:, :, 3:])], axis=2))
    assert np.array_equal(discriminator([a, b]), discriminator([a, a]))
    assert not np.array_equal(discriminator([a, b]), discriminator([b, b]))


@pytest.mark.parametrize("name", ["tiny", "colorize"])
def test_a_residual_generator_starts_at_what_is_known_and_takes_other_sizes(name: str) -> None:
    generator = build_generator(SMALL[name])
    wide = np.random.default_rng(0).uniform(-1, 1, (1, 24, 40, 3)).astype(np.float32)
    if name == "colorize":
        gray = wide @ np.array([0.299, 0.587, 0.114], np.float32)
        assert np.allclose(generator(wide), np.repeat(gray[..., None], 3, axis=-1), atol=1e-6)
    else:
        assert np.array_equal(generator(wide), wide)


def test_a_generator_of_mosaics_starts_at_the_smooth_image_whose_means_are_the_cells() -> None:
    """Of the mosaic as of the photo that was under it: nothing but the means of the squares is seen."""
    generator = build_generator(SMALL["mend"])
    photo = cv2.GaussianBlur(np.random.default_rng(0).uniform(-1, 1, (64, 96, 3)), (0, 0), 9)
    photo = (photo / np.abs(photo).max() * 0.8).astype(np.float32)[None]
    cells = means(photo)
    mosaic = cells.repeat(CELL, 1).repeat(CELL, 2).astype(np.float32)
    for training in (False, True):
        restored = np.asarray(generator(mosaic, training=training))
        assert np.abs(means(restored) - cells).max() < 1e-6
        assert np.abs(np.asarray(generator(photo, training=training)) - restored).max() < 1e-6
    inside = (slice(None), slice(16, -16), slice(16, -16))
    assert np.abs(restored - photo)[inside].max() < 0.05 < 0.2 < np.abs(mosaic - photo)[inside].max()
    jumps = np.abs(np.diff(restored, axis=2)).max() / np.abs(np.diff(photo, axis=2)).max()
    assert jumps < 1.5  # no cell has an edge any more


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_whatever_a_generator_of_mosaics_invents_it_keeps_the_cells(precision: str) -> None:
    generator = scramble(build_generator(SMALL["mend"], precision))
    mosaic = np.random.default_rng(0).uniform(-0.2, 0.2, (2, 3, 5, 3)).repeat(CELL, 1).repeat(CELL, 2).astype(np.float32)
    invented = np.asarray(generator(mosaic, training=True))  # before it is clipped
    assert np.abs(means(invented) - means(mosaic)).max() < 1e-6
    assert np.abs(invented - np.asarray(build_generator(SMALL["mend"])(mosaic))).mean() > 0.1


@pytest.mark.parametrize("name", SMALL)
def test_a_residual_generator_is_free_of_the_rest_of_its_batch(name: str) -> None:
    generator = scramble(build_generator(SMALL[name]))
    given = images(SMALL[name], 3)
    together = np.asarray(generator(given, training=True))[:1]
    alone = np.asarray(generator(given[:1], training=True))
    assert np.allclose(together, alone, atol=1e-6) == (name in RESIDUAL)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name == "paper" else name for name in SMALL])
def test_restoring_is_free_of_the_rest_of_its_batch(name: str) -> None:
    spec = SMALL[name]
    model = Pix2Pix(spec)
    scramble(model.generator)
    a = images(spec, 4)
    together = model.restore(a)
    for one in range(4):
        alone = model.restore(a[one : one + 1])
        assert np.abs(alone - together[one]).max() <= 1e-5
    assert np.abs(together[0] - together[1]).max() > 0.1


@pytest.mark.parametrize("name", RESIDUAL)
def test_any_multiple_of_the_stride_is_restored(name: str) -> None:
    """Far enough from a border, what is restored does not depend on where it lies."""
    spec = SMALL[name]
    model = Pix2Pix(spec)
    scramble(model.generator)
    stride = spec.stride
    assert stride == spec.generator.stem << (len(spec.generator.filters) - 1)
    shown = {}
    whole, part = (24 * stride, 24 * stride), (16 * stride, 16 * stride)
    a = np.random.default_rng(0).uniform(-1, 1, (1, *whole, 3)).astype(np.float32)
    for height, width in ((stride, 3 * stride), (2 * spec.side, 2 * spec.side), part, whole):
        shown[height, width] = model.restore(a[:, :height, :width])
        assert shown[height, width].shape == (1, height, width, 3)
        assert np.abs(shown[height, width]).max() <= 1
    assert np.abs(shown[part][:, :4, :4] - shown[whole][:, :4, :4]).max() <= 1e-5  # the corner sees less than 16 strides of it


def test_colorizing_leaves_the_luminance_alone() -> None:
    """To the grey level that rounding costs, wherever no channel is clipped."""
    spec, luma = SMALL["colorize"], np.array([0.299, 0.587, 0.114])
    rgb = np.random.default_rng(3).integers(0, 256, (8, 16, 16, 3), np.uint8)
    gray = np.repeat(np.rint(rgb @ luma).astype(np.uint8)[..., None], 3, axis=-1)
    for precision in ("float32", "mixed_bfloat16"):
        generator = scramble(build_generator(spec, precision))
        for given in (gray, rgb):
            restored = to_uint8(np.asarray(generator(to_float(given), training=False)))
            inside = ((restored > 0) & (restored < 255)).all(axis=-1)
            assert 0.2 < inside.mean() < 1
            away = np.abs(restored @ luma - given @ luma)[inside]
            assert away.max() <= 1
            assert np.ptp(restored[inside].astype(int), axis=-1).mean() > 10  # there is colour


@pytest.mark.slow
def test_paper_initial_weights() -> None:
    generator = build_generator(PRESETS["paper"])
    weights = {path: np.asarray(weight) for path, weight in weights_by_path(generator).items()}
    kernels = {path: weight for path, weight in weights.items() if path.endswith("kernel")}
    assert all(abs(weight.std() - 0.02) < 2e-3 and abs(weight.mean()) < 2e-3 for weight in kernels.values())
    gamma = weights["generator/up_1_norm/gamma"]
    assert abs(gamma.mean() - 1) < 5e-3
    assert 0.015 < gamma.std() < 0.025
    assert not np.array_equal(weights["generator/down_6_conv/kernel"], weights["generator/down_7_conv/kernel"])


def test_paper_dropout_only_in_training() -> None:
    generator = scramble(build_generator(SMALL["paper"]))
    a = images(SMALL["paper"])
    assert np.array_equal(generator(a, training=False), generator(a, training=False))
    assert not np.array_equal(generator(a, training=True), generator(a, training=True))
    assert [layer.name for layer in generator.layers if "drop" in layer.name] == ["up_1_drop", "up_2_drop", "up_3_drop"]

"""The layers that Keras does not have, against what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pix2pix.backend import keras, layers, ops
from pix2pix.layers import Chroma, Clip, DepthToSpace, DoubledConv2D, Luminance, SpaceToDepth
from pix2pix.networks import build_generator
from pix2pix.pixels import chroma_matrix
from tests.test_networks import SMALL, asked, scramble

import tensorflow as tf  # isort: skip

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def uniform(*shape: int, seed: int = 0, reach: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-reach, reach, shape).astype(np.float32)


def gradients(layer: Any, x: np.ndarray, towards: np.ndarray) -> list[np.ndarray]:
    """Those of sum(layer(x) * towards), by x and by each weight."""
    given = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        whole = tf.reduce_sum(layer(given) * towards)
    return [np.asarray(each) for each in tape.gradient(whole, [given, *(w.value for w in layer.trainable_variables)])]


@pytest.mark.parametrize(("height", "width", "channels", "filters"), [(8, 8, 3, 5), (5, 7, 4, 2), (1, 3, 2, 3), (1, 1, 6, 1)])
def test_doubled_conv_is_a_doubling_and_a_convolution(height: int, width: int, channels: int, filters: int) -> None:
    x = uniform(2, height, width, channels)
    ours = DoubledConv2D(filters)
    theirs = keras.Sequential([layers.UpSampling2D(2), layers.Conv2D(filters, 4, padding="same")])
    assert ours.compute_output_shape((None, None, width, channels)) == (None, None, 2 * width, filters)
    for layer in (ours, theirs):
        layer(x)
        kernel, bias = layer.trainable_variables
        kernel.assign(uniform(4, 4, channels, filters, seed=1))
        bias.assign(uniform(filters, seed=2))
    expected = np.asarray(theirs(x))
    assert np.asarray(ours(x)).shape == expected.shape == (2, 2 * height, 2 * width, filters)
    assert np.abs(np.asarray(ours(x)) - expected).max() <= 1e-4
    towards = uniform(*expected.shape, seed=3)
    for got, wanted in zip(gradients(ours, x, towards), gradients(theirs, x, towards), strict=True):
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() <= 1e-4


def test_doubled_conv_starts_as_a_convolution_does() -> None:
    keras.utils.set_random_seed(3)
    ours, theirs = DoubledConv2D(32), layers.Conv2D(32, 4, padding="same")
    for layer in (ours, theirs):
        layer(uniform(1, 4, 4, 64))
    reach = np.sqrt(6 / (16 * (64 + 32)))  # Glorot, uniform, of a 4×4 kernel
    for layer in (ours, theirs):
        kernel, bias = (np.asarray(each) for each in layer.trainable_variables)
        assert 0.99 * reach < np.abs(kernel).max() <= reach
        assert not bias.any()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_squares_of_pixels_become_channels_and_back(factor: int) -> None:
    x = np.arange(2 * 8 * 12 * 3, dtype=np.float32).reshape(2, 8, 12, 3)
    folded = np.asarray(SpaceToDepth(factor)(x))
    assert folded.shape == SpaceToDepth(factor).compute_output_shape(x.shape) == (2, 8 // factor, 12 // factor, 3 * factor**2)
    for row, column in ((0, 0), (1, 2)):
        square = x[1, factor * row : factor * (row + 1), factor * column : factor * (column + 1)]
        assert np.array_equal(folded[1, row, column], square.ravel())  # row, column, colour
    unfolded = np.asarray(DepthToSpace(factor)(folded))
    assert np.array_equal(unfolded, x)
    assert DepthToSpace(factor).compute_output_shape(folded.shape) == x.shape
    assert SpaceToDepth(factor).compute_output_shape((None, None, None, 3)) == (None, None, None, 3 * factor**2)


def test_depth_to_space_is_tensorflows() -> None:
    x = uniform(2, 3, 5, 12)
    assert np.array_equal(DepthToSpace(2)(x), tf.nn.depth_to_space(x, 2))
    assert np.array_equal(SpaceToDepth(2)(uniform(2, 4, 6, 3)), tf.nn.space_to_depth(uniform(2, 4, 6, 3), 2))


def test_luminance_is_bt601() -> None:
    x = uniform(2, 4, 4, 3)
    given = np.asarray(Luminance()(x))
    assert given.shape == x.shape == Luminance().compute_output_shape(x.shape)
    assert np.abs(given - (x @ LUMA)[..., None]).max() <= 1e-6
    gray = np.repeat(uniform(2, 4, 4, 1), 3, axis=-1)
    assert np.abs(np.asarray(Luminance()(gray)) - gray).max() <= 1e-6


def test_chroma_leaves_the_luminance_alone() -> None:
    x, differences = uniform(2, 16, 16, 3), uniform(2, 16, 16, 2, seed=1, reach=2)
    known, colour = Luminance()(x), Chroma()(differences)
    assert np.asarray(colour).shape == Chroma().compute_output_shape(differences.shape) == x.shape
    assert np.abs(np.asarray(known + colour) @ LUMA - x @ LUMA).max() <= 1e-5
    # Cb and Cr come back out of it by their definition, (B - Y) / 1.772 and (R - Y) / 1.402
    luma, rgb = x @ LUMA, np.asarray(known + colour)
    assert np.abs((rgb[..., 2] - luma) / 1.772 - differences[..., 0]).max() <= 1e-5
    assert np.abs((rgb[..., 0] - luma) / 1.402 - differences[..., 1]).max() <= 1e-5
    assert np.abs(chroma_matrix() @ LUMA.astype(np.float64)).max() <= 1e-7


def test_clip_only_when_restoring() -> None:
    x = uniform(2, 4, 4, 3, reach=3)
    clip = Clip()
    assert np.array_equal(clip(x, training=True), x)
    assert np.array_equal(clip(x), np.clip(x, -1, 1))
    assert np.array_equal(clip(x, training=False), np.clip(x, -1, 1))
    assert clip.compute_output_shape((None, 4, 4, 3)) == (None, 4, 4, 3)


@pytest.mark.parametrize("name", ["tiny", "mend", "colorize"])
def test_clip_hears_of_training_through_a_network(name: str) -> None:
    spec = replace(SMALL[name], generator=replace(SMALL[name].generator, dropout=0.0))
    generator = scramble(build_generator(spec))
    generator.get_layer("out_conv").bias.assign(uniform(*generator.get_layer("out_conv").bias.shape, reach=3))
    free, held = np.asarray(generator(asked(spec), training=True)), np.asarray(generator(asked(spec), training=False))
    assert np.abs(held).max() == 1 < np.abs(free).max()
    assert np.array_equal(np.clip(free, -1, 1), held)
    assert np.array_equal(generator(asked(spec)), held)


OURS: dict[str, tuple[Callable[[str], Any], int]] = {  # name -> (dtype -> layer, channels that it takes)
    "DoubledConv2D": (lambda dtype: DoubledConv2D(3, dtype=dtype), 3),
    "SpaceToDepth": (lambda dtype: SpaceToDepth(2, dtype=dtype), 3),
    "DepthToSpace": (lambda dtype: DepthToSpace(2, dtype=dtype), 8),
    "Luminance": (lambda dtype: Luminance(dtype=dtype), 3),
    "Chroma": (lambda dtype: Chroma(dtype=dtype), 2),
    "Clip": (lambda dtype: Clip(dtype=dtype), 3),
}


@pytest.mark.parametrize("name", OURS)
def test_half_precision_is_near(name: str) -> None:
    make, channels = OURS[name]
    x = uniform(1, 4, 4, channels)
    found = []
    for dtype in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        given = make(dtype)(x)
        assert keras.backend.standardize_dtype(given.dtype) == dtype.removeprefix("mixed_")
        found.append(np.asarray(ops.cast(given, "float32")))
    assert 0 < np.abs(found[0] - found[1]).max() < 0.03

"""The layers that Keras does not have, against what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from dataset_tools.cells import CELL
from pix2pix.backend import keras, layers, ops
from pix2pix.layers import (
    REACH,
    Between,
    CellMeans,
    Chroma,
    Clip,
    DepthToSpace,
    DoubledConv2D,
    KeepMeans,
    Luminance,
    SpaceToDepth,
    between_kernel,
)
from pix2pix.networks import build_generator
from pix2pix.pixels import chroma_matrix
from tests.test_networks import SMALL, images, means, scramble

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


def between(cells: np.ndarray) -> np.ndarray:
    """The smooth image between cells: (N, h, w, 3) -> (N, 8 h, 8 w, 3)."""
    folded = Between()(cells)
    assert tuple(folded.shape) == Between().compute_output_shape(cells.shape) == (*cells.shape[:3], 3 * CELL**2)
    return np.asarray(DepthToSpace(CELL)(folded))


def smooth(height: int, width: int, sigma: float = 12, seed: int = 0) -> np.ndarray:
    """(1, H, W, 3) from -1 to 1."""
    image = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(height, width, 3)), (0, 0), sigma)
    low, high = image.min(), image.max()
    return np.asarray((2 * (image - low) / (high - low) - 1)[None], np.float32)


def test_cell_means_are_the_means_of_squares() -> None:
    x = uniform(2, 16, 40, 3)
    found = np.asarray(CellMeans()(x))
    assert found.shape == CellMeans().compute_output_shape(x.shape) == (2, 2, 5, 3)
    assert CellMeans().compute_output_shape((None, None, None, 3)) == (None, None, None, 3)
    assert np.abs(found - means(x)).max() < 1e-6
    cells = uniform(1, 3, 2, 3)
    assert np.abs(np.asarray(CellMeans()(cells.repeat(CELL, 1).repeat(CELL, 2))) - cells).max() < 1e-6


def test_between_equal_cells_there_is_their_colour() -> None:
    colour = np.array([-1.0, 0.25, 0.9], np.float32)
    for shape in ((1, 1), (2, 5), (7, 3)):  # fewer than the kernel reaches, too: the outermost go on
        assert np.abs(between(np.broadcast_to(colour, (1, *shape, 3)).copy()) - colour).max() < 1e-5


def test_every_output_of_between_weighs_its_own_colour_alone_and_to_one() -> None:
    kernel = between_kernel()
    assert kernel.shape == (2 * REACH + 1, 2 * REACH + 1, 3, 3 * CELL**2)
    assert kernel.dtype == np.float32
    sums = kernel.sum(axis=(0, 1))  # (3, 3 CELL²)
    assert np.abs(sums - np.tile(np.eye(3), CELL**2)).max() < 1e-5
    places = kernel.reshape(*kernel.shape[:3], CELL, CELL, 3)
    for colour in range(3):
        assert not places[:, :, colour, :, :, np.arange(3) != colour].any()
        own = places[:, :, colour, :, :, colour]
        assert np.array_equal(own, places[:, :, 0, :, :, 0])
        assert np.allclose(own, own[::-1, ::-1, ::-1, ::-1], atol=1e-6)  # turned by half a turn
        assert np.allclose(own, own.transpose(1, 0, 3, 2), atol=1e-6)  # rows as columns


def test_the_means_of_what_lies_between_are_nearly_the_cells() -> None:
    """Nearer than those of the cubic alone, and it is nearer to the image, too."""
    image = smooth(96, 128)
    cells = means(image).astype(np.float32)
    made = between(cells)
    off = np.abs(means(made) - cells)
    assert off.max() < 0.02  # 1 % of the range
    cubic = cv2.resize(cells[0], (128, 96), interpolation=cv2.INTER_CUBIC)[None]
    assert off.mean() < np.abs(means(cubic) - cells).mean() / 3
    assert np.abs(made - image).mean() < np.abs(cubic - image).mean()
    assert np.abs(made - image).mean() < np.abs(cells.repeat(CELL, 1).repeat(CELL, 2) - image).mean() / 5


def test_between_is_the_same_everywhere_and_draws_lines_straight() -> None:
    ramp = np.arange(12, dtype=np.float32) / 6 - 1
    cells = np.broadcast_to(ramp[None, None, :, None], (1, 10, 12, 3)).copy()
    along = np.interp((np.arange(96) + 0.5) / CELL - 0.5, np.arange(12), ramp)
    edge = REACH * CELL
    for turned in (False, True):
        made = between(cells.transpose(0, 2, 1, 3) if turned else cells)
        made = made.transpose(0, 2, 1, 3) if turned else made
        assert np.abs(made[..., edge:-edge, :] - along[edge:-edge, None]).max() < 1e-5
    spot = np.zeros((1, 24, 24, 3), np.float32)
    spot[0, 9, 10] = 1
    moved = np.roll(spot, (3, -2), axis=(1, 2))
    assert np.allclose(np.roll(between(spot), (3 * CELL, -2 * CELL), axis=(1, 2)), between(moved), atol=1e-6)


def test_keep_means_moves_each_square_to_its_cell() -> None:
    image, cells = uniform(2, 16, 24, 3), uniform(2, 2, 3, 3, seed=1)
    layer = KeepMeans()
    moved = np.asarray(layer([image, cells]))
    assert moved.shape == layer.compute_output_shape([image.shape, cells.shape]) == image.shape
    assert np.abs(means(moved) - cells).max() < 1e-6
    rise = (moved - image).reshape(2, 2, CELL, 3, CELL, 3)
    assert np.abs(rise - rise[:, :, :1, :, :1]).max() < 1e-6  # all the pixels of a square by as much
    assert np.abs(np.asarray(layer([moved, cells])) - moved).max() < 1e-6
    assert np.abs(np.asarray(layer([image, means(image).astype(np.float32)])) - image).max() < 1e-6


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
    free, held = np.asarray(generator(images(spec), training=True)), np.asarray(generator(images(spec), training=False))
    assert np.abs(held).max() == 1 < np.abs(free).max()
    assert np.array_equal(np.clip(free, -1, 1), held)
    assert np.array_equal(generator(images(spec)), held)


OURS: dict[str, tuple[Callable[[str], Any], int]] = {  # name -> (dtype -> layer, channels that it takes)
    "DoubledConv2D": (lambda dtype: DoubledConv2D(3, dtype=dtype), 3),
    "SpaceToDepth": (lambda dtype: SpaceToDepth(2, dtype=dtype), 3),
    "DepthToSpace": (lambda dtype: DepthToSpace(2, dtype=dtype), 8),
    "CellMeans": (lambda dtype: CellMeans(dtype=dtype), 3),
    "Between": (lambda dtype: Between(dtype=dtype), 3),
    "KeepMeans": (lambda dtype: KeepMeans(dtype=dtype), 3),
    "Luminance": (lambda dtype: Luminance(dtype=dtype), 3),
    "Chroma": (lambda dtype: Chroma(dtype=dtype), 2),
    "Clip": (lambda dtype: Clip(dtype=dtype), 3),
}


@pytest.mark.parametrize("name", OURS)
def test_half_precision_is_near(name: str) -> None:
    make, channels = OURS[name]
    x = uniform(1, 8, 8, channels)
    asked = [x, uniform(1, 1, 1, channels, seed=1)] if name == "KeepMeans" else x
    found = []
    for dtype in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        given = make(dtype)(asked)
        assert keras.backend.standardize_dtype(given.dtype) == dtype.removeprefix("mixed_")
        found.append(np.asarray(ops.cast(given, "float32")))
    assert 0 < np.abs(found[0] - found[1]).max() < 0.03

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dataset_tools import image_io, resources
from dataset_tools.cells import CELL, even
from dataset_tools.mosaic_grid import Grid, cell_means
from pipelines.whole_image import TILE, colorized, in_tiles, restored_in_tiles, size_for
from pix2pix.pixels import LUMA

SAMPLES = sorted(resources.path("samples").glob("*.jpg"))


def grey_of(rgb: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(rgb @ LUMA).astype(np.uint8)[..., None], 3, axis=-1)


def test_the_size_at_which_a_model_sees_a_photo() -> None:
    assert size_for((256, 256, 3), 256, 32) == (256, 256)
    assert size_for((3000, 4000, 3), 256, 32) == (224, 288)
    assert size_for((1000, 60000, 3), 256, 32) == (32, 1984)
    assert size_for((1, 1, 3), 256, 32) == (256, 256)


@pytest.mark.parametrize("shape", [(256, 256), (611, 333), (97, 1025), (40, 30)])
def test_colours_come_from_the_model_and_the_luminance_stays(shape: tuple[int, int]) -> None:
    rgb = cv2.resize(image_io.read(SAMPLES[0]).rgb8, shape[::-1], interpolation=cv2.INTER_AREA)
    grey = grey_of(rgb)

    def known(batch: np.ndarray) -> np.ndarray:
        height, width = batch.shape[1:3]
        assert (height % 32, width % 32) == (0, 0)
        return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))[None]

    made, paler = colorized(grey, known, 256, 32)
    assert made.shape == rgb.shape
    assert np.abs(made @ LUMA - grey @ LUMA).max() <= 1
    assert 0 <= paler < 0.1
    assert np.abs(made.astype(int) - rgb).mean() < 0.25 * np.abs(grey.astype(int) - rgb).mean()
    assert np.array_equal(colorized(grey, known, 256, 32, strength=0)[0], grey)


def test_a_colour_that_cannot_be_shown_is_made_paler_and_counted() -> None:
    grey = np.full((300, 300, 3), 250, np.uint8)
    grey[:, :100] = 100

    def red(batch: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.array([255, 60, 60], np.uint8), batch.shape).copy()

    made, paler = colorized(grey, red, 64, 16)
    assert np.abs(made @ LUMA - grey @ LUMA).max() <= 1
    assert paler == pytest.approx(2 / 3, abs=0.02)
    assert (made[:, :90, 0] > made[:, :90, 1].astype(int) + 100).all()


def test_strips_are_as_one_piece() -> None:
    rgb = image_io.read(SAMPLES[1]).rgb8
    grey = grey_of(rgb)

    def known(batch: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.resize(rgb, batch.shape[2:0:-1], interpolation=cv2.INTER_AREA))[None]

    made, _ = colorized(grey, known, 128, 32)
    edges = np.abs(np.diff(made.astype(int) - grey, axis=0)).mean(axis=(1, 2))  # of the colour alone, between rows
    assert edges[[255, 511]].max() < 3 * np.median(edges) + 0.5


@pytest.mark.parametrize("shape", [(64, 64), (65, 64), (200, 333), (63, 500), (20, 7), (1, 1)])
def test_tiles_give_the_photo_back_at_its_size(shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    seen = []

    def same(batch: np.ndarray) -> np.ndarray:
        seen.append(batch.shape)
        return batch

    assert np.array_equal(restored_in_tiles(rgb, same, 64), rgb)
    assert {each[1:] for each in seen} == {(64, 64, 3)}
    assert max(each[0] for each in seen) <= 8


def test_tiles_that_disagree_fade_into_each_other() -> None:
    """Each tile comes back 20 levels lighter or darker: no step between neighbouring pixels may show where one ends."""
    rgb = np.full((260, 420, 3), 128, np.uint8)
    count = 0

    def uneven(batch: np.ndarray) -> np.ndarray:
        nonlocal count
        shifts = [20 if (count + place) % 2 else -20 for place in range(len(batch))]
        count += len(batch) + 1
        return np.stack([tile + np.array(shift, np.int64) for tile, shift in zip(batch, shifts, strict=True)]).astype(np.uint8)

    made = restored_in_tiles(rgb, uneven, 64).astype(int)
    assert made.max() - made.min() >= 30
    assert max(np.abs(np.diff(made, axis=0)).max(), np.abs(np.diff(made, axis=1)).max()) <= 4  # 40 levels over 16 pixels


def of_single_cells(batch: np.ndarray) -> np.ndarray:
    """What a model makes that looks at one cell alone: a slope in each, as steep as it is red."""
    slope = np.linspace(-1, 1, CELL)
    means = batch.reshape(len(batch), batch.shape[1] // CELL, CELL, batch.shape[2] // CELL, CELL, 3).astype(float)
    made = means + means[..., :1] / 8 * slope[:, None, None, None] + 9 * slope[:, None]
    return np.rint(made).clip(0, 255).astype(np.uint8).reshape(batch.shape)


@pytest.mark.parametrize("cells", [(3, 5), (64, 64), (65, 20), (64, 90), (20, 300), (130, 97)])
def test_tiles_of_cells_are_as_one_piece(cells: tuple[int, int]) -> None:
    means = np.random.default_rng(0).integers(0, 256, (*cells, 3)).astype(np.uint8)
    given = []

    def run(batch: np.ndarray) -> np.ndarray:
        given.append(batch)
        return of_single_cells(batch)

    image = even(means, 32)
    assert np.array_equal(in_tiles(run, image[None])[0], of_single_cells(image[None])[0])
    if max(image.shape) <= TILE:
        assert [batch.shape for batch in given] == [(1, *image.shape)]
        return
    assert {batch.shape[1:] for batch in given} == {(TILE, TILE, 3)}
    for tile in np.concatenate(given):  # which begin where cells do
        height, width = (min(side, TILE) for side in image.shape[:2])
        shown = tile[:height, :width]
        assert np.array_equal(shown, even(cell_means(shown, Grid(CELL))))


def test_small_images_of_cells_go_together_and_large_ones_alone() -> None:
    for side, calls in ((TILE, [3]), (TILE + 32, [2, 2] * 3)):
        images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3)).astype(np.uint8)
        counts = []

        def same(batch: np.ndarray, counts: list[int] = counts) -> np.ndarray:
            counts.append(len(batch))
            return batch

        assert np.array_equal(in_tiles(same, images), images)
        assert counts == calls

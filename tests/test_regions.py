from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from dataset_tools import crops, image_io, resources
from dataset_tools.mosaic_grid import Grid, between, cell_means, paint
from dataset_tools.mosaic_regions import Region, find_regions
from pipelines.regions import UnknownBlocks, masked_means, pasted, placed, seen_by_the_model, trained_blocks
from tests.test_mosaic_regions import box, ellipse, jpeg, laid, photo

CARD: dict[str, Any] = {
    "size": 256,
    "stride": 32,
    "recipe": ["mosaic:block=16,phase=0"],
    "crop": {"kind": "faces", "margin": 0.25},
}


def region(grid: Grid, top: int, left: int, bottom: int, right: int) -> Region:
    return Region(grid, (top, left, bottom, right), np.ones((bottom - top, right - left), bool))


def test_the_blocks_that_a_recipe_lays() -> None:
    assert trained_blocks(["mosaic:block=16,phase=0"]) == (16, 16)
    assert trained_blocks(["blur:sigma=2", "mosaic:block=6..24,phase=random", "mosaic:block=32"]) == (6, 32)
    assert trained_blocks(["grayscale"]) is None


def test_a_region_is_given_the_margin_that_faces_had() -> None:
    spot = placed(region(Grid(15), 100, 200, 276, 340), CARD, any_size=False)
    assert (spot.window.side, spot.size, spot.note) == (264, 256, "")  # 176 * 1.5; 15 pixels become 14.5, near enough to 16
    spot = placed(region(Grid(20), 100, 200, 276, 340), CARD, any_size=False)
    assert (spot.window.side, spot.size, spot.note) == (264, 256, "")  # 19.4 pixels
    assert spot.window == crops.Square(270 - 132, 188 - 132, 264)


def test_blocks_that_a_model_does_not_know_are_scaled_and_it_is_said() -> None:
    fine = region(Grid(8), 0, 0, 320, 320)
    spot = placed(fine, CARD, any_size=True)
    assert (spot.window.side, spot.size) == (480, 960)  # 8 pixels become 16
    assert spot.note == "scaled to blocks of 16 for the model"
    with pytest.raises(
        UnknownBlocks, match=r"320 x 320 pixels with blocks of 8: at the 256 pixels of the model its blocks are 4.3, .* for 16"
    ):
        placed(fine, CARD, any_size=False)
    coarse = placed(region(Grid(64), 0, 0, 320, 320), CARD, any_size=False)
    assert (coarse.window.side, coarse.size) == (1024, 256)  # more of the photo around it, so that 64 pixels become 16
    assert coarse.note == "scaled to blocks of 16 for the model"
    anything = placed(fine, CARD | {"recipe": ["blur:sigma=2"]}, any_size=False)
    assert (anything.size, anything.note) == (256, "")
    with pytest.raises(UnknownBlocks):
        placed(region(Grid(4), 0, 0, 2000, 2000), CARD, any_size=True)  # 12,000 pixels a side


def test_the_mean_of_a_cut_cell_is_that_of_its_mosaic() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (37, 53, 3)).astype(np.uint8)
    mask = rng.random((37, 53)) < 0.3
    mask[:9, :8] = False
    grid = Grid(8, 3, 5)
    means, painted = masked_means(rgb, mask, grid)
    rows, columns = [0, *range(3, 37, 8), 37], [0, *range(5, 53, 8), 53]
    for i, (top, bottom) in enumerate(pairwise(rows)):
        for j, (left, right) in enumerate(pairwise(columns)):
            cell, inside = rgb[top:bottom, left:right], mask[top:bottom, left:right]
            expected = cell[inside] if inside.any() else cell.reshape(-1, 3)
            assert np.abs(means[i, j] - expected.mean(0)).max() <= 0.5 + 1e-6
            assert (painted[top:bottom, left:right] == means[i, j]).all()
    whole, _ = masked_means(rgb, np.ones((37, 53), bool), grid)
    assert np.array_equal(whole, cell_means(rgb, grid))


def test_the_model_sees_even_cells_and_the_smooth_image_between_them() -> None:
    rgb = photo(0, 512)
    grid = Grid(16, 3, 9)
    shown = laid(rgb, box(rgb, 170, 170, 342, 342), grid)
    spot = placed(region(grid, 170, 170, 342, 342), CARD, any_size=True)
    image, prior = seen_by_the_model(shown, spot)
    assert image.shape == prior.shape == (spot.size, spot.size, 3)
    window = spot.window
    assert np.array_equal(image, crops.crop(shown, window, spot.size))
    middle = slice(spot.size // 3, 2 * spot.size // 3)
    known = crops.crop(between(cell_means(rgb, grid), grid, (512, 512)), window, spot.size)
    assert np.abs(prior[middle, middle].astype(int) - known[middle, middle]).max() <= 1
    clean, _ = seen_by_the_model(jpeg(shown), spot)
    assert np.abs(clean[middle, middle].astype(int) - image[middle, middle]).mean() < 3  # the traces of the JPEG are gone


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (3, 7))])
def test_what_is_pasted_fits_and_nothing_changes_outside(number: int) -> None:
    """With a model that knows the original, shifted in colour, the photo comes back."""
    rgb = photo(number)
    for truth, grid in ((ellipse(rgb), Grid(16, 3, 9)), (box(rgb, 0, 100, 300, 500), Grid(24, 0, 5))):
        shown = laid(rgb, truth, grid)
        (found,) = find_regions(shown)
        spot = placed(found, CARD, any_size=True)
        known = crops.crop(rgb, spot.window, spot.size, "reflect").astype(int)
        restored = (known + np.array([9, -6, 4])).clip(0, 255).astype(np.uint8)
        rows, columns, pixels, weights = pasted(shown, spot, restored)
        after = shown.copy()
        after[rows, columns] = pixels
        touched = np.zeros(truth.shape, bool)
        touched[rows, columns] = weights > 0
        assert np.array_equal(after[~touched], shown[~touched])
        inside = after[truth].astype(float) - rgb[truth]
        assert np.abs(inside).mean() < 0.45 * np.abs(shown[truth].astype(float) - rgb[truth]).mean()
        assert np.abs(inside.mean(0)).max() < 3  # the colours are those around it
        assert np.array_equal(shown[rows, columns], pasted(shown, spot, restored, strength=0.0)[2])


def test_what_the_model_made_is_told_and_two_pixels_around_it() -> None:
    rgb = np.zeros((200, 300, 3), np.uint8)
    spot = placed(region(Grid(16), 40, 50, 104, 146), CARD, any_size=True)
    rows, columns, _, weights = pasted(rgb, spot, np.zeros((spot.size, spot.size, 3), np.uint8), strength=0.5)
    assert (rows, columns) == (slice(24, 120), slice(34, 162))
    assert (weights[16:-16, 16:-16] == 0.5).all()
    assert (weights[14:-14, 20:-20] == 0.5).all()
    assert (weights[:14] == 0).all()
    assert (weights[:, :14] == 0).all()
    spot = placed(region(Grid(16), 0, 0, 64, 64), CARD, any_size=True)
    rows, columns, _, weights = pasted(rgb[:64, :64], spot, np.zeros((spot.size, spot.size, 3), np.uint8))
    assert (rows, columns, weights.min()) == (slice(0, 64), slice(0, 64), 1)


def test_a_region_at_the_corner_of_a_small_photo() -> None:
    rgb = image_io.read(sorted(resources.path("samples").glob("*.jpg"))[1]).rgb8[250:410, 300:500]
    truth = box(rgb, 0, 0, 96, 110)
    shown = np.where(truth[:, :, None], paint(cell_means(rgb, Grid(8)), Grid(8), (160, 200)), rgb)
    (found,) = find_regions(shown)
    spot = placed(found, CARD, any_size=True)
    image, prior = seen_by_the_model(shown, spot)
    assert image.shape == prior.shape == (spot.size, spot.size, 3)
    rows, columns, pixels, _ = pasted(shown, spot, image)
    assert pixels.shape == shown[rows, columns].shape

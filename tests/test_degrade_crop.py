"""A from B alone, as training makes it anew."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dataset_tools import crops, degradations, image_io, metrics, mosaic_grid, resources
from dataset_tools.cells import estimated
from dataset_tools.degradations import parse
from dataset_tools.degrade_crop import FINER, degrade_anew
from dataset_tools.priors import recorded
from tests.test_cells import smooth

SIDE = 256


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    path = resources.path("samples") / "female-16.jpg"
    return cv2.resize(image_io.read(path).rgb8, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def test_what_is_laid_on_the_crop_is_what_the_registry_makes(photo: np.ndarray) -> None:
    steps = [parse("mosaic:block=4..20,phase=random"), parse("jpeg:quality=40..90")]
    a, drawn = degrade_anew(steps, np.random.default_rng(3), photo)
    expected = degradations.draw(steps, np.random.default_rng(3), (SIDE, SIDE))
    assert drawn == expected
    assert np.array_equal(a, degradations.apply(photo, expected))


def test_what_is_laid_on_the_photo_is_laid_on_a_larger_or_smaller_one(photo: np.ndarray) -> None:
    sides = set()
    for seed in range(40):
        a, (mosaic, noise) = degrade_anew(
            [parse("mosaic:block=10,space=photo,phase=random"), parse("noise:sigma=0")], np.random.default_rng(seed), photo
        )
        left, top, side, height, scale = mosaic["raster"]
        assert (left, top, height, scale) == (0, 0, side, 1)
        assert FINER[0] * SIDE - 1 <= side <= FINER[1] * SIDE + 1
        assert mosaic["block"] == round(10 * side / SIDE)  # pixels there; of the crop 10
        assert noise == {"name": "noise", "sigma": 0.0, "colour": "yes", "seed": noise["seed"]}
        patch = crops.crop(photo, crops.Square(0, 0, SIDE), side)
        grid = mosaic_grid.Grid(mosaic["block"], mosaic["phase_y"], mosaic["phase_x"])
        painted = mosaic_grid.paint(mosaic_grid.cell_means(patch, grid), grid, (side, side))
        assert np.array_equal(a, crops.crop(painted, crops.Square(0, 0, side), SIDE))
        assert metrics.psnr(recorded(a, [mosaic]), photo) > metrics.psnr(a, photo) + 0.3
        sides.add(side)
    assert min(sides) < SIDE < 2 * SIDE < max(sides)


def test_a_coin_decides_where_space_is_random(photo: np.ndarray) -> None:
    steps = [parse("mosaic:block=12,space=random"), parse("mosaic:block=5,space=random"), parse("grayscale")]
    spaces = []
    for seed in range(60):
        _, drawn = degrade_anew(steps, np.random.default_rng(seed), photo)
        assert [record["name"] for record in drawn] == ["mosaic", "mosaic", "grayscale"]
        first, second = (record.get("space", "crop") for record in drawn[:2])
        assert first == second
        spaces.append(first)
    assert 20 <= spaces.count("photo") <= 40


@pytest.mark.slow
def test_the_pixels_of_a_resized_mosaic_never_tell_a_worse_start(photo: np.ndarray) -> None:
    """Its cells lie on no grid of whole pixels: one that is found hits them by half, or is much too coarse."""
    kept = 0
    for seed in range(60):
        a, _ = degrade_anew([parse("mosaic:block=6..24,phase=random,space=photo")], np.random.default_rng(seed), photo)
        found = estimated(a)
        kept += found is None
        assert metrics.psnr(smooth(a, found), photo) > metrics.psnr(a, photo) - 0.2, seed
    assert kept < 60

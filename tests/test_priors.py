"""The prior of a mosaic by its record, and which of its cells an image shows."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from dataset_tools import degradations, image_io, metrics, mosaic_grid, resources
from dataset_tools.mosaic_grid import Grid, prior, prior_through
from dataset_tools.priors import has_mosaic, last_mosaic, recorded, sharpened, shown_in
from dataset_tools.zoo.mosaic import cover, region_weights

SIDE = 256
ELLIPSE = {"region": "ellipse", "at": [128.0, 120.0, 60.0, 80.0, 0.0], "feather": 6.0}


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    paths = sorted(resources.path("samples").glob("*.jpg"))[::4]
    return [cv2.resize(image_io.read(path).rgb8, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for path in paths]


def record(block: int, phase_y: int = 0, phase_x: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": "mosaic", "block": block, "phase_y": phase_y, "phase_x": phase_x, **more}


def after(a: np.ndarray, step: str) -> np.ndarray:
    drawn = degradations.draw([degradations.parse(step)], np.random.default_rng(0), (SIDE, SIDE))
    return degradations.apply(a, drawn)


def eroded(mask: np.ndarray, away: int) -> np.ndarray:
    """Where all of `mask`, (H, W), holds within `away` pixels."""
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * away + 1, 2 * away + 1), np.uint8)) > 0


def test_recorded_is_the_bicubic_baseline(photos: list[np.ndarray]) -> None:
    """By its formula, and as metrics.py gives it."""
    for number, rgb in enumerate(photos[:3]):
        for step in (record(8), record(12, 5, 7), record(16, 3, 1, **ELLIPSE)):
            drawn = [{"name": "noise", "sigma": 1.0}, record(30), step]  # the last mosaic counts
            a = degradations.apply(rgb, [step])
            expected = cover(a, prior(a, Grid(step["block"], step["phase_y"], step["phase_x"])), step)
            assert np.array_equal(recorded(a, drawn), expected)
            assert np.array_equal(metrics.baselines(a, drawn)["bicubic"], expected), number
            assert metrics.psnr(expected, rgb) > metrics.psnr(a, rgb)


def test_recorded_of_a_mosaic_on_the_photo(photos: list[np.ndarray]) -> None:
    onto = [[1.9, 0.2, 3.0], [-0.2, 1.9, 40.0]]
    step = record(
        24, 4, 9, space="photo", onto=onto, raster=[0, 0, 600, 600], **{**ELLIPSE, "at": [250.0, 250.0, 120.0, 150.0, 0.0]}
    )
    expected = cover(photos[0], prior_through(photos[0], Grid(24, 4, 9), np.array(onto)), step, np.array(onto))
    assert np.array_equal(recorded(photos[0], [step]), expected)
    assert np.array_equal(metrics.baselines(photos[0], [step])["bicubic"], expected)
    assert not np.array_equal(expected, photos[0])


def test_sharpened_is_lanczos_and_an_unsharp_mask(photos: list[np.ndarray]) -> None:
    rgb = photos[0]
    for step in (record(12, 5, 7), record(16, **ELLIPSE)):
        a, grid = degradations.apply(rgb, [step]), Grid(step["block"], step["phase_y"], step["phase_x"])
        means = mosaic_grid.cell_means(a, grid)
        rows, columns = means.shape[:2]
        smooth = cv2.resize(means, (columns * grid.block, rows * grid.block), interpolation=cv2.INTER_LANCZOS4)
        top, left = -grid.phase_y % grid.block, -grid.phase_x % grid.block
        smooth = smooth[top : top + SIDE, left : left + SIDE].astype(float)
        wanted = 1.5 * smooth - 0.5 * cv2.GaussianBlur(smooth, (0, 0), grid.block / 2)
        found = sharpened(a, [step])
        inside = (region_weights(step, (SIDE, SIDE)) if "region" in step else np.full((SIDE, SIDE), 255)) == 255
        assert np.abs(found - wanted.clip(0, 255))[inside].max() <= 2
        assert np.array_equal(found, metrics.baselines(a, [step], ["lanczos"])["lanczos"])
        assert "lanczos" not in metrics.baselines(a, [step])


def test_what_records_no_mosaic() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    for drawn in ([], [{"name": "grayscale"}], [record(8, space="photo")]):  # the last one does not say where it was laid
        assert not has_mosaic(drawn)
        assert "bicubic" not in metrics.baselines(image, drawn)
        for make in (recorded, sharpened, lambda _, steps: last_mosaic(steps)):
            with pytest.raises(ValueError, match="no mosaic was recorded"):
                make(image, drawn)
    assert has_mosaic([record(8), {"name": "grayscale"}])
    assert last_mosaic([record(8), record(30, 2, 1), {"name": "grayscale"}]) == record(30, 2, 1)


@pytest.mark.parametrize("block", [6, 11, 16, 32])
def test_all_of_a_clean_mosaic_is_shown(photos: list[np.ndarray], block: int) -> None:
    for rgb in photos:
        grid = Grid(block, block // 2, 1)
        a = degradations.apply(rgb, [record(block, block // 2, 1)])
        shown = shown_in(a, grid, mosaic_grid.cell_means(a, grid))
        assert shown is not None
        assert shown.all()


def test_of_a_region_the_cells_in_it_are_shown(photos: list[np.ndarray]) -> None:
    """Also after JPEG; a plain background is no part of it."""
    for rgb in photos:
        step, grid = record(8, 3, 5, **ELLIPSE), Grid(8, 3, 5)
        weights = region_weights(step, (SIDE, SIDE))
        assert weights is not None
        a = degradations.apply(rgb, [step])
        for shown_as, least in ((a, 0.999), (after(a, "jpeg:quality=85"), 0.7)):
            shown = shown_in(shown_as, grid, mosaic_grid.cell_means(shown_as, grid))
            assert shown is not None
            assert shown[eroded(weights == 255, 16)].mean() > least
            assert shown[eroded(weights == 0, 16)].mean() < 0.05
            whole = shown[3:251, 5:253].reshape(31, 8, 31, 8)
            assert (whole.all((1, 3)) | ~whole.any((1, 3))).all()  # cell by cell


def test_a_grid_that_explains_nothing_shows_nothing(photos: list[np.ndarray]) -> None:
    """As one that is much too coarse, or any in noise."""
    for number, rgb in enumerate(photos):
        fine = degradations.apply(rgb, [record(9)])
        assert shown_in(fine, Grid(36), mosaic_grid.cell_means(fine, Grid(36))) is None
        noise = np.random.default_rng(number).integers(0, 256, rgb.shape).astype(np.uint8)
        for grid in (Grid(8, 3, 5), Grid(16), Grid(30, 7, 1)):
            assert shown_in(noise, grid, mosaic_grid.cell_means(noise, grid)) is None

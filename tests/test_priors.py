"""The prior of a mosaic, by its record and by its pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from dataset_tools import degradations, image_io, metrics, mosaic_grid, resources
from dataset_tools.mosaic_grid import Grid, prior, prior_through
from dataset_tools.priors import estimated, has_mosaic, recorded, sharpened
from dataset_tools.zoo.mosaic import cover, region_weights

SIDE = 256
ELLIPSE = {"region": "ellipse", "at": [128.0, 120.0, 60.0, 80.0, 0.0], "feather": 6.0}
FACE = {"region": "face", "at": [120.0, 130.0, 70.0, 60.0, 0.0], "feather": 0.0}


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
        with pytest.raises(ValueError, match="no mosaic was recorded"):
            recorded(image, drawn)
    assert has_mosaic([record(8), {"name": "grayscale"}])


@pytest.mark.parametrize("block", [6, 8, 11, 16, 24, 32])
def test_of_a_clean_mosaic_the_pixels_tell_what_the_record_does(photos: list[np.ndarray], block: int) -> None:
    for number, rgb in enumerate(photos):
        phase_y, phase_x = (int(each) for each in np.random.default_rng((block, number)).integers(block, size=2))
        step = record(block, phase_y, phase_x)
        a = degradations.apply(rgb, [step])
        assert np.array_equal(estimated(a), recorded(a, [step])), (number, step)


def test_a_photo_without_a_mosaic_is_its_own_prior(photos: list[np.ndarray]) -> None:
    for rgb in photos:
        assert estimated(rgb) is rgb
        jpeg = after(rgb, "jpeg:quality=50")
        assert estimated(jpeg) is jpeg


@pytest.mark.parametrize("step", ["jpeg:quality=95", "jpeg:quality=75", "noise:sigma=2"])
def test_what_a_file_does_to_a_mosaic_costs_little(photos: list[np.ndarray], step: str) -> None:
    """On the whole image the prior stays within 0.2 dB of that by the record, and is worth more than the mosaic itself."""
    for rgb in photos:
        for mosaic in (record(8, 3, 5), record(16, 3, 5)):
            a = after(degradations.apply(rgb, [mosaic]), step)
            found = metrics.psnr(estimated(a), rgb)
            assert found > metrics.psnr(recorded(a, [mosaic]), rgb) - 0.2
            assert found > metrics.psnr(a, rgb) + 0.3


@pytest.mark.parametrize("region", [ELLIPSE, FACE], ids=["ellipse", "face"])
@pytest.mark.parametrize("step", [None, "jpeg:quality=85"])
def test_outside_of_a_region_nothing_is_touched(photos: list[np.ndarray], region: dict[str, Any], step: str | None) -> None:
    """Up to the cells that its soft edge crosses; a plain background counts as outside, too."""
    changed, gains, most = [], [], []
    for rgb in photos:
        for block in (8, 12):
            mosaic = record(block, 3, 5, **region)
            a = degradations.apply(rgb, [mosaic])
            a = after(a, step) if step else a
            given, weights = estimated(a), region_weights(mosaic, (SIDE, SIDE))
            assert weights is not None
            outside = eroded(weights == 0, 2 * block)
            changed.append(np.abs(given.astype(int) - a)[outside].mean())
            if given is not a:  # else the grid was not found, as it may not be in few cells
                gains.append(metrics.psnr(given, rgb) - metrics.psnr(a, rgb))
                most.append(metrics.psnr(recorded(a, [mosaic]), rgb) - metrics.psnr(a, rgb))
            if step is None and region is ELLIPSE:
                inside = eroded(weights == 255, 2 * block)
                assert inside.sum() > 1000
                assert np.array_equal(given[inside], recorded(a, [mosaic])[inside])
    assert max(changed) < 0.1  # grey levels
    assert np.mean(changed) < 0.01
    assert np.mean(gains) > 0.5 * np.mean(most) > 0.1


def test_a_small_image_has_no_prior_of_its_own() -> None:
    for shape in ((1, 1), (4, 300), (7, 7)):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        assert estimated(image) is image
        assert mosaic_grid.estimate(image) is None

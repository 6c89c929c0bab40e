"""The grid of a mosaic that was resized after it was laid."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dataset_tools import cells, degradations, image_io, mosaic_resized, priors, resources
from dataset_tools.degrade_crop import degrade_anew
from dataset_tools.metrics import psnr
from dataset_tools.mosaic_grid import Grid, cell_means, paint

Rgb = np.ndarray

PHOTOS = sorted(resources.path("samples").glob("*.jpg"))


def face(number: int, side: int = 256) -> Rgb:
    rgb = image_io.read(PHOTOS[number % len(PHOTOS)]).rgb8
    height, width = rgb.shape[:2]
    square = rgb[: min(height, width), (width - min(height, width)) // 2 :][:, : min(height, width)]
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA))


def mosaicked(rgb: Rgb, grid: Grid) -> Rgb:
    return paint(cell_means(rgb, grid), grid, (rgb.shape[0], rgb.shape[1]))


@pytest.mark.parametrize("quality", [None, 75])
@pytest.mark.parametrize(("block", "side"), [(16, 200), (16, 300), (9, 180), (30, 111), (12, 353)])
def test_a_mosaic_that_was_resized_is_found_between_the_pixels(block: int, side: int, quality: int | None) -> None:
    laid = mosaicked(face(block), Grid(block, 3, 5))
    method = cv2.INTER_AREA if side < 256 else cv2.INTER_CUBIC
    shown = np.asarray(cv2.resize(laid, (side, side), interpolation=method))
    if quality:
        step = degradations.parse(f"jpeg:quality={quality}")
        shown = degradations.apply(shown, degradations.draw([step], np.random.default_rng(0), (side, side)))
    lines = mosaic_resized.estimate(shown)
    assert lines is not None
    true = block * side / 256
    assert abs(lines.block - true) * 256 / block < 1  # pixels that the last line lies off
    for first, phase in ((lines.first_y, 3), (lines.first_x, 5)):
        off = (first - phase * side / 256) / true
        assert abs(off - round(off)) * true < 1


@pytest.mark.parametrize("number", range(8))
def test_photos_without_a_mosaic_have_none(number: int) -> None:
    rgb = face(number)
    small = degradations.apply(face(number, 171), degradations.draw([degradations.parse("jpeg:quality=50")],
                                                                   np.random.default_rng(0), (171, 171)))  # fmt: skip
    enlarged = np.asarray(cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC))
    for shown in (rgb, enlarged, np.asarray(cv2.GaussianBlur(rgb, (0, 0), 2)), np.zeros_like(rgb)):
        assert mosaic_resized.estimate(shown) is None


@pytest.mark.parametrize(("height", "width"), [(1500, 1100), (180, 900)])
def test_a_large_or_narrow_image_too(height: int, width: int) -> None:
    wide = cv2.resize(face(0, 300), (round(1.27 * width), round(1.27 * height)), interpolation=cv2.INTER_CUBIC)
    laid = mosaicked(np.asarray(wide), Grid(17, 2, 9))
    shown = np.asarray(cv2.resize(laid, (width, height), interpolation=cv2.INTER_AREA))
    lines = mosaic_resized.estimate(shown)
    assert lines is not None
    assert abs(lines.block - 17 / 1.27) * max(height, width) / lines.block < 2


def test_an_image_of_a_few_pixels_has_none() -> None:
    assert mosaic_resized.estimate(np.zeros((15, 300, 3), np.uint8)) is None


@pytest.mark.parametrize("number", range(6))
def test_cells_that_the_pixels_tell_are_as_good_as_those_recorded(number: int) -> None:
    steps = [degradations.parse("mosaic:block=6..24,phase=random,space=photo"), degradations.parse("jpeg:quality=70,p=0.5")]
    b = face(number)
    a, drawn = degrade_anew(steps, np.random.default_rng(number), b)
    told, found = cells.recorded(a, drawn), cells.estimated(a)
    assert found is not None
    assert found.block == pytest.approx(told.block, rel=0.01)

    def smooth(known: cells.Cells) -> Rgb:
        rows, cols = known.means.shape[:2]
        return cells.laid_back(a, known, cv2.resize(known.means, (8 * cols, 8 * rows), interpolation=cv2.INTER_CUBIC))

    assert psnr(smooth(found), b) > psnr(smooth(told), b) - 0.5
    assert psnr(smooth(told), priors.recorded(a, drawn)) > 40

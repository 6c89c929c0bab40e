"""The blocks of a strongly compressed JPEG, resized since, are no mosaic; what begins at a corner of the photo may be one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dataset_tools.mosaic_finder import find_mosaics
from dataset_tools.mosaic_grid import Grid
from tests.conftest import some
from tests.test_mosaic_regions import jpeg, laid, photo


def compressed(number: int, quality: int, scale: float, method: int = cv2.INTER_LANCZOS4) -> np.ndarray:
    """A sample of 475 × 470 pixels after a JPEG, resized."""
    shown = jpeg(photo(number, 475)[:470], quality)
    return np.asarray(cv2.resize(shown, None, fx=scale, fy=scale, interpolation=method))


@pytest.mark.parametrize("number", some([0], [9]))
@pytest.mark.parametrize(("quality", "scale"), some([(12, 1.5)], [(14, 2.0)]))
@pytest.mark.parametrize("turned", some([0], [1]))
def test_an_untouched_photo_of_blocks_shows_no_mosaic(number: int, quality: int, scale: float, turned: int) -> None:
    """Faces were once replaced in photos that nobody had laid a mosaic on."""
    shown = np.ascontiguousarray(np.rot90(compressed(number, quality, scale), turned))
    assert find_mosaics(shown) == []
    assert find_mosaics(jpeg(shown, 90)) == []


@pytest.mark.parametrize("block", some([16], [8, 24]))
@pytest.mark.parametrize(("size", "quality"), [(500, 75), (384, 0)])
def test_a_mosaic_of_the_whole_photo_stays_one(block: int, size: int, quality: int) -> None:
    rgb = photo(3, 384)
    shown = laid(rgb, np.ones(rgb.shape[:2], bool), Grid(block))
    shown = np.asarray(cv2.resize(shown, (size, size), interpolation=cv2.INTER_CUBIC))
    found = find_mosaics(jpeg(shown, quality) if quality else shown)
    assert sum(int(each.mask.sum()) for each in found) > 0.8 * size * size


def test_a_round_mosaic_that_reaches_to_all_sides_stays_one() -> None:
    """As image editors lay it: on a grid that begins at the corner, here of a crop of a face."""
    rgb = photo(4, 480)
    round_one = np.zeros(rgb.shape[:2], np.uint8)
    cv2.circle(round_one, (240, 240), 240, 1, -1)
    shown = laid(rgb, round_one > 0, Grid(12))
    (region,) = find_mosaics(shown)
    assert 0.7 < region.mask.mean() < 0.95

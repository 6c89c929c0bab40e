"""What is laid into a photo meets it at the edge, and is itself further in."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.blend import BEYOND, grown, laid_into


def square(side: int = 120, margin: int = 30) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[margin:-margin, margin:-margin] = 1
    return mask


def test_a_part_of_another_level_meets_the_photo_and_keeps_its_own_level_further_in() -> None:
    photo, made = np.full((120, 120, 3), 100, np.uint8), np.full((120, 120, 3), 140, np.uint8)
    mask = square()
    found = laid_into(photo, made, mask, reach=12)
    assert np.array_equal(found[grown(mask) == 0], photo[grown(mask) == 0])
    line = found[60, :, 0].astype(int)
    assert np.abs(np.diff(line)).max() <= 6  # 40 levels over 14 pixels, and no step
    assert (line[30 + 14 : -30 - 14] == 140).all()
    assert line[30 - BEYOND] <= 104
    assert (np.diff(line[:60]) >= 0).all()


def test_each_side_of_the_edge_meets_its_own_neighbour() -> None:
    photo = np.repeat(np.linspace(40, 200, 120).round().astype(np.uint8)[None, :, None], 120, axis=0).repeat(3, axis=2)
    found = laid_into(photo, np.full_like(photo, 120), square(), reach=20).astype(int)
    assert np.abs(np.diff(found[60, :40, 0])).max() <= 4
    assert np.abs(np.diff(found[60, 80:, 0])).max() <= 4
    assert abs(found[60, 29, 0] - photo[60, 29, 0]) <= 3
    assert abs(found[60, 91, 0] - photo[60, 91, 0]) <= 3
    assert found[60, 60, 0] == 120


@pytest.mark.parametrize("mask", [np.ones((40, 50), np.uint8), np.zeros((40, 50), np.uint8), np.ones((1, 9), np.uint8)])
def test_all_and_nothing(mask: np.ndarray) -> None:
    photo, made = np.full((*mask.shape, 3), 10, np.uint8), np.full((*mask.shape, 3), 240, np.uint8)
    assert np.array_equal(laid_into(photo, made, mask, reach=5), made if mask.all() else photo)


def test_what_it_makes_beyond_the_part_does_not_depend_on_what_was_there() -> None:
    """The traces that a mosaic leaves beside itself in a JPEG."""
    mask = square()
    photo = np.full((120, 120, 3), 100, np.uint8)
    traced = photo.copy()
    traced[(grown(mask) > 0) & (mask == 0)] = 180
    made = np.full_like(photo, 130)
    assert np.array_equal(laid_into(photo, made, mask, 10), laid_into(traced, made, mask, 10))

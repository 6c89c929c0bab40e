"""Mosaics that were resized with their photo: found as what they are, and not as pieces of grids that nearly fit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dataset_tools.mosaic_finder import find_mosaics
from dataset_tools.mosaic_grid import Grid
from dataset_tools.mosaic_regions import Region, find_regions
from pipelines.regions import pasted, restored_around
from tests.conftest import some
from tests.test_mosaic_regions import box, ellipse, jpeg, laid, overlap, photo, sheet

# side of the photo, side that it is resized to, block
SIZES = some([(768, 590, 24)], [(768, 700, 12), (768, 1000, 16), (768, 1090, 16)])


def resized(number: int, side: int, to: int, block: int, quality: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(photo, the same without its mosaic, where that lies), each to x to pixels."""
    rgb = photo(number, side)
    truth, grid = ellipse(rgb) if number % 2 else box(rgb, side // 8, side // 5, side * 5 // 8, side * 4 // 5), Grid(block, 3, 5)
    method = cv2.INTER_AREA if to < side else cv2.INTER_CUBIC
    shown, original = (np.asarray(cv2.resize(each, (to, to), interpolation=method)) for each in (laid(rgb, truth, grid), rgb))
    where = cv2.resize(truth.astype(np.uint8), (to, to), interpolation=cv2.INTER_NEAREST) > 0
    return (jpeg(shown, quality) if quality else shown), original, where


def together(regions: list[Region], shape: tuple[int, ...]) -> Region:
    """All of them as one."""
    whole = np.zeros(shape[:2], bool)
    for region in regions:
        top, left, bottom, right = region.box
        whole[top:bottom, left:right] |= region.mask
    return Region(Grid(8), (0, 0, shape[0], shape[1]), whole)


@pytest.mark.parametrize(("side", "to", "block"), SIZES)
@pytest.mark.parametrize("number", some([0], [3, 7], soak=[4, 9]))
@pytest.mark.parametrize("quality", some([0], [85]))
def test_the_lines_are_found_and_nearly_all_of_the_mosaic(side: int, to: int, block: int, number: int, quality: int) -> None:
    shown, _, where = resized(number, side, to, block, quality)
    regions = find_mosaics(shown)
    assert regions
    for region in regions:
        assert region.lines is not None
        assert region.lines.block == pytest.approx(block * to / side, rel=0.01)
        assert region.grid.block == round(region.lines.block)
    assert overlap(together(regions, shown.shape), where) > 0.75


@pytest.mark.parametrize("number", some([3], [2, 5], soak=[11, 17]))
def test_edges_that_enlarging_spread_are_found_at_half_the_size(number: int) -> None:
    """Cells of 10 pixels, enlarged 1.6 times, bilinear, as a JPEG: the photo itself shows no grid, or a piece of a wrong one."""
    rgb, side = photo(number, 768), round(1.6 * 768)
    truth = box(rgb, 150, 230, 500, 540)
    shown = cv2.resize(laid(rgb, truth, Grid(10, 0, 0)), (side, side), interpolation=cv2.INTER_LINEAR)
    where = cv2.resize(truth.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) > 0
    (region,) = find_mosaics(jpeg(np.asarray(shown), 85))
    lines = region.lines or (float(region.grid.block),)
    assert lines[0] == pytest.approx(10 * side / 768, rel=0.01)
    assert overlap(region, where) > 0.75


def test_the_model_sees_the_cells_as_they_were_before() -> None:
    side, to, grid, seen = 768, 1000, Grid(16, 3, 5), list[np.ndarray]()
    before = laid(photo(0), np.ones((side, side), bool), grid)
    shown, _, where = resized(0, side, to, grid.block)
    (region,) = find_mosaics(shown)
    assert region.lines is not None
    top, left, made = restored_around(shown, region, lambda batch: (seen.append(batch), batch)[1], 32)
    first = [(at - start) % region.lines.block - region.lines.block / 2 for at, start in
             ((region.lines.first_y, top), (region.lines.first_x, left))]  # fmt: skip
    compared = 0
    for row in range(made.shape[0] // region.grid.block):
        for column in range(made.shape[1] // region.grid.block):
            y, x = (round(start + at + region.lines.block * k) for start, at, k in
                    ((top, first[0], row), (left, first[1], column)))  # fmt: skip
            if where[max(0, y - 9) : y + 10, max(0, x - 9) : x + 10].all():
                cell = seen[0][0, 8 * row, 8 * column].astype(int)
                assert np.abs(cell - before[y * side // to, x * side // to]).max() <= 3
                compared += 1
    assert compared > 300
    rows, columns, pixels, weights = pasted(shown, region, (top, left), made)
    assert weights.max() == 1
    assert np.abs(pixels.astype(int) - shown[rows, columns]).mean() < 3  # of a model that makes nothing


@pytest.mark.parametrize("block", some([], [8, 13, 16], soak=[33]))
@pytest.mark.parametrize("number", some([0], [3], soak=[4, 7]))
def test_a_mosaic_that_was_not_resized_stays_what_it_was(block: int, number: int) -> None:
    rgb = photo(number)
    for shown in (laid(rgb, ellipse(rgb), Grid(block, 3, 5)), jpeg(laid(rgb, ellipse(rgb), Grid(block, 3, 5)))):
        plain, found = find_regions(shown), find_mosaics(shown)
        assert [(each.grid, each.box, each.lines) for each in found] == [(each.grid, each.box, None) for each in plain]


@pytest.mark.slow
@pytest.mark.parametrize("block", [66, 80, 96, 120])
def test_cells_larger_than_are_searched_for_are_no_smaller_ones(block: int) -> None:
    """As a part of their lines all of them show; every eighth line of a JPEG has edges of its own. They were once halved."""
    rgb = photo(5, 1500)
    shown = laid(rgb, box(rgb, 250, 300, 1330, 1140), Grid(block, 250 % block, 300 % block))
    (region,) = find_mosaics(jpeg(shown, 88))
    assert region.grid.block == block
    assert region.lines is None or abs(region.lines.block - block) < 0.1


@pytest.mark.slow
def test_both_kinds_in_one_photo() -> None:
    """Somebody put another mosaic on a photo that had been resized."""
    shown, _, _ = resized(0, 768, 1000, 16)
    corner = box(shown, 700, 40, 900, 240)
    regions = find_mosaics(laid(shown, corner, Grid(20, 0, 0)))
    assert sorted(region.lines is None for region in regions) == [False, True]
    (plain,) = (each for each in regions if each.lines is None)
    assert (plain.grid, plain.box) == (Grid(20), (700, 40, 900, 240))


@pytest.mark.parametrize("number", some([1], range(2, 24, 6), soak=range(5, 24, 6)))
def test_photos_without_a_mosaic_have_none(number: int) -> None:
    rgb = photo(number)
    for to in (500, 1000):
        smaller = np.asarray(cv2.resize(rgb, (to, to), interpolation=cv2.INTER_AREA if to < 768 else cv2.INTER_CUBIC))
        assert find_mosaics(smaller) == find_mosaics(jpeg(smaller)) == []


@pytest.mark.parametrize(("columns", "rows", "side", "gap", "first"), some(
    [(3, 2, 300, 12, 0), (2, 2, 256, 0, 4)],
    [(3, 2, 300, 0, 7), (4, 4, 256, 0, 0), (6, 5, 200, 0, 7), (4, 3, 200, 10, 0), (4, 4, 236, 20, 0), (8, 6, 126, 2, 0)],
))  # fmt: skip
def test_the_seams_of_a_contact_sheet_are_no_mosaic(columns: int, rows: int, side: int, gap: int, first: int) -> None:
    shown = sheet(columns, rows, side, gap, first)
    assert find_mosaics(shown) == []
    assert find_mosaics(jpeg(shown, 80)) == []


@pytest.mark.parametrize("gap", some([12], [0]))
@pytest.mark.parametrize("quality", some([0], [85]))
def test_a_mosaic_in_a_contact_sheet_is_found(gap: int, quality: int) -> None:
    shown = sheet(3, 2, 300, gap, 7)
    truth = box(shown, 300 + gap + 60, 80, 300 + gap + 230, 240)
    shown = laid(shown, truth, Grid(12, 3, 5))
    (region,) = find_mosaics(jpeg(shown, quality) if quality else shown)
    assert region.grid == Grid(12, 3, 5)
    assert overlap(region, truth) > 0.8

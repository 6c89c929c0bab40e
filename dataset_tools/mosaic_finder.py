"""The mosaics of a photo, those too that were resized with it since they were laid: their cells have no whole number of pixels.

Such a mosaic shows as pieces of grids that nearly fit, or as a grid of several of its cells. Where the lines in a region fit
better than its grid, the photo is brought to a size at which a cell has whole pixels, and what is looked for is looked for there.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import mosaic_resized
from dataset_tools.cells import of_lines
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from dataset_tools.mosaic_regions import Region, find_regions, regions_along
from dataset_tools.mosaic_resized import Lines

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Box = tuple[int, int, int, int]  # top, left, bottom, right, pixels

FINE = 2.0  # pixels of the photo a pixel where a cell has whole ones: edges that resizing spread over two come together
LEAST = 6  # pixels a side of a cell there, where it has as many in the photo
OFF = 0.6  # pixels by which the lines of a grid may lie off those that were found
SAME = 0.5  # of the smaller of two regions: with more in common they are one, seen twice


def find_mosaics(rgb: Rgb) -> list[Region]:
    """The mosaics of uint8 (H, W, 3) sRGB, as `mosaic_regions.find_regions`, and those whose cells have any side from 4 to 64.

    The latter have `lines`; their grid is the nearest one of whole pixels.
    """
    whole, resized = find_regions(rgb), list[Region]()
    for region in whole:
        if any(_is_same(region, each) for each in resized):
            continue
        for box in dict.fromkeys((region.box, _near(region, whole), _middle(region.box))):
            lines = _lines_in(rgb, region, box)
            if lines and (found := _along(rgb, lines, box)):
                resized += [each for each in found if not any(_is_same(each, other) for other in resized)]
                break
    return [each for each in whole if not any(_is_same(each, other) for other in resized)] + resized


def _near(region: Region, all_of_them: list[Region]) -> Box:
    """The box around a region and those others that nearly touch it, of which it may be a piece."""
    top, left, bottom, right = region.box
    reach = 2 * region.grid.block
    near = [each.box for each in all_of_them if each.box[0] < bottom + reach and each.box[2] > top - reach
            and each.box[1] < right + reach and each.box[3] > left - reach]  # fmt: skip
    tops, lefts, bottoms, rights = zip(*near, strict=True)
    return min(tops), min(lefts), max(bottoms), max(rights)


def _middle(box: Box) -> Box:
    """Half as high and wide: cells of several cells reach beyond the mosaic."""
    top, left, bottom, right = box
    return top + (bottom - top) // 4, left + (right - left) // 4, bottom - (bottom - top) // 4, right - (right - left) // 4


def _lines_in(rgb: Rgb, region: Region, box: Box) -> Lines | None:
    """The lines of the photo that show in `box`, if they fit `region` better than its grid does."""
    top, left, bottom, right = box
    found = mosaic_resized.estimate(np.ascontiguousarray(rgb[top:bottom, left:right]))
    if found is None:
        return None
    lines, grid = Lines(found.block, found.first_y + top, found.first_x + left), region.grid
    down = _off(lines.first_y, lines.block, grid.block, grid.phase_y, (region.box[0], region.box[2]))
    across = _off(lines.first_x, lines.block, grid.block, grid.phase_x, (region.box[1], region.box[3]))
    return lines if max(down, across) > OFF and _fits_better(rgb, region, lines) else None


def _fits_better(rgb: Rgb, region: Region, lines: Lines) -> bool:
    """Whether the pixels of a region are nearer to the means of cells between `lines` than to those of its grid's cells."""
    top, left, bottom, right = region.box
    area = np.ascontiguousarray(rgb[top:bottom, left:right])
    grid = Grid(
        region.grid.block, (region.grid.phase_y - top) % region.grid.block, (region.grid.phase_x - left) % region.grid.block
    )
    plain = paint(cell_means(area, grid), grid, (area.shape[0], area.shape[1]))
    cells = of_lines(area, Lines(lines.block, lines.first_y - top, lines.first_x - left))
    between = cv2.warpAffine(cells.means, cells.onto, area.shape[1::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
                             borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    off_plain, off_between = (float(cv2.absdiff(area, each)[region.mask].mean()) for each in (plain, np.asarray(between)))
    return off_between < off_plain


def _off(first: float, block: float, whole: int, phase: int, ends: tuple[int, int]) -> float:
    """The most by which the lines at first + k * block between `ends` lie off the nearest of those at phase + k * whole."""
    at = first + block * np.arange(math.ceil((ends[0] - first) / block), math.floor((ends[1] - first) / block) + 1)
    away = (at - phase) / whole
    return float(np.abs(away - np.rint(away)).max() * whole) if len(at) else 0.0


def _along(rgb: Rgb, lines: Lines, box: Box) -> list[Region]:
    """The mosaics of a photo whose cells lie between `lines`, and which show in `box`."""
    side = max(min(LEAST, math.floor(lines.block)), round(lines.block / FINE))  # pixels of a cell where they are whole
    step = lines.block / side  # pixels of the photo a pixel there
    firsts = np.array([lines.first_x % lines.block - lines.block, lines.first_y % lines.block - lines.block])  # before the photo
    shape = [math.ceil((length - first) / step) for length, first in zip(rgb.shape[1::-1], firsts, strict=True)]  # (w, h)
    finer = math.ceil(step)
    scale = step / finer
    matrix = np.array([[scale, 0, firsts[0] + (scale - 1) / 2], [0, scale, firsts[1] + (scale - 1) / 2]])
    drawn = cv2.warpAffine(rgb, matrix, (shape[0] * finer, shape[1] * finer), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                           borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    straight = np.asarray(cv2.resize(drawn, (shape[0], shape[1]), interpolation=cv2.INTER_AREA), np.uint8)
    top, left, bottom, right = (round((value - firsts[1 - at % 2]) / step) for at, value in enumerate(box))
    there = regions_along(straight, Grid(side), [(top, left, bottom, right)])
    return [made for region in there if (made := _in_photo(region, lines, step, firsts, rgb.shape))]


def _in_photo(
    region: Region, lines: Lines, step: float, firsts: NDArray[np.float64], shape: tuple[int, ...]
) -> Region | None:  # fmt: skip
    """A region of the straightened photo, whose first pixel begins at `firsts` (x, y) and has sides of `step`, in the photo."""
    (top, bottom), (left, right) = (
        (max(0, math.floor(first + step * a)), min(length, math.ceil(first + step * b)))
        for first, a, b, length in (
            (firsts[1], region.box[0], region.box[2], shape[0]),
            (firsts[0], region.box[1], region.box[3], shape[1]),
        )
    )
    ys, xs = (
        np.floor((np.arange(begin, end) + 0.5 - first) / step).astype(np.intp) - before
        for begin, end, first, before in ((top, bottom, firsts[1], region.box[0]), (left, right, firsts[0], region.box[1]))
    )
    inside = (ys >= 0) & (ys < region.mask.shape[0]), (xs >= 0) & (xs < region.mask.shape[1])
    mask = region.mask[np.ix_(ys.clip(0, region.mask.shape[0] - 1), xs.clip(0, region.mask.shape[1] - 1))]
    mask = mask & inside[0][:, None] & inside[1][None]
    if not mask.any():
        return None
    block = max(2, round(lines.block))
    grid = Grid(block, round(lines.first_y) % block, round(lines.first_x) % block)
    return Region(grid, (top, left, bottom, right), mask, lines)


def _is_same(region: Region, other: Region) -> bool:
    """Whether most of one lies in the other."""
    box = [f(a, b) for f, a, b in zip((max, max, min, min), region.box, other.box, strict=True)]
    top, left, bottom, right = box
    if top >= bottom or left >= right:
        return False

    def part(each: Region) -> NDArray[np.bool_]:
        return each.mask[top - each.box[0] : bottom - each.box[0], left - each.box[1] : right - each.box[1]]

    common = int((part(region) & part(other)).sum())
    return common > SAME * min(int(region.mask.sum()), int(other.mask.sum()))

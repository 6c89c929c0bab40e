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
from dataset_tools.jpeg_blocks import without_blocks
from dataset_tools.mosaic_grid import Grid
from dataset_tools.mosaic_mask import parts_of
from dataset_tools.mosaic_regions import Region, find_regions, lines_of, regions_along
from dataset_tools.mosaic_resized import Lines

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Box = tuple[int, int, int, int]  # top, left, bottom, right, pixels

FINE = 2.0  # pixels of the photo a pixel where a cell has whole ones: edges that resizing spread over two come together
LEAST = 6  # pixels a side of a cell there, where it has as many in the photo
OFF = 0.6  # pixels by which the lines of a grid may lie off those that were found
CRACK = 2  # pixels there, half as wide as a crack that is closed
LARGER = 1.2  # times as large as a region: then that was a piece
SPREAD = 3  # times as large as a region, what shows at half the size: then the region was a piece, or nothing
AROUND = 2  # times the longer side of where a mosaic shows: so far from there it is looked for
SAME = 0.5  # of the smaller of two regions: with more in common they are one, seen twice


def find_mosaics(rgb: Rgb) -> list[Region]:
    """The mosaics of uint8 (H, W, 3) sRGB, as `mosaic_regions.find_regions`, and those whose cells have any side from 4 on.

    The latter have `lines`; their grid is the nearest one of whole pixels.
    """
    whole, resized = find_regions(rgb), list[Region]()
    seeds = whole + [each for each in _halved(rgb) if not any(_is_same(each, other, SPREAD) for other in whole)]
    for region in seeds:
        if any(_is_same(region, each) for each in resized):
            continue
        found = next(filter(None, (_better(rgb, region, box) for box in _looked_at(region, seeds, rgb.shape))), [])
        if found:
            found = _better(rgb, found[0], found[0].box) or found  # the more cells, the closer their lines are known
        elif region.lines:
            found = _along(rgb, region.lines, region.box)
        resized += [each for each in found if not any(_is_same(each, other) for other in resized)]
    found = [each for each in whole if not any(_is_same(each, other) for other in resized)] + resized
    return without_blocks(rgb, found)


def _halved(rgb: Rgb) -> list[Region]:
    """What shows at half the size: enlarging may have spread the edges of the cells so far that the photo itself shows none."""
    high, wide = rgb.shape[0] // 2, rgb.shape[1] // 2
    if not min(high, wide):
        return []
    half = np.asarray(cv2.resize(rgb[: 2 * high, : 2 * wide], (wide, high), interpolation=cv2.INTER_AREA))
    found = []
    for each in find_regions(half):
        grid = Grid(2 * each.grid.block, 2 * each.grid.phase_y, 2 * each.grid.phase_x)
        top, left, bottom, right = (2 * side for side in each.box)
        lines = Lines(float(grid.block), float(grid.phase_y), float(grid.phase_x))
        found.append(Region(grid, (top, left, bottom, right), each.mask.repeat(2, 0).repeat(2, 1), lines))
    return found


def _looked_at(region: Region, all_of_them: list[Region], shape: tuple[int, ...]) -> list[Box]:
    """Where the lines of the mosaic that a region may be a piece of, or may reach beyond, could show."""
    top, left, bottom, right = region.box
    reach, high, wide = 2 * region.grid.block, bottom - top, right - left
    near = [each.box for each in all_of_them if each.box[0] < bottom + reach and each.box[2] > top - reach
            and each.box[1] < right + reach and each.box[3] > left - reach]  # fmt: skip
    tops, lefts, bottoms, rights = zip(*near, strict=True)
    together = min(tops), min(lefts), max(bottoms), max(rights)
    middle = top + high // 4, left + wide // 4, bottom - high // 4, right - wide // 4
    wider = max(0, top - high // 2), max(0, left - wide // 2), min(shape[0], bottom + high // 2), min(shape[1], right + wide // 2)
    return list(dict.fromkeys((region.box, together, middle, wider)))


def _better(rgb: Rgb, region: Region, box: Box) -> list[Region]:
    """The mosaics along the lines that show in `box`, if they are larger than `region`, or fit it better than its own lines."""
    top, left, bottom, right = box
    found = mosaic_resized.estimate(np.ascontiguousarray(rgb[top:bottom, left:right]))
    if found is None:
        return []
    lines, known = Lines(found.block, found.first_y + top, found.first_x + left), lines_of(region)
    down = _off(lines.first_y, lines.block, known.block, known.first_y, (top, bottom))
    across = _off(lines.first_x, lines.block, known.block, known.first_x, (left, right))
    made = _along(rgb, lines, box) if max(down, across) > OFF else []
    larger = sum(int(each.mask.sum()) for each in made) > LARGER * region.mask.sum()
    return made if larger or _unevenness(rgb, region, lines) < _unevenness(rgb, region, known) else []


def _unevenness(rgb: Rgb, region: Region, lines: Lines) -> float:
    """Grey levels by which the pixels of a region are off the means of the cells between `lines`, on average."""
    top, left, bottom, right = region.box
    area = np.ascontiguousarray(rgb[top:bottom, left:right])
    cells = of_lines(area, Lines(lines.block, lines.first_y - top, lines.first_x - left))
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(cells.means, cells.onto, area.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return float(cv2.absdiff(area, np.asarray(drawn))[region.mask].mean())


def _off(first: float, block: float, other: float, phase: float, ends: tuple[int, int]) -> float:
    """The most by which the lines at first + k * block between `ends` lie off the nearest of those at phase + k * other."""
    at = first + block * np.arange(math.ceil((ends[0] - first) / block), math.floor((ends[1] - first) / block) + 1)
    away = (at - phase) / other
    return float(np.abs(away - np.rint(away)).max() * other) if len(at) else 0.0


def _along(rgb: Rgb, lines: Lines, box: Box) -> list[Region]:
    """The mosaics whose cells lie between `lines`, and which show in `box`; of what is far from there nothing is seen."""
    top, left, bottom, right = box
    far = AROUND * max(bottom - top, right - left)
    y, x = max(0, top - far), max(0, left - far)
    area = rgb[y : bottom + far, x : right + far]
    seed = top - y, left - x, bottom - y, right - x
    found = _straightened(area, Lines(lines.block, lines.first_y - y, lines.first_x - x), seed)
    block = max(2, round(lines.block))
    grid = Grid(block, round(lines.first_y) % block, round(lines.first_x) % block)
    return [
        Region(grid, (each.box[0] + y, each.box[1] + x, each.box[2] + y, each.box[3] + x), each.mask, lines) for each in found
    ]


def _straightened(rgb: Rgb, lines: Lines, box: Box) -> list[Region]:
    """As `_along`, of the whole image."""
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
    there = regions_along(straight, Grid(side), (top, left, bottom, right))
    return [made for region in _closed(there) if (made := _in_photo(region, lines, step, firsts, rgb.shape))]


def _closed(regions: list[Region]) -> list[Region]:
    """The same without the cracks along blurred lines, which may have made several of one."""
    if not regions:
        return []
    tops, lefts, bottoms, rights = zip(*(each.box for each in regions), strict=True)
    top, left, bottom, right = min(tops), min(lefts), max(bottoms), max(rights)
    whole = np.zeros((bottom - top + 2 * CRACK, right - left + 2 * CRACK), np.uint8)
    for each in regions:
        y, x = each.box[0] - top + CRACK, each.box[1] - left + CRACK
        whole[y : y + each.mask.shape[0], x : x + each.mask.shape[1]] |= each.mask
    whole = np.asarray(cv2.morphologyEx(whole, cv2.MORPH_CLOSE, np.ones((2 * CRACK + 1, 2 * CRACK + 1), np.uint8)))
    made = []
    for part in parts_of(whole > 0, min(int(each.mask.sum()) for each in regions)):
        ys, xs = np.nonzero(part.any(1))[0], np.nonzero(part.any(0))[0]
        box = int(ys[0]), int(xs[0]), int(ys[-1]) + 1, int(xs[-1]) + 1
        placed = box[0] + top - CRACK, box[1] + left - CRACK, box[2] + top - CRACK, box[3] + left - CRACK
        made.append(Region(regions[0].grid, placed, part[box[0] : box[2], box[1] : box[3]]))
    return made


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
    return Region(region.grid, (top, left, bottom, right), mask)


def _is_same(region: Region, other: Region, larger: float = math.inf) -> bool:
    """Whether most of one lies in the other, and `region` is less than `larger` times as large."""
    box = [f(a, b) for f, a, b in zip((max, max, min, min), region.box, other.box, strict=True)]
    top, left, bottom, right = box
    if top >= bottom or left >= right:
        return False

    def part(each: Region) -> NDArray[np.bool_]:
        return each.mask[top - each.box[0] : bottom - each.box[0], left - each.box[1] : right - each.box[1]]

    common = int((part(region) & part(other)).sum())
    areas = int(region.mask.sum()), int(other.mask.sum())
    return common > SAME * min(areas) and areas[0] < larger * areas[1]

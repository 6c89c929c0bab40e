"""The mosaicked regions of a whole photo: what a model sees of each, and how what it makes comes back unseen."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.cells import Cells, affine_of, even, laid_back, of_lines
from dataset_tools.crops import Square
from dataset_tools.mosaic_grid import Grid, cells_of
from dataset_tools.mosaic_regions import Region
from dataset_tools.mosaic_resized import Lines
from pipelines import blend
from pipelines.whole_image import in_tiles

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Weights = NDArray[np.float32]  # (H, W), 0 to 1

CONTEXT = 4  # cells around a region that a model sees beside its own, at least
SHARE = 4  # or 1 / SHARE of its longer side, where that is more


def restored_around(rgb: Rgb, region: Region, run: Callable[[Rgb], Rgb], stride: int) -> tuple[int, int, Rgb]:
    """(top, left, pixels): the rectangle of cells around `region` as `run`, a model of mosaics, restores it, at the photo's size.

    A cell that shows the mosaic is the mean of what shows; the others are means of the photo, which the model sees beside them.

    Args:
        stride: the model takes images whose sides are multiples of it, pixels.
        run: (N, H, W, 3) uint8 -> alike; see engines.Engine.run.
    """
    rows, columns, mask = _around(rgb, region)
    grid = Grid(region.grid.block, (region.grid.phase_y - rows.start) % region.grid.block,
                (region.grid.phase_x - columns.start) % region.grid.block)  # fmt: skip
    area = rgb[rows, columns]
    if region.lines:
        block, first_y, first_x = region.lines
        known = of_lines(area, Lines(block, first_y - rows.start, first_x - columns.start))
    else:
        known = Cells(masked_means(area, mask, grid), affine_of(grid))
    made = in_tiles(run, even(known.means, stride)[None])[0]
    return rows.start, columns.start, laid_back(area, known, made)


def masked_means(rgb: Rgb, mask: NDArray[np.bool_], grid: Grid) -> Rgb:
    """The mean of each cell, uint8 (rows, cols, 3): of its pixels in `mask`, or of all if none is.

    A cell at the edge of a region shows the mosaic in a part only.
    """
    tops, heights = cells_of(rgb.shape[0], grid.block, grid.phase_y)
    lefts, widths = cells_of(rgb.shape[1], grid.block, grid.phase_x)
    corners = np.ix_(np.append(tops, rgb.shape[0]), np.append(lefts, rgb.shape[1]))

    def sums(values: NDArray[np.uint8]) -> NDArray[np.float64]:
        until = cv2.integral(values, sdepth=cv2.CV_64F)[corners]
        return np.asarray(np.diff(np.diff(until, axis=0), axis=1))

    inside = mask.astype(np.uint8)
    shown, whole = sums(inside)[:, :, None], np.outer(heights, widths)[:, :, None]
    masked = cv2.copyTo(rgb, inside)  # black elsewhere
    values = np.where(shown > 0, sums(masked) / np.maximum(shown, 1), sums(rgb) / whole)
    return np.asarray(np.floor(values + 0.5), np.uint8)


def pasted(rgb: Rgb, region: Region, at: tuple[int, int], made: Rgb, strength: float = 1.0) -> tuple[slice, slice, Rgb, Weights]:
    """(rows, columns, pixels, weights): what the photo shows once `made`, which lies `at` (top, left), is laid into `rgb`.

    weights, (H, W): how much of each pixel is the model's, 0 to `strength`; where it is 0 nothing changes.
    """
    return _laid_in(rgb, at, made, region.box, region.mask, region.grid.block, strength)


def face_pasted(rgb: Rgb, window: Square, restored: Rgb, strength: float = 1.0) -> tuple[slice, slice, Rgb, Weights]:
    """As `pasted`, for all of a window that was restored, uint8 (size, size, 3)."""
    box = max(0, window.y), max(0, window.x), min(rgb.shape[0], window.y + window.side), min(rgb.shape[1], window.x + window.side)
    mask = np.ones((box[2] - box[0], box[3] - box[1]), bool)
    method = cv2.INTER_AREA if window.side < restored.shape[0] else cv2.INTER_CUBIC
    whole = np.asarray(cv2.resize(restored, (window.side, window.side), interpolation=method))
    return _laid_in(rgb, (window.y, window.x), whole, box, mask, max(2, window.side // 10), strength)


def _laid_in(
    rgb: Rgb, at: tuple[int, int], whole: Rgb, box: tuple[int, int, int, int], part: NDArray[np.bool_], reach: int,
    strength: float,
) -> tuple[slice, slice, Rgb, Weights]:  # fmt: skip
    """`part` of `box` (top, left, bottom, right) as `whole` shows it, which lies `at`; its edge fades over `reach`."""
    (top, left, bottom, right), margin = box, max(8, reach)
    rows = slice(max(0, top - margin), min(rgb.shape[0], bottom + margin))
    columns = slice(max(0, left - margin), min(rgb.shape[1], right + margin))
    ys = np.clip(np.arange(rows.start, rows.stop) - at[0], 0, whole.shape[0] - 1)
    xs = np.clip(np.arange(columns.start, columns.stop) - at[1], 0, whole.shape[1] - 1)
    mask = np.zeros((len(ys), len(xs)), np.uint8)
    mask[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = part
    before, made = rgb[rows, columns], whole[np.ix_(ys, xs)]
    seen = np.outer(np.diff(ys, append=-1) != 0, np.diff(xs, append=-1) != 0)  # not the border of the window, repeated
    outside = (blend.grown(mask) == 0) & seen  # what the model makes of the photo tells how its colours are off
    off = (before[outside].astype(np.float32) - made[outside]).mean(axis=0) if outside.any() else np.zeros(3)
    after = blend.laid_into(before, np.rint(made + off).clip(0, 255).astype(np.uint8), mask, reach)
    if strength < 1:
        after = np.rint(before + strength * (after.astype(np.float32) - before)).astype(np.uint8)
    return rows, columns, after, strength * blend.grown(mask).astype(np.float32)


def _around(rgb: Rgb, region: Region) -> tuple[slice, slice, NDArray[np.bool_]]:
    """The rows and columns of the photo whose cells a model sees for `region`, and where the region lies in them."""
    top, left, bottom, right = region.box
    block = region.grid.block
    more = block * max(CONTEXT, math.ceil(max(bottom - top, right - left) / block / SHARE))
    rows, columns = (
        slice(max(0, first - (first - phase) % block - more), min(length, last + (phase - last) % block + more))
        for first, last, phase, length in (
            (top, bottom, region.grid.phase_y, rgb.shape[0]),
            (left, right, region.grid.phase_x, rgb.shape[1]),
        )
    )
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
    mask[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = region.mask
    return rows, columns, mask

"""The mosaicked regions of a whole photo: where each is cut out for the model, at which size, and how it comes back unseen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import crops, degradations
from dataset_tools.crops import Square
from dataset_tools.mosaic_grid import Grid, between, cells_of
from dataset_tools.mosaic_regions import Region
from pipelines import blend

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Weights = NDArray[np.float32]  # (H, W), 0 to 1

TOLERANCE = 1.25  # how many times smaller or larger than those it was trained for the blocks may be that a model is given
HELD = 0.8  # of a region: a window of a dataset that holds so much of it is where the model is given it
MOST_SIZE = 1024  # pixels a side: the largest crop for a model that takes any size


@dataclass(frozen=True)
class Placed:
    """A region, and the window of the photo that the model is given for it."""

    region: Region
    window: Square
    size: int  # pixels a side of the window in the model
    note: str = ""  # what a person should know


class UnknownBlocks(ValueError):
    """A mosaic that the model was not trained for. One line says why."""


def trained_blocks(recipe: Sequence[str]) -> tuple[float, float] | None:
    """The smallest and the largest block of the mosaics in a recipe, pixels of the crop; None where it has none."""
    steps = [step for step in map(degradations.parse, recipe) if step.name == "mosaic"]
    if not steps:
        return None
    blocks = [step.options["block"] for step in steps]
    ends = [each if isinstance(each, tuple | list) else (each, each) for each in blocks]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def placed(region: Region, card: Mapping[str, Any], any_size: bool, windows: Sequence[Square] = ()) -> Placed:
    """The window for `region`: as much around it as the model saw around a face, at a size at which it knows the blocks.

    Args:
        windows: where a dataset's crops of this photo lie: one that holds the region is taken, if its blocks are known there.

    Raises:
        UnknownBlocks: the model takes one size only, at which the blocks are others than those that it was trained for.
    """
    top, left, bottom, right = region.box
    margin = float(card["crop"].get("margin", 0.25))
    side = max(bottom - top, right - left) * (1 + 2 * margin)
    size, stride = int(card["size"]), int(card["stride"])
    low, high = trained_blocks(card["recipe"]) or (1.0, math.inf)
    for each in windows:
        there = region.grid.block * size / each.side
        if _holds(each, region) and low / TOLERANCE <= there <= high * TOLERANCE:
            return Placed(region, each, size)
    block = region.grid.block * size / side
    known = low / TOLERANCE <= block <= high * TOLERANCE
    wanted = block if known else min(max(block, low), high)  # pixels of the model
    scale, note = wanted / region.grid.block, ""
    if wanted > block:  # fine cells: more pixels for the same window
        size = math.ceil(side * scale / stride) * stride
        if not any_size or size > MOST_SIZE:
            told = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            raise UnknownBlocks(
                f"a mosaic of {right - left} x {bottom - top} pixels with blocks of {region.grid.block}: at the {card['size']} "
                f"pixels of the model its blocks are {block:.1f}, and it was trained for {told}: train a model for finer blocks"
            )
    if wanted != block and abs(wanted - region.grid.block) >= 0.1:
        note = f"scaled to blocks of {wanted:.3g} for the model"
    side = round(size / scale)
    middle_y, middle_x = (top + bottom) / 2, (left + right) / 2
    return Placed(region, Square(round(middle_x - side / 2), round(middle_y - side / 2), side), size, note)


def _holds(window: Square, region: Region) -> bool:
    """Whether most of a region lies in a window."""
    top, left, _, _ = region.box
    inside = region.mask[max(0, window.y - top) : max(0, window.y + window.side - top),
                         max(0, window.x - left) : max(0, window.x + window.side - left)]  # fmt: skip
    return bool(inside.sum() >= HELD * region.mask.sum())


def seen_by_the_model(rgb: Rgb, spot: Placed) -> tuple[Rgb, Rgb]:
    """(A, its prior), each uint8 (size, size, 3): the window with its cells made even again, and with the smooth image between.

    Both are made on the pixels of the photo, where the grid lies, and brought to the size of the model then.
    """
    top, left, area, mask = _around(rgb, spot)
    grid = spot.region.grid
    shifted = Grid(grid.block, (grid.phase_y - top) % grid.block, (grid.phase_x - left) % grid.block)
    means, cells = masked_means(area, mask, shifted)
    inside = mask.astype(np.uint8)
    even = cv2.copyTo(cells, inside, area.copy())
    smooth = cv2.copyTo(between(means, shifted, (area.shape[0], area.shape[1])), inside, area.copy())
    window = Square(spot.window.x - left, spot.window.y - top, spot.window.side)
    return crops.crop(even, window, spot.size, "reflect"), crops.crop(smooth, window, spot.size, "reflect")


def masked_means(rgb: Rgb, mask: NDArray[np.bool_], grid: Grid) -> tuple[Rgb, Rgb]:
    """The mean of each cell, uint8 (rows, cols, 3), and painted, uint8 (H, W, 3): of its pixels in `mask`, or of all if none is.

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
    means = np.floor(values + 0.5).astype(np.uint8)
    return means, np.repeat(np.repeat(means, heights, axis=0), widths, axis=1)


def pasted(rgb: Rgb, spot: Placed, restored: Rgb, strength: float = 1.0) -> tuple[slice, slice, Rgb, Weights]:
    """(rows, columns, pixels, weights): what the photo shows there once `restored`, uint8 (size, size, 3), is laid into `rgb`.

    weights, (H, W): how much of each pixel is the model's, 0 to `strength`; where it is 0 nothing changes.
    """
    return _laid_in(rgb, spot.window, spot.region.box, spot.region.mask, spot.region.grid.block, restored, strength)


def face_pasted(rgb: Rgb, window: Square, restored: Rgb, strength: float = 1.0) -> tuple[slice, slice, Rgb, Weights]:
    """As `pasted`, for all of a window that was restored."""
    box = max(0, window.y), max(0, window.x), min(rgb.shape[0], window.y + window.side), min(rgb.shape[1], window.x + window.side)
    mask = np.ones((box[2] - box[0], box[3] - box[1]), bool)
    return _laid_in(rgb, window, box, mask, max(2, window.side // 10), restored, strength)


def _laid_in(
    rgb: Rgb, window: Square, box: tuple[int, int, int, int], part: NDArray[np.bool_], reach: int, restored: Rgb, strength: float
) -> tuple[slice, slice, Rgb, Weights]:  # fmt: skip
    """`part` of `box` (top, left, bottom, right) as `restored` shows it, which shows `window`; its edge fades over `reach`."""
    (top, left, bottom, right), margin = box, max(8, reach)
    rows = slice(max(0, top - margin), min(rgb.shape[0], bottom + margin))
    columns = slice(max(0, left - margin), min(rgb.shape[1], right + margin))
    side = window.side
    method = cv2.INTER_AREA if side < restored.shape[0] else cv2.INTER_CUBIC
    whole = cv2.resize(restored, (side, side), interpolation=method)
    ys = np.clip(np.arange(rows.start, rows.stop) - window.y, 0, side - 1)
    xs = np.clip(np.arange(columns.start, columns.stop) - window.x, 0, side - 1)
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


def _around(rgb: Rgb, spot: Placed) -> tuple[int, int, Rgb, NDArray[np.bool_]]:
    """(top, left, pixels, mask) of the photo in the window, and where the region lies in it."""
    window, (top, left, bottom, right) = spot.window, spot.region.box
    first_y, first_x = max(0, min(window.y, top)), max(0, min(window.x, left))
    last_y = min(rgb.shape[0], max(window.y + window.side, bottom))
    last_x = min(rgb.shape[1], max(window.x + window.side, right))
    mask = np.zeros((last_y - first_y, last_x - first_x), bool)
    mask[top - first_y : bottom - first_y, left - first_x : right - first_x] = spot.region.mask
    return first_y, first_x, rgb[first_y:last_y, first_x:last_x], mask

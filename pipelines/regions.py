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

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Weights = NDArray[np.float32]  # (H, W), 0 to 1

TOLERANCE = 1.25  # how many times smaller or larger than those it was trained for the blocks may be that a model is given
MOST_SIZE = 1024  # pixels a side: the largest crop for a model that takes any size
FEATHER = 0.35  # of a block: how far outside of its region what was restored fades out
LEAST_FEATHER = 3  # pixels


@dataclass(frozen=True)
class Placed:
    """A region, and the window of the photo that the model is given for it."""

    region: Region
    window: Square
    size: int  # pixels a side of the window in the model
    note: str = ""  # what a person should know


class TooCoarse(ValueError):
    """A mosaic that the model was not trained for. One line says why."""


def trained_blocks(recipe: Sequence[str]) -> tuple[float, float] | None:
    """The smallest and the largest block of the mosaics in a recipe, pixels of the crop; None where it has none."""
    steps = [step for step in map(degradations.parse, recipe) if step.name == "mosaic"]
    if not steps:
        return None
    blocks = [step.options["block"] for step in steps]
    ends = [each if isinstance(each, tuple | list) else (each, each) for each in blocks]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def placed(region: Region, card: Mapping[str, Any], any_size: bool) -> Placed:
    """The window for `region`: as much around it as the model saw around a face, at a size at which it knows the blocks.

    Raises:
        TooCoarse: the model takes one size only, at which the blocks are others than those that it was trained for.
    """
    top, left, bottom, right = region.box
    margin = float(card["crop"].get("margin", 0.25))
    side = max(bottom - top, right - left) * (1 + 2 * margin)
    size, stride = int(card["size"]), int(card["stride"])
    low, high = trained_blocks(card["recipe"]) or (1.0, math.inf)
    block = region.grid.block * size / side
    known = low / TOLERANCE <= block <= high * TOLERANCE
    wanted = block if known else min(max(block, low), high)  # pixels of the model
    scale, note = wanted / region.grid.block, ""
    if wanted > block:  # fine cells: more pixels for the same window
        size = math.ceil(side * scale / stride) * stride
        if not any_size or size > MOST_SIZE:
            told = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            raise TooCoarse(
                f"a mosaic of {right - left} x {bottom - top} pixels with blocks of {region.grid.block}: at the {card['size']} "
                f"pixels of the model its blocks are {block:.1f}, and it was trained for {told}: train a model for finer blocks"
            )
    if wanted != block:
        note = f"scaled to blocks of {wanted:.3g} for the model"
    side = round(size / scale)
    middle_y, middle_x = (top + bottom) / 2, (left + right) / 2
    return Placed(region, Square(round(middle_x - side / 2), round(middle_y - side / 2), side), size, note)


def seen_by_the_model(rgb: Rgb, spot: Placed) -> tuple[Rgb, Rgb]:
    """(A, its prior), each uint8 (size, size, 3): the window with its cells made even again, and with the smooth image between.

    Both are made on the pixels of the photo, where the grid lies, and brought to the size of the model then.
    """
    top, left, area, mask = _around(rgb, spot)
    grid = spot.region.grid
    shifted = Grid(grid.block, (grid.phase_y - top) % grid.block, (grid.phase_x - left) % grid.block)
    means, cells = masked_means(area, mask, shifted)
    even = np.where(mask[:, :, None], cells, area)
    smooth = np.where(mask[:, :, None], between(means, shifted, (area.shape[0], area.shape[1])), area)
    window = Square(spot.window.x - left, spot.window.y - top, spot.window.side)
    return crops.crop(even, window, spot.size, "reflect"), crops.crop(smooth, window, spot.size, "reflect")


def masked_means(rgb: Rgb, mask: NDArray[np.bool_], grid: Grid) -> tuple[Rgb, Rgb]:
    """The mean of each cell, uint8 (rows, cols, 3), and painted, uint8 (H, W, 3): of its pixels in `mask`, or of all if none is.

    A cell at the edge of a region shows the mosaic in a part only.
    """
    tops, heights = cells_of(rgb.shape[0], grid.block, grid.phase_y)
    lefts, widths = cells_of(rgb.shape[1], grid.block, grid.phase_x)

    def sums(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.add.reduceat(np.add.reduceat(values, tops, axis=0, dtype=np.float64), lefts, axis=1)

    inside, shown = mask[:, :, None], sums(mask)[:, :, None]
    whole = np.outer(heights, widths)[:, :, None]
    values = np.where(shown > 0, sums(rgb * inside) / np.maximum(shown, 1), sums(rgb) / whole)
    means = np.floor(values + 0.5).astype(np.uint8)
    return means, np.repeat(np.repeat(means, heights, axis=0), widths, axis=1)


def weights_of(spot: Placed, shape: tuple[int, ...]) -> tuple[int, int, Weights]:
    """(top, left, weights): how much of what was restored shows, 1 in the region and falling to 0 outside; of the area that it
    touches in a photo of `shape` (H, W, …)."""
    fade = max(LEAST_FEATHER, round(FEATHER * spot.region.grid.block))
    top, left, bottom, right = spot.region.box
    outer = max(0, top - fade), max(0, left - fade), min(shape[0], bottom + fade), min(shape[1], right + fade)
    away = np.ones((outer[2] - outer[0], outer[3] - outer[1]), np.uint8)
    away[top - outer[0] : bottom - outer[0], left - outer[1] : right - outer[1]][spot.region.mask] = 0
    distance = cv2.distanceTransform(np.pad(away, 1, constant_values=1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    share = np.clip(1 - distance / (fade + 1), 0, 1).astype(np.float32)
    return outer[0], outer[1], share * share * (3 - 2 * share)  # level at both ends


def pasted(rgb: Rgb, spot: Placed, restored: Rgb, strength: float = 1.0) -> tuple[slice, slice, Rgb, Weights]:
    """(rows, columns, pixels, weights): what the photo shows there once `restored`, uint8 (size, size, 3), is laid over `rgb`.

    Its colours are shifted, smoothly, by what the two differ around the region. Outside of weights > 0 nothing changes.
    """
    top, left, weights = weights_of(spot, rgb.shape)
    rows, columns = slice(top, top + weights.shape[0]), slice(left, left + weights.shape[1])
    side = spot.window.side
    method = cv2.INTER_AREA if side < spot.size else cv2.INTER_CUBIC
    whole = cv2.resize(restored, (side, side), interpolation=method)
    ring = max(8, round(spot.region.grid.block))
    outer = (max(0, top - ring, spot.window.y), max(0, left - ring, spot.window.x),
             min(rgb.shape[0], rows.stop + ring, spot.window.y + side),
             min(rgb.shape[1], columns.stop + ring, spot.window.x + side))  # fmt: skip
    shown = whole[outer[0] - spot.window.y : outer[2] - spot.window.y, outer[1] - spot.window.x : outer[3] - spot.window.x]
    before = rgb[outer[0] : outer[2], outer[1] : outer[3]]
    far = np.ones(shown.shape[:2], np.float32)
    inner = slice(top - outer[0], rows.stop - outer[0]), slice(left - outer[1], columns.stop - outer[1])
    far[inner] = weights == 0
    shift = _spread(before.astype(np.float32) - shown, far, sigma=max(2.0 * ring, 0.3 * min(far.shape)))[inner]
    matched = shown[inner] + shift
    share = (weights * strength)[:, :, None]
    pixels = np.rint(matched * share + rgb[rows, columns] * (1 - share)).clip(0, 255).astype(np.uint8)
    return rows, columns, np.where(weights[:, :, None] > 0, pixels, rgb[rows, columns]), weights


def _spread(values: NDArray[np.float32], known: Weights, sigma: float) -> NDArray[np.float32]:
    """`values` (H, W, 3) where they are known (H, W), carried on smoothly to where they are not."""
    height, width = known.shape
    smaller = max(1.0, sigma / 8)  # what is so smooth is as well computed of fewer pixels
    size = max(1, round(width / smaller)), max(1, round(height / smaller))
    weighted = np.dstack([values * known[:, :, None], known + 1e-6])
    small = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / smaller, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(small[..., :3] / small[..., 3:], (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _around(rgb: Rgb, spot: Placed) -> tuple[int, int, Rgb, NDArray[np.bool_]]:
    """(top, left, pixels, mask) of the photo in the window, and where the region lies in it."""
    window, (top, left, bottom, right) = spot.window, spot.region.box
    first_y, first_x = max(0, min(window.y, top)), max(0, min(window.x, left))
    last_y = min(rgb.shape[0], max(window.y + window.side, bottom))
    last_x = min(rgb.shape[1], max(window.x + window.side, right))
    mask = np.zeros((last_y - first_y, last_x - first_x), bool)
    mask[top - first_y : bottom - first_y, left - first_x : right - first_x] = spot.region.mask
    return first_y, first_x, rgb[first_y:last_y, first_x:last_x], mask

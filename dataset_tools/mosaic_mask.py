"""Where exactly a mosaic lies in a photo whose grid and cells are known: its mask, to the pixel where nothing was lost."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.bool_]  # (R, C), of a grid
Places = NDArray[np.intp]

LEAST_LOST = 1.5  # grey levels by which the pixels of a cell may differ where a file has lost some
PASSES = 4  # over the cells at the edge of a region
NEARLY = 0.93  # of its box: a rectangle, of whose corners some were not told
JOINED = 0.75  # of the pixels next to a region that lie in a cell of it, as few as may have the one level of the others


def mask_of(rgb: NDArray[np.uint8], grey: NDArray[np.uint8], ys: Places, xs: Places, members: Cells) -> NDArray[np.bool_]:
    """Where a mosaic lies, (H, W): the convex hull of its cells; at its edge, just beyond and between them, what is as its cell.

    Args:
        rgb, grey: the photo, (H, W, 3) and (H, W).
        ys, xs: the first row and column of each whole cell of its grid, and of the one after the last, (R + 1,) and (C + 1,).
        members: which of them are of the mosaic, (R, C).
    """
    at_y, at_x = np.nonzero(members)
    corners = [np.stack([x, y], 1) for y in (ys[at_y], ys[at_y + 1] - 1) for x in (xs[at_x], xs[at_x + 1] - 1)]
    mask = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.concatenate(corners).astype(np.int32)), 1)
    box = slice(ys[at_y.min()], ys[at_y.max() + 1]), slice(xs[at_x.min()], xs[at_x.max() + 1])
    if mask[box].mean() > NEARLY:
        mask[box] = 1
    block = int(ys[1] - ys[0])
    cells = slice(ys[0], ys[-1]), slice(xs[0], xs[-1])
    tolerance = _tolerance(grey[cells], block, members)
    if tolerance <= 1 and not _are_exact(rgb[cells], block, members):
        tolerance = LEAST_LOST
    levels = grey if tolerance > 1 else _as_numbers(rgb)
    sure = np.zeros_like(mask)
    sure[ys[0] : ys[-1], xs[0] : xs[-1]] = np.repeat(np.repeat(members.astype(np.uint8), block, axis=0), block, axis=1)
    ys, xs = _all_lines(ys, grey.shape[0]), _all_lines(xs, grey.shape[1])
    reached = cv2.dilate(_any(mask, ys, xs).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    left_alone = ~reached
    for _ in range(PASSES):  # beside the hull; then those in its corners, and those that others had covered
        near = cv2.dilate(mask, np.ones((5, 5), np.uint8))
        inner = cv2.erode(mask, np.ones((2 * block + 1, 2 * block + 1), np.uint8), borderType=cv2.BORDER_REPLICATE)
        for row, column in zip(*np.nonzero(_any(near, ys, xs) & ~left_alone), strict=True):
            cell = slice(ys[row], ys[row + 1]), slice(xs[column], xs[column + 1])
            if not (inner[cell] & sure[cell]).any():
                whole = levels[cell].size == block**2
                mask[cell] = _of_one_level(levels[cell], mask[cell], near[cell], tolerance, whole)
                left_alone[row, column] = True
    return mask > 0


def _as_numbers(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The three channels of each pixel as one number, (H, W)."""
    return np.asarray(rgb.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32))


def _tolerance(grey: NDArray[np.uint8], block: int, members: Cells) -> float:
    """By how many grey levels the pixels of these cells differ from the one of their cell: half a level where none does.

    grey: the whole cells of the grid.
    """
    rows, columns = members.shape
    part = grey.reshape(rows, block, columns, block)
    cells = part.swapaxes(1, 2)[members].reshape(-1, block**2).astype(np.float32)
    off = np.percentile(np.abs(cells - np.median(cells, axis=1, keepdims=True)), 95, axis=1)
    return max(LEAST_LOST, 0.5 + float(np.median(off))) if np.median(off) else 0.5


def _are_exact(rgb: NDArray[np.uint8], block: int, members: Cells) -> bool:
    """Whether most of these cells have the one colour of their middle: a JPEG may keep the grey of those that lie on its blocks.

    rgb: the whole cells of the grid.
    """
    rows, columns = members.shape
    cells = _as_numbers(rgb).reshape(rows, block, columns, block).swapaxes(1, 2)[members]
    others = (cells != cells[:, block // 2, block // 2, None, None]).mean((1, 2))
    return bool(2 * (others <= 0.05).sum() >= len(others))


def _all_lines(lines: Places, length: int) -> Places:
    """The lines of a grid and the borders of the photo."""
    return np.unique([0, *lines, length])


def _any(mask: NDArray[np.uint8], ys: Places, xs: Places) -> Cells:
    """Which of the cells between the lines hold some of it."""
    return np.maximum.reduceat(np.maximum.reduceat(mask, ys[:-1], axis=0), xs[:-1], axis=1) > 0


def _of_one_level(
    grey: NDArray[Any], held: NDArray[np.uint8], near: NDArray[np.uint8], tolerance: float, whole: bool
) -> NDArray[np.uint8]:  # fmt: skip
    """The part of a cell, (h, w) 0 | 1, that has the level of what is held of it, or of what lies near, and is joined with it.

    A `whole` cell of one level, of which nothing is held, is left to the photo: nothing tells that it is a mosaic.
    """
    seeds = held if 4 * held.sum() > held.size else near
    if tolerance <= 1:
        levels, counts = np.unique(grey[seeds > 0], return_counts=True)
        alike = (grey == levels[counts.argmax()]).astype(np.uint8)
    else:  # single pixels stand off in a JPEG
        level = np.float32(np.median(grey[seeds > 0]))
        alike = (np.abs(grey - level) <= tolerance).astype(np.uint8)
        framed = cv2.copyMakeBorder(alike, 2, 2, 2, 2, cv2.BORDER_REPLICATE)
        alike = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))[2:-2, 2:-2].copy()
    _, labels = cv2.connectedComponents(alike, connectivity=4)
    part = np.isin(labels, np.unique(labels[(near > 0) & (alike > 0)])) & (alike > 0)
    if held.any() and part[held > 0].mean() < 0.5:
        return np.zeros_like(held)  # it was taken for a cell, or lay between some
    if part[near > 0].mean() < (0.5 if held.any() else JOINED) or (
        whole and not held.any() and part.mean() > (0.9 if tolerance > 1 else 0.999)
    ):
        return held
    return np.asarray(part, np.uint8)


def parts_of(mask: NDArray[np.bool_], least: float) -> list[NDArray[np.bool_]]:
    """A mask, (H, W), as those parts of it that do not touch and have `least` pixels; what is smaller goes to the nearest."""
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    large = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] >= least]
    if len(large) < 2:
        return [mask]
    nearest = [min(large, key=lambda each: float(np.hypot(*(centres[each] - centre)))) for centre in centres]
    goes_to = np.array([0] + [label if label in large else nearest[label] for label in range(1, count)])
    return [goes_to[labels] == label for label in large]

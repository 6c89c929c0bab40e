"""What looks like a mosaic and is none: the blocks of a JPEG that was compressed so strongly that many have one colour.

Resized, or saved as another file since, they have any side. Other than the cells of a mosaic they begin at a corner of the photo,
reach to all of its sides, and where the photo has detail they are not even.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.mosaic_regions import Region, lines_of
from dataset_tools.mosaic_resized import Lines

AT_CORNER = 0.5  # pixels by which the first line may lie off a corner
UNEVEN = 12  # grey levels between the pixels in the middle of a cell: those of a mosaic have fewer, after a JPEG of 60 too
IN_PHOTO, IN_REGION = 0.10, 0.04  # of the cells are uneven, at least


def without_blocks(rgb: NDArray[np.uint8], regions: Sequence[Region]) -> list[Region]:
    """The regions of uint8 (H, W, 3) sRGB that are no blocks of a JPEG."""
    kept, left = list[Region](), list(regions)
    while left:
        alike = [each for each in left if _near(lines_of(each), lines_of(left[0]))]  # pieces of the same grid
        left = [each for each in left if each not in alike]
        kept += [] if _are_blocks(rgb, alike) else alike
    return [each for each in regions if each in kept]


def _near(one: Lines, other: Lines) -> bool:
    return all(abs(a - b) < AT_CORNER for a, b in zip(one, other, strict=True))


def _are_blocks(rgb: NDArray[np.uint8], regions: Sequence[Region]) -> bool:
    lines, (height, width) = lines_of(regions[0]), rgb.shape[:2]
    tops, lefts, bottoms, rights = zip(*(each.box for each in regions), strict=True)
    if max(min(tops), min(lefts), height - max(bottoms), width - max(rights)) > lines.block:
        return False
    if not (_at_corner(lines.first_y, lines.block, height) and _at_corner(lines.first_x, lines.block, width)):
        return False
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    ys, xs = _middles(lines.first_y, lines.block, height), _middles(lines.first_x, lines.block, width)
    if not len(ys) or not len(xs):
        return False
    down = [each.reduceat(grey, ys, axis=0)[::2] for each in (np.maximum, np.minimum)]
    highest, lowest = np.maximum.reduceat(down[0], xs, axis=1)[:, ::2], np.minimum.reduceat(down[1], xs, axis=1)[:, ::2]
    uneven = cv2.subtract(highest, lowest) > UNEVEN
    whole = np.zeros((height, width), bool)
    for each in regions:
        top, left, bottom, right = each.box
        whole[top:bottom, left:right] |= each.mask
    inside = whole[np.ix_((ys[::2] + ys[1::2]) // 2, (xs[::2] + xs[1::2]) // 2)].astype(np.uint8)
    inside = cv2.erode(inside, np.ones((3, 3), np.uint8)) > 0  # at its rim a mosaic may have half a cell
    return bool(uneven.mean() > IN_PHOTO and (uneven & inside).sum() > IN_REGION * inside.sum())


def _at_corner(first: float, block: float, length: int) -> bool:
    """Whether a line lies on one of the ends; which of them depends on how the photo was turned."""
    return any(abs(off - block * round(off / block)) < AT_CORNER for off in (first, length - first))


def _middles(first: float, block: float, length: int) -> NDArray[np.intp]:
    """Where the middle half of each whole cell begins, and where it ends: (2 n,)."""
    first %= block
    starts = first + block * np.arange(int((length - first) // block))
    ends = np.stack([np.rint(starts + 0.25 * block), np.rint(starts + 0.75 * block)], axis=1)
    return np.asarray(ends.ravel(), np.intp)

"""A whole photo through a model: colours at the model's size on the photo's own luminance, or tiles that overlap."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.cells import CELL
from pix2pix.pixels import LUMA, chroma_matrix

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Restore = Callable[[Rgb], Rgb]  # (N, h, w, 3) -> the same shape

STRIP = 256  # rows of the photo that are worked on at once
OVERLAP = 4  # tiles overlap by 1 / OVERLAP of their side
BATCH = 8  # tiles
TILE = 512  # pixels a side of what a model of mosaics is given at once
TONED = 12  # levels by which the channels of a pixel differ otherwise than those of its luminance do, in a stained print too
FEW = 0.05  # of the pixels


def size_for(shape: tuple[int, ...], size: int, stride: int) -> tuple[int, int]:
    """(height, width) at which a model of `size` sees a photo of `shape` (H, W, …): as many pixels, multiples of `stride`."""
    scale = size / math.sqrt(shape[0] * shape[1])
    return max(stride, round(shape[0] * scale / stride) * stride), max(stride, round(shape[1] * scale / stride) * stride)


def colorized(rgb: Rgb, restore: Restore, size: int, stride: int, strength: float = 1.0) -> tuple[Rgb, float]:
    """`rgb`, uint8 (H, W, 3), in the colours that `restore` gives it at about `size` x `size` pixels.

    Each pixel keeps its luminance (Y of BT.601) up to rounding: where a colour cannot be shown at that luminance, it is made
    paler until it can.

    Returns:
        The pixels, and the share of those whose colour was made paler.
    """
    height, width = size_for(rgb.shape, size, stride)
    method = cv2.INTER_AREA if height * width < rgb.shape[0] * rgb.shape[1] else cv2.INTER_CUBIC
    small = restore(cv2.resize(rgb, (width, height), interpolation=method)[None])[0].astype(np.float32)
    luma = small @ LUMA
    differences = np.dstack([(small[..., 2] - luma) / (2 * (1 - LUMA[2])), (small[..., 0] - luma) / (2 * (1 - LUMA[0]))])
    made, paler = np.empty_like(rgb), 0
    for top in range(0, rgb.shape[0], STRIP):
        rows = slice(top, min(top + STRIP, rgb.shape[0]))
        grey = (rgb[rows].astype(np.float32) @ LUMA)[..., None]
        colour = strength * (_enlarged(differences, rgb.shape, rows) @ chroma_matrix())  # what it adds to R, G and B
        room = np.where(colour > 0, 255 - grey, grey) / np.maximum(np.abs(colour), 1e-3)
        share = np.minimum(room.min(axis=-1, keepdims=True), 1)
        made[rows] = np.rint(grey + share * colour).clip(0, 255)
        paler += int((share < 0.99).sum())
    return made, paler / (rgb.shape[0] * rgb.shape[1])


def has_colours(rgb: Rgb) -> bool:
    """Whether uint8 (H, W, 3) has colours of its own: not only a tone, which is one colour for each luminance, as sepia is."""
    side = min(8, *rgb.shape[:2])
    height, width = rgb.shape[0] // side, rgb.shape[1] // side
    small = np.asarray(cv2.resize(rgb[: height * side, : width * side], (width, height), interpolation=cv2.INTER_AREA))
    levels = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) >> 4
    off = small[..., ::2] - small[..., 1:2].astype(np.float32)  # red and blue less green
    for level in np.unique(levels):
        off[levels == level] -= np.median(off[levels == level], axis=0)
    return bool((np.abs(off).max(axis=-1) > TONED).mean() > FEW)


def _enlarged(small: NDArray[np.float32], shape: tuple[int, ...], rows: slice) -> NDArray[np.float32]:
    """Those rows of `small`, (h, w, 2), as cv2.resize would enlarge it to `shape` (H, W, …)."""
    y, x = small.shape[0] / shape[0], small.shape[1] / shape[1]
    matrix = np.array([[x, 0, 0.5 * x - 0.5], [0, y, (rows.start + 0.5) * y - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (shape[1], rows.stop - rows.start)
    return np.asarray(cv2.warpAffine(small, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def restored_in_tiles(rgb: Rgb, restore: Restore, size: int, step: int = 1) -> Rgb:
    """`rgb`, uint8 (H, W, 3), through a model of `size` x `size` pixels, at the photo's own size.

    Tiles overlap by a quarter and fade into each other; a photo that is smaller than a tile is continued by its mirror image.
    Memory beside the two photos is that of a row of tiles. They begin at multiples of `step` pixels, of which photo and size are
    multiples too; above 1 the mirror stands at the border of such a step, not in the middle of its last pixel.
    """
    height, width = rgb.shape[:2]
    whole = rgb
    if min(height, width) < size:
        mirror = cv2.BORDER_REFLECT if step > 1 else cv2.BORDER_REFLECT_101
        rows = [cv2.borderInterpolate(row, height, mirror) for row in range(max(height, size))]
        columns = [cv2.borderInterpolate(column, width, mirror) for column in range(max(width, size))]
        whole = rgb[np.ix_(rows, columns)]
    made = np.empty_like(whole)
    ramp = np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)).clip(max=size // OVERLAP).astype(np.float32)
    weights = np.outer(ramp, ramp)[:, :, None]
    tops, lefts = (list(_starts(length, size, step)) for length in whole.shape[:2])
    total = np.zeros((size, whole.shape[1], 3), np.float32)
    weight = np.zeros((size, whole.shape[1], 1), np.float32)
    for place, top in enumerate(tops):
        for first in range(0, len(lefts), BATCH):
            some = lefts[first : first + BATCH]
            tiles = restore(np.stack([whole[top : top + size, left : left + size] for left in some]))
            for left, tile in zip(some, tiles, strict=True):
                total[:, left : left + size] += tile * weights
                weight[:, left : left + size] += weights
        done = (tops[place + 1] if place + 1 < len(tops) else whole.shape[0]) - top
        made[top : top + done] = np.rint(total[:done] / weight[:done])
        for kept in (total, weight):
            kept[: size - done] = kept[done:].copy()
            kept[size - done :] = 0
    return made[:height, :width]


def in_tiles(run: Restore, images: Rgb) -> Rgb:
    """(N, H, W, 3) through a model of mosaics, (N, h, w, 3) -> alike, in tiles where they are larger than TILE pixels a side."""
    if max(images.shape[1:3]) <= TILE:
        return run(images)
    return np.stack([restored_in_tiles(each, run, TILE, CELL) for each in images])


def _starts(length: int, size: int, step: int) -> Iterator[int]:
    """Where tiles begin: evenly, the first at 0, the last at length - size, about 1 - 1 / OVERLAP of their size apart at most."""
    count = max(1, -(-(length - size) // (size - size // OVERLAP)) + 1)
    return (round(place * (length - size) / max(count - 1, 1) / step) * step for place in range(count))

"""Crop geometry: squares in upright source pixels, the exact map from source to crop, and the crop itself."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PADDINGS = {  # what stands outside the image; clamp moves the square inside instead
    "clamp": None,
    "replicate": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT_101,  # as np.pad's "reflect": the border pixel is not repeated
}


@dataclass(frozen=True)
class Square:
    """Columns x .. x + side - 1 and rows y .. y + side - 1 of the upright source; may leave the image where it is padded."""

    x: int
    y: int
    side: int  # pixels, 1 or more


def face_square(box: tuple[float, float, float, float], shape: tuple[int, ...], margin: float, padding: str) -> Square:
    """The square around a face box (x, y, w, h) in source pixels: max(w, h) * (1 + 2 * margin), centred on the box.

    With padding "clamp" it is moved inside the image of `shape` (H, W, …), and shrunk to its shorter side where it is larger;
    with "replicate" or "reflect" it stays where it is and may leave the image.

    Raises:
        ValueError: another padding.
    """
    _border(padding)
    x, y, width, height = box
    side = max(1, round(max(width, height) * (1 + 2 * margin)))
    if padding == "clamp":
        side = min(side, shape[0], shape[1])
    left, top = round(x + (width - side) / 2), round(y + (height - side) / 2)
    if padding == "clamp":
        left, top = min(max(left, 0), shape[1] - side), min(max(top, 0), shape[0] - side)
    return Square(left, top, side)


def center_square(shape: tuple[int, ...]) -> Square:
    """The largest square in the middle of an image of `shape` (H, W, …)."""
    height, width = shape[:2]
    side = min(height, width)
    return Square((width - side) // 2, (height - side) // 2, side)


def tile_squares(shape: tuple[int, ...], size: int, count: int, rng: np.random.Generator) -> list[Square]:
    """`count` random squares inside an image of `shape` (H, W, …).

    Their side is uniform from `size` (the crop's own, so that nothing is enlarged; or less in a smaller image) to the shorter
    side of the image, their place uniform among those that fit.
    """
    height, width = shape[:2]
    shorter = min(height, width)
    squares = []
    for _ in range(count):
        side = int(rng.integers(min(size, shorter), shorter + 1))
        x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        squares.append(Square(x, y, side))
    return squares


def affine(square: Square, size: int) -> NDArray[np.float64]:
    """The (2, 3) matrix from source pixels (x, y, 1) to pixels of the crop at `size`, pixel centres at integers.

    x' = (x - square.x + 0.5) * size / side - 0.5, which is the mapping of cv2.resize.
    """
    scale = size / square.side
    return np.array([[scale, 0.0, (0.5 - square.x) * scale - 0.5], [0.0, scale, (0.5 - square.y) * scale - 0.5]])


def invert(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (2, 3) matrix of the way back, crop to source, for any (2, 3) affine that can be inverted."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.hstack([inverse, -inverse @ matrix[:, 2:]])


def crop(rgb: NDArray[np.uint8], square: Square, size: int, padding: str = "replicate") -> NDArray[np.uint8]:
    """The square of `rgb`, uint8 (H, W, 3), at (size, size, 3): INTER_AREA where it shrinks, INTER_CUBIC where it grows.

    What lies outside the image is made as cv2.copyMakeBorder makes it.

    Raises:
        ValueError: another padding, or "clamp" with a square that leaves the image.
    """
    height, width = rgb.shape[:2]
    x, y, side = square.x, square.y, square.side
    border = _border(padding)
    if x >= 0 and y >= 0 and x + side <= width and y + side <= height:
        cut = rgb[y : y + side, x : x + side]
    elif border is None:
        raise ValueError(f"{square} leaves the image of {width}x{height}, which clamp does not allow")
    else:  # by index: copyMakeBorder itself would copy the whole photo for every face at its edge
        rows = [cv2.borderInterpolate(row, height, border) for row in range(y, y + side)]
        columns = [cv2.borderInterpolate(column, width, border) for column in range(x, x + side)]
        cut = rgb[np.ix_(rows, columns)]
    if side == size:
        return cut.copy()
    filtering = cv2.INTER_AREA if size < side else cv2.INTER_CUBIC
    resized: NDArray[np.uint8] = cv2.resize(cut, (size, size), interpolation=filtering)
    return resized


def enlargement(square: Square, size: int) -> float:
    """How much the crop is enlarged: 2.0 = every source pixel becomes 2 by 2; below 1 it shrinks."""
    return size / square.side


def _border(padding: str) -> int | None:
    if padding not in PADDINGS:
        raise ValueError(f"padding takes {', '.join(PADDINGS)}; received {padding}")
    return PADDINGS[padding]

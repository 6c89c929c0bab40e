"""Crop geometry: windows on the upright source, the exact map from source to crop, and the crop itself.

A window is a `Square` of whole source pixels, or a `Tilted` square that stands as the face does. Photos are decoded at 1/1, 1/2,
1/4 or 1/8 scale (a raster); windows stay in full-size source pixels, and `crop` is told the raster's scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]  # x, y, width, height
Point = tuple[float, float]
Matrix = NDArray[np.float64]  # (2, 3)

PADDINGS = {  # what stands outside the image; clamp moves the window inside instead
    "clamp": None,
    "replicate": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT_101,  # as np.pad's "reflect": the border pixel is not repeated
}


# Shrinking by area to 1/1.03 ... 1/1.3 takes half of the finest detail (variance of the Laplacian) away, where bicubic
# interpolation keeps it and does not alias yet.
LITTLE = 1.4


@dataclass(frozen=True)
class Square:
    """Columns x .. x + side - 1 and rows y .. y + side - 1 of the upright source; may leave the image where it is padded."""

    x: int
    y: int
    side: int  # pixels, 1 or more


@dataclass(frozen=True)
class Tilted:
    """A square around (x, y), in pixels whose centres lie at integers, turned clockwise by `angle` (as seen, y downwards)."""

    x: float
    y: float
    side: float
    angle: float  # radians; 0 is upright


Window = Square | Tilted


def face_square(box: Box, shape: tuple[int, ...], margin: float, padding: str) -> Square:
    """The square around a face box in source pixels: max(width, height) * (1 + 2 * margin), centred on the box.

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


def upright_face(box: Box, eyes: tuple[Point, Point], shape: tuple[int, ...], margin: float, padding: str) -> Tilted:
    """As `face_square`, turned so that the line from the person's right eye to the left one runs level from left to right."""
    _border(padding)
    (right_x, right_y), (left_x, left_y) = eyes
    angle = math.atan2(left_y - right_y, left_x - right_x)
    side = max(1.0, max(box[2:]) * (1 + 2 * margin))
    x, y = box[0] + (box[2] - 1) / 2, box[1] + (box[3] - 1) / 2
    if padding == "clamp":
        reach = abs(math.cos(angle)) + abs(math.sin(angle))  # of the upright box around the square, in sides
        side = min(side, min(shape[:2]) / reach)
        half = side * reach / 2
        x = min(max(x, half - 0.5), shape[1] - 0.5 - half)
        y = min(max(y, half - 0.5), shape[0] - 0.5 - half)
    return Tilted(x, y, side, angle)


def center_square(shape: tuple[int, ...]) -> Square:
    """The largest square in the middle of an image of `shape` (H, W, …)."""
    height, width = shape[:2]
    side = min(height, width)
    return Square((width - side) // 2, (height - side) // 2, side)


def tile_squares(shape: tuple[int, ...], size: int, count: int, rng: np.random.Generator) -> list[Square]:
    """`count` random squares inside an image of `shape` (H, W, …); fewer where the image is so small that some are the same.

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
    return list(dict.fromkeys(squares))


def on_raster(window: Window, scale: int, shape: tuple[int, ...], padding: str) -> Window:
    """A Square moved and shrunk by less than `scale` pixels, so that its edges lie between pixels of a raster at 1/scale.

    A Tilted window stays as it is. With padding "clamp" the square stays inside the whole raster pixels of a source of `shape`
    (H, W, …).
    """
    if scale == 1 or isinstance(window, Tilted):
        return window
    side = max(1, window.side // scale)
    x, y = round(window.x / scale), round(window.y / scale)
    if padding == "clamp":
        x, y = min(x, shape[1] // scale - side), min(y, shape[0] // scale - side)
    return Square(x * scale, y * scale, side * scale)


def affine(window: Window, size: int) -> Matrix:
    """The (2, 3) matrix from source pixels (x, y, 1) to pixels of the crop at `size`, pixel centres at integers.

    For a Square x' = (x - square.x + 0.5) * size / side - 0.5, which is the mapping of cv2.resize.
    """
    scale = size / window.side
    if isinstance(window, Square):
        return np.array([[scale, 0.0, (0.5 - window.x) * scale - 0.5], [0.0, scale, (0.5 - window.y) * scale - 0.5]])
    cos, sin = math.cos(window.angle) * scale, math.sin(window.angle) * scale
    middle = (size - 1) / 2
    return np.array([[cos, sin, middle - cos * window.x - sin * window.y], [-sin, cos, middle + sin * window.x - cos * window.y]])


def invert(matrix: Matrix) -> Matrix:
    """The (2, 3) matrix of the way back, crop to source, for any (2, 3) affine that can be inverted."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.hstack([inverse, -inverse @ matrix[:, 2:]])


def compose(second: Matrix, first: Matrix) -> Matrix:
    """The (2, 3) affine that does what `first` does and then what `second` does."""
    return np.hstack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2:] + second[:, 2:]])


def transform(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 2) through a (2, 3) affine."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def transform_box(matrix: Matrix, box: Box) -> Box:
    """The upright box around the four corners of `box`, sent through a (2, 3) affine. Pixel centres lie at integers."""
    x, y, width, height = box
    left, top, right, bottom = x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5
    corners = transform(matrix, np.array([(left, top), (right, top), (right, bottom), (left, bottom)]))
    low, high = corners.min(0) + 0.5, corners.max(0) + 0.5
    return (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


def crop(rgb: NDArray[np.uint8], window: Window, size: int, padding: str = "replicate", scale: int = 1) -> NDArray[np.uint8]:
    """The window of the source, at (size, size, 3), from its raster `rgb`, uint8 (H, W, 3), at 1/scale.

    INTER_AREA where it shrinks by more than LITTLE, else INTER_CUBIC. What lies outside the image is made as
    cv2.copyMakeBorder makes it.

    Raises:
        ValueError: another padding, or "clamp" with a square that leaves the image.
    """
    border = _border(padding)
    if isinstance(window, Tilted):
        return _turned(rgb, window, size, cv2.BORDER_REPLICATE if border is None else border, scale)
    height, width = rgb.shape[:2]
    x, y, side = window.x // scale, window.y // scale, window.side // scale
    if x >= 0 and y >= 0 and x + side <= width and y + side <= height:
        cut = rgb[y : y + side, x : x + side]
    elif border is None:
        raise ValueError(f"{window} leaves the image of {width}x{height} at 1/{scale}, which clamp does not allow")
    else:  # by index: copyMakeBorder itself would copy the whole photo for every face at its edge
        rows = [cv2.borderInterpolate(row, height, border) for row in range(y, y + side)]
        columns = [cv2.borderInterpolate(column, width, border) for column in range(x, x + side)]
        cut = rgb[np.ix_(rows, columns)]
    return _resize(cut, size)


def footprint(window: Window, room: float = 0.0) -> tuple[int, int, int, int]:
    """left, top, right, bottom (the last two excluded) of the whole source pixels around a window with `room` pixels more."""
    if isinstance(window, Square):
        edges = (window.x - room, window.y - room, window.x + window.side + room, window.y + window.side + room)
    else:
        half = window.side / 2 * (abs(math.cos(window.angle)) + abs(math.sin(window.angle))) + room
        edges = (window.x + 0.5 - half, window.y + 0.5 - half, window.x + 0.5 + half, window.y + 0.5 + half)
    return math.floor(edges[0]), math.floor(edges[1]), math.ceil(edges[2]), math.ceil(edges[3])


def enlargement(window: Window, size: int) -> float:
    """How much the crop is enlarged: 2.0 = every source pixel becomes 2 by 2; below 1 it shrinks."""
    return size / window.side


def _turned(rgb: NDArray[np.uint8], window: Tilted, size: int, border: int, scale: int) -> NDArray[np.uint8]:
    """Sampled finer than the raster where it shrinks, then brought down by area, so that nothing aliases."""
    side = window.side / scale
    placed = Tilted((window.x + 0.5) / scale - 0.5, (window.y + 0.5) / scale - 0.5, side, window.angle)
    left, top, right, bottom = footprint(placed, room=2)
    left, top, right, bottom = max(0, left), max(0, top), min(rgb.shape[1], right), min(rgb.shape[0], bottom)
    cut = rgb[top:bottom, left:right]  # warpAffine wants fewer than 32767 pixels a side
    finer = size if side <= LITTLE * size else size * math.ceil(side / size)
    matrix = affine(Tilted(placed.x - left, placed.y - top, side, window.angle), finer)
    filtering = cv2.INTER_CUBIC if finer == size else cv2.INTER_LINEAR
    turned = cv2.warpAffine(cut, matrix, (finer, finer), flags=filtering, borderMode=border)
    return _resize(turned, size)


def _resize(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    side = square.shape[0]
    if side == size:
        return square.copy()
    filtering = cv2.INTER_AREA if side > LITTLE * size else cv2.INTER_CUBIC
    resized: NDArray[np.uint8] = cv2.resize(square, (size, size), interpolation=filtering)
    return resized


def _border(padding: str) -> int | None:
    if padding not in PADDINGS:
        raise ValueError(f"padding takes {', '.join(PADDINGS)}; received {padding}")
    return PADDINGS[padding]

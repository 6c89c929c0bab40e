"""Optics: what a lens, a moving hand and too few pixels lose."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset_tools.zoo.options import Record, Rgb, entry, real, word

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_UNIT = 1 << 16  # the sum of the weights of a kernel


def _blur(rgb: Rgb, record: Record) -> Rgb:
    if record["sigma"] < 0.05:  # less than a rounding step, and no kernel
        return rgb.copy()
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), record["sigma"]), np.uint8)  # on uint8 by whole numbers


def motion_kernel(length: float, angle: float) -> NDArray[np.int64]:
    """The path of a point that moves evenly along `length` pixels at `angle` degrees (counter-clockwise from the right).

    Square with odd side, whole numbers that add up to 65536.
    """
    reach = math.ceil(length / 2)
    kernel = np.zeros((2 * reach + 3, 2 * reach + 3))
    samples = 8 * math.ceil(length) + 1
    along = (np.arange(samples) / max(1, samples - 1) - 0.5) * length
    x = along * math.cos(math.radians(angle)) + reach + 1
    y = -along * math.sin(math.radians(angle)) + reach + 1
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for rows, row_share in ((top, 1 - (y - top)), (top + 1, y - top)):
        for columns, column_share in ((left, 1 - (x - left)), (left + 1, x - left)):
            np.add.at(kernel, (rows, columns), row_share * column_share)
    weights = np.rint(kernel * (_UNIT / kernel.sum())).astype(np.int64)
    weights[reach + 1, reach + 1] += _UNIT - weights.sum()  # what rounding lost
    return np.asarray(weights)


def _motion(rgb: Rgb, record: Record) -> Rgb:
    kernel = motion_kernel(record["length"], record["angle"])
    reach = kernel.shape[0] // 2
    height, width = rgb.shape[:2]
    wide = np.pad(rgb, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    total = np.full(rgb.shape, _UNIT // 2, np.uint32)  # half a step: rounded half up
    for row, column in zip(*np.nonzero(kernel), strict=True):
        total += wide[row : row + height, column : column + width] * np.uint32(kernel[row, column])
    return (total >> 16).astype(np.uint8)


def _downscale(rgb: Rgb, record: Record) -> Rgb:
    height, width = rgb.shape[:2]
    small = (max(1, round(width / record["factor"])), max(1, round(height / record["factor"])))
    image = Image.fromarray(rgb).resize(small, _FILTERS[record["down"]])
    return np.array(image.resize((width, height), _FILTERS[record["up"]]))


ENTRIES = (
    entry(
        "blur",
        "out of focus: a Gaussian blur",
        {"sigma": real(0, 64, (1.0, 2.5), "standard deviation in pixels", "0.5..3")},
        _blur,
    ),
    entry(
        "motion",
        "a moving camera: the mean along a straight path",
        {
            "length": real(0, 128, (4.0, 12.0), "of the path in pixels", "5..15"),
            "angle": real(0, 180, (0.0, 180.0), "of the path in degrees; 0 is level, 90 upright", "0..180"),
        },
        _motion,
    ),
    entry(
        "downscale",
        "too few pixels: made smaller, then as large as before",
        {
            "factor": real(1, 64, (2.5, 5.0), "how many times smaller each side becomes", "2..4"),
            "down": word(tuple(_FILTERS), "box", "filter that makes it smaller"),
            "up": word(tuple(_FILTERS), "bicubic", "filter that makes it large again"),
        },
        _downscale,
    ),
)

"""THE value range, uint8 0..255 <-> float32 [-1, 1], both directions side by side; and luminance and chroma in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of R, G, B: ITU-R BT.601, as the degradation `grayscale` weighs


def to_float(rgb8: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 0..255, any shape -> float32 [-1, 1]: x / 127.5 - 1."""
    x = rgb8.astype(np.float32)
    x /= np.float32(127.5)  # in place: fresh memory costs more than the arithmetic
    x -= np.float32(1)
    return x


def to_uint8(x: NDArray[Any]) -> NDArray[np.uint8]:
    """float16, float32 or float64 [-1, 1], any shape -> uint8: round(clip((x + 1) * 127.5, 0, 255)).

    Gives back every one of the 256 levels that `to_float` took, after a trip through float16 too.
    """
    levels: NDArray[np.uint8] = np.rint(np.clip((x.astype(np.float32) + 1) * 127.5, 0, 255)).astype(np.uint8)
    return levels


def chroma_matrix() -> NDArray[np.float32]:
    """(2, 3): Cb and Cr of BT.601 -> R, G, B, so that Y of what it gives is 0."""
    red, green, blue = LUMA.astype(np.float64)
    cb, cr = 2 * (1 - blue), 2 * (1 - red)
    return np.array([[0, -cb * blue / green, cb], [cr, -cr * red / green, 0]], np.float32)

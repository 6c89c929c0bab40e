"""Media: what a print and a file add."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dataset_tools import image_io
from dataset_tools.zoo.options import Record, Rgb, entry, real, to_uint8, whole, word
from dataset_tools.zoo.tone import luma

_SUBSAMPLING = ("4:4:4", "4:2:2", "4:2:0")  # the codec's own numbers are the positions here
_SCREENS = (-30.0, 30.0, -45.0)  # degrees of cyan, magenta and yellow from black: inks 30 degrees apart, ISO 12647-2


def _jpeg(rgb: Rgb, record: Record) -> Rgb:
    data = image_io.encode_jpeg(rgb, record["quality"], subsampling=_SUBSAMPLING.index(record["subsampling"]))
    return np.array(image_io.decode(data, "a JPEG made in memory").rgb8)


@cache
def _tone_scale() -> NDArray[np.float64]:
    """The share of a cell in which the spot function, -2 to 2, is below each of 4097 even steps; within 0..1."""
    steps = np.cos(2 * np.pi * (np.arange(64) + 0.5) / 64)
    values = np.sort((steps[:, None] + steps[None, :]).ravel())
    return (np.searchsorted(values, np.linspace(-2, 2, 4097)) + 0.5) / (len(values) + 1)


def screen(shape: tuple[int, int], cell: float, angle: float) -> NDArray[np.float64]:
    """A halftone screen: the darkness from which a pixel takes ink, (H, W) within 0..1, each value as frequent as any other.

    The spot function is the sum of two cosines (round dots in the lights, a checkerboard at mid-tone, round holes in the
    shadows), turned by `angle` degrees: Ulichney, "Digital Halftoning" (1987), clustered dots.
    """
    turn = 2 * math.pi / cell
    sine, cosine = math.sin(math.radians(angle)) * turn, math.cos(math.radians(angle)) * turn
    x, y = np.arange(shape[1])[None, :], np.arange(shape[0])[:, None]
    spot = np.cos(x * cosine + y * sine) + np.cos(y * cosine - x * sine)
    return np.asarray(_tone_scale()[np.rint((spot + 2) * 1024).astype(np.intp)])


def _ink(darkness: NDArray[np.float64], cell: float, angle: float) -> NDArray[np.float64]:
    """Where the ink of one plate is, 0 to 1: its mean is the darkness, and its edges are about a pixel wide."""
    threshold = screen((darkness.shape[0], darkness.shape[1]), cell, angle)
    edge = np.maximum(np.minimum(np.minimum(darkness, 1 - darkness), 1 / cell), 1e-6)  # half of it, as a step of the threshold
    return np.asarray(np.clip(0.5 + (darkness - threshold) / (2 * edge), 0, 1))


def _halftone(rgb: Rgb, record: Record) -> Rgb:
    cell, angle = record["cell"], record["angle"]
    if record["inks"] == "black":
        light = 1 - _ink(1 - luma(rgb) / 255, cell, angle)
        return np.repeat(to_uint8(255 * light)[:, :, None], 3, axis=2)
    darkness = 1 - rgb / 255
    black = 0.7 * darkness.min(axis=2)  # taken out of the three inks, so that the four together give the darkness
    plates = [_ink((darkness[:, :, i] - black) / (1 - black), cell, angle + _SCREENS[i]) for i in range(3)]
    key = _ink(black, cell, angle)
    return to_uint8(255 * np.stack([(1 - plate) * (1 - key) for plate in plates], axis=2))


ENTRIES = (
    entry(
        "jpeg",
        "the blocks and smeared colours of a JPEG file",
        {
            "quality": whole(1, 100, (10, 40), "as encoders count it: 1 is worst, 100 is best", "20..60"),
            "subsampling": word(_SUBSAMPLING, "4:2:0", "resolution of the colour; 4:2:0 is half of it in both directions"),
        },
        _jpeg,
    ),
    entry(
        "halftone",
        "the dots of a printed page",
        {
            "cell": real(2, 64, (3.5, 6.0), "distance of the dots in pixels", "3..6"),
            "angle": real(0, 90, 45.0, "of the black screen in degrees", "0..90"),
            "inks": word(("black", "cmyk"), "black", "one ink, or four whose screens are turned against each other"),
        },
        _halftone,
    ),
)

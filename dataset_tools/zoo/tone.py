"""Tone: what happens to the colours of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.zoo.options import Record, Rgb, entry, real, to_uint8, word

# Luma of R'G'B', in parts of 10,000: ITU-R BT.601-7 section 2.5.1 and BT.709-6 section 3.2.
_LUMA = {"bt601": (2990, 5870, 1140), "bt709": (2126, 7152, 722)}

# What white paper turns to, as a share of its light in R, G, B.
_TINTS = {"yellow": (1.0, 0.91, 0.72), "brown": (0.97, 0.87, 0.70), "red": (1.0, 0.80, 0.76), "blue": (0.84, 0.93, 1.0)}


def luma(rgb: Rgb, standard: str = "bt601") -> NDArray[np.uint8]:
    """The luma of uint8 (H, W, 3) by one of the two standards, rounded half up: uint8 (H, W). Whole numbers only."""
    total = rgb @ np.array(_LUMA[standard])
    return np.asarray((total + 5000) // 10000, np.uint8)


def _grayscale(rgb: Rgb, record: Record) -> Rgb:
    return np.repeat(luma(rgb, record.get("standard", "bt601"))[:, :, None], 3, axis=2)


def _by_tables(rgb: Rgb, tables: Sequence[NDArray[np.uint8]]) -> Rgb:
    """Each channel through its table of 256 grey levels."""
    return np.asarray(cv2.LUT(rgb, np.stack(tables, axis=1)[None]), np.uint8)  # a table of (1, 256, 3)


def _sepia(rgb: Rgb, record: Record) -> Rgb:
    # A toned print is white paper and brown silver: as it gets darker, blue falls first and red last.
    levels, strength = np.arange(256) / 255, record["strength"]
    powers = (1 - 0.28 * strength, 1 + 0.05 * strength, 1 + 0.55 * strength)
    return _by_tables(_grayscale(rgb, {}), [to_uint8(255 * levels**power) for power in powers])


def _fade(rgb: Rgb, record: Record) -> Rgb:
    saturation = round(256 * record["saturation"])
    gray = luma(rgb)[:, :, None].astype(np.int32)
    pale = np.clip(gray + (saturation * (rgb - gray) + 128) // 256, 0, 255).astype(np.uint8)
    levels = 0.7 + (np.arange(256) / 255 - 0.7) * record["contrast"]  # light paper stays light
    levels = record["lift"] + (1 - record["lift"]) * levels
    return _by_tables(pale, [to_uint8(255 * levels * (1 - record["cast"] * (1 - tint))) for tint in _TINTS[record["tint"]]])


ENTRIES = (
    entry(
        "grayscale",
        "the luma of the picture in three equal channels",
        {"standard": word(tuple(_LUMA), "bt601", "whose weights of red, green and blue: ITU-R BT.601 or BT.709", quiet=True)},
        _grayscale,
    ),
    entry(
        "sepia",
        "a brown-toned print: the luma from dark brown to white",
        {"strength": real(0, 1, (0.5, 0.9), "0 is gray, 1 the deepest brown", "0.5..0.9")},
        _sepia,
    ),
    entry(
        "fade",
        "lost contrast, lifted blacks, pale colours and the cast of old paper",
        {
            "contrast": real(0, 1, (0.55, 0.8), "share of the contrast that is left", "0.5..0.8"),
            "lift": real(0, 0.9, (0.04, 0.14), "how far black has risen towards white", "0.05..0.2"),
            "saturation": real(0, 1, (0.4, 0.8), "share of the colour that is left", "0.4..0.8"),
            "tint": word(tuple(_TINTS), "yellow", "what white turns to"),
            "cast": real(0, 1, (0.3, 0.8), "how much of that tint", "0.3..0.8"),
        },
        _fade,
    ),
)

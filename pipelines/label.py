"""A small visible note on a restored photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dataset_tools.lettering import font, line_height, wrap

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB

TEXT = "Restored by a model: an invention, not a record"
SHARE = 45  # the photo's shorter side is so many times the height of the letters
LETTERS = (9, 96)  # pixels
DARK, LIGHT = (20, 20, 22), (250, 250, 250)


def labelled(rgb: Rgb) -> tuple[Rgb, NDArray[np.bool_]]:
    """(a copy of `rgb` with the note at its lower left, where it was drawn). A photo with no room for letters stays as it is."""
    height, width = rgb.shape[:2]
    size = min(max(min(height, width) // SHARE, LETTERS[0]), LETTERS[1])
    margin = size // 2
    lines = wrap(TEXT, size, width - 4 * margin)
    tall = line_height(size) * len(lines) + margin
    where = np.zeros((height, width), np.bool_)
    if tall > height // 2 or any("..." in line for line in lines):
        return rgb.copy(), where
    wide = max(round(font(size).getlength(line)) for line in lines) + 2 * margin
    note = Image.new("RGB", (wide, tall), DARK)
    pen = ImageDraw.Draw(note)
    for index, line in enumerate(lines):
        pen.text((margin, margin // 2 + index * line_height(size)), line, LIGHT, font(size))
    drawn = rgb.copy()
    place = slice(height - tall, height), slice(0, wide)
    drawn[place] = np.asarray(note)
    where[place] = True
    return drawn, where

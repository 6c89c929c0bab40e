"""Text in pictures: Pillow's own font, cut or broken so that it fits."""

from __future__ import annotations

import unicodedata
from functools import cache

from PIL import ImageFont

LEADING = 1.5  # height of a line, in letters


def line_height(size: int) -> int:
    """Pixels from one line of text to the next."""
    return round(size * LEADING)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at `size` pixels."""
    return ImageFont.load_default(size)


def drawable(text: str) -> str:
    """`text` in the letters that Pillow's font has: accents fall, × is an x, Δ a d, the rest becomes "?"."""
    plain = unicodedata.normalize("NFKD", text.replace("×", "x").replace("Δ", "d"))
    kept = (letter for letter in plain if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" or letter == "·" else "?" for letter in kept)


def short(text: str, size: int, width: int) -> str:
    """`text` with as much of its middle left out as it takes to fit into `width` pixels."""
    text = drawable(text)
    keep = len(text)
    shown = text
    while keep > 1 and font(size).getlength(shown) > width:
        keep -= 1
        shown = f"{text[: keep - keep // 2]}...{text[len(text) - keep // 2 :]}"
    return shown


def wrap(text: str, size: int, width: int) -> list[str]:
    """The lines of `text`, broken between words so that each fits into `width` pixels."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in drawable(paragraph).split(" "):
            longer = f"{line} {word}" if line else word
            if line and font(size).getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(short(line, size, width))
    return lines

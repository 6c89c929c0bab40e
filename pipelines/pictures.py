"""The small pictures of report.html: before and after at one window, and what there is to compare with, as text for a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_tools import image_io, sheets
from pipelines.restore import Shown

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB

SIDE = 256  # pixels, at most
STILL = 112  # pixels of those beside
QUALITY = 75
AROUND = 0.6  # of a region's longer side, shown on each side of it
FRAME = (217, 165, 20)  # colour of a region in the photo


@dataclass(frozen=True)
class Picture:
    """A WEBP for a page."""

    title: str  # input | restored | a baseline | original | the photo
    width: int
    height: int
    data: str  # base64

    def rgb(self) -> Rgb:
        """uint8 (H, W, 3) sRGB, nearly as it was."""
        return image_io.decode(base64.b64decode(self.data), self.title).rgb8


def for_page(shown: Shown, regions: Sequence[Mapping[str, Any]] = ()) -> str:
    """The pictures of `shown` as one line of JSON. Of a photo in which small regions were restored the largest one is shown
    near by, and the whole photo with its regions framed."""
    rgb = shown.images["input"]
    window = _window(rgb.shape, regions)
    pictures = []
    for title, image in shown.images.items():
        side = SIDE if title in ("input", "restored") else STILL
        pictures.append(_picture(title, sheets.fit(image[window], min(side, max(image[window].shape[:2])))))
    if window != (slice(0, rgb.shape[0]), slice(0, rgb.shape[1])):
        pictures.append(_picture("the photo", _framed(rgb, regions)))
    return json.dumps([[each.title, each.width, each.height, each.data] for each in pictures])


def of_page(text: str) -> list[Picture]:
    """The pictures that `for_page` told."""
    return [Picture(*each) for each in json.loads(text)]


def shown_again(name: str, text: str, figures: Any) -> Shown:
    """What a sheet shows of a photo that an earlier run restored."""
    return Shown(name, {each.title: each.rgb() for each in of_page(text) if each.title != "the photo"}, figures)


def _picture(title: str, rgb: Rgb) -> Picture:
    data = base64.b64encode(image_io.encode_webp(rgb, QUALITY)).decode("ascii")
    return Picture(title, rgb.shape[1], rgb.shape[0], data)


def _window(shape: tuple[int, ...], regions: Sequence[Mapping[str, Any]]) -> tuple[slice, slice]:
    """What is shown: the surroundings of the largest region, or everything where they are most of the photo."""
    whole = slice(0, shape[0]), slice(0, shape[1])
    if not regions:
        return whole
    x, y, width, height = max((each["box"] for each in regions), key=lambda box: box[2] * box[3])
    side = max(width, height)
    half = round(side * (0.5 + AROUND))
    middle_x, middle_y = x + width // 2, y + height // 2
    top, left = max(0, middle_y - half), max(0, middle_x - half)
    bottom, right = min(shape[0], middle_y + half), min(shape[1], middle_x + half)
    return whole if 2 * (bottom - top) * (right - left) > shape[0] * shape[1] else (slice(top, bottom), slice(left, right))


def _framed(rgb: Rgb, regions: Sequence[Mapping[str, Any]]) -> Rgb:
    small = sheets.fit(rgb, STILL)
    scale = small.shape[1] / rgb.shape[1]
    for x, y, width, height in (each["box"] for each in regions):
        corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], np.float64) * scale
        small = sheets.outlined(small, corners, FRAME, width=1)
    return small

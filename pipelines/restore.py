"""One photo: read it, restore it at its own size with a model of another, write it, measure it where its original is known."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import sheets
from dataset_tools.archive import encode_name
from dataset_tools.metrics import METRICS, baselines, measure

Rgb = NDArray[np.uint8]
Figures = dict[str, dict[str, float]]  # {"restored" | a baseline: {metric: value}}
Drawn = Sequence[Mapping[str, Any]]  # degradations as they were drawn

SHOWN = 512  # pixels a side of a picture that waits for a sheet
BATCH = 8  # crops that an engine gets at once
DEFAULT_METRICS = ("psnr", "ssim", "l1")
COLOUR_METRICS = ("delta_e", "colourfulness")  # added where colour was taken away


@dataclass(frozen=True)
class Item:
    """One file that is a photo, or claims to be one."""

    path: Path
    name: Path  # below OUTPUT, before its suffix is thought of
    format: str | None  # by content; None where nothing is known of it
    drawn: Drawn = ()  # where a dataset tells

    @property
    def source(self) -> str:
        """What reports call it: percent-encoded where it is not UTF-8."""
        return encode_name(os.fsencode(self.name))


@dataclass(frozen=True)
class Row:
    """What became of one photo. Names are percent-encoded where they are not UTF-8."""

    source: str  # the path below its INPUT, behind the INPUT's base name if there are several
    output: str | None  # the path below OUTPUT
    status: str  # restored | nothing_to_restore | failed
    reason: str | None = None  # of a failure, one word
    message: str | None = None  # of a failure, the line that says what and where
    width: int | None = None  # pixels, of what was restored
    height: int | None = None
    resized: bool | None = None  # whether it went through the model at another size
    seconds: float | None = None  # its share of the work
    metrics: Figures | None = None  # where the original is known
    regions: tuple[Mapping[str, Any], ...] = ()  # of a whole photo, those that were restored: box (x, y, width, height), block, …
    notes: tuple[str, ...] = ()  # what a person should know


@dataclass(frozen=True)
class Shown:
    """One row of pictures: {"input" | a baseline | "restored" | "original": uint8 (H, W, 3) sRGB}, in that order."""

    name: str
    images: Mapping[str, Rgb]
    figures: Figures | None = None

    def small(self) -> Shown:
        """The same with pictures of at most SHOWN pixels a side: many are kept until a sheet is drawn."""
        images = {name: sheets.fit(rgb, SHOWN) if max(rgb.shape) > SHOWN else rgb for name, rgb in self.images.items()}
        return Shown(self.name, images, self.figures)


class Restorer(Protocol):
    """What restoring needs of an engine."""

    @property
    def size(self) -> int:
        """S, pixels along each side of what `restore` takes."""

    @property
    def takes_any_crop(self) -> bool:
        """Whether `restore` takes images of other sizes as well."""

    def restore(self, batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(N, S, S, 3) uint8 sRGB -> the same shape, restored."""


def restore_crops(engine: Restorer, crops: Sequence[Rgb]) -> list[Rgb]:
    """Each crop, uint8 (H, W, 3) sRGB of any size, restored at its own size, `BATCH` at a time through the engine.

    A crop of the model's size goes straight through, and any to a model of mosaics. Others are resized (area downwards, bicubic
    upwards) so that the longer side is the model's, padded to a square by repeating the border, restored, cut out, and resized
    back.
    """
    restored: list[Rgb] = []
    if engine.takes_any_crop:
        return [image for rgb in crops for image in engine.restore(rgb[None])]
    for start in range(0, len(crops), BATCH):
        some = crops[start : start + BATCH]
        batch = np.stack([_to_square(rgb, engine.size) for rgb in some])  # (N, S, S, 3) uint8
        restored += [_from_square(square, rgb) for square, rgb in zip(engine.restore(batch), some, strict=True)]
    return restored


def is_resized(engine: Restorer, rgb: Rgb) -> bool:
    """True where `rgb` does not have the model's size, so that restoring it resizes it there and back."""
    return not engine.takes_any_crop and rgb.shape[:2] != (engine.size, engine.size)


def _inner(rgb: Rgb, size: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of what shows `rgb`, aspect kept, in the middle of a square of `size`."""
    rows, columns = rgb.shape[:2]
    height, width = (max(1, round(side * size / max(rows, columns))) for side in (rows, columns))
    return (size - height) // 2, (size - width) // 2, height, width


def _to_square(rgb: Rgb, size: int) -> Rgb:
    top, left, height, width = _inner(rgb, size)
    small = _resize(rgb, height, width)  # before the padding: a strip of 60,000 x 100 must not become a square of that side
    padding = (top, size - height - top, left, size - width - left)
    square: Rgb = cv2.copyMakeBorder(small, *padding, cv2.BORDER_REPLICATE)  # (size, size, 3)
    return square


def _from_square(square: Rgb, rgb: Rgb) -> Rgb:
    """What `square`, restored, shows of `rgb`, at the size of `rgb`."""
    top, left, height, width = _inner(rgb, square.shape[0])
    return _resize(square[top : top + height, left : left + width], *rgb.shape[:2])


def _resize(rgb: Rgb, height: int, width: int) -> Rgb:
    if rgb.shape[:2] == (height, width):
        return rgb
    method = cv2.INTER_AREA if max(height, width) < max(rgb.shape[:2]) else cv2.INTER_CUBIC
    resized: Rgb = cv2.resize(rgb, (width, height), interpolation=method)
    return resized


def metric_names(drawn: Iterable[Drawn], names: Sequence[str] = DEFAULT_METRICS) -> tuple[str, ...]:
    """`names`, and those that tell about colour where any of the drawn degradations took it away."""
    colour = any(step["name"] in ("grayscale", "sepia") for steps in drawn for step in steps)
    return tuple(dict.fromkeys([*names, *(COLOUR_METRICS if colour else ())]))


def pair_images(a: Rgb, b: Rgb, restored: Rgb, drawn: Drawn, more: Sequence[str] = ()) -> dict[str, Rgb]:
    """What there is to compare of one pair, each uint8 (H, W, 3): the baselines ("input" first), "restored", "original".

    more: baselines that are not of every table.
    """
    return {**baselines(a, drawn, more), "restored": restored, "original": b}


def measure_pair(images: Mapping[str, Rgb], names: Sequence[str]) -> Figures:
    """The figures of all `images` of `pair_images` against "original", which itself has those that compare nothing."""
    describing = [name for name in names if METRICS[name].better == "none"]
    figures = {
        name: measure(rgb, images["original"], describing if name == "original" else names) for name, rgb in images.items()
    }
    return {name: row for name, row in figures.items() if row}


def in_words(path: Path) -> str:
    """`path` as lines and reports show it."""
    return encode_name(os.fsencode(path))

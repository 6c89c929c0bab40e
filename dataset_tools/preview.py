"""A sheet of a few photos as a build would treat them, without building: for choosing options and degradations."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset_tools import crops, files, image_io, pairs, sheets
from dataset_tools.archive import Source, check_outside, walk
from dataset_tools.errors import OutputError, UsageError
from dataset_tools.manifest import Row
from dataset_tools.recipe import Recipe
from dataset_tools.staging import PhotoStager

MARK = b"photomend preview"  # inside the PNG: such a file may be written again
KEPT, REFUSED = (60, 170, 75), (225, 120, 20)  # colours of a window


LOOKS = 5  # photos that are looked at, at most, for each that is shown


@dataclass
class Preview:
    """What a preview shows. `rows`: of all photos that were looked at, as a build would write them before grouping."""

    rows: list[Row]
    shown: list[str]  # names of the photos on the sheet, whose font has no letters but the plain ones


def write_preview(archives: Sequence[Path], output: Path, recipe: Recipe, count: int = 6) -> Preview:
    """Writes `output`, a PNG of `count` photos drawn by the recipe's seed: the photo with its windows, then A and B of each crop.

    Photos that give a pair come first; others are shown where too few of the first LOOKS x `count` give one.

    Raises:
        UsageError: no photo in the archives, `output` is no name of a PNG or lies inside one of them.
        OutputError: `output` is a file that is no preview.
    """
    check_outside(archives, output, f"the preview {output}")
    if output.suffix.lower() != ".png" or output.is_dir():
        raise UsageError(f"--output {output}: give the name of a PNG file, such as preview.png")
    if output.exists() and not (output.is_file() and MARK in output.read_bytes()[:1000]):
        raise OutputError(f"{output} exists and is no preview: give another name with --output")
    good, other, rows = list[_Line](), list[_Line](), list[Row]()
    with tempfile.TemporaryDirectory(prefix="photomend-") as staging, closing(PhotoStager(recipe, Path(staging))) as stager:
        for source in _drawn(archives, recipe.seed):
            found = stager((source,))
            if not found:
                continue
            rows += found
            if found[0]["status"] != "failed":
                kept = found[0]["status"] == "kept"
                (good if kept else other).append(_line(source, found, recipe.size, Path(staging)))
            if len(good) == count or len(good) + len(other) == LOOKS * count:
                break
    shown = [*good, *other][:count]
    for number, line in enumerate(shown, 1):
        line.captions[0][0] = f"{number}. {line.name}"
    if not shown:
        raise UsageError(f"{', '.join(map(str, archives))} holds no photo that can be read: give a folder of photos")
    sheet = sheets.grid(
        [row for line in shown for row in line.images],
        titles=["photo", "A, the input", "B, the original"],
        captions=[row for line in shown for row in line.captions],
        header=" · ".join(recipe.degrade),
    )
    files.replace_bytes(output, image_io.encode_png(sheet, xmp=MARK))
    return Preview(rows, [line.name for line in shown])


@dataclass
class _Line:
    """One photo of the sheet: a row of images for each of its crops, and the words below them."""

    name: str
    images: list[list[NDArray[np.uint8] | None]]
    captions: list[list[str]]


def _line(source: Source, rows: Sequence[Row], size: int, staging: Path) -> _Line:
    photo, *found = rows
    line = _Line(source.name, [], [])
    for number, row in enumerate(found or [photo]):  # the photo itself once is enough
        line.images.append([None if number else _with_windows(source, found, size), *_halves(staging, row)])
        line.captions.append(["", _told(row)])
    return line


def _drawn(archives: Sequence[Path], seed: int) -> list[Source]:
    """The files of the archives in an order drawn by `seed`."""
    sources, _ = walk(archives)
    return sorted(sources, key=lambda source: hashlib.sha256(f"{seed}:{source.name}".encode()).digest())


def _halves(staging: Path, row: Row) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None]:
    if not row.get("pair"):
        return None, None
    return pairs.split(image_io.read(staging / row["pair"]).rgb8)


def _told(row: Row) -> str:
    what = f"face of {round(max(row['box'][2:]))} px" if "box" in row else "crop" if row["kind"] == "crop" else ""
    return ": ".join(filter(None, (what, row["reason"])))


def _with_windows(source: Source, found: Sequence[Row], size: int) -> NDArray[np.uint8]:
    """The photo at 512 pixels, (H, W, 3), with the window of each crop drawn on it."""
    photo = image_io.read(Path(source.path))
    shown = sheets.fit(photo.rgb8, 512)
    edge, scale = size - 0.5, shown.shape[1] / photo.info.width
    corners = np.array([(-0.5, -0.5), (edge, -0.5), (edge, edge), (-0.5, edge)])
    for row in found:
        outline = crops.transform(crops.invert(np.array(row["affine"])), corners)
        shown = sheets.outlined(shown, (outline + 0.5) * scale - 0.5, KEPT if row["status"] == "kept" else REFUSED, 3)
    return shown

"""A sheet of a few photos as a build would treat them, without building: for choosing options and degradations."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import cv2
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


def write_preview(archives: Sequence[Path], output: Path, recipe: Recipe, count: int = 6) -> list[Row]:
    """Writes `output`, a PNG of `count` photos drawn by the recipe's seed: the photo with its windows, then A and B of each crop.

    Returns the rows of the photos that were looked at, as a build would write them before grouping.

    Raises:
        UsageError: no photo in the archives, or `output` lies inside one. OutputError: `output` is a file that is no preview.
    """
    check_outside(archives, output, f"the preview {output}")
    if output.exists() and not (output.is_file() and MARK in output.read_bytes()[:1000]):
        raise OutputError(f"{output} exists and is no preview: give another name with --output")
    lines: list[list[NDArray[np.uint8] | None]] = []
    captions: list[list[str]] = []
    shown: list[Row] = []
    photos = 0
    with tempfile.TemporaryDirectory(prefix="photomend-") as staging, closing(PhotoStager(recipe, Path(staging))) as stager:
        for source in _drawn(archives, recipe.seed):
            rows = stager((source,))
            if not rows or rows[0]["status"] == "failed":
                continue
            photo, *found = rows
            shown += rows
            shot: NDArray[np.uint8] | None = _with_windows(source, found, recipe.size)
            for row in found or [photo]:
                lines.append([shot, *_halves(Path(staging), row)])
                captions.append(["" if shot is None else source.name, _told(row)])
                shot = None  # once is enough
            photos += 1
            if photos == count:
                break
    if not captions:
        raise UsageError(f"{', '.join(map(str, archives))} holds no photo that can be read: give a folder of photos")
    titles = ["photo", "A, the input", "B, the original"]
    sheet = sheets.grid(lines, titles=titles, captions=captions, header=" · ".join(recipe.degrade))
    files.replace_bytes(output, image_io.encode_png(sheet, xmp=MARK))
    return shown


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
    shown = sheets.fit(photo.rgb8, 512).copy()
    edge = size - 0.5
    corners = np.array([(-0.5, -0.5), (edge, -0.5), (edge, edge), (-0.5, edge)])
    for row in found:
        points = crops.transform(crops.invert(np.array(row["affine"])), corners) + 0.5
        outline = np.round(points * shown.shape[1] / photo.info.width).astype(np.int32)
        cv2.polylines(shown, [outline], True, KEPT if row["status"] == "kept" else REFUSED, 3, cv2.LINE_AA)
    return shown

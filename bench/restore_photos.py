"""Photos with one mosaic for bench/restore.py, and what restoring them spends its time on."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.cost import Split
from bench.photos import camera_photos
from dataset_tools import image_io
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from pipelines import engines, regions, whole_photo, work
from pipelines.job import restore_photos

SPLIT = {
    "read and hash": ((work, "_read"),),
    "decode": ((image_io, "decode"),),
    "find the mosaics": ((whole_photo, "find_mosaics"),),
    "model": ((engines.Engine, "run"),),
    "cells, paste back": ((regions, "restored_around"), (regions, "pasted")),
    "samples": ((whole_photo, "with_changes"),),
    "encode": ((work, "rewrite"),),
    "write": ((work, "put"),),
}


def photo(folder: Path, index: int, megapixels: float | None = None) -> NDArray[np.uint8]:
    """(H, W, 3): a camera-like photo of 12 megapixels, or so many, with a mosaic of 11 cells a side in its middle."""
    rgb = image_io.read(camera_photos(folder, index + 1)[index]).rgb8.copy()
    if megapixels:
        scale = (megapixels * 1e6 / (rgb.shape[0] * rgb.shape[1])) ** 0.5
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = rgb.shape[:2]
    side = round(0.3 * min(height, width))
    top, left = (height - side) // 2, (width - side) // 2
    grid = Grid(round(side * 1.5 / 16), 3, 5)
    face = rgb[top : top + side, left : left + side]
    face[:] = paint(cell_means(face, grid), grid, (side, side))
    return rgb


def save(rgb: NDArray[np.uint8], path: Path) -> None:
    """As a JPEG of quality 92, 4:2:0, or a PNG, by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    jpeg = path.suffix == ".jpg"
    path.write_bytes(image_io.encode_jpeg(rgb, 92, subsampling=2) if jpeg else image_io.encode_png(rgb))


def timed(model: Path, photos: list[Path], out: Path) -> dict[str, float]:
    """Seconds of restoring `photos` one after the other in this process by what they are spent on, and "all", start-up aside."""
    split = Split(SPLIT, time.perf_counter)
    restore_photos(model, photos[:1], out)
    shutil.rmtree(out)
    done: list[float] = []
    with split.watching():
        start = time.perf_counter()
        report = restore_photos(model, photos, out, progress=lambda count, total: done.append(time.perf_counter()))
    assert report.restored == len(photos), report.lines()
    shutil.rmtree(out)
    seconds = {label: split.spent[label] for label in SPLIT}
    total = sum(row.seconds or 0 for row in report.rows)
    return {**seconds, "the rest": total - sum(seconds.values()), "all": total, "with start-up": done[-1] - start}

"""How often the mosaicked regions of a photo are found in its pixels, and how often one is found where none is.

    python -m bench.find_mosaic [PHOTOS [COUNT]]

PHOTOS is a folder (default data/samples), of which COUNT files in an order of their own are taken. On each a mosaic is laid for
every block: a rectangle or an ellipse over the face, 0.7 to 1.3 of it, off its middle by up to 0.15 of it, with random phases, at
least five cells a side. It is looked for in that photo as it is, after a JPEG of quality 75, 4:2:0, resized to 0.6 to 1.5 of its
size, and resized with a JPEG of quality 85 after; as in the clean photos, and in contact sheets of twelve of
them. A hit: intersection over union of the region and the truth at least 0.6. Its cells are right where their side is within a
hundredth of the truth, and their lines within a pixel.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.estimate_grid import JPEG, degraded, photos
from bench.tables import machine, table, verdict
from dataset_tools import resources
from dataset_tools.faces import Face, MediaPipeDetector
from dataset_tools.mosaic_finder import find_mosaics
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from dataset_tools.mosaic_regions import Region

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]

BLOCKS = (4, 6, 8, 12, 16, 24, 32, 48)
HELD = range(8, 33)  # blocks that must be found
HIT = 0.6
RESIZED = 0.6, 1.5
KINDS = {"as it is": (False, ""), "jpeg 75": (False, JPEG + "75"), "resized": (True, ""), "resized, jpeg 85": (True, JPEG + "85")}


def placed(shape: tuple[int, ...], face: Face, least: int, rng: np.random.Generator) -> Mask:
    """Where a mosaic lies, (H, W)."""
    x, y, width, height = face.box
    width, height = (max(least, side * rng.uniform(0.7, 1.3)) for side in (width, height))
    middle = [x + face.box[2] * (0.5 + rng.uniform(-0.15, 0.15)), y + face.box[3] * (0.5 + rng.uniform(-0.15, 0.15))]
    left, top, right, bottom = (
        round(value) for value in (middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2, middle[1] + height / 2)
    )
    mask = np.zeros(shape[:2], np.uint8)
    if rng.random() < 0.4:
        axes = (right - left) // 2, (bottom - top) // 2
        cv2.ellipse(mask, ((left + right) // 2, (top + bottom) // 2), axes, 0, 0, 360, 1, -1)
    else:
        mask[max(0, top) : bottom, max(0, left) : right] = 1
    return mask > 0


def laid(rgb: Rgb, mask: Mask, block: int, rng: np.random.Generator) -> tuple[Rgb, Grid]:
    grid = Grid(block, int(rng.integers(block)), int(rng.integers(block)))
    mosaic = paint(cell_means(rgb, grid), grid, (rgb.shape[0], rgb.shape[1]))
    return np.where(mask[:, :, None], mosaic, rgb), grid


def overlap(region: Region, truth: Mask) -> float:
    """Intersection over union."""
    top, left, bottom, right = region.box
    common = int((region.mask & truth[top:bottom, left:right]).sum())
    return common / (int(region.mask.sum()) + int(truth.sum()) - common)


def shown_as(rgb: Rgb, mask: Mask, kind: str, rng: np.random.Generator) -> tuple[Rgb, Mask, float]:
    """The photo and where its mosaic lies, as that kind of file shows them, and by how much they were resized."""
    resizes, text = KINDS[kind]
    scale = float(rng.uniform(*RESIZED)) if resizes else 1.0
    if resizes:
        size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))
        mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return degraded(rgb, text, rng) if text else rgb, mask, scale


def sheet_of(photos: list[Rgb], rng: np.random.Generator) -> Rgb:
    """Twelve of the photos, four beside each other: squares of 100 to 300 pixels, up to 20 of white between them or none."""
    side, gap = int(rng.integers(100, 301)), int(rng.integers(21)) if rng.random() < 0.5 else 0
    made = np.full((3 * side + 2 * gap, 4 * side + 3 * gap, 3), 255, np.uint8)
    for number, place in enumerate(rng.choice(len(photos), 12)):
        length = min(photos[place].shape[:2])
        top, left = (each * (side + gap) for each in divmod(number, 4))
        square = cv2.resize(photos[place][:length, :length], (side, side), interpolation=cv2.INTER_AREA)
        made[top : top + side, left : left + side] = square
    return made


def is_right(region: Region, grid: Grid, scale: float) -> bool:
    """Whether its cells are those of `grid`, resized by `scale`."""
    if region.lines is None and scale == 1:
        return region.grid == grid
    block, *firsts = region.lines or (float(region.grid.block), float(region.grid.phase_y), float(region.grid.phase_x))
    true, middles = grid.block * scale, [(a + b) / 2 for a, b in zip(region.box[:2], region.box[2:], strict=True)]
    off = []
    for middle, first, phase in zip(middles, firsts, (grid.phase_y, grid.phase_x), strict=True):
        line = first + block * round((middle - first) / block)  # the one nearest to the region's middle
        off.append(abs((line - phase * scale) / true - round((line - phase * scale) / true)) * true)
    return abs(block - true) <= 0.01 * true and max(off) <= 1


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else resources.path("samples")
    rng = np.random.default_rng(0)
    cv2.setNumThreads(1)
    print(machine())
    with MediaPipeDetector("full") as detector:
        found = [(rgb, detector.detect(rgb)) for rgb in photos(folder, int(sys.argv[2]) if len(sys.argv) > 2 else 24)]
    faces = [(rgb, max(each, key=lambda face: face.score)) for rgb, each in found if each]
    rows, seconds, pixels = [], 0.0, 0
    hits: dict[bool, list[bool]] = {False: [], True: []}  # by whether they were resized
    for block in BLOCKS:
        cells: list[str] = [str(block)]
        for kind, (resizes, _) in KINDS.items():
            overlaps, right, more = [], 0, 0
            for rgb, face in faces:
                truth = placed(rgb.shape, face, 5 * block, rng)
                shown, grid = laid(rgb, truth, block, rng)
                shown, truth, scale = shown_as(shown, truth, kind, rng)
                start = time.process_time()
                regions = find_mosaics(shown)
                seconds, pixels = seconds + time.process_time() - start, pixels + truth.size
                best = max(regions, key=lambda region: overlap(region, truth), default=None)
                overlaps.append(overlap(best, truth) if best else 0.0)
                right += best is not None and is_right(best, grid, scale)
                more += sum(overlap(region, truth) == 0 for region in regions)
            hit = [each >= HIT for each in overlaps]
            if block in HELD:
                hits[resizes] += hit
            cells += [f"{np.mean(hit):.3f}", f"{np.mean(overlaps):.2f}", f"{right / len(faces):.2f}", str(more)]
        rows.append(cells)
    names = [f"{what}, {kind}" for kind in KINDS for what in ("hits", "overlap", "cells right", "elsewhere")]
    table(f"Mosaics on {len(faces)} photos", ["block", *names], rows)
    for resizes, name in ((False, "hits"), (True, "hits of those that were resized")):
        share = float(np.mean(hits[resizes]))
        print(f"\n{name}, blocks of {HELD[0]} to {HELD[-1]}: {share:.3f}", verdict(share, 0.95, least=True))
    print(f"{seconds / pixels * 1e6:.2f} s of cpu for a megapixel")
    clean = []
    for kind in KINDS:
        counts = [len(find_mosaics(shown_as(rgb, np.ones(rgb.shape[:2], bool), kind, rng)[0])) for rgb, _ in found]
        clean.append([kind, len(counts), sum(counts), verdict(sum(counts), 2 * len(counts) / 200)])
    for kind in KINDS:
        sheets = (sheet_of([rgb for rgb, _ in found], rng) for _ in found)
        counts = [len(find_mosaics(shown_as(rgb, np.ones(rgb.shape[:2], bool), kind, rng)[0])) for rgb in sheets]
        clean.append([f"contact sheets, {kind}", len(counts), sum(counts), verdict(sum(counts), 2 * len(counts) / 200)])
    table("Regions found where there is no mosaic", ["", "photos", "regions", "2 in 200"], clean)


if __name__ == "__main__":
    main()

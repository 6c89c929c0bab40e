"""How often the mosaicked regions of a photo are found in its pixels, and how often one is found where none is.

    python -m bench.find_mosaic [PHOTOS [COUNT]]

PHOTOS is a folder (default data/samples), of which COUNT files in an order of their own are taken. On each a mosaic is laid for
every block: a rectangle or an ellipse over the face, 0.7 to 1.3 of it, off its middle by up to 0.15 of it, with random phases, at
least five cells a side. It is looked for in that photo as it is and after a JPEG of quality 75, 4:2:0, as in the clean photos.
A hit: intersection over union of the region and the truth at least 0.6.
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
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from dataset_tools.mosaic_regions import Region, find_regions

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]

BLOCKS = (4, 6, 8, 12, 16, 24, 32, 48)
HELD = range(8, 33)  # blocks that must be found
HIT = 0.6
KINDS = {"as it is": "", "jpeg 75": JPEG + "75"}


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


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else resources.path("samples")
    rng = np.random.default_rng(0)
    cv2.setNumThreads(1)
    print(machine())
    with MediaPipeDetector("full") as detector:
        found = [(rgb, detector.detect(rgb)) for rgb in photos(folder, int(sys.argv[2]) if len(sys.argv) > 2 else 24)]
    faces = [(rgb, max(each, key=lambda face: face.score)) for rgb, each in found if each]
    rows, seconds, pixels = [], 0.0, 0
    hits, tries = 0, 0
    for block in BLOCKS:
        cells: list[str] = [str(block)]
        for text in KINDS.values():
            overlaps, grids, more = [], 0, 0
            for rgb, face in faces:
                truth = placed(rgb.shape, face, 5 * block, rng)
                shown, grid = laid(rgb, truth, block, rng)
                shown = degraded(shown, text, rng) if text else shown
                start = time.process_time()
                regions = find_regions(shown)
                seconds, pixels = seconds + time.process_time() - start, pixels + truth.size
                best = max(regions, key=lambda region: overlap(region, truth), default=None)
                overlaps.append(overlap(best, truth) if best else 0.0)
                grids += best is not None and best.grid == grid
                more += sum(overlap(region, truth) == 0 for region in regions)
            hit = [each >= HIT for each in overlaps]
            if block in HELD:
                hits, tries = hits + sum(hit), tries + len(hit)
            cells += [f"{np.mean(hit):.3f}", f"{np.mean(overlaps):.2f}", f"{grids / len(faces):.2f}", str(more)]
        rows.append(cells)
    names = [f"{what}, {kind}" for kind in KINDS for what in ("hits", "overlap", "grid right", "elsewhere")]
    table(f"Mosaics on {len(faces)} photos", ["block", *names], rows)
    print(f"\nhits for blocks of {HELD[0]} to {HELD[-1]}: {hits / tries:.3f}", verdict(hits / tries, 0.95, least=True))
    print(f"{seconds / pixels * 1e6:.2f} s of cpu for a megapixel")
    clean = []
    for kind, text in KINDS.items():
        counts = [len(find_regions(degraded(rgb, text, rng) if text else rgb)) for rgb, _ in found]
        clean.append([kind, len(counts), sum(counts), verdict(sum(counts), 2 * len(counts) / 200)])
    table("Regions found in photos without a mosaic", ["", "photos", "regions", "2 in 200"], clean)


if __name__ == "__main__":
    main()

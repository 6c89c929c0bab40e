"""How often the grid of a mosaic is found from pixels alone, and what that costs, as Markdown tables.

python -m bench.estimate_grid [PHOTOS [COUNT]]

PHOTOS is a folder (default data/samples), of which COUNT files in an order of their own are taken. Of each a random square is
made 256 pixels wide for every case anew. A mosaic has random phases; that of an ellipse leaves out up to three quarters.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.tables import Row, machine, spread, table
from dataset_tools import degradations, image_io, resources
from dataset_tools.errors import PhotoError
from dataset_tools.mosaic_grid import Grid, estimate

Rgb = NDArray[np.uint8]
Rng = np.random.Generator

SIDE = 256
BLOCKS = (4, 6, 8, 12, 16, 24, 32, 48)
JPEG = "jpeg:subsampling=4:2:0,quality="
CONDITIONS = {"clean": (False, ""), "jpeg 95": (False, JPEG + "95"), "jpeg 75": (False, JPEG + "75"),
              "noise 2": (False, "noise:sigma=2"), "blur .5": (False, "blur:sigma=0.5"), "blur .7": (False, "blur:sigma=0.7"),
              "ellipse": (True, ""), "ellipse, jpeg 85": (True, JPEG + "85")}  # fmt: skip
WITHOUT: dict[str, Callable[[Rgb, Rng], Rgb]] = {
    "as it is": lambda photo, rng: square(photo, rng, SIDE),
    "jpeg 40": lambda photo, rng: degraded(square(photo, rng, SIDE), JPEG + "40", rng),
    "jpeg 50": lambda photo, rng: degraded(square(photo, rng, SIDE), JPEG + "50", rng),
    "jpeg 60": lambda photo, rng: degraded(square(photo, rng, SIDE), JPEG + "60", rng),
    "enlarged 2x": lambda photo, rng: enlarged(square(photo, rng, SIDE // 2)),
    "enlarged 2x, each pixel 4": lambda photo, rng: square(photo, rng, SIDE // 2).repeat(2, axis=0).repeat(2, axis=1),
    "enlarged 10x": lambda photo, rng: enlarged(square(photo, rng, SIDE)[100:126, 100:126]),
    "jpeg 40, enlarged 1.25x": lambda photo, rng: enlarged(degraded(square(photo, rng, 205), JPEG + "40", rng)),
    "jpeg 50, enlarged 1.5x": lambda photo, rng: enlarged(degraded(square(photo, rng, 171), JPEG + "50", rng)),
    "jpeg 50, enlarged 2x": lambda photo, rng: enlarged(degraded(square(photo, rng, SIDE // 2), JPEG + "50", rng)),
    "blur 2": lambda photo, rng: degraded(square(photo, rng, SIDE), "blur:sigma=2", rng),
}


def photos(folder: Path, count: int) -> list[Rgb]:
    """At most `count` photos of a folder, the same ones each time."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    Random(0).shuffle(paths)
    found: list[Rgb] = []
    for path in paths:
        if len(found) < count:
            try:
                found.append(image_io.read(path).rgb8)
            except PhotoError:
                continue
    return found


def square(photo: Rgb, rng: Rng, side: int) -> Rgb:
    """A square of 0.6 to 1 of the photo's shorter side, made `side` wide."""
    whole = int(min(photo.shape[:2]) * rng.uniform(0.6, 1))
    y, x = (int(rng.integers(length - whole + 1)) for length in photo.shape[:2])
    interpolation = cv2.INTER_AREA if whole > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(photo[y : y + whole, x : x + whole], (side, side), interpolation=interpolation))


def enlarged(rgb: Rgb) -> Rgb:
    return np.asarray(cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))


def degraded(rgb: Rgb, text: str, rng: Rng) -> Rgb:
    return degradations.apply(rgb, degradations.draw([degradations.parse(text)], rng, (rgb.shape[0], rgb.shape[1])))


def mosaic(rgb: Rgb, grid: Grid, rng: Rng, in_ellipse: bool) -> Rgb:
    record = {"name": "mosaic", "block": grid.block, "phase_y": grid.phase_y, "phase_x": grid.phase_x}
    if in_ellipse:
        width = SIDE * math.sqrt(rng.uniform(0.25, 0.75) / math.pi)  # half of it, of a circle of that share of the square
        longer = rng.uniform(1, 1.2)
        at = [*rng.uniform(0.4 * SIDE, 0.6 * SIDE, 2), width / longer, width * longer, rng.uniform(-20, 20)]
        record |= {"region": "ellipse", "at": at, "feather": rng.uniform(2, 12)}
    return degradations.apply(rgb, [record])


def hits(taken: list[Rgb], block: int, in_ellipse: bool, after: str) -> float:
    """How many of the mosaics are found with their block and phases, in percent."""
    rng, right = np.random.default_rng(block), 0
    for photo in taken:
        grid = Grid(block, int(rng.integers(block)), int(rng.integers(block)))
        rgb = mosaic(square(photo, rng, SIDE), grid, rng, in_ellipse)
        right += estimate(degraded(rgb, after, rng) if after else rgb) == grid
    return 100 * right / len(taken)


def milliseconds(photo: Rgb, side: int) -> list[float]:
    """The cpu of a call on a clean mosaic of `side` x `side`, 50 times over; the tables for that side are there already."""
    rgb = square(photo, np.random.default_rng(0), side)
    rgb = degradations.apply(rgb, [{"name": "mosaic", "block": 12, "phase_y": 5, "phase_x": 7}])
    estimate(rgb)
    times = []
    for _ in range(50):
        start = time.process_time()
        for _ in range(10):
            estimate(rgb)
        times.append(100 * (time.process_time() - start))
    return times


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else resources.path("samples")
    taken = photos(folder, int(sys.argv[2]) if len(sys.argv) > 2 else 200)
    print(f"{machine()}; {len(taken)} photos")
    rows: list[Row] = [
        (block, *(f"{hits(taken, block, *condition):.1f}" for condition in CONDITIONS.values())) for block in BLOCKS
    ]
    table("Mosaics found with their block and phases, %", ("block", *CONDITIONS), rows)
    rows = []
    for name, make in WITHOUT.items():
        rng = np.random.default_rng(0)
        found = [grid for photo in taken if (grid := estimate(make(photo, rng)))]
        rows.append((name, f"{100 * len(found) / len(taken):.1f}", ", ".join(str(grid.block) for grid in found)))
    table("Mosaics found where there is none, %", ("photo", "found", "their blocks"), rows)
    table("The cpu of a call", ("side", "ms"), [(side, spread(milliseconds(taken[0], side))) for side in (64, 128, 256, 512)])


if __name__ == "__main__":
    main()

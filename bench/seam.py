"""Whether a restored region shows in its photo: the step across its edge beside the same edge in the untouched photo, and what
changes where nothing was restored.

    python -m bench.seam MODEL [PHOTOS [COUNT]]

MODEL restores mosaics. On each of COUNT photos of PHOTOS (default: data/samples) a mosaic is laid over the face as in
bench/find_mosaic.py, for every block; the photo is written as a PNG or as a JPEG, read, restored, and written anew.
The step: the mean difference of the pixels on both sides of the mosaic's edge, over all channels.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.estimate_grid import photos
from bench.find_mosaic import laid, placed
from bench.tables import machine, table, verdict
from dataset_tools import image_io, resources
from dataset_tools.cells import CELL, even
from dataset_tools.faces import MediaPipeDetector
from dataset_tools.image_rewrite import rewrite
from pipelines.engines import Engine, open_engine
from pipelines.whole_image import OVERLAP, TILE, in_tiles
from pipelines.whole_photo import Wishes, restore_whole

Rgb = NDArray[np.uint8]

BLOCKS = (8, 12, 16, 24, 32)
FORMATS: dict[str, Callable[[Rgb], bytes]] = {
    "PNG": image_io.encode_png,
    "JPEG 90, 4:4:4": lambda rgb: image_io.encode_jpeg(rgb, 90),
    "JPEG 85, 4:2:0": lambda rgb: image_io.encode_jpeg(rgb, 85, subsampling=2),
    "JPEG 75, 4:2:0": lambda rgb: image_io.encode_jpeg(rgb, 75, subsampling=2),
}


def step(rgb: Rgb, mask: NDArray[np.bool_]) -> float:
    """Grey levels between the pixels on both sides of the edge of `mask`, on average."""
    levels = rgb.astype(np.int16)
    steps = []
    for axis in (0, 1):
        edge = np.diff(mask, axis=axis)
        steps.append(np.abs(np.diff(levels, axis=axis))[edge].mean(axis=-1))
    return float(np.concatenate(steps).mean())


def tiles_part(engine: Engine, rgbs: list[Rgb]) -> None:
    """The step across the places where tiles begin and end, beside the same of a mosaic that is restored in one piece."""
    tiled, whole = [], []
    for rgb in rgbs:
        means = cv2.resize(rgb, (3 * TILE // CELL + 5, 2 * TILE // CELL + 3), interpolation=cv2.INTER_AREA)
        image = even(means, engine.card["stride"])[None]
        for found, made in ((tiled, in_tiles(engine.run, image)[0]), (whole, engine.run(image)[0])):
            for axis in (0, 1):
                length = made.shape[axis]
                count = -(-(length - TILE) // (TILE - TILE // OVERLAP)) + 1
                starts = [round(place * (length - TILE) / (count - 1) / CELL) * CELL for place in range(count)]
                edges = {each for start in starts for each in (start, start + TILE) if 0 < each < length}
                steps = np.abs(np.diff(made.astype(np.int16), axis=axis)).mean(axis=(1 - axis, 2))
                found.append(steps[[edge - 1 for edge in sorted(edges)]].mean())
    value = float(np.mean(tiled) / np.mean(whole))
    print(f"\ntiles: the step at their edges is {value:.3f} of that in one piece", verdict(value, 1.05))


def main() -> None:
    engine = open_engine(sys.argv[1])
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else resources.path("samples")
    rng = np.random.default_rng(0)
    print(machine())
    with MediaPipeDetector("full") as detector:
        found = [(rgb, detector.detect(rgb)) for rgb in photos(folder, int(sys.argv[3]) if len(sys.argv) > 3 else 24)]
    faces = [(rgb, max(each, key=lambda face: face.score)) for rgb, each in found if each]
    rows = []
    for name, encode in FORMATS.items():
        before, after, mosaic, ratios, changed, outside, missed = [], [], [], [], [], 0, 0
        for block in BLOCKS:
            for rgb, face in faces:
                truth = placed(rgb.shape, face, 5 * block, rng)
                if truth.all():
                    continue
                shown, _ = laid(rgb, truth, block, rng)
                data = encode(shown)
                photo = image_io.decode(data, "photo")
                outcome = restore_whole(engine, photo, Wishes())
                if outcome.photo is None or outcome.mask is None:
                    missed += 1
                    continue
                written = rewrite(data, outcome.photo, outcome.photo.samples, photo.info.format, None).data
                restored = image_io.decode(written, "restored").rgb8
                untouched = outcome.mask == 0
                change = np.abs(restored[untouched].astype(np.int16) - photo.rgb8[untouched])
                changed.append(float(change.mean()))
                outside += int((change.max(axis=1) > 0).sum())
                before.append(step(rgb, truth))
                mosaic.append(step(photo.rgb8, truth))
                after.append(step(restored, truth))
                ratios.append(after[-1] / max(before[-1], 0.1))
        whole = float(np.mean(after) / np.mean(before))
        rows.append([name, len(after), missed, *(f"{np.mean(each):.2f}" for each in (before, mosaic, after)), f"{whole:.3f}",
                     verdict(whole, 1.15), f"{np.median(ratios):.3f}", outside, f"{np.mean(changed):.3f}",
                     verdict(float(np.mean(changed)), 0.0 if name == "PNG" else 0.5)])  # fmt: skip
    head = ["", "photos", "not restored", "step untouched", "of the mosaic", "restored", "ratio", "", "median ratio",
            "pixels changed outside", "mean change outside, levels", ""]  # fmt: skip
    table("The edge of a restored region", head, rows)
    tiles_part(engine, [rgb for rgb, _ in faces[:6]])


if __name__ == "__main__":
    main()

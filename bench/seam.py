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
from dataset_tools.faces import MediaPipeDetector
from dataset_tools.image_rewrite import rewrite
from pipelines.engines import open_engine
from pipelines.whole_image import OVERLAP, restored_in_tiles
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


def tiles_part(engine: object, rgbs: list[Rgb], size: int) -> None:
    """The step across the places where tiles begin and end, beside that of all other lines."""
    on, off = [], []
    for rgb in rgbs:
        photo = cv2.resize(rgb, (3 * size + 40, 2 * size + 24), interpolation=cv2.INTER_AREA)
        made = restored_in_tiles(photo, engine.restore, size).astype(np.int16)  # type: ignore[attr-defined]
        for axis in (0, 1):
            length = photo.shape[axis]
            count = -(-(length - size) // (size - size // OVERLAP)) + 1
            starts = [round(place * (length - size) / (count - 1)) for place in range(count)]
            edges = {each for start in starts for each in (start, start + size) if 0 < each < length}
            steps = np.abs(np.diff(made, axis=axis)).mean(axis=(1 - axis, 2))
            lines = np.isin(np.arange(1, length), sorted(edges))
            on.append(steps[lines].mean())
            off.append(steps[~lines].mean())
    value = float(np.mean(on) / np.mean(off))
    print(f"\ntiles: the step at their edges is {value:.3f} of that elsewhere", verdict(value, 1.05))


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
    tiles_part(engine, [rgb for rgb, _ in faces[:6]], engine.size)


if __name__ == "__main__":
    main()

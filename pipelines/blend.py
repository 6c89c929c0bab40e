"""What was made for a part of a photo, laid into it so that its edge cannot be seen.

Along the edge the photo and what was made differ; that difference is carried on smoothly into the part and taken from it, as
seamless cloning does (Pérez et al. 2003, doi:10.1145/882262.882269), but so that it fades with the distance from the edge: far
from it what was made is right. The smooth field is found by push and pull (Gortler et al. 1996, doi:10.1145/237170.237200).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Mask = NDArray[np.uint8]  # (H, W), 0 | 1
Floats = NDArray[np.float32]

BEYOND = 2  # pixels around the part that are made as well: there the edges of its cells may have left their traces
RING = 2  # pixels around those, where photo and part are compared
SWEEPS = 4  # that make the field smooth at each of its scales


def grown(mask: Mask) -> Mask:
    """The part with what is made around it: all that `laid_into` changes."""
    size = 2 * BEYOND + 1
    return np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))), np.uint8)


def laid_into(photo: Rgb, made: Rgb, mask: Mask, reach: float) -> Rgb:
    """`photo` with `made`, both (H, W, 3), in the part `mask` of it, to which it was made.

    Args:
        reach: pixels from the edge over which the difference to the photo fades.
    """
    size = 2 * (BEYOND + RING) + 1
    known = cv2.blur(mask.astype(np.float32), (size, size), borderType=cv2.BORDER_CONSTANT)
    inside = made.astype(np.float32)
    further = (
        cv2.blur(cv2.copyTo(inside, mask), (size, size), borderType=cv2.BORDER_CONSTANT) / np.maximum(known, 1e-4)[..., None]
    )
    further = cv2.copyTo(inside, mask, np.ascontiguousarray(further))  # `made`, carried on a little beyond its edge
    part = grown(mask)
    around = cv2.dilate(part, np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)) - part
    shift = _spread(cv2.copyTo(photo - further, around), around)
    share = np.clip(1 - (cv2.distanceTransform(part, cv2.DIST_L2, 5) - 1) / (BEYOND + reach), 0, 1)
    share = share * share * (3 - 2 * share)  # level at both ends
    blended = np.rint(further + shift * share[..., None]).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.copyTo(blended, part, photo.copy()), np.uint8)


def _spread(values: Floats, known: Mask) -> Floats:
    """`values` (H, W, 3) where they are known, carried on smoothly to where they are not; 0 where none is."""
    if known.all() or not known.any() or min(known.shape) < 2:
        mean = values[known > 0].mean(axis=0) if known.any() else np.zeros(3, np.float32)
        return np.where(known[..., None] > 0, values, mean).astype(np.float32)
    height, width = known.shape
    pads = 0, height % 2, 0, width % 2
    both = cv2.copyMakeBorder(np.dstack([values, known.astype(np.float32)]), *pads, cv2.BORDER_CONSTANT)
    small = cv2.resize(both, (both.shape[1] // 2, both.shape[0] // 2), interpolation=cv2.INTER_AREA)
    share = small[..., 3:]
    coarse = _spread(small[..., :3] / np.maximum(share, 1e-6), (share[..., 0] > 0).astype(np.uint8))
    found = np.ascontiguousarray(
        cv2.resize(coarse, (both.shape[1], both.shape[0]), interpolation=cv2.INTER_LINEAR)[:height, :width]
    )
    for _ in range(SWEEPS):
        found = cv2.copyTo(values, known, found)
        found = cv2.blur(found, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.copyTo(values, known, found), np.float32)

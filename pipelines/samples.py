"""What was restored is uint8 sRGB; here it becomes samples of the photo's own depth, channels and colour space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dataset_tools import colour
from dataset_tools.image_io import Photo, PhotoInfo

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB


def with_changes(photo: Photo, before: Rgb, after: Rgb, where: NDArray[np.bool_] | None = None) -> Photo:
    """`photo` with what changed from `before` to `after`, both (H, W, 3) uint8 sRGB, done to its samples too.

    The change is taken over, not the pixels: what 8 bits of sRGB cannot tell of 16 bits or of wide colours stays. `where`,
    (H, W): nothing changes outside of it.
    """
    rows = np.flatnonzero(where.any(1)) if where is not None else np.arange(before.shape[0])
    if not len(rows):
        return photo
    samples = photo.samples.copy()
    colours = samples[..., :-1] if photo.info.mode.endswith("A") else samples
    if photo.info.mode == "LA":
        colours = samples[..., 0]
    for start in range(int(rows[0]), int(rows[-1]) + 1, 256):  # strips, to bound the memory
        strip = slice(start, min(start + 256, int(rows[-1]) + 1))
        change = _as_stored(after[strip], photo.info) - _as_stored(before[strip], photo.info)
        new = (colours[strip] + change).clip(0, np.iinfo(samples.dtype).max).astype(samples.dtype)
        if where is not None:
            kept = where[strip] if new.ndim == 2 else where[strip][:, :, None]
            new = np.where(kept, new, colours[strip])
        colours[strip] = new
    samples.setflags(write=False)
    return Photo(samples, photo.info)


def _as_stored(rgb: Rgb, info: PhotoInfo) -> NDArray[np.int32]:
    samples = colour.from_srgb(rgb, info.mode.removesuffix("A"), info.icc).astype(np.int32)
    return samples if info.depth == 8 else samples * 257


def in_colour(photo: Photo) -> Photo:
    """The same, a grey photo with three channels in sRGB."""
    if photo.info.mode not in ("L", "LA"):
        return photo
    rgb = photo.rgb8 if photo.info.depth == 8 else photo.rgb8.astype(np.uint16) * 257
    if photo.info.mode == "LA":
        grey = replace(photo.info, mode="L")
        rgb = Photo(np.ascontiguousarray(photo.samples[..., 0]), grey).rgb8
        rgb = rgb if photo.info.depth == 8 else rgb.astype(np.uint16) * 257
        return Photo(np.dstack([rgb, photo.samples[..., 1]]), replace(photo.info, mode="RGBA", icc=None))
    return Photo(rgb, replace(photo.info, mode="RGB", icc=None))

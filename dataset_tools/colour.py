"""Colour spaces: a file's own samples to sRGB of 8 bits, and back."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_EIGHT_BITS = ((np.arange(65536) + 128) // 257).astype(np.uint8)  # round(x / 257)


def eight_bits(samples: NDArray[Any]) -> NDArray[Any]:
    """uint8 of uint8 or uint16, where 65535 becomes 255."""
    return samples if samples.dtype == np.uint8 else _EIGHT_BITS[samples]


@lru_cache(maxsize=16)
def transform(icc: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The transform from the embedded profile to sRGB, None where it changes nothing or cannot be used, and a note ("" if none).

    `mode` is that of the samples: L, RGB or CMYK. Grey samples may carry an RGB profile: R = G = B then.
    """
    try:
        source, space = _opened(icc)
        if space != mode and (space, mode) != ("RGB", "L"):
            return None, f"its colour profile is for {space}, not for {mode}: ignored"
        change = _between(source, ImageCms.createProfile("sRGB"), space, "RGB")
        probe = Image.frombytes(space, (64, 64), np.random.default_rng(0).bytes(4096 * len(space)))
        moved = np.asarray(change.apply(probe), np.int16) - np.asarray(probe.convert("RGB"), np.int16)
        return (change if np.abs(moved).max() > 1 else None), ""  # sRGB by any name needs no work
    except Exception:
        return None, "its colour profile is broken: ignored"


def to_srgb(samples: NDArray[Any], mode: str, icc: bytes | None) -> NDArray[Any]:
    """(H, W) or (H, W, C) uint8 of mode L, RGB or CMYK -> (H, W, 3) uint8 sRGB."""
    change = transform(icc, mode)[0] if icc else None
    if mode == "L" and (change is None or change.input_mode == "RGB"):
        samples, mode = np.dstack([samples.reshape(samples.shape[:2])] * 3), "RGB"
    if mode == "RGB" and change is None:
        return np.ascontiguousarray(samples)
    image = Image.frombytes(mode, samples.shape[1::-1], samples.tobytes())
    return np.asarray(change.apply(image) if change else image.convert("RGB"))


def from_srgb(rgb8: NDArray[np.uint8], mode: str, icc: bytes | None) -> NDArray[Any]:
    """(H, W, 3) uint8 sRGB -> (H, W) or (H, W, C) uint8 of mode L, RGB or CMYK: the way back, as near as 8 bits can be."""
    change = _back(icc, mode) if icc and transform(icc, mode)[0] else None
    image = Image.fromarray(np.ascontiguousarray(rgb8))
    samples = np.asarray(change.apply(image) if change else image.convert(mode))
    if mode == "L" and samples.ndim == 3:  # of a grey photo with an RGB profile
        samples = np.asarray(Image.fromarray(samples).convert("L"))
    return samples


@lru_cache(maxsize=16)
def _back(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """From sRGB to a profile that `transform` can use."""
    target, space = _opened(icc)
    return _between(ImageCms.createProfile("sRGB"), target, "RGB", space)


def _opened(icc: bytes) -> tuple[ImageCms.ImageCmsProfile, str]:
    """(the profile, the mode of the samples that it is for)."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return profile, profile.profile.xcolor_space.strip().replace("GRAY", "L")


def _between(source: Any, target: Any, from_mode: str, to_mode: str) -> ImageCms.ImageCmsTransform:
    """Relative colorimetric, with black point compensation."""
    intent, compensate = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    return ImageCms.buildTransform(source, target, from_mode, to_mode, intent, compensate)

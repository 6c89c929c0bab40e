"""Noise: of electronics, of light, and of film."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.zoo.options import Record, Rgb, entry, real, to_uint8, word

_STEP = 4096  # of the 16-bit raster on which grain is drawn: 8 standard deviations fit
_MIDDLE = 32768


def _normal(record: Record, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(record["seed"]).standard_normal(shape, np.float32)


def _noise(rgb: Rgb, record: Record) -> Rgb:
    channels = 3 if record["colour"] == "yes" else 1
    return to_uint8(rgb + np.float32(record["sigma"]) * _normal(record, (*rgb.shape[:2], channels)))


def _poisson(rgb: Rgb, record: Record) -> Rgb:
    # The count of photons of a pixel is Poisson: its variance is its mean. White is `photons` of them.
    per_level = record["photons"] / 255
    counts = np.random.default_rng(record["seed"]).poisson(rgb * per_level)
    return to_uint8(counts / per_level)


def _grain(rgb: Rgb, record: Record) -> Rgb:
    """Grain of `strength` grey levels at mid-grey, in clumps of `size` pixels, weaker towards black and white.

    Where a share u of the emulsion is covered by opaque grains, the variance of the covered area goes with u (1 - u): the
    Boolean model of Newson, Delon and Galerne, "A Stochastic Film Grain Model for Resolution-Independent Rendering" (2017).
    Correlated Gaussian noise stands for the grains themselves. The blur is on 16-bit whole numbers, so it is exact.
    """
    colour = record["colour"] == "yes"
    field = _MIDDLE + _STEP * _normal(record, (*rgb.shape[:2], 3 if colour else 1))
    grains = np.rint(np.clip(field, 0, 65535)).astype(np.uint16)
    sigma = record["size"] / 2
    gain = 1.0
    if sigma >= 0.3:  # finer than this is one pixel
        grains = np.atleast_3d(cv2.GaussianBlur(grains, (0, 0), sigma))
        kernel = cv2.getGaussianKernel(2 * round(4 * sigma) + 1, sigma)
        gain = float((kernel**2).sum())  # of the standard deviation, since both directions are blurred
    noise = (grains.astype(np.float64) - _MIDDLE) / (_STEP * gain)
    covered = np.arange(256) / 255
    amplitude = 2 * np.sqrt(covered * (1 - covered)) * record["strength"]
    return to_uint8(rgb + amplitude[rgb] * noise)


_COLOUR = "yes: each channel by itself; no: the same in all three"

ENTRIES = (
    entry(
        "noise",
        "noise of electronics: Gaussian, the same everywhere",
        {
            "sigma": real(0, 128, (8.0, 25.0), "standard deviation in grey levels", "5..25"),
            "colour": word(("yes", "no"), "yes", _COLOUR),
        },
        _noise,
        seeded=True,
    ),
    entry(
        "poisson",
        "noise of light: more of it where the picture is brighter",
        {"photons": real(1, 1e6, (20.0, 80.0), "photons that white is counted from; fewer are noisier", "20..80")},
        _poisson,
        seeded=True,
    ),
    entry(
        "grain",
        "film grain: in clumps, strongest in the middle tones",
        {
            "strength": real(0, 128, (8.0, 16.0), "standard deviation in grey levels at mid-grey", "8..16"),
            "size": real(0.5, 16, (1.0, 1.6), "of a clump in pixels", "1..2"),
            "colour": word(("no", "yes"), "no", _COLOUR),
        },
        _grain,
        seeded=True,
    ),
)

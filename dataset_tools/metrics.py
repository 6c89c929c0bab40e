"""The registries of metrics and of trivial baselines, on uint8 sRGB: how near a restored image is to its original,
and what doing nothing, or next to nothing, would have reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import priors
from dataset_tools.errors import UsageError

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Floats = NDArray[np.float64]

PSNR_LIMIT = 100.0  # dB, of two identical images
SSIM_WINDOW = 11  # pixels


@dataclass(frozen=True)
class Metric:
    """One entry of METRICS. `function` takes (restored, original), both uint8 (H, W, 3) sRGB of one size."""

    name: str
    title: str
    unit: str  # "" where the number has none
    better: str  # "higher" | "lower" | "none": it describes `restored` and ranks nothing
    function: Callable[[Rgb, Rgb], float]


def psnr(restored: Rgb, original: Rgb) -> float:
    """10 log10(255² / MSE) over all pixels and channels, in dB; at most 100, which identical images have."""
    error = float(np.mean((restored.astype(np.float64) - original) ** 2))
    return PSNR_LIMIT if error == 0 else min(PSNR_LIMIT, 10 * math.log10(255**2 / error))


def ssim(restored: Rgb, original: Rgb) -> float:
    """Structural similarity, -1..1 (Wang, Bovik, Sheikh and Simoncelli 2004): mean over the valid region and R, G, B.

    Gaussian window 11 by 11, sigma 1.5, K1 0.01, K2 0.03, L 255; equal to tf.image.ssim.

    Raises:
        UsageError: a side is shorter than the window.
    """
    height, width = restored.shape[:2]
    if min(height, width) < SSIM_WINDOW:
        raise UsageError(f"SSIM needs images of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels; received {width}x{height}")
    x, y = restored.astype(np.float64), original.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _window(x), _window(y)
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance, variances = _window(x * y) - product, _window(x**2 + y**2) - squares
    luminance = (2 * product + c1) / (squares + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return float(np.mean(luminance * structure))


def _window(image: Floats) -> Floats:
    """The Gaussian mean of (H, W, 3) wherever the whole window fits: (H - 10, W - 10, 3)."""
    taps = cv2.getGaussianKernel(SSIM_WINDOW, 1.5, cv2.CV_64F)
    edge = SSIM_WINDOW // 2
    filtered: Floats = cv2.sepFilter2D(image, cv2.CV_64F, taps, taps)[edge:-edge, edge:-edge]
    return filtered


def l1(restored: Rgb, original: Rgb) -> float:
    """The mean absolute difference over all pixels and channels, in grey levels, 0..255."""
    return float(np.mean(cv2.absdiff(restored, original)))


def delta_e(restored: Rgb, original: Rgb) -> float:
    """The mean CIEDE2000 colour difference over all pixels: 0 = equal, about 1 = just visible."""
    return float(np.mean(ciede2000(srgb_to_lab(restored), srgb_to_lab(original))))


def srgb_to_lab(rgb: Rgb) -> Floats:
    """uint8 (…, 3) sRGB (IEC 61966-2-1) to CIE Lab of the D65 white: float64 (…, 3), L 0..100."""
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)[rgb]
    matrix = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    xyz = linear @ (matrix / matrix.sum(axis=1, keepdims=True)).T  # relative to white, which is the sum of a row
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(lab1: Floats, lab2: Floats) -> Floats:
    """CIEDE2000 of Lab colours (…, 3), kL = kC = kH = 1: float64 (…). Sharma, Wu and Dalal 2005, whose names are used."""
    (l1_, a1, b1), (l2_, a2, b2) = np.moveaxis(lab1, -1, 0), np.moveaxis(lab2, -1, 0)
    mean_c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(mean_c7 / (mean_c7 + 25.0**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    gray = c1 * c2 == 0  # no hue to compare

    turn = (h2 - h1 + 180) % 360 - 180  # the shorter way round
    turn = np.where((turn == -180) & (h2 > h1), 180, turn)
    d_l, d_c = l2_ - l1_, c2 - c1
    d_h = np.where(gray, 0, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2))

    l_, c = (l1_ + l2_) / 2, (c1 + c2) / 2
    across = np.where(h1 + h2 < 360, h1 + h2 + 360, h1 + h2 - 360) / 2
    h = np.where(gray, h1 + h2, np.where(np.abs(h1 - h2) <= 180, (h1 + h2) / 2, across))
    cosines = [-0.17 * _cos(h - 30), 0.24 * _cos(2 * h), 0.32 * _cos(3 * h + 6), -0.20 * _cos(4 * h - 63)]
    s_l = 1 + 0.015 * (l_ - 50) ** 2 / np.sqrt(20 + (l_ - 50) ** 2)
    s_c = 1 + 0.045 * c
    s_h = 1 + 0.015 * c * (1 + sum(cosines))
    r_c = 2 * np.sqrt(c**7 / (c**7 + 25.0**7))
    r_t = -np.sin(np.radians(60 * np.exp(-(((h - 275) / 25) ** 2)))) * r_c
    terms = (d_l / s_l) ** 2 + (d_c / s_c) ** 2 + (d_h / s_h) ** 2 + r_t * (d_c / s_c) * (d_h / s_h)
    return np.asarray(np.sqrt(np.maximum(terms, 0)))


def _cos(degrees: Floats) -> Floats:
    return np.asarray(np.cos(np.radians(degrees)))


def colourfulness(restored: Rgb, original: Rgb) -> float:
    """How colourful `restored` is, whatever the original: 0 = gray, about 33 = average, above 80 = highly colourful.

    Hasler and Suesstrunk 2003, M3, on the opponent channels R - G and (R + G) / 2 - B.
    """
    red, green, blue = np.moveaxis(restored.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("psnr", "PSNR", "dB", "higher", psnr),
        Metric("ssim", "SSIM", "", "higher", ssim),
        Metric("l1", "L1", "grey levels", "lower", l1),
        Metric("delta_e", "ΔE2000", "ΔE", "lower", delta_e),
        Metric("colourfulness", "colourfulness", "", "none", colourfulness),
    )
}


def measure(restored: Rgb, original: Rgb, names: Sequence[str] = ("psnr", "ssim", "l1")) -> dict[str, float]:
    """The named metrics of one image, {name: value} in the order of `names`; both uint8 (H, W, 3) sRGB of one size.

    Raises:
        UsageError: no metric of that name, or an image too small for one.
        ValueError: the images differ in shape, or are not uint8 (H, W, 3).
    """
    if restored.shape != original.shape or restored.ndim != 3 or restored.shape[2] != 3:
        raise ValueError(f"metrics compare two (H, W, 3) images of one size; received {restored.shape} and {original.shape}")
    if restored.dtype != np.uint8 or original.dtype != np.uint8:
        raise ValueError(f"metrics compare uint8 images; received {restored.dtype} and {original.dtype}")
    for name in names:
        if name not in METRICS:
            raise UsageError(f"there is no metric {name!a}; there are: {', '.join(METRICS)}")
    return {name: METRICS[name].function(restored, original) for name in names}


@dataclass(frozen=True)
class Baseline:
    """One entry of BASELINES: what anybody gets from the degraded input `a` and the record of `degradations.draw`."""

    name: str
    title: str
    applies: Callable[[Sequence[Mapping[str, Any]]], bool]
    function: Callable[[Rgb, Sequence[Mapping[str, Any]]], Rgb]
    always: bool = True


BASELINES: dict[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline("input", "input", lambda drawn: True, lambda a, drawn: a),
        Baseline(
            "bicubic",
            "bicubic of the cell means",
            priors.has_mosaic,
            priors.recorded,
        ),
        Baseline("lanczos", "Lanczos of the cell means, sharpened", priors.has_mosaic, priors.sharpened, always=False),
    )
}


def baselines(a: Rgb, drawn: Sequence[Mapping[str, Any]], more: Sequence[str] = ()) -> dict[str, Rgb]:
    """All baselines that apply to a degraded uint8 (H, W, 3), in registry order, "input" (which is `a` itself) first.

    more: names of those that are not asked every time.
    """
    return {
        name: baseline.function(a, drawn)
        for name, baseline in BASELINES.items()
        if baseline.applies(drawn) and (baseline.always or name in more)
    }

"""How far the colours of restored photos are, as a set, from those of the originals: a model may be near in each and dull in all.

The Fréchet distance of two normal distributions (Dowson and Landau 1982; of networks' features: Heusel et al. 2017). The features
here are plain: no network is needed, and it says nothing of anything but colour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataset_tools.metrics import srgb_to_lab

TITLE = "Fréchet distance of the chroma (Lab a, b: 3 × 3 means, spreads) to the originals'"

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Floats = NDArray[np.float64]
CELLS = 3  # a side


def features(rgb: Rgb) -> Floats:
    """(20,): the means of a and b of CIE Lab in 3 × 3 parts, and their standard deviations over the whole of uint8 (H, W, 3)."""
    chroma = srgb_to_lab(rgb)[..., 1:]
    parts = [part for row in np.array_split(chroma, CELLS) for part in np.array_split(row, CELLS, axis=1)]
    return np.concatenate([*(part.mean(axis=(0, 1)) for part in parts), chroma.std(axis=(0, 1))])


def distance(one: Floats, other: Floats) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 √(C1 C2)) of two sets of features, (N, F) and (M, F): 0 where they are distributed alike."""
    means, spreads = zip(*((each.mean(axis=0), np.cov(each, rowvar=False)) for each in (one, other)), strict=True)
    roots = np.sqrt(np.linalg.eigvals(spreads[0] @ spreads[1]).real.clip(0))  # those of a product of covariances are not negative
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * roots.sum())

"""A pair in one image: A|B side by side, the layout that Pix2Pix programs have shared since 2016 (Isola et al.)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataset_tools.errors import DatasetError, UsageError

DIRECTIONS = ("AtoB", "BtoA")  # the input is the left half | the right half


def stitch(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The degraded `a` on the left, the original `b` on the right: two (H, W, 3) give one (H, 2W, 3), uint8 sRGB.

    Raises:
        DatasetError: they do not have the same size.
    """
    if a.shape != b.shape:
        raise DatasetError(f"the two halves of a pair must have one size; received {_size(a)} and {_size(b)}")
    return np.concatenate([a, b], axis=1)  # (H, 2W, 3) uint8


def split(pair: NDArray[np.uint8], direction: str = "AtoB") -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The halves (a, b) of a pair, a the model's input: two (H, W, 3) views of one (H, 2W, 3), uint8 sRGB.

    `direction` "AtoB": the input is the left half. "BtoA": the file holds the input on the right, so that half is a.

    Raises:
        DatasetError: the width is odd, so this is not a pair of two equal halves.
        UsageError: another direction.
    """
    if direction not in DIRECTIONS:
        raise UsageError(f"--direction takes {' or '.join(DIRECTIONS)}; received {direction}")
    width = pair.shape[1]
    if width % 2 or not width:
        raise DatasetError(f"a pair A|B has two halves of one width, so its width is even; received {_size(pair)}")
    left, right = pair[:, : width // 2], pair[:, width // 2 :]
    return (left, right) if direction == "AtoB" else (right, left)


def _size(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"

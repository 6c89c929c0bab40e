"""Perceptual hashes: what of a photo survives when it is re-encoded, resized, mirrored, or loses up to 5 % at its edges.

A hash holds the low frequencies of a photo's cosine transform, as pHash does (Zauner 2010), but with their sizes, not their
signs alone. To cut a band-limited image is a linear map of its frequencies, so the signs that each of 49 cuts of the photo
would have (its `views`) follow from the hash, without the photo. Two photos are compared by the 255 signs of one and of a view
of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64  # pixels of the thumbnail that is transformed
HELD = 18  # frequencies a hash holds along each axis; a cut by 10 % turns what is below 16 into what is below 18
USED = 16  # frequencies a sign is compared of: 16 × 16 without the mean
LENGTH = HELD * HELD  # characters of a hash

FLAT = 2.0  # grey levels: an image of less deviation has no structure that a hash could hold
LEAST = 0.5  # grey levels: a frequency below is rounding noise
ENOUGH = 128  # frequencies of the 256 that must be more than noise. Portraits have 244 or more

# What a view leaves out at the two ends of an axis, as shares of the side. All pairs of these give 49 views.
CUTS = ((0.0, 0.0), (0.0, 0.025), (0.025, 0.0), (0.0, 0.05), (0.05, 0.0), (0.025, 0.025), (0.05, 0.05))
VIEWS = len(CUTS) ** 2

_DIGITS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8)
_VALUE = np.full(256, 255, np.uint8)  # of a digit
_VALUE[_DIGITS] = np.arange(64)
_STEPS = 2.5  # sizes are kept as logarithms: this many steps an octave, from a third of a grey level on
_ROWS, _COLUMNS = np.mgrid[:USED, :USED].reshape(2, -1)


def perceptual_hash(rgb: NDArray[np.uint8]) -> str:
    """324 characters that hold the signs and rough sizes of an image's low frequencies.

    "" for an image of nearly one colour or of a bare gradient: its signs would be noise, and such images would look alike.

    Args:
        rgb: (H, W, 3) uint8.
    """
    small = _thumbnail(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)).astype(np.float32)
    waves = cv2.dct(small)[:HELD, :HELD]
    size = np.abs(waves)
    if small.std() < FLAT or np.count_nonzero(size[:USED, :USED] >= LEAST) < ENOUGH:
        return ""
    steps = np.clip(np.floor(np.log2(size + 1e-9) * _STEPS + 4), 0, 31).astype(np.uint8)
    return str(_DIGITS[(steps | ((waves >= 0) << 5)).ravel()].tobytes(), "ascii")


def _thumbnail(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) -> (64, 64), by area. Halved as long as that is possible, which OpenCV does six times faster than other factors."""
    while min(gray.shape) >= 4 * SIDE:
        height, width = gray.shape[0] // 2, gray.shape[1] // 2
        gray = cv2.resize(gray[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def pack(texts: Sequence[str]) -> NDArray[np.uint8]:
    """(N, 324) uint8: the digits of N hashes as numbers below 64. Raises ValueError for what is no hash."""
    raw = np.frombuffer("".join(texts).encode("ascii", "replace"), np.uint8)
    codes = _VALUE[raw]
    if any(len(text) != LENGTH for text in texts) or (codes > 63).any():
        raise ValueError("not a perceptual hash of this version")
    return codes.reshape(len(texts), LENGTH)


def signs(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(N, 324) uint8 -> (N, 4) uint64: the 255 signs of N hashes, in the order of `BITS`."""
    return _words((codes.reshape(-1, HELD, HELD)[:, :USED, :USED] >> 5).reshape(-1, USED * USED))


def views(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(N, 324) uint8 -> (N, 49, 4) uint64: the signs that N images would have after each of 7 × 7 cuts.

    All numbers are integers that float64 holds exactly, so that the result depends on no order of summation.
    """
    waves = _SIZES[codes].reshape(-1, HELD, HELD)
    half = np.matmul(_CUT.reshape(-1, HELD), waves)  # (N, 7 * 16, 18)
    whole = half.reshape(-1, HELD) @ _CUT.reshape(-1, HELD).T  # (N * 7 * 16, 7 * 16)
    cut = (whole > 0).reshape(len(codes), len(CUTS), USED, len(CUTS), USED).transpose(0, 1, 3, 2, 4)
    return _words(cut.reshape(-1, USED * USED)).reshape(len(codes), VIEWS, 4)


def transposed(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 324) uint8: the hashes that N images would have with rows and columns exchanged."""
    return np.ascontiguousarray(codes.reshape(-1, HELD, HELD).transpose(0, 2, 1)).reshape(-1, LENGTH)


def _words(bits: NDArray[Any]) -> NDArray[np.uint64]:
    """(N, 256) of 0 and 1, row by row of frequencies -> (N, 4) uint64 in the order of `BITS`."""
    packed = np.packbits(np.take(bits, BITS, axis=1) & _COUNTED, axis=1, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


def _cuts() -> NDArray[np.float64]:
    """(7, 16, 18): frequencies of an axis -> those of each of its cuts, in 1024ths, whole."""
    places = (np.arange(SIDE) + 0.5) / SIDE  # of pixel centres

    def waves(at: NDArray[np.float64], number: int) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = np.cos(np.pi * np.arange(number)[:, None] * at) * np.sqrt(2 / SIDE)
        rows[0] /= np.sqrt(2)
        return rows

    maps = [waves(places, USED) @ waves(left + places * (1 - left - right), HELD).T for left, right in CUTS]
    return np.round(np.array(maps) * 1024)


def _order() -> NDArray[np.int64]:
    """The frequency of each bit. The 120 lowest but the mean lie, shuffled, in bits 0 to 59 of the first and second word: the
    six bands of 20 by which `near` looks hashes up. The mean is the last bit, which is always 0."""
    low = np.flatnonzero((_ROWS < 11) & (_COLUMNS < 11) & (_ROWS + _COLUMNS > 0))
    low = np.random.RandomState(5).permutation(low)  # the one generator whose numbers NumPy promises to keep
    high = np.flatnonzero((_ROWS >= 11) | (_COLUMNS >= 11))
    return np.concatenate([low[:60], high[:4], low[60:], high[4:], [0]])


BITS = _order()
_COUNTED = (BITS != 0).astype(np.uint8)
_CUT = _cuts()
_SIZES = np.array([round(8 * 2 ** ((step + 0.5 - 4) / _STEPS)) * sign for sign in (-1, 1) for step in range(32)], np.float64)
# XOR with it mirrors an image, or turns it upside down: its odd frequencies across, or downwards, change their signs.
MIRROR: NDArray[np.uint64] = np.packbits((_COLUMNS[BITS] % 2).astype(np.uint8), bitorder="little").view("<u8").astype(np.uint64)
FLIP: NDArray[np.uint64] = np.packbits((_ROWS[BITS] % 2).astype(np.uint8), bitorder="little").view("<u8").astype(np.uint64)

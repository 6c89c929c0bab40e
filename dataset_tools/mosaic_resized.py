"""The grid of a mosaic that was resized after it was laid: cells of any side, their lines between the pixels too."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.mosaic_grid import gains

BLOCKS = 4.0, 64.0  # pixels: the smallest and the largest side of a cell that is searched for
SEARCHED = 512  # pixels: so much of the middle of a larger image is searched at first
DRIFT = 0.3  # pixels that the last line of a tried grid may lie off, where the first lies right
BIN = 0.5  # pixels of a folded edge profile
REACH = 2  # bins to each side of a line that belong to it: resizing spreads an edge over two pixels
MOST = 8  # grey levels that an edge counts at most, so that those of the photo do not drown the others
MOST_TIMES = 8  # the largest side that is searched for: so large a cell may be, which shows as a part of it
FAINT = 0.4  # the edges of lines that are none, of those that are: every eighth line of a JPEG has some

# Over portraits, whole and after JPEG 60 to 95, resized mosaics gain 120 at least and have edges inside of their cells of 0.5
# of those on their lines at most; photos without, after JPEG, blur and enlarging too, gain 45 at most, and have 0.7 at least.
LEAST_GAIN, MOST_INSIDE = 80.0, 0.6

Profile = NDArray[np.float64]  # (n,): the mean edge before row 1, 2 … of an image


class Lines(NamedTuple):
    """A grid whose lines lie between pixels or in them: at first + k * block, 0 being the border before the first pixel."""

    block: float  # pixels
    first_y: float
    first_x: float


def estimate(rgb: NDArray[np.uint8]) -> Lines | None:
    """The grid of the mosaic that covers uint8 (H, W, 3) and was resized; None where there is none."""
    if min(rgb.shape[:2]) < 4 * BLOCKS[0]:
        return None
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    whole = [_profile(grey), _profile(cv2.transpose(grey))]
    profiles, starts = _middles(whole, SEARCHED)
    longest = max(map(len, profiles))
    tried = [_folded(len(each), longest) for each in profiles]
    found = [_gains(profile, fold) for profile, fold in zip(profiles, tried, strict=True)]
    best = sum(np.maximum.reduceat(gain, fold.first[:-1]) for gain, fold in zip(found, tried, strict=True))
    index = int(np.argmax(best))
    if np.max(best) < LEAST_GAIN:
        return None
    block = float(tried[0].blocks[index])
    firsts = [
        start + float(np.argmax(gain[fold.first[index] : fold.first[index + 1]]) / fold.bins[index] * block)
        for gain, fold, start in zip(found, tried, starts, strict=True)
    ]
    lines, side = Lines(block, *firsts), SEARCHED
    while True:  # the more of the image, the closer its grid is known
        lines = _refined(*_middles(whole, side), lines)
        if side >= max(map(len, whole)):
            return _coarser(whole, lines) if _inside(whole, lines) <= MOST_INSIDE else None
        side *= 2


def _middles(whole: list[Profile], side: int) -> tuple[list[Profile], list[int]]:
    """The middle `side` edges of each, or all; and where these begin."""
    starts = [max(0, len(each) - side) // 2 for each in whole]
    return [each[start : start + side] for each, start in zip(whole, starts, strict=True)], starts


def _profile(grey: NDArray[np.uint8]) -> Profile:
    edges = cv2.min(cv2.absdiff(grey[1:], grey[:-1]), MOST)
    return np.asarray(edges.mean(axis=1, dtype=np.float64))


class _Folds(NamedTuple):
    """An edge profile folded to the length of each of the blocks, one after the other."""

    blocks: Profile  # (blocks,)
    bins: NDArray[np.intp]  # of each block
    first: NDArray[np.intp]  # (blocks + 1,): where the bins of each begin, and where they end
    place: NDArray[np.intp]  # (blocks, n): the bin of each edge
    near: NDArray[np.intp]  # (2 REACH, bins): for a line at the beginning of each bin, the bins that belong to it


@lru_cache(maxsize=4)
def _folded(number: int, longest: int) -> _Folds:
    """`number` edges folded to blocks that are as close as `longest` edges want them."""
    low, high = np.log(BLOCKS)
    blocks = np.exp(np.arange(low, high, DRIFT / longest))
    bins = np.rint(blocks / BIN).astype(np.intp)
    first = np.concatenate([[0], np.cumsum(bins)])
    share = np.arange(1, number + 1) % blocks[:, None] / blocks[:, None]  # (blocks, n): where in a cell
    place = np.minimum((share * bins[:, None]).astype(np.intp), bins[:, None] - 1) + first[:-1, None]
    own = np.repeat(first[:-1], bins)
    within = np.arange(first[-1]) - own
    near = np.stack([own + (within + step) % np.repeat(bins, bins) for step in range(-REACH, REACH)])
    return _Folds(blocks, bins, first, place, near)


def _gains(profile: Profile, fold: _Folds) -> Profile:
    """How much likelier the edges are with lines at the beginning of each bin of each block than without any: (bins,)."""
    squares = np.square(profile)

    def near_lines(values: Profile) -> Profile:
        each = np.bincount(fold.place.ravel(), np.broadcast_to(values, fold.place.shape).ravel(), fold.first[-1])
        return np.asarray(each[fold.near].sum(axis=0))

    lines = np.minimum(near_lines(np.ones_like(profile)), len(profile) - 1)
    on = near_lines(profile), near_lines(squares)
    return gains(len(profile), lines, (profile.sum(), squares.sum()), on, profile.max())


def _refined(profiles: list[Profile], starts: list[int], lines: Lines) -> Lines:
    """The lines near `lines` on which most of the edges lie; the profiles begin at `starts`."""
    best, found = -1.0, lines
    middles = [start + len(each) / 2 for each, start in zip(profiles, starts, strict=True)]
    firsts = [first + lines.block * round((middle - first) / lines.block)  # the line in the middle stays, whatever the block
              for first, middle in zip(lines[1:], middles, strict=True)]  # fmt: skip
    for side in lines.block * (1 + np.linspace(-2 * DRIFT, 2 * DRIFT, 13) / max(map(len, profiles))):
        total, moved = 0.0, list[float]()
        for profile, start, first in zip(profiles, starts, firsts, strict=True):
            tried = first + np.linspace(-1, 1, 21)
            on = np.clip(1 - _away(len(profile), side, tried[:, None] - start) / 1.5, 0, None) @ profile
            total += on.max()
            moved.append(float(tried[np.argmax(on)] % side))
        if total > best:
            best, found = total, Lines(float(side), *moved)
    return found


def _coarser(profiles: list[Profile], lines: Lines) -> Lines:
    """The lines of cells larger than are searched for, where only every so-many-th of `lines` has edges; or `lines`."""
    shortest = min(map(len, profiles))
    for times in range(MOST_TIMES, 1, -1):
        block = times * lines.block
        if BLOCKS[1] < block < shortest / 3:
            firsts = [_every(profile, lines.block, first, times) for profile, first in zip(profiles, lines[1:], strict=True)]
            if firsts[0] is not None and firsts[1] is not None:
                return Lines(block, firsts[0], firsts[1])
    return lines


def _every(profile: Profile, block: float, first: float, times: int) -> float | None:
    """The first of the lines that have edges, if every so-many-th has and those between them have hardly more than none."""
    starts = [first + step * block for step in range(times)]
    on = [float(profile[_away(len(profile), times * block, start) <= 1].mean()) for start in starts]
    best, none = int(np.argmax(on)), float(profile[_away(len(profile), block, first) > 1.6].mean())
    others = max(value for step, value in enumerate(on) if step != best)
    return starts[best] % (times * block) if others - none < FAINT * (on[best] - none) else None


def _inside(profiles: list[Profile], lines: Lines) -> float:
    """The mean edge inside of the cells, of those on the lines."""
    away = np.concatenate([_away(len(each), lines.block, first) for each, first in zip(profiles, lines[1:], strict=True)])
    edges = np.concatenate(profiles)
    inside, on = edges[away > 1.6], edges[away <= 1]
    return float(inside.mean() / max(on.mean(), 1e-6)) if len(inside) and len(on) else 1.0


def _away(number: int, block: float, first: float | Profile) -> Profile:
    """Pixels from each of `number` edges to the nearest line."""
    cells = (np.arange(1, number + 1) - first) / block
    return np.asarray(np.abs(cells - np.rint(cells)) * block)

"""Where in a photo the grid of a mosaic shows: windows whose edges lie on lines at equal distances, both ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.mosaic_grid import LEAST_BLOCK, Grid, gains

Edges = NDArray[np.uint8]
Floats = NDArray[np.float32]

MOST_BLOCK = 128  # pixels: the largest cell that is looked for
FAINT = 4  # grey levels: an edge counts so much at most, so that those of the photo do not drown those of the cells
JPEG = 2  # grey levels by which the blocks of a JPEG stand off, mostly
# Windows of so many pixels a side tell of blocks from … to …: at least four cells lie in each.
WINDOWS = ((64, range(LEAST_BLOCK, 13)), (128, range(8, 25)), (256, range(16, 65)), (512, range(48, MOST_BLOCK + 1)))
AT_ONCE = 2048  # windows
LEAST_LIFT = 2.0  # times: so much stronger than the rest the lines of a grid are, at least
GRIDS = 24  # that are looked at further


class Window(NamedTuple):
    """A square in which a grid was seen, pixels of the photo."""

    score: float  # the higher, the surer
    block: int
    phase_y: int
    phase_x: int
    top: int
    left: int
    side: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Its top, left, bottom and right, pixels."""
        return self.top, self.left, self.top + self.side, self.left + self.side

    @property
    def grid(self) -> Grid:
        return Grid(self.block, self.phase_y, self.phase_x)


def edges_of(grey: NDArray[np.uint8]) -> Edges:
    """Of each pixel of uint8 (H, W) the edge above it, grey levels, less what the edges next to that one have.

    The border of a cell stands alone, between even pixels; edges of a photo are wider. Where the photo was a JPEG, so that every
    eighth line stands off a little, these are weakened.
    """
    edges = np.zeros_like(grey)
    cv2.absdiff(grey[1:], grey[:-1], edges[1:])
    padded = cv2.copyMakeBorder(edges, 1, 1, 0, 0, cv2.BORDER_CONSTANT)
    alone = cv2.subtract(edges, cv2.max(padded[:-2], padded[2:]))
    means = cv2.reduce(cv2.min(alone, FAINT), 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[:, 0]
    if len(means) > 16:
        phases = np.array([np.median(means[phase or 8 :: 8]) for phase in range(8)])
        phase = int(phases.argmax())
        if phases[phase] > 1.4 * np.median(np.delete(phases, phase)) + 0.03:
            alone[phase::8] = cv2.subtract(np.ascontiguousarray(alone[phase::8]), JPEG)
    return np.asarray(alone, np.uint8)


def windows_with_grids(rows: Edges, columns: Edges) -> Iterator[Window]:
    """The windows worth a closer look, the surest grids first: the best window of each, and those of the same grid further away.

    rows, columns: uint8 (H, W), the edges above each pixel and to its left, see `edges_of`.
    """
    grids: dict[Grid, list[Window]] = {}
    for window in _windows(cv2.min(rows, FAINT), cv2.transpose(cv2.min(columns, FAINT))):
        grids.setdefault(window.grid, []).append(window)
    for each in grids.values():
        each.sort(reverse=True)
    for each in sorted(grids.values(), key=lambda each: -sum(window.score for window in each[:12]))[:GRIDS]:
        shown: list[Window] = []
        for window in each[:200]:
            if all(max(abs(window.top - other.top), abs(window.left - other.left)) > other.side for other in shown):
                shown.append(window)
                yield window


def grid_of(rows: Edges, columns: Edges, top: int, left: int) -> Grid | None:
    """The likeliest grid of an area that a mosaic covers, whose edges these are; it lies at (top, left) of the photo."""
    blocks = tuple(range(LEAST_BLOCK, min(MOST_BLOCK, min(rows.shape) // 3) + 1))
    if not blocks:
        return None
    found = []
    for edges, axis in ((rows, 1), (columns, 0)):
        means = cv2.reduce(cv2.min(np.ascontiguousarray(edges), FAINT), axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
        means[0] = 0  # an edge with what lies outside
        found.append(_best(means[None], blocks))
    (gain_y, phase_y, _), (gain_x, phase_x, _) = found
    place = int((gain_y + gain_x)[0].argmax())
    block = blocks[place]
    return Grid(block, int(phase_y[0, place] + top) % block, int(phase_x[0, place] + left) % block)


def _windows(rows: Edges, columns: Edges) -> Iterator[Window]:
    """Every window with a grid. `columns` is turned: uint8 (W, H)."""
    for most, candidates in WINDOWS:
        side = min(most, *rows.shape) // 8 * 8
        blocks = tuple(block for block in candidates if 4 * block <= side)
        if not blocks:
            continue
        step = max(8, side // 4)
        by_row, by_column = _profiles(rows, side, step), _profiles(columns, side, step).swapaxes(0, 1)  # (ny, nx, side)
        wide = by_row.shape[1]
        by_row, by_column = by_row.reshape(-1, side), by_column.reshape(-1, side)
        busy = np.flatnonzero((by_row.max(1) > 0.3) & (by_column.max(1) > 0.3))
        for profiles in (by_row, by_column):
            busy = busy[_could_lift(profiles[busy], blocks)]
        for start in range(0, len(busy), AT_ONCE):
            some = busy[start : start + AT_ONCE]
            (gain_y, phase_y, lift_y), (gain_x, phase_x, lift_x) = _best(by_row[some], blocks), _best(by_column[some], blocks)
            gain = np.minimum(gain_y, gain_x)  # (n, blocks)
            at = np.arange(len(some)), gain.argmax(1)
            gain, lift = gain[at], np.minimum(lift_y[at], lift_x[at])
            score = np.minimum(gain, 60) * np.minimum(lift, 8)
            for place in np.flatnonzero((gain > 12) & (lift > LEAST_LIFT) & (score > 60)):
                block = blocks[at[1][place]]
                top, left = (int(each) * step for each in divmod(some[place], wide))
                phases = int(phase_y[at][place] + top) % block, int(phase_x[at][place] + left) % block
                yield Window(float(score[place]), block, *phases, top, left, side)


def _profiles(edges: Edges, side: int, step: int) -> Floats:
    """Of every window of side × side pixels, `step` apart, the means along its rows: (ny, nx, side)."""
    height, width = edges.shape
    count = width // step
    sums = edges[:, : count * step].reshape(height, count, step).sum(2, dtype=np.uint16)
    until = np.cumsum(np.pad(sums, ((0, 0), (1, 0))), axis=1, dtype=np.uint32)
    means = (until[:, side // step :] - until[:, : -(side // step)]).astype(np.float32) / (side // step * step)  # (H, nx)
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(means, side, axis=0)[::step])


def _could_lift(profiles: Floats, blocks: Sequence[int]) -> NDArray[np.bool_]:
    """False for a profile (n, side) whose strongest lines, wherever they are, do not stand off by LEAST_LIFT: no grid's would."""
    number = profiles.shape[1]
    until = np.cumsum(np.sort(profiles, axis=1)[:, ::-1], axis=1)
    could = np.zeros(len(profiles), np.bool_)
    for lines in {number // block + more for block in blocks for more in (0, 1)}:
        on, off = until[:, lines - 1] / lines, (until[:, -1] - until[:, lines - 1]) / (number - lines)
        could |= _lift(on, off) > LEAST_LIFT
    return could


def _lift(on: Floats, off: Floats) -> Floats:
    """How many times stronger the lines of a grid are than what is between them; means."""
    return (on + 0.05) / (off + 0.05)


def _best(profiles: Floats, blocks: Sequence[int]) -> tuple[Floats, NDArray[np.intp], Floats]:
    """Of each profile (n, side) and each block, at the phase of the strongest lines: (gain, phase, how many times stronger)."""
    count, number = profiles.shape
    padded = np.pad(profiles, ((0, 0), (0, max(blocks))))  # zeros, so that every phase can be cut into whole cells
    squares = np.square(padded)
    phases = np.empty((count, len(blocks)), np.intp)
    lines, on, on_squares = (np.empty((count, len(blocks)), np.float32) for _ in range(3))
    for place, block in enumerate(blocks):
        cells = -(-number // block)
        sums, sums_of_squares = (
            each[:, : cells * block].reshape(count, cells, block).sum(1) for each in (padded, squares)
        )  # (n, phases)
        held = (number - np.arange(block) + block - 1) // block  # lines of each phase
        at = np.arange(count), (sums / held).argmax(1)
        phases[:, place], lines[:, place], on[:, place], on_squares[:, place] = at[1], held[at[1]], sums[at], sums_of_squares[at]
    whole = profiles.sum(1, keepdims=True), squares.sum(1, keepdims=True)
    found = gains(number, lines, whole, (on, on_squares), profiles.max(1, keepdims=True))
    return found, phases, _lift(on / lines, (whole[0] - on) / (number - lines))

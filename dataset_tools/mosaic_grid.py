"""The grid of a mosaic: the mean of every cell, the mosaic painted from the means, and the smooth image between them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """Square cells of `block` pixels; the first whole cell starts at row phase_y, column phase_x (both 0..block-1).

    A phase above 0 leaves a cut cell before it; the last cell of a row or column is cut where the border comes first.
    """

    block: int  # pixels, 1 or more
    phase_y: int = 0
    phase_x: int = 0

    def __post_init__(self) -> None:
        if self.block < 1 or not (0 <= self.phase_y < self.block and 0 <= self.phase_x < self.block):
            raise ValueError(f"a grid has block >= 1 and phases from 0 to block - 1; received {self}")


def cell_means(rgb: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The mean of every cell of `rgb`, uint8 (H, W, 3), rounded half up: uint8 (rows, cols, 3).

    A cell that the border cuts takes the mean of what is there. Exact: integers only, for any block, phase and size.
    """
    tops, heights = _cells(rgb.shape[0], grid.block, grid.phase_y)
    lefts, widths = _cells(rgb.shape[1], grid.block, grid.phase_x)
    columns = np.add.reduceat(rgb, tops, axis=0, dtype=np.uint32)  # (rows, W, 3)
    sums = np.add.reduceat(columns, lefts, axis=1, dtype=np.int64)  # (rows, cols, 3)
    counts = np.outer(heights, widths)[:, :, None]  # (rows, cols, 1) pixels
    return ((2 * sums + counts) // (2 * counts)).astype(np.uint8)


def paint(means: NDArray[np.uint8], grid: Grid, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Every cell filled with its mean: uint8 (rows, cols, 3) as from `cell_means` gives uint8 (*shape, 3); shape is (H, W)."""
    _, heights = _cells(shape[0], grid.block, grid.phase_y)
    _, widths = _cells(shape[1], grid.block, grid.phase_x)
    return np.repeat(np.repeat(means, widths, axis=1), heights, axis=0)


def prior(rgb: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The bicubic (cv2.INTER_CUBIC) of the cell means of `rgb`, at its own size: uint8 (H, W, 3) to uint8 (H, W, 3).

    The best that can be said of a mosaic without having seen a face: a baseline, and an input that a model may take.
    A cut cell counts as a whole one whose missing part lies outside, so the mean stands at the centre of the whole cell.
    """
    means = cell_means(rgb, grid)
    rows, cols = means.shape[:2]
    smooth: NDArray[np.uint8] = cv2.resize(means, (cols * grid.block, rows * grid.block), interpolation=cv2.INTER_CUBIC)
    top, left = -grid.phase_y % grid.block, -grid.phase_x % grid.block  # how much of the first cell is cut away
    return np.ascontiguousarray(smooth[top : top + rgb.shape[0], left : left + rgb.shape[1]])


def prior_through(rgb: NDArray[np.uint8], grid: Grid, onto: NDArray[np.float64]) -> NDArray[np.uint8]:
    """As `prior`, for a mosaic that was laid on another raster before `rgb`, uint8 (H, W, 3), was cut from it.

    `onto`: (2, 3) affine from pixels of `rgb` to pixels of that raster, pixel centres at integers. The cells may be turned and of
    any size here; the mean of each is what stands at its centre, or at the pixel nearest to it.
    """
    height, width = rgb.shape[:2]
    first = np.array([grid.phase_x, grid.phase_y]) + (grid.block - 1) / 2  # the centre of cell (0, 0), x and y
    to_cells = np.column_stack([onto[:, :2], onto[:, 2] - first]) / grid.block
    corners = np.array([(0, 0, 1), (width - 1, 0, 1), (0, height - 1, 1), (width - 1, height - 1, 1)]) @ to_cells.T
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    cells = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True))), axis=-1)  # (rows, cols, 2)
    centres = np.rint((cells - to_cells[:, 2]) @ np.linalg.inv(to_cells[:, :2]).T).astype(int)
    means = rgb[centres[..., 1].clip(0, height - 1), centres[..., 0].clip(0, width - 1)]
    to_cells[:, 2] -= low
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    smooth: NDArray[np.uint8] = cv2.warpAffine(means, to_cells, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return smooth


def _cells(length: int, block: int, phase: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the cells along one axis start, and how many pixels each has."""
    starts = np.arange(phase, length, block, dtype=np.intp)
    if phase:
        starts = np.concatenate([np.zeros(1, dtype=np.intp), starts])
    return starts, np.diff(starts, append=length)

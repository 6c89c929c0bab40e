"""The grid of a mosaic: found in the pixels; the mean of every cell, the mosaic painted from them, the smooth image between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SAMPLES = 8  # a side of a cell, of which the middle half tells its mean
LEAST_BLOCK = 4  # pixels: the smallest cell that `estimate` tells from the texture of a photo


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
    tops, heights = cells_of(rgb.shape[0], grid.block, grid.phase_y)
    lefts, widths = cells_of(rgb.shape[1], grid.block, grid.phase_x)
    depth = cv2.CV_32S if rgb.shape[0] * rgb.shape[1] < 1 << 23 else cv2.CV_64F  # both exact: sums below 2^31, below 2^53
    integral = cv2.integral(rgb, sdepth=depth)[np.append(tops, rgb.shape[0])][:, np.append(lefts, rgb.shape[1])]
    sums = (integral[1:, 1:] - integral[:-1, 1:] - integral[1:, :-1] + integral[:-1, :-1]).astype(np.int64)  # (rows, cols, 3)
    counts = np.outer(heights, widths)[:, :, None]  # (rows, cols, 1) pixels
    means: NDArray[np.uint8] = ((2 * sums + counts) // (2 * counts)).astype(np.uint8)
    return means


def paint(means: NDArray[np.uint8], grid: Grid, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Every cell filled with its mean: uint8 (rows, cols, 3) as from `cell_means` gives uint8 (*shape, 3); shape is (H, W)."""
    _, heights = cells_of(shape[0], grid.block, grid.phase_y)
    _, widths = cells_of(shape[1], grid.block, grid.phase_x)
    return np.repeat(np.repeat(means, widths, axis=1), heights, axis=0)


def prior(rgb: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The bicubic (cv2.INTER_CUBIC) of the cell means of `rgb`, at its own size: uint8 (H, W, 3) to uint8 (H, W, 3).

    The best that can be said of a mosaic without having seen a face: a baseline, and an input that a model may take.
    A cut cell counts as a whole one whose missing part lies outside, so the mean stands at the centre of the whole cell.
    """
    return between(cell_means(rgb, grid), grid, (rgb.shape[0], rgb.shape[1]))


def between(
    means: NDArray[np.uint8], grid: Grid, shape: tuple[int, int], interpolation: int = cv2.INTER_CUBIC
) -> NDArray[np.uint8]:
    """As `prior`, from the means: uint8 (rows, cols, 3) as from `cell_means` gives uint8 (*shape, 3); shape is (H, W)."""
    rows, cols = means.shape[:2]
    smooth: NDArray[np.uint8] = cv2.resize(means, (cols * grid.block, rows * grid.block), interpolation=interpolation)
    top, left = -grid.phase_y % grid.block, -grid.phase_x % grid.block  # how much of the first cell is cut away
    return np.ascontiguousarray(smooth[top : top + shape[0], left : left + shape[1]])


def cells_through(
    rgb: NDArray[np.uint8], grid: Grid, onto: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:  # fmt: skip
    """The cells of a mosaic that was laid on another raster before `rgb`, uint8 (H, W, 3), was cut from it.

    `onto`: (2, 3) affine from pixels of `rgb` to pixels of that raster, pixel centres at integers. The cells may be turned and of
    any size here; the mean of each is what stands at its centre, or at the pixel nearest to it.

    Returns:
        uint8 (rows, cols, 3): every cell that shows in `rgb`; and the (2, 3) affine from pixels of `rgb` to cells.
    """
    height, width = rgb.shape[:2]
    first = np.array([grid.phase_x, grid.phase_y]) + (grid.block - 1) / 2  # the centre of cell (0, 0), x and y
    to_cells = np.column_stack([onto[:, :2], onto[:, 2] - first]) / grid.block
    corners = np.array([(0, 0, 1), (width - 1, 0, 1), (0, height - 1, 1), (width - 1, height - 1, 1)]) @ to_cells.T
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    cells = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True))), axis=-1)  # (rows, cols, 2)
    centres = np.rint((cells - to_cells[:, 2]) @ np.linalg.inv(to_cells[:, :2]).T).astype(int)
    to_cells[:, 2] -= low
    return rgb[centres[..., 1].clip(0, height - 1), centres[..., 0].clip(0, width - 1)], to_cells


def middles(rgb: NDArray[np.uint8], to_cells: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The mean of the middle of each cell, which less than its centre alone shows what a JPEG did: uint8 (*shape, 3).

    `to_cells`: (2, 3) affine from pixels of `rgb`, uint8 (H, W, 3), to cells, the centre of the first one at (0, 0). `shape`: so
    many (rows, cols).
    """
    rows, cols = shape
    matrix = cv2.invertAffineTransform(to_cells)
    matrix[:, 2] += matrix[:, :2] @ np.full(2, 0.5 / SAMPLES - 0.5)  # from samples, SAMPLES a side of a cell
    matrix[:, :2] /= SAMPLES
    seen = cv2.warpAffine(rgb, matrix, (cols * SAMPLES, rows * SAMPLES), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    inner = slice(SAMPLES // 4, SAMPLES - SAMPLES // 4)
    several = seen.reshape(rows, SAMPLES, cols, SAMPLES, 3)[:, inner, :, inner].astype(np.float32)
    return np.asarray(np.rint(several.mean(axis=(1, 3))), np.uint8)


def prior_through(rgb: NDArray[np.uint8], grid: Grid, onto: NDArray[np.float64]) -> NDArray[np.uint8]:
    """As `prior`, for a mosaic that was laid on another raster before, as for `cells_through`."""
    means, to_cells = cells_through(rgb, grid, onto)
    width, height = rgb.shape[1], rgb.shape[0]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    smooth: NDArray[np.uint8] = cv2.warpAffine(means, to_cells, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return smooth


@lru_cache(maxsize=256)
def cells_of(length: int, block: int, phase: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the cells along one axis start, and how many pixels each has. Not to be written to: the cache keeps them."""
    starts = np.arange(phase, length, block, dtype=np.intp)
    if phase:
        starts = np.concatenate([np.zeros(1, dtype=np.intp), starts])
    return starts, np.diff(starts, append=length)


# --- finding the grid


def estimate(rgb: NDArray[np.uint8], blocks: range = range(LEAST_BLOCK, 65)) -> Grid | None:
    """The grid of the mosaic that covers uint8 (H, W, 3), all of it or a part; None where there is none, or hardly a trace.

    `blocks`: the sides of a cell that may be found, LEAST_BLOCK or more; a mosaic of another block may be taken for one of them.
    Where several grids cut the image alike, as they may when fewer than two whole cells fit, it is that of the smallest block.

    A grid's score is how much likelier the edges are as two normal distributions, on its lines and off them, than as one.
    Half the true block has lines without edges, twice the block edges without lines: either widens one of the two.
    """
    if blocks and min(blocks) < LEAST_BLOCK:
        raise ValueError(f"blocks are {LEAST_BLOCK} pixels or more; received {blocks}")
    if not blocks or min(rgb.shape[:2]) < 2 * LEAST_BLOCK:
        return None
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    axes = [_edges(grey), _edges(cv2.transpose(grey))]
    tried = (2, 3, *blocks)  # a photo enlarged pixel by pixel is a mosaic of 2, of which one of 4 would explain a half
    gains = [_gains(edges[0], tried) for edges in axes]
    first = _starts(tried)
    best = np.maximum.reduceat(gains[0], first) + np.maximum.reduceat(gains[1], first)  # (blocks,) at their best phases
    found = int(np.argmax(best))
    block = tried[found]
    phases = [int(np.argmax(gain[first[found] : first[found] + block])) for gain in gains]
    if block not in blocks or not _is_mosaic(axes, block, phases, float(best[found])):
        return None
    return Grid(block, phases[0], phases[1])


def _edges(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The edges between the rows of uint8 (H, W), as (4, H - 1) means over the columns.

    0: grey levels of edges that stand alone, as those of cells do: less what the rows beside have. Each counts 4 at most, so
    that those of the photo do not drown the others. The shares 1: of steep edges that stand alone, 2: of steep edges, 3: of any.
    """
    edges = cv2.absdiff(grey[1:], grey[:-1])
    number = len(edges)
    padded = cv2.copyMakeBorder(edges, 3, 3, 0, 0, cv2.BORDER_CONSTANT)
    near, farther, far = (cv2.max(padded[3 - k : 3 - k + number], padded[3 + k : 3 + k + number]) for k in (1, 2, 3))
    alone = cv2.subtract(edges, near)  # 0 where it would be negative
    steep_alone, steep = (
        cv2.threshold(each, 8, 1, cv2.THRESH_BINARY)[1] for each in (cv2.subtract(alone, cv2.max(farther, far)), edges)
    )
    kinds = cv2.min(alone, 4), steep_alone, steep, cv2.min(edges, 1)
    sums = np.stack([cv2.reduce(each, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0] for each in kinds])
    means: NDArray[np.float64] = sums / grey.shape[1]
    return means


def _starts(blocks: tuple[int, ...]) -> NDArray[np.intp]:
    """Where the phases of each block begin, in a row of all phases of all blocks."""
    return np.cumsum([0, *blocks[:-1]], dtype=np.intp)


@lru_cache(maxsize=32)
def _lattices(number: int, blocks: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of every block its phase that has a line in each of `number` places, (blocks * number,); and the lines of each phase.

    A phase is told by its place in a row of all phases of all blocks. Place 0 lies before row 1.
    """
    phases = [start + np.arange(1, number + 1) % block for start, block in zip(_starts(blocks), blocks, strict=True)]
    return np.concatenate(phases), np.bincount(np.concatenate(phases), minlength=sum(blocks))


def _gains(edges: NDArray[np.float64], blocks: tuple[int, ...]) -> NDArray[np.float64]:
    """`gains` of the edges (n,) for each phase of each block: (phases,)."""
    phases, lines = _lattices(len(edges), blocks)
    squares = np.square(edges)
    on, on_squares = (np.bincount(phases, np.tile(each, len(blocks)), len(lines)) for each in (edges, squares))
    return gains(len(edges), lines, (edges.sum(), squares.sum()), (on, on_squares), edges.max())


def gains(number: int, lines: Any, whole: tuple[Any, Any], on: tuple[Any, Any], highest: Any) -> NDArray[Any]:
    """How much likelier edges are as two normal distributions, on lines and off them, than as one: log likelihoods, 0 or more.

    Of `number` edges, `highest` at most, `lines` lie on lines. `whole`, `on`: the sums of all edges and of those on lines, and
    of their squares. Any shapes that broadcast.
    """
    rest = number - lines
    mean_on, mean_off = on[0] / np.maximum(lines, 1), (whole[0] - on[0]) / rest
    blur = 1e-4 + (0.1 * highest) ** 2  # a variance: the traces of a JPEG's blocks are no reason to split a cell
    variance = np.maximum(whole[1] / number - (whole[0] / number) ** 2, 0) + blur
    off_variance = np.maximum((whole[1] - on[1]) / rest - mean_off**2, 0) + blur
    on_variance = np.maximum(on[1] / np.maximum(lines, 1) - mean_on**2 + blur, off_variance)
    found = 0.5 * (number * np.log(variance) - rest * np.log(off_variance) - lines * np.log(on_variance))
    return np.where(mean_on > mean_off, found, 0.0)


def _is_mosaic(axes: list[NDArray[np.float64]], block: int, phases: list[int], gain: float) -> bool:
    """Whether the best grid is that of a mosaic: not found by chance, nor that of a JPEG's blocks, whose edges are faint.

    The numbers are fitted to real photos with and without mosaics; bench/estimate_grid.py shows what they do.
    """
    on = np.concatenate([np.arange(1, edges.shape[1] + 1) % block == phase for edges, phase in zip(axes, phases, strict=True)])
    if not on.any():
        return False
    (_, alone, _, unequal), (_, alone_off, steep_off, unequal_off) = (
        np.hstack(axes)[:, chosen].mean(axis=1) for chosen in (on, ~on)
    )
    if unequal_off == 0 and gain > 15 and (alone > 0.01 or unequal > 0.4 or (gain > 60 and block != 8)):
        return True  # cells of one value each, all over: no photo is like that
    idle = 0.015 if block == 8 else 0.005  # a share that says nothing; 8 is what a JPEG has
    lift = (alone + idle) / (alone_off + 0.1 * steep_off + idle)
    several = on.sum() >= 5  # fewer lines may well be edges of the photo
    return bool(several and min(gain, 60) * lift**3 > 700)

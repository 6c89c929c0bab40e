"""The cells of a mosaic, and the images that a model of mosaics takes and makes: CELL pixels a cell, wherever and however large
the cells were. To such a model all mosaics are alike; the size of their cells is the size of the photo, no more."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import mosaic_grid, mosaic_resized, priors
from dataset_tools.mosaic_grid import Grid
from dataset_tools.mosaic_resized import Lines
from dataset_tools.zoo.mosaic import cover

CELL = 8  # pixels a side of a cell for a model

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Affine = NDArray[np.float64]  # (2, 3)


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a mosaic on an image."""

    means: Rgb  # (rows, cols, 3): the colour of each
    onto: Affine  # from pixels of the image to cells; the centre of the first pixel, and of the first cell, is (0, 0)
    weights: NDArray[np.uint8] | None = None  # (H, W): how much of the mosaic shows in each pixel; None: 255 everywhere

    @property
    def block(self) -> float:
        """The side of a cell, pixels of the image."""
        return 1 / math.sqrt(abs(float(np.linalg.det(self.onto[:, :2]))))


def of_grid(rgb: Rgb, grid: Grid) -> Cells:
    """The cells of `rgb`, uint8 (H, W, 3), all of it under the mosaic of `grid`."""
    return Cells(mosaic_grid.cell_means(rgb, grid), affine_of(grid))


def affine_of(grid: Grid) -> Affine:
    """From pixels to the cells of `grid`, the first one being that which the border cuts, if it cuts one."""
    first = [phase + (grid.block - 1) / 2 - (grid.block if phase else 0) for phase in (grid.phase_x, grid.phase_y)]
    return np.array([[1.0, 0.0, -first[0]], [0.0, 1.0, -first[1]]]) / grid.block


def recorded(a: Rgb, drawn: Sequence[Mapping[str, Any]]) -> Cells:
    """The cells of `a`, uint8 (H, W, 3), by the last mosaic that `drawn` records. Raises ValueError where it records none."""
    step = priors.last_mosaic(drawn)
    grid = Grid(step["block"], step["phase_y"], step["phase_x"])
    onto = np.array(step["onto"], np.float64) if step.get("space") == "photo" else None
    black, white = (np.full(a.shape, value, np.uint8) for value in (0, 255))
    weights = None if step.get("region", "whole") == "whole" else cover(black, white, step, onto)[..., 0]
    if onto is None:
        return Cells(mosaic_grid.cell_means(a, grid), affine_of(grid), weights)
    means, to_cells = mosaic_grid.cells_through(a, grid, onto)
    return Cells(mosaic_grid.middles(a, to_cells, means.shape[:2]), to_cells, weights)


def estimated(a: Rgb) -> Cells | None:
    """The cells of `a`, uint8 (H, W, 3), by what its pixels tell; None where no mosaic is seen."""
    if grid := mosaic_grid.estimate(a):
        found = of_grid(a, grid)
        shown = priors.shown_in(a, grid, found.means)
        if shown is not None:
            if np.array_equal(mosaic_grid.paint(found.means, grid, (a.shape[0], a.shape[1])), a):
                return found
            resized = _resized(a)
            if resized and _drifts(grid, resized, max(a.shape)):
                return resized
            return found if shown.all() else Cells(found.means, found.onto, 255 * shown.astype(np.uint8))
    return _resized(a)


def _drifts(grid: Grid, resized: Cells, length: int) -> bool:
    """Whether cells of nearly the side of those of `grid` lie off them by a pixel somewhere."""
    away = abs(resized.block - grid.block) / grid.block
    return 1 / length < away < 0.05


def _resized(a: Rgb) -> Cells | None:
    """The cells of a mosaic that was resized since it was laid."""
    lines = mosaic_resized.estimate(a)
    return lines and of_lines(a, lines)


def of_lines(a: Rgb, lines: Lines) -> Cells:
    """The cells of `a`, uint8 (H, W, 3), between `lines`: the means of their middles."""
    firsts = [first - lines.block * math.ceil(first / lines.block) for first in (lines.first_x, lines.first_y)]  # 0 or before
    counts = [math.ceil((length - first) / lines.block) for length, first in zip(a.shape[1::-1], firsts, strict=True)]
    onto = np.array([[1.0, 0.0, 0.5 - firsts[0]], [0.0, 1.0, 0.5 - firsts[1]]]) / lines.block
    onto[:, 2] -= 0.5
    return Cells(mosaic_grid.middles(a, onto, (counts[1], counts[0])), onto)


def even(means: Rgb, stride: int = CELL) -> Rgb:
    """The mosaic of `means`, uint8 (rows, cols, 3), in cells of CELL pixels: uint8 (H, W, 3), both multiples of `stride`.

    The last row and column are repeated where `stride` asks for more.
    """
    more = [-(side * CELL) % stride // CELL for side in means.shape[:2]]
    padded = np.pad(means, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge")
    return np.asarray(np.repeat(np.repeat(padded, CELL, axis=0), CELL, axis=1), np.uint8)


def laid_back(a: Rgb, cells: Cells, restored: Rgb) -> Rgb:
    """`a` with what a model made of its cells where the mosaic lies.

    restored: uint8 (CELL * rows or more, CELL * cols or more, 3), as it came of `even`.
    """
    height, width = a.shape[:2]
    finer = math.ceil(CELL / cells.block - 1e-6)  # what is shrunk is drawn finer first, then averaged
    rows, cols = cells.means.shape[:2]
    matrix = _pixels_of(cells.onto)
    matrix[:, 2] += matrix[:, :2] @ np.full(2, 0.5 / finer - 0.5)
    matrix[:, :2] /= finer
    made = cv2.warpAffine(restored[: CELL * rows, : CELL * cols], matrix, (width * finer, height * finer),
                          flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    made = cv2.resize(made, (width, height), interpolation=cv2.INTER_AREA) if finer > 1 else made
    if cells.weights is None:
        return np.asarray(made, np.uint8)
    share = cells.weights[:, :, None].astype(np.float32) / 255
    return np.asarray(np.rint(a + share * (made.astype(np.float32) - a)), np.uint8)


def restore(
    images: Sequence[Rgb] | Rgb, known: Sequence[Cells | None], stride: int, run: Callable[[Rgb], Rgb], most: int = 8
) -> list[Rgb]:
    """Each of the images, uint8 (H, W, 3), with what a model makes of its cells; where these are None, as it is.

    Args:
        stride: the model takes images whose sides are multiples of it, pixels.
        run: the model, (N, H, W, 3) uint8 -> alike; it is given up to `most` of one size.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    given = {index: (each, even(each.means, stride)) for index, each in enumerate(known) if each is not None}
    for index, (_, image) in given.items():
        places.setdefault(image.shape, []).append(index)
    restored = list(images)
    for indices in places.values():
        for start in range(0, len(indices), most):
            some = indices[start : start + most]
            for index, made in zip(some, run(np.stack([given[each][1] for each in some])), strict=True):
                restored[index] = laid_back(images[index], given[index][0], made)
    return restored


def window(b: Rgb, cells: Cells, side: int, rng: np.random.Generator | None = None) -> tuple[Rgb, Rgb]:
    """(A, B) as a model of mosaics learns from them, each uint8 (side, side, 3): a square of whole cells, and the original there.

    Args:
        b: the original of the image whose cells they are, uint8 (H, W, 3).
        side: pixels, a multiple of CELL. Where fewer cells are whole they are mirrored, A and B alike.
        rng: draws the square; None: the middle one.
    """
    wanted = side // CELL
    first, last = _whole(cells, (b.shape[0], b.shape[1]))
    count = np.minimum(last - first + 1, wanted)  # (rows, cols)
    room = last - first + 1 - count
    at = first + (room // 2 if rng is None else rng.integers(room + 1))
    means = cells.means[at[0] : at[0] + count[0], at[1] : at[1] + count[1]]

    finer = math.ceil(cells.block / CELL - 1e-6)  # as `laid_back`, the other way
    matrix = _inverse(cells.onto) @ np.array([[1 / CELL, 0, at[1] - 0.5 + 0.5 / CELL],
                                              [0, 1 / CELL, at[0] - 0.5 + 0.5 / CELL], [0, 0, 1]])  # fmt: skip
    matrix[:, 2] += matrix[:, :2] @ np.full(2, 0.5 / finer - 0.5)
    matrix[:, :2] /= finer
    shape = count[::-1] * CELL
    drawn = cv2.warpAffine(b, matrix, tuple(int(each) for each in shape * finer), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                           borderMode=cv2.BORDER_REFLECT_101)  # fmt: skip
    drawn = cv2.resize(drawn, tuple(int(each) for each in shape), interpolation=cv2.INTER_AREA) if finer > 1 else drawn
    less = wanted - count
    means = np.pad(means, ((0, less[0]), (0, less[1]), (0, 0)), mode="symmetric")
    drawn = np.pad(drawn, ((0, CELL * less[0]), (0, CELL * less[1]), (0, 0)), mode="symmetric")
    return even(means), np.ascontiguousarray(drawn)


def _whole(cells: Cells, shape: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(row, column) of the first and of the last cell of a rectangle of cells that lies in an image of `shape` (H, W).

    Of a turned mosaic one in the middle, not the largest. An image of less than two cells has one that does not lie in it.
    """
    far = np.array([shape[1], shape[0]]) - 0.5  # x, y
    corners = np.array([(x, y, 1.0) for x in (-0.5, far[0]) for y in (-0.5, far[1])]) @ cells.onto.T  # (4, 2): x, y, in cells
    most = np.array(cells.means.shape[:2]) - 1
    first = np.ceil(corners.min(0) + 0.5 - 1e-6).astype(np.intp)[::-1].clip(0, most)
    last = np.floor(corners.max(0) - 0.5 + 1e-6).astype(np.intp)[::-1].clip(0, most)
    first, last = np.minimum(first, last), np.maximum(first, last)
    back = _inverse(cells.onto)
    while (last - first > 1).all():
        ends = np.array([(x, y, 1.0) for x in (first[1] - 0.5, last[1] + 0.5) for y in (first[0] - 0.5, last[0] + 0.5)]) @ back.T
        if (ends > -0.5 - 1e-3).all() and (ends < far + 1e-3).all():
            break
        first, last = first + 1, last - 1
    return first, last


def _pixels_of(onto: Affine) -> Affine:
    """From pixels of the image to those of `even`: a cell's centre lies in the middle of its CELL pixels."""
    matrix = CELL * onto
    matrix[:, 2] += (CELL - 1) / 2
    return np.asarray(matrix)


def _inverse(onto: Affine) -> Affine:
    """(2, 3): from cells to pixels."""
    return np.asarray(cv2.invertAffineTransform(onto))

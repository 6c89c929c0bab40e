"""What anybody can make of a mosaic: the smooth image between its cells; and which of its cells an image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.mosaic_grid import Grid, between, cell_means, paint, prior, prior_through
from dataset_tools.zoo.mosaic import cover

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB

UNEXPLAINED = 0.06  # of the variance: four times what JPEG quality 60 leaves beside a mosaic's cells
EVEN = 0.3  # edges inside of a mosaic's cell, of those at its borders: between those of a mosaic after JPEG and of a photo


def has_mosaic(drawn: Sequence[Mapping[str, Any]]) -> bool:
    """Whether `recorded` can be made from the records of `degradations.draw`."""
    return bool(_mosaics(drawn))


def last_mosaic(drawn: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The record of the mosaic that was laid last. Raises ValueError where none was."""
    if not (steps := _mosaics(drawn)):
        raise ValueError("no mosaic was recorded")
    return steps[-1]


def recorded(a: Rgb, drawn: Sequence[Mapping[str, Any]]) -> Rgb:
    """The prior of `a`, uint8 (H, W, 3), by the last mosaic that `drawn` records: `a` itself outside of its region.

    Raises:
        ValueError: `drawn` records none (see `has_mosaic`).
    """
    step = last_mosaic(drawn)
    grid = Grid(step["block"], step["phase_y"], step["phase_x"])
    if step.get("space") != "photo":
        return cover(a, prior(a, grid), step)
    onto = np.array(step["onto"], np.float64)
    return cover(a, prior_through(a, grid, onto), step, onto)


def sharpened(a: Rgb, drawn: Sequence[Mapping[str, Any]]) -> Rgb:
    """What a photo editor makes of a mosaic: Lanczos between the cell means, and an unsharp mask of half a cell.

    As `recorded`, but for a mosaic on the photo, of which it gives what `recorded` does, sharpened.
    """
    step = last_mosaic(drawn)
    grid = Grid(step["block"], step["phase_y"], step["phase_x"])
    if step.get("space") == "photo":
        smooth, sigma = recorded(a, drawn), grid.block / (2 * float(np.hypot(*step["onto"][0][:2])))
        onto = np.array(step["onto"], np.float64)
    else:
        smooth, sigma = between(cell_means(a, grid), grid, (a.shape[0], a.shape[1]), cv2.INTER_LANCZOS4), grid.block / 2
        onto = None
    blurred = cv2.GaussianBlur(smooth, (0, 0), sigma)
    return cover(a, np.asarray(cv2.addWeighted(smooth, 1.5, blurred, -0.5, 0), np.uint8), step, onto)


def shown_in(a: Rgb, grid: Grid, means: Rgb) -> NDArray[np.bool_] | None:
    """Where `a`, uint8 (H, W, 3), shows the mosaic of an estimated `grid`, whose cells have `means`: (H, W).

    None where the grid explains nothing of what is there: it is none, or that of a mosaic that was resized since.
    """
    shape = (a.shape[0], a.shape[1])
    cells = paint(means, grid, shape)
    if np.array_equal(cells, a):  # every cell is even
        return np.ones(shape, bool)
    laid = _laid(a, grid)
    shown = paint(np.repeat(laid[:, :, None], 3, axis=-1).astype(np.uint8), grid, shape)[..., 0] > 0
    return shown if _explains(a, cells, shown) else None


def _explains(a: Rgb, cells: Rgb, shown: NDArray[np.bool_]) -> bool:
    """Whether `cells` are what stands in `a` where they are `shown`, (H, W): no coarser grid than that of a resized mosaic."""
    values = a[shown].astype(np.float32)  # (pixels, 3)
    return bool(len(values) and ((values - cells[shown]) ** 2).mean() <= UNEXPLAINED * values.var(axis=0).mean())


def _laid(a: Rgb, grid: Grid) -> NDArray[np.bool_]:
    """Which cells of `grid` are of the mosaic, (rows, cols): even inside, by what stands at their borders, as are most around.

    Evenness alone would take a plain background for a mosaic, and a mosaic after JPEG for none.
    """
    grey = cv2.cvtColor(a, cv2.COLOR_RGB2GRAY)
    rows, columns = (
        np.unique([0, *range(phase, length, grid.block)])
        for phase, length in zip((grid.phase_y, grid.phase_x), grey.shape, strict=True)
    )
    inside, around = _edges(grey, rows, columns)
    inside_turned, around_turned = _edges(cv2.transpose(grey), columns, rows)
    inside, around = inside + inside_turned.transpose(0, 2, 1), around + around_turned.transpose(0, 2, 1)
    even = inside[0] * around[1] <= EVEN * around[0] * inside[1]
    laid = even.astype(np.float32)
    for _ in range(2):
        laid = (cv2.blur(laid, (3, 3), borderType=cv2.BORDER_REPLICATE) > 0.5).astype(np.float32)
    amid = cv2.erode(laid, np.ones((3, 3), np.uint8))
    return np.asarray((laid > 0) & (even | (amid > 0)))  # an uneven cell at the edge of the mosaic shows more than its mean


def _edges(grey: NDArray[np.uint8], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[NDArray[np.int64], ...]:
    """The edges between the rows of uint8 (H, W), inside of the cells that start there and at their borders.

    Each (2, rows, cols): their sum in grey levels, and how many pixels they are of.
    """
    edges = np.zeros_like(grey)
    edges[1:] = cv2.absdiff(grey[1:], grey[:-1])
    heights, widths = np.diff(rows, append=grey.shape[0]), np.diff(columns, append=grey.shape[1])
    whole = np.add.reduceat(np.add.reduceat(edges, rows, axis=0, dtype=np.int64), columns, axis=1)
    above = np.stack([np.add.reduceat(edges[rows], columns, axis=1, dtype=np.int64), np.tile(widths, (len(rows), 1))])
    above[:, 0] = 0  # no edge there
    below = np.concatenate([above[:, 1:], np.zeros_like(above[:, :1])], axis=1)
    return np.stack([whole - above[0], np.outer(heights - 1, widths)]), above + below


def _mosaics(drawn: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [step for step in drawn if step["name"] == "mosaic" and (step.get("space") != "photo" or "onto" in step)]

"""The mosaicked regions of a photo, found in its pixels: cells of one grid, even inside, that stand off from their neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.mosaic_grid import LEAST_BLOCK, Grid
from dataset_tools.mosaic_mask import mask_of, parts_of
from dataset_tools.mosaic_resized import Lines
from dataset_tools.mosaic_windows import MOST_BLOCK, Edges, Floats, Window, edges_of, grid_of, windows_with_grids

Cells = NDArray[np.bool_]  # (R, C), of a grid

STEEP = 8  # grey levels: an edge counts so much at most
LEAST_CELLS = 9  # that show the mosaic beyond doubt
LEAST_AREA = 600  # pixels of them
STRENGTH = 2.0  # grey levels by which the cells of a mosaic stand off from each other, at least
LIFT = 6.5  # how many times that is what there is within them; in the blocks of a JPEG hardly more than 5
LIFT_ELSEWHERE = 4.0  # the same without the strongest line each way, which may be the seam of two photos
FULL = 0.3  # of the convex hull of its cells; the lines between the photos of a contact sheet have up to 0.27
VARIED = 1.5  # times the differences between neighbours: so much a cell varies inside at most, or it is a photo
TAKEN = -2.0  # what a cell tells that is of a region already
ROUNDS = 3
TRIES = 3  # to find a region of a grid
MOST = 100  # regions of a photo
MOST_TIMES = 8  # a mosaic's blocks may be of 128 pixels, of which windows know
FAINT = 0.1  # the edges of lines that are none, of those that are
APART = 0.05  # of the cells of a region: a part that is smaller, and five cells away, is none of it


@dataclass(frozen=True, eq=False)
class Region:
    """A mosaic in a photo."""

    grid: Grid  # on the pixels of the photo
    box: tuple[int, int, int, int]  # top, left, bottom, right, pixels
    mask: NDArray[np.bool_]  # where in the box it lies, (bottom - top, right - left)
    lines: Lines | None = None  # of the photo, where they are not those of `grid`: of a mosaic that was resized


def lines_of(region: Region) -> Lines:
    """The lines of a region, whether it was resized or not."""
    return region.lines or Lines(float(region.grid.block), float(region.grid.phase_y), float(region.grid.phase_x))


class _Lattice(NamedTuple):
    """What the whole cells of a grid show. Edges in grey levels; (R, C) float32."""

    ys: NDArray[np.intp]  # (R + 1,) the first row of each, and of the one after
    xs: NDArray[np.intp]  # (C + 1,)
    above: Floats  # (R + 1, C), the mean edge on each line along each cell
    before: Floats  # (C + 1, R), the same of the columns
    borders: Floats  # the mean edge at the four borders
    fewer: Floats  # as `borders` without the strongest: a cell beside a mosaic has one strong border, too
    within: Floats  # the mean edge inside
    told: Floats  # -1.5 to 1.5: how much this tells for a mosaic, or against; or TAKEN

    def around(self, members: Cells) -> tuple[int, int, int, int]:
        """The top, left, bottom and right of all `members`, pixels."""
        (first, last), (left, right) = _extent(members.any(1)), _extent(members.any(0))
        return int(self.ys[first]), int(self.xs[left]), int(self.ys[last]), int(self.xs[right])


def find_regions(rgb: NDArray[np.uint8]) -> list[Region]:
    """The mosaics of uint8 (H, W, 3) sRGB with blocks of 4 pixels and more, after a JPEG of quality 75 too; the surest first.

    A part that is as even as the photo around it, as in deep shadow, cannot be told; it is taken along where the rest lies about
    it. bench/find_mosaic.py shows how often regions are found, and how often there is none where one is found.
    """
    if min(rgb.shape[:2]) < 3 * LEAST_BLOCK:
        return []
    photo = _Photo(rgb)
    found: list[Region] = []
    windows = list(windows_with_grids(photo.rows, photo.columns))
    for _ in range(ROUNDS):  # a mosaic may hide another one, whose lines are among its own
        before, in_vain, failed = len(found), Counter[Grid](), list[Window]()
        for window in windows:
            if in_vain[window.grid] == TRIES or photo.is_taken(window) or any(_is_left_over(window, each) for each in found):
                continue
            regions = _grown(photo, window)
            found += regions
            for region in regions:
                photo.take(region)
            if not regions:
                in_vain[window.grid] += 1
                failed.append(window)
            if len(found) >= MOST:
                return found[:MOST]
        windows = failed
        if len(found) == before:
            break
    return found


def regions_along(rgb: NDArray[np.uint8], grid: Grid, seed: tuple[int, int, int, int]) -> list[Region]:
    """The mosaic of that grid which shows in `seed` (top, left, bottom, right), or several that nearly touch."""
    photo = _Photo(rgb)
    seen = _seen(photo, grid, seed)
    return _regions_of(photo, grid, seen) if seen else []


class _Photo:
    """The edges of uint8 (H, W, 3), above each pixel and to its left, and what of it is a region already."""

    def __init__(self, rgb: NDArray[np.uint8]):
        self.rgb, self.grey = rgb, grey = rgb, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        self.rows, self.columns = edges_of(grey), np.ascontiguousarray(edges_of(cv2.transpose(grey)).T)
        self.taken = np.zeros_like(grey)
        self._lattices: dict[Grid, _Lattice | None] = {}

    def lattice(self, grid: Grid) -> _Lattice | None:
        if grid not in self._lattices:
            self._lattices[grid] = _lattice(self.rows, self.columns, grid, self.taken)
        return self._lattices[grid]

    def is_taken(self, window: Window) -> bool:
        return bool(self.taken[window.top + window.side // 2, window.left + window.side // 2])

    def take(self, region: Region) -> None:
        top, left, bottom, right = region.box
        self.taken[top:bottom, left:right] |= region.mask
        reach = 2 * region.grid.block
        near = slice(max(0, top - reach), bottom + reach), slice(max(0, left - reach), right + reach)
        self.taken[near] = cv2.dilate(self.taken[near], np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        self._lattices.clear()


def _is_left_over(window: Window, region: Region) -> bool:
    """Whether a window close to a region has a multiple or a part of its grid: that is the region's own, seen once more."""
    one, other = region.grid, window.grid
    small = min(one.block, other.block)
    if one.block == other.block or max(one.block, other.block) % small:
        return False
    if (one.phase_y - other.phase_y) % small or (one.phase_x - other.phase_x) % small:
        return False
    top, left, bottom, right = region.box
    down, across, reach = window.top + window.side, window.left + window.side, 2 * one.block
    return window.top < bottom + reach and down > top - reach and window.left < right + reach and across > left - reach


def _grown(photo: _Photo, window: Window) -> list[Region]:
    """The region that `window` shows a part of, or several that nearly touch; none where it is no mosaic after all."""
    grid = window.grid
    seen = _seen(photo, grid, window.box)
    if seen is None:
        return []
    top, left, bottom, right = box = seen[0].around(seen[1])
    better = grid_of(photo.rows[top:bottom, left:right], photo.columns[top:bottom, left:right], top, left)
    if better and better != grid and (better.block % grid.block == 0 or grid.block % better.block == 0):
        grid, seen = better, _seen(photo, better, box)  # the window may have shown every other line
    if seen and (coarser := _coarser(photo, grid, seen[0].around(seen[1]))):
        grid, seen = coarser, _seen(photo, coarser, box)
    return _regions_of(photo, grid, seen) if seen else []


def _regions_of(photo: _Photo, grid: Grid, seen: tuple[_Lattice, Cells]) -> list[Region]:
    """What lies in the cells that were seen, if that is a mosaic, to the pixel."""
    lattice, members = seen
    if not _is_mosaic(lattice, members, grid.block) or _is_sheet(photo.grey, lattice, members):
        return []
    regions = []
    whole = mask_of(photo.rgb, photo.grey, lattice.ys, lattice.xs, members)
    if not whole.any():
        return []
    for mask in parts_of(whole, max(LEAST_CELLS * grid.block**2, APART * whole.sum())):
        (top, bottom), (left, right) = _extent(mask.any(1)), _extent(mask.any(0))
        mask = mask[top:bottom, left:right]
        regions.append(Region(grid, (top, left, bottom, right), mask))
    return regions


def _coarser(photo: _Photo, grid: Grid, box: tuple[int, int, int, int]) -> Grid | None:
    """The grid of cells larger than windows look for, of whose lines `grid` has some more; None where that is not so."""
    top, left, bottom, right = box
    rows, columns = photo.rows[top:bottom, left:right], photo.columns[top:bottom, left:right]
    down = np.minimum(rows[grid.block :: grid.block], STEEP).mean(1)  # the lines inside: the box begins and ends on others
    across = np.minimum(columns[:, grid.block :: grid.block], STEEP).mean(0)
    for times in range(MOST_TIMES, MOST_BLOCK // grid.block, -1):
        first = [_every(lines, times) for lines in (down, across)]
        if first[0] is not None and first[1] is not None:
            block = grid.block * times
            phases = (top + (first[0] + 1) * grid.block) % block, (left + (first[1] + 1) * grid.block) % block
            return Grid(block, *phases)
    return None


def _every(lines: NDArray[Any], times: int, of: Callable[[NDArray[Any]], Any] = np.mean) -> int | None:
    """The first of the lines, if every so-many-th has nearly all of the edges, (n,), and there are some of the others."""
    if len(lines) < times:
        return None
    first = max(range(times), key=lambda each: float(lines[each::times].mean()))
    others = np.delete(lines, slice(first, None, times))
    return first if of(others) < FAINT * lines[first::times].mean() else None


def _seen(photo: _Photo, grid: Grid, seed: tuple[int, int, int, int]) -> tuple[_Lattice, Cells] | None:
    lattice = photo.lattice(grid)
    members = _members(lattice, seed) if lattice else None
    return (lattice, members) if lattice and members is not None else None


def _extent(some: Any) -> list[int]:
    """The first place that is true, and the one after the last."""
    places = np.flatnonzero(some)
    return [int(places[0]), int(places[-1]) + 1]


def _lattice(rows: Edges, columns: Edges, grid: Grid, taken: NDArray[np.uint8]) -> _Lattice | None:
    ys = np.arange(grid.phase_y, rows.shape[0] + 1, grid.block)
    xs = np.arange(grid.phase_x, rows.shape[1] + 1, grid.block)
    if len(ys) < 3 or len(xs) < 3:
        return None
    (above, between_y), (before, between_x) = _lines(rows, ys, xs), _lines(columns.T, xs, ys)
    four = np.stack([above[:-1], above[1:], before.T[:, :-1], before.T[:, 1:]])
    borders = four.mean(0)
    within = (between_y + between_x.T) / np.float32(2 * grid.block * (grid.block - 1))
    idle = 0.3 if grid.block == 8 else 0.15  # grey levels that say nothing; 8 is what a JPEG has
    energy = borders + within
    told = np.clip(np.log((borders + 0.1) / (within + idle)) - np.log(2), -1.5, 1.5) * energy / (energy + 1)
    told[taken[np.ix_((ys[:-1] + ys[1:]) // 2, (xs[:-1] + xs[1:]) // 2)] > 0] = TAKEN
    return _Lattice(ys, xs, above, before, borders, (four.sum(0) - four.max(0)) / 3, within, told.astype(np.float32))


def _lines(edges: Edges, ys: NDArray[np.intp], xs: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Of the edges between rows: the mean on each line along each cell, (R + 1, C), and the sum between its lines, (R, C)."""
    block = int(ys[1] - ys[0])
    part = cv2.min(np.ascontiguousarray(edges[:, xs[0] : xs[-1]]), STEEP)
    sums = np.add.reduceat(part, np.arange(0, part.shape[1], block), axis=1, dtype=np.int32)  # (H, C)
    lines = ys[ys < len(sums)]  # the last one may be the border of the photo
    on = np.zeros((len(ys), sums.shape[1]), np.float32)
    on[: len(lines)] = sums[lines] / block
    sums[lines] = 0
    between = np.add.reduceat(sums[ys[0] : ys[-1]], np.arange(0, ys[-1] - ys[0], block), axis=0)
    return on, between.astype(np.float32)


def _members(lattice: _Lattice, seed: tuple[int, int, int, int]) -> Cells | None:
    """The cells of the mosaic that shows in `seed` (top, left, bottom, right); those that tell nothing are taken along."""
    told = lattice.told
    middle_y, middle_x = (lattice.ys[:-1] + lattice.ys[1:]) // 2, (lattice.xs[:-1] + lattice.xs[1:]) // 2
    inside = np.outer((middle_y > seed[0]) & (middle_y < seed[2]), (middle_x > seed[1]) & (middle_x < seed[3]))
    smooth = cv2.GaussianBlur(told, (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE)
    some = (smooth > 0.1) & (told > -0.3)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(some.astype(np.uint8), connectivity=4)
    within = np.bincount(labels[inside & some], told[inside & some], count)
    if inside.sum() < 4 or count < 2 or within[1:].max() <= 0:
        return None
    chosen = 1 + int(within[1:].argmax())
    members = labels == chosen
    if lattice.borders[members].mean() < 0.5 * max(STRENGTH, LIFT * lattice.within[members].mean()):
        return None  # hopeless, whatever it is joined with
    for_it = np.bincount(labels.ravel(), np.maximum(told, 0).ravel(), count)
    others = [
        label for label in np.argsort(-for_it)[:30]
        if label not in (0, chosen) and for_it[label] > 1 and stats[label, cv2.CC_STAT_AREA] >= 4
        and not _has_larger_cells(lattice, labels == label)
    ]  # fmt: skip
    while joined := next((label for label in others if _belong_together(members, labels == label, told)), None):
        members |= labels == joined
        others.remove(joined)
    return _without_rim(members, lattice)


def _has_larger_cells(lattice: _Lattice, members: Cells) -> bool:
    """Whether these are parts of the cells of another mosaic, of whose lines the lattice has all and some more."""
    down, across = _inner(lattice.above, members), _inner(lattice.before, members.T)
    most = min(len(down), len(across), 2 * MOST_TIMES) // 2  # each line twice, at least
    return any(
        _every(down, times, np.median) is not None and _every(across, times, np.median) is not None  # at its edge it has others
        for times in range(2, most + 1)
    )


def _inner(edges: Floats, members: Cells) -> NDArray[Any]:
    """Of the mean edges on lines, (R + 1, C): the mean of each line where members, (R, C), lie on both of its sides."""
    both = members[:-1] & members[1:]
    counts = both.sum(1)
    return np.asarray(np.where(both, edges[1:-1], 0).sum(1)[counts > 0] / counts[counts > 0])


def _belong_together(one: Cells, other: Cells, told: Floats) -> bool:
    """Whether what lies between two parts is no larger than they are, and does not tell against a mosaic."""
    both = one | other
    hull = _hull(both)
    between = hull & ~both
    return bool(between.sum() <= 0.6 * hull.sum() and told[between].sum() >= -0.06 * between.sum())


def _hull(members: Cells) -> Cells:
    """The cells in the convex hull of members."""
    ys, xs = np.nonzero(members)
    hull = np.zeros(members.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.stack([xs, ys], 1).astype(np.int32)), 1)
    return hull > 0


def _without_rim(members: Cells, lattice: _Lattice) -> Cells | None:
    """Less those cells at the edge that are the photo's."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    for _ in range(2):
        core = cv2.erode(members.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        usual = np.median(lattice.within[core if core.any() else members])
        uneven = lattice.within > 2.5 * usual + 0.1
        out = members & ~core & (uneven | (lattice.fewer + 0.1 < 1.2 * (lattice.within + 0.15)))
        if not out.any():
            break
        members = members & ~out
        if members.sum() < 4:
            return None
    if not np.median(lattice.within[members]):  # of a file that lost nothing: each cell is one level exactly
        members = _large(members & (lattice.within == 0))
    return members


def _large(members: Cells) -> Cells:
    """Less those few that lie apart: even spots of the photo."""
    near = cv2.dilate(members.astype(np.uint8), np.ones((5, 5), np.uint8))
    count, labels = cv2.connectedComponents(near, connectivity=8)
    cells = np.bincount(labels[members], minlength=count)
    return np.asarray((cells >= APART * cells.max())[labels] & members)


def _is_mosaic(lattice: _Lattice, members: Cells, block: int) -> bool:
    sure = members & (lattice.told > 0) & (lattice.borders > 0.4)
    if sure.sum() < LEAST_CELLS or sure.sum() * block**2 < LEAST_AREA or min(members.any(1).sum(), members.any(0).sum()) < 2:
        return False
    strength, within = lattice.borders[members].mean(), lattice.within[members].mean()
    far = (cv2.dilate(members.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0) & (lattice.told > TAKEN)
    alike = far & (lattice.borders > 1.5 * lattice.within)
    around = np.median(lattice.borders[alike]) if alike.sum() > 0.25 * far.sum() > 5 else 0  # the grid of a JPEG goes on there
    return bool(
        strength >= max(STRENGTH, 2.2 * around, LIFT * (within + 0.15))
        and _elsewhere(lattice, members) >= LIFT_ELSEWHERE * (within + 0.15)
    )


def _elsewhere(lattice: _Lattice, members: Cells) -> float:
    """The mean edge at the borders of members, (R, C), without the strongest line each way."""
    sums, counts = 0.0, 0
    for edges, cells in ((lattice.above, members), (lattice.before, members.T)):
        beside = np.zeros(edges.shape, bool)
        beside[:-1] |= cells
        beside[1:] |= cells
        lines, number = np.where(beside, edges, 0).sum(1, dtype=np.float64), beside.sum(1)
        others = np.arange(len(lines)) != lines.argmax()
        sums, counts = sums + lines[others].sum(), counts + int(number[others].sum())
    return sums / counts


def _is_sheet(grey: NDArray[np.uint8], lattice: _Lattice, members: Cells) -> bool:
    """Whether members, (R, C), are the photos of a contact sheet, or the lines between them."""
    if members.sum() < FULL * _hull(members).sum():
        return True
    (top, bottom), (left, right) = _extent(members.any(1)), _extent(members.any(0))
    rows = [grey[y:end, lattice.xs[left] : lattice.xs[right]] for y, end in pairwise(lattice.ys[top : bottom + 1])]
    cells = [row.reshape(len(row), right - left, len(row)) for row in rows]
    means, spread = np.array([each.mean((0, 2)) for each in cells]), np.array([each.std((0, 2)) for each in cells])
    part = members[top:bottom, left:right]
    down, across = np.abs(np.diff(means, axis=0)), np.abs(np.diff(means, axis=1))
    differences = np.concatenate([down[part[1:] & part[:-1]], across[part[:, 1:] & part[:, :-1]]])
    return bool(spread[part].mean() > VARIED * (differences.mean() if len(differences) else 0))

"""The mosaics of a whole photo: what a model sees around each, and how what it makes is laid into the photo."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from dataset_tools import image_io, resources
from dataset_tools.cells import CELL, even
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from dataset_tools.mosaic_regions import Region, find_regions
from pipelines.regions import CONTEXT, masked_means, pasted, restored_around
from pipelines.whole_image import TILE
from tests.conftest import some
from tests.test_mosaic_regions import box, ellipse, jpeg, laid, overlap, photo

STRIDE = 32


def region(grid: Grid, top: int, left: int, bottom: int, right: int) -> Region:
    return Region(grid, (top, left, bottom, right), np.ones((bottom - top, right - left), bool))


class Seen:
    """A model of mosaics that makes nothing of what it sees, and remembers it."""

    def __init__(self) -> None:
        self.given: list[np.ndarray] = []

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        assert batch.dtype == np.uint8
        assert (batch.shape[1] % STRIDE, batch.shape[2] % STRIDE) == (0, 0)
        self.given.append(batch)
        return batch


class Knows:
    """A model of mosaics that knows the original, uint8 (H, W, 3), of the one region that it will be given; in other colours."""

    def __init__(self, original: np.ndarray, shown: np.ndarray, found: Region, shift: tuple[int, int, int] = (0, 0, 0)):
        top, left, area = restored_around(shown, found, lambda batch: batch, STRIDE)
        block, cut = found.grid.block, original[top : top + area.shape[0], left : left + area.shape[1]]
        before = [(start - phase) % block for start, phase in ((top, found.grid.phase_y), (left, found.grid.phase_x))]
        after = [-(length + more) % block for length, more in zip(area.shape[:2], before, strict=True)]
        whole = np.pad(cut, (*zip(before, after, strict=True), (0, 0)), mode="edge")
        rows, cols = (side // block * CELL for side in whole.shape[:2])
        method = cv2.INTER_AREA if block > CELL else cv2.INTER_CUBIC
        self.known = cv2.resize(whole, (cols, rows), interpolation=method).astype(int) + np.array(shift)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        more = [given - known for given, known in zip(batch.shape[1:3], self.known.shape[:2], strict=True)]
        assert max(*batch.shape[1:3]) <= TILE
        assert 0 <= min(more) <= max(more) < STRIDE
        return np.pad(self.known, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge").clip(0, 255).astype(np.uint8)[None]


def put(shown: np.ndarray, found: Region, run: Seen | Knows, strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(the photo with the region restored, how much of each pixel is the model's)."""
    top, left, made = restored_around(shown, found, run, STRIDE)
    rows, columns, pixels, weights = pasted(shown, found, (top, left), made, strength)
    after, share = shown.copy(), np.zeros(shown.shape[:2], np.float32)
    after[rows, columns], share[rows, columns] = pixels, weights
    return after, share


def away(image: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    return float(np.abs(image[where].astype(int) - other[where]).mean())


def outside_of(found: Region, shape: tuple[int, ...]) -> np.ndarray:
    """All but the region and two pixels around it, where the blend ends."""
    mask, (top, left, bottom, right) = np.zeros(shape[:2], np.uint8), found.box
    mask[top:bottom, left:right] = found.mask
    return cv2.dilate(mask, np.ones((5, 5), np.uint8)) == 0


def test_the_mean_of_a_cut_cell_is_that_of_its_mosaic() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (37, 53, 3)).astype(np.uint8)
    mask = rng.random((37, 53)) < 0.3
    mask[:9, :8] = False
    grid = Grid(8, 3, 5)
    means = masked_means(rgb, mask, grid)
    rows, columns = [0, *range(3, 37, 8), 37], [0, *range(5, 53, 8), 53]
    assert means.shape == (len(rows) - 1, len(columns) - 1, 3)
    for i, (top, bottom) in enumerate(pairwise(rows)):
        for j, (left, right) in enumerate(pairwise(columns)):
            cell, inside = rgb[top:bottom, left:right], mask[top:bottom, left:right]
            expected = cell[inside] if inside.any() else cell.reshape(-1, 3)
            assert np.abs(means[i, j] - expected.mean(0)).max() <= 0.5 + 1e-6
    assert np.array_equal(masked_means(rgb, np.ones((37, 53), bool), grid), cell_means(rgb, grid))


def test_the_model_sees_the_cells_and_those_of_the_photo_around_them() -> None:
    rgb, grid = photo(0, 512), Grid(16, 3, 9)
    shown = laid(rgb, box(rgb, 170, 170, 342, 342), grid)  # cuts the cells at its edge
    seen = Seen()
    top, left, made = restored_around(shown, region(grid, 170, 170, 342, 342), seen, STRIDE)
    ((image,),) = seen.given
    assert ((top - grid.phase_y) % 16, (left - grid.phase_x) % 16) == (0, 0)
    assert (made.shape[0] % 16, made.shape[1] % 16) == (0, 0)
    assert 170 - (CONTEXT + 1) * 16 < top <= 170 - CONTEXT * 16
    assert 342 + CONTEXT * 16 <= left + made.shape[1] < 342 + (CONTEXT + 1) * 16
    rows, cols = made.shape[0] // 16, made.shape[1] // 16
    assert np.array_equal(image, even(cell_means(image, Grid(CELL))))
    given = cell_means(image, Grid(CELL))[:rows, :cols]
    original = cell_means(rgb[top : top + made.shape[0], left : left + made.shape[1]], Grid(16))
    assert np.array_equal(given, original)  # also of the cells of which a part only shows the mosaic
    (clean,) = (seen := Seen())(even(masked_means(jpeg(shown)[top:][: rows * 16, left:][:, : cols * 16],
                                                  np.ones((rows * 16, cols * 16), bool), Grid(16)), STRIDE)[None])  # fmt: skip
    assert np.abs(clean.astype(int) - image).mean() < 1.5  # the traces of a JPEG are gone


def test_a_large_region_shows_more_of_the_photo_around_it() -> None:
    rgb, seen = photo(0, 1600), Seen()
    top, left, made = restored_around(rgb, region(Grid(10), 400, 400, 1200, 800), seen, STRIDE)
    assert (top, left, made.shape) == (200, 200, (1200, 800, 3))  # 20 cells, a quarter of the 80 that it is high
    assert restored_around(rgb, region(Grid(10), 0, 20, 1600, 60), seen, STRIDE)[2].shape == (1600, 460, 3)


@pytest.mark.slow
def test_what_is_larger_than_a_tile_is_seen_in_tiles() -> None:
    rgb, seen = photo(0, 1200), Seen()
    grid = Grid(5, 3, 4)
    made = restored_around(laid(rgb, np.ones((1200, 1200), bool), grid), region(grid, 0, 0, 1200, 1200), seen, STRIDE)[2]
    assert made.shape == rgb.shape
    assert {each.shape[1:] for each in seen.given} == {(TILE, TILE, 3)}
    for tile in np.concatenate(seen.given):
        assert np.array_equal(tile, even(cell_means(tile, Grid(CELL))))  # no tile cuts a cell
    assert np.abs(made.astype(int) - laid(rgb, np.ones((1200, 1200), bool), grid)).mean() < 3


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (3, 7))])
def test_what_is_pasted_fits_and_nothing_changes_outside(number: int) -> None:
    """With a model that knows the original, shifted in colour, the photo comes back."""
    rgb = photo(number)
    for truth, grid in ((ellipse(rgb), Grid(16, 3, 9)), (box(rgb, 0, 100, 300, 500), Grid(24, 0, 5))):
        shown = laid(rgb, truth, grid)
        (found,) = find_regions(shown)
        knows = Knows(rgb, shown, found, (9, -6, 4))
        after, share = put(shown, found, knows)
        assert np.array_equal(after[share == 0], shown[share == 0])
        assert not share[outside_of(found, rgb.shape)].any()
        assert away(after, rgb, truth) < 0.45 * away(shown, rgb, truth)
        assert np.abs((after[truth].astype(float) - rgb[truth]).mean(0)).max() < 3  # the colours are those around it
        assert np.array_equal(put(shown, found, knows, strength=0.0)[0], shown)


@pytest.mark.parametrize("block", some([5, 40], [4, 8, 100]))
def test_cells_of_any_size_are_restored(block: int) -> None:
    """By a model that knows the original, up to what eight pixels a cell can hold."""
    rgb = photo(2, {40: 800, 100: 1200}.get(block, 220))
    side, grid = rgb.shape[0], Grid(block, block // 2, block // 3)
    truth = box(rgb, side // 4, side // 4, side * 3 // 4, side * 3 // 4)
    shown = laid(rgb, truth, grid)
    (found,) = find_regions(shown)
    assert found.grid == grid
    after, share = put(shown, found, Knows(rgb, shown, found))
    outside = outside_of(found, rgb.shape)
    assert np.array_equal(after[outside], shown[outside])
    assert overlap(found, truth) > 0.98
    assert (share[truth] == 1).mean() > 0.98
    assert away(after, rgb, truth) < (0.25 if block <= CELL else 0.45) * away(shown, rgb, truth)


@pytest.mark.parametrize("corner", ["top left", "bottom right", "all"])
def test_a_region_that_the_border_of_the_photo_cuts(corner: str) -> None:
    rgb, grid = photo(5, 500), Grid(20, 13, 6)
    truth = {"top left": box(rgb, 0, 0, 210, 150), "bottom right": box(rgb, 300, 290, 500, 500),
             "all": np.ones((500, 500), bool)}[corner]  # fmt: skip
    shown = laid(rgb, truth, grid)
    (found,) = find_regions(shown)
    after, _ = put(shown, found, Knows(rgb, shown, found))
    outside = outside_of(found, rgb.shape)
    assert np.array_equal(after[outside], shown[outside])
    assert overlap(found, truth) > 0.98
    assert away(after, rgb, truth) < 0.45 * away(shown, rgb, truth)
    border = truth & ~cv2.copyMakeBorder(np.ones((480, 480), np.uint8), 10, 10, 10, 10, cv2.BORDER_CONSTANT).astype(bool)
    assert away(after, rgb, border) < 0.5 * away(shown, rgb, border)


def test_what_the_model_made_is_told_and_two_pixels_around_it() -> None:
    rgb, black = np.zeros((200, 300, 3), np.uint8), np.zeros((200, 300, 3), np.uint8)
    rows, columns, _, weights = pasted(rgb, region(Grid(16), 40, 50, 104, 146), (0, 0), black, strength=0.5)
    assert (rows, columns) == (slice(24, 120), slice(34, 162))
    assert (weights[16:-16, 16:-16] == 0.5).all()
    assert (weights[14:-14, 20:-20] == 0.5).all()
    assert (weights[:14] == 0).all()
    assert (weights[:, :14] == 0).all()
    rows, columns, _, weights = pasted(rgb[:64, :64], region(Grid(16), 0, 0, 64, 64), (0, 0), black[:64, :64])
    assert (rows, columns, weights.min()) == (slice(0, 64), slice(0, 64), 1)


def test_a_region_at_the_corner_of_a_small_photo() -> None:
    rgb = image_io.read(sorted(resources.path("samples").glob("*.jpg"))[1]).rgb8[250:410, 300:500]
    truth = box(rgb, 0, 0, 96, 110)
    shown = np.where(truth[:, :, None], paint(cell_means(rgb, Grid(8)), Grid(8), (160, 200)), rgb)
    (found,) = find_regions(shown)
    after, _ = put(shown, found, Seen())
    outside = outside_of(found, rgb.shape)
    assert np.array_equal(after[outside], shown[outside])
    assert away(after, shown, truth) < 3  # made of nothing but the cells, it is the mosaic, but for its edge

"""The cells of a mosaic, recorded or seen: as a model is given them, and laid back where they were."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from dataset_tools import cells, degradations, image_io, metrics, resources
from dataset_tools.cells import CELL, Cells, affine_of, estimated, even, laid_back, of_grid, recorded, window
from dataset_tools.degradations import parse
from dataset_tools.degrade_crop import degrade_anew
from dataset_tools.mosaic_grid import Grid, cell_means, paint, prior
from dataset_tools.zoo.mosaic import cover, region_weights
from tests.conftest import some

SIDE = 256
ELLIPSE = {"region": "ellipse", "at": [128.0, 120.0, 60.0, 80.0, 0.0], "feather": 6.0}
FACE = {"region": "face", "at": [120.0, 130.0, 70.0, 60.0, 0.0], "feather": 0.0}
GRIDS = [Grid(6, 2, 5), Grid(6), Grid(8), Grid(8, 3, 5), Grid(12, 5, 7), Grid(16, 3, 1), Grid(24, 23, 11), Grid(40, 17, 3)]


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    paths = sorted(resources.path("samples").glob("*.jpg"))[::4]
    return [cv2.resize(image_io.read(path).rgb8, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for path in paths]


def record(grid: Grid, **more: Any) -> dict[str, Any]:
    return {"name": "mosaic", "block": grid.block, "phase_y": grid.phase_y, "phase_x": grid.phase_x, **more}


def mosaic(rgb: np.ndarray, grid: Grid) -> np.ndarray:
    return paint(cell_means(rgb, grid), grid, (rgb.shape[0], rgb.shape[1]))


def after(a: np.ndarray, step: str) -> np.ndarray:
    drawn = degradations.draw([degradations.parse(step)], np.random.default_rng(0), (SIDE, SIDE))
    return degradations.apply(a, drawn)


def bicubic(image: np.ndarray) -> np.ndarray:
    """What a model without a clue makes of `even`: the smooth image between the cells."""
    means = image[CELL // 2 :: CELL, CELL // 2 :: CELL]
    return np.asarray(cv2.resize(means, image.shape[1::-1], interpolation=cv2.INTER_CUBIC))


def smooth(a: np.ndarray, known: Cells | None) -> np.ndarray:
    """`a` with the smooth image between its cells laid back."""
    return a if known is None else laid_back(a, known, bicubic(even(known.means)))


def away(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(image.astype(int) - other)


def eroded(mask: np.ndarray, by: int) -> np.ndarray:
    """Where all of `mask`, (H, W), holds within `by` pixels."""
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0


# --- to a model and back


def test_cells_are_squares_of_eight_pixels_from_the_corner_on() -> None:
    means = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert np.array_equal(even(means), paint(means, Grid(CELL), (40, 56)))
    whole = even(means, 32)
    assert whole.shape == (64, 64, 3)
    assert np.array_equal(whole[:40, :56], even(means))
    assert np.array_equal(cell_means(whole, Grid(CELL))[5:, :7], np.repeat(means[-1:], 3, axis=0))  # the last row, repeated
    assert (whole[:, 56:] == whole[:, 48:56]).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_affine_puts_each_pixel_in_its_cell(grid: Grid) -> None:
    ys, xs = np.mgrid[:70, :50]
    found = np.rint(np.stack([xs, ys, np.ones_like(xs)], axis=-1) @ affine_of(grid).T).astype(int)  # (70, 50, 2): column, row
    shape = cell_means(np.zeros((70, 50, 3), np.uint8), grid).shape[:2]
    told = paint(np.dstack(np.meshgrid(*(np.arange(side, dtype=np.uint8) for side in shape[::-1]))), grid, (70, 50))
    assert np.array_equal(found, told)
    assert of_grid(np.zeros((70, 50, 3), np.uint8), grid).block == pytest.approx(grid.block)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_smooth_image_between_cells_comes_back_as_the_bicubic_baseline(photos: list[np.ndarray], grid: Grid) -> None:
    for rgb in (photos[0], photos[1][:200, :150]):
        a = mosaic(rgb, grid)
        known = of_grid(a, grid)
        assert np.array_equal(known.means, cell_means(rgb, grid))
        made = bicubic(even(known.means))
        back = laid_back(a, known, made)
        assert back.dtype == np.uint8
        off = away(back, prior(a, grid))
        assert off.mean() < 0.5
        assert off.max() <= 4
        assert grid.block != CELL or off.max() == 0  # nothing is to be resized
        added = [(0, of - side) for side, of in zip(made.shape[:2], even(known.means, 32).shape[:2], strict=True)]
        assert np.array_equal(laid_back(a, known, np.pad(made, (*added, (0, 0)))), back)  # what a stride adds is left out


def test_flat_cells_come_back_as_the_mosaic(photos: list[np.ndarray]) -> None:
    """All of them where they keep their size; else all but the pixels beside the lines of the grid."""
    for grid in GRIDS[2:]:
        a = mosaic(photos[2], grid)
        known = of_grid(a, grid)
        back, beside = laid_back(a, known, even(known.means)), grid.block // 4 + 1
        flat = np.ones((SIDE, SIDE), bool)
        if grid.block > CELL:
            ys, xs = ((np.arange(SIDE) - phase + beside) % grid.block < 2 * beside for phase in (grid.phase_y, grid.phase_x))
            flat[ys], flat[:, xs] = False, False
        assert flat.mean() > 0.1
        assert np.array_equal(back[flat], a[flat])


def test_where_nothing_of_the_mosaic_shows_nothing_is_touched(photos: list[np.ndarray]) -> None:
    a, grid = photos[3], Grid(12, 5, 7)
    weights = np.zeros((SIDE, SIDE), np.uint8)
    assert np.array_equal(smooth(a, Cells(cell_means(a, grid), affine_of(grid), weights)), a)
    weights[50:90, 60:130] = np.random.default_rng(0).integers(0, 256, (40, 70))
    whole, part = (smooth(a, Cells(cell_means(a, grid), affine_of(grid), each)) for each in (None, weights))
    assert np.array_equal(part[weights == 0], a[weights == 0])
    assert np.array_equal(part[weights == 255], whole[weights == 255])
    wanted = a + weights[..., None] / 255 * (whole.astype(float) - a)
    assert np.abs(part - wanted).max() <= 0.5 + 1e-3


# --- by a record


def test_the_cells_of_a_record_are_those_of_its_last_mosaic(photos: list[np.ndarray]) -> None:
    a, grid = photos[0], Grid(12, 5, 7)
    found = recorded(a, [{"name": "noise", "sigma": 1.0}, record(Grid(30)), record(grid), {"name": "grayscale"}])
    assert np.array_equal(found.means, cell_means(a, grid))
    assert np.array_equal(found.onto, affine_of(grid))
    assert found.weights is None
    assert recorded(a, [record(grid, region="whole")]).weights is None
    for drawn in ([], [{"name": "grayscale"}], [record(Grid(8), space="photo")]):  # the last does not say where it was laid
        with pytest.raises(ValueError, match="no mosaic was recorded"):
            recorded(a, drawn)


@pytest.mark.parametrize("region", [ELLIPSE, FACE], ids=["ellipse", "face"])
def test_a_region_changes_only_its_own_pixels(photos: list[np.ndarray], region: dict[str, Any]) -> None:
    for rgb in photos[:3]:
        for grid in (Grid(8, 3, 5), Grid(12), Grid(20, 7, 2)):
            step = record(grid, **region)
            a = degradations.apply(rgb, [step])
            known, weights = recorded(a, [step]), region_weights(step, (SIDE, SIDE))
            assert weights is not None
            assert np.array_equal(known.weights, weights)
            found = smooth(a, known)
            assert np.array_equal(found[weights == 0], a[weights == 0])
            assert away(found, cover(a, prior(a, grid), step)).mean() < 0.3
            assert metrics.psnr(found, rgb) > metrics.psnr(a, rgb)


TURNED = cv2.getRotationMatrix2D((300, 290), 17, 0.6) - np.array([[0, 0, 300 - 128.0], [0, 0, 290 - 130.0]])


def cut(rgb: np.ndarray, to_crop: np.ndarray) -> np.ndarray:
    """A crop of SIDE pixels."""
    finer = to_crop * 4
    finer[:, 2] += 1.5
    large = cv2.warpAffine(rgb, finer, (4 * SIDE, 4 * SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("to_crop", [np.array([[0.5, 0, -20.0], [0, 0.5, -11.0]]), TURNED], ids=["smaller", "turned"])
def test_a_mosaic_on_the_photo_is_found_through_the_affine_of_its_record(to_crop: np.ndarray) -> None:
    paths = sorted(resources.path("samples").glob("*.jpg"))
    for path, grid in zip(paths[:3], (Grid(24, 4, 9), Grid(31, 30, 0), Grid(48, 11, 20)), strict=True):
        photo = cv2.resize(image_io.read(path).rgb8, (600, 600), interpolation=cv2.INTER_AREA)
        step = record(grid, space="photo", onto=cv2.invertAffineTransform(to_crop).tolist(), raster=[0, 0, 600, 600])
        b, a = cut(photo, to_crop), cut(mosaic(photo, grid), to_crop)
        known = recorded(a, [step])
        assert known.weights is None
        assert known.block == pytest.approx(grid.block * np.hypot(*to_crop[0, :2]))
        down, right = np.rint(affine_of(grid)[:, 2] - known.onto @ [*to_crop[:, 2], 1])[::-1].astype(int)  # of its first cell
        rows, cols = np.nonzero(whole_cells(known))
        assert len(rows) > 30
        assert away(known.means[rows, cols], cell_means(photo, grid)[rows + down, cols + right]).max() <= 3
        found = smooth(a, known)
        assert metrics.psnr(found, b) > metrics.psnr(a, b) + 0.5
        part = recorded(a, [step | {**ELLIPSE, "at": [250.0, 250.0, 120.0, 150.0, 0.0]}])
        assert part.weights is not None
        assert 0.05 < (part.weights == 255).mean() < 0.6
        assert np.array_equal(smooth(a, part)[part.weights == 0], a[part.weights == 0])
        assert np.array_equal(smooth(a, part)[part.weights == 255], found[part.weights == 255])


def whole_cells(known: Cells) -> np.ndarray:
    """(rows, cols): which cells lie in a crop of SIDE pixels with all of their corners."""
    rows, cols = np.mgrid[: known.means.shape[0], : known.means.shape[1]]
    inside = np.ones(rows.shape, bool)
    for dx in (-0.5, 0.5):
        for dy in (-0.5, 0.5):
            at = np.stack([cols + dx, rows + dy, np.ones_like(cols)], axis=-1) @ cv2.invertAffineTransform(known.onto).T
            inside &= ((at > 0) & (at < SIDE - 1)).all(-1)
    return inside


# --- by the pixels


@pytest.mark.parametrize("block", [6, 8, 11, 16, 24, 32])
def test_of_a_clean_mosaic_the_pixels_tell_what_the_record_does(photos: list[np.ndarray], block: int) -> None:
    for number, rgb in enumerate(photos):
        phase_y, phase_x = (int(each) for each in np.random.default_rng((block, number)).integers(block, size=2))
        step = record(Grid(block, phase_y, phase_x))
        a = degradations.apply(rgb, [step])
        found, wanted = estimated(a), recorded(a, [step])
        assert found is not None
        assert np.array_equal(found.means, wanted.means), (number, step)
        assert np.array_equal(found.onto, wanted.onto)
        assert found.weights is None


def test_a_photo_without_a_mosaic_has_no_cells(photos: list[np.ndarray]) -> None:
    for rgb in photos:
        assert estimated(rgb) is None
        assert estimated(after(rgb, "jpeg:quality=50")) is None
    for shape in ((1, 1), (4, 300), (7, 7)):
        assert estimated(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)) is None


@pytest.mark.parametrize("step", some(["jpeg:quality=75"], ["jpeg:quality=95", "noise:sigma=2"]))
def test_what_a_file_does_to_a_mosaic_costs_little(photos: list[np.ndarray], step: str) -> None:
    """The smooth image stays within 0.2 dB of that by the record, and is worth more than the mosaic itself."""
    for rgb in photos:
        for laid in (record(Grid(8, 3, 5)), record(Grid(16, 3, 5))):
            a = after(degradations.apply(rgb, [laid]), step)
            found = metrics.psnr(smooth(a, estimated(a)), rgb)
            assert found > metrics.psnr(smooth(a, recorded(a, [laid])), rgb) - 0.2
            assert found > metrics.psnr(a, rgb) + 0.3


@pytest.mark.parametrize("region", [ELLIPSE, FACE], ids=["ellipse", "face"])
@pytest.mark.parametrize("step", [None, "jpeg:quality=85"])
def test_outside_of_a_region_nothing_is_touched(photos: list[np.ndarray], region: dict[str, Any], step: str | None) -> None:
    """Up to the cells that its soft edge crosses; a plain background counts as outside, too."""
    changed, gains, most = [], [], []
    for rgb in photos:
        for block in (8, 12):
            laid = record(Grid(block, 3, 5), **region)
            a = degradations.apply(rgb, [laid])
            a = after(a, step) if step else a
            known, weights = estimated(a), region_weights(laid, (SIDE, SIDE))
            assert weights is not None
            given = smooth(a, known)
            changed.append(away(given, a)[eroded(weights == 0, 2 * block)].mean())
            if known is not None:  # else the grid was not found, as it may not be in few cells
                gains.append(metrics.psnr(given, rgb) - metrics.psnr(a, rgb))
                most.append(metrics.psnr(smooth(a, recorded(a, [laid])), rgb) - metrics.psnr(a, rgb))
            if step is None and region is ELLIPSE:
                inside = eroded(weights == 255, 2 * block)
                assert inside.sum() > 1000
                assert np.array_equal(given[inside], smooth(a, recorded(a, [laid]))[inside])
    assert max(changed) < 0.1  # grey levels
    assert np.mean(changed) < 0.01
    assert np.mean(gains) > 0.5 * np.mean(most) > 0.1


# --- several images


def test_images_go_to_the_model_by_their_size_and_come_back_in_order(photos: list[np.ndarray]) -> None:
    given: list[tuple[int, ...]] = []

    def inverse(batch: np.ndarray) -> np.ndarray:
        given.append(batch.shape)
        return 255 - batch

    grids = [Grid(8), None, Grid(16), Grid(8), Grid(16, 3, 3), None, Grid(8)]
    images = [photo if grid is None else mosaic(photo, grid) for photo, grid in zip([*photos, photos[0]], grids, strict=True)]
    known = [grid and of_grid(image, grid) for image, grid in zip(images, grids, strict=True)]
    restored = cells.restore(images, known, 32, inverse, most=2)
    assert given == [(2, 256, 256, 3), (1, 256, 256, 3), (1, 128, 128, 3), (1, 160, 160, 3)]  # 17 cells, and 3 more
    assert [image is other for image, other in zip(restored, images, strict=True)] == [grid is None for grid in grids]
    for image, a, each in zip(restored, images, known, strict=True):
        assert each is None or np.array_equal(image, laid_back(a, each, 255 - even(each.means)))
    assert np.array_equal(restored[0], 255 - images[0])
    assert cells.restore(images, [None] * len(images), 32, inverse) == images
    assert len(given) == 4


# --- for training


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_original_in_a_window_has_the_cells_as_its_means(photos: list[np.ndarray], grid: Grid) -> None:
    side = 128 if grid.block <= CELL else 64
    for number, b in enumerate(photos):
        known = of_grid(mosaic(b, grid), grid)
        for rng in (None, np.random.default_rng(number)):
            a, original = window(b, known, side, rng)
            assert a.shape == original.shape == (side, side, 3)
            means = cell_means(a, Grid(CELL))
            assert np.array_equal(a, even(means))
            off = away(cell_means(original, Grid(CELL)), means)
            assert off.mean() < 0.4
            assert np.quantile(off, 0.99) <= (1 if grid.block >= CELL else 2)  # what is enlarged is not quite the same
            assert metrics.psnr(bicubic(a), original) > metrics.psnr(a, original)


def test_a_window_is_a_square_of_whole_cells_in_the_middle_or_drawn(photos: list[np.ndarray]) -> None:
    b, grid = photos[0], Grid(8, 3, 5)
    known = of_grid(b, grid)
    a, original = window(b, known, 64)
    assert np.array_equal(original, b[91:155, 93:157])  # 31 cells from 3 and 5 on, of which 11 to 18
    assert np.array_equal(a, mosaic(b, grid)[91:155, 93:157])
    places = set()
    for seed in range(100):
        a, original = window(b, known, 64, np.random.default_rng(seed))
        again = window(b, known, 64, np.random.default_rng(seed))
        assert np.array_equal(a, again[0])
        assert np.array_equal(original, again[1])
        corners = [(y, x) for y in range(3, 193, 8) for x in range(5, 193, 8)]
        ((top, left),) = [(y, x) for y, x in corners if np.array_equal(b[y : y + 64, x : x + 64], original)]
        assert np.array_equal(a, mosaic(b, grid)[top : top + 64, left : left + 64])
        places.add((top, left))
    assert (min(places)[0], max(places)[0]) == (3, 187)  # of the 31 cells that are whole the first, and the last but seven
    assert len({x for _, x in places}) > 20


def test_few_cells_are_mirrored(photos: list[np.ndarray]) -> None:
    grid = Grid(40, 7, 16)
    known = of_grid(photos[1], grid)  # 6 whole cells from 7 and from 16 on
    a, b = window(photos[1], known, 128, np.random.default_rng(0))
    assert np.array_equal(a[:48, :48], even(known.means[1:7, 1:7]))
    for image in (a, b):
        assert np.array_equal(image[48:96], image[:48][::-1])
        assert np.array_equal(image[96:], image[:32])
        assert np.array_equal(image[:, 48:96], image[:, :48][:, ::-1])
    part = cv2.resize(photos[1][7:247, 16:256], (48, 48), interpolation=cv2.INTER_AREA)
    assert away(b[:48, :48], part).max() <= 6


@pytest.mark.parametrize("shape", [(10, 10), (16, 16), (20, 33), (64, 64), (30, 100)])
def test_an_image_of_few_cells_or_less_than_one_has_a_window_too(shape: tuple[int, int]) -> None:
    b = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    for block in (16, 60, 100):
        for phase in range(0, block, 5):
            for rng in (None, np.random.default_rng(phase)):
                a, original = window(b, of_grid(b, Grid(block, phase, block - 1 - phase)), 64, rng)
                assert a.shape == original.shape == (64, 64, 3)


def test_a_window_of_a_mosaic_on_the_photo(photos: list[np.ndarray]) -> None:
    """Of a crop that was made smaller, or larger, after the mosaic was laid."""
    for seed, b in enumerate(photos):
        a, drawn = degrade_anew([parse("mosaic:block=6..20,space=photo,phase=random")], np.random.default_rng(seed), b)
        known = recorded(a, drawn)
        shown, original = window(b, known, 64, np.random.default_rng(seed))
        assert shown.shape == original.shape == (64, 64, 3)
        off = away(cell_means(original, Grid(CELL)), cell_means(shown, Grid(CELL)))
        assert off.mean() < 2
        assert np.quantile(off, 0.95) <= 6


def test_a_window_of_a_turned_mosaic_lies_in_the_image(photos: list[np.ndarray]) -> None:
    """Else its cells at the corners would be of what the original has not."""
    turn = cv2.getRotationMatrix2D((127.5, 127.5), 15, 1)
    turned = cv2.warpAffine(photos[0], turn, (SIDE, SIDE), flags=cv2.INTER_CUBIC)  # black corners
    onto = np.column_stack([turn[:, :2], turn[:, 2] - 3.5]) / CELL
    known = Cells(np.asarray(cv2.resize(turned, (32, 32), interpolation=cv2.INTER_AREA)), onto)
    for seed in range(8):
        a, b = window(photos[0], known, 176, np.random.default_rng(seed))  # 22 cells: about as many as lie in it
        off = np.abs(b.reshape(22, CELL, 22, CELL, 3).mean(axis=(1, 3)) - a[::CELL, ::CELL])
        assert off.mean() < 2
        assert off.max() < 20

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dataset_tools import degradations, image_io, resources
from dataset_tools.mosaic_grid import Grid, cell_means, estimate, paint, prior, prior_through

SIZES = [(1, 1), (7, 41), (40, 40), (64, 53)]  # (H, W)


def noise(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)


def naive_edges(length: int, block: int, phase: int) -> list[tuple[int, int]]:
    """(start, stop) of every cell along one axis, found by walking the pixels."""
    edges, start = [], 0
    for pixel in range(1, length + 1):
        if pixel == length or (pixel - phase) % block == 0:
            edges.append((start, pixel))
            start = pixel
    return edges


def naive_mosaic(rgb: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """(means, painted) by a plain loop over cells and channels."""
    rows = naive_edges(rgb.shape[0], grid.block, grid.phase_y)
    columns = naive_edges(rgb.shape[1], grid.block, grid.phase_x)
    means = np.zeros((len(rows), len(columns), 3), np.uint8)
    painted = np.zeros_like(rgb)
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            for channel in range(3):
                values = rgb[top:bottom, left:right, channel].ravel().tolist()
                whole, rest = divmod(sum(values), len(values))
                means[i, j, channel] = whole + (2 * rest >= len(values))  # rounded half up
                painted[top:bottom, left:right, channel] = means[i, j, channel]
    return means, painted


@pytest.mark.parametrize("block", range(1, 41))
def test_means_and_mosaic_equal_a_plain_loop(block: int) -> None:
    phases = {(0, 0), (block - 1, block - 1), (block // 2, 0), (1 % block, 2 * block // 3)}
    for shape in SIZES:
        rgb = noise(shape, block)
        for phase_y, phase_x in sorted(phases):
            grid = Grid(block, phase_y, phase_x)
            means, painted = naive_mosaic(rgb, grid)
            assert np.array_equal(cell_means(rgb, grid), means), (shape, grid)
            assert np.array_equal(paint(means, grid, shape), painted), (shape, grid)


def test_half_rounds_up() -> None:
    rgb = np.zeros((1, 2, 3), np.uint8)
    rgb[0, 1] = (1, 3, 255)
    assert cell_means(rgb, Grid(2)).tolist() == [[[1, 2, 128]]]


def test_a_cut_cell_takes_the_mean_of_what_is_there() -> None:
    row = np.array([10, 20, 30, 40, 50, 90], np.uint8)
    rgb = np.repeat(row[None, :, None], 3, axis=2)  # (1, 6, 3)
    means = cell_means(rgb, Grid(4, 0, 1))
    assert means[0, :, 0].tolist() == [10, 35, 90]  # 10 | 20 30 40 50 | 90
    assert paint(means, Grid(4, 0, 1), (1, 6))[0, :, 0].tolist() == [10, 35, 35, 35, 35, 90]


def test_large_cells_of_white_do_not_overflow() -> None:
    white = np.broadcast_to(np.uint8(255), (5000, 4000, 1))  # 255 * 20e6 is more than 32 bits hold
    assert cell_means(white, Grid(8192)).tolist() == [[[255]]]


@pytest.mark.parametrize(("shape", "block"), [((48, 64), 16), ((256, 256), 8), ((30, 20), 1), ((24, 24), 24)])
def test_prior_is_the_bicubic_where_the_block_divides(shape: tuple[int, int], block: int) -> None:
    rgb = noise(shape)
    expected = cv2.resize(cell_means(rgb, Grid(block)), shape[::-1], interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(prior(rgb, Grid(block)), expected)


@pytest.mark.parametrize("grid", [Grid(8, 3, 5), Grid(16, 0, 1), Grid(40, 39, 20)])
def test_prior_with_a_phase_is_the_window_of_the_whole_mosaic(grid: Grid) -> None:
    """Means that do not change by the cut: then the prior is the one of the uncut image, seen through a window."""
    cells = noise((4, 5))
    whole = cells.repeat(grid.block, axis=0).repeat(grid.block, axis=1)
    top, left = -grid.phase_y % grid.block, -grid.phase_x % grid.block
    window = whole[top : whole.shape[0] - 3, left : whole.shape[1] - 2]
    assert np.array_equal(prior(window, grid), prior(whole, Grid(grid.block))[top:-3, left:-2])


def test_prior_has_the_size_of_any_image() -> None:
    for shape in SIZES:
        for grid in (Grid(1), Grid(7, 6, 1), Grid(1024, 1023, 0)):
            result = prior(noise(shape), grid)
            assert result.shape == (*shape, 3)
            assert result.dtype == np.uint8


@pytest.mark.parametrize("values", [(0, 0, 0), (8, 8, 0), (8, 0, -1)])
def test_a_grid_that_cannot_be_is_refused(values: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="block >= 1 and phases from 0 to block - 1; received Grid"):
        Grid(*values)


@pytest.mark.parametrize("grid", [Grid(8), Grid(12, 5, 7), Grid(30, 29, 1)])
def test_prior_through_nothing_is_the_prior(grid: Grid) -> None:
    a = paint(cell_means(noise((96, 90)), grid), grid, (96, 90))
    straight = prior_through(a, grid, np.array([[1.0, 0, 0], [0, 1, 0]]))
    assert np.abs(straight.astype(int) - prior(a, grid)).max() <= 2  # warpAffine interpolates at 1/32 of a cell


def test_prior_through_a_turn_is_the_turned_prior() -> None:
    """The mosaic of a smooth image, cut at 30 degrees and at 0.6 of its size: smoothed, it is near the smooth image again."""
    xs, ys = np.meshgrid(np.arange(300), np.arange(300))
    smooth = np.dstack([128 + 100 * np.sin(xs / 50), 128 + 100 * np.cos(ys / 60), 128 + 90 * np.sin((xs + ys) / 70)]).astype(
        np.uint8
    )
    grid = Grid(20, 3, 11)
    mosaic = paint(cell_means(smooth, grid), grid, (300, 300))
    to_crop = cv2.getRotationMatrix2D((150, 150), 30, 0.6)
    to_crop[:, 2] -= 150 - 64
    cut = [cv2.warpAffine(image, to_crop, (128, 128), flags=cv2.INTER_LINEAR) for image in (smooth, mosaic)]
    restored = prior_through(cut[1], grid, cv2.invertAffineTransform(to_crop))
    before, after = (np.abs(image.astype(int) - cut[0]).mean() for image in (cut[1], restored))
    assert after < before / 4


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    paths = sorted(resources.path("samples").glob("*.jpg"))[::5]
    return [cv2.resize(image_io.read(path).rgb8, (512, 512), interpolation=cv2.INTER_AREA) for path in paths]


def mosaic(rgb: np.ndarray, grid: Grid) -> np.ndarray:
    return paint(cell_means(rgb, grid), grid, rgb.shape[:2])


def degraded(rgb: np.ndarray, *steps: str) -> np.ndarray:
    drawn = degradations.draw([degradations.parse(step) for step in steps], np.random.default_rng(0), rgb.shape[:2])
    return degradations.apply(rgb, drawn)


def some_grid(block: int, seed: int) -> Grid:
    phase_y, phase_x = np.random.default_rng((block, seed)).integers(block, size=2)
    return Grid(block, int(phase_y), int(phase_x))


@pytest.mark.parametrize("block", range(4, 65))
def test_the_grid_of_a_clean_mosaic_is_found(photos: list[np.ndarray], block: int) -> None:
    for number, rgb in enumerate(photos):
        for part in (rgb[100:356, 90:346], rgb[40:240, 100:400, ::-1], cv2.resize(rgb, (160, 160))):
            grid = some_grid(block, number)
            assert estimate(mosaic(part, grid)) == grid, part.shape
    grid = some_grid(block, 0)
    assert estimate(mosaic(photos[0], grid)) == grid


@pytest.mark.parametrize("after", ["jpeg:quality=95,subsampling=4:2:0", "jpeg:quality=75,subsampling=4:2:0", "noise:sigma=2",
                                   "blur:sigma=0.5", "blur:sigma=0.7"])  # fmt: skip
@pytest.mark.parametrize("block", [6, 8, 12, 16, 24, 32])
def test_the_grid_is_found_after_what_a_file_does_to_it(photos: list[np.ndarray], block: int, after: str) -> None:
    for number, rgb in enumerate(photos):
        grid = some_grid(block, number)
        assert estimate(degraded(mosaic(rgb[100:356, 100:356], grid), after)) == grid


@pytest.mark.parametrize("block", [6, 12, 16, 24])
def test_the_grid_is_found_in_a_part_of_the_photo(photos: list[np.ndarray], block: int) -> None:
    for number, rgb in enumerate(photos):
        grid = some_grid(block, number)
        record = {"name": "mosaic", "block": block, "phase_y": grid.phase_y, "phase_x": grid.phase_x, "feather": 6.0}
        for region, at in (("ellipse", [120.0, 130.0, 75.0, 95.0, 10.0]), ("face", [150.0, 120.0, 70.0, 80.0, 0.0])):
            part = degradations.apply(rgb[100:356, 100:356], [record | {"region": region, "at": at}])
            assert estimate(part) == grid
            assert estimate(degraded(part, "jpeg:quality=90")) == grid


@pytest.mark.parametrize("quality", [40, 60, 90])
def test_the_blocks_of_a_jpeg_are_no_mosaic_but_a_mosaic_may_lie_on_them(photos: list[np.ndarray], quality: int) -> None:
    for rgb in photos:
        for part in (rgb, rgb[100:356, 100:356], rgb[101:229, 203:331]):
            jpeg = f"jpeg:quality={quality},subsampling=4:2:0"
            assert estimate(degraded(part, jpeg)) is None
            assert estimate(degraded(mosaic(part, Grid(8)), jpeg)) == Grid(8)
            assert estimate(degraded(part, jpeg)[3:, 5:]) is None
            assert estimate(cv2.resize(degraded(part, jpeg), None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)) is None


def test_a_photo_without_a_mosaic_has_no_grid(photos: list[np.ndarray]) -> None:
    for rgb in photos:
        half = rgb[128:384, 128:384]
        for photo in (rgb, half, half[50:114, 80:144], cv2.resize(half, (512, 512), interpolation=cv2.INTER_NEAREST),
                      cv2.resize(half, (512, 512)), cv2.resize(half[:20, :20], (200, 200), interpolation=cv2.INTER_CUBIC),
                      cv2.GaussianBlur(rgb, (0, 0), 3)):  # fmt: skip
            assert estimate(photo) is None


def test_nothing_to_find() -> None:
    for shape in [(1, 1), (1, 300), (7, 41), (8, 8), (16, 16), (17, 200), (256, 256)]:
        assert estimate(np.full((*shape, 3), 200, np.uint8)) is None
        assert estimate(noise(shape)) is None
        estimate(mosaic(noise(shape), Grid(5, 1, 2)))  # may be too small to tell, but is no error
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, axis=0).repeat(3, axis=2)
    assert estimate(ramp) is None


def test_the_smallest_block_of_those_that_cut_alike() -> None:
    cells = mosaic(noise((64, 64)), Grid(60, 40, 30))
    assert estimate(cells) == Grid(40, 0, 30)
    assert np.array_equal(mosaic(cells, Grid(40, 0, 30)), cells)


def test_only_the_given_blocks_are_found() -> None:
    rgb = mosaic(noise((128, 128)), Grid(12, 5, 0))
    assert estimate(rgb, range(12, 13)) == estimate(rgb, range(8, 65, 4)) == Grid(12, 5, 0)
    assert estimate(rgb, range(0)) is None
    with pytest.raises(ValueError, match="blocks are 4 pixels or more"):
        estimate(rgb, range(3, 10))

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dataset_tools import degradations, image_io, resources
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from dataset_tools.mosaic_regions import Region, find_regions
from dataset_tools.mosaic_windows import edges_of, windows_with_grids
from tests.conftest import some

SAMPLES = sorted(resources.path("samples").glob("*.jpg"))


def photo(number: int, side: int = 0) -> np.ndarray:
    rgb = image_io.read(SAMPLES[number]).rgb8
    return np.asarray(cv2.resize(rgb, (side, side), interpolation=cv2.INTER_CUBIC)) if side else rgb


def laid(rgb: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
    mosaic = paint(cell_means(rgb, grid), grid, (rgb.shape[0], rgb.shape[1]))
    return np.where(mask[:, :, None], mosaic, rgb)


def box(rgb: np.ndarray, top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(rgb.shape[:2], bool)
    mask[top:bottom, left:right] = True
    return mask


def ellipse(rgb: np.ndarray) -> np.ndarray:
    mask = np.zeros(rgb.shape[:2], np.uint8)
    height, width = mask.shape
    cv2.ellipse(mask, (width // 2, height // 2), (width // 5, height // 4), 0, 0, 360, 1, -1)
    return mask > 0


def jpeg(rgb: np.ndarray, quality: int = 75) -> np.ndarray:
    steps = [degradations.parse(f"jpeg:quality={quality},subsampling=4:2:0")]
    return degradations.apply(rgb, degradations.draw(steps, np.random.default_rng(0), (rgb.shape[0], rgb.shape[1])))


def sheet(columns: int, rows: int, side: int, gap: int, first: int = 0) -> np.ndarray:
    """A contact sheet of photos of `side` x `side`, `gap` pixels of white between them."""
    made = np.full((rows * (side + gap) - gap, columns * (side + gap) - gap, 3), 255, np.uint8)
    for number in range(columns * rows):
        top, left = (place * (side + gap) for place in divmod(number, columns))
        shown = cv2.resize(photo((first + number) % len(SAMPLES)), (side, side), interpolation=cv2.INTER_AREA)
        made[top : top + side, left : left + side] = shown
    return made


def overlap(region: Region, truth: np.ndarray) -> float:
    whole = np.zeros(truth.shape, bool)
    top, left, bottom, right = region.box
    whole[top:bottom, left:right] = region.mask
    return float((whole & truth).sum() / (whole | truth).sum())


@pytest.mark.parametrize("block", some([16], [8, 24, 32]))
@pytest.mark.parametrize("quality", some([75], [90]))
def test_cells_that_lie_on_the_blocks_of_a_jpeg_are_found_to_the_edge(block: int, quality: int) -> None:
    """Their grey is kept exactly, their colours are not."""
    rgb = photo(0, 384)
    truth, grid = ellipse(rgb), Grid(block, 8 % block, 16 % block)
    (region,) = find_regions(jpeg(laid(rgb, truth, grid), quality))
    assert region.grid == grid
    assert overlap(region, truth) > 0.9


@pytest.mark.parametrize("block", some([8, 24], [4, 13, 32]))
@pytest.mark.parametrize("number", some([0], [7]))
def test_the_grid_is_found_to_the_pixel_and_the_region_nearly(block: int, number: int) -> None:
    rgb = photo(number)
    height, width = rgb.shape[:2]
    grid = Grid(block, 3 % block, 2 * block // 3)
    for truth in (box(rgb, height // 5, width // 4, height * 4 // 5, width * 3 // 4), ellipse(rgb)):
        (region,) = find_regions(laid(rgb, truth, grid))
        assert region.grid == grid
        assert overlap(region, truth) > 0.8


@pytest.mark.parametrize("block", [4, 8, 12, 16, 24])
def test_a_jpeg_does_not_hide_it(block: int) -> None:
    rgb = photo(3)
    truth = ellipse(rgb)
    grid = Grid(block, block // 2, 1)
    (region,) = find_regions(jpeg(laid(rgb, truth, grid)))
    assert region.grid == grid
    assert overlap(region, truth) > 0.6


@pytest.mark.parametrize("block", some([], [150, 256], soak=[100, 132, 300]))
def test_blocks_larger_than_windows_know_are_no_part_of_theirs(block: int) -> None:
    rgb = photo(0, 3000)
    grid = Grid(block, 11, 17)
    truth = box(rgb, 11 + block * 2, 17 + block * 2, 11 + block * 7, 17 + block * 7)
    (region,) = find_regions(laid(rgb, truth, grid))
    assert region.grid == grid
    assert overlap(region, truth) > 0.9


@pytest.mark.parametrize("number", some([3], [7, 15]))
@pytest.mark.parametrize("block", [6, 16, 33])
def test_in_a_file_that_lost_nothing_a_region_is_told_to_the_pixel(number: int, block: int) -> None:
    """However its border cuts the cells, and whatever lies beside it."""
    rgb, grid = photo(number), Grid(block, 2 * block // 3, 1)
    height, width = rgb.shape[:2]
    for truth in (box(rgb, height // 5, width // 5, height * 4 // 5, width * 3 // 4), ellipse(rgb)):
        (region,) = find_regions(laid(rgb, truth, grid))
        assert overlap(region, truth) > 0.98


@pytest.mark.slow
def test_a_smoothly_enlarged_photo_beside_a_mosaic_is_no_mosaic() -> None:
    rgb = photo(6, 1600)
    truth = box(rgb, 50, 50, 950, 950)
    (region,) = find_regions(laid(rgb, truth, Grid(4, 2, 2)))
    assert overlap(region, truth) > 0.98


@pytest.mark.slow
def test_a_fine_mosaic_does_not_hide_a_coarse_one_on_the_same_lines() -> None:
    rgb = photo(6, 1600)
    fine, coarse = box(rgb, 100, 100, 1100, 1100), box(rgb, 1300, 1200, 1556, 1456)
    shown = laid(laid(rgb, fine, Grid(4)), coarse, Grid(16, 4, 0))
    found = {region.grid: region for region in find_regions(shown)}
    assert found.keys() == {Grid(4), Grid(16, 4, 0)}
    assert overlap(found[Grid(16, 4, 0)], coarse) > 0.98


@pytest.mark.parametrize("block", some([10], [6]))
def test_mosaics_on_the_lines_of_a_finer_one_are_no_part_of_it(block: int) -> None:
    """Whatever lines the finer one has, theirs are among them."""
    rgb = np.hstack([photo(number, 400) for number in (3, 12, 20)])
    truths = {times: box(rgb, 60, 400 * times - 320, 324, 400 * times - 80) for times in (1, 2, 3)}
    for times, truth in truths.items():
        rgb = laid(rgb, truth, Grid(times * block))
    found = {region.grid: region for region in find_regions(rgb)}
    assert found.keys() == {Grid(block), Grid(2 * block), Grid(3 * block)}
    for times, truth in truths.items():
        assert overlap(found[Grid(times * block)], truth) > 0.9


@pytest.mark.parametrize("apart", [1, 3])
@pytest.mark.parametrize("number", [0, 5, 16])
def test_two_mosaics_that_nearly_touch_are_two(number: int, apart: int) -> None:
    """Those of one grid too, and what lies between them stays the photo's."""
    rgb, grid = photo(number), Grid(14, 3, 5)
    top, left, height, width = 3 + 14 * 10, 5 + 14 * 8, 14 * 12, 14 * 7
    one = box(rgb, top, left, top + height, left + width)
    other = box(rgb, top, left + width + 14 * apart, top + height, left + 2 * width + 14 * apart)
    found = sorted(find_regions(laid(rgb, one | other, grid)), key=lambda region: region.box[1])
    assert [region.grid for region in found] == [grid, grid]
    assert overlap(found[0], one) > 0.9
    assert overlap(found[1], other) > 0.9


def test_two_mosaics_of_two_grids_in_one_photo() -> None:
    rgb = np.concatenate([photo(1, 480), photo(2, 480)], axis=1)
    left, right = box(rgb, 120, 130, 360, 350), box(rgb, 100, 620, 340, 840)
    shown = laid(laid(rgb, left, Grid(12, 5, 1)), right, Grid(20, 0, 7))
    found = {region.grid: region for region in find_regions(shown)}
    assert found.keys() == {Grid(12, 5, 1), Grid(20, 0, 7)}
    assert overlap(found[Grid(12, 5, 1)], left) > 0.8
    assert overlap(found[Grid(20, 0, 7)], right) > 0.8


def test_a_mosaic_of_the_whole_photo() -> None:
    rgb = photo(4)
    grid = Grid(16, 9, 4)
    (region,) = find_regions(laid(rgb, np.ones(rgb.shape[:2], bool), grid))
    assert region.grid == grid
    assert region.box == (0, 0, *rgb.shape[:2])
    assert region.mask.all()


def test_cells_of_a_hundred_pixels() -> None:
    rgb = photo(5, 1600)
    truth = box(rgb, 300, 350, 1300, 1250)
    (region,) = find_regions(laid(rgb, truth, Grid(100, 40, 73)))
    assert region.grid == Grid(100, 40, 73)
    assert overlap(region, truth) > 0.8


@pytest.mark.parametrize("number", some([0], range(6, len(SAMPLES), 6), soak=range(3, len(SAMPLES), 6)))
def test_no_mosaic_is_seen_where_none_is(number: int) -> None:
    rgb = photo(number)
    for shown in (rgb, jpeg(rgb), jpeg(rgb, 40), np.asarray(cv2.resize(jpeg(rgb), None, fx=1.5, fy=1.5))):
        assert find_regions(shown) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (11, 11), (12, 12), (13, 400), (40, 23), (63, 65), (100, 67)])
def test_small_and_narrow_images_are_looked_at_too(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    for rgb in (noise, np.full((*shape, 3), 90, np.uint8)):
        assert find_regions(rgb) == []


def test_a_small_mosaic_that_fills_its_image() -> None:
    rgb = photo(6, 64)
    (region,) = find_regions(laid(rgb, np.ones((64, 64), bool), Grid(8)))
    assert (region.grid, region.box) == (Grid(8), (0, 0, 64, 64))


def test_a_table_and_a_chequered_floor_are_no_mosaics() -> None:
    table = np.full((400, 600, 3), 250, np.uint8)
    table[::20] = table[:, ::50] = 120
    assert find_regions(table) == []
    squares = np.full((400, 600, 3), 250, np.uint8)
    squares[::24] = squares[:, ::24] = 90
    assert find_regions(squares) == []


def test_edges_next_to_each_other_are_no_borders_of_cells() -> None:
    grey = np.zeros((12, 4), np.uint8)
    grey[4:], grey[8:9], grey[9:] = 40, 60, 90
    assert edges_of(grey)[:, 0].tolist() == [0, 0, 0, 0, 40, 0, 0, 0, 0, 10, 0, 0]


def test_the_surest_window_comes_first_and_lies_in_the_mosaic() -> None:
    rgb = photo(0)
    height, width = rgb.shape[:2]
    truth = box(rgb, height // 4, width // 4, height * 3 // 4, width * 3 // 4)
    grey = cv2.cvtColor(laid(rgb, truth, Grid(8, 1, 6)), cv2.COLOR_RGB2GRAY)
    window = next(windows_with_grids(edges_of(grey), np.ascontiguousarray(edges_of(cv2.transpose(grey)).T)))
    assert window.grid == Grid(8, 1, 6)
    assert truth[window.top + window.side // 2, window.left + window.side // 2]

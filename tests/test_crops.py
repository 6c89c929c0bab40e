from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tools.crops import (
    PADDINGS,
    Square,
    affine,
    center_square,
    crop,
    enlargement,
    face_square,
    invert,
    tile_squares,
)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def moved(matrix: np.ndarray, x: float, y: float) -> np.ndarray:
    return matrix @ np.array([x, y, 1.0])


# --- squares


def test_face_square_is_centred_with_its_margin() -> None:
    square = face_square((100.0, 80.0, 40.0, 60.0), (400, 400), 0.25, "clamp")
    assert square == Square(x=75, y=65, side=90)  # 60 * 1.5 around (120, 110)


def test_clamp_moves_and_then_shrinks() -> None:
    assert face_square((0, 0, 40, 40), (100, 200), 0.25, "clamp") == Square(0, 0, 60)
    assert face_square((180, 80, 40, 40), (100, 200), 0.25, "clamp") == Square(140, 40, 60)
    assert face_square((60, 0, 90, 90), (100, 200), 0.5, "clamp") == Square(55, 0, 100)


@pytest.mark.parametrize("padding", ["replicate", "reflect"])
def test_padding_leaves_the_square_where_it_is(padding: str) -> None:
    assert face_square((0, 0, 40, 40), (100, 200), 0.25, padding) == Square(-10, -10, 60)
    assert face_square((60, 0, 90, 90), (100, 200), 0.5, padding) == Square(15, -45, 180)


@settings(deadline=None)
@given(
    box=st.tuples(*[st.floats(-500, 1500)] * 2, *[st.floats(0.1, 1500)] * 2),
    height=st.integers(1, 1000),
    width=st.integers(1, 1000),
    margin=st.floats(0, 3),
)
def test_clamp_is_always_inside(box: tuple[float, float, float, float], height: int, width: int, margin: float) -> None:
    square = face_square(box, (height, width), margin, "clamp")
    assert 1 <= square.side <= min(height, width)
    assert 0 <= square.x <= width - square.side
    assert 0 <= square.y <= height - square.side


def test_center_square() -> None:
    assert center_square((100, 61, 3)) == Square(0, 19, 61)
    assert center_square((50, 81)) == Square(15, 0, 50)


@pytest.mark.parametrize(("height", "width", "size"), [(300, 500, 64), (40, 30, 64), (64, 64, 64)])
def test_tiles_lie_inside_and_repeat_by_seed(height: int, width: int, size: int) -> None:
    squares = tile_squares((height, width), size, 200, np.random.default_rng(3))
    assert squares == tile_squares((height, width), size, 200, np.random.default_rng(3))
    assert len(squares) == 200
    shorter = min(height, width)
    for square in squares:
        assert min(size, shorter) <= square.side <= shorter
        assert 0 <= square.x <= width - square.side
        assert 0 <= square.y <= height - square.side


def test_tiles_use_the_whole_range() -> None:
    squares = tile_squares((10, 12), 8, 500, np.random.default_rng(0))
    assert {square.side for square in squares} == {8, 9, 10}
    assert {square.x for square in squares if square.side == 8} == {0, 1, 2, 3, 4}


# --- affine


def test_affine_maps_pixel_centres() -> None:
    matrix = affine(Square(10, 20, 40), 80)  # enlarged twice
    assert matrix.shape == (2, 3)
    assert matrix.dtype == np.float64
    assert moved(matrix, 10, 20).tolist() == [0.5, 0.5]  # pixel 0 of the source covers pixels 0 and 1 of the crop
    assert moved(matrix, 9.5, 19.5).tolist() == [-0.5, -0.5]  # corner to corner
    assert moved(matrix, 49.5, 59.5).tolist() == [79.5, 79.5]


@settings(deadline=None)
@given(x=st.integers(-500, 5000), y=st.integers(-500, 5000), side=st.integers(1, 4000), size=st.integers(1, 1024))
def test_invert_is_the_way_back(x: int, y: int, side: int, size: int) -> None:
    matrix = affine(Square(x, y, side), size)
    there = moved(matrix, x + 3.25, y - 7.5)
    assert np.allclose(moved(invert(matrix), *there), [x + 3.25, y - 7.5], rtol=0, atol=1e-6)


def test_invert_takes_rotations_too() -> None:
    matrix = cv2.getRotationMatrix2D((31.0, 17.0), 33.0, 1.7)
    assert np.allclose(moved(invert(matrix), *moved(matrix, 5, 9)), [5, 9], atol=1e-12)


@pytest.mark.parametrize(("side", "size"), [(96, 48), (96, 32), (96, 96), (24, 48), (90, 64), (50, 64)])
@pytest.mark.parametrize("marker", [(40, 52), (37, 49), (45, 45)])
def test_a_marker_lands_where_affine_says(side: int, size: int, marker: tuple[int, int]) -> None:
    rgb = np.zeros((120, 110, 3), np.uint8)
    rgb[marker[1] - 1 : marker[1] + 2, marker[0] - 1 : marker[0] + 2] = 200  # 3 by 3, so that its centre is its pixel
    square = Square(30 if side < 60 else 7, 35 if side < 60 else 11, side)
    weight = crop(rgb, square, size)[..., 0].astype(float)
    rows, columns = np.mgrid[:size, :size]
    centre = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    assert np.allclose(centre, moved(affine(square, size), *marker), atol=0.1)


# --- crop


def test_crop_of_its_own_size_is_the_pixels() -> None:
    rgb = noise(50, 70)
    result = crop(rgb, Square(12, 5, 32), 32)
    assert np.array_equal(result, rgb[5:37, 12:44])
    assert not np.shares_memory(result, rgb)


def test_shrinking_averages_and_growing_is_bicubic() -> None:
    rgb = noise(64, 64)
    cut = rgb[8:40, 4:36]
    assert np.array_equal(crop(rgb, Square(4, 8, 32), 16), cv2.resize(cut, (16, 16), interpolation=cv2.INTER_AREA))
    assert np.array_equal(crop(rgb, Square(4, 8, 32), 50), cv2.resize(cut, (50, 50), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize("corner", [(0, 0), (0, 38), (58, 0), (58, 38)])
def test_corners_of_the_image_need_no_padding(corner: tuple[int, int]) -> None:
    rgb = noise(50, 70)
    x, y = corner
    assert np.array_equal(crop(rgb, Square(x, y, 12), 12, "clamp"), rgb[y : y + 12, x : x + 12])


@pytest.mark.parametrize(("padding", "border"), [("replicate", cv2.BORDER_REPLICATE), ("reflect", cv2.BORDER_REFLECT_101)])
@pytest.mark.parametrize("square", [Square(-7, -9, 20), Square(25, 12, 20), Square(-40, -40, 120), Square(-30, 5, 12)])
def test_what_is_missing_is_made_as_copymakeborder_makes_it(padding: str, border: int, square: Square) -> None:
    rgb = noise(20, 30)
    padded = cv2.copyMakeBorder(rgb, 60, 80, 60, 80, border)
    expected = padded[60 + square.y :, 60 + square.x :][: square.side, : square.side]
    assert np.array_equal(crop(rgb, square, square.side, padding), expected)


def test_reflect_does_not_repeat_the_border_pixel() -> None:
    rgb = np.arange(4, dtype=np.uint8)[None, :, None].repeat(4, axis=0).repeat(3, axis=2)
    assert crop(rgb, Square(-2, 0, 4), 4, "reflect")[0, :, 0].tolist() == [2, 1, 0, 1]
    assert crop(rgb, Square(-2, 0, 4), 4, "replicate")[0, :, 0].tolist() == [0, 0, 0, 1]


def test_a_clamped_square_outside_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Square\(x=-1, y=0, side=4\) leaves the image of 8x6"):
        crop(noise(6, 8), Square(-1, 0, 4), 4, "clamp")


def test_another_padding_is_an_error() -> None:
    assert list(PADDINGS) == ["clamp", "replicate", "reflect"]
    with pytest.raises(ValueError, match="padding takes clamp, replicate, reflect; received zero"):
        crop(noise(6, 8), Square(0, 0, 4), 4, "zero")
    with pytest.raises(ValueError, match="received zero"):
        face_square((0, 0, 1, 1), (6, 8), 0, "zero")


def test_enlargement() -> None:
    assert enlargement(Square(0, 0, 128), 256) == 2.0
    assert enlargement(Square(0, 0, 512), 256) == 0.5

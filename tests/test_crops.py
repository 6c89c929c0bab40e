from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tools import crops, image_io
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
    assert len(squares) == len(set(squares)) == {300: 200, 40: 11, 64: 1}[height]  # no square twice: 40 - 30 + 1 fit, or one
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


# --- windows that stand as the face does, and rasters at a reduced scale


def _portrait(samples) -> np.ndarray:  # type: ignore[no-untyped-def]
    return image_io.read(samples[0]).rgb8  # (768, 768, 3)


@pytest.mark.parametrize("degrees", [-170, -90, -31, 0, 12, 90, 180])
def test_eyes_are_level_in_an_upright_face(degrees: int) -> None:
    turn = math.radians(degrees)
    eyes = ((500 - 60 * math.cos(turn), 400 - 60 * math.sin(turn)), (500 + 60 * math.cos(turn), 400 + 60 * math.sin(turn)))
    window = crops.upright_face((400, 300, 200, 200), eyes, (900, 1000), 0.25, "clamp")
    matrix = crops.affine(window, 256)
    (right_x, right_y), (left_x, left_y) = crops.transform(matrix, np.array(eyes))
    assert right_y == pytest.approx(left_y, abs=1e-6)
    assert left_x - right_x == pytest.approx(120 * 256 / 300, abs=1e-6)
    assert window.side == pytest.approx(300)
    assert crops.transform(matrix, np.array([[499.5, 399.5]])) == pytest.approx(np.array([[127.5, 127.5]]))
    there = crops.transform(matrix, np.array([[123.0, 456.0]]))
    assert crops.transform(crops.invert(matrix), there) == pytest.approx(np.array([[123.0, 456.0]]))


@pytest.mark.parametrize("degrees", [0, 45, 90, 160])
@pytest.mark.parametrize("box", [(-40, 10, 200, 200), (820, 700, 300, 300), (0, 0, 5000, 5000)])
def test_a_clamped_tilted_window_lies_inside_the_photo(degrees: int, box: tuple[float, float, float, float]) -> None:
    turn = math.radians(degrees)
    window = crops.upright_face(box, ((0, 0), (math.cos(turn), math.sin(turn))), (900, 1000), 0.25, "clamp")
    left, top, right, bottom = crops.footprint(window, room=-1e-6)
    assert left >= 0
    assert top >= 0
    assert right <= 1000
    assert bottom <= 900


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_turned_photo_gives_the_upright_crop_exactly(samples, degrees: int) -> None:
    rgb = _portrait(samples)
    square = crops.Square(200, 100, 256)
    expected = crops.crop(rgb, square, 256)
    turned = np.ascontiguousarray(np.rot90(rgb, -degrees // 90))  # clockwise
    middle = np.array([200 + 127.5 - 383.5, 100 + 127.5 - 383.5])
    angle = math.radians(degrees)
    x = math.cos(angle) * middle[0] - math.sin(angle) * middle[1] + 383.5
    y = math.sin(angle) * middle[0] + math.cos(angle) * middle[1] + 383.5
    got = crops.crop(turned, crops.Tilted(x, y, 256, angle), 256)
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_a_tilted_crop_does_not_alias() -> None:
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than the crop can show: it must come out grey
    got = crops.crop(stripes, crops.Tilted(511.5, 511.5, 600, math.radians(20)), 100)
    assert np.abs(got.astype(int) - 127).max() <= 32


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_windows_on_a_raster(samples, scale: int) -> None:
    rgb = _portrait(samples)[:766, :763]  # not divisible
    raster = cv2.resize(np.pad(rgb, ((0, -766 % scale), (0, -763 % scale), (0, 0)), "edge"),
                        (-(-763 // scale), -(-766 // scale)), interpolation=cv2.INTER_AREA)  # fmt: skip
    for square in (crops.Square(101, 67, 530), crops.Square(233, 236, 530), crops.Square(0, 0, 763)):
        window = crops.on_raster(square, scale, rgb.shape, "clamp")
        assert isinstance(window, crops.Square)
        assert abs(window.x - square.x) < scale
        assert abs(window.y - square.y) < scale
        assert 0 <= square.side - window.side < scale
        full, small = crops.crop(rgb, window, 64), crops.crop(raster, window, 64, scale=scale)
        assert np.abs(full.astype(int) - small).mean() < 3.0
        tilted = crops.Tilted(window.x + (window.side - 1) / 2, window.y + (window.side - 1) / 2, window.side, 0.3)
        full, small = crops.crop(rgb, tilted, 64), crops.crop(raster, tilted, 64, scale=scale)
        assert np.abs(full.astype(int) - small).mean() < 4.5


def test_a_box_through_an_affine() -> None:
    matrix = crops.affine(crops.Square(10, 20, 100), 50)
    assert crops.transform_box(matrix, (10, 20, 100, 40)) == pytest.approx((0, 0, 50, 20))
    quarter = crops.affine(crops.Tilted(49.5, 49.5, 100, math.radians(90)), 100)
    assert crops.transform_box(quarter, (0, 0, 100, 30)) == pytest.approx((0, 0, 30, 100))

"""Contact sheets: every cell in its place, one size, hard edges where the image has them."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_tools import lettering
from dataset_tools.sheets import GUTTER, MARGIN, PAPER, fit, grid, outlined


def flat(red: int, green: int, blue: int, height: int = 200, width: int = 200) -> np.ndarray:
    return np.full((height, width, 3), (red, green, blue), np.uint8)


def test_images_stand_in_rows_and_columns_at_their_own_size() -> None:
    rng = np.random.default_rng(0)
    images = [[rng.integers(0, 256, (200, 200, 3), np.uint8) for _ in range(3)] for _ in range(2)]
    sheet = grid(images)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * MARGIN + 2 * 200 + GUTTER, 2 * MARGIN + 3 * 200 + 2 * GUTTER, 3)
    for row in range(2):
        for column in range(3):
            y, x = MARGIN + row * (200 + GUTTER), MARGIN + column * (200 + GUTTER)
            assert np.array_equal(sheet[y : y + 200, x : x + 200], images[row][column])
    edges = np.concatenate([sheet[:MARGIN].reshape(-1, 3), sheet[-MARGIN:].reshape(-1, 3), sheet[:, :MARGIN].reshape(-1, 3)])
    assert np.array_equal(np.unique(edges, axis=0), [PAPER])


def ink(area: np.ndarray) -> bool:
    return bool((area < 150).all(axis=2).any())


def test_titles_captions_header_and_footer_are_dark_on_paper_and_leave_the_images_alone() -> None:
    image = flat(200, 30, 30)
    sheet = grid([[image, image]], titles=["input", "restored"], captions=[["17.42 dB", ""]], header="Sheet", footer="the end")
    rows = np.flatnonzero((sheet == (200, 30, 30)).all(axis=2).any(axis=1))
    top, bottom = rows[0], rows[-1] + 1
    assert bottom - top == 200
    left, right = sheet[:, : MARGIN + 200], sheet[:, MARGIN + 200 + GUTTER :]
    assert ink(left[:top])
    assert ink(right[top - 25 : top])
    caption = slice(bottom + 2, bottom + 20)
    assert ink(left[caption])
    assert not ink(right[caption])
    assert ink(sheet[bottom + 20 :])
    assert np.array_equal(sheet[top:bottom, MARGIN : MARGIN + 200], image)


def test_an_empty_cell_shows_no_image_and_a_narrow_one_keeps_its_aspect() -> None:
    sheet = grid([[None, flat(0, 90, 0, height=100, width=200)]])
    assert tuple(sheet[MARGIN + 100, MARGIN + 100]) == PAPER
    green = np.argwhere((sheet == (0, 90, 0)).all(axis=2))
    assert tuple(green.max(axis=0) - green.min(axis=0) + 1) == (100, 200)
    assert green.min(axis=0)[0] == MARGIN + 50


def test_small_images_are_enlarged_by_a_whole_factor() -> None:
    assert grid([[flat(0, 0, 0, 64, 64)]]).shape[0] == 2 * MARGIN + 192
    assert grid([[flat(0, 0, 0, 128, 128)]]).shape[0] == 2 * MARGIN + 256
    assert grid([[flat(0, 0, 0, 700, 700)]]).shape[0] == 2 * MARGIN + 256
    assert grid([[flat(0, 0, 0, 64, 64)]], cell=100).shape[0] == 2 * MARGIN + 100


def test_a_mosaic_keeps_its_hard_edges_and_a_photo_does_not_get_any() -> None:
    rng = np.random.default_rng(1)
    mosaic = np.repeat(np.repeat(rng.integers(0, 256, (8, 8, 3), np.uint8), 8, axis=0), 8, axis=1)
    assert np.array_equal(fit(mosaic, 192), np.repeat(np.repeat(mosaic, 3, axis=0), 3, axis=1))
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    assert len(np.unique(fit(noise, 192).reshape(-1, 3), axis=0)) > 64 * 64
    checks = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (64, 64))[:, :, None].repeat(3, axis=2)
    assert set(np.unique(fit(checks, 64))) <= {127, 128}, "reduced by area"


def test_any_text_is_drawn_in_letters_that_the_font_has() -> None:
    assert lettering.drawable("Żółć é × 12·3 ΔE") == "Zo?c e x 12·3 dE"
    assert lettering.drawable("漢\udcff\n") == "???"
    long = lettering.short("a-very-long-file-name-" * 9 + "end.jpg", 13, 200)
    assert lettering.font(13).getlength(long) <= 200
    assert long.startswith("a-very")
    assert long.endswith("end.jpg")
    assert lettering.wrap("one two\nthree", 13, 1000) == ["one two", "three"]
    assert lettering.wrap("one two", 13, 30) == ["one", "two"]


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        grid([[None]])


def test_an_outline_stands_where_its_corners_are_and_nowhere_else() -> None:
    image = flat(255, 255, 255)
    square = np.array([(50, 60), (150, 60), (150, 120), (50, 120)], float)
    drawn = outlined(image, square, (10, 200, 10))
    assert tuple(drawn[60, 100]) == (10, 200, 10)
    assert tuple(drawn[90, 150]) == (10, 200, 10)
    rows, columns = np.flatnonzero((drawn < 200).any(axis=(1, 2))), np.flatnonzero((drawn < 200).any(axis=(0, 2)))
    assert (abs(rows[[0, -1]] - (60, 120)) <= 3).all()
    assert (abs(columns[[0, -1]] - (50, 150)) <= 3).all()
    assert (drawn[70:110, 60:140] == 255).all()
    assert (image == 255).all(), "a copy"


@pytest.mark.parametrize("corner", [np.nan, np.inf, 1e9])
def test_an_outline_far_away_is_not_drawn(corner: float) -> None:
    image = flat(255, 255, 255)
    assert (outlined(image, np.array([(0, 0), (corner, 0), (9, 9)]), (0, 0, 0)) == 255).all()

"""Line plots: every point where it belongs, colours that stay with a name, letters that stand in each other's way nowhere."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from PIL import ImageDraw

from dataset_tools.sheets import INK, MARGIN, PAPER
from pipelines.plot import COLOURS, GAP, GRAYS, Panel, Series, line_plot, tick_labels, ticks

RISING = Series("rising", [(0, 0), (50, 5), (100, 10)])
FLAT = Series("flat", [(0, 2), (100, 2)], dashed=True)


def at(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(n, 2) rows and columns of the pixels of exactly this colour, below the legend."""
    found = np.argwhere((image == colour).all(axis=2))
    return found[found[:, 0] > MARGIN + 40]


def left_half(image: np.ndarray) -> np.ndarray:
    return image[:, : image.shape[1] // 2]


def test_an_axis_has_round_numbers_that_cover_what_is_drawn() -> None:
    assert ticks(0, 5000) == [0, 1000, 2000, 3000, 4000, 5000]
    assert ticks(17.4, 22.3) == [17, 18, 19, 20, 21, 22, 23]
    assert ticks(0.651, 0.658) == [0.65, 0.652, 0.654, 0.656, 0.658]
    assert ticks(-3, 3) == [-3, -2, -1, 0, 1, 2, 3]
    assert ticks(0, 0) == [-1, -0.5, 0, 0.5, 1]
    low, *_, high = ticks(20.0, 20.0)
    assert low < 20 < high
    rng = np.random.default_rng(0)
    for low, high in np.sort(10.0 ** rng.uniform(-4, 6, (200, 1)) * rng.uniform(-1, 1, (200, 2)), axis=1):
        found = ticks(low, high)
        assert 3 <= len(found) <= 8
        assert found[0] <= low + 1e-9 * abs(low)
        assert found[-1] >= high - 1e-9 * abs(high)


def test_ticks_have_as_many_decimals_as_they_need() -> None:
    assert tick_labels([0, 1000, 2000]) == ["0", "1,000", "2,000"]
    assert tick_labels([0.65, 0.652]) == ["0.650", "0.652"]
    assert tick_labels([0, 0.5, 1]) == ["0.0", "0.5", "1.0"]
    assert tick_labels([0, 2e9]) == ["0", "2e+09"]


def test_panels_stand_in_rows() -> None:
    panel = Panel([RISING], "steps", "PSNR (dB)")
    one, two, three = (line_plot([panel] * count, size=(300, 200)) for count in (1, 2, 3))
    assert one.dtype == np.uint8
    assert one.shape[1] == 300 + 2 * MARGIN
    assert two.shape[1] == three.shape[1] == 2 * 300 + GAP + 2 * MARGIN
    assert one.shape[0] == two.shape[0]
    assert three.shape[0] - two.shape[0] == 200 + 20
    assert all(tuple(image[y, x]) == PAPER for image in (one, two, three) for y in (0, -1) for x in (0, -1))
    assert np.array_equal(one[:, : MARGIN + 300], two[:, : MARGIN + 300])


def test_a_point_is_where_its_numbers_say() -> None:
    image = line_plot([Panel([RISING], "steps", "PSNR (dB)")])
    line = at(image, COLOURS[0])
    (top, left), (bottom, right) = line.min(axis=0), line.max(axis=0)
    assert line[line[:, 1] <= left + 3, 0].min() > line[line[:, 1] >= right - 3, 0].max(), "it rises"
    middle = line[abs(line[:, 1] - (left + right) / 2) < 1].mean(axis=0)
    assert middle == pytest.approx([(top + bottom) / 2, (left + right) / 2], abs=1)
    higher = line_plot([Panel([RISING, Series("other", [(0, 20)])], "steps", "PSNR (dB)")])
    assert at(higher, COLOURS[0])[:, 0].min() == pytest.approx((top + bottom) / 2, abs=5), "half as high where twice as much fits"


def test_a_name_has_one_colour_in_all_panels() -> None:
    names = [f"run {number}" for number in range(8)]
    series = [Series(name, [(0, n), (9, n)]) for n, name in enumerate(names)]
    image = line_plot([Panel(series, "x", "y"), Panel(series[::-1], "x", "y")])
    halves = [left_half(image), image[:, image.shape[1] // 2 :]]
    for number in range(6):
        own, mirrored = (at(half, COLOURS[number]) for half in halves)
        assert sorted(set(own[:, 0])) == sorted(set(mirrored[:, 0]))
    long = (halves[0] == COLOURS[0]).all(axis=2).sum(axis=1)  # pixels of each row
    solid, broken = np.flatnonzero(long > 400), np.flatnonzero((long > 200) & (long <= 400))
    assert len(solid)
    assert len(broken), "the seventh line takes the first colour, and dashes"
    assert solid.min() > broken.max(), "and stands higher"


def test_what_others_are_measured_against_is_gray_and_dashed_or_like_its_own() -> None:
    other = Series("bicubic", [(0, 7), (100, 7)], dashed=True)
    image = line_plot([Panel([RISING, FLAT, other], "x", "y")])
    for gray in GRAYS:
        found = at(image, gray)
        row = np.median(found[:, 0])
        columns = np.unique(found[found[:, 0] == row][:, 1])
        assert (np.diff(columns) > 1).sum() > 20
    like = line_plot([Panel([RISING, Series("flat", FLAT.points, dashed=True, like="rising")], "x", "y")])
    assert len(at(like, GRAYS[0])) == 0
    assert len(at(like, COLOURS[0])) > len(at(image, COLOURS[0]))


def test_a_point_that_is_not_finite_breaks_the_line() -> None:
    gap = Series("gap", [(0, 1), (40, 1), (50, math.nan), (60, 1), (100, 1)])
    found = at(line_plot([Panel([gap], "x", "y")]), COLOURS[0])
    columns = np.unique(found[:, 1])
    missing = np.diff(columns).max() / (columns[-1] - columns[0])
    assert missing == pytest.approx(0.2, abs=0.03)
    whole = at(line_plot([Panel([Series("gap", [(0, 1), (100, 1)])], "x", "y")]), COLOURS[0])
    assert np.diff(np.unique(whole[:, 1])).max() < 5


def test_points_are_marked_where_there_is_room() -> None:
    few, many = ([(float(x), 0.0) for x in np.linspace(0, 100, count)] for count in (5, 200))
    heights = []
    for points in (few, many):
        found = at(line_plot([Panel([Series("a", points)], "x", "y")]), COLOURS[0])
        middle = found[(found[:, 1] > 100) & (found[:, 1] < 500)]
        heights.append(len(np.unique(middle[:, 0])))
    assert heights[0] >= 7
    assert heights[1] <= 3


def test_a_panel_of_nothing_says_so_and_a_plot_of_nothing_is_refused() -> None:
    empty = line_plot([Panel([Series("a", []), Series("b", [(math.nan, 1.0)])], "x", "y")])
    assert len(at(empty, COLOURS[0])) == len(at(empty, COLOURS[1])) == 0
    with pytest.raises(ValueError, match="at least one panel"):
        line_plot([])


def test_no_letters_stand_in_each_others_way(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[object, str, tuple[float, float, float, float]]] = []
    text = ImageDraw.ImageDraw.text

    def note(self: ImageDraw.ImageDraw, xy, value, fill=None, font=None, anchor=None):  # type: ignore[no-untyped-def]
        box = self.textbbox(xy, value, font, anchor)
        assert box[0] >= 0, value
        assert box[1] >= 0, value
        assert box[2] <= self.im.size[0], value
        assert box[3] <= self.im.size[1], value
        drawn.append((self.im, value, box))
        text(self, xy, value, fill, font, anchor)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    long = [Series("a very long name of a run " * count, [(0, 20 + count / 7), (1_234_567, 21.0)]) for count in range(1, 12)]
    panels = [
        Panel(long, "steps " * 30, "PSNR (dB) " * 30, "At equal steps " * 30),
        Panel([RISING], "x", "y", x_ticks=[float(each) for each in range(101)]),
        Panel([Series("tiny", [(1e-5, 1e-5), (3e-5, 2e-5)])], "x", "y"),
        Panel([Series("one", [(250, 20.0)])], "x", "y"),
    ]
    line_plot(panels, header="A header " * 40, footer="A footer " * 80, size=(420, 300))
    for (image, first, a), (other, second, b) in itertools.combinations(drawn, 2):
        apart = image is not other or a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart or not first or not second, (first, second)
    assert sum(value.isdigit() for _, value, _ in drawn) > 10


def test_a_header_and_a_footer_are_above_and_below() -> None:
    bare = line_plot([Panel([RISING], "x", "y")])
    full = line_plot([Panel([RISING], "x", "y")], header="Header", footer="Footer")
    assert full.shape[0] > bare.shape[0]
    dark = np.flatnonzero((full == INK).all(axis=2).any(axis=1))
    assert dark[0] < MARGIN + 16

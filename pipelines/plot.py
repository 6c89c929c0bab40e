"""Line plots: quality against steps, time, or any other number, drawn so that a person can judge them at a glance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dataset_tools.lettering import font, line_height, short, wrap
from dataset_tools.sheets import FAINT, FRAME, INK, MARGIN, PAPER, Rgb

Point = tuple[float, float]  # x, y
Colour = tuple[int, int, int]
Pixels = NDArray[np.float64]  # (n, 2): x, y on the image, edges of pixels at integers

# Okabe and Ito 2008, which the colour-blind can tell apart too, without its yellow, which paper swallows.
COLOURS: tuple[Colour, ...] = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233))
GRAYS: tuple[Colour, ...] = ((72, 74, 78), (142, 144, 148))
DASHES = ((9, 5), (2, 4), (16, 5))  # pixels drawn, pixels left out; the second line of one colour takes the second
HEADER, TITLE, LABEL = 20, 16, 14  # sizes of the letters
GAP = 44  # pixels between panels
SWATCH = 30  # pixels of a line in the legend
DOT_EVERY = 14  # pixels: where points lie nearer on the whole, only the last one of a line is marked by a dot
FINE = 4  # lines are drawn this many times larger, then reduced


@dataclass(frozen=True)
class Series:
    """One line. A point that is not finite breaks it. In all panels, series of one name are one line of the legend."""

    name: str
    points: Sequence[Point]  # in the order in which they are joined
    dashed: bool = False  # gray and dashed: what the others are measured against
    like: str = ""  # a dashed series may take the colour of the series of this name


@dataclass(frozen=True)
class Panel:
    """One pair of axes, and what the numbers along them are, with units."""

    series: Sequence[Series]
    x: str
    y: str
    title: str = ""
    x_ticks: Sequence[float] = ()  # where the ticks are to stand; round numbers by default


@dataclass(frozen=True)
class _Style:
    colour: Colour
    dash: tuple[int, int] | None = None


def line_plot(
    panels: Sequence[Panel], *, header: str = "", footer: str = "", columns: int = 2, size: tuple[int, int] = (580, 400)
) -> Rgb:
    """The panels side by side under one legend: uint8 (height, width, 3) sRGB.

    Args:
        panels: `columns` of them in a row. One without a finite point says so.
        header, footer: lines above and below everything, broken at "\\n" and where the image ends.
        size: (width, height) of a panel with its labels, pixels.

    Raises:
        ValueError: no panel.
    """
    if not panels:
        raise ValueError("a plot needs at least one panel")
    width, height = size
    across = min(columns, len(panels))
    inner = across * width + (across - 1) * GAP
    styles = _styles(panels)
    legend = _legend(styles, inner)
    head, foot = wrap(header, HEADER, inner), wrap(footer, LABEL, inner)
    top = MARGIN + (len(head) * line_height(HEADER) + 6 if head else 0)
    body = top + legend.shape[0] + 14
    end = body + -(-len(panels) // across) * (height + 20)
    sheet = Image.new("RGB", (inner + 2 * MARGIN, end + len(foot) * line_height(LABEL) + MARGIN - 16), PAPER)
    sheet.paste(Image.fromarray(legend), (MARGIN, top))
    for index, panel in enumerate(panels):
        row, column = divmod(index, across)
        drawn = Image.fromarray(_panel(panel, styles, width, height))
        sheet.paste(drawn, (MARGIN + column * (width + GAP), body + row * (height + 20)))
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(head):
        pen.text((MARGIN, MARGIN - 4 + number * line_height(HEADER)), line, INK, font(HEADER))
    for number, line in enumerate(foot):
        pen.text((MARGIN, end + number * line_height(LABEL)), line, FAINT, font(LABEL))
    return np.array(sheet)  # (height, width, 3) uint8


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that cover low..high: about `most`, the outer ones at or beyond."""
    if high - low < 1e-9 * max(1.0, abs(low)):
        spread = abs(low) * 0.01 if abs(low) > 0.001 else 1.0
        low, high = low - spread, high + spread
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * most >= (high - low) * (1 - 1e-9))
    return [round(step * index, 12) for index in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """All with as many decimals as the one that needs most: 1,000 and 0.05; 2e+09 and 3e-05 where they would be long."""
    if not 1e-3 <= max(map(abs, values)) < 1e9:
        return [f"{value:.3g}" for value in values]
    needed = next((digits for digits in range(7) if all(math.isclose(round(v, digits), v, abs_tol=1e-9) for v in values)), 6)
    return [f"{value:,.{needed}f}" for value in values]


def _styles(panels: Sequence[Panel]) -> dict[str, _Style]:
    """A style for every name, whatever panel it stands in, in the order of their first appearance."""
    series: dict[str, Series] = {}
    for each in (each for panel in panels for each in panel.series):
        series.setdefault(each.name, each)
    lines = [name for name, each in series.items() if not each.dashed]
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(lines)}
    used: Counter[Colour | None] = Counter()  # dashed lines of each colour; None is gray
    styles = {}
    for name, each in series.items():
        if each.dashed:
            own = colours.get(each.like)
            styles[name] = _Style(own or GRAYS[used[None] % len(GRAYS)], DASHES[used[own] % len(DASHES)])
            used[own] += 1
        else:  # where the colours are used up, dashes tell lines apart
            again = lines.index(name) // len(COLOURS)
            styles[name] = _Style(colours[name], DASHES[(again - 1) % len(DASHES)] if again else None)
    return styles


def _legend(styles: dict[str, _Style], width: int) -> Rgb:
    """A swatch and a name for each style, in as many rows as it takes: uint8 (height, width, 3)."""
    names = {name: short(name, LABEL, width - SWATCH - 8) for name in styles}
    places, x, y = {}, 0, 0
    for name, shown in names.items():
        taken = SWATCH + 8 + math.ceil(font(LABEL).getlength(shown))
        if x and x + taken > width:
            x, y = 0, y + line_height(LABEL) + 2
        places[name] = (x, y)
        x += taken + 26
    canvas = _canvas(width, y + line_height(LABEL) + 2)
    for name, (x, y) in places.items():
        _stroke(canvas, np.array([(x + 1, y + 10.5), (x + SWATCH - 1, y + 10.5)]), styles[name])
    image = _reduced(canvas)
    pen = ImageDraw.Draw(image)
    for name, (x, y) in places.items():
        pen.text((x + SWATCH + 8, y + 11), names[name], INK, font(LABEL), anchor="lm")
    return np.array(image)


class _Axes:
    """Where the numbers of a panel of width × height pixels stand, and where its ticks are."""

    def __init__(self, panel: Panel, width: int, height: int):
        points = [point for each in panel.series for point in each.points if all(map(math.isfinite, point))]
        xs, ys = zip(*points, strict=True) if points else ((0.0, 1.0), (0.0, 1.0))
        self.empty = not points
        self.low = 0.0 if 0 <= min(xs) <= 0.3 * max(xs) else float(min(xs))  # an axis that begins near zero begins there
        span = (max(xs) - self.low) or 1.0
        self.y_ticks = ticks(min(ys), max(ys))
        self.x_ticks = [each for each in panel.x_ticks or ticks(self.low, self.low + span)
                        if self.low <= each <= self.low + span * (1 + 1e-9)]  # fmt: skip
        self.x_labels, self.y_labels = (tick_labels(each) if points else [] for each in (self.x_ticks, self.y_ticks))
        self.left = math.ceil(max((font(LABEL).getlength(label) for label in self.y_labels), default=0)) + 10
        self.right, self.top, self.bottom = width - 14, line_height(LABEL) + 4, height - 2 * line_height(LABEL) - 8
        self.top += line_height(TITLE) + 2 if panel.title else 0
        self.begin = self.left + (14 if self.low else 0)  # room for a dot
        self.x_scale = (self.right - self.begin) / span  # pixels
        self.y_scale = (self.bottom - self.top) / (self.y_ticks[-1] - self.y_ticks[0])

    def x(self, value: float) -> float:
        return self.begin + (value - self.low) * self.x_scale

    def y(self, value: float) -> float:
        return self.bottom - (value - self.y_ticks[0]) * self.y_scale

    def sparse(self, points: Sequence[Point]) -> bool:
        """True where there is room to mark every point."""
        return not points or abs(points[-1][0] - points[0][0]) * self.x_scale >= DOT_EVERY * (len(points) - 1)


def _panel(panel: Panel, styles: dict[str, _Style], width: int, height: int) -> Rgb:
    """One pair of axes with what stands around them, uint8 (height, width, 3)."""
    axes = _Axes(panel, width, height)
    canvas = _canvas(width, height)
    for tick in axes.y_ticks:
        y = round(axes.y(tick))
        canvas[y * FINE : (y + 1) * FINE, axes.left * FINE :] = FAINT if tick == axes.y_ticks[0] else FRAME
    for tick in axes.x_ticks:
        x = round(axes.x(tick))
        canvas[axes.bottom * FINE : (axes.bottom + 6) * FINE, x * FINE : (x + 1) * FINE] = FAINT
    dots = all(axes.sparse(each.points) for each in panel.series if not each.dashed)
    for each in sorted(panel.series, key=lambda one: not one.dashed):  # lines stand on top of what they are measured against
        for piece in _pieces(each.points):
            pixels = np.array([(axes.x(x), axes.y(y)) for x, y in piece])
            _stroke(canvas, pixels, styles[each.name], 0 if each.dashed else len(piece) if dots else 1)
    image = _reduced(canvas)
    _letter(ImageDraw.Draw(image), panel, axes, width, height)
    return np.array(image)


def _letter(pen: ImageDraw.ImageDraw, panel: Panel, axes: _Axes, width: int, height: int) -> None:
    small, space, centre = font(LABEL), axes.right - axes.left, (axes.left + axes.right) / 2
    pen.text((axes.left, 0), short(panel.title, TITLE, space), INK, font(TITLE))
    pen.text((axes.left, axes.top - line_height(LABEL) - 6), short(panel.y, LABEL, space), FAINT, small)
    pen.text((centre, height - 3), short(panel.x, LABEL, space), FAINT, small, anchor="md")
    if axes.empty:
        pen.text((centre, (axes.top + axes.bottom) / 2), "no figures", FAINT, font(TITLE), anchor="mm")
        return
    for tick, label in zip(axes.y_ticks, axes.y_labels, strict=True):
        pen.text((axes.left - 8, axes.y(tick)), label, FAINT, small, anchor="rm")
    free = -math.inf  # where the label before ends
    for tick, label in zip(axes.x_ticks, axes.x_labels, strict=True):
        half = small.getlength(label) / 2
        if axes.x(tick) - half > free:
            pen.text((min(axes.x(tick), width - math.ceil(half)), axes.bottom + 9), label, FAINT, small, anchor="ma")
            free = axes.x(tick) + half + 8


def _pieces(points: Sequence[Point]) -> list[list[Point]]:
    """The longest stretches of points that are finite."""
    pieces: list[list[Point]] = [[]]
    for point in points:
        if all(map(math.isfinite, point)):
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _canvas(width: int, height: int) -> Rgb:
    return np.full((height * FINE, width * FINE, 3), PAPER, np.uint8)


def _reduced(canvas: Rgb) -> Image.Image:
    size = (canvas.shape[1] // FINE, canvas.shape[0] // FINE)
    return Image.fromarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA))


def _stroke(canvas: Rgb, points: Pixels, style: _Style, dots: int = 0) -> None:
    """Draws a line through `points` onto the fine canvas, and a dot at each of the last `dots` of them."""
    for stretch in _dashes(points, *style.dash) if style.dash else [points]:
        cv2.polylines(canvas, [np.round(stretch * FINE).astype(np.int32)], False, style.colour, round(2.5 * FINE), cv2.LINE_AA)
    for x, y in np.round(points[len(points) - dots :] * FINE).astype(int).tolist():
        for radius, colour in ((5.5, PAPER), (4, style.colour)):  # a rim keeps dots of other lines apart
            cv2.circle(canvas, (x, y), round(radius * FINE), colour, -1, cv2.LINE_AA)


def _dashes(points: Pixels, on: int, off: int) -> list[Pixels]:
    """The line through `points` (n, 2), cut into stretches of `on` pixels with `off` pixels between them."""
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    cut = []
    for start in np.arange(0, lengths[-1], on + off):
        stops = np.array([start, *lengths[(lengths > start) & (lengths < start + on)], min(start + on, lengths[-1])])
        cut.append(np.column_stack([np.interp(stops, lengths, points[:, axis]) for axis in (0, 1)]))
    return cut

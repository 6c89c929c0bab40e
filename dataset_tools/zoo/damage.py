"""Damage: what hands, drawers and years do to a print. Every size is a share of the picture's shorter side."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.zoo.options import Record, Rgb, entry, mix, real, side_units, to_uint8, whole, word

Mask = NDArray[np.uint8]  # (H, W), 0 to 255: how much of the paper or the dirt shows

_PAPER = np.array((247, 243, 234))  # under the emulsion
_DIRT = np.array((34, 29, 24))
_STAIN = np.array((0.70, 0.53, 0.31))  # what is left of the light in R, G, B
_FINE = 2  # masks are drawn this many times finer
_SHIFT = 4  # and with 4 bits after the point
_TONES = ("light", "dark")
_TONE_HELP = "light: the paper shows; dark: dirt lies on it"


def _canvas(rgb: Rgb) -> Mask:
    return np.zeros((rgb.shape[0] * _FINE, rgb.shape[1] * _FINE), np.uint8)


def _shrunk(mask: Mask, rgb: Rgb) -> Mask:
    return np.asarray(cv2.resize(mask, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_AREA), np.uint8)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Points (N, 2) in pixels as OpenCV takes them on the finer mask."""
    return np.rint(points * (_FINE << _SHIFT)).astype(np.int32)


def _thickness(pixels: float) -> int:
    return max(1, round(pixels * _FINE))


def _stroke(mask: Mask, points: NDArray[np.float64], levels: NDArray[np.float64], pixels: float) -> None:
    """A line through `points` (N, 2), its opacity going by `levels` (N - 1,) in 0..1; nothing where that is 0."""
    places = _fixed(points)
    for start, end, level in zip(places[:-1], places[1:], levels, strict=True):
        if level > 0:
            value = float(round(255 * level))
            cv2.line(mask, start.tolist(), end.tolist(), value, _thickness(pixels), cv2.LINE_AA, _SHIFT)


def _wander(rng: np.random.Generator, steps: int, smooth: int) -> NDArray[np.float64]:
    """A smooth random curve of `steps` values, about -1 to 1, that turns every `smooth` steps or so."""
    knots = rng.uniform(-1, 1, steps // smooth + 2)
    return np.interp(np.arange(steps) / smooth, np.arange(len(knots)), knots)


def _scratches(rgb: Rgb, record: Record) -> Rgb:
    rng, unit = np.random.default_rng(record["seed"]), side_units(rgb)
    mask, (height, width) = _canvas(rgb), rgb.shape[:2]
    for _ in range(record["count"]):
        level = rng.uniform(0.4, 1.0)
        length = rng.uniform(0.15, 1.2) * min(height, width)
        angle = rng.normal(90, 4) if record["direction"] == "upright" else rng.uniform(0, 180)
        steps = max(4, round(length / (4 * unit)))
        headings = np.radians(angle + 5 * _wander(rng, steps, 6) + 2 * rng.uniform(-1, 1, steps))
        moves = (length / steps) * np.stack([np.cos(headings), np.sin(headings)], axis=1)
        points = np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)])
        points += rng.uniform((0, 0), (width, height)) - points.mean(axis=0)
        ends = np.minimum(np.arange(steps) + 1, steps - np.arange(steps)) / max(1, steps / 5)  # a scratch begins and ends faintly
        levels = level * np.clip(0.75 + 0.6 * _wander(rng, steps, 4), 0, 1) * np.minimum(1, ends)
        _stroke(mask, points, levels, record["width"] * unit * rng.uniform(0.6, 1.4))
    return mix(rgb, _PAPER if record["tone"] == "light" else _DIRT, _shrunk(mask, rgb))


def _dust(rgb: Rgb, record: Record) -> Rgb:
    rng, unit = np.random.default_rng(record["seed"]), side_units(rgb)
    mask, (height, width) = _canvas(rgb), rgb.shape[:2]
    for _ in range(record["specks"]):
        radius = record["size"] * unit * (0.35 + rng.exponential(0.4))
        corners = (np.arange(7) + rng.uniform(-0.3, 0.3, 7)) * (2 * math.pi / 7)
        reach = radius * rng.uniform(0.75, 1.15, 7)
        outline = rng.uniform((0, 0), (width, height)) + np.stack([reach * np.cos(corners), reach * np.sin(corners)], axis=1)
        cv2.fillConvexPoly(mask, _fixed(outline), float(rng.integers(120, 256)), cv2.LINE_AA, _SHIFT)
    for _ in range(record["hairs"]):
        steps = 16
        bend = rng.uniform(-14, 14) + 8 * _wander(rng, steps, 4)  # degrees a step
        headings = np.radians(rng.uniform(0, 360) + np.cumsum(bend))
        moves = rng.uniform(10, 34) * unit / steps * np.stack([np.cos(headings), np.sin(headings)], axis=1)
        points = rng.uniform((0, 0), (width, height)) + np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)])
        _stroke(mask, points, np.full(steps, rng.uniform(0.45, 0.9)), 0.5 * unit)
    return mix(rgb, _PAPER if record["tone"] == "light" else _DIRT, _shrunk(mask, rgb))


def _folds(rgb: Rgb, record: Record) -> Rgb:
    rng, unit = np.random.default_rng(record["seed"]), side_units(rgb)
    height, width = rgb.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = rgb.copy()
    for _ in range(record["count"]):
        corner = rng.random() < 0.35  # a corner turned over; else a fold across the middle
        base = (45 if rng.random() < 0.5 else 135) if corner else (0 if rng.random() < 0.5 else 90)
        angle = math.radians(base + rng.normal(0, 10 if corner else 3))
        place = rng.uniform(0.12, 0.3, 2) if corner else rng.uniform(0.3, 0.7, 2)
        place = np.where((rng.random(2) < 0.5) & corner, 1 - place, place) * (width, height)
        along = (x - place[0]) * math.cos(angle) + (y - place[1]) * math.sin(angle)
        reach = math.hypot(height, width)
        table = np.linspace(-reach, reach, 257)
        bow = np.interp(along, table, 1.2 * unit * _wander(rng, 257, 24) + 0.35 * unit * _wander(rng, 257, 2))
        across = ((y - place[1]) * math.cos(angle) - (x - place[0]) * math.sin(angle) - bow) / unit  # in 1/256 of the side
        side = math.copysign(1.0, rng.uniform(-1, 1))
        shade = 40 * side * across / (3 + 1.5 * np.abs(across) + across**2 / 6)  # a ridge, lit from one side
        broken = np.interp(along, table, np.clip(0.7 + 0.9 * _wander(rng, 257, 3) + 0.5 * rng.uniform(-1, 1, 257), 0, 1))
        crack = record["strength"] * np.clip(1.2 * broken * record["width"] * unit + 0.5 - unit * np.abs(across), 0, 1)
        shaded = to_uint8(rgb + (record["strength"] * shade)[:, :, None])
        rgb = mix(shaded, _PAPER, np.rint(255 * crack).astype(np.uint8))
    return rgb


def _stains(rgb: Rgb, record: Record) -> Rgb:
    rng, side = np.random.default_rng(record["seed"]), min(rgb.shape[:2])
    height, width = rgb.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    light = np.ones((height, width, 3))
    for _ in range(record["count"]):
        radius = record["size"] * side * rng.uniform(0.6, 1.3)
        centre_x, centre_y = rng.uniform((-0.05, -0.05), (1.05, 1.05)) * (width, height)
        rough = sum(_cloud(rng, cells, rgb.shape) * share for cells, share in ((5, 0.5), (14, 0.2), (40, 0.07)))
        inside = 1 - np.sqrt((x - centre_x) ** 2 + (y - centre_y) ** 2) / radius + rough  # 0 on the edge, grows inwards
        body = np.clip(inside / 0.08, 0, 1) * (0.55 + 0.25 * rough)
        rim = np.clip(1 - np.abs(inside - 0.06) / 0.06, 0, 1)  # where the liquid dried last: the tide line
        share = record["strength"] * np.clip(body + 0.5 * rim, 0, 1)
        light *= 1 - share[:, :, None] * (1 - _STAIN)
    return to_uint8(rgb * light)


def _cloud(rng: np.random.Generator, cells: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Smooth noise, (H, W) about -1 to 1, of `cells` values along each side."""
    values = rng.uniform(-1, 1, (cells, cells))
    return np.asarray(cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float64)


ENTRIES = (
    entry(
        "scratches",
        "thin lines where the emulsion is gone",
        {
            "count": whole(0, 200, (4, 12), "how many", "2..10"),
            "width": real(0.2, 16, (0.4, 0.8), "in 1/256 of the shorter side", "0.5..1.5"),
            "direction": word(("any", "upright"), "any", "upright: along the film, as a projector leaves them"),
            "tone": word(_TONES, "light", _TONE_HELP),
        },
        _scratches,
        seeded=True,
    ),
    entry(
        "dust",
        "specks and hairs that lay on the picture when it was copied",
        {
            "specks": whole(0, 2000, (30, 90), "how many specks", "20..100"),
            "hairs": whole(0, 200, (1, 5), "how many hairs", "0..5"),
            "size": real(0.2, 16, (0.8, 1.4), "radius of a larger speck in 1/256 of the shorter side", "0.5..2"),
            "tone": word(_TONES, "light", _TONE_HELP),
        },
        _dust,
        seeded=True,
    ),
    entry(
        "folds",
        "creases: a broken white line between a light and a dark slope",
        {
            "count": whole(0, 20, (1, 2), "how many; most go across the middle, some across a corner", "1..3"),
            "width": real(0.1, 16, (0.6, 1.4), "of the broken line in 1/256 of the shorter side", "0.5..2"),
            "strength": real(0, 1, (0.6, 1.0), "of the line and the shading", "0.4..1"),
        },
        _folds,
        seeded=True,
    ),
    entry(
        "stains",
        "brown patches of a dried liquid, darker along their edge",
        {
            "count": whole(0, 50, (1, 3), "how many", "1..4"),
            "size": real(0.01, 2, (0.15, 0.35), "radius as a share of the shorter side", "0.1..0.4"),
            "strength": real(0, 1, (0.4, 0.8), "0 leaves the picture as it is", "0.3..0.8"),
        },
        _stains,
        seeded=True,
    ),
)

"""What an entry of the zoo is made of: its options, how they are written and drawn, and the scene it is laid on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB
Record = Mapping[str, Any]  # what was drawn, JSON-safe
Value = int | float | str | tuple[int, int] | tuple[float, float]  # a tuple is a range lo..hi, both included
Point = tuple[float, float]  # x, y in pixels

_NUMBER = r"-?[0-9]{1,17}(?:\.[0-9]{1,20})?(?:e[+-]?[0-9]{1,3})?"
_SEED_BITS = 32


@dataclass(frozen=True)
class Scene:
    """What is known of a raster before it is degraded; all geometry in its pixels.

    box: (x, y, width, height) of the face. eyes: the person's right eye and left eye, as (x, y). Both None where there is no
    face. scale: raster pixels per pixel of the crop; not 1 where a step is laid on the photo before it is cropped.
    """

    shape: tuple[int, int]  # (H, W)
    box: tuple[float, float, float, float] | None = None
    eyes: tuple[Point, Point] | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Option:
    """One option of a degradation. `parse` takes what a person wrote; its ValueError says what is allowed.

    allowed: the same for documents. choices: the words that "random" draws from. quiet: its default adds nothing, and is
    therefore left out of a step's canonical text.
    """

    default: Value
    help: str
    parse: Callable[[str], Value]
    allowed: str = ""
    choices: tuple[str, ...] = ()
    quiet: bool = False


Draw = Callable[[np.random.Generator, Mapping[str, Any], Scene], dict[str, Any]]


@dataclass(frozen=True)
class Degradation:
    """One entry of the registry.

    draw: (rng, options, scene) -> JSON-safe parameters. apply: (rgb uint8 (H, W, 3), parameters) -> rgb of the same shape;
    pure, and it never writes into its input.
    """

    name: str
    summary: str
    options: Mapping[str, Option]
    draw: Draw
    apply: Callable[[Rgb, Record], Rgb]


def entry(
    name: str, summary: str, options: Mapping[str, Option], apply: Callable[[Rgb, Record], Rgb], *, seeded: bool = False
) -> Degradation:
    """A degradation whose record is one value for each option, and a seed where `apply` needs more random numbers."""

    def draw(rng: np.random.Generator, values: Mapping[str, Any], scene: Scene) -> dict[str, Any]:
        record = {key: draw_value(rng, values[key], option) for key, option in options.items()}
        return {**record, "seed": int(rng.integers(1 << _SEED_BITS))} if seeded else record

    return Degradation(name, summary, options, draw, apply)


def draw_value(rng: np.random.Generator, value: Any, option: Option) -> int | float | str:
    """One value of a range, uniformly, or of the choices where it is "random"; takes a number from `rng` in every case."""
    if isinstance(value, str):
        word = option.choices[int(rng.integers(len(option.choices)))]
        return word if value == "random" else value
    low, high = value
    if isinstance(low, int) and isinstance(high, int):
        return int(rng.integers(low, high + 1))
    drawn = round(float(low + (high - low) * rng.random()), 4)
    return float(min(max(drawn, low), high))


def whole(low: int, high: int, default: int | tuple[int, int], help: str, example: str) -> Option:
    """An option that takes a whole number or a range of them."""
    allowed = f"whole numbers from {low} to {high}, or a range such as {example}"

    def parse(text: str) -> tuple[int, int]:
        found = re.fullmatch(r"([0-9]{1,6})(?:\.\.([0-9]{1,6}))?", text, re.ASCII)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (low - 1, low - 1)
        if not low <= first <= last <= high:
            raise ValueError(allowed)
        return first, last

    return Option(default if isinstance(default, tuple) else (default, default), help, parse, allowed)


def real(low: float, high: float, default: float | tuple[float, float], help: str, example: str, quiet: bool = False) -> Option:
    """An option that takes a number or a range of them."""
    allowed = f"numbers from {low:g} to {high:g}, or a range such as {example}"

    def parse(text: str) -> tuple[float, float]:
        found = re.fullmatch(rf"({_NUMBER})(?:\.\.({_NUMBER}))?", text, re.ASCII)
        if not found:
            raise ValueError(allowed)
        first, last = float(found[1]) + 0.0, float(found[2] or found[1]) + 0.0  # + 0.0: no negative zero
        if not low <= first <= last <= high:
            raise ValueError(allowed)
        return first, last

    pair = default if isinstance(default, tuple) else (default, default)
    return Option((float(pair[0]), float(pair[1])), help, parse, allowed, quiet=quiet)


def word(choices: tuple[str, ...], default: str, help: str, *, random: bool = True, quiet: bool = False) -> Option:
    """An option that takes one of some words; `random` draws among them."""
    words = (*choices, "random") if random else choices
    allowed = f"{', '.join(words[:-1])} or {words[-1]}"

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(allowed)
        return text

    return Option(default, help, parse, allowed, choices, quiet)


def write(value: Value) -> str:
    """`value` as a person writes it; what `parse` of its option takes back unchanged."""
    if isinstance(value, tuple):
        low, high = value
        return write(low) if low == high else f"{write(low)}..{write(high)}"
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _parse_probability(text: str) -> float:
    value = float(text) if re.fullmatch(_NUMBER, text, re.ASCII) else -1.0
    if not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1")
    return float(abs(value))  # no negative zero


PROBABILITY = Option(
    1.0, "probability that the step is applied to an image", _parse_probability, "a number from 0 to 1", quiet=True
)


def side_units(rgb: Rgb) -> float:
    """1/256 of the shorter side in pixels: damage has a size on the picture, not in pixels."""
    return min(int(rgb.shape[0]), int(rgb.shape[1])) / 256


def mix(rgb: Rgb, other: NDArray[Any], weight: NDArray[np.uint8]) -> Rgb:
    """`rgb` where weight is 0, `other` where it is 255, between them by whole numbers: weight (H, W), other (H, W, 3) or (3,)."""
    share = weight[:, :, None].astype(np.int32)
    mixed: Rgb = ((share * other + (255 - share) * rgb + 127) // 255).astype(np.uint8)
    return mixed


def to_uint8(values: NDArray[Any]) -> Rgb:
    """Grey levels as floats, rounded and clipped to 0..255."""
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)

"""The registry of degradations: what can be done to an original B to make the input A.

Each one draws once and applies purely. `draw` turns options (such as a range of blocks) and a random generator into a
small record that JSON can hold; `apply` makes the image from the record, the same one every time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_tools import mosaic_grid
from dataset_tools.errors import DatasetError, UsageError

MAX_BLOCK = 1024  # pixels

Value = int | str | tuple[int, int]  # a tuple is a range lo..hi, both included


@dataclass(frozen=True)
class Option:
    """One option of a degradation. `parse` takes what a person wrote; its ValueError says what is allowed."""

    default: Value
    help: str
    parse: Callable[[str], Value]


@dataclass(frozen=True)
class Degradation:
    """One entry of the registry.

    draw: (rng, options, (H, W)) -> JSON-safe parameters. apply: (rgb uint8 (H, W, 3), parameters) -> rgb of the same shape;
    pure, and it never writes into its input.
    """

    name: str
    summary: str
    options: Mapping[str, Option]
    draw: Callable[[np.random.Generator, Mapping[str, Any], tuple[int, int]], dict[str, Any]]
    apply: Callable[[NDArray[np.uint8], Mapping[str, Any]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Step:
    """One degradation of a recipe with every option it has, defaults filled in."""

    name: str
    options: dict[str, Value]


# --- mosaic


def _parse_blocks(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,6})(?:\.\.([0-9]{1,6}))?", text)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= low <= high <= MAX_BLOCK:
        raise ValueError(f"whole pixels from 1 to {MAX_BLOCK}, or a range such as 8..24")
    return low, high


def _parse_phase(text: str) -> int | str:
    if text not in ("0", "random"):
        raise ValueError("0 or random")
    return 0 if text == "0" else text


def _draw_mosaic(rng: np.random.Generator, options: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    low, high = options["block"]
    block = int(rng.integers(low, high + 1))
    phases = rng.integers(block, size=2) if options["phase"] == "random" else (0, 0)
    return {"block": block, "phase_y": int(phases[0]), "phase_x": int(phases[1])}


def _apply_mosaic(rgb: NDArray[np.uint8], drawn: Mapping[str, Any]) -> NDArray[np.uint8]:
    grid = mosaic_grid.Grid(drawn["block"], drawn["phase_y"], drawn["phase_x"])
    return mosaic_grid.paint(mosaic_grid.cell_means(rgb, grid), grid, (rgb.shape[0], rgb.shape[1]))


# --- grayscale


def _apply_grayscale(rgb: NDArray[np.uint8], drawn: Mapping[str, Any]) -> NDArray[np.uint8]:
    luma = (rgb @ np.array([299, 587, 114]) + 500) // 1000  # (H, W), ITU-R BT.601
    return np.repeat(luma.astype(np.uint8)[:, :, None], 3, axis=2)


REGISTRY: dict[str, Degradation] = {
    entry.name: entry
    for entry in (
        Degradation(
            name="mosaic",
            summary="square cells, each filled with the mean of its pixels",
            options={
                "block": Option(
                    (16, 16), "pixels along the side of a cell, or a range such as 8..24, drawn uniformly", _parse_blocks
                ),
                "phase": Option(0, "where the first whole cell starts: 0, the corner of the image, or random", _parse_phase),
            },
            draw=_draw_mosaic,
            apply=_apply_mosaic,
        ),
        Degradation(
            name="grayscale",
            summary="the luma of ITU-R BT.601 in three equal channels",
            options={},
            draw=lambda rng, options, shape: {},
            apply=_apply_grayscale,
        ),
    )
}


def parse(text: str) -> Step:
    """The step that a person wrote as NAME or NAME:OPTION=VALUE,…, such as "mosaic:block=8..24,phase=random".

    Raises:
        UsageError: no such degradation, option or value; the line says what is allowed and what came.
    """
    shown = f"--degrade {_shown(text)}"
    name, colon, rest = text.partition(":")
    if name not in REGISTRY:
        raise UsageError(f"{shown}: there is no degradation {_shown(name)}; there are: {', '.join(sorted(REGISTRY))}")
    known = REGISTRY[name].options
    given: dict[str, Value] = {}
    for part in rest.split(",") if colon else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"{shown}: expected OPTION=VALUE after the colon; received {_shown(part)}")
        if key not in known:
            raise UsageError(f"{shown}: {name} has no option {_shown(key)}; it has: {', '.join(known) or 'none'}")
        if key in given:
            raise UsageError(f"{shown}: {key} is given twice")
        try:
            given[key] = known[key].parse(value)
        except ValueError as error:
            raise UsageError(f"{shown}: {key} takes {error}; received {_shown(value)}") from None
    return Step(name, {key: given.get(key, option.default) for key, option in known.items()})


def describe(step: Step) -> str:
    """The canonical text of a step, every option named: `parse(describe(step)) == step`."""
    options = ",".join(f"{key}={_write(step.options[key])}" for key in REGISTRY[step.name].options)
    return f"{step.name}:{options}" if options else step.name


def draw(recipe: Sequence[Step], rng: np.random.Generator, shape: tuple[int, int]) -> list[dict[str, Any]]:
    """What the recipe does to one image of `shape` (H, W): a JSON-safe record a step, {"name": …, its parameters}."""
    return [{"name": step.name, **REGISTRY[step.name].draw(rng, step.options, shape)} for step in recipe]


def apply(rgb: NDArray[np.uint8], drawn: Sequence[Mapping[str, Any]]) -> NDArray[np.uint8]:
    """The steps of `draw` in order on uint8 (H, W, 3) sRGB; the same shape. Pure; no step gives `rgb` itself.

    Raises:
        DatasetError: a record of a degradation that this version does not know.
    """
    for record in drawn:
        if record["name"] not in REGISTRY:
            raise DatasetError(
                f"the degradation {record['name']} is unknown to this version; it has: {', '.join(sorted(REGISTRY))}"
            )
        rgb = REGISTRY[record["name"]].apply(rgb, record)
    return rgb


def _shown(text: str) -> str:
    return text if text and text.isprintable() else ascii(text)


def _write(value: Value) -> str:
    if not isinstance(value, tuple):
        return str(value)
    low, high = value
    return str(low) if low == high else f"{low}..{high}"

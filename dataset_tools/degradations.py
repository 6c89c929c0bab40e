"""The registry of degradations: what can be done to an original B to make the input A; and recipes of several of them.

Each one draws once and applies purely. `draw` turns options (such as a range of blocks) and a random generator into a
small record that JSON can hold; `apply` makes the image from the record, the same one every time. The entries themselves
are in zoo/, a module for each cause; docs/degradations.md shows them all.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_tools import resources
from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.zoo import damage, media, mosaic, noise, optics, options, tone
from dataset_tools.zoo.mosaic import MAX_BLOCK
from dataset_tools.zoo.options import PROBABILITY, Degradation, Option, Scene, Value

__all__ = ["MAX_BLOCK", "REGISTRY", "Degradation", "Option", "Scene", "Step", "apply", "check", "describe", "draw",
           "in_photo", "load_recipe", "parse", "settle", "shipped_recipes"]  # fmt: skip

REGISTRY: dict[str, Degradation] = {
    entry.name: replace(entry, options={**entry.options, "p": PROBABILITY})
    for module in (mosaic, tone, optics, noise, media, damage)
    for entry in module.ENTRIES
}


@dataclass(frozen=True)
class Step:
    """One degradation of a recipe with every option it has, defaults filled in."""

    name: str
    options: dict[str, Value]


def parse(text: str, option: str = "--degrade") -> Step:
    """The step that a person wrote as NAME or NAME:OPTION=VALUE,…, such as "mosaic:block=8..24,phase=random".

    Raises:
        UsageError: no such degradation, option or value; the line says what is allowed and what came.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    return _step(name, rest.split(",") if colon else (), f"{option} {_shown(text)}")


def _step(name: str, parts: Sequence[str], where: str) -> Step:
    """The step of a name and its OPTION=VALUE texts; `where` is what an error's line begins with."""
    if name not in REGISTRY:
        raise UsageError(f"{where}: there is no degradation {_shown(name)}{_meant(name, REGISTRY)}; "
                         f"there are: {', '.join(sorted(REGISTRY))}")  # fmt: skip
    known = REGISTRY[name].options
    given: dict[str, Value] = {}
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"{where}: expected OPTION=VALUE after the colon; received {_shown(part)}")
        if key not in known:
            raise UsageError(f"{where}: {name} has no option {_shown(key)}{_meant(key, known)}; it has: {', '.join(known)}")
        if key in given:
            raise UsageError(f"{where}: {key} is given twice")
        try:
            given[key] = known[key].parse(value)
        except ValueError as error:
            raise UsageError(f"{where}: {key} takes {error}; received {_shown(value)}") from None
    return Step(name, {key: given.get(key, option.default) for key, option in known.items()})


def describe(step: Step) -> str:
    """The canonical text of a step: `parse(describe(step)) == step`.

    Every option is named, so that a later version with other defaults reads it alike; but those whose default adds nothing
    (p=1, a mosaic's region=whole) only where they were changed.
    """
    known = REGISTRY[step.name].options
    told = [key for key, option in known.items() if not (option.quiet and step.options[key] == option.default)]
    text = ",".join(f"{key}={options.write(step.options[key])}" for key in told)
    return f"{step.name}:{text}" if text else step.name


def in_photo(step: Step) -> bool:
    """Whether the step is laid on the photo before it is cropped, of some images at least."""
    return step.options.get("space") in ("photo", "random")


def settle(steps: Sequence[Step], rng: np.random.Generator) -> list[Step]:
    """The steps for one image: where a step has space=random, `rng` tosses one coin for all of them. Else it draws nothing."""
    if not any(step.options.get("space") == "random" for step in steps):
        return list(steps)
    space = ("crop", "photo")[int(rng.integers(2))]
    return [
        replace(step, options={**step.options, "space": space}) if step.options.get("space") == "random" else step
        for step in steps
    ]


def reach(steps: Sequence[Step]) -> int:
    """How far apart pixels may lie, in pixels of the crop, of which a step on the photo makes one: its largest cell."""
    blocks = (step.options["block"] for step in steps if in_photo(step))
    return max((int(block[1] if isinstance(block, tuple) else block) for block in blocks), default=0)


def check(steps: Sequence[Step], where: str = "--degrade") -> None:
    """Raises UsageError, a line that begins with `where`, if a step on the photo follows one on the crop, which is made later."""
    on_crop: Step | None = None
    for step in steps:
        random = step.options.get("space") == "random"
        if in_photo(step) and on_crop is not None and not (random and in_photo(on_crop)):
            raise UsageError(
                f"{where} {describe(step)} is laid on the photo before it is cropped, and cannot follow {on_crop.name}, "
                "which is laid on the crop: put it first"
            )
        if not in_photo(step) or (random and on_crop is None):
            on_crop = step


def draw(steps: Sequence[Step], rng: np.random.Generator, scene: Scene | tuple[int, int]) -> list[dict[str, Any]]:
    """What the steps do to one image of `scene` (its (H, W), where no more is known): JSON-safe records {"name": …, …}.

    A step that its `p` leaves out has no record. Every step takes one number from `rng`, which seeds all that it draws: what
    one step draws depends on nothing but `rng`, its place and its own options, and not on the p or the ranges of the others.
    """
    if not isinstance(scene, Scene):
        scene = Scene(scene)
    drawn = []
    for step in steps:
        own = np.random.default_rng(int(rng.integers(1 << 63)))
        probability = step.options["p"]
        assert isinstance(probability, float)
        if own.random() < probability:
            drawn.append({"name": step.name, **REGISTRY[step.name].draw(own, step.options, scene)})
    return drawn


def apply(rgb: NDArray[np.uint8], drawn: Sequence[Mapping[str, Any]]) -> NDArray[np.uint8]:
    """The steps of `draw` in order on uint8 (H, W, 3) sRGB; the same shape. Pure; no step gives `rgb` itself.

    The numbers of a record are pixels of the raster that it was drawn for.

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


def shipped_recipes() -> list[str]:
    """The names of the recipes that ship."""
    return sorted(path.stem for path in resources.path("recipes").glob("*.toml"))


def load_recipe(name_or_path: str) -> tuple[str, ...]:
    """The steps of a recipe as canonical texts. A name without "/" and ".toml" is that of a recipe that ships.

    The file is TOML: `description = "…"` and a `[[degrade]]` table a step, in order, with its `name` and its options as
    numbers, as texts, or as [low, high].

    Raises:
        UsageError: no such recipe, or a file that is none; the line names the file and the step.
    """
    path, shown = Path(name_or_path), f"the recipe {_shown(name_or_path)}"
    if "/" not in name_or_path and not name_or_path.endswith(".toml"):
        names = shipped_recipes()
        if name_or_path not in names:
            raise UsageError(f"{shown} does not ship (there are: {', '.join(names)}); give a file of your own as FILE.toml")
        path = resources.path(f"recipes/{name_or_path}.toml")
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no TOML, or no name that a file can have
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else f"it is no TOML ({error})"
        raise UsageError(f"{shown} cannot be read: {_shown(reason)}") from error
    tables = content.get("degrade")
    if not content.keys() <= {"description", "degrade"} or not isinstance(tables, list) or not tables:
        raise UsageError(f"{shown} must hold [[degrade]] tables, may hold a description, and nothing else; "
                         f"received {_shown(', '.join(content)) if content else 'an empty file'}")  # fmt: skip
    steps = [_step_of_table(table, f"{shown}, [[degrade]] {number}") for number, table in enumerate(tables, 1)]
    check(steps, f"{shown}:")
    return tuple(map(describe, steps))


def _step_of_table(table: Any, where: str) -> Step:
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise UsageError(f'{where}: a step has a name, as in name = "jpeg"')
    return _step(table["name"], [f"{key}={_text(value)}" for key, value in table.items() if key != "name"], where)


def _text(value: Any) -> str:
    """A TOML value as it would be written after --degrade; what has no such form is refused by the option that gets it."""
    if isinstance(value, list) and len(value) == 2 and all(type(each) in (int, float) for each in value):
        return f"{options.write(value[0])}..{options.write(value[1])}"
    return options.write(value) if type(value) in (int, float) else json.dumps(value) if isinstance(value, bool) else str(value)


def _meant(word: str, known: Iterable[str]) -> str:
    """What a person may have meant by a word that is not known, as an aside."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f" (do you mean {near[0]}?)" if near else ""


def _shown(text: str) -> str:
    return text if text and text.isprintable() else ascii(text)

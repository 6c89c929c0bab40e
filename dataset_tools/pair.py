"""Two folders that hold both sides already -> a dataset folder. Matched by relative path without suffix."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from dataset_tools.archive import Source, group_rule, labels, walk
from dataset_tools.build import BuildReport, Progress, check_apart, open_for_building, run
from dataset_tools.engines import default_workers
from dataset_tools.errors import UsageError
from dataset_tools.groups import parse_split
from dataset_tools.manifest import STATE, Row
from dataset_tools.staging import PairStager, check_size


@dataclass(frozen=True)
class PairRecipe:
    """What makes a dataset of given pairs what it is."""

    size: int = 256  # S: a pair is S × 2S pixels
    resize: bool = False  # bring images of other sizes to S × S; else they are rejected
    seed: int = 0
    group_by: str | None = None
    split: str = "80/10/10"

    def to_json(self) -> Row:
        return {"made_by": "pair", **vars(self)}


def pair_dataset(
    a_folder: Path,
    b_folder: Path,
    dataset: Path,
    recipe: PairRecipe | None = None,
    *,
    workers: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Builds `dataset` from the images of `a_folder` (inputs) and `b_folder` (originals) that share a relative path.

    Suffixes do not count: x/1.png belongs to x/1.jpg. What has no partner, several, or another size is a row with a reason.

    Raises:
        As `build_dataset`.
    """
    recipe = recipe or PairRecipe()
    parse_split(recipe.split)
    check_size(recipe.size)
    check_apart((a_folder, b_folder), dataset)
    if os.path.realpath(a_folder) == os.path.realpath(b_folder):
        raise UsageError(f"A_DIR and B_DIR are the same folder {a_folder}: give the degraded photos and the originals")
    rule = group_rule(recipe.group_by, f"{labels((a_folder, b_folder))[1]}/")  # the path inside B_DIR decides
    sources, linked = walk((a_folder, b_folder))
    by_key: dict[bytes, list[Source]] = defaultdict(list)
    for source in sources:
        by_key[_without_suffix(source.relative)].append(source)
    jobs = [tuple(by_key[key]) for key in sorted(by_key)]
    with open_for_building(dataset, recipe.to_json(), fresh):
        stager = PairStager(recipe.size, recipe.resize, dataset / STATE / "staging")
        info = {"archives": labels((a_folder, b_folder)), "recipe": recipe.to_json(), "size": recipe.size,
                "seed": recipe.seed, "detector": None}  # fmt: skip
        report = run(dataset, jobs, stager, info, rule, workers or default_workers(), progress)
    report.linked_folders = linked
    return report


def _without_suffix(relative: bytes) -> bytes:
    folder, slash, name = relative.rpartition(b"/")
    stem, dot, _ = name.rpartition(b".")
    return folder + slash + (stem if dot and stem else name)

"""Two folders that hold both sides already -> a dataset folder. Matched by relative path without suffix."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dataset_tools import image_io
from dataset_tools.archive import Source, group_rule, labels, sha256, walk
from dataset_tools.build import (
    BuildReport,
    Means,
    check_apart,
    check_license,
    check_not_empty,
    open_for_building,
    remembered_license,
    run,
)
from dataset_tools.dataset import is_dataset
from dataset_tools.errors import DatasetError, OutputError, UsageError
from dataset_tools.groups import parse_split
from dataset_tools.image_formats import UNREAD_SUFFIXES
from dataset_tools.manifest import STATE, Row, crop_row, photo_row
from dataset_tools.recipe import check_size
from dataset_tools.staging import failed, read_source, store_pair


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
    fresh: bool = False,
    license: str | None = None,
    **means: Any,
) -> BuildReport:
    """Builds `dataset` from the images of `a_folder` (inputs) and `b_folder` (originals) that share a relative path.

    Suffixes do not count: x/1.png belongs to x/1.jpg. What has no partner, several, or another size is a row with a reason.

    Raises:
        As `build_dataset`.
    """
    recipe = recipe or PairRecipe()
    parse_split(recipe.split)
    check_license(license)
    check_size(recipe.size)
    if os.path.realpath(a_folder) == os.path.realpath(b_folder):
        raise UsageError(f"A_DIR and B_DIR are the same folder {a_folder}: give the degraded photos and the originals")
    check_apart((a_folder, b_folder), dataset)
    rule = group_rule(recipe.group_by, f"{labels((a_folder, b_folder))[1]}/")  # the path inside B_DIR decides
    sources, linked = walk((a_folder, b_folder))
    check_not_empty((a_folder, b_folder), sources)
    by_key: dict[bytes, list[Source]] = defaultdict(list)
    for source in sources:
        by_key[_without_suffix(source.relative)].append(source)
    jobs = [tuple(by_key[key]) for key in sorted(by_key)]
    with open_for_building(dataset, recipe.to_json(), fresh):
        _check_sides(dataset, (a_folder, b_folder))
        stager = PairStager(recipe.size, recipe.resize, dataset / STATE / "staging")
        info = {"archives": labels((a_folder, b_folder)), "recipe": recipe.to_json(), "size": recipe.size,
                "seed": recipe.seed, "detector": None, "license": remembered_license(dataset, license)}  # fmt: skip
        report = run(dataset, (a_folder, b_folder), jobs, stager, info, rule, Means(**means))
    report.linked_folders = linked
    return report


def _check_sides(dataset: Path, folders: tuple[Path, Path]) -> None:
    """Raises DatasetError where the inputs of the dataset that is there are the originals now."""
    if is_dataset(dataset):
        held, now = json.loads((dataset / "dataset.json").read_text("utf-8")).get("archives"), labels(folders)
        if held != now and held == now[::-1]:
            raise DatasetError(f"in the dataset {dataset} the inputs A come from {held[0]} and the originals B from {held[1]}: "
                               "give the folders in that order, choose another dataset, or add --fresh")  # fmt: skip


def _without_suffix(relative: bytes) -> bytes:
    folder, slash, name = relative.rpartition(b"/")
    stem, suffix = os.path.splitext(name)
    return folder + slash + (stem if os.fsdecode(suffix).lower() in image_io.SUFFIXES | UNREAD_SUFFIXES else name)


@dataclass
class PairStager:
    """Callable on a job of `photomend pair`: (A, B) sources that match, or the sources of one name that do not."""

    size: int
    resize: bool
    folder: Path

    def open(self) -> None:
        pass

    def __call__(self, job: tuple[Source, ...]) -> list[Row]:
        rows, images, sides = [], [], []
        for source in job:
            sha = None
            try:
                data = read_source(source)
                if data is None:
                    continue
                sha = sha256(data)
                images.append(image_io.decode(data, source.name).rgb8)
                rows.append(photo_row(source.name, sha, "kept"))
            except OutputError:
                raise
            except Exception as error:  # as in PhotoStager
                rows.append(failed(source.name, sha, error))
            sides.append(source.archive)
        reason = self._reason(sides, images)
        if reason:
            for row in rows:
                if row["status"] == "kept":
                    row.update(status="rejected", reason=reason)
            return rows
        return self._pair(rows, images)

    def _reason(self, sides: list[int], images: list[np.ndarray]) -> str | None:
        if len(set(sides)) < len(sides):
            return "ambiguous"
        if len(sides) < 2:
            return "no_partner"
        if len(images) < 2:
            return "partner_failed"
        if self.resize:
            return None
        if images[0].shape != images[1].shape:
            return "sizes_differ"
        return None if images[0].shape[:2] == (self.size, self.size) else "wrong_size"

    def _pair(self, rows: list[Row], images: list[np.ndarray]) -> list[Row]:
        if self.resize:
            images = [cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA) for image in images]
        a_row, b_row = rows
        row = crop_row("crop", b_row["source"], b_row["sha256"], 0, "kept", input=a_row["source"], degradations=[])
        store_pair(self.folder, row, *images)
        b_row["phash"] = row["phash"]
        return [a_row, b_row, row]

    def close(self) -> None:
        pass

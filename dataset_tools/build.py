"""An archive -> a dataset folder. Workers stage pairs; one finishing step groups, splits, renames and publishes."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dataset_tools import files, groups
from dataset_tools.archive import Source, group_rule, labels, walk
from dataset_tools.engines import Work, WorkerDied, default_workers, run_local
from dataset_tools.errors import DatasetError, OutputError, UsageError, output_error
from dataset_tools.groups import SPLITS, Member
from dataset_tools.journal import Job, Journal, Watched
from dataset_tools.manifest import STATE, Row, count, is_dataset, is_pair, photo_row, publish, read_rows
from dataset_tools.staging import PhotoStager, Recipe, detector_record

Progress = Callable[[int, int], None]  # (jobs done, jobs in all)


@dataclass
class BuildReport:
    """What a build did. `counts` is what dataset.json holds; the rest is of this run alone."""

    dataset: Path
    counts: Row
    reused: int  # photos known from an earlier run
    seconds: float
    vanished: int  # photos of the last build that are no longer in the archive
    linked_folders: list[str] = field(default_factory=list)  # links to folders, which are not followed

    @property
    def photos_per_second(self) -> float:
        """Of the photos that this run worked on."""
        return float(self.counts["files"] - self.reused) / max(self.seconds, 1e-9)


def build_dataset(
    archives: Sequence[Path],
    dataset: Path,
    recipe: Recipe | None = None,
    *,
    workers: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Builds, resumes or brings up to date the dataset folder `dataset` from the photos below `archives`.

    Args:
        recipe: what to make; the default is faces at 256 × 256 behind a mosaic of 16.
        workers: processes; None is one a core. The bytes do not depend on it.
        fresh: forget what an earlier build of this folder did.
        progress: called with (photos done, photos in all).

    Raises:
        UsageError: an archive is missing or empty, or lies where the dataset would.
        DatasetError: the folder holds something else, or a dataset of another recipe.
        FolderBusy: another build works in it.
        OutputError: the disk is full. What is done is kept; the same call goes on from there.
    """
    recipe = recipe or Recipe()
    check_apart(archives, dataset)
    rule = group_rule(recipe.group_by)
    sources, linked = walk(archives)
    if not sources:
        raise UsageError(f"{', '.join(map(str, archives))} holds no file: give a folder of photos")
    jobs = [(source,) for source in sources]
    with open_for_building(dataset, recipe.to_json(), fresh):
        stager = PhotoStager(recipe, dataset / STATE / "staging")
        info = {"archives": [label for label in labels(archives) if label], "recipe": recipe.to_json(),
                "size": recipe.size, "seed": recipe.seed, "detector": detector_record(recipe)}  # fmt: skip
        report = run(dataset, jobs, stager, info, rule, workers or default_workers(), progress)
    report.linked_folders = linked
    return report


def run(
    dataset: Path, jobs: Sequence[Job], work: Work, info: Row, rule: Callable[[str], str | None], workers: int,
    progress: Progress | None,
) -> BuildReport:  # fmt: skip
    """Stages every job that is not known yet, then finishes the folder. The caller holds its lock."""
    start = time.perf_counter()
    journal = Journal(dataset, {"versions": _versions(), "detector": info["detector"]})
    results: dict[Job, list[Row]] = {}
    todo = []
    for job in jobs:
        known = journal.known(job)
        if known is None:
            todo.append(job)
        else:
            results[job] = known
    reused = sum(map(len, jobs)) - sum(map(len, todo))
    here = workers == 1 and not any(map(journal.died, todo))
    for job, result in run_local(Watched(work), todo, max(1, min(workers, len(todo) // 8)), here=here):
        rows, stats = result if not isinstance(result, WorkerDied) else (list(map(_died, job)), None)
        journal.add(job, rows, stats)
        results[job] = rows
        if progress:
            progress(len(results), len(jobs))
    counts, vanished = finish(dataset, jobs, results, info, rule)
    journal.compact(jobs)
    return BuildReport(dataset, counts, reused, time.perf_counter() - start, vanished)


def _died(source: Source) -> Row:
    return photo_row(source.name, None, "failed", "worker_died", detail="the process that worked on it died twice")


def finish(
    dataset: Path, jobs: Sequence[Job], results: dict[Job, list[Row]], info: Row, rule: Callable[[str], str | None]
) -> tuple[Row, int]:
    """Groups, splits, renames the staged pairs, publishes the manifest. Safe to repeat after a kill at any point.

    Returns the counts, and how many photos of the manifest before have vanished from the archive.
    """
    before = PublishedBefore(dataset)
    order = {source.name: (source.archive, source.relative) for job in jobs for source in job}
    vanished = sum(row["kind"] == "photo" and row["source"] not in order for row in before.rows)
    if before.rows and not any(row["source"] in order for row in before.rows):
        raise DatasetError(
            f"none of the photos of the dataset {dataset} is in this archive: choose another folder, or add --fresh"
        )
    rows = _placed([results[job] for job in jobs], groups.as_old(before.rows), rule, info)
    rows.sort(key=lambda row: (order[row["source"]], row.get("face", -1)))
    counts = count(rows, len(order))
    if not counts["photos"]["all"]:
        raise UsageError(f"none of the {counts['files']} files is an image: give a folder of photos")
    info = {**info, "versions": _versions(), "counts": counts}
    before.withdraw()
    try:
        _move_pairs(dataset, rows)
    except OSError as error:
        raise output_error(error, dataset) from error
    publish(dataset, info, rows)
    before.forget()
    return counts, vanished


class PublishedBefore:
    """The manifest that was last published here. It steps aside into .photomend/ until the new one is whole."""

    def __init__(self, dataset: Path):
        self.dataset = dataset
        self.aside = dataset / STATE / "manifest.jsonl"
        published = (dataset / "dataset.json").exists() and (dataset / "manifest.jsonl").exists()
        place = dataset / "manifest.jsonl" if published else self.aside
        self.rows = list(read_rows(place)) if place.exists() else []

    def withdraw(self) -> None:
        """Takes dataset.json away, so that nobody reads a folder in which pairs are being moved."""
        if (self.dataset / "dataset.json").exists():
            if (self.dataset / "manifest.jsonl").exists():
                os.replace(self.dataset / "manifest.jsonl", self.aside)
            (self.dataset / "dataset.json").unlink()

    def forget(self) -> None:
        """The new manifest is whole: this one has served."""
        self.aside.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forgets groups and splits (--fresh)."""
        for path in (self.dataset / "dataset.json", self.dataset / "manifest.jsonl", self.aside):
            path.unlink(missing_ok=True)


def _placed(
    per_job: Sequence[list[Row]], old: dict[tuple[str, str], tuple[str, str]], rule: Callable[[str], str | None], info: Row
) -> list[Row]:
    """Copies of all rows with group, split and final pair name; those that would bridge two splits are rejected."""
    per_job = [[dict(row) for row in rows] for rows in per_job]
    kept = [rows for rows in per_job if any(row["kind"] != "photo" and row["status"] == "kept" for row in rows)]
    members = []
    for rows in kept:
        photo = [row for row in rows if row["kind"] == "photo"][-1]
        hashes = tuple(row["phash"] for row in rows if row["status"] == "kept" and "phash" in row)
        members.append(Member(photo["sha256"], hashes, rule(photo["source"]), old.get((photo["source"], photo["sha256"]))))
    places = groups.assign(members, info["seed"], groups.parse_split(info["recipe"]["split"]))
    for rows, place in zip(kept, places, strict=True):
        for row in rows:
            if row["status"] != "kept":
                continue
            if place.split is None:
                row.update(status="rejected", reason="bridges_splits", pair=None, pair_sha256=None)
            else:
                row.update(group=place.group, split=place.split)
                if row.get("pair"):
                    row["pair"] = f"{place.split}/{row['pair']}"
    return [row for rows in per_job for row in rows]


def _move_pairs(dataset: Path, rows: Sequence[Row]) -> None:
    """Every pair to its split, from staging or from where an interrupted finishing step had put it; the rest is removed."""
    wanted = {row["pair"] for row in rows if row.get("pair")}
    for split in SPLITS:
        (dataset / split).mkdir(exist_ok=True)
    present = {f"{split}/{name}" for split in SPLITS for name in os.listdir(dataset / split) if is_pair(f"{split}/{name}")}
    elsewhere = {pair.partition("/")[2]: pair for pair in present - wanted}
    for pair in sorted(wanted):
        name = pair.partition("/")[2]
        staged = dataset / STATE / "staging" / name
        if staged.exists():
            os.replace(staged, dataset / pair)
        elif pair not in present:
            os.replace(dataset / elsewhere[name], dataset / pair)
    for pair in present - wanted:
        (dataset / pair).unlink(missing_ok=True)


@contextmanager
def open_for_building(dataset: Path, recipe: Row, fresh: bool) -> Iterator[None]:
    """Checks that `dataset` is ours or empty and of this recipe, and holds its lock while the block runs."""
    state = dataset / STATE
    if dataset.exists() and not dataset.is_dir():
        raise OutputError(f"{dataset} is a file: give a folder for the dataset")
    if dataset.is_dir() and any(dataset.iterdir()) and not state.is_dir() and not is_dataset(dataset):
        raise DatasetError(f"the folder {dataset} is not empty and holds no dataset of photomend: choose another folder")
    with files.folder_lock(state / "lock", f"the dataset {dataset}"):
        if fresh:
            PublishedBefore(dataset).discard()
            for name in ("journal.jsonl", "recipe.json"):
                (state / name).unlink(missing_ok=True)
            shutil.rmtree(state / "staging", ignore_errors=True)
        _check_recipe(dataset, recipe)
        for leftover in dataset.rglob(f"{files.TEMPORARY}*"):
            leftover.unlink(missing_ok=True)
        files.replace_json(state / "recipe.json", recipe)
        (state / "staging").mkdir(exist_ok=True)
        yield


def _check_recipe(dataset: Path, recipe: Row) -> None:
    known = [path for path in (dataset / STATE / "recipe.json", dataset / "dataset.json") if path.exists()]
    if not known:
        return
    held = json.loads(known[0].read_text("utf-8"))
    held = held.get("recipe", held)
    differing = sorted(name for name in held.keys() | recipe.keys() if held.get(name) != recipe.get(name))
    if differing:
        told = "; ".join(f"{name} was {held.get(name)}, now {recipe.get(name)}" for name in differing)
        raise DatasetError(
            f"the dataset {dataset} was made with another recipe ({told}): choose another folder, or add --fresh to make it anew"
        )


def check_apart(archives: Sequence[Path], dataset: Path) -> None:
    """Raises UsageError where the dataset would lie inside an archive, or an archive inside the dataset."""
    target = Path(os.path.realpath(dataset))
    for archive in archives:
        place = Path(os.path.realpath(archive))
        if target == place or place in target.parents:
            raise UsageError(f"the dataset {dataset} would lie inside the archive {archive}: give a folder outside of it")
        if target in place.parents:
            raise UsageError(f"the archive {archive} lies inside the dataset {dataset}: give another folder for the dataset")


def _versions() -> Row:
    names = ("ImageHash", "mediapipe", "numpy", "opencv-python", "photomend", "pillow")
    return {name: importlib.metadata.version(name) for name in names}

"""An archive -> a dataset folder. Workers stage pairs; one finishing step groups, splits, renames and publishes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataset_tools import files, shards
from dataset_tools.archive import Source, check_outside, group_rule, inside, labels, locator, prefixes, walk
from dataset_tools.card import PICTURE
from dataset_tools.dataset import is_dataset
from dataset_tools.engines import TimedOut, Work, WorkerDied, default_workers, run_here, run_local
from dataset_tools.errors import DatasetError, OutputError, PhotomendError, UsageError
from dataset_tools.finish import PublishedBefore, Rule, finish
from dataset_tools.groups import SPLITS, parse_split
from dataset_tools.journal import PASSING, Journal, names_in
from dataset_tools.manifest import FORMAT_VERSION, STATE, Row, photo_row
from dataset_tools.reasons import flag
from dataset_tools.recipe import Recipe, detector_record
from dataset_tools.staging import PhotoStager
from dataset_tools.watched import Job, Watched

Progress = Callable[[int, int], None]  # (jobs done, jobs in all)
ENGINES = ("local", "ray")
TIME_LIMIT = 120.0  # seconds for one photo


@dataclass(frozen=True)
class Means:
    """How the work is done. The bytes do not depend on it."""

    workers: int | None = None  # processes; None is one a core; 0 works in this very process, unprotected from crashes and hangs
    # (on Ray None and 0 are one for every CPU of the cluster)
    time_limit: float = TIME_LIMIT  # seconds for one photo, whose worker is then ended and replaced
    engine: str = "local"  # local | ray
    progress: Progress | None = None  # called with (photos done, photos in all)


@dataclass
class BuildReport:
    """What a build did. `counts` is what dataset.json holds; the rest is of this run alone."""

    dataset: Path
    counts: Row
    reused: int  # photos known from an earlier run
    seconds: float
    vanished: int  # photos of the last build that are no longer in the archive
    shares: dict[str, int]  # percent of train, val and test that were asked for
    idle_rule: str | None  # a --group-by that no file's name matches
    changed: int = 0  # photos of the last build that have changed since
    linked_folders: list[str] = field(default_factory=list)  # links to folders, which are not followed

    @property
    def photos_per_second(self) -> float:
        """Of the photos that this run worked on."""
        return float(self.counts["files"] - self.reused) / max(self.seconds, 1e-9)

    @property
    def passing(self) -> int:
        """Photos that failed in a way that may pass: the next build tries them again."""
        reasons: dict[str, int] = self.counts["reasons"]
        return sum(number for reason, number in reasons.items() if reason.removeprefix("photo:") in PASSING)


def build_dataset(
    archives: Sequence[Path],
    dataset: Path,
    recipe: Recipe | None = None,
    *,
    fresh: bool = False,
    license: str | None = None,
    **means: Any,
) -> BuildReport:
    """Builds, resumes or brings up to date the dataset folder `dataset` from the photos below `archives`.

    Args:
        recipe: what to make; the default is faces at 256 × 256 behind a mosaic of 16.
        fresh: forget what an earlier build of this folder did.
        license: of the photos, for the dataset's card; None is what an earlier build of this folder was told.
        means: workers, time_limit, engine, progress; see `Means`.

    Raises:
        UsageError: an archive is missing or empty, or lies where the dataset would.
        DatasetError: the folder holds something else, or a dataset of another recipe.
        FolderBusy: another build works in it.
        OutputError: the disk is full. What is done is kept; the same call goes on from there.
    """
    recipe = recipe or Recipe()
    check_license(license)
    check_apart(archives, dataset)
    rule = group_rule(recipe.group_by)
    sources, linked = walk(archives)
    check_not_empty(archives, sources)
    with open_for_building(dataset, recipe.to_json(), fresh):
        stager = PhotoStager(recipe, dataset / STATE / "staging")
        info = {"archives": [label for label in labels(archives) if label], "recipe": recipe.to_json(),
                "size": recipe.size, "seed": recipe.seed, "detector": detector_record(recipe),
                "license": remembered_license(dataset, license)}  # fmt: skip
        report = run(dataset, archives, [(source,) for source in sources], stager, info, rule, Means(**means))
    report.linked_folders = linked
    return report


def run(
    dataset: Path, archives: Sequence[Path], jobs: Sequence[Job], work: Work, info: Row, rule: Rule, means: Means
) -> BuildReport:
    """Stages every job that is not known yet, then finishes the folder. The caller holds its lock."""
    start, recipe = time.perf_counter(), info["recipe"]
    shares = dict(zip(SPLITS, parse_split(recipe["split"]), strict=True))
    deciding = (job[-1].name for job in jobs if len(job) > 1 or recipe["made_by"] != "pair")  # of a given pair its B
    idle_rule = None if any(rule(name) is not None for name in deciding) else recipe["group_by"]
    info = {**info, "versions": _versions()}
    made_with = {"versions": info["versions"], "detector": info["detector"], "format": FORMAT_VERSION}
    with Journal(dataset, made_with) as journal:
        loose = names_in(dataset / STATE / "staging", *(dataset / split for split in SPLITS))
        journal.begin(itertools.chain(loose, shards.names(dataset)), prefixes(archives))
        hidden = [source.inside for job in jobs for source in job if source.hidden]
        todo = journal.ask_for_all(jobs, hidden)
        done = len(jobs) - len(todo)
        for job, result in _results(means, Watched(work), todo, [*archives, dataset / STATE / "staging"]):
            lost = isinstance(result, WorkerDied | TimedOut)
            journal.add(job, *(([_lost(source, result) for source in job], None) if lost else result))
            done += 1
            if means.progress:
                means.progress(done, len(jobs))
        if done < len(jobs):
            raise PhotomendError(f"{len(jobs) - done} photos were not worked on: run the same command again")
        counts, vanished = _counts_of_before(dataset, journal, info), 0
        if counts is None:
            published, vanished = finish(dataset, journal, info, rule, locator(archives))
            counts = published["counts"]
    reused = counts["files"] - sum(map(len, todo))  # what hidden folders hold is known, too
    return BuildReport(dataset, counts, reused, time.perf_counter() - start, vanished, shares, idle_rule, journal.changed)


def _results(means: Means, work: Work, todo: Sequence[Job], shared: Sequence[Path]) -> Iterator[tuple[Job, Any]]:
    """(job, work(job)) from the engine that was asked for. `shared`: folders that every machine must see."""
    if means.engine not in ENGINES:
        raise UsageError(f"--engine {means.engine!r}: give one of {', '.join(ENGINES)}")
    if means.engine == "ray":
        from dataset_tools.engine_ray import run_ray

        return run_ray(work, todo, means.workers, means.time_limit, shared=shared)
    workers = default_workers() if means.workers is None else means.workers
    if workers == 0 or not todo:
        return run_here(work, todo)
    return run_local(work, todo, max(1, min(workers, len(todo) // 8)), means.time_limit)


def _lost(source: Source, how: WorkerDied | TimedOut) -> Row:
    if isinstance(how, TimedOut):
        return photo_row(source.name, None, "failed", "time_limit", detail="it took longer than --time-limit allows")
    return photo_row(source.name, None, "failed", "worker_died", detail="the process that worked on it died twice")


def _counts_of_before(dataset: Path, journal: Journal, info: Row) -> Row | None:
    """The counts of the published dataset where it is what would be published again; else None."""
    names = ("manifest.jsonl", "README.md", "report.html", *(f"{split}/metadata.jsonl" for split in SPLITS))
    if not (journal.finished and journal.all_seen() and is_dataset(dataset) and all((dataset / name).exists() for name in names)):
        return None
    held: Row = json.loads((dataset / "dataset.json").read_text("utf-8"))
    with open(dataset / "manifest.jsonl", "rb") as manifest:
        whole = held.get("manifest_sha256") == hashlib.file_digest(manifest, "sha256").hexdigest()
    counts: Row | None = held.get("counts")
    same = all(held.get(name) == json.loads(json.dumps(value)) for name, value in info.items())
    if counts is None or not whole or not same:
        return None
    return counts if (dataset / PICTURE).exists() or not counts["faces"]["kept"] else None


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
            for name in ("journal.sqlite", "journal.sqlite-wal", "recipe.json", "license.txt"):
                (state / name).unlink(missing_ok=True)
            shutil.rmtree(state / "staging", ignore_errors=True)
        _check_recipe(dataset, recipe)
        for leftover in dataset.rglob(f"{files.TEMPORARY}*"):
            leftover.unlink(missing_ok=True)
        files.replace_json(state / "recipe.json", recipe)
        (state / "staging").mkdir(exist_ok=True)
        yield


def remembered_license(dataset: Path, given: str | None) -> str | None:
    """The licence of the photos: as given now, else as an earlier build of this folder was told."""
    note = dataset / STATE / "license.txt"
    if given is None:
        try:
            return note.read_text("utf-8") if note.exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{note} is damaged: give the licence again with --license, or delete the file") from error
    files.replace_text(note, given.strip())
    return given.strip()


def check_license(text: str | None) -> None:
    """Raises UsageError for a text that names no licence."""
    if text is not None and not (text.strip() and text.isprintable()):
        raise UsageError(f"--license {text!r}: give its name, such as cc0-1.0, or leave the option away")


def _check_recipe(dataset: Path, recipe: Row) -> None:
    known = [path for path in (dataset / STATE / "recipe.json", dataset / "dataset.json") if path.exists()]
    if not known:
        return
    try:
        held = json.loads(known[0].read_text("utf-8"))
        held = held.get("recipe", held)
        held.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise DatasetError(f"{known[0]} is damaged ({error}): add --fresh to build the dataset anew") from error
    if held.get("made_by") != recipe["made_by"]:
        raise DatasetError(f"{dataset} was made by photomend {held.get('made_by')}: choose another folder, or add --fresh")
    differing = sorted(name for name in held.keys() | recipe.keys() if held.get(name) != recipe.get(name))
    if differing:
        told = "; ".join(f"{flag(name)} was {_shown(held.get(name))}, is {_shown(recipe.get(name))}" for name in differing)
        raise DatasetError(
            f"the dataset {dataset} was made with another recipe ({told}): choose another folder, or add --fresh to make it anew"
        )


def _shown(value: Any) -> str:
    """A value of a recipe as it is given on the command line."""
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "not given" if value is None else "off" if value is False else "on" if value is True else str(value)


def check_not_empty(archives: Sequence[Path], sources: Sequence[Source]) -> None:
    """Raises UsageError for an archive without any file: the place where a disk is not mounted looks like that."""
    held = {source.archive for source in sources}
    for index, archive in enumerate(archives):
        if index not in held:
            raise UsageError(f"{archive} holds no file: give a folder of photos (is its disk mounted?)")


def check_apart(archives: Sequence[Path], dataset: Path) -> None:
    """Raises UsageError where one of these folders is, or lies inside, another: an input must not change, nor count twice."""
    check_outside(archives, dataset, f"the dataset {dataset}")
    for archive in archives:
        if inside(archive, dataset):
            raise UsageError(f"the archive {archive} lies inside the dataset {dataset}: give another folder for the dataset")
    for archive, other in itertools.permutations(archives, 2):
        if inside(archive, other):
            same = inside(other, archive)
            raise UsageError(
                f"the archive {archive} {'is given twice' if same else f'lies inside {other}'}: give each folder once"
            )


def _versions() -> Row:
    names = ("mediapipe", "numpy", "opencv-python", "photomend", "pillow")
    return {name: importlib.metadata.version(name) for name in names}

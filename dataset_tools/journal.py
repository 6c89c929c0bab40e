"""What a build has done so far, kept in the dataset's .photomend/ so that a killed build goes on where it was.

One line a job in journal.jsonl: the names, sizes and times of its files, and its rows as they were before grouping.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset_tools import files
from dataset_tools.archive import Source, stat_key
from dataset_tools.engines import Work
from dataset_tools.errors import output_error
from dataset_tools.groups import SPLITS
from dataset_tools.manifest import STATE, Row

Job = tuple[Source, ...]
Stats = list[list[int] | None] | None  # [size, time of change] of each file of a job


PASSING = {"unreadable", "worker_died", "internal_error"}  # failures that the next build tries again


class Journal:
    """Append-only while a build runs; compacted to what the archive still holds when it finishes.

    PR_SET_PDEATHSIG and atomic pair files make a lost tail harmless: what is not in the journal is done again.
    """

    def __init__(self, dataset: Path, made_with: Row):
        """`made_with`: versions and detector. Rows made with others are forgotten, since their bytes could differ."""
        self.path = dataset / STATE / "journal.jsonl"
        self.staging = dataset / STATE / "staging"
        self._entries: dict[str, Row] = {}
        present = {name for folder in (self.staging, *(dataset / split for split in SPLITS)) for name in _names(folder)}
        _forget_if_made_otherwise(self.path, made_with)
        for entry in self._read():
            if all(row.get("pair") in present for row in entry["rows"] if row["kind"] != "photo" and row["status"] == "kept"):
                self._entries[entry["job"]] = entry

    def _read(self) -> Iterable[Row]:
        if not self.path.exists():
            return
        with open(self.path, encoding="utf-8") as handle:
            for line in handle:
                try:
                    yield json.loads(line)
                except ValueError:  # the line that a kill cut short
                    continue

    def known(self, job: Job) -> list[Row] | None:
        """The rows of a job that was done before and whose files have not changed since; else None."""
        entry = self._entries.get(_job_name(job))
        if entry is None or entry["stats"] != _stats(job) or any(row["reason"] in PASSING for row in entry["rows"]):
            return None
        rows: list[Row] = entry["rows"]
        return rows

    def died(self, job: Job) -> bool:
        """True where this job's worker died the last time."""
        entry = self._entries.get(_job_name(job))
        return entry is not None and any(row["reason"] == "worker_died" for row in entry["rows"])

    def add(self, job: Job, rows: Sequence[Row], stats: Stats) -> None:
        """Notes a finished job and what its files were when it began. One write, so that a kill loses at most the last line."""
        entry: Row = {"job": _job_name(job), "stats": stats, "rows": list(rows)}
        try:
            with open(self.path, "a", encoding="utf-8") as handle:
                handle.write(files.json_line(entry))
        except OSError as error:
            raise output_error(error, self.path) from error
        self._entries[entry["job"]] = entry

    def compact(self, jobs: Sequence[Job]) -> None:
        """Rewrites the journal with the entries of `jobs` alone."""
        kept = (self._entries[_job_name(job)] for job in jobs if _job_name(job) in self._entries)
        files.replace_text(self.path, "".join(map(files.json_line, kept)))


def _job_name(job: Job) -> str:
    return "\n".join(source.name for source in job)


@dataclass
class Watched:
    """A stager that also tells what the files were before it read them: None where they changed meanwhile (do it again)."""

    work: Work

    def __call__(self, job: Job) -> tuple[list[Row], Stats]:
        before = _stats(job)
        rows = self.work(job)
        return rows, before if _stats(job) == before else None

    def close(self) -> None:
        self.work.close()


def _forget_if_made_otherwise(path: Path, made_with: Row) -> None:
    note = path.with_name("made_with.json")
    text = files.json_line(made_with)
    if not note.exists() or note.read_text("utf-8") != text:
        path.unlink(missing_ok=True)
        files.replace_text(note, text)


def _stats(job: Job) -> list[list[int] | None]:
    states = (stat_key(source.path) for source in job)
    return [list(state) if state else None for state in states]


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []

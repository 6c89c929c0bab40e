"""The finishing step of a build: groups, splits, renames the staged pairs, publishes the manifest. One pass over the journal
after another, so that no list of all rows is held.

It is safe to repeat after a kill at any point: the new tables are written aside, the old ones are withdrawn before the first
pair moves, and dataset.json, written last, says that all is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dataset_tools import files, groups, image_io, shards
from dataset_tools.build_report import write_report
from dataset_tools.card import PICTURE, card_text, pairs_grid
from dataset_tools.errors import DatasetError, UsageError, output_error
from dataset_tools.groups import SPLITS, Member
from dataset_tools.journal import Journal
from dataset_tools.manifest import FORMAT, FORMAT_VERSION, STATE, Row, is_pair, metadata_line, read_rows
from dataset_tools.report_pictures import thumbnail
from dataset_tools.summary import Summary

Rule = Callable[[str], str | None]  # a source's name -> its --group-by key


def finish(dataset: Path, journal: Journal, info: Row, rule: Rule, locate: Callable[[str], str]) -> tuple[Row, int]:
    """Publishes what the journal holds of the photos that the archive holds. `locate`: a source's name -> its path.

    Returns dataset.json's content, and how many photos of the manifest before have vanished from the archive.

    Raises:
        DatasetError: nothing of what was published here is in the archive. UsageError: no image at all. OutputError.
    """
    before = PublishedBefore(dataset)
    journal.remember(before.rows())
    known, vanished = journal.of_before()
    if known and vanished == known:
        raise DatasetError(
            f"none of the photos of the dataset {dataset} is found here by its name{_named_otherwise(dataset, info)}: "
            "choose another folder, or add --fresh"
        )
    journal.drop_the_unseen()
    try:
        journal.decide(_verdicts(journal, rule, info))
        with ExitStack() as stack:
            tables = _Tables(dataset / STATE / "next", stack)
            for row in journal.final_rows(_judged):
                tables.add(row)
        counts = tables.summary.tally.counts(journal.files())
        if not counts["photos"]["all"]:
            raise UsageError(f"none of the {counts['files']} files is an image: give a folder of photos")
        info = {**info, "counts": counts, "format": FORMAT, "format_version": FORMAT_VERSION,
                "manifest_sha256": tables.hash.hexdigest()}  # fmt: skip
        _bring_pairs(dataset, before, lambda: read_rows(tables.folder / "manifest.jsonl"), journal.holds, info)
        publish(dataset, tables.folder, info, tables.summary)
    except OSError as error:
        raise output_error(error, dataset) from error
    before.forget()
    write_report(dataset, info, tables.summary, lambda source: thumbnail(Path(locate(source))), shards.reader(dataset))
    journal.finished = True
    return info, vanished


def _named_otherwise(dataset: Path, info: Row) -> str:
    """Why the names may differ though the photos are the same: only those of several archives begin with the archive's."""
    try:
        before = json.loads((dataset / "dataset.json").read_text("utf-8"))["archives"]
    except (OSError, ValueError, KeyError):
        return ""
    if bool(before) == bool(info["archives"]):
        return ""
    one = "it was built from one archive, now there are several" if info["archives"] else "it was built from several archives"
    return f" ({one}: the names of several begin with their folders')"


def publish(dataset: Path, tables: Path, info: Row, summary: Summary) -> None:
    """Puts the new tables in place, then writes the card, and last dataset.json, whose presence says that all is whole."""
    for name in ("manifest.jsonl", *(f"{split}/metadata.jsonl" for split in SPLITS)):
        os.replace(tables / name.replace("/", "-"), dataset / name)
    picture = pairs_grid(shards.reader(dataset), summary)
    if picture is not None:
        image_io.write(dataset / PICTURE, picture, "PNG")
    else:
        (dataset / PICTURE).unlink(missing_ok=True)
    files.replace_text(dataset / "README.md", card_text(info, summary))
    files.replace_json(dataset / "dataset.json", info)


class _Tables:
    """manifest.jsonl and the splits' metadata.jsonl, written aside row by row, with what is counted on the way."""

    def __init__(self, folder: Path, stack: ExitStack):
        folder.mkdir(exist_ok=True)
        self.folder, self.summary, self.hash = folder, Summary(), hashlib.sha256()

        def table(name: str) -> Any:
            return stack.enter_context(open(folder / name, "wb"))

        self._manifest = table("manifest.jsonl")
        self._metadata = {split: table(f"{split}-metadata.jsonl") for split in SPLITS}

    def add(self, row: Row) -> None:
        line = files.json_line(row).encode("utf-8")
        self._manifest.write(line)
        self.hash.update(line)
        self.summary.add(row)
        if row["kind"] != "photo" and row["split"]:
            self._metadata[row["split"]].write(metadata_line(row).encode("utf-8"))


def _verdicts(journal: Journal, rule: Rule, info: Row) -> Iterator[tuple[int, Row]]:
    """(job, {group, split} or {reason}) for every job that keeps a pair."""
    jobs = array("q")

    def members() -> Iterator[Member]:
        for job, rows in journal.kept_jobs():
            photo = _photo(rows)
            hashes = tuple(row["phash"] for row in rows if row["status"] == "kept" and "phash" in row)
            jobs.append(job)
            before = journal.placed_before(photo["source"], photo["sha256"])
            yield Member(photo["sha256"], hashes, rule(photo["source"]), before)

    places = groups.assign(members(), info["seed"], groups.parse_split(info["recipe"]["split"]))
    torn = {job for job, place in zip(jobs, places, strict=True) if place.split is None}
    dropped = _duplicates(journal, torn) if info["recipe"].get("dedupe") else {}
    for job, place in zip(jobs, places, strict=True):
        if job in dropped:  # only now: it ties its group together, and holds the place that an earlier build gave it
            yield job, {"reason": "duplicate", "duplicate_of": dropped[job]}
        else:
            yield job, {"reason": "bridges_splits"} if place.split is None else {"group": place.group, "split": place.split}


def _duplicates(journal: Journal, torn: Set[int]) -> dict[int, str]:
    """job -> the source that is kept instead: of photos alike the one of most pixels, then of most bytes, then the first.

    `torn`: jobs that are rejected in any case, so that nothing is dropped for their sake.
    """
    jobs = array("q")

    def photos() -> Iterator[groups.Photo]:
        for job, rows in journal.kept_jobs():
            if job in torn:
                continue
            photo = _photo(rows)
            jobs.append(job)
            yield groups.Photo(photo["sha256"], photo["phash"], (photo["width"] * photo["height"], photo["bytes"]))

    better = groups.duplicates(photos())
    return {jobs[index]: journal.source_of(jobs[best]) for index, best in enumerate(better) if best is not None}


def _photo(rows: Sequence[Row]) -> Row:
    """The row of the photo that the crops among `rows` were cut from."""
    return [row for row in rows if row["kind"] == "photo"][-1]


def _judged(row: Row, verdict: Row | None) -> Row:
    """The row with its group, split and final pair name, or rejected."""
    if verdict is None or row["status"] != "kept":
        return row
    if "reason" in verdict:
        row.update(status="rejected", **verdict)
        if row["kind"] != "photo":
            row.update(pair=None, pair_sha256=None)
        return row
    row.update(verdict)
    if row.get("pair"):
        row["pair"] = f"{row['split']}/{row['pair']}"
    return row


def _bring_pairs(
    dataset: Path, before: PublishedBefore, rows: Callable[[], Iterator[Row]], needed: Callable[[str], bool], info: Row
) -> None:
    """The pairs to where the new manifest says they are: loose files, or tar shards."""
    if info["recipe"].get("format") == "webdataset":
        packed = shards.pack(dataset, rows(), needed)  # may take long: until it is done the old dataset stays whole
        before.withdraw()
        shards.place(dataset, packed)
    else:
        before.withdraw()
        move_pairs(dataset, rows(), needed)
        shards.remove(dataset)


def move_pairs(dataset: Path, rows: Iterable[Row], needed: Callable[[str], bool]) -> None:
    """Every pair to its split, from staging or from where an earlier finishing step had put it.

    A pair that is no longer wanted returns to staging where the journal still needs it (a duplicate may be wanted again), and is
    removed where it does not.
    """
    staging = dataset / STATE / "staging"
    for split in SPLITS:
        (dataset / split).mkdir(exist_ok=True)
    left = {split: {name for name in os.listdir(dataset / split) if is_pair(f"{split}/{name}")} for split in SPLITS}
    staged = set(os.listdir(staging))
    for row in rows:
        if not row.get("pair"):
            continue
        split, _, name = row["pair"].partition("/")
        if name in staged:
            for other in (other for other in SPLITS if name in left[other]):  # what --fresh left of another recipe
                (dataset / other / name).unlink()
                left[other].discard(name)
            os.replace(staging / name, dataset / row["pair"])
            staged.discard(name)
        elif name not in left[split]:
            home = next((other for other in SPLITS if name in left[other]), None)
            if home is None:
                raise DatasetError(f"the pair {name} vanished from {dataset} while it was built: run the same command again")
            os.replace(dataset / home / name, dataset / row["pair"])
            left[home].discard(name)
        left[split].discard(name)
    for place, name in ((dataset / split / name, name) for split, names in left.items() for name in names):
        if needed(name) and name not in staged:
            os.replace(place, staging / name)
        else:
            place.unlink()
    for name in staged:
        if not needed(name):
            (staging / name).unlink()


class PublishedBefore:
    """The manifest that was last published here. It steps aside into .photomend/ until the new one is whole."""

    def __init__(self, dataset: Path):
        self.dataset = dataset
        self.aside = dataset / STATE / "manifest.jsonl"
        published = (dataset / "dataset.json").exists() and (dataset / "manifest.jsonl").exists()
        self.place = dataset / "manifest.jsonl" if published else self.aside

    def rows(self) -> Iterator[Row]:
        return read_rows(self.place) if self.place.exists() else iter(())

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

"""The rows of manifest.jsonl, their counts, and the metadata.jsonl that follow from them. dataset.py opens the whole folder.

No file of it holds a time, a host, an absolute path or a worker count, so that the same photos give the same bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dataset_tools import files
from dataset_tools.errors import DatasetError
from dataset_tools.groups import SPLITS

Row = dict[str, Any]

FORMAT = "photomend dataset"
FORMAT_VERSION = 2  # 1 had other perceptual hashes
STATE = ".photomend"  # lock, journal and staging, beside what is published


def photo_row(source: str, sha: str | None, status: str, reason: str | None = None, **more: Any) -> Row:
    """The row of one photo. status: kept (at least one crop of it is) | rejected | failed; reason: why not, in one word."""
    return {"kind": "photo", "source": source, "sha256": sha, "status": status, "reason": reason,
            "group": None, "split": None, **more}  # fmt: skip


def crop_row(kind: str, source: str, sha: str, index: int, status: str, reason: str | None = None, **more: Any) -> Row:
    """The row of one crop of a photo: kind face (found by the detector) | crop (center, tiles, pair)."""
    return {"kind": kind, "source": source, "sha256": sha, "face": index, "status": status, "reason": reason,
            "group": None, "split": None, "pair": None, "pair_sha256": None, **more}  # fmt: skip


class Tally:
    """The counts that must add up, from one row after another: files = not_images + photos; photos and crops = kept + rejected
    (+ failed)."""

    def __init__(self) -> None:
        self._photos: Counter[str] = Counter()
        self._crops: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._splits: Counter[str] = Counter()
        self._groups: dict[str, set[int]] = {split: set() for split in SPLITS}

    def add(self, row: Row) -> None:
        photo = row["kind"] == "photo"
        (self._photos if photo else self._crops)[row["status"]] += 1
        self._notes.update(row.get("notes", ()))
        if row["reason"]:
            self._reasons[f"{row['kind']}:{row['reason']}"] += 1
        if row["split"]:
            self._groups[row["split"]].add(int(row["group"][:16], 16))  # 64 bits of it tell groups apart
            self._splits[row["split"]] += not photo

    def counts(self, files_seen: int) -> dict[str, Any]:
        photos, crops = self._photos, self._crops
        return {
            "files": files_seen,
            "not_images": files_seen - photos.total(),
            "photos": {"all": photos.total(), **{status: photos[status] for status in ("kept", "rejected", "failed")}},
            "faces": {"all": crops.total(), **{status: crops[status] for status in ("kept", "rejected")}},
            "reasons": dict(sorted(self._reasons.items())),
            "notes": dict(sorted(self._notes.items())),
            "splits": {split: self._splits[split] for split in SPLITS},
            "groups": {split: len(self._groups[split]) for split in SPLITS},
        }


def count(rows: Iterable[Row], files_seen: int) -> dict[str, Any]:
    """The counts of `rows`; see Tally."""
    tally = Tally()
    for row in rows:
        tally.add(row)
    return tally.counts(files_seen)


def manifest_text(rows: Sequence[Row]) -> str:
    """The text of manifest.jsonl: a line of JSON a row."""
    return "".join(map(files.json_line, rows))


def metadata_line(row: Row) -> str:
    """What Hugging Face's imagefolder loader reads beside a pair: one line of its split's metadata.jsonl."""
    return files.json_line(
        {
            "file_name": row["pair"].partition("/")[2],
            "source": row["source"],
            "face": row["face"],
            "group": row["group"],
            "degradations": json.dumps(row["degradations"], sort_keys=True),
        }
    )


def metadata_text(rows: Sequence[Row], split: str) -> str:
    """The whole metadata.jsonl of a split."""
    return "".join(metadata_line(row) for row in rows if row["kind"] != "photo" and row["split"] == split)


def is_pair(name: str) -> bool:
    """True for the names that `build` gives to pairs ("train/anna-0123456789abcdef-0.png"), and no path out of the folder."""
    return re.fullmatch(r"(train|val|test)/[A-Za-z0-9_-]{1,41}-[0-9a-f]{16}-[0-9]+\.png", name) is not None


def read_rows(manifest: Path) -> Iterator[Row]:
    """The rows of a manifest.jsonl. Raises DatasetError with the line that cannot be read."""
    try:
        with open(manifest, encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise DatasetError(f"{manifest}, line {number} is not JSON: build it anew, with --fresh") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {manifest} ({error}): build it anew, with --fresh") from error

"""The dataset folder: dataset.json, manifest.jsonl, train/ val/ test/ with their metadata.jsonl. Written here, read here.

No file of it holds a time, a host, an absolute path or a worker count, so that the same photos give the same bytes.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_tools import files
from dataset_tools.archive import encode_name, sha256
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


@dataclass(frozen=True)
class PairRow:
    """One pair of a split: A|B in `path`, or in a slice of it; degradations as drawn (empty where nobody recorded them)."""

    path: Path  # an image, or a tar shard
    sha256: str | None
    degradations: list[Row]
    source: str
    name: str  # "train/NAME.png", printable: what messages call it
    start: int = 0  # of a slice, in bytes
    length: int | None = None  # None: the whole file
    group: str = ""  # pairs that may show the same; "" where nobody recorded it

    def read(self) -> bytes:
        """The bytes of its image file. Raises PhotoError where they cannot be read."""
        from dataset_tools.image_io import read_bytes

        return read_bytes(self.path, self.name, self.start, self.length)


def is_pair(name: str) -> bool:
    """True for the names that `build` gives to pairs ("train/anna-0123456789abcdef-0.png"), and no path out of the folder."""
    return re.fullmatch(r"(train|val|test)/[A-Za-z0-9_-]{1,41}-[0-9a-f]{16}-[0-9]+\.png", name) is not None


def is_dataset(folder: Path) -> bool:
    """True where `folder` holds a dataset that photomend finished."""
    try:
        return bool(json.loads((folder / "dataset.json").read_text("utf-8")).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError):
        return False


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


class Dataset:
    """A dataset folder opened for reading: photomend's own, or a classic one that holds only folders of A|B images.

    Attributes:
        folder: where it is.
        info: dataset.json, or None for a classic folder.
        direction: "AtoB" (the left half is the input) or "BtoA"; ours are always AtoB.
        fingerprint: SHA-256 that changes with any pair; for a classic folder, with any name or size of a file.
    """

    def __init__(self, folder: Path, info: Row | None, pairs: dict[str, list[PairRow]], fingerprint: str, direction: str):
        self.folder, self.info, self.fingerprint, self.direction = folder, info, fingerprint, direction
        self._pairs = pairs

    def pairs(self, split: str) -> list[PairRow]:
        """The pairs of "train", "val" or "test", in the manifest's order."""
        return self._pairs.get(split, [])


def open_dataset(folder: Path, direction: str = "AtoB") -> Dataset:
    """Opens a dataset made by `photomend build`, or a classic folder with train/ (and val/, test/) of A|B images.

    Raises:
        DatasetError: neither of the two, unfinished, or asked to read ours backwards.
    """
    if not folder.is_dir():
        raise DatasetError(f"the dataset {folder} does not exist: build one with: photomend build ARCHIVE {folder}")
    if is_dataset(folder):
        if direction != "AtoB":
            raise DatasetError(f"{folder} was made by photomend and holds its input on the left: leave --direction away")
        return _open_ours(folder)
    if (folder / STATE).is_dir():
        raise DatasetError(f"the dataset {folder} is not finished: run the same build again")
    return _open_classic(folder, direction)


def _open_ours(folder: Path) -> Dataset:
    info = json.loads((folder / "dataset.json").read_text("utf-8"))
    if info.get("format_version") != FORMAT_VERSION:
        raise DatasetError(f"{folder} has format version {info.get('format_version')}, this photomend reads {FORMAT_VERSION}")
    pairs: dict[str, list[PairRow]] = {split: [] for split in SPLITS}
    places = _places(folder) if info.get("recipe", {}).get("format") == "webdataset" else {}
    for number, row in enumerate(read_rows(folder / "manifest.jsonl"), 1):
        try:
            if row["kind"] != "photo" and row["status"] == "kept":
                if not is_pair(row["pair"]):
                    raise ValueError(f"{row['pair']} is no name of a pair")
                path, start, length = places.get(row["pair"], (folder / row["pair"], 0, None))
                known = (row["pair_sha256"], row["degradations"], row["source"], row["pair"])
                pairs[row["split"]].append(PairRow(path, *known, start, length, row["group"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{folder}/manifest.jsonl, line {number} is damaged ({error}): build it anew, with --fresh"
            ) from error
    return Dataset(folder, info, pairs, info["manifest_sha256"], "AtoB")


def _places(folder: Path) -> Mapping[str, tuple[Path, int, int]]:
    from dataset_tools import shards  # which imports this module

    return shards.index(folder)


def _open_classic(folder: Path, direction: str) -> Dataset:
    from dataset_tools.image_io import SUFFIXES

    pairs: dict[str, list[PairRow]] = {}
    names = []
    for split in SPLITS:
        found = sorted(path for path in (folder / split).glob("*") if path.suffix.lower() in SUFFIXES)
        named = [(path, f"{split}/{path.name}") for path in found]
        pairs[split] = [PairRow(path, None, [], name, encode_name(os.fsencode(name))) for path, name in named]
        names += [f"{split}/{path.name}:{path.stat().st_size}" for path in found]
    if not any(pairs.values()):
        raise DatasetError(
            f"{folder} is no dataset: it has neither a dataset.json nor a folder train/, val/ or test/ with A|B images"
        )
    return Dataset(folder, None, pairs, sha256("\n".join([direction, *names]).encode("utf-8", "surrogateescape")), direction)

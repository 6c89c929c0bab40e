"""A dataset folder opened for reading: photomend's own, in files or in shards, or one of A|B images that another program made."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from dataset_tools import shards
from dataset_tools.archive import encode_name, sha256
from dataset_tools.errors import DatasetError
from dataset_tools.groups import SPLITS
from dataset_tools.image_io import SUFFIXES, read_bytes
from dataset_tools.manifest import FORMAT, FORMAT_VERSION, STATE, Row, is_pair, read_rows


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
        return read_bytes(self.path, self.name, self.start, self.length)


def is_dataset(folder: Path) -> bool:
    """True where `folder` holds a dataset that photomend finished."""
    try:
        return bool(json.loads((folder / "dataset.json").read_text("utf-8")).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError):
        return False


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
    places = shards.index(folder) if info.get("recipe", {}).get("format") == "webdataset" else {}
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


def _open_classic(folder: Path, direction: str) -> Dataset:
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

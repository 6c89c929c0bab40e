"""The dataset folder: dataset.json, manifest.jsonl, train/ val/ test/ with their metadata.jsonl. Written here, read here.

No file of it holds a time, a host, an absolute path or a worker count, so that the same photos give the same bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_tools import files
from dataset_tools.archive import sha256
from dataset_tools.errors import DatasetError
from dataset_tools.groups import SPLITS

Row = dict[str, Any]

FORMAT = "photomend dataset"
FORMAT_VERSION = 1
STATE = ".photomend"  # lock, journal and staging, beside what is published


def photo_row(source: str, sha: str | None, status: str, reason: str | None = None, **more: Any) -> Row:
    """The row of one photo. status: kept (at least one crop of it is) | rejected | failed; reason: why not, in one word."""
    return {"kind": "photo", "source": source, "sha256": sha, "status": status, "reason": reason,
            "group": None, "split": None, **more}  # fmt: skip


def crop_row(kind: str, source: str, sha: str, index: int, status: str, reason: str | None = None, **more: Any) -> Row:
    """The row of one crop of a photo: kind face (found by the detector) | crop (center, tiles, pair)."""
    return {"kind": kind, "source": source, "sha256": sha, "face": index, "status": status, "reason": reason,
            "group": None, "split": None, "pair": None, "pair_sha256": None, **more}  # fmt: skip


def count(rows: Sequence[Row], files_seen: int) -> dict[str, Any]:
    """The counts that must add up: files = not_images + photos; photos and crops = kept + rejected (+ failed)."""
    photos = Counter(row["status"] for row in rows if row["kind"] == "photo")
    crops = Counter(row["status"] for row in rows if row["kind"] != "photo")
    reasons = Counter(f"{row['kind']}:{row['reason']}" for row in rows if row["reason"])
    return {
        "files": files_seen,
        "not_images": files_seen - photos.total(),
        "photos": {"all": photos.total(), **{status: photos[status] for status in ("kept", "rejected", "failed")}},
        "faces": {"all": crops.total(), **{status: crops[status] for status in ("kept", "rejected")}},
        "reasons": dict(sorted(reasons.items())),
        "splits": {split: sum(row["kind"] != "photo" and row["split"] == split for row in rows) for split in SPLITS},
        "groups": {split: len({row["group"] for row in rows if row["split"] == split}) for split in SPLITS},
    }


def manifest_text(rows: Sequence[Row]) -> str:
    """The text of manifest.jsonl: a line of JSON a row."""
    return "".join(map(files.json_line, rows))


def metadata_text(rows: Sequence[Row], split: str) -> str:
    """What Hugging Face's imagefolder loader reads beside the pairs of a split."""
    return "".join(
        files.json_line(
            {
                "file_name": row["pair"].partition("/")[2],
                "source": row["source"],
                "face": row["face"],
                "group": row["group"],
                "degradations": json.dumps(row["degradations"], sort_keys=True),
            }
        )
        for row in rows
        if row["kind"] != "photo" and row["split"] == split
    )


def publish(folder: Path, info: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Writes the manifest, the splits' metadata, the card, and last dataset.json, whose presence says that all is whole."""
    text = manifest_text(rows)
    files.replace_text(folder / "manifest.jsonl", text)
    for split in SPLITS:
        files.replace_text(folder / split / "metadata.jsonl", metadata_text(rows, split))
    info = {**info, "format": FORMAT, "format_version": FORMAT_VERSION, "manifest_sha256": sha256(text.encode("utf-8"))}
    files.replace_text(folder / "README.md", card_text(info))
    files.replace_json(folder / "dataset.json", info)


def card_text(info: Mapping[str, Any]) -> str:
    """The dataset's card, in Markdown."""
    counts = info["counts"]
    lines = [
        "# A dataset of pairs made by photomend",
        "",
        "Each PNG holds two images side by side: left the degraded input (A), right the original (B).",
        "",
        "| split | pairs | groups |",
        "|---|---|---|",
        *(f"| {split} | {counts['splits'][split]} | {counts['groups'][split]} |" for split in SPLITS),
        "",
        f"{counts['files']} files: {counts['not_images']} no images, {counts['photos']['kept']} photos kept, "
        f"{counts['photos']['rejected']} rejected, {counts['photos']['failed']} failed. "
        f"{counts['faces']['all']} crops: {counts['faces']['kept']} kept, {counts['faces']['rejected']} rejected.",
        "",
        "| reason | count |",
        "|---|---|",
        *(f"| {reason} | {number} |" for reason, number in counts["reasons"].items()),
        "",
        "## Recipe",
        "",
        "```json",
        json.dumps(info["recipe"], indent=2, sort_keys=True, ensure_ascii=False),
        "```",
        "",
        "The photos' licence and the consent of the people in them are not known to the program: add them here.",
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class PairRow:
    """One pair of a split. `path` holds A|B; degradations as drawn (empty where nobody recorded them)."""

    path: Path
    sha256: str | None
    degradations: list[Row]
    source: str


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
                    raise DatasetError(f"{manifest}, line {number} is not JSON: build the dataset again") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {manifest} ({error}): build the dataset again") from error


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
    for number, row in enumerate(read_rows(folder / "manifest.jsonl"), 1):
        try:
            if row["kind"] != "photo" and row["status"] == "kept":
                if not is_pair(row["pair"]):
                    raise ValueError(f"{row['pair']} is no name of a pair")
                pairs[row["split"]].append(PairRow(folder / row["pair"], row["pair_sha256"], row["degradations"], row["source"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{folder}/manifest.jsonl, line {number} is damaged ({error}): build the dataset again") from error
    return Dataset(folder, info, pairs, info["manifest_sha256"], "AtoB")


def _open_classic(folder: Path, direction: str) -> Dataset:
    from dataset_tools.image_io import SUFFIXES

    pairs: dict[str, list[PairRow]] = {}
    names = []
    for split in SPLITS:
        found = sorted(path for path in (folder / split).glob("*") if path.suffix.lower() in SUFFIXES)
        pairs[split] = [PairRow(path, None, [], f"{split}/{path.name}") for path in found]
        names += [f"{split}/{path.name}:{path.stat().st_size}" for path in found]
    if not any(pairs.values()):
        raise DatasetError(
            f"{folder} is no dataset: it has neither a dataset.json nor a folder train/, val/ or test/ with A|B images"
        )
    return Dataset(folder, None, pairs, sha256("\n".join([direction, *names]).encode("utf-8", "surrogateescape")), direction)

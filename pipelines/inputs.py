"""What a job is given: which files of the INPUTs are photos."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset_tools import crops, image_io
from dataset_tools.archive import decode_name, encode_name, walk
from dataset_tools.crops import Square
from dataset_tools.dataset import is_dataset, open_dataset
from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.groups import SPLITS
from dataset_tools.manifest import read_rows
from dataset_tools.pairs import DIRECTIONS
from pipelines.evaluate import split_pairs
from pipelines.ledger import no_photos
from pipelines.restore import Item, in_words

INPUT_KINDS = ("photo", "crop", "pair")


def kind_of(inputs: Sequence[Path], asked: str | None, direction: str) -> str:
    """What the files are: photo, crop or pair. Raises UsageError for what cannot be meant."""
    if asked not in (None, *INPUT_KINDS):
        raise UsageError(f"--input takes {', '.join(INPUT_KINDS)}; received {asked}")
    if direction not in DIRECTIONS:
        raise UsageError(f"--direction takes {' or '.join(DIRECTIONS)}; received {direction}")
    members = [path for path in inputs if dataset_of(path)]
    if members and asked in ("photo", "crop"):
        raise UsageError(f"{in_words(members[0])} belongs to a dataset, whose files are A|B images: leave --input out")
    if asked is None and members and len(members) < len(inputs):
        raise UsageError("some INPUTs belong to a dataset and some do not: restore them one after the other")
    return asked or ("pair" if members else "photo")


def check_paths(inputs: Sequence[Path], output: Path) -> None:
    """Raises UsageError where an INPUT is missing, or where OUTPUT could overwrite one or be restored again."""
    if not inputs:
        raise UsageError("no INPUT: give photos or folders of photos")
    target = output.resolve()
    if len(inputs) > 1 and not output.exists() and output.suffix.lower() in image_io.SUFFIXES:
        raise UsageError(f"OUTPUT {in_words(output)} looks like a photo, but there are {len(inputs)} INPUTs: give a folder")
    for path in inputs:
        if not path.exists():
            raise UsageError(f"{in_words(path)} does not exist: give a photo or a folder of photos")
        source = path.resolve()
        if target == source:
            raise UsageError(f"OUTPUT is INPUT ({in_words(path)}): an input is never overwritten, choose another OUTPUT")
        if source in target.parents or target in source.parents:
            raise UsageError(
                f"OUTPUT {in_words(output)} and INPUT {in_words(path)} lie one inside the other: choose an OUTPUT apart"
            )


class Found(NamedTuple):
    """The files of the INPUTs, named as below OUTPUT."""

    items: list[Item]  # the photos, by (input, path bytes)
    others: list[str]  # files that are no images, and the masks and sheets of earlier jobs
    linked: list[str]  # links to folders, which are not followed


def find(inputs: Sequence[Path], split: str = "test", direction: str = "AtoB") -> Found:
    """Every file of the INPUTs.

    Something counts as a photo if it is one by content, or claims by its suffix to be one, and is no mask or sheet of an earlier
    job, whose OUTPUT an INPUT may be.
    """
    items, others, linked = list[Item](), list[str](), list[str]()
    roots = [dataset_of(path) for path in inputs]
    datasets = {root: open_dataset(root, direction) for root in set(roots) if root}
    for path, root in zip(inputs, roots, strict=True):
        if root and (datasets[root].info or {}).get("recipe", {}).get("format") == "webdataset":
            raise UsageError(
                f"{in_words(path)} holds its pairs in tar shards, which are not restored: use photomend evaluate on it, "
                "or restore a dataset built with --format folder"
            )
    drawn = {
        Path(os.path.realpath(row.path)): row.degradations
        for each in datasets.values()
        for name in SPLITS
        for row in each.pairs(name)
    }
    for path, root, label in zip(inputs, roots, _labels(inputs), strict=True):
        own = set[Path]()
        if root and root == path.resolve():
            found = [(row.path, row.path.relative_to(root)) for row in split_pairs(datasets[root], split)]
        elif path.is_dir():
            sources, links = walk([path])
            linked += [_name(label / os.fsdecode(decode_name(link))) for link in links]
            own = no_photos(path)
            found = [(Path(source.path), Path(os.fsdecode(source.relative))) for source in sources]
        else:
            found = [(path, Path())]
        for file, below in found:
            counts, format = (False, None) if file in own else _look(file)
            if counts:
                items.append(Item(file, label / below, format, drawn.get(Path(os.path.realpath(file)), ())))
            else:
                others.append(_name(label / below))
    return Found(items, others, linked)


def _name(path: Path) -> str:
    return encode_name(os.fsencode(path))


def dataset_of(path: Path) -> Path | None:
    """The photomend dataset that `path` is or lies in."""
    resolved = path.resolve()
    return next((folder for folder in (resolved, *resolved.parents) if is_dataset(folder)), None)


def _labels(inputs: Sequence[Path]) -> list[Path]:
    """What stands before the names of each INPUT: nothing for one folder, else its base name (-2, -3 where equal)."""
    if len(inputs) == 1 and inputs[0].is_dir():
        return [Path()]
    labels: dict[Path, None] = {}
    for path in inputs:
        label = base = Path(base_name(path))
        stem, suffix = (base.name, "") if path.is_dir() else (base.stem, base.suffix)
        number = 1
        while label in labels:
            number += 1
            label = Path(f"{stem}-{number}{suffix}")
        labels[label] = None
    return list(labels)


def told(inputs: Sequence[Path]) -> list[str]:
    """The INPUTs as a report names them: where two are called alike, by what their places differ in, and as what.

    Where all of them lie is nobody's business who reads the report.
    """
    names, whole = [base_name(path) for path in inputs], [os.path.abspath(path) for path in inputs]
    above = os.path.commonpath(map(os.path.dirname, whole))
    return [
        encode_name(os.fsencode(name))
        if names.count(name) == 1
        else f"{in_words(Path(os.path.relpath(path, above)))} as {in_words(label)}"
        for path, name, label in zip(whole, names, _labels(inputs), strict=True)
    ]


def _look(path: Path) -> tuple[bool, str | None]:
    """(whether it counts as a photo, its format by content). Neither content nor suffix: it does not count."""
    claims = path.suffix.lower() in image_io.SUFFIXES
    if not os.path.isfile(path):  # a dangling link, a pipe; or a folder that may not be read, which must not be passed over
        return claims or os.path.isdir(path), None
    try:
        with open(path, "rb") as handle:
            format = image_io.sniff(handle.read(image_io.HEAD_BYTES))
    except OSError:
        return True, None
    return claims or format is not None, format


def windows_of(dataset: Path) -> tuple[dict[str, tuple[Square, ...]], str]:
    """({source: the squares that its crops show, in pixels of the upright photo}, fingerprint) of a dataset.

    Raises:
        DatasetError: not a dataset of photomend.
    """
    data = open_dataset(dataset.parent if dataset.is_file() and dataset.name == "manifest.jsonl" else dataset)
    if data.info is None:
        raise DatasetError(f"{in_words(dataset)} is no dataset of photomend: --manifest wants one that photomend built")
    size, found = int(data.info["size"]), dict[str, tuple[Square, ...]]()
    for row in read_rows(data.folder / "manifest.jsonl"):
        if row["kind"] != "photo" and row.get("affine"):
            back = crops.invert(np.array(row["affine"], np.float64))  # from the crop to the photo
            ((x, y),) = crops.transform(back, np.full((1, 2), (size - 1) / 2))
            side = round(size * math.hypot(back[0, 0], back[0, 1]))
            square = Square(round(x - (side - 1) / 2), round(y - (side - 1) / 2), side)
            found[row["source"]] = (*found.get(row["source"], ()), square)
    return found, data.fingerprint


def base_name(path: Path) -> str:
    """What an INPUT is called, whatever the way to it that was given."""
    return os.path.basename(os.path.abspath(path)) or "input"

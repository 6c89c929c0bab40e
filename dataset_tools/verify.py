"""Is a dataset folder what its manifest says? Recomputes all of it from the files, and looks for leaks between splits.

The manifest is read anew for each check, so that no list of all rows is held.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from dataset_tools import files, image_io, pairs, shards
from dataset_tools.archive import decode_name, group_rule, labels, sha256
from dataset_tools.card import PICTURE
from dataset_tools.dataset import open_dataset
from dataset_tools.errors import PhotomendError, UsageError
from dataset_tools.groups import SPLITS, parse_split, perceptual_hash, split_of
from dataset_tools.manifest import Row, Tally, metadata_line, read_rows
from dataset_tools.near import Prints
from dataset_tools.near import pairs as near_pairs
from dataset_tools.ties import Ledger


def verify_dataset(folder: Path, archives: Sequence[Path] = ()) -> list[str]:
    """Everything that is wrong with the dataset in `folder`, one line each; empty where all is well.

    Checks that every pair has its recorded hash and its size S × 2S, that no file is missing or unknown, that counts and
    metadata follow from the rows, that each group lies in one split and where its key puts it, that no photos that belong
    together are apart, and that no B half is a near-duplicate of one in another split. With `archives`, in the order of
    the build, also that the photos are unchanged.

    Raises:
        DatasetError: it is no dataset of photomend at all. UsageError: an archive is no folder.
    """
    for archive in archives:
        if not archive.is_dir():
            raise UsageError(f"--archive {archive} is not a folder: give the folder of photos that the dataset was built from")
    info = open_dataset(folder).info
    if info is None:
        return [f"{folder} holds pairs, but no dataset.json: only datasets made by photomend can be verified"]
    expected = info.get("archives") or [""]
    if archives and (len(archives) != len(expected) or (len(archives) > 1 and labels(archives) != expected)):
        names = f" ({', '.join(expected)})" if expected != [""] else ""
        raise UsageError(f"{folder} was built from {len(expected)} folders{names}: give each with --archive, in this order"
                         if len(expected) > 1 else f"{folder} was built from one archive: give one --archive")  # fmt: skip
    problems: list[str] = []

    def rows() -> Iterator[Row]:
        return read_rows(folder / "manifest.jsonl")

    checks = (_tables(folder, info, rows()), _splits(info, rows()), _ties(info, rows()),
              _shards(folder, info, rows()), _files(folder, info["size"], rows()),
              _sources(rows(), archives) if archives else ())  # fmt: skip
    for check in checks:
        try:
            problems += map(image_io.printable, check)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            problems.append(f"manifest.jsonl or dataset.json is damaged ({type(error).__name__}: {error})")
    return problems


def _tables(folder: Path, info: Row, rows: Iterable[Row]) -> Iterator[str]:
    manifest, tally = hashlib.sha256(), Tally()
    metadata = {split: hashlib.sha256() for split in SPLITS}
    for row in rows:
        manifest.update(files.json_line(row).encode("utf-8"))
        tally.add(row)
        if row["kind"] != "photo" and row["split"]:
            metadata[row["split"]].update(metadata_line(row).encode("utf-8"))
    if manifest.hexdigest() != info["manifest_sha256"]:
        yield "manifest.jsonl is not the one that dataset.json was written for: add --fresh to the build, to make it anew"
    told, real = info["counts"], tally.counts(info["counts"]["files"])
    for name in real:
        if told.get(name) != real[name]:
            yield f"dataset.json counts {name} as {told.get(name)}, the manifest as {real[name]}"
    if real["photos"]["all"] != sum(real["photos"][status] for status in ("kept", "rejected", "failed")):
        yield "a photo of the manifest is neither kept nor rejected nor failed"
    for split, digest in metadata.items():
        path = folder / split / "metadata.jsonl"
        if not path.exists() or sha256(path.read_bytes()) != digest.hexdigest():
            yield f"{split}/metadata.jsonl does not follow from the manifest: delete it and run the build again"
    for name in ("README.md", "report.html", *((PICTURE,) if real["faces"]["kept"] else ())):
        if not (folder / name).exists():
            yield f"{name} is missing: run the build again"


def _splits(info: Row, rows: Iterable[Row]) -> Iterator[str]:
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["group"]:
            splits[row["group"]].add(row["split"])
        if row.get("pair") and row["pair"].partition("/")[0] != row["split"]:
            yield f"{row['pair']} lies in the wrong split: the manifest places its photo in {row['split']}"
    for group, found in sorted(splits.items()):
        if len(found) > 1:
            yield f"group {group[:12]} is split over {' and '.join(sorted(found))}"
        expected = split_of(group, info["seed"], parse_split(info["recipe"]["split"]))
        if found != {expected}:
            yield f"group {group[:12]} lies in {' and '.join(sorted(found))}, its key puts it in {expected}"


def _ties(info: Row, rows: Iterable[Row]) -> Iterator[str]:
    """Photos that must not be apart: the same content, near-duplicates, one --group-by key. Nor the crops of one photo."""
    recipe = info["recipe"]
    rule = group_rule(recipe["group_by"], f"{info['archives'][1]}/" if recipe["made_by"] == "pair" else "")
    held, places = Ledger(), list[tuple[str, str]]()
    for source, found in groupby((row for row in rows if row["status"] == "kept"), key=lambda row: row["source"]):
        own = list(found)
        if all(row["kind"] == "photo" for row in own):
            continue  # the A side of a pair
        splits = sorted({row["split"] for row in own})
        if len(splits) > 1:
            yield f"the pairs of {source} belong together, but lie in {' and '.join(splits)}"
        held.add(own[0]["sha256"], (row["phash"] for row in own if "phash" in row), rule(source))
        places.append((source, own[0]["split"]))
    roots = held.components().tolist()
    told = set()
    for (source, split), root in zip(places, roots, strict=True):
        first, home = places[root]
        if split != home and (root, split) not in told:
            told.add((root, split))
            yield f"{first} and {source} belong together, but lie in {home} and {split}"


def _shards(folder: Path, info: Row, rows: Iterable[Row]) -> Iterator[str]:
    if info["recipe"].get("format") == "webdataset":
        yield from shards.differences(folder, rows)


def _files(folder: Path, size: int, rows: Iterable[Row]) -> Iterator[str]:
    present = {f"{split}/{name}" for split in SPLITS if (folder / split).is_dir() for name in os.listdir(folder / split)}
    present -= {f"{split}/metadata.jsonl" for split in SPLITS}
    packed, held, names = shards.index(folder), Prints(), list[str]()
    for row in rows:
        name = row.get("pair")
        if not name:
            continue
        present.discard(name)
        whole = False
        try:
            data = shards.read(packed[name]) if name in packed else (folder / name).read_bytes()
            whole = sha256(data) == row["pair_sha256"]
            if not whole:
                file = packed[name].path.relative_to(folder) if name in packed else name
                yield f"{name} is not what was built (its hash differs): delete {file} and run the build again"
            rgb = image_io.decode(data, name).rgb8
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            yield f"{name} is missing: run the build again" if missing else f"{name} cannot be read: {error.strerror}"
            continue
        except PhotomendError as error:
            if whole:
                yield f"{name}: {error}"
            continue
        if rgb.shape != (size, 2 * size, 3):
            yield f"{name} is {rgb.shape[1]}×{rgb.shape[0]} pixels, not {2 * size}×{size}"
            continue
        if text := perceptual_hash(pairs.split(rgb)[1]):
            held.add(text)
            names.append(name)
    yield from (
        f"{name} is not in the manifest: remove it, no build made it" for name in sorted(present) if not shards.is_shard(name)
    )
    yield from _leaks(held, names)


def _leaks(held: Prints, names: Sequence[str]) -> Iterator[str]:
    """A line for each B half that is near to one of another split; of several such it names the first."""
    split = np.array([SPLITS.index(name.partition("/")[0]) for name in names], np.int64)
    twin: dict[int, int] = {}
    for one, other in near_pairs(held, split):
        for i, j in zip(one.tolist(), other.tolist(), strict=True):
            twin[i] = min(j, twin.get(i, j))
            twin[j] = min(i, twin.get(j, i))
    for first, second in sorted({tuple(sorted((names[i], names[j]))) for i, j in twin.items()}):
        yield f"leak: the originals of {first} and {second} are near-duplicates in different splits"


def _sources(rows: Iterable[Row], archives: Sequence[Path]) -> Iterator[str]:
    roots = dict(zip(labels(archives), archives, strict=True))
    for row in rows:
        if row["kind"] != "photo" or not row["sha256"]:
            continue
        label, _, rest = row["source"].partition("/") if len(archives) > 1 else ("", "", row["source"])
        if label not in roots:
            yield f"{row['source']} belongs to an archive {label} that was not given"
            continue
        path = os.path.join(os.fsencode(roots[label]), decode_name(rest))
        try:
            with open(path, "rb") as handle:
                if sha256(handle.read()) != row["sha256"]:
                    yield f"{row['source']} has changed since the build: run it again"
        except OSError as error:
            yield f"{row['source']} cannot be read any more ({error.strerror}): a build without it removes its pairs"

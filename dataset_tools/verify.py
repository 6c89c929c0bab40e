"""Is a dataset folder what its manifest says? Recomputes all of it from the files, and looks for leaks between splits."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataset_tools import image_io, pairs
from dataset_tools.archive import decode_name, group_rule, labels, sha256
from dataset_tools.errors import PhotomendError
from dataset_tools.groups import SPLITS, Member, assign, near_hashes, parse_split, perceptual_hash, split_of
from dataset_tools.manifest import Row, count, manifest_text, metadata_text, open_dataset, read_rows


def verify_dataset(folder: Path, archives: Sequence[Path] = ()) -> list[str]:
    """Everything that is wrong with the dataset in `folder`, one line each; empty where all is well.

    Checks that every pair has its recorded hash and its size S × 2S, that no file is missing or unknown, that counts and
    metadata follow from the rows, that each group lies in one split and where its key puts it, that no photos that belong
    together are apart, and that no B half is a near-duplicate of one in another split. With `archives`, in the order of
    the build, also that the photos are unchanged.

    Raises:
        DatasetError: it is no dataset of photomend at all.
    """
    dataset = open_dataset(folder)
    if dataset.info is None:
        return [f"{folder} holds pairs, but no dataset.json: only datasets made by photomend can be verified"]
    info, rows = dataset.info, list(read_rows(folder / "manifest.jsonl"))
    problems: list[str] = []
    checks = (_tables(folder, info, rows), _splits(info, rows), _ties(info, rows), _files(folder, info["size"], rows),
              _sources(rows, archives) if archives else ())  # fmt: skip
    for check in checks:
        try:
            problems += check
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            problems.append(f"manifest.jsonl or dataset.json is damaged ({type(error).__name__}: {error})")
    return problems


def _tables(folder: Path, info: Row, rows: list[Row]) -> Iterator[str]:
    if sha256(manifest_text(rows).encode("utf-8")) != info["manifest_sha256"]:
        yield "manifest.jsonl is not the one that dataset.json was written for"
    told, real = info["counts"], count(rows, info["counts"]["files"])
    for name in real:
        if told.get(name) != real[name]:
            yield f"dataset.json counts {name} as {told.get(name)}, the manifest as {real[name]}"
    if real["photos"]["all"] != sum(real["photos"][status] for status in ("kept", "rejected", "failed")):
        yield "a photo of the manifest is neither kept nor rejected nor failed"
    for split in SPLITS:
        path = folder / split / "metadata.jsonl"
        if not path.exists() or path.read_bytes() != metadata_text(rows, split).encode("utf-8"):
            yield f"{split}/metadata.jsonl does not follow from the manifest"


def _splits(info: Row, rows: list[Row]) -> Iterator[str]:
    splits = defaultdict(set)
    for row in rows:
        if row["group"]:
            splits[row["group"]].add(row["split"])
    for group, found in sorted(splits.items()):
        if len(found) > 1:
            yield f"group {group[:12]} is split over {' and '.join(sorted(found))}"
        expected = split_of(group, info["seed"], parse_split(info["recipe"]["split"]))
        if found != {expected}:
            yield f"group {group[:12]} lies in {' and '.join(sorted(found))}, its key puts it in {expected}"


def _ties(info: Row, rows: list[Row]) -> Iterator[str]:
    """Photos that must not be apart: the same content, near-duplicates, one --group-by key."""
    recipe = info["recipe"]
    rule = group_rule(recipe["group_by"], f"{info['archives'][1]}/" if recipe["made_by"] == "pair" else "")
    kept: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["status"] == "kept":
            kept[row["source"]].append(row)
    photos = [found for found in kept.values() if len(found) > 1]  # a photo and its crops
    hashes = [tuple(row["phash"] for row in found) for found in photos]
    members = [Member(found[0]["sha256"], own, rule(found[0]["source"])) for found, own in zip(photos, hashes, strict=True)]
    together = defaultdict(list)
    for found, place in zip(photos, assign(members, info["seed"], parse_split(recipe["split"])), strict=True):
        together[place.group].append(found[0])
    for tied in together.values():
        other = next((row for row in tied if row["split"] != tied[0]["split"]), None)
        if other:
            yield f"{tied[0]['source']} and {other['source']} belong together, but lie in {tied[0]['split']} and {other['split']}"


def _files(folder: Path, size: int, rows: list[Row]) -> Iterator[str]:
    wanted = {row["pair"]: row for row in rows if row.get("pair")}
    present = {f"{split}/{name}" for split in SPLITS if (folder / split).is_dir() for name in os.listdir(folder / split)}
    present -= {f"{split}/metadata.jsonl" for split in SPLITS}
    for name in sorted(present - wanted.keys()):
        yield f"{name} is not in the manifest"
    hashed = []
    for name, row in sorted(wanted.items()):
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            yield f"{name} is missing" if isinstance(error, FileNotFoundError) else f"{name} cannot be read: {error.strerror}"
            continue
        if sha256(data) != row["pair_sha256"]:
            yield f"{name} is not the file that was built (its hash differs)"
        try:
            rgb = image_io.decode(data, name).rgb8
        except PhotomendError as error:
            yield f"{name}: {error}"
            continue
        if rgb.shape != (size, 2 * size, 3):
            yield f"{name} is {rgb.shape[1]}×{rgb.shape[0]} pixels, not {2 * size}×{size}"
            continue
        hashed.append((name, perceptual_hash(pairs.split(rgb)[1])))
    near = near_hashes(text for _, text in hashed)
    by_hash: dict[str, dict[str, str]] = defaultdict(dict)  # hash -> split -> a pair of it
    for name, text in hashed:
        by_hash[text].setdefault(name.partition("/")[0], name)
    told = set()
    for text, others in near.items():
        for split, name in ((split, name) for other in others for split, name in by_hash[other].items()):
            for own in (own for home, own in by_hash[text].items() if home != split):
                told.add(tuple(sorted((own, name))))
    for one, other in sorted(told):
        yield f"leak: the originals of {one} and {other} are near-duplicates in different splits"


def _sources(rows: list[Row], archives: Sequence[Path]) -> Iterator[str]:
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
                    yield f"{row['source']} has changed since the build"
        except OSError as error:
            yield f"{row['source']} cannot be read any more: {error.strerror}"

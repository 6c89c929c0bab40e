"""Pairs in tar shards, as the webdataset library reads them: train/train-000000.tar and so on, SHARD_PAIRS pairs in each.

A pair is two members that share a key: KEY.json, the line that metadata.jsonl holds of it and the SHA-256 of its image, and
KEY.png, A|B exactly as `build` staged it. Members stand in the manifest's order, without owner, time or compression, so that
the same pairs give the same bytes and a pair is a slice of its shard.

How a kill never loses a pair. Old shards and staged pairs are only read while new shards are made: each under
.photomend/shards/, first under a temporary name, then under the hash of its own table of contents, so that none replaces
another (`pack`). A shard that already stands in its place with the same table of contents is not made again. Only when all
are whole are they renamed into place; what they replace is then either in them or not wanted; staged pairs go last
(`place`). Whenever it stops, every pair lies in a shard, at its place or under .photomend/, or in staging: the next build
finds it there and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from dataset_tools import files
from dataset_tools.archive import sha256
from dataset_tools.errors import DatasetError, output_error
from dataset_tools.groups import SPLITS
from dataset_tools.manifest import STATE, Row, is_pair, metadata_line

SHARD_PAIRS = 1000
MAX_LINE = 1 << 20  # bytes of a KEY.json that is still read
_BLOCK = 512  # of a tar file


class Place(NamedTuple):
    """Where the bytes of a pair lie."""

    path: Path
    start: int
    length: int


@dataclass
class Packed:
    """What `pack` has prepared for `place`."""

    shards: set[Path] = field(default_factory=set)  # every shard that the dataset will have
    renames: list[tuple[Path, Path]] = field(default_factory=list)  # (where it was made, its place)
    staged: list[Path] = field(default_factory=list)  # that are in a shard now, or that nobody needs any more


def shard_name(split: str, number: int) -> str:
    """The name of a shard below the dataset's folder: train/train-000000.tar."""
    return f"{split}/{split}-{number:06}.tar"


def is_shard(name: str) -> bool:
    """True for the names that `shard_name` gives."""
    return re.fullmatch(r"(train|val|test)/\1-[0-9]{6,}\.tar", name) is not None


def index(dataset: Path) -> dict[str, Place]:
    """Where each pair of a finished dataset lies, by its name ("train/NAME.png"). Reads the shards' headers alone."""
    return {f"{path.parent.name}/{name}": place for path in _in_place(dataset) for name, place in _contents(path)[1]}


def names(dataset: Path) -> Iterator[str]:
    """The NAME.png of every pair that lies in any shard, also in those that an interrupted build left under .photomend/."""
    for path in (*_in_place(dataset), *_made(dataset)):
        yield from (name for name, _ in _contents(path)[1])


def read(place: Place) -> bytes:
    """The bytes of a pair. Raises OSError."""
    with open(place.path, "rb") as handle:
        handle.seek(place.start)
        return handle.read(place.length)


def reader(dataset: Path) -> Callable[[Row], bytes]:
    """A function from the row of a kept crop to the bytes of its pair, in a shard or loose. It raises OSError."""
    places = index(dataset)

    def pair(row: Row) -> bytes:
        place = places.get(row["pair"])
        return read(place) if place else (dataset / row["pair"]).read_bytes()

    return pair


def pack(dataset: Path, rows: Iterable[Row], needed: Callable[[str], bool]) -> Packed:
    """Makes the shards that `rows`, the manifest, ask for and that do not stand in their place yet. Changes nothing else.

    Args:
        needed: whether a NAME.png that is in no shard any more must be kept: it returns to staging.

    Raises:
        DatasetError: a pair is missing or damaged. OutputError: the disk is full.
    """
    making, staging = dataset / STATE / "shards", dataset / STATE / "staging"
    try:
        making.mkdir(parents=True, exist_ok=True)
        staged = set(os.listdir(staging)) if staging.is_dir() else set()
    except OSError as error:
        raise output_error(error, making) from error
    old = {path: _contents(path) for path in (*_made(dataset), *_in_place(dataset))}
    found = {name: place for _, pairs in old.values() for name, place in pairs}
    keys = {path: key for path, (key, _) in old.items()}
    packed = Packed()

    def bytes_of(row: Row) -> bytes:
        name = row["pair"].partition("/")[2]
        place = Place(staging / name, 0, -1) if name in staged else found.get(name)
        with suppress(OSError):
            if place and sha256(data := read(place)) == row["pair_sha256"]:
                return data
        where = f" in {place.path}" if place else ""
        raise DatasetError(f"the pair {row['pair']} is missing or damaged{where}: add --fresh to build the dataset anew")

    wanted: set[str] = set()
    for number, split, chunk in _chunks(rows):
        key, final = _key_of_rows(chunk), dataset / shard_name(split, number)
        packed.shards.add(final)
        wanted.update(row["pair"].partition("/")[2] for row in chunk)
        if keys.get(final) != key:
            made = making / f"{key}.tar"
            if keys.get(made) != key:
                _write(made, chunk, bytes_of)
            packed.renames.append((made, final))
    for name in found.keys() - wanted - staged:
        if needed(name):
            files.replace_bytes(staging / name, read(found[name]))
    packed.staged = [staging / name for name in staged if name in wanted or not needed(name)]
    return packed


def place(dataset: Path, packed: Packed) -> None:
    """Puts the packed shards in place and removes what they replace. Safe to repeat, after `pack`, when it was cut short."""
    try:
        for split in SPLITS:
            (dataset / split).mkdir(exist_ok=True)
        for made, final in packed.renames:
            os.replace(made, final)
        for split in SPLITS:
            for path in (dataset / split).iterdir():
                name = f"{split}/{path.name}"
                if (is_shard(name) and path not in packed.shards) or is_pair(name):
                    path.unlink()
        for path in packed.staged:
            path.unlink(missing_ok=True)
        shutil.rmtree(dataset / STATE / "shards", ignore_errors=True)
    except OSError as error:
        raise output_error(error, dataset) from error


def remove(dataset: Path) -> None:
    """Removes every shard, for a dataset that is now built as a folder of pairs."""
    for path in _in_place(dataset):
        path.unlink(missing_ok=True)
    shutil.rmtree(dataset / STATE / "shards", ignore_errors=True)


def differences(dataset: Path, rows: Iterable[Row]) -> Iterator[str]:
    """One line for each shard that is not what the rows of the manifest ask for. Does not look into the images."""
    unknown = {f"{path.parent.name}/{path.name}": path for path in _in_place(dataset)}
    for number, split, chunk in _chunks(rows):
        name = shard_name(split, number)
        path = unknown.pop(name, None)
        if path is None:
            yield f"{name} is missing"
        elif _contents(path)[0] != _key_of_rows(chunk):
            yield f"{name} does not follow from the manifest"
    yield from (f"{name} is not in the manifest" for name in sorted(unknown))


def _in_place(dataset: Path) -> list[Path]:
    paths = (path for split in SPLITS for path in (dataset / split).glob("*.tar"))
    return sorted(path for path in paths if is_shard(f"{path.parent.name}/{path.name}"))


def _made(dataset: Path) -> list[Path]:
    return sorted(path for path in (dataset / STATE / "shards").glob("*.tar") if not path.name.startswith(files.TEMPORARY))


def _chunks(rows: Iterable[Row]) -> Iterator[tuple[int, str, list[Row]]]:
    """(number, split, rows) of each shard."""
    open_chunks: dict[str, list[Row]] = {split: [] for split in SPLITS}
    numbers = dict.fromkeys(SPLITS, 0)
    for row in rows:
        if row.get("pair"):
            chunk = open_chunks[row["split"]]
            chunk.append(row)
            if len(chunk) == SHARD_PAIRS:
                yield numbers[row["split"]], row["split"], chunk
                numbers[row["split"]] += 1
                open_chunks[row["split"]] = []
    yield from ((numbers[split], split, chunk) for split, chunk in open_chunks.items() if chunk)


def _line(row: Row) -> bytes:
    """The content of KEY.json."""
    return files.json_line({**json.loads(metadata_line(row)), "pair_sha256": row["pair_sha256"]}).encode("utf-8")


def _members(row: Row) -> tuple[str, str]:
    key = row["pair"].partition("/")[2].removesuffix(".png")
    return f"{key}.json", f"{key}.png"


def _key_of_rows(chunk: list[Row]) -> str:
    """The hash of the table of contents that a shard of these rows has."""
    digest = hashlib.sha256()
    for row in chunk:
        described, image = _members(row)
        digest.update(b"%s\n%s%s\n" % (described.encode(), _line(row), image.encode()))
    return digest.hexdigest()


def _contents(path: Path) -> tuple[str, list[tuple[str, Place]]]:
    """The hash of a shard's table of contents, and (NAME.png, place) of every pair that is whole in it."""
    digest, pairs = hashlib.sha256(), []
    with suppress(OSError, tarfile.HeaderError), open(path, "rb", buffering=4 * _BLOCK) as handle:
        end, start = os.fstat(handle.fileno()).st_size, _BLOCK
        while header := handle.read(_BLOCK):
            member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")  # HeaderError: the blocks of zeros at the end, or damage
            if start + member.size > end:
                break
            digest.update(member.name.encode() + b"\n")
            if member.name.endswith(".json") and member.size <= MAX_LINE:
                digest.update(handle.read(member.size))
            elif member.name.endswith(".png"):
                pairs.append((member.name, Place(path, start, member.size)))
            start += -(-member.size // _BLOCK) * _BLOCK + _BLOCK
            handle.seek(start - _BLOCK)
    return digest.hexdigest(), pairs


def _write(path: Path, chunk: list[Row], bytes_of: Callable[[Row], bytes]) -> None:
    """A shard, one pair after the other, whole or not at all."""
    temporary = path.with_name(f"{files.TEMPORARY}{path.name}")
    try:
        with open(temporary, "wb") as handle, tarfile.open(fileobj=handle, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for row in chunk:
                for name, data in zip(_members(row), (_line(row), bytes_of(row)), strict=True):
                    member = tarfile.TarInfo(name)  # no owner, no time, mode 644
                    member.size = len(data)
                    tar.addfile(member, BytesIO(data))
        os.replace(temporary, path)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink()

"""Pairs in tar shards: the same bytes whatever happened before, nothing lost by a kill, nothing rewritten without a reason."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from dataset_tools import files, image_io, pairs, shards
from dataset_tools.archive import sha256
from dataset_tools.dataset import open_dataset
from dataset_tools.errors import DatasetError, OutputError, Truncated, Unreadable, UsageError
from dataset_tools.groups import SPLITS
from dataset_tools.manifest import FORMAT, FORMAT_VERSION, STATE, Row, manifest_text, metadata_line
from pipelines.evaluate import evaluate_model
from pipelines.inputs import find
from pix2pix.batches import Batches, read_pair
from pix2pix.validation import Validation
from tests.conftest import textured
from tests.test_pipelines_engines import write_model

SIZE = 16
Contents = dict[str, bytes]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_PAIRS", 3)


def image(number: int) -> bytes:
    return image_io.encode_png(pairs.stitch(255 - textured(number, SIZE, SIZE), textured(number, SIZE, SIZE)))


def row(number: int, split: str | None = None) -> Row:
    """The row of pair `number`, which lies in one split after the other unless told."""
    split = split or ("train", "train", "val", "test")[number % 4]
    name = f"photo-{number:016x}-0.png"
    return {"kind": "crop", "source": f"ordner ü/{number}.png", "face": 0, "status": "kept", "group": f"{number:064x}",
            "split": split, "pair": f"{split}/{name}", "pair_sha256": sha256(image(number)),
            "degradations": [{"name": "mosaic", "block": 4, "phase_y": 0, "phase_x": 0}]}  # fmt: skip


def stage(dataset: Path, numbers: Iterable[int]) -> None:
    for number in numbers:
        files.replace_bytes(dataset / STATE / "staging" / f"photo-{number:016x}-0.png", image(number))


def packed(dataset: Path, rows: list[Row], needed: Callable[[str], bool] = lambda name: False) -> Contents:
    shards.place(dataset, shards.pack(dataset, rows, needed))
    return contents(dataset)


def contents(dataset: Path) -> Contents:
    return {str(path.relative_to(dataset)): path.read_bytes() for path in dataset.rglob("*") if path.is_file()}


def publish(dataset: Path, rows: list[Row], format: str = "webdataset") -> Path:
    text = manifest_text(rows)
    files.replace_text(dataset / "manifest.jsonl", text)
    info = {"format": FORMAT, "format_version": FORMAT_VERSION, "size": SIZE, "manifest_sha256": sha256(text.encode()),
            "recipe": {"format": format, "degrade": ["mosaic:block=4"]}}  # fmt: skip
    files.replace_json(dataset / "dataset.json", info)
    return dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """20 pairs in shards, published."""
    stage(tmp_path / "ds", range(20))
    packed(tmp_path / "ds", [row(number) for number in range(20)])
    return publish(tmp_path / "ds", [row(number) for number in range(20)])


def test_a_shard_holds_each_pair_and_what_is_known_of_it(dataset: Path) -> None:
    assert {name for name in contents(dataset) if name.endswith(".tar")} == {
        *(f"train/train-00000{number}.tar" for number in range(4)), *(f"{split}/{split}-00000{number}.tar"
        for split in ("val", "test") for number in range(2))}  # fmt: skip
    with tarfile.open(dataset / "train" / "train-000000.tar", "r:") as tar:
        members = tar.getmembers()
        names = [f"photo-{number:016x}-0" for number in (0, 1, 4)]
        assert [member.name for member in members] == [f"{name}.{suffix}" for name in names for suffix in ("json", "png")]
        for member in members:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode) == (0, 0, 0, "", "", 0o644)
        handle = tar.extractfile(members[3])
        assert handle is not None
        assert handle.read() == image(1)
        handle = tar.extractfile(members[2])
        assert handle is not None
        assert json.load(handle) == {**json.loads(metadata_line(row(1))), "pair_sha256": row(1)["pair_sha256"]}
    assert not (dataset / STATE / "shards").exists()
    assert not list((dataset / STATE / "staging").iterdir())


def test_names() -> None:
    assert shards.is_shard(shards.shard_name("val", 7))
    assert shards.shard_name("val", 7) == "val/val-000007.tar"
    for name in ("val/train-000007.tar", "train/train-7.tar", "other/other-000000.tar", "train/../train-000000.tar"):
        assert not shards.is_shard(name)


def test_unchanged_shards_are_left_alone(dataset: Path) -> None:
    before = {path: path.stat().st_ino for path in dataset.rglob("*.tar")}
    rows = [row(number) for number in range(20)]
    assert shards.pack(dataset, rows, lambda name: False).renames == []
    stage(dataset, [100])
    packed(dataset, [*rows, row(100, "val")])  # at the end of val
    after = {path: path.stat().st_ino for path in dataset.rglob("*.tar")}
    assert [path.name for path in before if before[path] != after.get(path)] == ["val-000001.tar"]


@pytest.mark.parametrize("change", ["first", "gone", "moved", "described", "all"])
def test_the_bytes_do_not_depend_on_what_was_there_before(dataset: Path, tmp_path: Path, change: str) -> None:
    numbers = list(range(20))
    rows = [row(number) for number in numbers]
    if change == "first":
        stage(dataset, [50])
        rows.insert(0, row(50, "train"))
    elif change == "gone":
        rows = rows[4:11]
    elif change == "moved":
        rows[0], rows[2] = row(0, "val"), row(2, "train")
    elif change == "described":
        rows[5]["group"] = "f" * 64
    else:
        stage(dataset, range(60, 80))
        rows = [row(number) for number in range(60, 80)]
    changed = packed(dataset, rows)
    stage(tmp_path / "other", [*range(20), 50, *range(60, 80)])
    fresh = packed(tmp_path / "other", rows)
    assert {name: data for name, data in changed.items() if name.endswith(".tar")} == fresh
    assert list(shards.differences(dataset, rows)) == []


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_a_kill_at_any_point_loses_nothing(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(dataset, [50, 51])
    rows = [row(50, "train"), row(51, "val"), *(row(number) for number in range(18))]  # every shard of train and val changes
    shutil.copytree(dataset, tmp_path / "whole")
    expected = packed(tmp_path / "whole", rows)
    calls = {name: getattr(os, name) for name in ("replace", "unlink")}
    for last in range(1, 200):
        work = tmp_path / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(dataset, work)
        left = [last]

        def counted(name: str, left: list[int] = left) -> Callable[..., None]:
            def call(*arguments: object, **options: object) -> None:
                left[0] -= 1
                if left[0] <= 0:
                    raise Killed
                calls[name](*arguments, **options)

            return call

        with monkeypatch.context() as patched:
            for name in calls:
                patched.setattr(os, name, counted(name))
            try:
                packed(work, rows)
                finished = True
            except Killed:
                finished = False
        known = {*shards.names(work), *os.listdir(work / STATE / "staging")}
        assert known >= {each["pair"].partition("/")[2] for each in rows}
        if last % 3 == 0:  # the archive has changed again meanwhile
            stage(work, [52])
            packed(work, [row(52, "train"), *rows])
        for leftover in work.rglob(f"{files.TEMPORARY}*"):  # as the next build does
            leftover.unlink()
        assert packed(work, rows) == expected
        if finished:
            break
    assert last > 15


def test_what_is_needed_later_returns_to_staging(dataset: Path) -> None:
    rows = [row(number) for number in range(20) if number != 6]
    name = row(6)["pair"].partition("/")[2]
    packed(dataset, rows, lambda each: each == name)
    assert {path.name: path.read_bytes() for path in (dataset / STATE / "staging").iterdir()} == {name: image(6)}
    packed(dataset, [*rows, row(6)], lambda each: each == name)
    assert not list((dataset / STATE / "staging").iterdir())
    assert shards.read(shards.index(dataset)[row(6)["pair"]]) == image(6)


def test_a_pair_that_is_missing_or_damaged_is_said(dataset: Path, tmp_path: Path) -> None:
    rows = [row(number) for number in range(20)]
    with pytest.raises(DatasetError, match=r"^the pair test/photo-0+1f-0\.png is missing or damaged: add --fresh"):
        shards.pack(dataset, [row(31), *rows], lambda name: False)
    place = shards.index(dataset)[row(4)["pair"]]
    data = bytearray(place.path.read_bytes())
    data[place.start + place.length - 3] ^= 1
    place.path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"the pair train/photo-0+4-0\.png is missing or damaged in .*train-000000\.tar: add"):
        shards.pack(dataset, rows[1:], lambda name: False)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        shards.pack(tmp_path / "file", rows, lambda name: False)


def test_a_shard_that_was_cut_or_scribbled_on_gives_what_is_whole_in_it(dataset: Path) -> None:
    rows = [row(number) for number in range(20)]
    path = dataset / "train" / "train-000000.tar"
    data = path.read_bytes()
    for cut in range(0, len(data), 700):
        path.write_bytes(data[:cut])
        found = [name for name in shards.index(dataset) if name in {each["pair"] for each in (rows[0], rows[1], rows[4])}]
        assert len(found) == sum(data.index(image(number)) + len(image(number)) <= cut for number in (0, 1, 4))
    path.write_bytes(data[:2000])
    assert list(shards.differences(dataset, rows)) == ["train/train-000000.tar does not follow from the manifest"]
    path.write_bytes(b"scribble" * 1000)
    assert row(0)["pair"] not in shards.index(dataset)
    path.rename(dataset / "train" / "train-000009.tar")
    assert list(shards.differences(dataset, rows)) == [
        "train/train-000000.tar is missing", "train/train-000009.tar is not in the manifest"]  # fmt: skip


def test_changing_to_a_folder_and_back_leaves_nothing_behind(dataset: Path) -> None:
    shards.remove(dataset)
    assert not list(dataset.rglob("*.tar"))
    stage(dataset, range(20))
    files.replace_bytes(dataset / row(0)["pair"], image(0))
    packed(dataset, [row(number) for number in range(20)])
    assert not list(dataset.rglob("*.png"))


# ---- reading


def as_folder(dataset: Path, folder: Path) -> Path:
    for number in range(20):
        files.replace_bytes(folder / row(number)["pair"], image(number))
    return publish(folder, [row(number) for number in range(20)], "folder")


def test_a_pair_reads_the_same_from_either_format(dataset: Path, tmp_path: Path) -> None:
    one, other = open_dataset(dataset), open_dataset(as_folder(dataset, tmp_path / "folder"))
    assert one.fingerprint == sha256(manifest_text([row(number) for number in range(20)]).encode())
    for split in SPLITS:
        assert len(one.pairs(split)) in (5, 10)
        for pair, loose in zip(one.pairs(split), other.pairs(split), strict=True):
            assert pair.read() == loose.read()
            assert sha256(pair.read()) == pair.sha256
            assert (pair.name, pair.source, pair.degradations) == (loose.name, loose.source, loose.degradations)
            assert np.array_equal(read_pair(pair, SIZE), read_pair(loose, SIZE))
    for read in (shards.reader(dataset), shards.reader(tmp_path / "folder")):
        assert read(row(3)) == image(3)


def test_training_and_evaluation_do_not_see_the_format(dataset: Path, tmp_path: Path) -> None:
    one, other = open_dataset(dataset), open_dataset(as_folder(dataset, tmp_path / "folder"))
    batches = [Batches(each.pairs("train"), SIZE, 4, seed=1, jitter=2, flip=True) for each in (one, other)]
    for step in range(3):
        assert np.array_equal(*(np.stack(each.at(step)[:2]) for each in batches))
    chosen = [Validation(each.pairs("val"), SIZE, 3, "AtoB", 2) for each in (one, other)]
    assert np.array_equal(chosen[0].a, chosen[1].a)
    model = write_model(tmp_path / "same.onnx")
    measured = [evaluate_model(model, folder, csv=tmp_path / "rows.csv") for folder in (dataset, tmp_path / "folder")]
    assert measured[0].rows == measured[1].rows
    assert [each["pair"] for each in measured[0].rows] == [row(number)["pair"] for number in (3, 7, 11, 15, 19)]


def test_restore_says_that_it_does_not_read_shards(dataset: Path, tmp_path: Path) -> None:
    assert [str(item.name) for item in find([as_folder(dataset, tmp_path / "folder")])[0]] == [
        row(number)["pair"] for number in (3, 7, 11, 15, 19)]  # fmt: skip
    for path in (dataset, dataset / "test"):
        with pytest.raises(UsageError, match="holds its pairs in tar shards, which are not restored: use photomend evaluate"):
            find([path])


def test_a_pair_whose_shard_is_damaged_is_a_photo_error(dataset: Path) -> None:
    opened = open_dataset(dataset)
    first, last = opened.pairs("train")[0], opened.pairs("train")[2]
    with open(last.path, "r+b") as handle:
        handle.truncate(last.start + last.length - 20)
    with pytest.raises(Truncated, match=r"^train/photo-0+4-0\.png ends before its picture does"):
        read_pair(last, SIZE)
    assert read_pair(first, SIZE)[0].shape == (SIZE, SIZE, 3)
    (lost,) = (pair for pair in open_dataset(dataset).pairs("train") if pair.name == last.name)
    with pytest.raises(Unreadable, match=r"^train/photo-0+4-0\.png cannot be read \(No such file or directory\)"):
        lost.read()

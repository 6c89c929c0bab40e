from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_tools import image_io, pairs, resources
from dataset_tools.archive import sha256
from dataset_tools.build import build_dataset
from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.groups import SPLITS, perceptual_hash
from dataset_tools.manifest import Row, count, manifest_text, metadata_text, read_rows
from dataset_tools.recipe import Recipe
from dataset_tools.verify import verify_dataset
from tests.conftest import some, textured

Image = np.ndarray
RECIPE = Recipe(size=64, crop="center", split="50/25/25")


@pytest.fixture
def built(write_photos: Callable[..., Path], tmp_path: Path) -> Path:
    archive = write_photos({f"{number}.png": number for number in range(12)})
    build_dataset([archive], tmp_path / "ds", RECIPE, workers=0)
    return tmp_path / "ds"


def some_pair(built: Path, split: str) -> Path:
    return sorted((built / split).glob("*.png"))[0]


def test_a_fresh_dataset_is_well(built: Path, tmp_path: Path) -> None:
    assert verify_dataset(built) == []
    assert verify_dataset(built, [tmp_path / "archive"]) == []


def test_a_changed_pair(built: Path) -> None:
    pair = some_pair(built, "train")
    rgb = image_io.read(pair).rgb8.copy()
    rgb[0, 0] ^= 255
    image_io.write(pair, rgb, "PNG")
    assert verify_dataset(built) == [
        f"train/{pair.name} is not what was built (its hash differs): delete train/{pair.name} and run the build again"
    ]


def test_a_missing_a_cut_and_an_unknown_pair(built: Path) -> None:
    pairs_here = sorted((built / "train").glob("*.png"))
    pairs_here[0].unlink()
    pairs_here[1].write_bytes(pairs_here[1].read_bytes()[:-30])
    shutil.copy(pairs_here[2], built / "train" / "stranger.png")
    found = verify_dataset(built)
    assert f"train/{pairs_here[0].name} is missing: run the build again" in found
    assert "train/stranger.png is not in the manifest: remove it, no build made it" in found
    assert [line.partition(":")[0] for line in found if pairs_here[1].name in line] == [
        f"train/{pairs_here[1].name} is not what was built (its hash differs)"
    ]


def test_what_verify_says_mends_a_dataset(built: Path, tmp_path: Path) -> None:
    before = sorted((path.name, path.read_bytes()) for path in (built / "train").glob("*.png"))
    (one, _), (other, _) = before[:2]
    (built / "train" / one).write_bytes(b"damaged")
    (built / "train" / other).unlink()
    for line in verify_dataset(built):
        found = re.search(r": delete (\S+) and run the build again$", line)
        if found:
            (built / found[1]).unlink()
    build_dataset([tmp_path / "archive"], built, RECIPE, workers=0)
    assert sorted((path.name, path.read_bytes()) for path in (built / "train").glob("*.png")) == before
    assert verify_dataset(built) == []


@pytest.mark.parametrize("name", ["README.md", "report.html", "pairs.png"])
def test_a_missing_card_or_report(built: Path, name: str) -> None:
    (built / name).unlink()
    assert verify_dataset(built) == [f"{name} is missing: run the build again"]


def test_other_archives_than_those_of_the_build(write_photos: Callable[..., Path], tmp_path: Path) -> None:
    a, b = write_photos({"1.png": 1}, "a"), write_photos({"2.png": 2}, "b")
    build_dataset([a, b], tmp_path / "ds", RECIPE, workers=0)
    for given in ([a], [b, a], [a, b, a]):
        with pytest.raises(UsageError, match=r"was built from 2 folders \(a, b\): give each with --archive, in this order"):
            verify_dataset(tmp_path / "ds", given)
    assert verify_dataset(tmp_path / "ds", [a, b]) == []


def test_a_name_of_two_lines_is_told_in_one(built: Path) -> None:
    shutil.copy(some_pair(built, "train"), built / "train" / "two\nlines.png")
    assert verify_dataset(built) == ["train/two\\nlines.png is not in the manifest: remove it, no build made it"]


def test_an_archive_that_is_none(built: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere is not a folder: give the folder of photos"):
        verify_dataset(built, [tmp_path / "nowhere"])


def test_a_wrong_size(built: Path) -> None:
    pair = some_pair(built, "val")
    image_io.write(pair, textured(1, 32, 64), "PNG")
    assert any("is 64×32 pixels, not 128×64" in line for line in verify_dataset(built))


def edit(built: Path, change: Callable[[list[Row]], object]) -> None:
    """Changes the rows of the manifest, and cooks the other books so that they agree with it."""
    rows = list(read_rows(built / "manifest.jsonl"))
    change(rows)
    (built / "manifest.jsonl").write_text(manifest_text(rows), "utf-8")
    for split in SPLITS:
        (built / split / "metadata.jsonl").write_text(metadata_text(rows, split), "utf-8")
    info = json.loads((built / "dataset.json").read_text("utf-8"))
    info.update(manifest_sha256=sha256(manifest_text(rows).encode()), counts=count(rows, info["counts"]["files"]))
    (built / "dataset.json").write_text(json.dumps(info), "utf-8")


def test_an_edited_manifest(built: Path) -> None:
    lines = (built / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (built / "manifest.jsonl").write_bytes(b"".join(lines[:-1]))
    found = verify_dataset(built)
    assert "manifest.jsonl is not the one that dataset.json was written for: add --fresh to the build, to make it anew" in found
    assert any(line.startswith("dataset.json counts faces as") for line in found)


def test_a_group_over_two_splits(built: Path) -> None:
    def change(rows: list[Row]) -> None:
        kept = [row for row in rows if row["kind"] == "photo"]
        train = next(row for row in kept if row["split"] == "train")
        val = next(row for row in kept if row["split"] == "val")
        train["group"] = val["group"]

    edit(built, change)
    assert any("is split over train and val" in line for line in verify_dataset(built))


def test_photos_that_belong_together_in_two_splits(built: Path) -> None:
    def change(rows: list[Row]) -> None:
        kept = {row["split"]: row for row in rows if row["kind"] == "photo"}
        kept["test"]["phash"] = kept["train"]["phash"]

    edit(built, change)
    assert any(
        "belong together, but lie in train and test" in line or "in test and train" in line for line in verify_dataset(built)
    )


def jpeg(rgb: Image, quality: int = 60) -> Image:
    return image_io.decode(image_io.encode_jpeg(rgb, quality), "x").rgb8


def cut(rgb: Image, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Image:
    height, width = rgb.shape[:2]
    return rgb[round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)]


def mirrored(rgb: Image) -> Image:
    return np.ascontiguousarray(rgb[:, ::-1])


LEAKS: dict[str, Callable[[Image], Image]] = {
    "re-encoded": jpeg,
    "resized": lambda rgb: cv2.resize(rgb, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
    "mirrored": mirrored,
    "5 % off the left": lambda rgb: cut(rgb, left=0.05),
    "5 % off the top": lambda rgb: cut(rgb, top=0.05),
    "5 % off the right": lambda rgb: cut(rgb, right=0.05),
    "5 % off the bottom": lambda rgb: cut(rgb, bottom=0.05),
    "2.5 % off each side": lambda rgb: cut(rgb, *(0.025,) * 4),
    "5 % off each side": lambda rgb: cut(rgb, *(0.05,) * 4),
    "a corner": lambda rgb: cut(rgb, right=0.05, bottom=0.05),
    "all of it": lambda rgb: jpeg(mirrored(cut(rgb, 0.05, 0.05, 0.05, 0.05))),
}
PLANTED = some(["all of it"], [name for name in LEAKS if name != "all of it"])


@pytest.fixture(scope="module")
def portraits_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("portraits") / "ds"
    recipe = Recipe(size=96, crop="tiles", tiles=2, split="50/25/25")
    build_dataset([resources.path("samples")], folder, recipe, workers=0)
    return folder


@pytest.fixture
def portraits(portraits_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(portraits_once, tmp_path / "portraits"))


def test_portraits_have_no_false_tie(portraits: Path) -> None:
    rows = [row for row in read_rows(portraits / "manifest.jsonl") if row["kind"] == "photo"]
    assert len({row["group"] for row in rows if row["group"]}) == len(rows) == 24
    assert verify_dataset(portraits) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_pair_is_found(portraits: Path, name: str) -> None:
    """The original of a test pair, changed, put in the place of a training pair, with its books cooked."""
    stolen, victim = some_pair(portraits, "test"), some_pair(portraits, "train")
    _, b = pairs.split(image_io.read(stolen).rgb8)
    twin = cv2.resize(LEAKS[name](b), (96, 96), interpolation=cv2.INTER_LINEAR)
    image_io.write(victim, pairs.stitch(twin, twin), "PNG")

    def change(rows: list[Row]) -> None:
        row = next(row for row in rows if row.get("pair") == f"train/{victim.name}")
        row["pair_sha256"] = sha256(victim.read_bytes())

    edit(portraits, change)
    assert verify_dataset(portraits) == [
        f"leak: the originals of test/{stolen.name} and train/{victim.name} are near-duplicates in different splits"
    ]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_photo_is_found(portraits: Path, name: str) -> None:
    """As if a build had taken a photo of the test split, changed, for another one."""
    kept = [row for row in read_rows(portraits / "manifest.jsonl") if row["kind"] == "photo"]
    victim, stolen = (next(row["source"] for row in kept if row["split"] == split) for split in ("train", "test"))
    text = perceptual_hash(LEAKS[name](image_io.read(resources.path("samples") / stolen).rgb8))
    edit(portraits, lambda rows: next(row for row in rows if row["source"] == victim).update(phash=text))
    first, second = sorted((victim, stolen), key=[row["source"] for row in kept].index)
    splits = {victim: "train", stolen: "test"}
    assert verify_dataset(portraits) == [f"{first} and {second} belong together, but lie in {splits[first]} and {splits[second]}"]


def test_two_crops_of_one_photo_in_two_splits(portraits: Path) -> None:
    """One tile of a training photo moved to the group of a test photo."""
    moved = some_pair(portraits, "train").name
    (portraits / "train" / moved).rename(portraits / "test" / moved)
    source = []

    def change(rows: list[Row]) -> None:
        row = next(row for row in rows if row.get("pair") == f"train/{moved}")
        row.update(split="test", group=next(row["group"] for row in rows if row["split"] == "test"), pair=f"test/{moved}")
        source.append(row["source"])

    edit(portraits, change)
    assert f"the pairs of {source[0]} belong together, but lie in test and train" in verify_dataset(portraits)


def test_a_pair_in_the_folder_of_another_split(portraits: Path) -> None:
    moved = some_pair(portraits, "train").name
    (portraits / "train" / moved).rename(portraits / "test" / moved)
    edit(portraits, lambda rows: next(row for row in rows if row.get("pair") == f"train/{moved}").update(pair=f"test/{moved}"))
    assert f"test/{moved} lies in the wrong split: the manifest places its photo in train" in verify_dataset(portraits)


@pytest.mark.slow
def test_a_build_leaks_none_of_them(tmp_path: Path, samples: list[Path]) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for path in samples[::12]:
        shutil.copy(path, archive)
        for number, change in enumerate(LEAKS.values()):
            image_io.write(archive / f"{number}-{path.stem}.png", change(image_io.read(path).rgb8), "PNG")
    build_dataset([archive], tmp_path / "ds", Recipe(size=64, crop="center", split="34/33/33"), workers=0)
    groups = defaultdict(set)
    for row in read_rows(tmp_path / "ds" / "manifest.jsonl"):
        if row["kind"] == "photo":
            groups[row["source"].rpartition(".")[0].lstrip("0123456789-")].add(row["group"])
    assert [len(found) for found in groups.values()] == [1] * 2
    assert len(set().union(*groups.values())) == 2
    assert verify_dataset(tmp_path / "ds", [archive]) == []


def test_a_changed_and_a_vanished_photo(built: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    image_io.write(archive / "3.png", textured(99), "PNG")
    (archive / "4.png").unlink()
    assert verify_dataset(built, [archive]) == [
        "3.png has changed since the build: run it again",
        "4.png cannot be read any more (No such file or directory): a build without it removes its pairs",
    ]


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist: build one with"):
        verify_dataset(tmp_path / "none")
    with pytest.raises(DatasetError, match="is no dataset"):
        verify_dataset(tmp_path)


def test_a_manifest_that_leads_out_of_the_folder(built: Path) -> None:
    edit(built, lambda rows: next(row for row in rows if row.get("pair")).update(pair="../d/evil.png"))
    with pytest.raises(DatasetError, match=r"is damaged \(\.\./d/evil\.png is no name of a pair\): build it anew, with --fresh"):
        verify_dataset(built)


def test_damage_is_told_and_not_a_traceback(built: Path) -> None:
    with open(built / "train" / "metadata.jsonl", "ab") as handle:
        handle.write(b"\xff")
    assert verify_dataset(built) == ["train/metadata.jsonl does not follow from the manifest: delete it and run the build again"]
    info = json.loads((built / "dataset.json").read_text())
    del info["counts"]
    (built / "dataset.json").write_text(json.dumps(info))
    assert any("is damaged (KeyError: 'counts')" in line for line in verify_dataset(built))

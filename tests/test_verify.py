from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dataset_tools import image_io, pairs
from dataset_tools.archive import sha256
from dataset_tools.build import build_dataset
from dataset_tools.errors import DatasetError
from dataset_tools.staging import Recipe
from dataset_tools.verify import verify_dataset
from tests.conftest import textured


@pytest.fixture
def built(write_photos, tmp_path: Path) -> Path:
    archive = write_photos({f"{number}.png": number for number in range(12)})
    build_dataset([archive], tmp_path / "ds", Recipe(size=64, crop="center", split="50/25/25"), workers=1)
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
    assert verify_dataset(built) == [f"train/{pair.name} is not the file that was built (its hash differs)"]


def test_a_missing_a_cut_and_an_unknown_pair(built: Path) -> None:
    pairs_here = sorted((built / "train").glob("*.png"))
    pairs_here[0].unlink()
    pairs_here[1].write_bytes(pairs_here[1].read_bytes()[:-30])
    shutil.copy(pairs_here[2], built / "train" / "stranger.png")
    found = verify_dataset(built)
    assert f"train/{pairs_here[0].name} is missing" in found
    assert "train/stranger.png is not in the manifest" in found
    assert any(pairs_here[1].name in line and "hash differs" in line for line in found)


def test_a_wrong_size(built: Path) -> None:
    pair = some_pair(built, "val")
    image_io.write(pair, textured(1, 32, 64), "PNG")
    assert any("is 64×32 pixels, not 128×64" in line for line in verify_dataset(built))


def edit(built: Path, change) -> None:  # type: ignore[no-untyped-def]
    rows = [json.loads(line) for line in (built / "manifest.jsonl").read_text().splitlines()]
    change(rows)
    (built / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_an_edited_manifest(built: Path) -> None:
    edit(built, lambda rows: rows.pop())
    found = verify_dataset(built)
    assert "manifest.jsonl is not the one that dataset.json was written for" in found
    assert any(line.startswith("dataset.json counts faces as") for line in found)


def test_a_group_over_two_splits(built: Path) -> None:
    def change(rows: list[dict]) -> None:
        kept = [row for row in rows if row["kind"] == "photo"]
        train = next(row for row in kept if row["split"] == "train")
        val = next(row for row in kept if row["split"] == "val")
        train["group"] = val["group"]

    edit(built, change)
    assert any("is split over train and val" in line for line in verify_dataset(built))


def test_photos_that_belong_together_in_two_splits(built: Path) -> None:
    def change(rows: list[dict]) -> None:
        kept = {row["split"]: row for row in rows if row["kind"] == "photo"}
        kept["test"]["phash"] = kept["train"]["phash"]

    edit(built, change)
    assert any(
        "belong together, but lie in train and test" in line or "in test and train" in line for line in verify_dataset(built)
    )


def test_a_planted_leak(built: Path) -> None:
    """A photo of the test split, mirrored and re-encoded, put in the place of a training pair with its books cooked."""
    _, b = pairs.split(image_io.read(some_pair(built, "test")).rgb8)
    twin = image_io.decode(image_io.encode_jpeg(np.ascontiguousarray(b[:, ::-1]), 80), "x").rgb8
    victim = some_pair(built, "train")
    image_io.write(victim, pairs.stitch(twin, twin), "PNG")

    def change(rows: list[dict]) -> None:
        next(row for row in rows if row.get("pair") == f"train/{victim.name}")["pair_sha256"] = sha256(victim.read_bytes())

    edit(built, change)
    leaks = [line for line in verify_dataset(built) if line.startswith("leak:")]
    assert len(leaks) == 1
    assert victim.name in leaks[0]
    assert some_pair(built, "test").name in leaks[0]


def test_a_changed_and_a_vanished_photo(built: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    image_io.write(archive / "3.png", textured(99), "PNG")
    (archive / "4.png").unlink()
    assert verify_dataset(built, [archive]) == [
        "3.png has changed since the build",
        "4.png cannot be read any more: No such file or directory",
    ]


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist: build one with"):
        verify_dataset(tmp_path / "none")
    with pytest.raises(DatasetError, match="is no dataset"):
        verify_dataset(tmp_path)


def test_a_manifest_that_leads_out_of_the_folder(built: Path) -> None:
    edit(built, lambda rows: next(row for row in rows if row.get("pair")).update(pair="../d/evil.png"))
    with pytest.raises(DatasetError, match=r"is damaged \(\.\./d/evil\.png is no name of a pair\): build the dataset again"):
        verify_dataset(built)


def test_damage_is_told_and_not_a_traceback(built: Path) -> None:
    with open(built / "train" / "metadata.jsonl", "ab") as handle:
        handle.write(b"\xff")
    assert verify_dataset(built) == ["train/metadata.jsonl does not follow from the manifest"]
    info = json.loads((built / "dataset.json").read_text())
    del info["counts"]
    (built / "dataset.json").write_text(json.dumps(info))
    assert any("is damaged (KeyError: 'counts')" in line for line in verify_dataset(built))

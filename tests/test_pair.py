from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset_tools import image_io, pairs
from dataset_tools.build import build_dataset
from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.manifest import read_rows
from dataset_tools.pair import PairRecipe, pair_dataset
from dataset_tools.recipe import Recipe
from dataset_tools.verify import verify_dataset
from tests.builds import hide
from tests.conftest import textured

RECIPE = PairRecipe(size=64)


def test_both_sides_are_matched_by_path_without_suffix(write_photos, tmp_path: Path) -> None:
    a = write_photos({"x/1.jpg": 1, "2.png": 2}, "in", 64, 64)
    b = write_photos({"x/1.png": 11, "2.png": 12}, "out", 64, 64)
    report = pair_dataset(a, b, tmp_path / "ds", RECIPE, workers=0)
    assert report.counts["photos"] == {"all": 4, "kept": 4, "rejected": 0, "failed": 0}
    assert report.counts["faces"] == {"all": 2, "kept": 2, "rejected": 0}
    rows = [row for row in read_rows(tmp_path / "ds" / "manifest.jsonl") if row["kind"] == "crop"]
    assert [(row["input"], row["source"]) for row in rows] == [("in/2.png", "out/2.png"), ("in/x/1.jpg", "out/x/1.png")]
    left, right = pairs.split(image_io.read(tmp_path / "ds" / rows[0]["pair"]).rgb8)
    assert np.array_equal(left, textured(2, 64, 64))
    assert np.array_equal(right, textured(12, 64, 64))
    assert verify_dataset(tmp_path / "ds", [a, b]) == []


def test_what_has_no_partner_is_a_row_with_its_reason(write_photos, tmp_path: Path) -> None:
    a = write_photos({"1.png": 1, "only_a.png": 2, "two.png": 3, "two.jpg": 4, "broken.png": 5}, "in", 64, 64)
    b = write_photos({"1.png": 11, "only_b.png": 12, "two.png": 13, "broken.png": 14}, "out", 64, 64)
    (a / "broken.png").write_bytes((a / "broken.png").read_bytes()[:200])
    (b / "1.txt").write_text("a caption is no second partner")
    image_io.write(a / "small.png", textured(6, 32, 32), "PNG")
    image_io.write(b / "small.png", textured(7, 32, 32), "PNG")
    image_io.write(a / "mixed.png", textured(8, 32, 32), "PNG")
    image_io.write(b / "mixed.png", textured(9, 64, 64), "PNG")
    report = pair_dataset(a, b, tmp_path / "ds", RECIPE, workers=0)
    assert (report.counts["files"], report.counts["not_images"]) == (14, 1)
    told = {
        row["source"]: (row["status"], row["reason"])
        for row in read_rows(tmp_path / "ds" / "manifest.jsonl")
        if row["kind"] == "photo"
    }
    assert told == {
        "in/1.png": ("kept", None), "out/1.png": ("kept", None),
        "in/only_a.png": ("rejected", "no_partner"), "out/only_b.png": ("rejected", "no_partner"),
        "in/two.png": ("rejected", "ambiguous"),
        "in/two.jpg": ("rejected", "ambiguous"), "out/two.png": ("rejected", "ambiguous"),
        "in/broken.png": ("failed", "truncated"),
        "out/broken.png": ("rejected", "partner_failed"),
        "in/small.png": ("rejected", "wrong_size"), "out/small.png": ("rejected", "wrong_size"),
        "in/mixed.png": ("rejected", "sizes_differ"), "out/mixed.png": ("rejected", "sizes_differ"),
    }  # fmt: skip
    assert report.counts["faces"]["kept"] == 1
    assert verify_dataset(tmp_path / "ds", [a, b]) == []


def test_only_the_suffix_of_a_photo_is_set_aside(write_photos, tmp_path: Path) -> None:
    """Frames of a sequence are called scene.0001, scene.0002: two frames, not one of two formats."""
    a, b = (
        write_photos({"s.0001.png": 1, "s.0002.png": 2}, "in", 64, 64),
        write_photos({"s.0001.png": 3, "s.0002.png": 4}, "out", 64, 64),
    )
    for folder in (a, b):
        for path in list(folder.iterdir()):
            path.rename(path.with_suffix(""))
    assert pair_dataset(a, b, tmp_path / "ds", RECIPE, workers=0).counts["faces"]["kept"] == 2


@pytest.mark.parametrize("side", ["in", "out"])
def test_a_side_that_cannot_be_read_at_present_keeps_its_pairs(
    write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    names = {"x/1.png": 1, "x/2.png": 2, "3.png": 3}
    a, b = write_photos(names, "in", 64, 64), write_photos({name: number + 50 for name, number in names.items()}, "out", 64, 64)
    pair_dataset(a, b, tmp_path / "ds", RECIPE, workers=0)
    kept = sorted(path.name for path in (tmp_path / "ds").glob("*/*.png"))
    hide(monkeypatch, tmp_path / side / "x")
    report = pair_dataset(a, b, tmp_path / "ds", RECIPE, workers=0)
    assert (report.vanished, report.counts["faces"]["kept"], report.counts["files"]) == (0, 3, 7)
    assert report.counts["reasons"] == {"photo:unreadable": 1}
    assert sorted(path.name for path in (tmp_path / "ds").glob("*/*.png")) == kept
    sources = [row["source"] for row in read_rows(tmp_path / "ds" / "manifest.jsonl") if row["kind"] == "photo"]
    assert len(sources) == len(set(sources)) == 7
    monkeypatch.undo()
    report = pair_dataset(a, b, tmp_path / "ds", RECIPE, workers=0)
    assert (report.vanished, report.counts["faces"]["kept"], report.counts["files"]) == (0, 3, 6)


def test_sides_that_are_exchanged_are_refused(write_photos, tmp_path: Path) -> None:
    a, b = write_photos({"1.png": 1}, "in", 64, 64), write_photos({"1.png": 2}, "out", 64, 64)
    pair_dataset(a, b, tmp_path / "ds", RECIPE, workers=0)
    with pytest.raises(
        DatasetError, match="the inputs A come from in and the originals B from out: give the folders in that order"
    ):
        pair_dataset(b, a, tmp_path / "ds", RECIPE, workers=0)
    with pytest.raises(DatasetError, match="was made by photomend pair: choose another folder"):
        build_dataset([b], tmp_path / "ds", Recipe(size=64, crop="center"), workers=0)
    assert verify_dataset(tmp_path / "ds", [a, b]) == []
    pair_dataset(b, a, tmp_path / "ds", RECIPE, workers=0, fresh=True)
    assert verify_dataset(tmp_path / "ds", [b, a]) == []


def test_resize(write_photos, tmp_path: Path) -> None:
    a, b = write_photos({"1.png": 1}, "in", 128, 128), write_photos({"1.png": 2}, "out", 96, 96)
    report = pair_dataset(a, b, tmp_path / "ds", PairRecipe(size=64, resize=True), workers=0)
    assert report.counts["faces"]["kept"] == 1
    (path,) = (tmp_path / "ds").glob("*/*.png")
    assert image_io.read(path).rgb8.shape == (64, 128, 3)


def test_group_by_folder_looks_inside_the_folder(write_photos, tmp_path: Path) -> None:
    names = {f"{number % 2}/{number}.png": number for number in range(8)}
    a = write_photos(names, "in", 64, 64)
    b = write_photos({name: number + 100 for name, number in names.items()}, "out", 64, 64)
    report = pair_dataset(a, b, tmp_path / "ds", PairRecipe(size=64, group_by="folder"), workers=0)
    assert sum(report.counts["groups"].values()) == 2
    assert report.idle_rule is None
    report = pair_dataset(a, b, tmp_path / "other", PairRecipe(size=64, group_by="in/(.)"), workers=0)
    assert report.idle_rule == "in/(.)"  # the names of the inputs decide nothing


def test_the_same_folder_twice(write_photos, tmp_path: Path) -> None:
    a = write_photos({"1.png": 1}, "in", 64, 64)
    with pytest.raises(UsageError, match="the same folder"):
        pair_dataset(a, a, tmp_path / "ds", RECIPE)


def test_a_size_that_no_pair_can_have(write_photos, tmp_path: Path) -> None:
    a, b = write_photos({"1.png": 1}, "in", 64, 64), write_photos({"1.png": 2}, "out", 64, 64)
    with pytest.raises(UsageError, match="--size 0: give 16 to 2048 pixels"):
        pair_dataset(a, b, tmp_path / "ds", PairRecipe(size=0, resize=True))

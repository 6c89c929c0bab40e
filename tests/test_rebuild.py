"""A dataset that is built again: with other choices, other archives, better photos, folders that cannot be read."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import cv2
import pytest

from dataset_tools import build, image_io
from dataset_tools.archive import walk
from dataset_tools.build import build_dataset
from dataset_tools.errors import DatasetError, PhotomendError, UsageError
from dataset_tools.manifest import Row, read_rows
from dataset_tools.recipe import Recipe
from dataset_tools.verify import verify_dataset
from tests.builds import hide, published
from tests.conftest import some

SHARED: dict[str, Any] = {"size": 64, "crop": "center", "split": "50/25/25", "max_enlarge": 2.0}
PLAIN = Recipe(**SHARED)


def photos_of(dataset: Path) -> dict[str, Row]:
    return {row["source"]: row for row in read_rows(dataset / "manifest.jsonl") if row["kind"] == "photo"}


@pytest.mark.parametrize("format", ["folder", "webdataset"])
def test_fresh_with_another_seed_leaves_no_old_pair_behind(write_photos, tmp_path: Path, format: str) -> None:
    """The same photo gives a pair of the same name; what an earlier recipe had put into another split must never return."""
    archive = write_photos({f"{number}.png": number for number in range(12)})
    first = Recipe(**SHARED, format=format, degrade=("mosaic:block=8",))
    build_dataset([archive], tmp_path / "ds", first, workers=0)
    places = {name: row["split"] for name, row in photos_of(tmp_path / "ds").items()}
    other = Recipe(**SHARED, format=format, degrade=("mosaic:block=16",), seed=1)
    build_dataset([archive], tmp_path / "ds", other, workers=0, fresh=True)
    assert {name: row["split"] for name, row in photos_of(tmp_path / "ds").items()} != places
    assert verify_dataset(tmp_path / "ds", [archive]) == []
    assert not list((tmp_path / "ds" / ".photomend" / "staging").iterdir())
    write_photos({"new.png": 99})
    build_dataset([archive], tmp_path / "ds", other, workers=0)
    assert verify_dataset(tmp_path / "ds", [archive]) == []


def test_a_better_duplicate_stays_in_the_split_of_the_one_it_replaces(write_photos, tmp_path: Path) -> None:
    """Else a photo that a model was trained on moves into the test split."""
    archive = write_photos({f"{number:02}.png": number for number in range(16)})
    recipe = Recipe(**SHARED, dedupe=True)
    build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    before = {name: (row["group"], row["split"]) for name, row in photos_of(tmp_path / "ds").items()}
    for name in before:
        rgb = image_io.read(archive / name).rgb8
        larger = cv2.resize(rgb, (rgb.shape[1] * 2, rgb.shape[0] * 2), interpolation=cv2.INTER_CUBIC)
        image_io.write(archive / name.replace(".png", "-large.png"), larger, "PNG")
    build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    after = photos_of(tmp_path / "ds")
    for name, place in before.items():
        large = after[name.replace(".png", "-large.png")]
        assert (large["group"], large["split"]) == place
        assert (after[name]["reason"], after[name]["duplicate_of"]) == ("duplicate", large["source"])
    assert verify_dataset(tmp_path / "ds", [archive]) == []


def test_another_order_of_archives_or_one_more(write_photos, tmp_path: Path) -> None:
    a, b, c = (write_photos({f"{n}.png": 10 * k + n for n in range(3)}, name) for k, name in enumerate("abc"))
    build_dataset([b, c], tmp_path / "ds", PLAIN, workers=0)
    report = build_dataset([a, b, c], tmp_path / "ds", PLAIN, workers=0)
    assert (report.reused, report.vanished) == (6, 0)
    build_dataset([a, b, c], tmp_path / "whole", PLAIN, workers=0)
    assert list(photos_of(tmp_path / "ds")) == list(photos_of(tmp_path / "whole"))
    assert (tmp_path / "ds" / "dataset.json").read_text().split("manifest_sha256")[0] == (
        tmp_path / "whole" / "dataset.json").read_text().split("manifest_sha256")[0]  # fmt: skip
    build_dataset([c, a, b], tmp_path / "ds", PLAIN, workers=0)
    assert [name[0] for name in photos_of(tmp_path / "ds")] == list("cccaaabbb")
    assert verify_dataset(tmp_path / "ds", [c, a, b]) == []


@pytest.mark.parametrize("archives", [["a"], ["a", "b"]])
def test_an_archive_that_cannot_be_listed_at_present_keeps_its_photos(
    write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archives: list[str]
) -> None:
    """A disk that is not mounted, a folder without permission: what is known of it is hidden, not gone."""
    roots = [write_photos({f"{n}.png": 10 * k + n for n in range(3)}, name) for k, name in enumerate(archives)]
    build_dataset(roots, tmp_path / "ds", PLAIN, workers=0)
    before = photos_of(tmp_path / "ds")
    hide(monkeypatch, roots[-1])
    report = build_dataset(roots, tmp_path / "ds", PLAIN, workers=0)
    after = photos_of(tmp_path / "ds")
    assert (report.vanished, report.counts["reasons"]) == (0, {"photo:unreadable": 1})
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1
    monkeypatch.undo()
    assert build_dataset(roots, tmp_path / "ds", PLAIN, workers=0).reused == len(before)
    assert photos_of(tmp_path / "ds") == before


def test_archives_that_hold_one_another(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"x/1.png": 1, "2.png": 2})
    (tmp_path / "link").symlink_to(archive / "x")
    for twice, line in (
        ([archive, archive], "is given twice"),
        ([archive, archive / "x"], "lies inside"),
        ([tmp_path / "link", archive], "lies inside"),
    ):
        with pytest.raises(UsageError, match=f"{line}.*: give each folder once"):
            build_dataset(twice, tmp_path / "ds", PLAIN, workers=0)
    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize("missing", some(["README.md"], ["report.html", "pairs.png", "train/metadata.jsonl"]))
def test_what_is_missing_is_made_again(write_photos, tmp_path: Path, missing: str) -> None:
    archive = write_photos({f"{number}.png": number for number in range(6)})
    build_dataset([archive], tmp_path / "ds", PLAIN, workers=0)
    before = published(tmp_path / "ds")
    (tmp_path / "ds" / missing).unlink()
    assert build_dataset([archive], tmp_path / "ds", PLAIN, workers=0).reused == 6
    assert published(tmp_path / "ds") == before
    assert (tmp_path / "ds" / missing).exists()


def test_a_damaged_manifest_is_told(write_photos, tmp_path: Path) -> None:
    archive = write_photos({f"{number}.png": number for number in range(3)})
    build_dataset([archive], tmp_path / "ds", PLAIN, workers=0)
    manifest = tmp_path / "ds" / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-30])
    with pytest.raises(DatasetError, match=r"manifest.jsonl.*--fresh"):
        build_dataset([archive], tmp_path / "ds", PLAIN, workers=0)


def test_a_photo_that_fails_in_passing_again_and_again_makes_nothing_anew(
    write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried by each build; the dataset is finished anew only when something else came of it."""
    archive = write_photos({f"{number}.png": number for number in range(4)})
    (archive / "gone.png").symlink_to(archive / "nowhere")
    first = build_dataset([archive], tmp_path / "ds", PLAIN, workers=0)
    assert first.counts["reasons"] == {"photo:unreadable": 1}
    finished = []
    real = build.finish
    monkeypatch.setattr(build, "finish", lambda *given: finished.append(1) or real(*given))
    again = build_dataset([archive], tmp_path / "ds", PLAIN, workers=0)
    assert (again.reused, again.counts, finished) == (4, first.counts, [])
    image_io.write(archive / "nowhere", image_io.read(archive / "0.png").rgb8, "PNG")
    assert build_dataset([archive], tmp_path / "ds", PLAIN, workers=0).counts["photos"]["failed"] == 0
    assert finished


def test_a_run_that_loses_a_job_is_no_finished_run(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_photos({f"{number}.png": number for number in range(4)})
    real = build.run_here
    monkeypatch.setattr(build, "run_here", lambda work, jobs: list(real(work, jobs))[:-1])
    with pytest.raises(PhotomendError, match="1 photos were not worked on: run the same command again"):
        build_dataset([archive], tmp_path / "ds", PLAIN, workers=0)
    assert not (tmp_path / "ds" / "dataset.json").exists()
    monkeypatch.undo()
    assert build_dataset([archive], tmp_path / "ds", PLAIN, workers=0).reused == 3
    assert len(walk([archive])[0]) == 4


def test_an_archive_without_files_is_a_disk_that_is_not_mounted(write_photos, tmp_path: Path) -> None:
    a, b = write_photos({"1.png": 1}, "a"), write_photos({"2.png": 2}, "b")
    build_dataset([a, b], tmp_path / "ds", PLAIN, workers=0)
    before = published(tmp_path / "ds")
    (b / "2.png").rename(tmp_path / "2.png")
    with pytest.raises(UsageError, match=r"b holds no file: give a folder of photos \(is its disk mounted\?\)"):
        build_dataset([a, b], tmp_path / "ds", PLAIN, workers=0)
    assert published(tmp_path / "ds") == before


def test_one_archive_and_then_several(write_photos, tmp_path: Path) -> None:
    a, b = write_photos({"1.png": 1}, "a"), write_photos({"2.png": 2}, "b")
    build_dataset([a], tmp_path / "ds", PLAIN, workers=0)
    with pytest.raises(DatasetError, match=r"it was built from one archive, now there are several: the names of several begin"):
        build_dataset([a, b], tmp_path / "ds", PLAIN, workers=0)
    build_dataset([a, b], tmp_path / "ds", PLAIN, workers=0, fresh=True)
    with pytest.raises(DatasetError, match=r"it was built from several archives: the names of several begin"):
        build_dataset([b], tmp_path / "ds", PLAIN, workers=0)
    assert verify_dataset(tmp_path / "ds", [a, b]) == []


def test_a_better_copy_that_has_no_place_takes_nothing_with_it(write_photos, tmp_path: Path) -> None:
    """It is a duplicate of a photo in one split, and lies in a folder of another: it alone is rejected."""
    names = {f"d{number:02}/x.png": number for number in range(8)}
    archive = write_photos(names)
    recipe = Recipe(**SHARED, dedupe=True, group_by="folder")
    build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    before = photos_of(tmp_path / "ds")
    one = next(name for name, row in before.items() if row["split"] == "train")
    other = next(name for name, row in before.items() if row["split"] != "train")
    rgb = image_io.read(archive / other).rgb8
    better = f"{one[:3]}/better.png"
    image_io.write(archive / better, cv2.resize(rgb, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), "PNG")
    for _ in range(2):
        build_dataset([archive], tmp_path / "ds", recipe, workers=0)
        after = photos_of(tmp_path / "ds")
        assert after.pop(better)["reason"] == "bridges_splits"
        assert after == before
        assert verify_dataset(tmp_path / "ds", [archive]) == []
        (tmp_path / "ds" / "README.md").unlink()


def test_photos_whose_names_stay_though_the_archives_are_others(write_photos, tmp_path: Path) -> None:
    parent = write_photos({f"a/{number}.png": number for number in range(5)}, "parent")
    new = write_photos({f"{number}.png": 10 + number for number in range(3)}, "new")
    build_dataset([parent], tmp_path / "ds", PLAIN, workers=0)
    report = build_dataset([parent / "a", new], tmp_path / "ds", PLAIN, workers=0)
    assert (report.reused, report.vanished, report.counts["faces"]["kept"]) == (5, 0, 8)
    assert verify_dataset(tmp_path / "ds", [parent / "a", new]) == []
    assert next(iter(photos_of(tmp_path / "ds"))) == "a/0.png"
    report = build_dataset([parent], tmp_path / "ds", PLAIN, workers=0)
    assert (report.reused, report.vanished, report.counts["faces"]["kept"]) == (5, 3, 5)
    assert verify_dataset(tmp_path / "ds", [parent]) == []


@pytest.mark.parametrize("format", ["folder", "webdataset"])
def test_a_photo_that_is_worked_on_again_with_the_same_outcome_leaves_nothing_behind(
    write_photos, tmp_path: Path, format: str
) -> None:
    """An archive is copied, so that its times change: the pairs go to their places again."""
    archive = write_photos({f"{number}.png": number for number in range(5)})
    recipe = Recipe(**SHARED, format=format)
    build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    before = published(tmp_path / "ds")
    if format == "folder":
        pair = next((tmp_path / "ds").glob("*/*.png"))
        pair.write_bytes(pair.read_bytes()[:100])  # healed on the way
    for path in archive.iterdir():
        os.utime(path, (1, 1))
    assert build_dataset([archive], tmp_path / "ds", recipe, workers=0).changed == 5
    assert published(tmp_path / "ds") == before
    assert not list((tmp_path / "ds" / ".photomend" / "staging").iterdir())


def test_a_hidden_folder_that_cannot_even_be_asked_what_it_is(
    write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system that has gone away: neither listing nor stat answers."""
    archive = write_photos({"x/1.png": 1, "x/2.png": 2, "3.png": 3})
    build_dataset([archive], tmp_path / "ds", PLAIN, workers=0)
    hide(monkeypatch, archive / "x")
    real = os.stat

    def stat(path: Any, *given: Any, **named: Any) -> os.stat_result:
        if str(path) == str(archive / "x"):
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(path, *given, **named)

    monkeypatch.setattr(os, "stat", stat)
    report = build_dataset([archive], tmp_path / "ds", PLAIN, workers=0)
    assert (report.vanished, report.counts["faces"]["kept"], report.counts["reasons"]) == (0, 3, {"photo:unreadable": 1})
    assert (report.reused, report.counts["files"]) == (3, 4)


def test_a_licence_that_is_none_destroys_nothing(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"1.png": 1})
    build_dataset([archive], tmp_path / "ds", PLAIN, workers=0, license="mit")
    before = published(tmp_path / "ds")
    with pytest.raises(UsageError, match="give its name"):
        build_dataset([archive], tmp_path / "ds", PLAIN, workers=0, license="", fresh=True)
    assert published(tmp_path / "ds") == before
    (tmp_path / "ds" / ".photomend" / "license.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match=r"license.txt is damaged: give the licence again with --license"):
        build_dataset([archive], tmp_path / "ds", PLAIN, workers=0)
    build_dataset([archive], tmp_path / "ds", PLAIN, workers=0, license="mit")
    assert published(tmp_path / "ds") == before

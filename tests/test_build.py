from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dataset_tools import build, degradations, files, finish, image_io, pairs
from dataset_tools.build import build_dataset
from dataset_tools.dataset import open_dataset
from dataset_tools.errors import DatasetError, FolderBusy, OutputError, UsageError
from dataset_tools.groups import SPLITS
from dataset_tools.manifest import STATE, read_rows
from dataset_tools.recipe import Recipe
from dataset_tools.staging import PhotoStager
from dataset_tools.verify import verify_dataset
from tests.conftest import some, textured

CENTER = Recipe(size=64, crop="center", degrade=("mosaic:block=8",))


def published(folder: Path) -> dict[str, str]:
    """Every published file and its hash: what must be byte for byte the same."""
    found = (path for path in folder.rglob("*") if path.is_file() and STATE not in path.relative_to(folder).parts
             and path.name != "report.html")  # fmt: skip
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def rows_of(folder: Path) -> list[dict]:
    return list(read_rows(folder / "manifest.jsonl"))


def test_pairs_hold_what_the_recipe_says(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.png": 1, "x/b.png": 2}, height=80, width=100)
    report = build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert report.counts["photos"] == {"all": 2, "kept": 2, "rejected": 0, "failed": 0}
    for row, seed in zip((row for row in rows_of(tmp_path / "ds") if row["kind"] == "crop"), (1, 2), strict=True):
        rgb = image_io.read(tmp_path / "ds" / row["pair"]).rgb8
        assert rgb.shape == (64, 128, 3)
        a, b = pairs.split(rgb)
        photo = textured(seed, 80, 100)
        import cv2

        assert np.array_equal(b, cv2.resize(photo[:, 10:90], (64, 64), interpolation=cv2.INTER_CUBIC))
        assert np.array_equal(a, degradations.apply(b, row["degradations"]))
        assert np.array_equal(a[:8, :8], np.broadcast_to(a[0, 0], (8, 8, 3)))
        assert row["pair_sha256"] == hashlib.sha256((tmp_path / "ds" / row["pair"]).read_bytes()).hexdigest()


def test_every_file_is_accounted_for(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.png": 1, "b.png": 2})
    (archive / "notes.txt").write_text("no photo")
    (archive / "text.jpg").write_text("no photo, but it claims to be one")
    (archive / "empty.png").touch()
    (archive / "._a.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")  # what macOS leaves beside a.png
    (archive / "._old.tga").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (archive / "old.tga").write_bytes(b"\0\0\2" + bytes(15))
    cut = (archive / "a.png").read_bytes()
    (archive / "cut.png").write_bytes(cut[: len(cut) // 2])
    (archive / "png.jpg").write_bytes((archive / "b.png").read_bytes())
    (archive / "gone.jpg").symlink_to(archive / "nowhere")
    image_io.write(archive / "tiny.png", textured(7, 20, 20), "PNG")
    strange = os.path.join(os.fsencode(archive), b"\xff\xfe.png")
    shutil.copyfile(archive / "a.png", strange)
    report = build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    counts = report.counts
    assert (counts["files"], counts["not_images"]) == (13, 3)
    assert counts["photos"] == {"all": 10, "kept": 4, "rejected": 1, "failed": 5}
    assert counts["faces"] == {"all": 5, "kept": 4, "rejected": 1}
    status = {row["source"]: (row["status"], row["reason"]) for row in rows_of(tmp_path / "ds") if row["kind"] == "photo"}
    assert status == {
        "a.png": ("kept", None), "b.png": ("kept", None), "png.jpg": ("kept", None), "%FF%FE.png": ("kept", None),
        "tiny.png": ("rejected", "no_crop_kept"), "text.jpg": ("failed", "not_an_image"), "empty.png": ("failed", "empty"),
        "cut.png": ("failed", "truncated"), "gone.jpg": ("failed", "unreadable"), "old.tga": ("failed", "unsupported_format"),
    }  # fmt: skip
    assert [row["reason"] for row in rows_of(tmp_path / "ds") if row["source"] == "tiny.png"] == ["no_crop_kept", "too_small"]
    assert verify_dataset(tmp_path / "ds", [archive]) == []


def test_faces_of_real_photos(samples, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for path in samples[:3]:
        shutil.copy(path, archive)
    left, right = (image_io.read(path).rgb8 for path in samples[3:5])
    image_io.write(archive / "two.png", np.hstack([left, right]), "PNG")
    image_io.write(archive / "nobody.png", textured(1, 400, 400), "PNG")
    report = build_dataset([archive], tmp_path / "ds", Recipe(size=128), workers=2)
    assert report.counts["photos"] == {"all": 5, "kept": 4, "rejected": 1, "failed": 0}
    rows = rows_of(tmp_path / "ds")
    assert [row["reason"] for row in rows if row["source"] == "nobody.png"] == ["no_face"]
    two = [row for row in rows if row["source"] == "two.png"]
    assert [row["kind"] for row in two] == ["photo", "face", "face"]
    assert len({row["split"] for row in two}) == 1
    for row in two[1:]:
        x, y, width, height = row["box"]
        assert len(row["keypoints"]) == 6
        assert 0 <= x < x + width <= 1536
        assert 0 <= y < y + height <= 768
        (scale, _, shift), _ = row["affine"]
        assert -0.5 <= scale * (x + width / 2) + shift <= 127.5
    assert {int(row["box"][0]) // 768 for row in two[1:]} == {0, 1}


def test_a_small_face_is_rejected_as_too_small(samples, tmp_path: Path) -> None:
    import cv2

    (tmp_path / "archive").mkdir()
    small = cv2.resize(image_io.read(samples[0]).rgb8, (250, 250), interpolation=cv2.INTER_AREA)
    image_io.write(tmp_path / "archive" / "a.png", small, "PNG")
    report = build_dataset([tmp_path / "archive"], tmp_path / "ds", Recipe(size=256), workers=0)
    assert report.counts["reasons"] == {"face:too_small": 1, "photo:no_crop_kept": 1}
    wide = build_dataset([tmp_path / "archive"], tmp_path / "ds2", Recipe(size=256, max_enlarge=8), workers=0)
    assert wide.counts["photos"]["kept"] == 1


def test_tiles_are_several_and_seeded(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.png": 1}, height=200, width=300)
    recipe = Recipe(size=64, crop="tiles", tiles=3, degrade=("grayscale",))
    for name in ("one", "two"):
        build_dataset([archive], tmp_path / name, recipe, workers=0)
    build_dataset(
        [archive], tmp_path / "other", Recipe(size=64, crop="tiles", tiles=3, degrade=("grayscale",), seed=1), workers=1
    )
    assert published(tmp_path / "one") == published(tmp_path / "two")
    affines = [[row["affine"] for row in rows_of(tmp_path / name) if row["kind"] == "crop"] for name in ("one", "other")]
    assert len({json.dumps(matrix) for matrix in affines[0]}) == 3
    assert affines[0] != affines[1]
    for row in rows_of(tmp_path / "one")[1:]:
        a, _ = pairs.split(image_io.read(tmp_path / "one" / row["pair"]).rgb8)
        assert np.array_equal(a[..., 0], a[..., 1])


def test_workers_and_a_second_run_change_no_byte(write_photos, tmp_path: Path) -> None:
    archive = write_photos({f"{number % 3}/{number}.png": number for number in range(20)})
    for name, workers in (("one", 1), ("two", 2)):
        report = build_dataset([archive], tmp_path / name, CENTER, workers=workers)
        assert report.reused == 0
    first = published(tmp_path / "one")
    assert first == published(tmp_path / "two")
    assert sum(name.endswith(".png") and "/" in name for name in first) == 20
    again = build_dataset([archive], tmp_path / "one", CENTER, workers=0)
    assert (again.reused, published(tmp_path / "one")) == (20, first)
    assert build_dataset([archive], tmp_path / "one", CENTER, workers=0, fresh=True).reused == 0
    assert published(tmp_path / "one") == first


def test_an_unchanged_archive_costs_next_to_nothing(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_photos({f"{number}.png": number for number in range(6)})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    first = published(tmp_path / "ds")

    def never(*_: object) -> None:
        raise AssertionError("nothing is to be done")

    with monkeypatch.context() as patch:
        patch.setattr(PhotoStager, "open", never)
        patch.setattr(PhotoStager, "__call__", never)
        patch.setattr(build, "finish", never)
        for workers in (0, 2):
            report = build_dataset([archive], tmp_path / "ds", CENTER, workers=workers)
            assert (report.reused, report.vanished, report.counts["faces"]["kept"]) == (6, 0, 6)
    (tmp_path / "ds" / "README.md").unlink()  # what is missing is made again
    (tmp_path / "ds" / next(name for name in first if name.endswith("-0.png"))).unlink()
    assert build_dataset([archive], tmp_path / "ds", CENTER, workers=0).reused == 5
    assert published(tmp_path / "ds") == first


def test_new_changed_and_vanished_photos(write_photos, tmp_path: Path) -> None:
    archive = write_photos({f"{number}.png": number for number in range(6)})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    places = {row["source"]: (row["group"], row["split"]) for row in rows_of(tmp_path / "ds") if row["kind"] == "photo"}
    write_photos({"5.png": 50, "6.png": 6})
    (archive / "0.png").unlink()
    report = build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert (report.reused, report.vanished, report.counts["faces"]["kept"]) == (4, 1, 6)
    after = {row["source"]: (row["group"], row["split"]) for row in rows_of(tmp_path / "ds") if row["kind"] == "photo"}
    assert {name: after[name] for name in ("1.png", "2.png", "3.png", "4.png")} == {
        name: places[name] for name in ("1.png", "2.png", "3.png", "4.png")
    }
    assert verify_dataset(tmp_path / "ds", [archive]) == []


def test_duplicates_and_folders_stay_together(write_photos, tmp_path: Path) -> None:
    archive = write_photos({f"{number % 4}/{number}.png": number for number in range(24)})
    image_io.write(archive / "0" / "twin.jpg", np.ascontiguousarray(textured(5)[:, ::-1]), "JPEG")  # 1/5.png, mirrored
    recipe = Recipe(size=64, crop="center", group_by="folder", split="50/25/25")
    report = build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    by_folder: dict[str, set[str]] = {}
    for row in rows_of(tmp_path / "ds"):
        by_folder.setdefault(row["source"][0], set()).add(row["group"])
    assert all(len(groups) == 1 for groups in by_folder.values())
    assert by_folder["0"] == by_folder["1"]
    assert sum(report.counts["groups"].values()) == 3


def test_shards_hold_the_same_pairs_and_follow_the_archive(write_photos, tmp_path: Path) -> None:
    archive = write_photos({f"{number}.png": number for number in range(12)})
    loose, packed = Recipe(size=64, crop="center"), Recipe(size=64, crop="center", format="webdataset")
    build_dataset([archive], tmp_path / "loose", loose, workers=0)
    build_dataset([archive], tmp_path / "ds", packed, workers=0)
    assert not list((tmp_path / "ds").glob("t*/*.png"))
    assert verify_dataset(tmp_path / "ds", [archive]) == []
    for split in SPLITS:
        one, other = (open_dataset(tmp_path / name).pairs(split) for name in ("loose", "ds"))
        assert [(row.name, row.read()) for row in one] == [(row.name, row.read()) for row in other]
    first = published(tmp_path / "ds")
    assert build_dataset([archive], tmp_path / "ds", packed, workers=0).reused == 12
    assert published(tmp_path / "ds") == first
    write_photos({"90.png": 90})
    (archive / "3.png").unlink()
    assert build_dataset([archive], tmp_path / "ds", packed, workers=0).reused == 11
    assert verify_dataset(tmp_path / "ds", [archive]) == []
    assert len(list(read_rows(tmp_path / "ds" / "manifest.jsonl"))) == 24


def test_dedupe_keeps_the_best_of_each_group_of_duplicates(samples, tmp_path: Path) -> None:
    import cv2

    archive = tmp_path / "archive"
    archive.mkdir()
    rgb = image_io.read(samples[0]).rgb8
    image_io.write(archive / "a-small.png", cv2.resize(rgb, (300, 300), interpolation=cv2.INTER_AREA), "PNG")
    image_io.write(archive / "b-best.png", rgb, "PNG")
    (archive / "c-cut.jpg").write_bytes(image_io.encode_jpeg(rgb[:740, :740], quality=70))
    image_io.write(archive / "d-mirrored.png", np.ascontiguousarray(rgb[:740, 28:][:, ::-1]), "PNG")
    shutil.copy(samples[1], archive / "e-other.jpg")
    recipe = Recipe(size=64, crop="center", dedupe=True)
    report = build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    photos = {row["source"]: row for row in rows_of(tmp_path / "ds") if row["kind"] == "photo"}
    assert [name for name, row in photos.items() if row["status"] == "kept"] == ["b-best.png", "e-other.jpg"]
    told = {(row["reason"], row["duplicate_of"]) for row in photos.values() if row["status"] == "rejected"}
    assert told == {("duplicate", "b-best.png")}
    assert report.counts["reasons"] == {"crop:duplicate": 3, "photo:duplicate": 3}
    assert verify_dataset(tmp_path / "ds", [archive]) == []
    (archive / "b-best.png").unlink()  # the next best takes its place, from what is staged already
    again = build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    assert (again.reused, again.counts["faces"]["kept"]) == (4, 2)
    assert verify_dataset(tmp_path / "ds", [archive]) == []


def test_splits_load_with_their_metadata(write_photos, tmp_path: Path) -> None:
    archive = write_photos({f"{number}.png": number for number in range(12)})
    build_dataset([archive], tmp_path / "ds", Recipe(size=64, crop="center", split="50/25/25"), workers=0)
    dataset = open_dataset(tmp_path / "ds")
    for split in SPLITS:
        lines = [json.loads(line) for line in (tmp_path / "ds" / split / "metadata.jsonl").read_text().splitlines()]
        assert [line["file_name"] for line in lines] == [row.path.name for row in dataset.pairs(split)]
        assert {path.name for path in (tmp_path / "ds" / split).glob("*.png")} == {line["file_name"] for line in lines}


def test_nothing_that_changes_between_machines_is_recorded(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.png": 1})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    for name in ("dataset.json", "manifest.jsonl", "README.md"):
        assert str(tmp_path) not in (tmp_path / "ds" / name).read_text()


def test_gps_is_not_copied(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "archive").mkdir()
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (47.0, 22.0, 33.0)
    Image.fromarray(textured(1)).save(tmp_path / "archive" / "a.jpg", exif=exif)
    build_dataset([tmp_path / "archive"], tmp_path / "ds", CENTER, workers=0)
    (pair,) = (
        (tmp_path / "ds").glob("t*/*.png") if list((tmp_path / "ds").glob("t*/*.png")) else (tmp_path / "ds").glob("val/*.png")
    )
    with Image.open(pair) as image:
        assert not image.getexif()
        assert "exif" not in image.info


# --- bad use


def test_recipe_errors() -> None:
    with pytest.raises(UsageError, match="there is no degradation"):
        Recipe(degrade=("mosiac",))
    with pytest.raises(UsageError, match="16 to 2048"):
        Recipe(size=8)


def test_archive_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with pytest.raises(UsageError, match="holds no file"):
        build_dataset([tmp_path / "archive"], tmp_path / "ds", CENTER, workers=0)
    assert not (tmp_path / "ds").exists()
    (tmp_path / "archive" / "a.txt").write_text("x")
    with pytest.raises(UsageError, match="none of the 1 files is an image"):
        build_dataset([tmp_path / "archive"], tmp_path / "ds", CENTER, workers=0)


def test_a_folder_that_is_not_ours_is_left_alone(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.png": 1})
    (tmp_path / "ds").mkdir()
    (tmp_path / "ds" / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="not empty and holds no dataset of photomend"):
        build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert [path.name for path in (tmp_path / "ds").iterdir()] == ["thesis.txt"]


def test_another_recipe_is_refused_with_the_way_out(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.png": 1})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    before = published(tmp_path / "ds")
    with pytest.raises(DatasetError, match=r"another recipe \(--size was 64, is 32\): choose another folder, or add --fresh"):
        build_dataset([archive], tmp_path / "ds", Recipe(size=32, crop="center", degrade=("mosaic:block=8",)), workers=0)
    assert published(tmp_path / "ds") == before
    build_dataset([archive], tmp_path / "ds", Recipe(size=32, crop="center", degrade=("mosaic:block=8",)), workers=0, fresh=True)
    assert verify_dataset(tmp_path / "ds") == []


def test_a_damaged_note_of_the_recipe(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.png": 1})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    (tmp_path / "ds" / STATE / "recipe.json").write_text("{")
    with pytest.raises(DatasetError, match=r"recipe.json is damaged .* add --fresh to build the dataset anew"):
        build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0, fresh=True)
    (tmp_path / "ds" / STATE / "journal.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(DatasetError, match=r"journal.sqlite is damaged .* add --fresh"):
        build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0, fresh=True)
    assert verify_dataset(tmp_path / "ds", [archive]) == []


def test_another_archive_is_refused(write_photos, tmp_path: Path) -> None:
    build_dataset([write_photos({"a.png": 1})], tmp_path / "ds", CENTER, workers=0)
    before = published(tmp_path / "ds")
    with pytest.raises(DatasetError, match="none of the photos of the dataset"):
        build_dataset([write_photos({"b.png": 2}, "other")], tmp_path / "ds", CENTER, workers=0)
    assert published(tmp_path / "ds") == before


def test_dataset_inside_the_archive_or_around_it(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.png": 1})
    with pytest.raises(UsageError, match="would lie inside the archive"):
        build_dataset([archive], archive / "ds", CENTER, workers=0)
    with pytest.raises(UsageError, match="lies inside the dataset"):
        build_dataset([archive], tmp_path, CENTER, workers=0)


def test_a_second_build_at_the_same_time(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.png": 1})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    with (
        files.folder_lock(tmp_path / "ds" / STATE / "lock", "x"),
        pytest.raises(FolderBusy, match=f"in use by another photomend .process {os.getpid()}."),
    ):
        build_dataset([archive], tmp_path / "ds", CENTER, workers=0)


def test_a_full_disk_keeps_what_is_done(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_photos({f"{number}.png": number for number in range(8)})
    build_dataset([archive], tmp_path / "whole", CENTER, workers=0)
    real, written = open, []

    def full_after_three(path, mode="r", *arguments, **named):  # type: ignore[no-untyped-def]
        if "w" in mode and "staging" in str(path):
            written.append(path)
            if len(written) > 3:
                raise OSError(28, "No space left on device")
        return real(path, mode, *arguments, **named)

    monkeypatch.setattr("builtins.open", full_after_three)
    with pytest.raises(OutputError, match=r"no room left on the disk .* free some space, then run the same command again"):
        build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    monkeypatch.undo()
    report = build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert report.reused == 3
    assert published(tmp_path / "ds") == published(tmp_path / "whole")


@pytest.mark.parametrize("moment", some(["publish"], ["withdraw", "move_pairs", "forget"]))
def test_killed_while_finishing(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Stops before and after each part of the finishing step, on a first build and on a later one."""
    archive = write_photos({f"{number}.png": number for number in range(5)})
    build_dataset([archive], tmp_path / "whole", CENTER, workers=0)

    class Killed(BaseException):
        pass

    for late in (False, True):
        owner = finish.PublishedBefore if moment in ("withdraw", "forget") else finish
        real = getattr(owner, moment)

        def stop(*arguments, real=real, late=late):  # type: ignore[no-untyped-def]
            if late:
                real(*arguments)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(owner, moment, stop)
            with pytest.raises(Killed):
                build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
        build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
        assert published(tmp_path / "ds") == published(tmp_path / "whole")
        write_photos({"9.png": 9})
        with monkeypatch.context() as patch:
            patch.setattr(owner, moment, stop)
            with pytest.raises(Killed):
                build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
        build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
        assert verify_dataset(tmp_path / "ds", [archive]) == []
        shutil.rmtree(tmp_path / "ds")
        (archive / "9.png").unlink()


@pytest.mark.slow
def test_killed_while_finishing_and_then_other_photos(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pairs lie in their splits already when new photos change the groups, and with them the splits."""
    names = {f"{number % 6}/{number}.png": number for number in range(18)}
    archive = write_photos(names)
    recipe = Recipe(size=64, crop="center", group_by="folder", split="40/30/30")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finish, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    write_photos({f"{number % 6}/{number}.png": number for number in range(18, 60)})
    build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    build_dataset([archive], tmp_path / "whole", recipe, workers=0)
    assert published(tmp_path / "ds") == published(tmp_path / "whole")
    assert verify_dataset(tmp_path / "ds", [archive]) == []


def test_a_photo_that_changes_while_it_is_read(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_photos({"a.png": 1, "b.png": 2})
    whole = (archive / "b.png").read_bytes()
    (archive / "b.png").write_bytes(whole[:500])  # a copy that is under way
    real = image_io.decode

    def copied_meanwhile(data: bytes, name: str, scale: int = 1) -> image_io.Photo:
        if name == "b.png":
            (archive / "b.png").write_bytes(whole)
        return real(data, name, scale)

    with monkeypatch.context() as patch:
        patch.setattr(image_io, "decode", copied_meanwhile)
        first = build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert first.counts["photos"]["failed"] == 1
    second = build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert (second.counts["photos"]["failed"], second.reused) == (0, 1)


def test_a_folder_that_cannot_be_listed_is_a_row(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_photos({"a.png": 1, "closed/b.png": 2})
    real = os.scandir

    def scandir(path: bytes):  # type: ignore[no-untyped-def]
        if os.fsencode(path).endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("dataset_tools.archive.os.scandir", scandir)
    report = build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert report.counts["photos"] == {"all": 2, "kept": 1, "rejected": 0, "failed": 1}
    assert [row["reason"] for row in rows_of(tmp_path / "ds") if row["source"] == "closed"] == ["unreadable"]


def test_photos_of_a_folder_that_cannot_be_listed_any_more_are_kept(
    write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_photos({"a.png": 1, "closed/b.png": 2, "closed/x/c.png": 3, "closed-not/d.png": 4})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    before = published(tmp_path / "ds")
    shutil.rmtree(archive / "closed-not")
    real = os.scandir

    def scandir(path: bytes):  # type: ignore[no-untyped-def]
        if os.fsencode(path).endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr("dataset_tools.archive.os.scandir", scandir)
        report = build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert (report.vanished, report.passing) == (1, 1)
    assert report.counts["photos"] == {"all": 4, "kept": 3, "rejected": 0, "failed": 1}
    assert report.counts["files"] == 4
    write_photos({"closed-not/d.png": 4})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert published(tmp_path / "ds") == before


def test_rows_made_with_other_versions_are_made_again(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_photos({"a.png": 1})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    monkeypatch.setattr(build, "_versions", lambda: {"pillow": "99"})
    assert build_dataset([archive], tmp_path / "ds", CENTER, workers=0).reused == 0
    assert build_dataset([archive], tmp_path / "ds", CENTER, workers=0).reused == 1


def test_a_fresh_build_that_is_killed_and_repeated(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_photos({f"{number}.png": number for number in range(5)})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    other = Recipe(size=32, crop="center")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            build_dataset([archive], tmp_path / "ds", other, workers=0, fresh=True)
    build_dataset([archive], tmp_path / "ds", other, workers=0)
    build_dataset([archive], tmp_path / "whole", other, workers=0)
    assert published(tmp_path / "ds") == published(tmp_path / "whole")


def test_an_archive_that_is_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match="does not exist"):
        build_dataset([tmp_path / "loop"], tmp_path / "ds", CENTER, workers=0)


class Fatal(PhotoStager):
    """Dies on the photo called bad.png, as a native library might."""

    def __call__(self, job):  # type: ignore[no-untyped-def]
        if job[0].name == "bad.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(job)


@pytest.mark.slow
def test_a_photo_that_kills_its_worker_never_kills_a_build(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_photos({"a.png": 1, "bad.png": 2, "c.png": 3})
    monkeypatch.setattr(build, "PhotoStager", Fatal)
    for workers, reused in ((2, 0), (2, 2), (1, 2)):
        report = build_dataset([archive], tmp_path / "ds", CENTER, workers=workers)
        assert (report.counts["photos"]["kept"], report.counts["reasons"], report.reused) == (2, {"photo:worker_died": 1}, reused)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(write_photos, tmp_path: Path) -> None:
    archive = write_photos({f"{number}.png": number for number in range(150)}, height=300, width=300)
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "build", str(archive), str(tmp_path / "ds"),
               "--crop", "center", "--size", "64", "--workers", "2"]  # fmt: skip
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        staging = tmp_path / "ds" / STATE / "staging"
        before = len(os.listdir(staging)) if staging.exists() else 0
        while (not staging.exists() or len(os.listdir(staging)) < before + 5) and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in said) == (code, False), said
        assert "the same command goes on from there" in said

"""A job that is killed, repeated or changed does again only what must be, and never takes a file that is not its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_tools import files, image_io
from dataset_tools.errors import FolderBusy
from pipelines import restore_photos
from pipelines.job import RestoreJob
from pipelines.outputs import STATE
from pipelines.work import RestoreWork, Task
from tests.builds import counts
from tests.conftest import textured
from tests.test_job import outputs, snapshot
from tests.test_pipelines_engines import write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Restores nothing, at 16 × 16."""
    return write_model(tmp_path / "same.onnx")


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what was given to a worker, one by one."""
    given: list[str] = []
    once = RestoreWork.__call__

    def told(self: RestoreWork, job: tuple[Task, ...]) -> Any:
        done = once(self, job)
        given.extend(task.item.source for task, each in zip(job, done, strict=True) if not each.as_before)
        return done

    monkeypatch.setattr(RestoreWork, "__call__", told)
    return given


def test_what_is_done_is_not_done_again(write_photos, model: Path, tmp_path: Path, restored: list[str]) -> None:
    photos = write_photos({"a.png": 1, "b.png": 2, "x/c.png": 3}, height=16, width=16)
    out = tmp_path / "out"
    first = restore_photos(model, [photos], out, input_kind="crop")
    assert sorted(restored) == ["a.png", "b.png", "x/c.png"]
    before = snapshot(out)
    restored.clear()
    again = restore_photos(model, [photos], out, input_kind="crop")
    assert (restored, again.earlier, again.rows) == ([], 3, first.rows)
    assert again.lines()[1] == "3 of them were done by an earlier run and have not changed since"
    assert {name: data for name, data in snapshot(out).items() if name.endswith((".png", ".csv")) and name != "sheet.png"} == {
        name: data for name, data in before.items() if name.endswith((".png", ".csv")) and name != "sheet.png"
    }
    told = (out / "report.html").read_text("utf-8")
    assert told.count("data:image/webp") == 6  # the pictures were kept

    image_io.write(photos / "a.png", textured(9, 16, 16), "PNG")  # another photo of this name
    os.utime(photos / "b.png")  # the very same photo, touched
    (out / "x/c.png").unlink()  # an output that is lost
    changed = restore_photos(model, [photos], out, input_kind="crop")
    assert (sorted(restored), changed.earlier) == (["a.png", "x/c.png"], 1)
    assert np.array_equal(image_io.read(out / "a.png").rgb8, textured(9, 16, 16))
    assert (out / "x/c.png").exists()


@pytest.mark.parametrize("change", ["model", "settings", "kind"])
def test_another_model_or_setting_does_everything_again(
    change: str, write_photos, model: Path, tmp_path: Path, restored: list[str]
) -> None:
    photos = write_photos({"a.png": 1, "b.png": 2}, height=16, width=16)
    restore_photos(model, [photos], tmp_path / "out", input_kind="crop")
    restored.clear()
    options: dict[str, Any] = {"input_kind": "crop"}
    if change == "model":
        model = write_model(tmp_path / "inverse.onnx", operator="Neg")
    elif change == "settings":
        options["label"] = True
    else:
        options["input_kind"] = "photo"
    restore_photos(model, [photos], tmp_path / "out", **options)
    assert restored == ["a.png", "b.png"]


def test_the_same_photos_from_another_place_are_known(write_photos, model: Path, tmp_path: Path, restored: list[str]) -> None:
    photos = write_photos({"a.png": 1, "b.png": 2}, height=16, width=16)
    restore_photos(model, [photos], tmp_path / "out", input_kind="crop")
    restored.clear()
    shutil.copytree(photos, tmp_path / "copy")
    shutil.copytree(tmp_path / "out", tmp_path / "moved", copy_function=shutil.copyfile)  # without the times
    assert restore_photos(model, [tmp_path / "copy"], tmp_path / "moved", input_kind="crop").earlier == 2
    assert restored == []


def test_another_photo_of_the_same_name_is_not_put_over_the_first(write_photos, model: Path, tmp_path: Path) -> None:
    one = write_photos({"a.png": 1, "same.png": 5}, "one", height=16, width=16)
    two = write_photos({"a.png": 2, "b.png": 3, "same.png": 5}, "two", height=16, width=16)
    out = tmp_path / "out"
    restore_photos(model, [one], out, input_kind="crop")
    first = (out / "a.png").read_bytes()
    report = restore_photos(model, [two], out, input_kind="crop")
    assert (out / "a.png").read_bytes() == first
    assert [(row.source, row.status, row.reason) for row in report.rows] == [
        ("a.png", "failed", "output_taken"), ("b.png", "restored", None), ("same.png", "restored", None)
    ]  # fmt: skip
    assert report.rows[0].message == "a.png in OUTPUT was restored from another photo of this name: choose another OUTPUT"
    assert restore_photos(model, [one], out, input_kind="crop").counts["restored"] == 2


def test_nothing_of_an_earlier_job_is_removed(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"gone.png": 1, "broken.png": 2, "same.png": 3}, height=16, width=16)
    out = tmp_path / "out"
    restore_photos(model, [photos], out, input_kind="crop")
    (photos / "gone.png").unlink()
    (photos / "broken.png").write_bytes(b"")
    image_io.write(out / "mine.png", textured(9), "PNG")
    report = restore_photos(model, [photos], out, input_kind="crop")
    assert (report.counts["restored"], report.failed, report.others) == (1, 1, 1)
    assert outputs(out) == {"gone.png", "broken.png", "same.png", "mine.png"}
    assert "1 photo of earlier jobs in OUTPUT; this report does not tell of them" in report.lines()


def test_an_output_that_somebody_changed_is_left_alone(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"a.png": 1}, height=16, width=16)
    out = tmp_path / "out"
    restore_photos(model, [photos], out, input_kind="crop")
    edited = (out / "a.png").read_bytes() + b"a person's work, with our mark still in it"
    (out / "a.png").write_bytes(edited)
    for _ in range(2):
        report = restore_photos(model, [photos], out, input_kind="crop")
        assert (report.rows[0].reason, report.exit_code) == ("output_taken", 3)
        assert "was changed since it was restored" in (report.rows[0].message or "")
        assert (out / "a.png").read_bytes() == edited


def test_two_jobs_do_not_work_in_one_folder(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"a.png": 1}, height=16, width=16)
    out = tmp_path / "out"
    with files.folder_lock(out / STATE / "restore.lock", "out"), pytest.raises(FolderBusy, match="in use by another photomend"):
        restore_photos(model, [photos], out, input_kind="crop")


def test_an_interrupted_job_goes_on_where_it_was(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({f"{seed:02}.png": seed for seed in range(20)}, height=16, width=16)

    def stop(done: int, total: int) -> None:
        assert total == 20
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_photos(model, [photos], tmp_path / "out", input_kind="crop", progress=stop)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["complete"] is False
    seen: list[tuple[int, int]] = []
    report = restore_photos(model, [photos], tmp_path / "out", input_kind="crop", progress=lambda *step: seen.append(step))
    assert (report.restored, report.earlier) == (20, 8)
    assert seen == [(8, 20), (16, 20), (20, 20)]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"a.png": 1, "b.png": 2}, height=16, width=16)
    (photos / "notes.txt").write_text("no image")
    before = snapshot(tmp_path)
    job = RestoreJob(model, [photos], tmp_path / "out", input_kind="crop", format="JPEG")
    assert job.plan().lines() == [
        "2 photos to do, 0 done by an earlier run, 1 not images", "   a.png -> a.jpg", "   b.png -> b.jpg"
    ]  # fmt: skip
    assert snapshot(tmp_path) == before
    whole = RestoreJob(model, [photos], tmp_path / "out", format="JPEG").plan().lines()
    assert whole[-1] == "   (a photo in which nothing is to be restored keeps its name and its format)"
    job.run()
    assert outputs(tmp_path / "out") == {"a.jpg", "b.jpg"}
    image_io.write(photos / "c.png", textured(1, 16, 16), "PNG")
    plan = RestoreJob(model, [photos], tmp_path / "out", input_kind="crop", format="JPEG").plan()
    assert plan.summary() == {"to_do": 1, "done_before": 2, "not_images": 1, "outputs": {"c.png": "c.jpg"}}


def test_what_all_become_and_what_their_masks_are_called(model: Path, tmp_path: Path) -> None:
    for name, format in {"x.jpg": "JPEG", "x.png": "PNG", "y.webp": "WEBP", "y.webp.mask.png": "PNG"}.items():
        image_io.write(tmp_path / "in" / name, textured(1, 16, 16), format)
    report = restore_photos(model, [tmp_path / "in"], tmp_path / "out", input_kind="crop", format="PNG", mask=True)
    assert {row.source: row.output for row in report.rows} == {
        "x.jpg": "x.jpg.png", "x.png": "x.png", "y.webp": "y.png", "y.webp.mask.png": "y.webp.mask.png"
    }  # fmt: skip
    assert outputs(tmp_path / "out") == {
        "x.jpg.png", "x.jpg.png.mask.png", "x.png", "x.png.mask.png", "y.png", "y.png.mask.png", "y.webp.mask.png",
        "y.webp.mask.png.mask.png",
    }  # fmt: skip
    assert restore_photos(model, [tmp_path / "in"], tmp_path / "out", input_kind="crop", format="PNG", mask=True).earlier == 4


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_counts_add_up(write_photos, model: Path, tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    photos = write_photos({f"{seed // 10}/{seed:02}.png": seed for seed in range(60)}, height=120, width=100)
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    whole = restore_photos(model, [photos], tmp_path / "whole", input_kind="crop")
    line = [Path(sys.executable).parent / "photomend", "restore", model, photos, tmp_path / "out"]
    line += ["--input", "crop", "--workers", "2"]
    rng, kills = np.random.default_rng(0), 0
    for _ in range(counts(3, 24)):
        job = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.7, 1.7))
        job.send_signal(signal.SIGKILL)
        kills += job.wait() == -signal.SIGKILL
        for path in (tmp_path / "out").rglob("*.png") if (tmp_path / "out").exists() else ():
            image_io.read(path)  # whole
    assert kills
    report = restore_photos(model, [photos], tmp_path / "out", input_kind="crop")
    assert report.counts == whole.counts == {
        "files": 61, "not_images": 0, "restored": 60, "nothing_to_restore": 0, "failed": 1
    }  # fmt: skip
    results = [{path.relative_to(out): path.read_bytes() for path in out.rglob("??.png")} for out in
               (tmp_path / "whole", tmp_path / "out")]  # fmt: skip
    assert results[0] == results[1]
    assert len(results[0]) == 60
    assert not list((tmp_path / "out").rglob(f"{files.TEMPORARY}*"))
    record_property("what", "SIGKILL at a random moment of restoring: nothing half-written, and the same bytes in the end")
    record_property("count", kills)


def test_a_mask_of_what_was_there_before_does_not_stay(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"a.png": 1}, height=16, width=16)
    restore_photos(model, [photos], tmp_path / "out", input_kind="crop", mask=True)
    assert outputs(tmp_path / "out") == {"a.png", "a.png.mask.png"}
    image_io.write(photos / "a.png", textured(2, 24, 24), "PNG")
    restore_photos(model, [photos], tmp_path / "out", input_kind="crop")
    assert outputs(tmp_path / "out") == {"a.png"}

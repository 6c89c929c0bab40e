"""Restoring what is damaged, hostile, or too much: a row or a line for each, no half-written file, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_tools import files, image_io
from dataset_tools.engines import TimedOut, WorkerDied, run_local
from dataset_tools.errors import ModelFileError
from dataset_tools.mosaic_grid import Grid
from pipelines import job, restore_photos
from pipelines.engines import open_engine
from pipelines.outputs import REPORT_FILES
from pipelines.work import RestoreWork
from tests import damage, hostile
from tests.builds import command, contents, counts, photomend
from tests.conftest import some, textured
from tests.damaged_models import damaged
from tests.test_damage import MEMORY, check_output, small_disk
from tests.test_mosaic_regions import box, laid, photo
from tests.test_pipelines_engines import write_model
from tests.training import SMALL_MEND

pytestmark = pytest.mark.slow


def demosaic(folder: Path) -> Path:
    """A model of mosaics that makes the smooth image between their cells."""
    return write_model(folder / "demosaic.onnx", 256, cell=8, stride=32, crop={"kind": "faces", "margin": 0.25})


@pytest.mark.parametrize("kind", some(["photo"], soak=["crop"]))
def test_damaged_photos(kind: str, tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    archive, out = tmp_path / "archive", tmp_path / "out"
    archive.mkdir()
    model = demosaic(tmp_path) if kind == "photo" else write_model(tmp_path / "same.onnx")
    for number in range(6):
        rgb = photo(number, 400)
        image_io.write(archive / f"mosaic-{number}.png", laid(rgb, box(rgb, 100, 110, 300, 290), Grid(16, 3, 9)), "PNG")
    expected = damage.fill(archive, counts(30, 500), seed={"photo": 3, "crop": 4}[kind])
    expected |= hostile.fill_names(archive)
    expected |= hostile.fill_specials(archive, tmp_path / "outside")
    before, beside = contents(tmp_path), set(os.listdir(tmp_path))
    line = ("restore", model, archive, out, "--input", kind, "--workers", 2, "--time-limit", 120)
    ended = photomend(*line)
    check_output(ended.said)
    assert ended.code == 3
    told = json.loads((out / "report.json").read_text("utf-8"))
    rows = {row["source"]: row for row in told["rows"]}
    assert not expected.keys() - rows.keys()
    wrong = {
        name: rows[name]["reason"] for name, reasons in expected.items()
        if rows[name]["reason"] not in reasons and not (rows[name]["status"] != "failed" and reasons & damage.GOOD)
    }  # fmt: skip
    assert not wrong
    counted = Counter(row["status"] for row in told["rows"])
    assert told["counts"] == {"files": told["counts"]["not_images"] + len(rows), "not_images": told["counts"]["not_images"],
                              **{status: counted[status] for status in ("restored", "nothing_to_restore", "failed")}}  # fmt: skip
    if kind == "photo":
        assert all(rows[f"mosaic-{number}.png"]["status"] == "restored" for number in range(6))
    outputs = [row["output"] for row in told["rows"] if row["output"]]
    assert len(set(outputs)) == len(outputs)
    written = [path for path in out.rglob("*") if path.is_file() and ".photomend" not in path.parts]
    assert len(written) == len(outputs) + len([name for name in os.listdir(out) if name in REPORT_FILES])
    assert not [path for path in written if path.name.startswith(files.TEMPORARY)]
    for path in written:
        if path.suffix.lower() in (".png", ".jpg", ".webp", ".tif") and path.parent != out:
            image_io.read(path)
    again = photomend(*line)
    assert again.code == 3
    later = json.loads((out / "report.json").read_text("utf-8"))
    assert (later["counts"], later["earlier"]) == (told["counts"], counted["restored"] + counted["nothing_to_restore"])
    for path in sorted(out.rglob("*"), reverse=True):
        path.unlink() if not path.is_dir() or path.is_symlink() else path.rmdir()
    out.rmdir()
    assert (contents(tmp_path), set(os.listdir(tmp_path))) == (before, beside)
    assert ended.peak < MEMORY
    record_property("what", f"damaged and hostile files restored from one folder (--input {kind}): one row each, memory at most "
                            f"{ended.peak} MB")  # fmt: skip
    record_property("count", len(expected))


class Load:
    """Opens each model file that it is given; see dataset_tools.engines.Work."""

    def open(self) -> None:
        """Nothing to be loaded."""

    def close(self) -> None:
        """Nothing to be given back."""

    def __call__(self, path: Path) -> str:
        try:
            engine = open_engine(path)
        except ModelFileError as error:
            return str(error)
        restored = engine.restore(np.zeros((1, engine.size, engine.size, 3), np.uint8))
        return "" if restored.shape == (1, engine.size, engine.size, 3) else "another shape"


def test_damaged_models(tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    """In processes of their own, which a crash would end: each is refused in a line, or is a model all the same."""
    from pix2pix.export import write_model_file
    from pix2pix.networks import build_generator
    from pix2pix.spec import PRESETS, GeneratorSpec
    from tests.test_export import card

    small = [SMALL_MEND.for_task("mosaic").with_size(64)]
    from dataclasses import replace

    small.append(replace(PRESETS["article"], size=32, generator=GeneratorSpec("upsampling_unet", (8, 12))))
    whole = []
    for index, spec in enumerate(small):
        write_model_file(build_generator(spec), tmp_path / f"{index}.onnx", card(spec))
        whole.append((tmp_path / f"{index}.onnx").read_bytes())
    paths, kinds = [], {}
    for number in range(counts(24, 240)):
        kind, data = damaged(whole[number % 2], number)
        path = tmp_path / f"damaged-{number}.onnx"
        path.write_bytes(data)
        paths.append(path)
        kinds[path] = kind
    answers: dict[Path, Any] = dict(run_local(Load(), paths, 2, limit=60))
    bad = {path.name: (kinds[path], answer) for path, answer in answers.items() if isinstance(answer, WorkerDied | TimedOut)}
    assert not bad
    assert answers.keys() == set(paths)
    for path, answer in answers.items():
        assert "\n" not in answer, (kinds[path], answer)
        assert answer == "" or path.name in answer, (kinds[path], answer)
    refused = Counter(kinds[path] for path, answer in answers.items() if answer)
    assert refused["elsewhere"] == len([path for path in paths if kinds[path] == "elsewhere"])
    assert refused["cut"] == len([path for path in paths if kinds[path] == "cut"])
    record_property("what", f"damaged and hostile model files: no crash, no hang; {sum(refused.values())} refused in a line, "
                            "the others are models all the same")  # fmt: skip
    record_property("count", len(paths))


def test_a_disk_that_is_full(tmp_path: Path, write_photos, record_property) -> None:  # type: ignore[no-untyped-def]
    photos = write_photos({f"{number}.png": number for number in range(24)}, height=200, width=200)
    model = write_model(tmp_path / "same.onnx")
    whole = restore_photos(model, [photos], tmp_path / "whole", input_kind="crop")
    needed = int(subprocess.check_output(["du", "-sk", tmp_path / "whole"]).split()[0])
    disk, full = tmp_path / "disk", 0
    for share in np.random.default_rng(2).permutation(np.linspace(0.05, 0.9, counts(2, 16))):
        with small_disk(disk, max(200, int(share * needed))):
            ended = photomend("restore", model, photos, disk / "out", "--input", "crop", "--workers", 2)
            if ended.code:
                full += 1
                check_output(ended.said)
                last = [text for text in ended.said.splitlines() if not text.startswith("restoring:")]
                assert (ended.code, len(last)) == (1, 1), ended.said
                subprocess.run(["mount", "-o", "remount,size=60m", disk], check=True)
                ended = photomend("restore", model, photos, disk / "out", "--input", "crop", "--workers", 2)
            assert ended.code == 0, ended.said
            told = json.loads((disk / "out" / "report.json").read_text("utf-8"))
            assert told["counts"] == whole.counts
            for row in told["rows"]:
                assert (disk / "out" / row["output"]).read_bytes() == (tmp_path / "whole" / row["output"]).read_bytes()
    assert full
    record_property("what", "full disks, each at another point of restoring: one line, then the same command ends it")
    record_property("count", full)


class Troubled(RestoreWork):
    """Hangs at photos called hang…, and dies at those called die…."""

    def __call__(self, tasks: Sequence[Any]) -> Any:
        for task in tasks:
            if task.item.path.name.startswith("hang"):
                time.sleep(600)
            if task.item.path.name.startswith("die"):
                os.kill(os.getpid(), signal.SIGSEGV)
        return super().__call__(tasks)


def test_photos_that_hang_or_kill(tmp_path: Path, write_photos, monkeypatch: pytest.MonkeyPatch, record_property) -> None:  # type: ignore[no-untyped-def]
    """Each costs its own row alone, though seven others are in its batch."""
    hangs, dies = counts(1, 3), counts(1, 4)
    names = {f"hang{number}.png": number for number in range(hangs)} | {f"die{number}.png": number for number in range(dies)}
    photos = write_photos({f"{number:02}.png": number for number in range(20)} | names, height=16, width=16)
    model = write_model(tmp_path / "same.onnx")
    monkeypatch.setattr(job, "RestoreWork", Troubled)
    report = restore_photos(model, [photos], tmp_path / "out", input_kind="crop", workers=2, time_limit=2)
    assert Counter(row.reason for row in report.rows) == {None: 20, "time_limit": hangs, "worker_died": dies}
    monkeypatch.undo()
    report = restore_photos(model, [photos], tmp_path / "out", input_kind="crop", workers=2)
    assert (report.restored, report.earlier, report.failed) == (20 + hangs + dies, 20, 0)
    record_property("what", "photos that hang or kill the process that restores them: a row each, others of their batch are done")
    record_property("count", hangs + dies)


def test_an_image_bomb_and_a_panorama_cost_a_line_and_no_memory(tmp_path: Path) -> None:
    photos = tmp_path / "in"
    photos.mkdir()
    (photos / "bomb.png").write_bytes(damage.png_of_zeros(30_000, 30_000))
    image_io.write(photos / "wide.png", np.tile(textured(1, 100, 600), (1, 100, 1)), "PNG")  # 60,000 × 100
    ended = photomend("restore", demosaic(tmp_path), photos, tmp_path / "out", "--workers", 1)
    told = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert [(row["source"], row["status"], row["reason"]) for row in told["rows"]] == [
        ("bomb.png", "failed", "too_large"), ("wide.png", "nothing_to_restore", None)
    ]  # fmt: skip
    assert (ended.code, ended.peak < MEMORY) == (3, True)


def mixed(folder: Path, number: int) -> str:
    """Writes the `number`-th photo of a mixed folder; what becomes of it."""
    rng = np.random.default_rng(number)
    rgb = photo(number % 24, int(rng.integers(200, 420)))
    kind = number % 4
    if kind < 2:
        rgb = laid(rgb, box(rgb, 40, 50, 160, 180), Grid(int(rng.integers(8, 17)), 1, 2))
    path = folder / f"{number % 7}" / f"{number:04}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == 1:
        path.with_suffix(".jpg").write_bytes(image_io.encode_jpeg(rgb, 92))
    else:
        image_io.write(path.with_suffix((".png", "", ".webp", ".tif")[kind]), rgb, ("PNG", "", "WEBP", "TIFF")[kind])
    return "restored" if kind < 2 else "nothing_to_restore"


@pytest.mark.soak
def test_a_mixed_folder_killed_and_resumed(tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    archive, out = tmp_path / "archive", tmp_path / "out"
    expected = Counter(mixed(archive, number) for number in range(counts(24, 950)))
    bad = damage.fill(archive, counts(6, 50), seed=5)
    expected["any"] = len(bad)
    model, rng, kills = demosaic(tmp_path), np.random.default_rng(9), 0
    line = command("restore", model, archive, out, "--workers", 2, "--time-limit", 120)
    for _ in range(counts(2, 6)):
        job = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.9, counts(2, 12)))
        job.kill()
        kills += job.wait() == -signal.SIGKILL
    ended = photomend("restore", model, archive, out, "--workers", 2, "--time-limit", 120)
    check_output(ended.said)
    told = json.loads((out / "report.json").read_text("utf-8"))
    rows = {row["source"]: row for row in told["rows"]}
    whole = Counter(row["status"] for name, row in rows.items() if name not in bad)
    assert whole == {status: expected[status] for status in ("restored", "nothing_to_restore")}
    assert sum(rows[name]["status"] == "failed" for name in bad) > 0.6 * len(bad)  # some are only odd; one shows blocks of 8
    assert told["counts"]["files"] == len(rows) + told["counts"]["not_images"] == sum(expected.values())
    for name, row in rows.items():
        if row["status"] == "nothing_to_restore":
            assert (out / row["output"]).read_bytes() == (archive / name).read_bytes()
        elif row["status"] == "restored":
            assert image_io.read(out / row["output"]).rgb8.shape[:2] == (row["height"], row["width"])
    assert not list(out.rglob(f"{files.TEMPORARY}*"))
    assert kills
    record_property("what", f"mixed photos with {len(bad)} bad ones, killed {kills} times and resumed: the counts add up")
    record_property("count", sum(expected.values()))

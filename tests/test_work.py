"""What a worker does with one file: it is read, restored, written under its mark and measured; or it is a row with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_tools import degradations, image_io, pairs
from dataset_tools.errors import OutputError
from pipelines.outputs import Target
from pipelines.restore import Item, Row, measure_pair, pair_images
from pipelines.work import Done, RestoreWork, Settings, Task
from tests.conftest import textured
from tests.test_pipelines_engines import write_model


def work(tmp_path: Path, kind: str = "pair", **settings: Any) -> RestoreWork:
    made = RestoreWork(write_model(tmp_path / "same.onnx", 32), Settings(kind, names=("psnr", "ssim"), **settings))
    made.open()
    return made


def task(path: Path, name: str, folder: Path, drawn: Any = (), **options: Any) -> Task:
    return Task(0, Item(path, Path(name), "PNG", drawn), Target(folder, Path(name), "PNG", Path(name), **options), on_sheet=True)


def make_pair(path: Path) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    b = textured(5, 32, 32)
    drawn = degradations.draw([degradations.parse("mosaic:block=8")], np.random.default_rng(0), (32, 32))
    a = degradations.apply(b, drawn)
    image_io.write(path, pairs.stitch(a, b), "PNG")
    return a, b, drawn


def test_a_pair_is_measured_beside_its_baselines(tmp_path: Path) -> None:
    a, b, drawn = make_pair(tmp_path / "p.png")
    (done,) = work(tmp_path)([task(tmp_path / "p.png", "x/p.png", tmp_path / "out", drawn)])
    row = done.row
    assert np.array_equal(image_io.read(tmp_path / "out/x/p.png").rgb8, a)
    assert (row.source, row.output, row.status, row.width, row.height) == ("x/p.png", "x/p.png", "restored", 32, 32)
    assert row.metrics is not None
    assert row.metrics["restored"] == row.metrics["input"] == measure_pair({"input": a, "original": b}, ("psnr", "ssim"))["input"]
    assert row.metrics["input"]["psnr"] < row.metrics["bicubic"]["psnr"] < 100
    assert done.shown is not None
    assert list(done.shown.images) == ["input", "bicubic", "restored", "original"]


def test_a_pair_that_nobody_knows_is_measured_beside_its_input_alone(tmp_path: Path) -> None:
    a, b, _ = make_pair(tmp_path / "p.png")
    assert list(pair_images(a, b, b, [])) == ["input", "restored", "original"]
    (done,) = work(tmp_path, direction="BtoA")([task(tmp_path / "p.png", "p.png", tmp_path / "out")])
    assert np.array_equal(image_io.read(tmp_path / "out/p.png").rgb8, b)
    assert list(done.row.metrics or {}) == ["input", "restored"]


def test_what_cannot_be_read_is_a_row_with_a_reason(tmp_path: Path) -> None:
    whole = image_io.encode_png(textured(1, 20, 21))
    for name, data in {"cut.png": whole[:-30], "empty.jpg": b"", "text.jpg": b"hello", "odd.png": whole}.items():
        (tmp_path / name).write_bytes(data)
    names = ("cut.png", "empty.jpg", "text.jpg", "odd.png", "gone.png")
    answers = work(tmp_path)([task(tmp_path / name, name, tmp_path / "out") for name in names])
    assert not (tmp_path / "out").exists()
    assert [(done.row.source, done.row.status, done.row.output) for done in answers] == [(name, "failed", None) for name in names]
    assert all(done.row.message and str(tmp_path) not in done.row.message for done in answers)
    assert [done.row.reason for done in answers] == ["truncated", "empty", "not_an_image", "not_a_pair", "unreadable"]


def test_a_name_that_is_too_long_fails_alone_and_a_folder_that_cannot_be_written_ends_all(tmp_path: Path) -> None:
    image_io.write(tmp_path / "x.png", textured(1, 32, 32), "PNG")
    (done,) = work(tmp_path, "crop")([task(tmp_path / "x.png", "x" * 256 + ".png", tmp_path)])
    assert (done.row.status, done.row.reason, done.shown) == ("failed", "not_written", None)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        work(tmp_path, "crop")([task(tmp_path / "x.png", "x.png", tmp_path / "file")])


def test_a_file_in_the_way_stays_and_is_told(tmp_path: Path) -> None:
    image_io.write(tmp_path / "x.png", textured(1, 32, 32), "PNG")
    taken = tmp_path / "out" / "x.png"
    image_io.write(taken, textured(2, 32, 32), "PNG")
    before = taken.read_bytes()
    (done,) = work(tmp_path, "crop")([task(tmp_path / "x.png", "x.png", tmp_path / "out")])
    assert taken.read_bytes() == before
    assert done == Done(Row("x.png", None, "failed", "output_taken",
                            "OUTPUT holds a file x.png that photomend did not write: move it away"))  # fmt: skip
    taken.unlink()
    taken.symlink_to(tmp_path / "x.png")  # a link to the very photo: what is there is the photo, which may not be written over
    (done,) = work(tmp_path, "crop")([task(tmp_path / "x.png", "x.png", tmp_path / "out")])
    assert done.row.status == "restored"
    assert not taken.is_symlink()
    assert np.array_equal(image_io.read(tmp_path / "x.png").rgb8, textured(1, 32, 32))


def test_a_label_is_drawn_on_what_was_restored_and_nowhere_else(tmp_path: Path) -> None:
    image_io.write(tmp_path / "x.png", textured(1, 200, 300), "PNG")
    (done,) = work(tmp_path, "crop", label=True)([task(tmp_path / "x.png", "x.png", tmp_path / "out")])
    assert done.row.status == "restored"
    plain = work(tmp_path, "crop")([task(tmp_path / "x.png", "plain.png", tmp_path / "out")])
    assert plain[0].row.status == "restored"
    labelled, without = (image_io.read(tmp_path / "out" / name).rgb8 for name in ("x.png", "plain.png"))
    rows, columns = np.nonzero((labelled != without).any(axis=2))
    assert rows.min() > 150
    assert columns.max() < 299
    assert 20 < labelled[185:, :40].mean() < 120  # light letters on a dark ground


def test_a_mask_shows_which_pixels_were_invented(tmp_path: Path) -> None:
    image_io.write(tmp_path / "x.png", textured(1, 32, 32), "PNG")
    given = task(tmp_path / "x.png", "x.png", tmp_path / "out", mask=Path("x.png.mask.png"))
    (done,) = work(tmp_path, "crop")([given])
    assert done.kept is not None
    assert [each.name for each in done.kept.written] == ["x.png", "x.png.mask.png"]
    assert (image_io.read(tmp_path / "out" / "x.png.mask.png").samples == 255).all()

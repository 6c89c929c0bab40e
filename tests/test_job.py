"""A folder of photos: mirrored, marked, counted; a bad one never stops the rest; no input is ever touched."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_tools import build, image_io, pairs, staging
from dataset_tools.dataset import open_dataset
from dataset_tools.errors import DatasetError, OutputError, PhotomendError, UsageError
from dataset_tools.mosaic_grid import Grid, prior
from pipelines import restore_photos
from pipelines.inputs import find
from pipelines.mark import SOURCE_TYPE, is_marked
from pipelines.outputs import name_outputs
from pipelines.whole_photo import Wishes
from tests.conftest import textured
from tests.test_mosaic_regions import box, laid, photo
from tests.test_pipelines_engines import write_model

REPORT = {"report.json", "report.csv", "report.html", "sheet.png"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Restores nothing, at 16 × 16."""
    return write_model(tmp_path / "same.onnx")


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        os.fsdecode(os.path.relpath(path, folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def outputs(folder: Path) -> set[str]:
    found = {name for name, data in snapshot(folder).items() if data is not None and not name.startswith(".photomend/")}
    return found - REPORT - {"failures.csv"}


def test_crops_come_back_under_their_names_pixel_for_pixel(write_photos, model: Path, tmp_path: Path) -> None:
    names = {"a.png": 1, "x/b.png": 2, "x/y/b.png": 3, "Ünï ✓.png": 4}
    photos = write_photos(names, height=16, width=16)
    before = snapshot(photos)
    report = restore_photos(model, [photos], tmp_path / "out", input_kind="crop")
    assert outputs(tmp_path / "out") == set(names)
    for name, seed in names.items():
        assert np.array_equal(image_io.read(tmp_path / "out" / name).rgb8, textured(seed, 16, 16))
    assert report.counts == {"files": 4, "not_images": 0, "restored": 4, "nothing_to_restore": 0, "failed": 0}
    assert report.exit_code == 0
    assert [row.source for row in report.rows] == sorted(names)
    assert all(row.output == row.source and row.resized is False and row.metrics is None for row in report.rows)
    assert snapshot(photos) == before
    assert not (tmp_path / "out" / "failures.csv").exists()


def test_the_model_restores_what_is_written(write_photos, tmp_path: Path) -> None:
    photos = write_photos({f"{seed}.png": seed for seed in range(10)}, height=16, width=16)
    restore_photos(write_model(tmp_path / "m.onnx", operator="Neg"), [photos], tmp_path / "out", input_kind="crop")
    for seed in range(10):
        assert np.array_equal(image_io.read(tmp_path / "out" / f"{seed}.png").rgb8, 255 - textured(seed, 16, 16))


def test_a_crop_of_another_size_keeps_it_and_says_so(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"a.png": 1}, height=40, width=30)
    report = restore_photos(model, [photos], tmp_path / "out", input_kind="crop")
    assert image_io.read(tmp_path / "out" / "a.png").rgb8.shape == (40, 30, 3)
    assert (report.rows[0].width, report.rows[0].height, report.rows[0].resized) == (30, 40, True)


def test_crops_under_a_mosaic_are_restored_at_their_own_size(demosaic: Path, tmp_path: Path) -> None:
    for name, (height, width), block in (("a.png", (256, 256), 16), ("b.png", (140, 333), 9), ("c.png", (600, 200), 20)):
        rgb = photo(1, 700)[60 : 60 + height, 80 : 80 + width]
        image_io.write(tmp_path / "in" / name, laid(rgb, np.ones((height, width), bool), Grid(block, 3, 5)), "PNG")
    image_io.write(tmp_path / "in" / "none.png", textured(1, 30, 50), "PNG")
    report = restore_photos(demosaic, [tmp_path / "in"], tmp_path / "out", input_kind="crop")
    assert [(row.source, row.status, row.resized) for row in report.rows] == [
        (name, "restored", False) for name in ("a.png", "b.png", "c.png", "none.png")
    ]
    for name, block in (("a.png", 16), ("b.png", 9), ("c.png", 20)):
        before, after = (image_io.read(tmp_path / folder / name).rgb8 for folder in ("in", "out"))
        off = np.abs(after.astype(int) - prior(before, Grid(block, 3, 5)))
        assert (off.mean() < 0.5, off.max() <= 4) == (True, True)
    assert np.array_equal(image_io.read(tmp_path / "out" / "none.png").rgb8, textured(1, 30, 50))


def test_one_bad_file_never_stops_the_batch(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"a.png": 1, "z.png": 2}, height=16, width=16)
    (photos / "broken.jpg").write_bytes(image_io.encode_jpeg(textured(3))[:300])
    (photos / "notes.txt").write_text("no image, and it does not say that it is one")
    (photos / "gone.png").symlink_to("nowhere")
    os.mkfifo(photos / "fifo.jpg")
    report = restore_photos(model, [photos], tmp_path / "out", input_kind="crop")
    assert report.counts == {"files": 6, "not_images": 1, "restored": 2, "nothing_to_restore": 0, "failed": 3}
    assert report.exit_code == 3
    assert outputs(tmp_path / "out") == {"a.png", "z.png"}
    with open(tmp_path / "out" / "failures.csv", encoding="utf-8") as handle:
        failures = {row["source"]: row["reason"] for row in csv.DictReader(handle)}
    assert failures == {"broken.jpg": "truncated", "fifo.jpg": "unreadable", "gone.png": "unreadable"}
    assert str(tmp_path) not in (tmp_path / "out" / "failures.csv").read_text("utf-8")
    told = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert told["complete"] is True
    assert told["no_images"] == ["notes.txt"]
    assert [(row["source"], row["status"]) for row in told["rows"]] == [
        ("a.png", "restored"), ("broken.jpg", "failed"), ("fifo.jpg", "failed"), ("gone.png", "failed"), ("z.png", "restored")
    ]  # fmt: skip


def test_format_and_mark_are_kept_or_made_possible(model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "in"
    kept = {"a.jpg": "JPEG", "b.png": "PNG", "c.webp": "WEBP", "d.tif": "TIFF", "liar.jpg": "PNG", "bare": "PNG"}
    for name, format in kept.items():
        image_io.write(photos / name, textured(1, 16, 16), format)
    cv2.imwrite(str(photos / "e.bmp"), textured(1, 16, 16)[:, :, ::-1])
    cv2.imwrite(str(photos / "f.gif"), textured(1, 16, 16)[:, :, ::-1])
    restore_photos(model, [photos], tmp_path / "out", input_kind="crop")
    formats = {}
    for name in outputs(tmp_path / "out"):
        data = (tmp_path / "out" / name).read_bytes()
        formats[name] = image_io.sniff(data[:64])
        assert is_marked(data), name
        assert SOURCE_TYPE.encode() in data
        assert b"same" in data, "the model's name"
    assert formats == {**kept, "e.bmp.png": "PNG", "f.gif.png": "PNG"}


def test_no_two_inputs_share_an_output_and_none_takes_a_name_of_the_report(model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "in"
    shades = {"x.gif": 10, "x.gif.png": 60, "x.gif.png.bmp": 110, "sheet.png": 160, "sub/sheet.png": 210}
    for name, shade in shades.items():
        image_io.write(photos / name, np.full((16, 16, 3), shade, np.uint8), "PNG")
    for name in ("x.gif", "x.gif.png.bmp"):
        ok, data = cv2.imencode(Path(name).suffix, np.full((16, 16, 3), shades[name], np.uint8))
        assert ok
        (photos / name).write_bytes(data.tobytes())
    report = restore_photos(model, [photos], tmp_path / "out", input_kind="crop")
    taken = {row.source: row.output for row in report.rows}
    assert taken == {
        "sheet.png": "sheet.png.png",
        "sub/sheet.png": "sub/sheet.png",
        "x.gif": "x.gif-2.png",
        "x.gif.png": "x.gif.png",
        "x.gif.png.bmp": "x.gif.png.bmp.png",
    }
    for source, output in taken.items():
        assert image_io.read(tmp_path / "out" / output).rgb8[0, 0, 0] == pytest.approx(shades[source], abs=20)  # a GIF rounds


def test_an_output_is_never_a_folder_of_another(tmp_path: Path) -> None:
    ok, data = cv2.imencode(".gif", np.zeros((8, 8, 3), np.uint8))
    assert ok
    (tmp_path / "in" / "x.gif.png").mkdir(parents=True)
    (tmp_path / "in" / "x.gif").write_bytes(data.tobytes())
    image_io.write(tmp_path / "in" / "x.gif.png" / "a.png", textured(1), "PNG")
    named = [str(target.name) for target in name_outputs(find([tmp_path / "in"])[0], tmp_path / "out")]
    assert sorted(named) == ["x.gif-2.png", "x.gif.png/a.png"]


def test_several_inputs_go_under_their_base_names(write_photos, model: Path, tmp_path: Path) -> None:
    for folder in ("one/faces", "two/faces"):
        (tmp_path / folder).mkdir(parents=True)
        write_photos({"a.png": 1}, folder, height=16, width=16)
    write_photos({"faces.png": 2}, "one", height=16, width=16)
    write_photos({"faces.png": 3}, "two", height=16, width=16)
    inputs = [tmp_path / name for name in ("one/faces", "two/faces", "one/faces.png", "two/faces.png")]
    report = restore_photos(model, inputs, tmp_path / "out", input_kind="crop")
    assert outputs(tmp_path / "out") == {"faces/a.png", "faces-2/a.png", "faces.png", "faces-2.png"}
    assert [row.output for row in report.rows] == ["faces/a.png", "faces-2/a.png", "faces.png", "faces-2.png"]
    assert np.array_equal(image_io.read(tmp_path / "out" / "faces-2.png").rgb8, textured(3, 16, 16))
    labels = ("faces", "faces-2", "faces.png", "faces-2.png")
    places = ("one/faces", "two/faces", "one/faces.png", "two/faces.png")
    assert report.settings["inputs"] == [f"{place} as {label}" for place, label in zip(places, labels, strict=True)]
    assert str(tmp_path) not in (tmp_path / "out" / "report.json").read_text()
    assert restore_photos(model, inputs[1:3], tmp_path / "more", input_kind="crop").settings["inputs"] == ["faces", "faces.png"]


def test_a_name_that_is_not_utf8_is_a_photo(model: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 100%.png")
    image_io.write(tmp_path / "in" / name, textured(1, 16, 16), "PNG")
    report = restore_photos(model, [tmp_path / "in"], tmp_path / "out", input_kind="crop")
    assert (tmp_path / "out" / name).exists()
    assert report.rows[0].source == report.rows[0].output == "caf%E9 100%25.png"
    assert "caf%E9 100%25.png" in (tmp_path / "out" / "report.csv").read_text("utf-8")


def test_one_file_may_be_written_to_one_file(write_photos, model: Path, tmp_path: Path) -> None:
    photo = write_photos({"a.png": 1}, height=16, width=16) / "a.png"
    out = tmp_path / "restored" / "b.webp"
    report = restore_photos(model, [photo], out, input_kind="crop")
    assert report.counts == {"files": 1, "not_images": 0, "restored": 1, "nothing_to_restore": 0, "failed": 0}
    assert (report.rows[0].source, report.rows[0].output) == ("a.png", "b.webp")
    assert os.listdir(tmp_path / "restored") == ["b.webp"]
    assert image_io.sniff(out.read_bytes()[:64]) == "WEBP"
    restore_photos(model, [photo], out, input_kind="crop")  # what we wrote, we may write again
    before = out.read_bytes()
    other = write_photos({"other.png": 2}, "others", height=16, width=16) / "other.png"
    with pytest.raises(OutputError, match=r"b\.webp exists and was restored from another photo: choose another name"):
        restore_photos(model, [other], out, input_kind="crop")
    assert out.read_bytes() == before
    with pytest.raises(UsageError, match="cannot carry the mark"):
        restore_photos(model, [photo], tmp_path / "b.gif", input_kind="crop")
    with pytest.raises(OutputError, match="was not written by photomend"):
        restore_photos(model, [out], photo, input_kind="crop")
    restore_photos(model, [photo], tmp_path / "folder", input_kind="crop")
    assert outputs(tmp_path / "folder") == {"a.png"}
    photo.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(PhotomendError, match=r"a\.png"):
        restore_photos(model, [photo], tmp_path / "c.png", input_kind="crop")
    assert not (tmp_path / "c.png").exists()


def test_an_input_is_never_overwritten(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"x/a.png": 1}, height=16, width=16)
    (tmp_path / "link").symlink_to(photos)
    before = snapshot(tmp_path)
    for inputs, output in [
        ([photos], photos), ([photos], photos / "x" / "out"), ([photos / "x"], photos), ([photos / "x/a.png"], photos / "x"),
        ([photos / "x/a.png"], photos / "x/a.png"), ([photos], tmp_path / "link"), ([tmp_path / "link"], photos / "new"),
    ]:  # fmt: skip
        with pytest.raises(UsageError):
            restore_photos(model, inputs, output, input_kind="crop")
    assert snapshot(tmp_path) == before


def test_output_is_absent_empty_or_ours(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"a.png": 1, "b.png": 2}, height=16, width=16)
    out = tmp_path / "out"
    out.mkdir()
    restore_photos(model, [photos], out, input_kind="crop")
    first = (out / "report.csv").read_text("utf-8").count("restored")
    (photos / "b.png").write_bytes(b"")
    assert restore_photos(model, [photos], out, input_kind="crop").exit_code == 3
    assert (out / "failures.csv").exists()
    (photos / "b.png").unlink()
    assert restore_photos(model, [photos], out, input_kind="crop").exit_code == 0
    assert not (out / "failures.csv").exists()
    assert first == 2

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "report.json").write_text('{"format": "another program"}')
    (tmp_path / "file").write_text("")
    before = snapshot(tmp_path)
    for output, line in (
        (foreign, "is not empty and was not written by photomend"),
        (tmp_path / "file", "is a file, not a folder"),
    ):
        with pytest.raises(OutputError, match=line):
            restore_photos(model, [photos], output, input_kind="crop")
    assert snapshot(tmp_path) == before


@pytest.fixture
def demosaic(tmp_path: Path) -> Path:
    """Makes the smooth image between the cells of a mosaic."""
    return write_model(tmp_path / "demosaic.onnx", 256, cell=8, stride=32, crop={"kind": "faces", "margin": 0.25})


@pytest.mark.slow
@pytest.mark.parametrize("workers", [None, 2])
def test_whole_photos_are_restored_copied_or_told(demosaic: Path, tmp_path: Path, workers: int | None) -> None:
    rgb = photo(0, 512)
    where = box(rgb, 150, 160, 350, 340)
    shown = laid(rgb, where, Grid(16, 3, 9))
    photos = tmp_path / "in"
    (photos / "x").mkdir(parents=True)
    exif = Image.Exif()
    exif[272], exif[306] = "Kodak", "1962:07:04 12:00:00"
    Image.fromarray(shown).save(photos / "x" / "mosaic.jpg", quality=90, subsampling=0, exif=exif, dpi=(300, 300))
    Image.fromarray(shown).save(photos / "mosaic.png")
    Image.fromarray(photo(1, 300)).save(photos / "clean.jpg", quality=80)
    Image.fromarray(photo(2, 200)).save(photos / "clean.gif")
    (photos / "cut.jpg").write_bytes((photos / "clean.jpg").read_bytes()[:500])
    fine = laid(photo(3, 400), np.ones((400, 400), bool), Grid(4))
    Image.fromarray(fine).save(photos / "fine.png")
    before = snapshot(photos)
    report = restore_photos(demosaic, [photos], tmp_path / "out", workers=workers)
    assert snapshot(photos) == before
    assert report.counts == {"files": 6, "not_images": 0, "restored": 3, "nothing_to_restore": 2, "failed": 1}
    assert {row.source: row.status for row in report.rows} == {
        "clean.gif": "nothing_to_restore", "clean.jpg": "nothing_to_restore", "cut.jpg": "failed", "fine.png": "restored",
        "mosaic.png": "restored", "x/mosaic.jpg": "restored",
    }  # fmt: skip
    assert outputs(tmp_path / "out") == {"clean.gif", "clean.jpg", "fine.png", "mosaic.png", "x/mosaic.jpg"}
    for name in ("clean.gif", "clean.jpg"):
        assert (tmp_path / "out" / name).read_bytes() == before[name], "it was copied as it is"
    reasons = {row.source: row.reason for row in report.rows if row.reason}
    assert reasons == {"cut.jpg": "truncated"}
    restored = image_io.read(tmp_path / "out" / "mosaic.png").rgb8
    assert np.abs(restored[where].astype(int) - rgb[where]).mean() < np.abs(shown[where].astype(int) - rgb[where]).mean()
    assert np.array_equal(restored[:100], shown[:100])
    assert is_marked((tmp_path / "out" / "x" / "mosaic.jpg").read_bytes())
    held = Image.open(io.BytesIO((tmp_path / "out" / "x" / "mosaic.jpg").read_bytes()))
    assert (held.getexif()[272], held.getexif()[306], held.info["dpi"]) == ("Kodak", "1962:07:04 12:00:00", (300, 300))
    (region,) = next(row.regions for row in report.rows if row.source == "mosaic.png")
    assert (region["block"], region["phase"]) == (16, [3, 9])
    (region,) = next(row.regions for row in report.rows if row.source == "fine.png")
    assert region == {"box": [0, 0, 400, 400], "block": 4, "phase": [0, 0]}
    assert report.lines()[0] == "6 files: 3 restored, 2 with nothing to restore, 1 failed, 0 not images"


@pytest.mark.slow
def test_the_output_of_one_model_is_the_input_of_another(demosaic: Path, tmp_path: Path) -> None:
    """Masks and the sheet of the first are no photos; a photo that is called like a mask is one."""
    rgb = photo(0, 512)
    (tmp_path / "in" / "x").mkdir(parents=True)
    for name in ("a.png", "x/b.mask.png"):
        Image.fromarray(laid(rgb, box(rgb, 150, 160, 350, 340), Grid(16, 3, 9))).save(tmp_path / "in" / name)
    first = restore_photos(demosaic, [tmp_path / "in"], tmp_path / "out", mask=True)
    assert first.counts["restored"] == 2
    assert outputs(tmp_path / "out") == {"a.png", "a.png.mask.png", "x/b.mask.png", "x/b.mask.png.mask.png"}
    colours = write_model(tmp_path / "colours.onnx", 64, "Neg", any_size=True, task="colorize")
    second = restore_photos(colours, [tmp_path / "out"], tmp_path / "both")
    assert [row.source for row in second.rows] == ["a.png", "x/b.mask.png"]
    assert second.counts == {"files": 10, "not_images": 8, "restored": 2, "nothing_to_restore": 0, "failed": 0}
    assert second.lines()[1] == "2 of them had colours, which the model's have replaced; report.csv says which"
    assert outputs(tmp_path / "both") == {"a.png", "x/b.mask.png"}


def test_a_file_in_which_nothing_is_restored_says_what_it_is_called(demosaic: Path, tmp_path: Path) -> None:
    Image.fromarray(photo(1, 300)).save(tmp_path / "clean.png")
    report = restore_photos(demosaic, [tmp_path / "clean.png"], tmp_path / "out.jpg")
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.png"]
    assert report.lines()[1:] == ["nothing was to be restored, so it stays what it is, and is called out.png"]
    for inputs, options, line in (
        ([tmp_path / "clean.png"] * 2, {}, r"out\.tif looks like a photo, but there are 2 INPUTs: give a folder"),
        ([tmp_path / "clean.png"], {"workers": 0, "time_limit": 3}, "--time-limit needs a process that can be ended"),
    ):
        with pytest.raises(UsageError, match=line):
            restore_photos(demosaic, inputs, tmp_path / "out.tif", **options)  # type: ignore[arg-type]


def test_a_label_is_opaque_on_a_transparent_photo(demosaic: Path, tmp_path: Path) -> None:
    rgb = photo(0, 512)
    shown = laid(rgb, box(rgb, 150, 160, 350, 340), Grid(16, 3, 9))
    Image.fromarray(np.dstack([shown, np.full((512, 512), 40, np.uint8)])).save(tmp_path / "a.png")
    restore_photos(demosaic, [tmp_path / "a.png"], tmp_path / "b.png", label=True)
    samples = np.asarray(Image.open(tmp_path / "b.png"))
    note = samples[-12:, :100]
    assert (note[..., 3] == 255).all()
    assert {tuple(pixel) for pixel in note[..., :3].reshape(-1, 3)} >= {(20, 20, 22)}
    assert (samples[:300, :, 3] == 40).all()


def test_wishes_that_no_photo_could_fulfil(write_photos, demosaic: Path, tmp_path: Path) -> None:
    photos = write_photos({"a.png": 1})
    for wishes, line in [
        (Wishes(strength=1.5), "--strength 1.5: give a number above 0"), (Wishes(largest=0), "--largest 0: give 1 or more"),
        (Wishes(least=-1), "--min-face -1"),
    ]:  # fmt: skip
        with pytest.raises(UsageError, match=line):
            restore_photos(demosaic, [photos], tmp_path / "out", wishes=wishes)
    with pytest.raises(UsageError, match="--strength is for whole photos, and these are crops: leave it out"):
        restore_photos(demosaic, [photos], tmp_path / "out", wishes=Wishes(strength=0.5), input_kind="crop")
    colours = write_model(tmp_path / "colours.onnx", task="colorize")
    with pytest.raises(UsageError, match="--largest chooses among regions, and this model gives colours to all of a photo"):
        restore_photos(colours, [photos], tmp_path / "out", wishes=Wishes(largest=1))
    assert not (tmp_path / "out").exists()


def test_crops_keep_their_metadata_and_their_location_only_if_it_is_wanted(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[272] = "Kodak"
    exif.get_ifd(0x8825)[1], exif.get_ifd(0x8825)[2] = "N", (52.0, 31.0, 12.0)
    Image.fromarray(textured(1, 16, 16)).save(tmp_path / "in" / "a.png", exif=exif)
    for gps in (True, False):
        restore_photos(model, [tmp_path / "in"], tmp_path / "out", input_kind="crop", gps=gps)
        held = Image.open(io.BytesIO((tmp_path / "out" / "a.png").read_bytes())).getexif()
        assert held[272] == "Kodak"
        assert bool(dict(held.get_ifd(0x8825))) == gps


def test_paths_and_options_that_cannot_be_meant(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"a.png": 1})
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    for inputs, options, error, line in [
        ([], {}, UsageError, "no INPUT"),
        ([tmp_path / "nowhere"], {}, UsageError, "nowhere does not exist"),
        ([photos], {"input_kind": "face"}, UsageError, "--input takes photo, crop, pair; received face"),
        ([photos], {"input_kind": "pair", "direction": "BtoB"}, UsageError, "--direction takes AtoB or BtoA; received BtoB"),
        ([tmp_path / "empty"], {"input_kind": "crop"}, PhotomendError, r"holds no image \(1 other file\)"),
    ]:  # fmt: skip
        with pytest.raises(error, match=line):
            restore_photos(model, inputs, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()


def test_links_to_folders_are_told_and_not_followed(write_photos, model: Path, tmp_path: Path) -> None:
    photos = write_photos({"a.png": 1}, height=16, width=16)
    (photos / "round").symlink_to(photos)
    report = restore_photos(model, [photos], tmp_path / "out", input_kind="crop")
    assert report.counts == {"files": 1, "not_images": 0, "restored": 1, "nothing_to_restore": 0, "failed": 0}
    assert report.linked_folders == ("round",)
    assert "links to folders are not followed: round" in report.lines()


def stitched(path: Path, a: np.ndarray, b: np.ndarray) -> None:
    image_io.write(path, pairs.stitch(a, b), "PNG")


def test_unknown_pairs_are_compared_with_their_input(model: Path, tmp_path: Path) -> None:
    a, b = textured(1, 16, 16), textured(2, 16, 16)
    stitched(tmp_path / "in" / "p.png", a, b)
    image_io.write(tmp_path / "in" / "odd.png", textured(3, 16, 17), "PNG")
    for direction, restored, original in (("AtoB", a, b), ("BtoA", b, a)):
        report = restore_photos(model, [tmp_path / "in"], tmp_path / "out", input_kind="pair", direction=direction)
        assert np.array_equal(image_io.read(tmp_path / "out" / "p.png").rgb8, restored)
        assert not np.array_equal(restored, original)
        assert list(report.figures) == ["restored", "input"]
        assert report.figures["restored"] == report.figures["input"], "the model restores nothing"
        assert [(row.source, row.reason) for row in report.rows if row.status == "failed"] == [("odd.png", "not_a_pair")]


def test_pairs_too_small_to_measure_are_restored_all_the_same(model: Path, tmp_path: Path) -> None:
    stitched(tmp_path / "in" / "p.png", textured(1, 8, 8), textured(2, 8, 8))
    report = restore_photos(model, [tmp_path / "in"], tmp_path / "out", input_kind="pair")
    assert (report.restored, report.figures) == (1, {})


@pytest.fixture
def dataset(write_photos, tmp_path: Path) -> Path:
    archive = write_photos({f"{seed}.png": seed for seed in range(12)}, "photos", height=48, width=48)
    recipe = staging.Recipe(size=16, crop="center", degrade=("mosaic:block=4",), split="34/33/33")
    build.build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    return tmp_path / "ds"


def test_the_files_of_a_dataset_are_pairs_with_known_baselines(dataset: Path, model: Path, tmp_path: Path) -> None:
    before = snapshot(dataset)
    opened = open_dataset(dataset)
    for split in ("train", "val", "test"):
        expected = {f"{split}/{pair.path.name}" for pair in opened.pairs(split)}
        assert expected
        out = tmp_path / f"out-{split}"
        report = restore_photos(model, [dataset], out, split=split)
        assert outputs(out) == expected
        assert list(report.figures) == ["restored", "bicubic", "input"]
        assert report.figures["restored"] == report.figures["input"] != report.figures["bicubic"]
        folder = restore_photos(model, [dataset / split], tmp_path / f"folder-{split}")
        assert folder.figures == report.figures
        assert folder.counts == {
            "files": len(expected) + 1,
            "not_images": 1,
            "restored": len(expected),
            "nothing_to_restore": 0,
            "failed": 0,
        }
    one = opened.pairs("test")[0].path
    report = restore_photos(model, [one], tmp_path / "one.png")
    assert np.array_equal(image_io.read(tmp_path / "one.png").rgb8, pairs.split(image_io.read(one).rgb8)[0])
    assert "bicubic" in report.rows[0].metrics
    assert snapshot(dataset) == before


def test_a_dataset_is_not_taken_for_something_else(dataset: Path, write_photos, model: Path, tmp_path: Path) -> None:
    crops = write_photos({"a.png": 1}, "crops")
    for inputs, options, error, line in [
        ([dataset], {"input_kind": "crop"}, UsageError, "belongs to a dataset, whose files are A|B images"),
        ([dataset, crops], {}, UsageError, "some INPUTs belong to a dataset and some do not"),
        ([dataset], {"direction": "BtoA"}, DatasetError, "holds its input on the left"),
        ([dataset], {"split": "tset"}, DatasetError, "the split tset of .* holds no pairs: pairs are in train"),
    ]:  # fmt: skip
        with pytest.raises(error, match=line.replace("|", r"\|")):
            restore_photos(model, inputs, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    shutil.rmtree(dataset / "test")
    report = restore_photos(model, [dataset], tmp_path / "out")
    assert report.restored == 0
    assert report.failed == report.files > 0
    assert report.exit_code == 3

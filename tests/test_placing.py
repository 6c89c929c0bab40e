"""Where a model is to look: the crops of a dataset's manifest, or the faces that are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset_tools import image_io, resources
from dataset_tools.build import build_dataset
from dataset_tools.crops import Square
from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.manifest import read_rows
from dataset_tools.mosaic_grid import Grid
from dataset_tools.recipe import Recipe
from pipelines import restore_photos
from pipelines.engines import open_engine
from pipelines.inputs import windows_of
from pipelines.whole_photo import Wishes, restore_whole
from tests.test_mosaic_regions import laid
from tests.test_pipelines_engines import write_model

FACE = resources.path("samples") / "female-01.jpg"


@pytest.mark.parametrize("align", [False, True])
def test_the_crops_of_a_dataset_are_squares_of_its_photos(tmp_path: Path, align: bool) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "a.jpg").write_bytes(FACE.read_bytes())
    build_dataset([archive], tmp_path / "ds", Recipe(size=128, degrade=("mosaic:block=8",), align=align), workers=0)
    windows, fingerprint = windows_of(tmp_path / "ds")
    ((name, (square,)),) = windows.items()
    row = next(row for row in read_rows(tmp_path / "ds" / "manifest.jsonl") if row["kind"] == "face")
    x, y, width, height = row["box"]
    assert (name, len(fingerprint) > 8) == ("a.jpg", True)
    assert square.side == pytest.approx(width * 1.5, abs=2)
    assert square.x + square.side / 2 == pytest.approx(x + width / 2, abs=20 if align else 2)
    assert square.y + square.side / 2 == pytest.approx(y + height / 2, abs=20 if align else 2)
    with pytest.raises(DatasetError):
        windows_of(archive)


@pytest.mark.slow
def test_a_model_that_learned_from_faces_restores_the_faces_that_are_found(tmp_path: Path) -> None:
    model = write_model(
        tmp_path / "inverse.onnx", 64, operator="Neg", crop={"kind": "faces", "margin": 0.25}, recipe=["blur:sigma=2"]
    )
    photos = tmp_path / "in"
    photos.mkdir()
    image_io.write(photos / "face.png", image_io.read(FACE).rgb8, "PNG")
    image_io.write(photos / "plain.png", np.full((300, 300, 3), 120, np.uint8), "PNG")
    report = restore_photos(model, [photos], tmp_path / "out", mask=True)
    assert [(row.source, row.status) for row in report.rows] == [("face.png", "restored"), ("plain.png", "nothing_to_restore")]
    ((region,),) = (row.regions for row in report.rows if row.regions)
    x, y, width, height = region["box"]
    before, after = (
        image_io.read(photos / "face.png").rgb8.astype(int),
        image_io.read(tmp_path / "out" / "face.png").rgb8.astype(int),
    )
    mask = image_io.read(tmp_path / "out" / "face.png.mask.png").samples
    assert np.array_equal(before[mask == 0], after[mask == 0])
    assert (mask[y : y + height, x : x + width] == 255).all()
    middle = slice(y + height // 3, y + 2 * height // 3), slice(x + width // 3, x + 2 * width // 3)
    assert np.abs(before[middle] - after[middle]).mean() > 20
    assert (tmp_path / "out" / "plain.png").read_bytes() == (photos / "plain.png").read_bytes()
    assert restore_photos(model, [photos], tmp_path / "none", wishes=None, input_kind="photo").restored == 1


def test_a_job_with_a_manifest_takes_its_crops_for_the_faces(tmp_path: Path) -> None:
    """Also where no face would be found: what they show is restored, and nothing else."""
    archive, photos = tmp_path / "archive", tmp_path / "in"
    archive.mkdir()
    (archive / "a.jpg").write_bytes(FACE.read_bytes())
    build_dataset([archive], tmp_path / "ds", Recipe(size=64, degrade=("blur:sigma=2",)), workers=0)
    ((square,),) = windows_of(tmp_path / "ds")[0].values()
    rgb = image_io.read(FACE).rgb8
    nobody = np.ascontiguousarray(rgb[::-1])
    image_io.write(photos / "a.jpg", nobody, "PNG")
    model = write_model(tmp_path / "m.onnx", 64, operator="Neg", crop={"kind": "faces", "margin": 0.25}, recipe=["blur:sigma=2"])
    report = restore_photos(model, [photos], tmp_path / "out", manifest=tmp_path / "ds", mask=True)
    assert report.restored == 1
    assert report.rows[0].regions == ({"box": [square.x, square.y, square.side, square.side], "size": 64},)
    mask = image_io.read(tmp_path / "out" / "a.jpg.mask.png").samples
    inside = np.zeros(mask.shape, bool)
    inside[max(0, square.y) : square.y + square.side, max(0, square.x) : square.x + square.side] = True
    assert (mask[inside] == 255).all()
    assert (mask > 0).sum() < 1.05 * inside.sum()
    after = image_io.read(tmp_path / "out" / "a.jpg").rgb8
    assert np.array_equal(after[mask == 0], nobody[mask == 0])
    assert np.abs(after[inside].astype(int) - nobody[inside]).mean() > 20
    assert windows_of(tmp_path / "ds" / "manifest.jsonl") == windows_of(tmp_path / "ds")
    assert report.settings["manifest"] == "ds, which knows 1 of 1 photos"
    assert restore_photos(model, [photos], tmp_path / "out").earlier == 0  # looked for otherwise, it is another result
    (photos / "a.jpg").rename(photos / "b.jpg")
    with pytest.raises(UsageError, match=r"knows none of these photos: .* such as 'a\.jpg', and here 'b\.jpg'"):
        restore_photos(model, [photos], tmp_path / "out", manifest=tmp_path / "ds")


def test_a_model_of_mosaics_needs_no_manifest(tmp_path: Path) -> None:
    """It looks for them in the whole photo, wherever the crops of a dataset lie."""
    rgb = image_io.read(FACE).rgb8
    mask = np.zeros(rgb.shape[:2], bool)
    mask[-200:-20, 30:190] = True
    photo = image_io.decode(image_io.encode_png(laid(rgb, mask, Grid(16, 3, 5))), "photo")
    engine = open_engine(write_model(tmp_path / "m.onnx", 256, cell=8))
    alone, told = (restore_whole(engine, photo, Wishes(), windows) for windows in ((), (Square(0, 0, 100),)))
    assert alone.photo is not None
    assert told.photo is not None
    assert len(alone.regions) == 1
    assert alone.regions == told.regions
    assert np.array_equal(alone.photo.samples, told.photo.samples)

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
from dataset_tools.mosaic_regions import Region
from dataset_tools.recipe import Recipe
from pipelines import restore_photos
from pipelines.inputs import windows_of
from pipelines.regions import placed
from tests.test_mosaic_regions import laid
from tests.test_pipelines_engines import write_model
from tests.test_regions import CARD

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


def test_a_region_in_a_crop_of_the_dataset_is_seen_as_that_crop() -> None:
    region = Region(Grid(16), (100, 100, 220, 230), np.ones((120, 130), bool))
    inside, beside = Square(60, 50, 250), Square(400, 400, 250)
    assert placed(region, CARD, any_size=False, windows=(beside, inside)).window == inside
    assert placed(region, CARD, any_size=False, windows=(beside,)).window == placed(region, CARD, any_size=False).window
    coarse = Square(0, 0, 600)  # in which the blocks are finer than any that the model knows
    assert placed(region, CARD, any_size=False, windows=(coarse,)).window != coarse


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


def test_a_job_with_a_manifest_places_the_region_by_it(tmp_path: Path) -> None:
    archive, photos = tmp_path / "archive", tmp_path / "in"
    archive.mkdir()
    (archive / "a.jpg").write_bytes(FACE.read_bytes())
    build_dataset([archive], tmp_path / "ds", Recipe(size=256, degrade=("mosaic:block=16",)), workers=0)
    ((square,),) = windows_of(tmp_path / "ds")[0].values()
    rgb = image_io.read(FACE).rgb8
    mask = np.zeros(rgb.shape[:2], bool)
    mask[square.y + 80 : square.y + 280, square.x + 90 : square.x + 300] = True
    image_io.write(photos / "a.jpg", laid(rgb, mask, Grid(round(16 * square.side / 256))), "PNG")
    model = write_model(tmp_path / "m.onnx", 256, inputs=("image", "prior"), prior="mosaic", task="mosaic", stride=32,
                        recipe=["mosaic:block=16"], crop={"kind": "faces", "margin": 0.25})  # fmt: skip
    report = restore_photos(model, [photos], tmp_path / "out", manifest=tmp_path / "ds")
    assert report.restored == 1
    assert windows_of(tmp_path / "ds" / "manifest.jsonl") == windows_of(tmp_path / "ds")
    assert report.settings["manifest"] == "ds, which knows 1 of 1 photos"
    assert restore_photos(model, [photos], tmp_path / "out").earlier == 0  # placed otherwise, it is another result
    (photos / "a.jpg").rename(photos / "b.jpg")
    with pytest.raises(UsageError, match=r"knows none of these photos: .* such as 'a\.jpg', and here 'b\.jpg'"):
        restore_photos(model, [photos], tmp_path / "out", manifest=tmp_path / "ds")

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dataset_tools import crops, degradations, image_io, metrics, mosaic_grid, pairs
from dataset_tools.archive import walk
from dataset_tools.faces import Face
from dataset_tools.manifest import Row
from dataset_tools.recipe import Recipe
from dataset_tools.staging import PhotoStager, sharpness
from tests.conftest import some

KEYPOINTS = ((0.35, 0.4), (0.65, 0.4), (0.5, 0.6), (0.5, 0.8), (0.1, 0.45), (0.9, 0.45))  # of a face box


class Found:
    """A face search that finds what it is told to: boxes as shares of the photo, with their scores."""

    def __init__(self, *faces: tuple[float, float, float, float, float]):
        self.faces = faces

    def detect(self, rgb: np.ndarray) -> list[Face]:
        height, width = rgb.shape[:2]
        found = []
        for x, y, w, h, score in self.faces:
            x, y, w, h = x * width, y * height, w * width, h * height
            found.append(Face((x, y, w, h), score, tuple((x + u * w, y + v * h) for u, v in KEYPOINTS)))
        return found

    def close(self) -> None:
        pass


def stage(tmp_path: Path, photo: np.ndarray | Path, recipe: Recipe, *faces: Any, format: str = "PNG") -> list[Row]:
    archive, staging = tmp_path / "archive", tmp_path / "staging"
    shutil.rmtree(archive, ignore_errors=True)
    archive.mkdir()
    staging.mkdir(exist_ok=True)
    if isinstance(photo, Path):
        shutil.copy(photo, archive)
    else:
        image_io.write(archive / f"photo.{format.lower()}", photo, format)
    (source,), _ = walk([archive])
    stager = PhotoStager(recipe, staging, Found(*faces) if faces else None)
    rows = stager((source,))
    stager.close()
    return rows


def halves(tmp_path: Path, row: Row) -> tuple[np.ndarray, np.ndarray]:
    return pairs.split(image_io.read(tmp_path / "staging" / row["pair"]).rgb8)


def large(samples: list[Path], width: int = 4000, height: int = 3000) -> np.ndarray:
    rgb = image_io.read(samples[0]).rgb8
    return cv2.resize(rgb[:576], (width, height), interpolation=cv2.INTER_CUBIC)


# --- no more is decoded than the crops need


@pytest.mark.parametrize(("share", "scales"), [(0.6, [4]), (0.2, [4, 2]), (0.07, [4, 1])])
def test_a_large_photo_is_decoded_at_the_scale_that_its_crops_need(
    samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, scales: list[int]
) -> None:
    rgb = large(samples)
    asked = []
    real = image_io.decode

    def decode(data, name, scale=1):  # type: ignore[no-untyped-def]
        asked.append(scale(4000, 3000) if callable(scale) else scale)
        return real(data, name, scale)

    with monkeypatch.context() as patch:
        patch.setattr(image_io, "decode", decode)
        photo, face = stage(tmp_path, rgb, Recipe(size=256), (0.4, 0.3, share * 0.75, share, 0.9), format="JPEG")
    assert asked == scales
    assert (photo["width"], photo["height"]) == (4000, 3000)
    assert face["box"] == pytest.approx([1600, 900, share * 3000, share * 3000], abs=0.01)
    _, b = halves(tmp_path, face)
    matrix = np.array(face["affine"])
    side = 256 / matrix[0, 0]
    assert abs(side - share * 3000 * 1.5) < 2 * scales[-1]
    left, top = (round(float(value)) for value in crops.transform(crops.invert(matrix), np.array([[-0.5, -0.5]]))[0] + 0.5)
    whole = crops.crop(rgb, crops.Square(left, top, round(side)), 256)
    assert np.abs(whole.astype(int) - b).mean() < 2.0


def test_tiles_are_decoded_finer_where_one_is_small(samples, tmp_path: Path) -> None:
    rows = stage(tmp_path, large(samples), Recipe(size=256, crop="tiles", tiles=6), format="JPEG")
    assert [row["status"] for row in rows] == ["kept"] * 7


# --- quality gates


@pytest.mark.parametrize(
    ("face", "options", "reason"),
    [
        ((0.3, 0.3, 0.4, 0.4, 0.55), {"confidence": 0.6}, "low_confidence"),
        ((0.3, 0.3, 0.2, 0.25, 0.9), {"min_face": 200}, "small_face"),
        ((-0.2, 0.3, 0.5, 0.5, 0.9), {}, "cut_by_frame"),
        ((0.3, 0.3, 0.05, 0.05, 0.9), {}, "too_small"),
        ((0.2, 0.2, 0.6, 0.6, 0.9), {"min_sharpness": 1e6}, "blurred"),
        ((0.2, 0.2, 0.6, 0.6, 0.9), {"min_sharpness": 1.0, "min_face": 400, "max_cut": 0.0}, None),
        ((-0.2, 0.3, 0.5, 0.5, 0.9), {"max_cut": 0.5}, None),
    ],
)
def test_gates(samples, tmp_path: Path, face: Any, options: dict, reason: str | None) -> None:
    photo, row = stage(tmp_path, samples[0], Recipe(size=128, **options), face)
    assert row["reason"] == reason
    assert photo["reason"] == ("no_crop_kept" if reason else None)
    assert (row["pair"] is None) == (reason is not None)
    assert ("sharpness" in row) == ("min_sharpness" in options)


def test_sharpness_falls_with_blur(samples) -> None:
    rgb = image_io.read(samples[0]).rgb8
    values = [sharpness(rgb), *(sharpness(cv2.GaussianBlur(rgb, (0, 0), sigma)) for sigma in (1, 2, 4))]
    assert values == sorted(values, reverse=True)
    assert sharpness(np.full((64, 64, 3), 90, np.uint8)) == 0


# --- alignment


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [20, -35, 90, 180])
def test_an_aligned_face_stands_upright(samples, tmp_path: Path, degrees: int) -> None:
    from dataset_tools.face_search import FaceSearch

    rgb = image_io.read(samples[3]).rgb8
    turn = cv2.getRotationMatrix2D((383.5, 383.5), -degrees, 0.8)
    rotated = cv2.warpAffine(rgb, turn, (768, 768), borderMode=cv2.BORDER_REFLECT)
    photo, row = stage(tmp_path, rotated, Recipe(size=256, align=True, search="thorough"))
    assert photo["status"] == "kept"
    _, b = halves(tmp_path, row)
    with FaceSearch("fast") as search:
        (face, *_) = search.detect(b)
    (right_x, right_y), (left_x, left_y) = face.keypoints[:2]
    assert abs(math.degrees(math.atan2(left_y - right_y, left_x - right_x))) < 6  # two detections, each good to some 3 degrees
    there = crops.transform(np.array(row["affine"]), np.array(row["keypoints"][:2]))
    assert abs(math.degrees(math.atan2(*(there[1] - there[0])[::-1]))) < 0.1
    assert there[1, 0] > there[0, 0]


# --- what is laid on the photo, not on the crop


def test_a_mosaic_on_the_photo_has_turned_and_fractional_cells_in_the_crop(samples, tmp_path: Path) -> None:
    rgb = image_io.read(samples[0]).rgb8
    recipe = Recipe(size=128, degrade=("mosaic:block=10,space=photo",))
    _, row = stage(tmp_path, rgb, recipe, (0.2, 0.2, 0.6, 0.6, 0.9))
    (record,) = row["degradations"]
    assert (record["name"], record["space"]) == ("mosaic", "photo")
    per_pixel = 1 / row["affine"][0][0]
    assert record["block"] == round(10 * per_pixel) == 54
    a, b = halves(tmp_path, row)
    left, top, width, height, scale = record["raster"]
    patch = rgb[top : top + height, left : left + width]
    grid = mosaic_grid.Grid(record["block"], record["phase_y"], record["phase_x"])
    means = mosaic_grid.cell_means(patch, grid)
    assert scale == 1
    painted = rgb.copy()
    painted[top : top + patch.shape[0], left : left + patch.shape[1]] = mosaic_grid.paint(means, grid, patch.shape[:2])
    x, y = (round(float(v)) for v in crops.transform(crops.invert(np.array(row["affine"])), np.array([[-0.5, -0.5]]))[0] + 0.5)
    assert np.array_equal(a, crops.crop(painted, crops.Square(x, y, round(128 * per_pixel)), 128))
    assert np.array_equal(b, crops.crop(rgb, crops.Square(x, y, round(128 * per_pixel)), 128))


def test_a_mosaic_may_be_on_the_photo_or_on_the_crop(samples, tmp_path: Path) -> None:
    recipe = Recipe(size=64, crop="tiles", tiles=30, degrade=("mosaic:block=9,space=random", "jpeg:quality=90"))
    rows = stage(tmp_path, large(samples, 400, 300), recipe)[1:]
    spaces = [row["degradations"][0].get("space", "crop") for row in rows]
    assert 5 <= spaces.count("photo") <= 25
    for row, space in zip(rows, spaces, strict=True):
        assert ("onto" in row["degradations"][0]) == (space == "photo")
        assert [record["name"] for record in row["degradations"]] == ["mosaic", "jpeg"]


@pytest.mark.parametrize("block", some([8], [100, 256]))
def test_a_record_of_the_photo_makes_the_same_input_again(samples, tmp_path: Path, block: int) -> None:
    """From photo and manifest alone; and however large the cells are, those at the edge are the mean of all their pixels."""
    rgb = large(samples, 1600, 1000)
    recipe = Recipe(size=256, crop="tiles", tiles=6, degrade=(f"mosaic:block={block},space=photo,phase=random",))
    photo, *rows = stage(tmp_path, rgb, recipe, format="PNG")
    assert photo["status"] == "kept"
    for row in rows:
        (record,) = row["degradations"]
        left, top, width, height, scale = record["raster"]
        seen = image_io.read(tmp_path / "archive" / "photo.png", scale).rgb8.copy()
        patch = np.ascontiguousarray(seen[top : top + height, left : left + width])
        seen[top : top + height, left : left + width] = degradations.apply(patch, [record])
        matrix = np.array(row["affine"])
        side = round(256 / matrix[0, 0])
        x, y = (round(float(v)) for v in crops.transform(crops.invert(matrix), np.array([[-0.5, -0.5]]))[0] + 0.5)
        a, _ = halves(tmp_path, row)
        assert np.array_equal(a, crops.crop(seen, crops.Square(x, y, side), 256, scale=scale))
        reach = -(-record["block"] // scale) if scale > 1 else record["block"]
        inner = (x // scale - left, y // scale - top, left + width - (x + side) // scale, top + height - (y + side) // scale)
        edges = (left, top, seen.shape[1] - left - width, seen.shape[0] - top - height)
        assert all(room >= reach or edge == 0 for room, edge in zip(inner, edges, strict=True))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_that_exif_turns_lies_on_the_same_pixels_at_every_scale(orientation: int, tmp_path: Path) -> None:
    """A camera's file whose sides are no multiples of 8: read at 1/8, a reversed side would begin with a part of a pixel."""
    from PIL import Image

    ys, xs = np.mgrid[0:1001, 0:1003]
    grey = (128 + 60 * np.sin(xs / 40) * np.cos(ys / 37) + xs / 30).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "turned.jpg", quality=97, exif=exif)
    whole = image_io.read(tmp_path / "turned.jpg").rgb8[..., 0].astype(float)
    small = image_io.read(tmp_path / "turned.jpg", 8)
    scale = small.info.scale
    assert scale == (8 if orientation in (1, 5) else 1)
    rows, columns = (side // scale for side in whole.shape)
    means = whole[: rows * scale, : columns * scale].reshape(rows, scale, columns, scale).mean((1, 3))
    assert np.abs(means - small.rgb8[:rows, :columns, 0]).max() < 3
    Image.fromarray(np.dstack([grey[:1000, :1000]] * 3)).save(tmp_path / "even.jpg", exif=exif)
    assert image_io.read(tmp_path / "even.jpg", 8).info.scale == 8  # as a camera's sides are


@pytest.mark.parametrize(("region", "tilt"), [("whole", 0), ("whole", 20), ("ellipse", 0), ("eyes", -30)])
def test_a_mosaic_on_the_photo_has_its_bicubic_baseline(samples, tmp_path: Path, region: str, tilt: float) -> None:
    """Turned and fractional cells too can be smoothed by anybody: a model must beat that."""
    rgb = image_io.read(samples[0]).rgb8
    turn = cv2.getRotationMatrix2D((383.5, 383.5), -tilt, 1.0)
    rgb = cv2.warpAffine(rgb, turn, (768, 768), borderMode=cv2.BORDER_REFLECT)
    recipe = Recipe(size=128, align=True, degrade=(f"mosaic:block=9,space=photo,phase=random,region={region}",))
    _, row = stage(tmp_path, rgb, recipe, (0.25, 0.2, 0.5, 0.6, 0.9))
    a, b = halves(tmp_path, row)
    given = metrics.baselines(a, row["degradations"])
    assert list(given) == ["input", "bicubic"]
    figures = {name: metrics.measure(image, b)["psnr"] for name, image in given.items()}
    assert figures["bicubic"] > figures["input"] + (0.2 if region == "eyes" else 0.7)
    if region == "eyes":  # what the mosaic does not cover is left alone
        assert np.array_equal(given["bicubic"][-40:], a[-40:])
        assert not np.array_equal(given["bicubic"], a)


def test_photo_steps_come_before_crop_steps(samples, tmp_path: Path) -> None:
    recipe = Recipe(size=128, degrade=("mosaic:block=8,space=photo", "grayscale"), align=True)
    _, row = stage(tmp_path, samples[0], recipe, (0.2, 0.2, 0.6, 0.6, 0.9))
    assert [record["name"] for record in row["degradations"]] == ["mosaic", "grayscale"]
    a, b = halves(tmp_path, row)
    assert np.array_equal(a[..., 0], a[..., 2])
    assert np.abs(a.mean() - b.mean()) < 5

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dataset_tools import image_io
from dataset_tools.errors import OutputError, UsageError
from dataset_tools.preview import MARK, write_preview
from dataset_tools.recipe import Recipe


@pytest.fixture
def archive(samples, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]
    (tmp_path / "archive").mkdir()
    for path in samples[:5]:
        shutil.copy(path, tmp_path / "archive")
    (tmp_path / "archive" / "broken.jpg").write_bytes(samples[0].read_bytes()[:5000])
    return tmp_path / "archive"


def test_a_sheet_of_some_photos(archive: Path, tmp_path: Path) -> None:
    recipe = Recipe(size=64, crop="tiles", tiles=2)
    rows = write_preview([archive], tmp_path / "p.png", recipe, 3).rows
    assert [row["kind"] for row in rows] == ["photo", "crop", "crop"] * 3
    assert len({row["source"] for row in rows}) == 3
    sheet = image_io.read(tmp_path / "p.png").rgb8
    assert sheet.shape[0] > 6 * 256
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".png"] == ["p.png"]
    other = write_preview([archive], tmp_path / "q.png", Recipe(size=64, crop="tiles", tiles=2, seed=5), 3).rows
    assert {row["source"] for row in other} != {row["source"] for row in rows}
    write_preview([archive], tmp_path / "q.png", recipe, 3)  # a preview may be written again
    assert (tmp_path / "p.png").read_bytes() == (tmp_path / "q.png").read_bytes()


def test_photos_that_give_pairs_come_first_and_the_reasons_are_told(archive: Path, tmp_path: Path) -> None:
    seen = write_preview([archive], tmp_path / "p.png", Recipe(size=256, min_face=10_000), 1)
    crops = [row["reason"] for row in seen.rows if row["kind"] == "face"]
    assert (len(seen.shown), set(crops)) == (1, {"small_face"})
    assert len(crops) == 5
    rgb = np.full((300, 300, 3), 90, np.uint8)
    for number in range(4):  # photos without a face, of which the order begins with one
        image_io.write(archive / f"{number}.png", rgb, "PNG")
    seen = write_preview([archive], tmp_path / "p.png", Recipe(size=256), 3)
    kept = [row["source"] for row in seen.rows if row["kind"] == "photo" and row["status"] == "kept"]
    assert seen.shown == kept
    assert len(kept) == 3
    assert any(row["reason"] == "no_face" for row in seen.rows)


@pytest.mark.parametrize("name", ["preview.jpg", "preview", "folder.png"])
def test_an_output_that_is_no_name_of_a_png(archive: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match="give the name of a PNG file, such as"):
        write_preview([archive], tmp_path / name, Recipe(size=64, crop="center"))


def test_what_is_no_preview_is_left_alone(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.png").write_bytes(b"years of work")
    with pytest.raises(OutputError, match="is no preview: give another name"):
        write_preview([archive], tmp_path / "thesis.png", Recipe(size=64, crop="center"))
    assert (tmp_path / "thesis.png").read_bytes() == b"years of work"
    assert MARK not in b"years of work"


def test_no_preview_inside_the_archive(archive: Path) -> None:
    before = sorted(archive.iterdir())
    with pytest.raises(UsageError, match="would lie inside the archive"):
        write_preview([archive], archive / "preview.png", Recipe(size=64, crop="center"))
    assert sorted(archive.iterdir()) == before


def test_an_archive_without_photos(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.txt").write_text("x")
    with pytest.raises(UsageError, match="holds no photo that can be read"):
        write_preview([tmp_path / "archive"], tmp_path / "p.png", Recipe(size=64, crop="center"))

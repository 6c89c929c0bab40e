"""report.html: every photo that went wrong is named with its reason, harmless whatever it is called, and bounded in size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_tools import image_io
from dataset_tools.build_report import PICTURES, write_report
from dataset_tools.manifest import Row, manifest_text, photo_row
from dataset_tools.report_pictures import KEPT, REJECTED, Pictures, corners, thumbnail
from dataset_tools.summary import FAILED
from tests.conftest import textured
from tests.test_card import face, info_of, pair_bytes, some_rows, summed
from tests.test_html import Reader

HOSTILE = "x/<script>alert(1)</script>.jpg"


def open_photo(source: str) -> np.ndarray | None:
    return np.full((120, 240, 3), 90, np.uint8)


def report(folder: Path, rows: list[Row], **more: Any) -> str:
    (folder / "manifest.jsonl").write_text(manifest_text(rows), "utf-8")
    opener, reader = more.pop("open_photo", open_photo), more.pop("read_pair", pair_bytes)
    write_report(folder, info_of(rows, **more), summed(rows), opener, reader)
    return (folder / "report.html").read_text("utf-8")


def test_it_tells_counts_and_reasons_and_shows_each(tmp_path: Path) -> None:
    page = report(tmp_path, some_rows())
    read = Reader(page)
    for text in (
        "6 files: 3 photos and 3 other files, no images.",
        "photos kept 1 (33.3%)",
        "3 faces found in them, which gave 2 pairs",
        "1 photo failed",
        "c.jpg ends too early",
        "1 photo rejected: no face found",
        "1 face rejected: too small",
        "face of 20 px, enlarged to 500%: too small",
        "2 pairs: A, the input, beside B, the original",
        "mosaic: square cells",
    ):
        assert text in read.text, text
    assert read.tags.count("img") == 4  # the photo without a face, the face, two pairs
    ids = {value for name, value in read.attributes if name == "id"}
    links = [value for name, value in read.attributes if name == "href"]
    assert links
    assert all(link and link[1:] in ids for link in links)
    assert str(tmp_path) not in page
    assert not [text for text in ("http:", "https:", "url(", "@import") if text in page]


def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    rows = [photo_row(HOSTILE, None, "failed", "empty", detail=HOSTILE), photo_row(HOSTILE + "2", "ab", "rejected", "no_face"),
            photo_row("caf%E9.jpg", "cd", "kept", group="1" * 64, split="val"), face(HOSTILE + "3", 0, "kept")]  # fmt: skip
    read = Reader(report(tmp_path, rows))
    assert "script" not in read.tags
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert read.text.count(HOSTILE) == 4


def test_many_photos_make_no_large_report(tmp_path: Path) -> None:
    words = [f"reason_{number}" for number in range(30)]
    rows = [photo_row(f"{word}-{n}.jpg", f"{word}{n}", "rejected", word) for word in words for n in range(40)]
    rows += [photo_row(f"f{n}.jpg", None, "failed", "empty", detail="no bytes") for n in range(FAILED + 7)]
    read = Reader(report(tmp_path, rows))
    assert 30 * 4 <= read.tags.count("img") <= PICTURES
    assert read.text.count("no bytes") == FAILED
    assert "… and 7 more, in manifest.jsonl" in read.text


def test_it_is_not_made_twice_and_what_it_holds_is_not_decoded_again(tmp_path: Path) -> None:
    opened: list[str] = []

    def opener(source: str) -> np.ndarray | None:
        opened.append(source)
        return open_photo(source)

    first = report(tmp_path, some_rows(), open_photo=opener)
    assert sorted(opened) == ["a.jpg", "b.jpg"]
    report(tmp_path, some_rows(), open_photo=opener)
    assert len(opened) == 2
    more = [*some_rows(), photo_row("new.jpg", "ff", "rejected", "no_face")]
    second = report(tmp_path, more, open_photo=opener)
    assert opened[2:] == ["new.jpg"]
    assert second != first
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert report(fresh, more) == second


def test_what_cannot_be_read_leaves_an_empty_place(tmp_path: Path) -> None:
    def gone(row: Row) -> bytes:
        raise OSError("gone")

    page = report(tmp_path, some_rows(), open_photo=lambda source: None, read_pair=gone)
    assert "<img" not in page
    assert page.count("no picture: the file cannot be read") == 4


def test_groups_show_what_was_tied_together(tmp_path: Path) -> None:
    rows = [
        photo_row(f"{folder}/{n}.jpg", f"{folder}{n}", "kept", group="0f" * 32, split="val") for folder in "xy" for n in (1, 2)
    ]
    rows.append(photo_row("alone.jpg", "99", "kept", group="1f" * 32, split="train"))
    read = Reader(report(tmp_path, rows))
    assert "1 group of two photos or more." in read.text
    assert "4 photos of 2 folders, in val" in read.text
    assert "alone.jpg" not in read.text


def test_a_duplicate_stands_beside_what_was_kept(tmp_path: Path) -> None:
    rows = [photo_row("a.jpg", "11", "kept", group="0f" * 32, split="val"),
            photo_row("b.jpg", "22", "rejected", "duplicate", duplicate_of="a.jpg")]  # fmt: skip
    read = Reader(report(tmp_path, rows))
    assert read.tags.count("img") == 2
    assert "the lower one was kept: a.jpg" in read.text


def test_outlines_are_at_the_box_and_turned_ones_at_the_crop() -> None:
    upright = {"box": [10.0, 20.0, 30.0, 40.0], "affine": [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]}
    assert corners(upright, 64).tolist() == [[9.5, 19.5], [39.5, 19.5], [39.5, 59.5], [9.5, 59.5]]
    turn = np.deg2rad(90)
    turned = {"box": [0, 0, 1, 1], "affine": [[np.cos(turn), -np.sin(turn), 99.0], [np.sin(turn), np.cos(turn), 0.0]]}
    # x' = 99 - y, y' = x: the crop's corner (-0.5, -0.5) is the source's (-0.5, 99.5)
    assert np.allclose(corners(turned, 64), [(-0.5, 99.5), (-0.5, 35.5), (63.5, 35.5), (63.5, 99.5)])
    assert corners({"box": None, "affine": None}, 64).shape == (0, 2)


def test_kept_faces_are_outlined_green_and_rejected_ones_orange(tmp_path: Path) -> None:
    rows = [
        {**face("a", 0, "kept"), "box": [40, 40, 160, 160]},
        {**face("a", 1, "rejected", "blurred"), "box": [280, 40, 160, 160]},
    ]
    photo = photo_row("a", "ab", "kept", width=480, height=240)
    picture = Pictures(open_photo, pair_bytes, 64).photo(photo, rows)
    data = re.search(r"base64,([^\"]+)", picture)
    assert data
    import base64

    shown = image_io.decode(base64.b64decode(data[1]), "x").rgb8.astype(int)
    assert np.abs(shown[59, 20] - KEPT).max() < 60
    assert np.abs(shown[59, 140] - REJECTED).max() < 60
    assert np.abs(shown[60, 60] - 90).max() < 12


@pytest.mark.parametrize(("height", "width"), [(96, 40), (2000, 1000)])
def test_a_thumbnail_is_upright_and_small(tmp_path: Path, height: int, width: int) -> None:
    path = tmp_path / "a.jpg"
    image_io.write(path, textured(3, height, width), "JPEG")
    rgb = thumbnail(path)
    assert rgb is not None
    assert rgb.shape == (240, round(240 * width / height), 3)
    path.write_bytes(path.read_bytes()[:50])
    assert thumbnail(path) is None
    assert thumbnail(tmp_path / "gone.jpg") is None

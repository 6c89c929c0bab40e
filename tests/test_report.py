"""What a job tells: counts that add up, the same in every file, on a page that stands alone."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataset_tools import image_io
from dataset_tools.errors import OutputError
from pipelines.mark import STATEMENT, mark
from pipelines.outputs import REPORT_FILES, STATE, check_file
from pipelines.pictures import for_page, of_page
from pipelines.report import LOCK, RestoreReport, begin, check_folder, is_ours, write
from pipelines.report_page import report_page
from pipelines.restore import Row, Shown
from tests.conftest import textured
from tests.test_html import Reader

HOSTILE = "<script>alert(1)</script>.jpg"
FIGURES = {"restored": {"psnr": 21.0, "ssim": 0.6, "l1": 9.0}, "input": {"psnr": 19.0, "ssim": 0.5, "l1": 12.0}}


def make(restored: int = 3, pictures: int = 2) -> RestoreReport:
    rows = [Row(f"{index}.png", f"{index}.png", "restored", width=16, height=12, resized=True, seconds=0.1, metrics=FIGURES)
            for index in range(restored)]  # fmt: skip
    rows.append(Row(HOSTILE, None, "failed", "truncated", f"{HOSTILE} is cut short"))
    images = {name: textured(1, 24, 24) for name in ("input", "restored", "original")}
    shown = [Shown(f"{index}.png", images, FIGURES) for index in range(pictures)]
    return RestoreReport(
        model={"name": "faces & co", "sha256": "ab" * 32, "card": {"size": 16, "recipe": ["mosaic:block=8"], "licence": "CC0"}},
        settings={"inputs": ["holiday"], "input": "pair"},
        rows=tuple(rows), no_images=("notes.txt", "<b>.xmp"), linked_folders=("round",),
        shown=tuple(shown), pictures={each.name: for_page(each) for each in shown},
    )  # fmt: skip


def test_counts_add_up_and_the_exit_code_tells() -> None:
    report = make()
    assert report.counts == {"files": 6, "not_images": 2, "restored": 3, "nothing_to_restore": 0, "failed": 1}
    assert report.files == report.not_images + report.restored + report.failed
    assert report.exit_code == 3
    assert report.figures == {name: pytest.approx(values) for name, values in FIGURES.items()}
    assert report.lines()[:3] == [
        "6 files: 3 restored, 1 failed, 2 not images",
        "failures.csv says which failed, and why",
        "not images: notes.txt, <b>.xmp",
    ]
    many = replace(report, no_images=("1", "2", "3\n", "4", "5"))
    assert "not images: 1, 2, 3\\n and 2 more, which report.json names" in many.lines()
    assert report.summary()["counts"] == report.counts
    json.dumps(report.summary())


def test_all_files_of_a_report_tell_the_same(tmp_path: Path) -> None:
    report = make()
    begin(tmp_path)
    write(tmp_path, report, report_page(report))
    assert set(os.listdir(tmp_path)) == set(REPORT_FILES)
    told = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert (told["format"], told["complete"], told["counts"]) == ("photomend restore report", True, report.counts)
    assert told["no_images"] == ["notes.txt", "<b>.xmp"]
    assert told["model"]["sha256"] == "ab" * 32
    assert told["statement"] == STATEMENT
    assert len(told["rows"]) == 4
    with open(tmp_path / "report.csv", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["source"] for row in rows] == ["0.png", "1.png", "2.png", HOSTILE]
    assert (rows[0]["restored_psnr"], rows[0]["input_l1"], rows[3]["restored_psnr"]) == ("21.0", "12.0", "")
    with open(tmp_path / "failures.csv", encoding="utf-8") as handle:
        assert list(csv.DictReader(handle)) == [{"source": HOSTILE, "reason": "truncated", "message": f"{HOSTILE} is cut short"}]
    sheet = image_io.read(tmp_path / "sheet.png").rgb8
    assert sheet.shape[1] == 2 * 28 + 3 * 192 + 2 * 14


def test_the_page_says_first_what_restored_content_is_and_obeys_no_name(tmp_path: Path) -> None:
    page = report_page(make())
    read = Reader(page)
    assert read.text.index("plausible invention") < read.text.index("Counts")
    assert "not evidence" in read.text
    assert read.tags.count("script") == 1  # our own, which the policy knows by its hash
    assert HOSTILE in read.text
    assert read.tags.count("img") == 2 * 3
    sources = [value for name, value in read.attributes if name == "src"]
    assert len(sources) == 6
    assert all(value and value.startswith("data:image/webp;base64,") for value in sources)
    assert [value for name, value in read.attributes if name == "href"] == [
        "#counts", "#against-the-originals", "#failures", "#photos", "#model", "#settings", "0.png", "1.png", "2.png"
    ]  # fmt: skip
    for text in (
        "1 more were restored and are listed without pictures",
        "Not images: notes.txt, <b>.xmp.",
        "Links to folders are not followed: round.",
        "16 × 12, resized for the model",
        "PSNR (dB) 21.000 (input 19.000)",
        *("faces & co", "ab" * 32, "CC0", "mosaic:block=8", "holiday"),
    ):
        assert text in read.text, text


def test_a_small_region_is_shown_near_by_and_framed_in_the_photo() -> None:
    before, after = textured(1, 600, 800), textured(2, 600, 800)
    regions = [{"box": [100, 300, 80, 60], "block": 8}, {"box": [700, 20, 20, 20], "block": 8}]
    near, restored, photo = of_page(for_page(Shown("a", {"input": before, "restored": after}), regions))
    assert [near.title, restored.title, photo.title] == ["input", "restored", "the photo"]
    assert (near.width, near.height) == (restored.width, restored.height) == (176, 176)  # 1.1 times 80 to each side of the middle
    window = before[330 - 88 : 330 + 88, 140 - 88 : 140 + 88].astype(int)
    assert np.abs(near.rgb().astype(int) - window).mean() < 12  # WEBP of noise
    assert (photo.width, photo.height) == (112, 84)
    large = [{"box": [100, 100, 500, 400], "block": 8}]
    assert [each.title for each in of_page(for_page(Shown("a", {"input": before, "restored": after}), large))] == [
        "input",
        "restored",
    ]


def test_a_report_without_failures_originals_or_photos(tmp_path: Path) -> None:
    report = RestoreReport({"name": "m", "sha256": "0", "card": {}}, {}, (Row("a.png", "a.png", "restored", width=1, height=1),))
    (tmp_path / "failures.csv").write_text("of an earlier job")
    begin(tmp_path)
    write(tmp_path, report, report_page(report))
    assert set(os.listdir(tmp_path)) == {"report.json", "report.csv", "report.html"}
    text = Reader((tmp_path / "report.html").read_text("utf-8")).text
    assert "Against the originals" not in text
    assert "Failures" not in text
    assert (report.exit_code, report.figures) == (0, {})


def test_a_folder_is_ours_from_the_first_moment_on(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    check_folder(folder)
    assert not is_ours(folder)
    begin(folder)
    assert is_ours(folder)
    check_folder(folder)
    (folder / "report.json").unlink()
    (folder / STATE).mkdir()
    (folder / STATE / LOCK).touch()
    assert is_ours(folder)
    (folder / STATE / LOCK).rename(folder / STATE / "lock")  # that of a dataset
    for text in ("", "[]", '{"format": "photomend dataset"}', "\udcff"):
        (folder / "report.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        assert not is_ours(folder)
        with pytest.raises(OutputError, match="is not empty and was not written by photomend restore"):
            check_folder(folder)


def test_a_file_is_ours_if_it_carries_the_mark(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    check_file(tmp_path / "new.png", photo)
    image_io.write(tmp_path / "ours.jpg", np.zeros((4, 4, 3), np.uint8), "JPEG", mark("m", "0"))
    check_file(tmp_path / "ours.jpg", photo)
    image_io.write(tmp_path / "theirs.jpg", np.zeros((4, 4, 3), np.uint8), "JPEG")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    for name in ("theirs.jpg", "folder.jpg", "dangling.jpg"):
        with pytest.raises(OutputError, match="exists and was not written by photomend"):
            check_file(tmp_path / name, photo)

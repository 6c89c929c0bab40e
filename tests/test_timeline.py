"""The strip and the animation of a run: every face and every step in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_tools import image_io
from dataset_tools.errors import OutputError
from dataset_tools.files import TEMPORARY
from dataset_tools.sheets import GUTTER, MARGIN
from pix2pix import timeline
from pix2pix.timeline import EACH, FIRST, FRAMES, LAST, SIDE, Timeline, early_denser, evenly
from tests.conftest import textured

INPUT, ORIGINAL = 7, 250


def face(level: int, size: int = SIDE) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def faces(level: int, count: int = 4, size: int = SIDE) -> list[np.ndarray]:
    """Grey ones that tell their step by their level, and their place by the level of red."""
    return [np.dstack([face(50 * place, size)[..., 0], *[face(level, size)[..., 0]] * 2]) for place in range(count)]


def drawn(folder: Path, steps: list[int], total: int, count: int = 4, size: int = SIDE) -> Timeline:
    line = Timeline(folder)
    for step in steps:
        line.add(step, faces(20 + step, count, size), f"{step}.00 dB")
    line.write(faces(INPUT, count, size), faces(ORIGINAL, count, size), total)
    return line


def cells(path: Path) -> np.ndarray:
    """What stands in the middle of every cell of a strip of 160 pixel faces, (rows, columns, 3)."""
    sheet = image_io.read(path).rgb8
    columns = (sheet.shape[1] - 2 * MARGIN + GUTTER) // (SIDE + GUTTER)
    inside = np.flatnonzero((sheet[:, MARGIN + SIDE // 2] == (0, INPUT, INPUT)).all(axis=1))
    rows = (sheet.shape[0] - inside[0]) // (SIDE + GUTTER)
    x = MARGIN + SIDE // 2 + (SIDE + GUTTER) * np.arange(columns)
    y = inside[0] + SIDE // 2 + (SIDE + GUTTER) * np.arange(rows)
    return sheet[y][:, x]


def moments(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """The pictures of an animation and their milliseconds."""
    pictures, durations = [], []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            pictures.append(np.array(image.convert("RGB")))
            durations.append(image.info["duration"])
        assert image.info["loop"] == 0
    return pictures, durations


def test_a_strip_for_each_face_and_a_column_for_each_step(tmp_path: Path) -> None:
    drawn(tmp_path, [10, 20, 40], 100)
    middle = cells(tmp_path / "timeline.png")
    assert middle.shape == (4, 5, 3)
    assert middle[0, :, 1].tolist() == [INPUT, 30, 40, 60, ORIGINAL]
    assert middle[:, 2, 0].tolist() == [0, 50, 100, 150]
    assert not list(tmp_path.rglob(TEMPORARY + "*"))


def test_titles_above_and_figures_under_their_columns(tmp_path: Path) -> None:
    drawn(tmp_path, [10, 20], 20)
    sheet = image_io.read(tmp_path / "timeline.png").rgb8
    ink = (sheet < 150).all(axis=2)
    column = [slice(MARGIN + n * (SIDE + GUTTER), MARGIN + n * (SIDE + GUTTER) + SIDE) for n in range(4)]
    top = np.flatnonzero((sheet[:, MARGIN + SIDE // 2] == (0, INPUT, INPUT)).all(axis=1))[0]
    bottom = top + 4 * SIDE + 3 * GUTTER
    assert [bool(ink[top - 22 : top - 2, each].any()) for each in column] == [True] * 4
    assert [bool(ink[bottom + 2 : bottom + 24, each].any()) for each in column] == [False, True, True, False]
    assert not ink[:MARGIN].any()
    assert not ink[bottom + 24 :].any()


def test_many_steps_become_ten_columns_and_sixty_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "SIDE", 16)
    steps = list(range(2, 202, 2))
    drawn(tmp_path, steps, 400, size=16)
    sheet = image_io.read(tmp_path / "timeline.png").rgb8
    assert (sheet.shape[1] - 2 * MARGIN + GUTTER) / (16 + GUTTER) == 12
    pictures, durations = moments(tmp_path / "timeline.webp")
    assert durations == [FIRST, *[EACH] * (FRAMES - 2), LAST]
    levels = [int(picture[-MARGIN - 8, MARGIN + 8, 1]) for picture in pictures]
    assert levels == pytest.approx([INPUT, *(20 + steps[index] for index in evenly(100, FRAMES - 1))], abs=6)


def test_early_steps_stand_denser() -> None:
    assert early_denser(80, 10) == [0, 1, 4, 9, 16, 24, 35, 48, 62, 79]
    assert early_denser(12, 10) == [0, 1, 2, 3, 4, 5, 6, 7, 9, 11]
    assert evenly(10, 4) == [0, 3, 6, 9]
    for choose in (early_denser, evenly):
        for count in range(300):
            chosen = choose(count, 10)
            assert chosen == sorted(set(chosen))
            assert chosen[:1] + chosen[-1:] == ([0, count - 1] if count else [])
            assert len(chosen) == min(count, 10)


@pytest.mark.parametrize("count", [1, 2])
def test_one_frame_of_few_faces(tmp_path: Path, count: int) -> None:
    drawn(tmp_path, [5], 100_000, count)
    assert cells(tmp_path / "timeline.png").shape == (count, 3, 3)
    pictures, durations = moments(tmp_path / "timeline.webp")
    assert durations == [FIRST, LAST]
    for picture, level in zip(pictures, (INPUT, 25), strict=True):  # in one place, however long what stands above
        assert picture[-MARGIN - SIDE + 3, MARGIN + 3].astype(int) == pytest.approx((0, level, level), abs=9)
        assert (picture[-MARGIN - SIDE - 4, MARGIN:-MARGIN] > 200).all()


def test_without_a_frame_nothing_is_drawn(tmp_path: Path) -> None:
    drawn(tmp_path, [], 100)
    assert list(tmp_path.iterdir()) == []


def test_resuming_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    drawn(parts, [10, 20, 30, 40], 60)
    again = Timeline(parts)
    again.rewind(20)
    assert again.steps() == [10, 20]
    assert sorted(path.name for path in again.frames.iterdir()) == [
        "step-000010.png", "step-000010.txt", "step-000020.png", "step-000020.txt",
    ]  # fmt: skip
    drawn(parts, [30, 50], 60)
    drawn(whole, [10, 20, 30, 50], 60)
    for path in whole.rglob("*.*"):
        assert path.read_bytes() == (parts / path.relative_to(whole)).read_bytes()
    Timeline(tmp_path / "new").rewind(0)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("size", "stored", "cell"), [(32, 32, 160), (64, 64, 128), (96, 96, 192), (160, 160, 160), (512, 160, 160)]
)
def test_sizes(tmp_path: Path, size: int, stored: int, cell: int) -> None:
    line = Timeline(tmp_path)
    line.add(1, [textured(number, size, size) for number in range(6)])
    line.write([textured(9, size, size)] * 6, [textured(8, size, size)] * 6, 1)
    assert image_io.read(line.frames / "step-000001.png").rgb8.shape == (stored, 4 * stored, 3)
    assert image_io.read(tmp_path / "timeline.png").rgb8.shape[1] == 2 * MARGIN + 3 * cell + 2 * GUTTER
    assert image_io.read(tmp_path / "timeline.webp").rgb8.shape[1] == 2 * MARGIN + 4 * cell + 3 * GUTTER


def test_a_frame_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    line = drawn(tmp_path, [10, 20, 30], 30)
    (line.frames / "step-000020.png").write_bytes(b"")
    line.write(faces(INPUT), faces(ORIGINAL), 30)
    assert cells(tmp_path / "timeline.png")[0, :, 1].tolist() == [INPUT, 30, 50, ORIGINAL]
    assert moments(tmp_path / "timeline.webp")[1] == [FIRST, 500, LAST]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"^cannot write "):
        Timeline(tmp_path / "file").add(1, faces(1))

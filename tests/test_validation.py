from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_tools import cells, image_io, metrics, mosaic_grid, pairs
from dataset_tools.dataset import PairRow, open_dataset
from dataset_tools.errors import DatasetError
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from pix2pix.pixels import to_float
from pix2pix.validation import SHOWN, Validation, better, unbeaten
from tests.conftest import textured
from tests.training import SIZE, mosaics

CELLS = Grid(8)
RECORD = {"name": "mosaic", "block": 8, "phase_y": 0, "phase_x": 0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mosaics(tmp_path_factory.mktemp("validation"))


def rows(folder: Path, count: int, record: list[dict[str, Any]] | None = None) -> list[PairRow]:
    """Pairs of a mosaic and what was under it."""
    made = []
    for number in range(count):
        b = textured(number, SIZE, SIZE)
        path = folder / f"{number}.png"
        image_io.write(path, pairs.stitch(paint(cell_means(b, CELLS), CELLS, (SIZE, SIZE)), b), "PNG")
        made.append(PairRow(path, None, [RECORD] if record is None else record, path.name, f"val/{path.name}"))
    return made


def test_images_are_chosen_by_name_not_by_order(dataset: Path) -> None:
    every = open_dataset(dataset).pairs("val") + open_dataset(dataset).pairs("train")
    one = Validation(every, SIZE, 4, "AtoB", 2)
    other = Validation(every[::-1], SIZE, 4, "AtoB", 2)
    assert len(one) == len(other) == 4
    assert all(np.array_equal(left, right) for left, right in zip(one.a, other.a, strict=True))
    assert all(np.array_equal(left, right) for left, right in zip(one.b, other.b, strict=True))
    fewer = Validation(every, SIZE, 3, "AtoB", 2)
    assert all(np.array_equal(left, right) for left, right in zip(fewer.a, one.a, strict=False))


def test_figures_are_means_of_the_metrics(tmp_path: Path) -> None:
    given = rows(tmp_path, 3)
    validation = Validation(given, SIZE, 9, "AtoB", 2, ("psnr", "ssim", "l1", "delta_e"))
    assert validation.mean(validation.b) == {"psnr": 100.0, "ssim": pytest.approx(1), "l1": 0.0, "delta_e": 0.0}
    black = [np.zeros((SIZE, SIZE, 3), np.uint8)] * 3
    expected = [
        metrics.measure(image, b, ("psnr", "ssim", "l1", "delta_e")) for image, b in zip(black, validation.b, strict=True)
    ]
    assert validation.mean(black) == {name: pytest.approx(np.mean([row[name] for row in expected])) for name in expected[0]}
    assert list(validation.figures) == ["input", "bicubic"]
    assert validation.figures["input"] == validation.mean(validation.a)
    assert validation.figures["bicubic"] == validation.mean([mosaic_grid.prior(a, CELLS) for a in validation.a])
    assert validation.figures["bicubic"]["psnr"] > validation.figures["input"]["psnr"]


def test_a_baseline_that_not_all_have_is_left_out(tmp_path: Path) -> None:
    given = rows(tmp_path, 3)
    (tmp_path / "other").mkdir()
    validation = Validation([*given, *rows(tmp_path / "other", 1, [])], SIZE, 9, "AtoB", 2)
    assert len(validation) == 4
    assert list(validation.figures) == ["input"]


def never(images: np.ndarray) -> np.ndarray:
    raise AssertionError("the model was asked")


@pytest.mark.parametrize("window", [0, 16])
def test_nothing_to_validate_on(window: int) -> None:
    validation = Validation([], SIZE, 9, "AtoB", 2, window=window)
    assert len(validation) == 0
    assert validation.figures == {}
    assert validation.restore(never) == []


def test_restoring_goes_in_batches_and_keeps_the_order(tmp_path: Path) -> None:
    validation = Validation(rows(tmp_path, 5), SIZE, 9, "AtoB", 2)
    seen: list[tuple[int, ...]] = []

    def generate(a: np.ndarray) -> np.ndarray:
        assert a.dtype == np.float32
        seen.append(a.shape)
        return -a

    restored = validation.restore(generate)
    assert seen == [(2, SIZE, SIZE, 3), (2, SIZE, SIZE, 3), (1, SIZE, SIZE, 3)]
    assert all(np.array_equal(image, 255 - a) for image, a in zip(restored, validation.a, strict=True))


def test_a_model_of_cells_is_given_those_that_the_pixels_tell_as_when_a_photo_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records of these pairs lie: whoever restores a photo has none. What it makes is laid back on the whole image."""
    lie = {"name": "mosaic", "block": 5, "phase_y": 1, "phase_x": 1}
    validation = Validation(rows(tmp_path, 5, [lie]), SIZE, 9, "AtoB", 2, window=16, stride=16)
    monkeypatch.setattr(cells, "estimated", lambda a: cells.of_grid(a, Grid(4)))
    seen: list[np.ndarray] = []

    def generate(a: np.ndarray) -> np.ndarray:
        assert a.dtype == np.float32
        seen.append(a)
        return -a

    restored = validation.restore(generate)
    assert [each.shape for each in seen] == [(2, 64, 64, 3), (2, 64, 64, 3), (1, 64, 64, 3)]  # 8 × 8 cells of 4 are of 8 then
    expected = [cells.even(cell_means(a, Grid(4))) for a in validation.a]
    assert np.array_equal(np.concatenate(seen), to_float(np.stack(expected)))
    assert all(np.array_equal(image[2::4, 2::4], 255 - a[2::4, 2::4]) for image, a in zip(restored, validation.a, strict=True))


def test_what_shows_no_mosaic_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validation = Validation(rows(tmp_path, 2), SIZE, 9, "AtoB", 2, window=16, stride=8)
    monkeypatch.setattr(cells, "estimated", lambda a: None)
    restored = validation.restore(never)
    assert all(np.array_equal(image, a) for image, a in zip(restored, validation.a, strict=True))


def test_a_model_of_cells_takes_multiples_of_its_stride(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "estimated", lambda a: cells.of_grid(a, Grid(11)))
    for stride, side in ((8, 24), (16, 32), (32, 32), (64, 64)):  # 3 × 3 cells
        validation = Validation(rows(tmp_path, 1), SIZE, 9, "AtoB", 2, window=16, stride=stride)
        shapes: list[tuple[int, ...]] = []
        (restored,) = validation.restore(lambda a, shapes=shapes: shapes.append(a.shape) or a)  # type: ignore[misc]
        assert shapes == [(1, side, side, 3)]
        assert restored.shape == (SIZE, SIZE, 3)


def test_the_sides_of_the_first_images_are_whole_or_windows_of_their_middle(tmp_path: Path) -> None:
    given = Validation(rows(tmp_path, 5), SIZE, 9, "AtoB", 2)
    inverse = [255 - b for b in given.b]
    for found, expected in zip(given.sides(inverse), (given.a, given.b, inverse), strict=True):
        assert found.dtype == np.float32
        assert np.array_equal(found, to_float(np.stack(expected[:2])))
    assert [len(each) for each in Validation(rows(tmp_path, 1), SIZE, 9, "AtoB", 2).sides(inverse[:1])] == [1, 1, 1]

    windows = Validation(rows(tmp_path, 5), SIZE, 9, "AtoB", 2, window=16, stride=8)
    for found, expected in zip(windows.sides(inverse), (given.a, given.b, inverse), strict=True):
        assert found.dtype == np.float32
        assert np.array_equal(found, to_float(np.stack(expected[:2])[:, 8:24, 8:24]))


def test_the_windows_of_the_sides_are_by_the_record(tmp_path: Path) -> None:
    """As those that the networks train on."""
    record = {"name": "mosaic", "block": 5, "phase_y": 1, "phase_x": 1}
    validation = Validation(rows(tmp_path, 3, [record]), SIZE, 9, "AtoB", 2, window=24, stride=8)
    found = validation.sides(validation.a)
    for index, (a, b) in enumerate(zip(validation.a[:2], validation.b[:2], strict=True)):
        expected = cells.window(b, cells.recorded(a, [record]), 24)
        assert np.array_equal(found[0][index], to_float(expected[0]))
        assert np.array_equal(found[1][index], to_float(expected[1]))
        assert not np.array_equal(found[2][index], found[1][index])  # A there, at the same scale


def test_diversity_falls_where_all_faces_become_one(tmp_path: Path) -> None:
    validation = Validation(rows(tmp_path, 4), SIZE, 9, "AtoB", 2)
    assert validation.diversity(validation.b) == pytest.approx(1)
    assert validation.diversity([validation.b[0]] * 4) == 0
    pale = [np.rint(128 + (b.astype(float) - 128) / 4).astype(np.uint8) for b in validation.b]
    assert validation.diversity(pale) == pytest.approx(0.25, abs=0.02)
    one = Validation(rows(tmp_path, 1), SIZE, 9, "AtoB", 2)
    assert one.diversity(one.b) == one.diversity(one.a) == 1  # of one image nothing can be said: no alarm


def test_a_grid_shows_input_baseline_restored_and_original(tmp_path: Path) -> None:
    validation = Validation(rows(tmp_path, SHOWN + 2), SIZE, 99, "AtoB", 4)
    sheet = validation.grid(validation.b, "tiny, step 7")
    fewer = Validation(rows(tmp_path, 1), SIZE, 99, "AtoB", 4)
    single = fewer.grid(fewer.b, "tiny, step 7")
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == single.shape[1]
    places = [place for place in range(sheet.shape[0]) if (sheet[place] != sheet[0, 0]).any()]
    assert len(places) > 5 * len([place for place in range(single.shape[0]) if (single[place] != single[0, 0]).any()]) / 2
    without = Validation(rows(tmp_path, 1, []), SIZE, 99, "AtoB", 4)
    assert without.grid(without.b, "tiny, step 7").shape[1] < single.shape[1]  # no column for a baseline that there is not


def test_which_figures_are_better() -> None:
    low, high = ({"restored": {"psnr": value, "delta_e": value}} for value in (1.0, 2.0))
    assert better("psnr")(high, low)
    assert not better("psnr")(low, high)
    assert not better("psnr")(low, low)  # the first of equals stays the best
    assert better("delta_e")(low, high)
    assert not better("delta_e")(high, low)


def test_what_a_model_does_not_beat() -> None:
    figures = {"restored": {"psnr": 20.0, "l1": 5.0}, "raw": {"psnr": 30.0, "l1": 1.0}, "input": {"psnr": 19.0, "l1": 5.0},
               "bicubic": {"psnr": 20.0, "l1": 9.0}}  # fmt: skip
    assert unbeaten(figures, "psnr") == ["bicubic"]  # as good is not better; raw is no baseline
    assert unbeaten(figures, "l1") == ["input"]


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    given = rows(tmp_path, 2)
    with pytest.raises(DatasetError, match="is 64×32 pixels, but the pairs of this dataset are 128×64"):
        Validation(given, 64, 9, "AtoB", 2)

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_tools import cells, degradations, image_io, mosaic_grid, pairs
from dataset_tools.dataset import PairRow
from dataset_tools.errors import DatasetError, Unreadable, UsageError
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from pix2pix.batches import Batch, Batches, read_pair
from tests.conftest import textured

MOSAIC = [degradations.parse("mosaic:block=8")]


@pytest.fixture
def rows(tmp_path: Path) -> list[PairRow]:
    """Five pairs whose A is the negative of B."""
    made = []
    for number in range(5):
        b = textured(number, 32, 32)
        path = tmp_path / f"{number}.png"
        image_io.write(path, pairs.stitch(255 - b, b), "PNG")
        made.append(PairRow(path, None, [], path.name, path.name))
    return made


CELLS = Grid(8)


def mosaic_rows(folder: Path, recorded: Grid = CELLS) -> list[PairRow]:
    """Four pairs whose A is B behind cells of 8 pixels; the record may claim another grid."""
    made = []
    for number in range(4):
        b = textured(number, 32, 32)
        path = folder / f"mosaic{number}.png"
        image_io.write(path, pairs.stitch(paint(cell_means(b, CELLS), CELLS, (32, 32)), b), "PNG")
        record = {"name": "mosaic", "block": recorded.block, "phase_y": recorded.phase_y, "phase_x": recorded.phase_x}
        made.append(PairRow(path, None, [record], path.name, path.name))
    return made


def same(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_epoch_holds_every_pair_once(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 1, seed=3)
    for epoch in range(3):
        seen = [batches.at(epoch * 5 + place).b[0] for place in range(5)]
        expected = [textured(number, 32, 32) for number in range(5)]
        assert sorted(image.sum() for image in seen) == sorted(image.sum() for image in expected)
    assert [batches.at(step).b.sum() for step in range(5)] != [batches.at(step).b.sum() for step in range(5, 10)]


def test_a_batch_depends_on_seed_and_step_alone(rows: list[PairRow]) -> None:
    whole = Batches(rows, 32, 3, seed=1, jitter=4, flip=True)
    stream = list(whole.stream(0, 8))
    later = list(Batches(rows, 32, 3, seed=1, jitter=4, flip=True, cache_bytes=0).stream(5, 8))
    for batch, again in zip(stream[5:], later, strict=True):
        assert batch.a.dtype == batch.b.dtype == np.uint8
        assert batch.a.shape == batch.b.shape == (3, 32, 32, 3)
        assert same(batch, again)
    other = Batches(rows, 32, 3, seed=2, jitter=4, flip=True).at(5)
    assert not np.array_equal(other.a, stream[5].a)


def test_both_halves_are_augmented_alike(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 5, seed=0, jitter=0, flip=True)
    flipped = 0
    for step in range(6):
        a, b = batches.at(step)
        assert np.array_equal(a, 255 - b)
        flipped += sum(not any(np.array_equal(image, textured(n, 32, 32)) for n in range(5)) for image in b)
    assert 5 < flipped < 25


def test_one_draw_of_jitter_and_flip_for_both(tmp_path: Path) -> None:
    batches = Batches(mosaic_rows(tmp_path), 32, 4, seed=0, jitter=6, flip=True)
    originals = [textured(number, 32, 32) for number in range(4)]
    grids = [paint(cell_means(b, CELLS), CELLS, (32, 32)) for b in originals]

    def moved(image: np.ndarray) -> list[np.ndarray]:
        large = cv2.resize(image, (38, 38), interpolation=cv2.INTER_CUBIC)
        cuts = [large[y : y + 32, x : x + 32] for y in range(7) for x in range(7)]
        return [*cuts, *(cut[:, ::-1] for cut in cuts)]

    places = set()
    for step in range(5):
        batch = batches.at(step)
        for a, b in zip(batch.a, batch.b, strict=True):
            (which, place), = [(n, k) for n, image in enumerate(originals) for k, cut in enumerate(moved(image))
                               if np.array_equal(cut, b)]  # fmt: skip
            assert np.array_equal(moved(grids[which])[place], a)
            places.add(place)
    assert len(places) > 10


@pytest.mark.parametrize("jitter", [0, 7])
def test_anew_lays_the_recipe_on_what_the_augmentation_left(rows: list[PairRow], jitter: int) -> None:
    batches = Batches(rows, 32, 5, seed=0, jitter=jitter, flip=True, anew=MOSAIC)
    seen = set()
    for step in range(6):
        batch = batches.at(step)
        for a, b in zip(batch.a, batch.b, strict=True):
            assert np.array_equal(a, paint(cell_means(b, CELLS), CELLS, (32, 32)))
            seen.add(b.tobytes())
    assert len(seen) == 10 if jitter == 0 else len(seen) > 25  # each pair as it is and mirrored; of the others hardly two alike


def test_anew_draws_another_mosaic_each_time(rows: list[PairRow]) -> None:
    batches = Batches(rows[:1], 32, 1, seed=0, anew=[degradations.parse("mosaic:block=4..8,phase=random")])
    seen = {batches.at(step).a.tobytes() for step in range(20)}
    assert len(seen) > 15
    assert len({batches.at(step).b.tobytes() for step in range(20)}) == 1
    blocks = {grid.block for step in range(20) if (grid := mosaic_grid.estimate(batches.at(step).a[0]))}
    assert len(blocks) > 2


# --- windows, for a model that starts from cells


def of_the_cells(image: np.ndarray) -> np.ndarray:
    """The mean of each square of 8 pixels: (…, H, W, 3) uint8 -> (…, H / 8, W / 8, 3)."""
    *count, height, width, _ = image.shape
    return np.asarray(image.reshape(*count, height // 8, 8, width // 8, 8, 3).mean((-4, -2), np.float64))


def photos(folder: Path, size: int, count: int = 4) -> list[PairRow]:
    """Pairs whose A is worth nothing: it is to be laid anew."""
    made = []
    for number in range(count):
        path = folder / f"photo{number}.png"
        b = textured(number, size, size)
        image_io.write(path, pairs.stitch(255 - b, b), "PNG")
        made.append(PairRow(path, None, [], path.name, path.name))
    return made


@pytest.mark.parametrize("recipe", [
    "mosaic:block=8", "mosaic:block=4..24,phase=random", "mosaic:block=5..12,phase=random,space=random",
])  # fmt: skip
def test_the_cells_of_a_window_are_the_means_of_the_original_there(tmp_path: Path, recipe: str) -> None:
    """Whatever the size of the cells and wherever they lie: to the model all are of 8 pixels, from the corner on."""
    rows = photos(tmp_path, 64)
    batches = Batches(rows, 64, 4, seed=0, jitter=6, flip=True, anew=[degradations.parse(recipe)], window=32)
    off = []
    for step in range(20):
        a, b = batches.at(step)
        assert a.shape == b.shape == (4, 32, 32, 3)
        assert a.dtype == b.dtype == np.uint8
        assert a.flags.c_contiguous
        assert b.flags.c_contiguous
        assert np.array_equal(a, a[:, ::8, ::8].repeat(8, axis=1).repeat(8, axis=2))
        off.append(np.abs(of_the_cells(b) - a[:, ::8, ::8]))
        assert (b.std(axis=(1, 2)) > a.std(axis=(1, 2))).all()  # there is more in it than the means
    assert np.max(off) < (1.5 if "space" not in recipe else 4)  # through a crop, the middle of a cell stands for its mean
    assert np.quantile(off, 0.99) < 1.5
    assert np.mean(off) < 0.5


def test_a_mosaic_that_its_recipe_leaves_out_at_times_is_no_end(tmp_path: Path) -> None:
    """What shows none is taken for a mosaic of 8 pixels."""
    anew = [degradations.parse("mosaic:block=8,p=0.5"), degradations.parse("grayscale")]
    batches = Batches(photos(tmp_path, 64), 64, 4, seed=0, anew=anew, window=64)
    for step in range(8):
        a, b = batches.at(step)
        luma = b.astype(float) @ [0.299, 0.587, 0.114]
        assert np.abs(of_the_cells(luma[..., None].repeat(3, axis=-1)) - a[:, ::8, ::8]).max() < 1.5


@pytest.mark.parametrize("flip", [False, True])
def test_a_window_of_a_dataset_as_it_is_lies_anywhere(tmp_path: Path, flip: bool) -> None:
    """Cells of 8 pixels from the corner on are cut as they are; nothing is enlarged, whatever the jitter."""
    batches = Batches(mosaic_rows(tmp_path), 32, 4, seed=0, flip=flip, jitter=9, window=16)
    originals = [textured(number, 32, 32) for number in range(4)]
    places = set()
    for step in range(40):
        batch = batches.at(step)
        assert batch.a.shape == batch.b.shape == (4, 16, 16, 3)
        for a, b in zip(batch.a, batch.b, strict=True):
            found = [
                (n, y, x, turned) for n, image in enumerate(originals) for y in (0, 8, 16) for x in (0, 8, 16)
                for turned in (1, -1) if np.array_equal(image[y : y + 16, x : x + 16][:, ::turned], b)
            ]  # fmt: skip
            ((n, y, x, turned),) = found
            grid = paint(cell_means(originals[n], CELLS), CELLS, (32, 32))
            assert np.array_equal(grid[y : y + 16, x : x + 16][:, ::turned], a)
            places.add(found[0])
    assert len(places) > (50 if flip else 30)  # of 72 and 36
    assert {turned for *_, turned in places} == ({1, -1} if flip else {1})


def test_what_cannot_be_laid_anew_has_the_cells_of_its_record(tmp_path: Path) -> None:
    """Also where the pixels would tell others. 6 × 6 of them are whole: a window of as many leaves nothing to draw."""
    grid = Grid(5, 1, 2)
    rows = mosaic_rows(tmp_path, recorded=grid)
    batches = Batches(rows, 32, 4, seed=0, window=48)
    batch = batches.at(0)
    for a, b in zip(batch.a, batch.b, strict=True):
        number = int(np.argmin([np.abs(cv2.resize(b, (30, 30)) - textured(n, 32, 32)[1:31, 2:].astype(float)).mean()
                                for n in range(4)]))  # fmt: skip
        original = textured(number, 32, 32)
        mosaic = paint(cell_means(original, CELLS), CELLS, (32, 32))
        expected = cells.window(original, cells.recorded(mosaic, rows[number].degradations), 48)
        assert np.array_equal(a, expected[0])
        assert np.array_equal(b, expected[1])
        assert np.array_equal(a[::8, ::8], cell_means(mosaic, grid)[1:7, 1:7])


@pytest.mark.parametrize("seen", [Grid(4), None])
def test_a_classic_dataset_has_the_cells_that_its_pixels_tell(
    rows: list[PairRow], monkeypatch: pytest.MonkeyPatch, seen: Grid | None
) -> None:
    monkeypatch.setattr(cells, "estimated", lambda a: seen and cells.of_grid(a, seen))
    grid = seen or CELLS  # what shows none is taken for one of 8
    batch = Batches(rows, 32, 5, seed=0, window=8 * 32 // grid.block).at(0)
    found = {a[::8, ::8].tobytes() for a in batch.a}
    assert found == {cell_means(255 - textured(number, 32, 32), grid).tobytes() for number in range(5)}


def test_few_cells_are_mirrored(rows: list[PairRow]) -> None:
    batch = Batches(rows, 32, 5, seed=0, anew=[degradations.parse("mosaic:block=16")], window=32).at(0)
    for image in batch:
        assert image.shape == (5, 32, 32, 3)
        assert np.array_equal(image[:, :, 16:], image[:, :, 15::-1])
        assert np.array_equal(image[:, 16:], image[:, 15::-1])
    assert np.abs(of_the_cells(batch.b) - batch.a[:, ::8, ::8]).max() < 1.5


WINDOWS = {"anew": MOSAIC, "window": 16, "jitter": 4, "flip": True}


@pytest.mark.parametrize("options", [{}, WINDOWS, {"window": 16, "flip": True}])
def test_the_parts_of_several_workers_are_the_whole_batch(rows: list[PairRow], options: dict[str, object]) -> None:
    whole = Batches(rows, 32, 4, seed=0, **options)  # type: ignore[arg-type]
    parts = [Batches(rows, 32, 4, seed=0, part=(i, 2), **options) for i in range(2)]  # type: ignore[arg-type]
    for step in range(6):
        shares = [part.at(step) for part in parts]
        assert [share.a.shape[0] for share in shares] == [2, 2]
        for name in ("a", "b"):
            halves = [getattr(share, name) for share in shares]
            assert np.array_equal(np.concatenate(halves), getattr(whole.at(step), name))
    first, second = ({image.tobytes() for image in part.at(0).b} for part in parts)
    assert len(first) == len(second) == 2
    assert not first & second


def test_beyond_the_cache_pairs_lie_in_a_file_without_a_name(rows: list[PairRow], tmp_path: Path) -> None:
    spill = tmp_path / "run"
    spill.mkdir()
    large = Batches(rows, 32, 2, seed=0, jitter=4)
    small = Batches(rows, 32, 2, seed=0, jitter=4, cache_bytes=2 * 32 * 32 * 6, spill=spill)
    for step in range(10):
        assert same(small.at(step), large.at(step))
    assert len(small._store.kept) == 2
    assert small._store.mapped is not None
    assert small._store.mapped.shape == (3, 2, 32, 32, 3)  # no more than what does not fit
    assert sorted([*small._store.places, *small._store.kept]) == [0, 1, 2, 3, 4]
    assert list(spill.iterdir()) == []
    for row in rows:
        row.path.unlink()
    assert same(small.at(0), large.at(0))  # nothing is decoded any more


@pytest.mark.parametrize(("free", "taken"), [(2 * 3 * 32 * 32 * 6 - 1, False), (2 * 3 * 32 * 32 * 6, True)])
def test_the_file_leaves_room_for_checkpoints(
    rows: list[PairRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, taken: bool
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: types.SimpleNamespace(free=free))
    small = Batches(rows, 32, 5, seed=0, cache_bytes=2 * 32 * 32 * 6, spill=tmp_path)
    assert same(small.at(0), Batches(rows, 32, 5, seed=0).at(0))
    assert (small._store.mapped is not None) == taken


@pytest.mark.parametrize("broken", ["fallocate", "file"])
def test_no_room_for_the_file_means_decoding_each_time(
    rows: list[PairRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = {"fallocate": (os, "posix_fallocate"), "file": (tempfile, "TemporaryFile")}[broken]
    monkeypatch.setattr(*place, full)
    small = Batches(rows, 32, 2, seed=0, cache_bytes=2 * 32 * 32 * 6, spill=tmp_path)
    large = Batches(rows, 32, 2, seed=0)
    for step in range(10):
        assert same(small.at(step), large.at(step))
    assert small._store.mapped is None
    assert len(small._store.kept) == 2
    rows[0].path.unlink()
    rows[1].path.unlink()
    rows[2].path.unlink()
    with pytest.raises(Unreadable):  # of which two at most are in memory
        list(small.stream(0, 5))


def test_the_cache_is_bounded(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 1, seed=0, cache_bytes=2 * 32 * 32 * 6)
    for step in range(10):
        batches.at(step)
    assert len(batches._store.kept) == 2
    anew = Batches(rows, 32, 1, seed=0, cache_bytes=4 * 32 * 32 * 3, anew=MOSAIC)  # of which B alone is kept
    for step in range(10):
        anew.at(step)
    assert len(anew._store.kept) == 4


def test_a_stream_is_what_at_gives_however_far_it_looks_ahead(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 2, seed=0, jitter=3, flip=True, anew=MOSAIC, window=16, cache_bytes=0)
    for ahead in (1, 3, 30):
        for start, stop in ((0, 7), (5, 12), (4, 4)):
            stream = list(batches.stream(start, stop, ahead=ahead))
            assert len(stream) == stop - start
            assert all(same(batch, batches.at(step)) for step, batch in enumerate(stream, start))


def test_a_stream_that_is_left_ends_its_threads(rows: list[PairRow]) -> None:
    before = threading.active_count()
    for _ in Batches(rows, 32, 2, seed=0).stream(0, 1000, ahead=3):
        break
    assert threading.active_count() == before


HASH = """
import hashlib, sys
from pathlib import Path
from dataset_tools import degradations
from dataset_tools.dataset import PairRow
from pix2pix.batches import Batches
rows = [PairRow(Path(p), None, [], p, p) for p in sys.argv[1:]]
batches = Batches(rows, 32, 3, seed=5, jitter=4, flip=True, window=16,
                  anew=[degradations.parse("mosaic:block=4..8,phase=random")])
print(hashlib.sha256(b"".join(side.tobytes() for step in range(4) for side in batches.at(step))).hexdigest())
"""


@pytest.mark.slow
def test_another_process_draws_the_same(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 3, seed=5, jitter=4, flip=True, window=16,
                      anew=[degradations.parse("mosaic:block=4..8,phase=random")])  # fmt: skip
    data = b"".join(side.tobytes() for step in range(4) for side in batches.at(step))
    line = [sys.executable, "-c", HASH, *(str(row.path) for row in rows)]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert done.stdout.strip() == hashlib.sha256(data).hexdigest()


def test_direction(rows: list[PairRow]) -> None:
    a, b = read_pair(rows[0], 32)
    other_a, other_b = read_pair(rows[0], 32, "BtoA")
    assert np.array_equal(a, other_b)
    assert np.array_equal(b, other_a)
    batch, other = (Batches(rows, 32, 2, seed=0, direction=direction).at(0) for direction in ("AtoB", "BtoA"))
    assert np.array_equal(batch.a, other.b)
    assert np.array_equal(batch.b, other.a)


def test_bad_use(rows: list[PairRow], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="train split is empty"):
        Batches([], 32, 1, seed=0)
    with pytest.raises(UsageError, match=r"^a batch takes 8 pairs, but the train split has only 5: give --batch 5 or less$"):
        Batches(rows, 32, 8, seed=0)
    with pytest.raises(UsageError, match=r"^a batch takes 8 pairs, but the train split has only 1: give --batch 1$"):
        Batches(rows[:1], 32, 8, seed=0)
    with pytest.raises(UsageError, match="a batch of 4 cannot be shared by 3 workers: give a --batch that is a multiple of 3"):
        Batches(rows, 32, 4, seed=0, part=(1, 3))
    image_io.write(tmp_path / "odd.png", textured(1, 32, 48), "PNG")
    odd = PairRow(tmp_path / "odd.png", None, [], "odd.png", "odd.png")
    with pytest.raises(
        DatasetError, match=r"odd\.png is 48×32 pixels, but the pairs of this dataset are 64×32: all must be of one size"
    ):
        read_pair(odd, 32)
    with pytest.raises(DatasetError, match=r"odd\.png is 48×32 pixels"):  # also where a thread has loaded it
        list(Batches([*rows, odd], 32, 1, seed=0).stream(0, 6, ahead=3))

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

from dataset_tools import degradations, image_io, mosaic_grid, pairs, priors
from dataset_tools.errors import DatasetError, Unreadable, UsageError
from dataset_tools.manifest import PairRow
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
    return all((a is b is None) or np.array_equal(a, b) for a, b in zip(one, other, strict=True))


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
        assert batch.prior is None
        assert same(batch, again)
    other = Batches(rows, 32, 3, seed=2, jitter=4, flip=True).at(5)
    assert not np.array_equal(other.a, stream[5].a)


def test_both_halves_are_augmented_alike(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 5, seed=0, jitter=0, flip=True)
    flipped = 0
    for step in range(6):
        a, b, _ = batches.at(step)
        assert np.array_equal(a, 255 - b)
        flipped += sum(not any(np.array_equal(image, textured(n, 32, 32)) for n in range(5)) for image in b)
    assert 5 < flipped < 25


def test_one_draw_of_jitter_and_flip_for_all_three(tmp_path: Path) -> None:
    """With the record of the grid and the smooth image unmoved, A, B and the prior would not fit each other any more."""
    batches = Batches(mosaic_rows(tmp_path), 32, 4, seed=0, jitter=6, flip=True, prior=True)
    originals = [textured(number, 32, 32) for number in range(4)]
    grids = [paint(cell_means(b, CELLS), CELLS, (32, 32)) for b in originals]
    smooth = [mosaic_grid.prior(a, CELLS) for a in grids]

    def moved(image: np.ndarray) -> list[np.ndarray]:
        large = cv2.resize(image, (38, 38), interpolation=cv2.INTER_CUBIC)
        cuts = [large[y : y + 32, x : x + 32] for y in range(7) for x in range(7)]
        return [*cuts, *(cut[:, ::-1] for cut in cuts)]

    places = set()
    for step in range(5):
        batch = batches.at(step)
        assert batch.prior is not None
        for a, b, prior in zip(batch.a, batch.b, batch.prior, strict=True):
            (which, place), = [(n, k) for n, image in enumerate(originals) for k, cut in enumerate(moved(image))
                               if np.array_equal(cut, b)]  # fmt: skip
            assert np.array_equal(moved(grids[which])[place], a)
            assert np.array_equal(moved(smooth[which])[place], prior)
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


def test_half_of_the_priors_are_by_the_record_half_by_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priors, "estimated", lambda a: mosaic_grid.prior(a, CELLS))
    batches = Batches(mosaic_rows(tmp_path, recorded=Grid(5, 1, 2)), 32, 4, seed=0, prior=True)
    told = {"recorded": 0, "estimated": 0}
    for step in range(50):
        batch = batches.at(step)
        assert batch.prior is not None
        assert batch.prior.dtype == np.uint8
        for a, prior in zip(batch.a, batch.prior, strict=True):
            smooth = {"recorded": mosaic_grid.prior(a, Grid(5, 1, 2)), "estimated": mosaic_grid.prior(a, CELLS)}
            (by,) = [name for name, image in smooth.items() if np.array_equal(image, prior)]
            told[by] += 1
    assert sum(told.values()) == 200
    assert 75 < told["recorded"] < 125


def test_a_prior_without_a_record_is_what_the_pixels_tell(rows: list[PairRow], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaic_grid, "estimate", lambda a: None)
    batches = Batches(rows, 32, 5, seed=0, flip=True, prior=True)
    for step in range(4):
        batch = batches.at(step)
        assert batch.prior is not None
        assert np.array_equal(batch.prior, batch.a)


def test_a_prior_anew_is_that_of_the_new_mosaic(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 5, seed=0, jitter=5, flip=True, anew=MOSAIC, prior=True)
    fitting = 0
    for step in range(8):
        batch = batches.at(step)
        assert batch.prior is not None
        for a, prior in zip(batch.a, batch.prior, strict=True):
            fitting += np.array_equal(prior, mosaic_grid.prior(a, CELLS))
    assert fitting >= 30  # half of them by the record; the others where the estimate is right


@pytest.mark.parametrize("options", [{}, {"anew": MOSAIC, "prior": True, "jitter": 4, "flip": True}])
def test_the_parts_of_several_workers_are_the_whole_batch(rows: list[PairRow], options: dict[str, object]) -> None:
    whole = Batches(rows, 32, 4, seed=0, **options)  # type: ignore[arg-type]
    parts = [Batches(rows, 32, 4, seed=0, part=(i, 2), **options) for i in range(2)]  # type: ignore[arg-type]
    for step in range(6):
        shares = [part.at(step) for part in parts]
        assert [share.a.shape[0] for share in shares] == [2, 2]
        for name in ("a", "b", *(["prior"] if options else [])):
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
    batches = Batches(rows, 32, 2, seed=0, jitter=3, flip=True, anew=MOSAIC, prior=True, cache_bytes=0)
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
from dataset_tools.manifest import PairRow
from pix2pix.batches import Batches
rows = [PairRow(Path(p), None, [], p, p) for p in sys.argv[1:]]
batches = Batches(rows, 32, 3, seed=5, jitter=4, flip=True, prior=True,
                  anew=[degradations.parse("mosaic:block=4..8,phase=random")])
print(hashlib.sha256(b"".join(side.tobytes() for step in range(4) for side in batches.at(step))).hexdigest())
"""


def test_another_process_draws_the_same(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 3, seed=5, jitter=4, flip=True, prior=True,
                      anew=[degradations.parse("mosaic:block=4..8,phase=random")])  # fmt: skip
    data = b"".join(side.tobytes() for step in range(4) for side in batches.at(step) if side is not None)
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

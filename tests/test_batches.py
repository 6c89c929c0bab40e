from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset_tools import image_io, pairs
from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.manifest import PairRow
from pix2pix.batches import Batches, read_pair
from pix2pix.pixels import to_float
from tests.conftest import textured


@pytest.fixture
def rows(tmp_path: Path) -> list[PairRow]:
    made = []
    for number in range(5):
        b = textured(number, 32, 32)
        path = tmp_path / f"{number}.png"
        image_io.write(path, pairs.stitch(255 - b, b), "PNG")
        made.append(PairRow(path, None, [], path.name, path.name))
    return made


def test_an_epoch_holds_every_pair_once(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 1, seed=3)
    for epoch in range(3):
        seen = [batches.at(epoch * 5 + place)[1][0] for place in range(5)]
        expected = [to_float(textured(number, 32, 32)) for number in range(5)]
        assert sorted(image.sum() for image in seen) == sorted(image.sum() for image in expected)
    assert [batches.at(step)[1].sum() for step in range(5)] != [batches.at(step)[1].sum() for step in range(5, 10)]


def test_a_batch_depends_on_seed_and_step_alone(rows: list[PairRow]) -> None:
    whole = Batches(rows, 32, 3, seed=1, jitter=4, flip=True)
    stream = list(whole.stream(0, 8))
    later = list(Batches(rows, 32, 3, seed=1, jitter=4, flip=True, cache_bytes=0).stream(5, 8))
    for (a, b), (again_a, again_b) in zip(stream[5:], later, strict=True):
        assert a.dtype == np.float32
        assert a.shape == b.shape == (3, 32, 32, 3)
        assert np.array_equal(a, again_a)
        assert np.array_equal(b, again_b)
    other = Batches(rows, 32, 3, seed=2, jitter=4, flip=True).at(5)
    assert not np.array_equal(other[0], stream[5][0])


def test_both_halves_are_augmented_alike(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 5, seed=0, jitter=0, flip=True)
    flipped = 0
    for step in range(6):
        a, b = batches.at(step)
        assert np.allclose(a, -b, atol=1e-6)
        flipped += sum(not any(np.array_equal(image, to_float(textured(n, 32, 32))) for n in range(5)) for image in b)
    assert 5 < flipped < 25


def test_the_cache_is_bounded(rows: list[PairRow]) -> None:
    batches = Batches(rows, 32, 1, seed=0, cache_bytes=2 * 32 * 32 * 6)
    for step in range(10):
        batches.at(step)
    assert len(batches._cache) == 2


def test_direction(rows: list[PairRow]) -> None:
    a, b = read_pair(rows[0], 32)
    other_a, other_b = read_pair(rows[0], 32, "BtoA")
    assert np.array_equal(a, other_b)
    assert np.array_equal(b, other_a)


def test_bad_use(rows: list[PairRow], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="train split is empty"):
        Batches([], 32, 1, seed=0)
    with pytest.raises(UsageError, match="--batch 8 is more than the 5 pairs of the train split: give 5 or fewer"):
        Batches(rows, 32, 8, seed=0)
    image_io.write(tmp_path / "odd.png", textured(1, 32, 48), "PNG")
    with pytest.raises(DatasetError, match="is 48×32 pixels, but a pair of this dataset is 64×32"):
        read_pair(PairRow(tmp_path / "odd.png", None, [], "odd.png", "odd.png"), 32)

from __future__ import annotations

import numpy as np
import pytest

from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.pairs import split, stitch

RNG = np.random.default_rng(0)
A = RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)
B = RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)


def test_input_stands_left_of_original() -> None:
    pair = stitch(A, B)
    assert pair.shape == (8, 16, 3)
    assert pair.dtype == np.uint8
    assert np.array_equal(pair[:, :8], A)
    assert np.array_equal(pair[:, 8:], B)


def test_split_is_the_way_back() -> None:
    a, b = split(stitch(A, B))
    assert np.array_equal(a, A)
    assert np.array_equal(b, B)


def test_btoa_takes_the_right_half_as_input() -> None:
    a, b = split(stitch(B, A), "BtoA")
    assert np.array_equal(a, A)
    assert np.array_equal(b, B)


def test_halves_need_not_be_square() -> None:
    a, b = split(np.zeros((5, 6, 3), np.uint8))
    assert a.shape == b.shape == (5, 3, 3)


@pytest.mark.parametrize(("width", "shown"), [(7, "7x4"), (0, "0x4")])
def test_a_width_without_two_halves_is_refused(width: int, shown: str) -> None:
    with pytest.raises(DatasetError) as refused:
        split(np.zeros((4, width, 3), np.uint8))
    assert str(refused.value) == f"a pair A|B has two halves of one width, so its width is even; received {shown}"


def test_halves_of_two_sizes_are_refused() -> None:
    with pytest.raises(DatasetError) as refused:
        stitch(A, B[:, :6])
    assert str(refused.value) == "the two halves of a pair must have one size; received 8x8 and 6x8"


def test_another_direction_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        split(stitch(A, B), "atob")
    assert str(refused.value) == "--direction takes AtoB or BtoA; received atob"

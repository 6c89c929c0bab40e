"""The value range, exact in both directions."""

from __future__ import annotations

import numpy as np
import pytest

from pix2pix.pixels import to_float, to_uint8

LEVELS = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_every_level_comes_back(kind: type[np.floating]) -> None:
    assert np.array_equal(to_uint8(to_float(LEVELS).astype(kind)), LEVELS)


def test_range_and_dtype() -> None:
    x = to_float(LEVELS)
    assert x.dtype == np.float32
    assert (x[0], x[255]) == (-1, 1)
    assert np.all(np.diff(x) > 0)
    assert np.allclose(x, LEVELS / 127.5 - 1, atol=1e-7)


def test_values_outside_are_clipped_and_others_rounded() -> None:
    x = np.array([-np.inf, -1.5, -1.001, 1.001, 7.0, np.inf], np.float32)
    assert to_uint8(x).tolist() == [0, 0, 0, 255, 255, 255]
    assert to_uint8(np.array([100.4, 100.6]) / 127.5 - 1).tolist() == [100, 101]


def test_shape_is_kept_and_the_input_is_not_written() -> None:
    image = np.full((2, 3, 5, 3), 7, np.uint8)
    assert to_uint8(to_float(image)).shape == image.shape
    x = np.full((4,), 2.0, np.float32)
    to_uint8(x)
    assert np.all(x == 2)

"""The Fréchet distance of colours, against its closed form."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.frechet import distance, features
from tests.conftest import textured


def test_of_sets_whose_distance_is_known() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(500, 5))
    assert distance(one, one) == pytest.approx(0, abs=1e-9)
    assert distance(one, one + 2) == pytest.approx(5 * 4)
    spread = np.trace(np.cov(one, rowvar=False))
    assert distance(one, 3 * one) == pytest.approx((one.mean(0) * 2) @ (one.mean(0) * 2) + 4 * spread)  # (3 - 1)² of each
    turned = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    other = rng.normal(size=(400, 5)) * [1, 2, 3, 4, 5]
    assert distance(one @ turned, other @ turned) == pytest.approx(distance(one, other))
    assert distance(one, other) == pytest.approx(distance(other, one))


def test_the_features_are_of_colour_alone() -> None:
    gray = np.repeat(textured(1, 48, 48)[..., :1], 3, axis=2)
    assert np.abs(features(gray)).max() < 0.02
    red = np.full((30, 31, 3), (200, 40, 40), np.uint8)
    found = features(red)
    assert found.shape == (20,)
    assert np.allclose(found[:18:2], found[0])
    assert found[0] > 40
    assert np.abs(found[18:]).max() < 1e-9

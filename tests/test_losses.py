"""The losses against NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pix2pix.losses import adversarial, discriminator_loss, generator_loss
from pix2pix.spec import ADVERSARIAL, PRESETS, Spec

LOGITS = np.random.default_rng(0).normal(0, 3, (2, 4, 4, 1)).astype(np.float32)
OTHER = np.random.default_rng(1).normal(0, 3, (2, 4, 4, 1)).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


EXPECTED = {
    "mse": lambda logits, real: np.mean((logits - float(real)) ** 2),
    "bce": lambda logits, real: -np.mean(np.log(sigmoid(logits) if real else 1 - sigmoid(logits))),
}


def spec_with(name: str) -> Spec:
    return replace(PRESETS["tiny"], adversarial=name)


def test_every_adversarial_loss_has_its_formula_here() -> None:
    assert EXPECTED.keys() == set(ADVERSARIAL)


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("real", [True, False])
def test_adversarial(name: str, real: bool) -> None:
    assert float(adversarial(spec_with(name), LOGITS, real)) == pytest.approx(EXPECTED[name](LOGITS, real), rel=1e-5)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_discriminator_loss_is_half_the_sum(name: str) -> None:
    whole, real, fake = map(float, discriminator_loss(spec_with(name), LOGITS, OTHER))
    assert real == pytest.approx(EXPECTED[name](LOGITS, True), rel=1e-5)
    assert fake == pytest.approx(EXPECTED[name](OTHER, False), rel=1e-5)
    assert whole == pytest.approx(0.5 * (real + fake), rel=1e-6)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_generator_loss_wants_to_pass_for_real_and_to_be_near(name: str) -> None:
    fake, b = np.random.default_rng(2).uniform(-1, 1, (2, 2, 8, 8, 3)).astype(np.float32)
    whole, fooled, l1 = map(float, generator_loss(spec_with(name), LOGITS, fake, b))
    assert fooled == pytest.approx(EXPECTED[name](LOGITS, True), rel=1e-5)
    assert l1 == pytest.approx(np.abs(fake - b).mean(), rel=1e-5)
    assert whole == pytest.approx(fooled + 100 * l1, rel=1e-6)


def test_bce_stays_finite_for_any_logit() -> None:
    far = np.array([[-1e4, 1e4]], np.float32)
    assert float(adversarial(spec_with("bce"), far, True)) == pytest.approx(5e3)
    assert float(adversarial(spec_with("bce"), far, False)) == pytest.approx(5e3)

"""The losses against NumPy, and the objective against sums made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pix2pix.backend import ops
from pix2pix.losses import BLOCK, PLAYS, adversarial, averaged, dissimilarity, in_range, norm, objective
from pix2pix.pixels import to_float
from pix2pix.spec import ADVERSARIAL, PRESETS, Spec

LOGITS = np.random.default_rng(0).normal(0, 3, (2, 4, 4, 1)).astype(np.float32)
OTHER = np.random.default_rng(1).normal(0, 3, (2, 4, 4, 1)).astype(np.float32)
FAKE, B, A = np.random.default_rng(2).uniform(-1, 1, (3, 2, 8, 8, 3)).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


EXPECTED = {
    "mse": lambda logits, real: np.mean((logits - float(real)) ** 2),
    "bce": lambda logits, real: -np.mean(np.log(sigmoid(logits) if real else 1 - sigmoid(logits))),
}


def spec_with(name: str) -> Spec:
    return replace(PRESETS["tiny"], adversarial=name)


class Asked:
    """In place of a network: gives what it is told to, and keeps what it was asked."""

    def __init__(self, *answers: Any):
        self.answers, self.given, self.training = [ops.convert_to_tensor(each) for each in answers], list[Any](), set[bool]()

    def __call__(self, given: Any, training: bool) -> Any:
        self.given.append(given)
        self.training.add(training)
        return self.answers[len(self.given) - 1]


def losses_of(spec: Spec, play: str = "both") -> tuple[dict[str, float], Asked, Asked]:
    """The objective of a generator that makes FAKE and of a D that says LOGITS of B and OTHER of FAKE."""
    generator, discriminator = Asked(FAKE), Asked(LOGITS, OTHER)
    found = objective(spec, generator, discriminator, A, B, play)
    return {name: float(value) for name, value in found.items()}, generator, discriminator


def test_every_adversarial_loss_has_its_formula_here() -> None:
    assert EXPECTED.keys() == set(ADVERSARIAL)


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("real", [True, False])
def test_adversarial(name: str, real: bool) -> None:
    assert float(adversarial(spec_with(name), LOGITS, real)) == pytest.approx(EXPECTED[name](LOGITS, real), rel=1e-5)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_discriminator_loss_is_half_the_sum(name: str) -> None:
    found, _, discriminator = losses_of(spec_with(name))
    assert found["d_real"] == pytest.approx(EXPECTED[name](LOGITS, True), rel=1e-5)
    assert found["d_fake"] == pytest.approx(EXPECTED[name](OTHER, False), rel=1e-5)
    assert found["d_loss"] == pytest.approx(0.5 * (found["d_real"] + found["d_fake"]), rel=1e-6)
    assert [np.array_equal(image, expected) for (_, image), expected in zip(discriminator.given, (B, FAKE), strict=True)] == [
        1,
        1,
    ]
    assert discriminator.training == {True}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_generator_loss_wants_to_pass_for_real_and_to_be_near(name: str) -> None:
    found, generator, _ = losses_of(spec_with(name))
    assert found["g_adversarial"] == pytest.approx(EXPECTED[name](OTHER, True), rel=1e-5)
    assert found["g_l1"] == pytest.approx(np.abs(FAKE - B).mean(), rel=1e-5)
    assert found["g_loss"] == pytest.approx(found["g_adversarial"] + 100 * found["g_l1"], rel=1e-6)
    assert generator.training == {True}


def test_every_loss_weighs_what_the_spec_says() -> None:
    spec = replace(PRESETS["tiny"], adversarial_weight=0.25, l1_weight=3.0, ssim_weight=7.0)
    found, _, _ = losses_of(spec)
    assert set(found) == {"d_real", "d_fake", "d_loss", "g_adversarial", "g_l1", "g_ssim", "g_loss"}
    expected = 0.25 * found["g_adversarial"] + 3 * found["g_l1"] + 7 * found["g_ssim"]
    assert found["g_loss"] == pytest.approx(expected, rel=1e-6)
    assert found["g_ssim"] == pytest.approx(float(dissimilarity(FAKE, B)), rel=1e-6)


def test_dissimilarity_by_numpy() -> None:
    """Block by block and channel by channel; what is left over beside whole blocks does not count."""
    rng = np.random.default_rng(3)
    b = rng.uniform(-1, 1, (2, 20, 28, 3)).astype(np.float32)
    fake = np.clip(b + rng.normal(0, 0.4, b.shape), -1, 1).astype(np.float32)
    found = []
    for image, y in zip(fake, b, strict=True):
        for top in range(0, 20 - BLOCK + 1, BLOCK):
            for left in range(0, 28 - BLOCK + 1, BLOCK):
                for channel in range(3):
                    part = (slice(top, top + BLOCK), slice(left, left + BLOCK), channel)
                    one, other = (each[part].astype(np.float64).ravel() / 2 + 0.5 for each in (image, y))
                    ((v1, cov), (_, v2)), m1, m2 = np.cov(one, other, bias=True), one.mean(), other.mean()
                    luminance = (2 * m1 * m2 + 1e-4) / (m1**2 + m2**2 + 1e-4)
                    found.append(luminance * (2 * cov + 9e-4) / (v1 + v2 + 9e-4))
    assert len(found) == 2 * 2 * 3 * 3
    assert float(dissimilarity(fake, b)) == pytest.approx(1 - np.mean(found), rel=1e-4)
    assert float(dissimilarity(b, b)) == pytest.approx(0, abs=1e-6)
    assert 1.5 < float(dissimilarity(-b, b)) <= 2


def test_tiny_arrays_by_hand() -> None:
    """G makes 0.5 where 0 is right, D says 1 of the original and 0.25 of the fake."""
    spec = replace(PRESETS["tiny"], adversarial="mse", adversarial_weight=2.0, l1_weight=10.0)
    image = np.zeros((1, 2, 2, 3), np.float32)
    generator = Asked(image + 0.5)
    discriminator = Asked(np.ones((1, 1, 1, 1), np.float32), np.full((1, 1, 1, 1), 0.25, np.float32))
    found = objective(spec, generator, discriminator, image, image, "both")
    assert {name: float(value) for name, value in found.items()} == pytest.approx({
        "d_real": 0.0, "d_fake": 0.0625, "d_loss": 0.03125, "g_adversarial": 0.5625, "g_l1": 0.5, "g_loss": 6.125,
    })  # fmt: skip


def test_in_the_play_generator_nobody_asks_d() -> None:
    spec = replace(PRESETS["tiny"], ssim_weight=5.0)
    found, _, discriminator = losses_of(spec, "generator")
    assert set(found) == {"g_l1", "g_ssim", "g_loss"}
    assert discriminator.given == []
    assert found["g_loss"] == pytest.approx(100 * found["g_l1"] + 5 * found["g_ssim"], rel=1e-6)
    assert PLAYS == ("both", "generator", "discriminator")
    assert set(losses_of(spec, "discriminator")[0]) == set(losses_of(spec)[0]) > set(found)


def test_in_the_play_discriminator_g_makes_what_it_would_restore() -> None:
    """Its dropout is off, and BatchNorm's statistics, which its weights do not move with, stay."""
    _, generator, discriminator = losses_of(PRESETS["article"], "discriminator")
    assert (generator.training, discriminator.training) == ({False}, {True})


@pytest.mark.parametrize("task", ["mosaic", "other"])
def test_both_networks_see_a_as_it_is(task: str) -> None:
    found, generator, discriminator = losses_of(PRESETS["tiny"].for_task(task))
    assert len(generator.given) == 1
    assert np.array_equal(generator.given[0], A)
    assert all(np.array_equal(condition, A) for condition, _ in discriminator.given)
    assert found["g_l1"] == pytest.approx(np.abs(FAKE - B).mean(), rel=1e-5)


def test_batches_come_as_bytes() -> None:
    """As pixels.to_float makes floats of them; what is float already stays."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert np.abs(np.asarray(in_range(ops.convert_to_tensor(levels))) - to_float(levels)).max() < 1e-6
    given = ops.convert_to_tensor(A)
    assert in_range(given) is given


def test_a_generator_of_colours_is_not_judged_by_luminance() -> None:
    spec = PRESETS["tiny"].for_task("colorize")
    found, _, discriminator = losses_of(spec)
    luma = np.array([0.299, 0.587, 0.114])
    lit = B + ((FAKE - B) @ luma)[..., None]  # B, as light as what was made
    assert np.allclose(lit @ luma, FAKE @ luma, atol=1e-6)
    assert found["g_l1"] == pytest.approx(np.abs(FAKE - lit).mean(), rel=1e-5)
    assert np.allclose(discriminator.given[0][1], lit, atol=1e-6)
    assert losses_of(PRESETS["tiny"])[0]["g_l1"] == pytest.approx(np.abs(FAKE - B).mean(), rel=1e-5)


def test_a_generator_of_colours_aims_at_vivid_ones() -> None:
    spec = replace(PRESETS["tiny"], vivid=1.5)
    luma = np.array([0.299, 0.587, 0.114])
    vivid = (FAKE @ luma)[..., None] + 1.5 * (B - (B @ luma)[..., None])
    found, _, discriminator = losses_of(spec.for_task("colorize"))
    assert found["g_l1"] == pytest.approx(np.abs(FAKE - vivid).mean(), rel=1e-5)
    assert np.allclose(discriminator.given[0][1], vivid, atol=1e-6)
    assert np.allclose(vivid @ luma, FAKE @ luma, atol=1e-6)
    for task in ("mosaic", "other"):
        assert losses_of(spec.for_task(task))[0]["g_l1"] == pytest.approx(np.abs(FAKE - B).mean(), rel=1e-5)


def test_bce_stays_finite_for_any_logit() -> None:
    far = np.array([[-1e4, 1e4]], np.float32)
    assert float(adversarial(spec_with("bce"), far, True)) == pytest.approx(5e3)
    assert float(adversarial(spec_with("bce"), far, False)) == pytest.approx(5e3)


def test_the_norm_is_of_all_gradients_together() -> None:
    gradients = [ops.convert_to_tensor(np.array(each, np.float32)) for each in ([[3.0, 0.0]], [4.0])]
    assert float(norm(gradients)) == 5.0
    assert np.isnan(float(norm([*gradients, ops.convert_to_tensor(np.float32("nan"))])))


def test_the_average_follows_fast_at_first() -> None:
    for count, keep in ((1, 2 / 11), (8, 9 / 18), (10_000, 0.99)):
        assert float(averaged(1.0, 3.0, count, 0.99)) == pytest.approx(keep * 1.0 + (1 - keep) * 3.0, rel=1e-6)

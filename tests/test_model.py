"""The update: against a hand-written one, against the printed loop, and who may touch what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dataset_tools.errors import RunError, UsageError
from pix2pix.losses import adversarial, discriminator_loss, generator_loss
from pix2pix.model import LOSSES, Pix2Pix
from pix2pix.networks import weights_by_path
from pix2pix.spec import PRESETS, Spec
from tests.test_networks import SMALL, images, scramble

import keras  # isort: skip
import tensorflow as tf  # isort: skip

UPDATES = ("fused", "article")
Arrays = dict[str, np.ndarray]


def pix2pix(spec: Spec, updates: str = "fused", precision: str = "float32") -> Pix2Pix:
    """A model whose weights and dropout seeds are the same each time."""
    keras.utils.set_random_seed(1)
    model = Pix2Pix(spec, updates, precision)
    scramble(model.generator, 1)
    scramble(model.discriminator, 2)
    return model


def copied(variables: dict[str, Any]) -> Arrays:
    return {path: np.asarray(variable).copy() for path, variable in variables.items()}


def arrays(network: Any) -> Arrays:
    return copied(weights_by_path(network))


def statistics(network: Any) -> Arrays:
    return {path: array for path, array in arrays(network).items() if "moving" in path}


def same(first: Arrays, second: Arrays, atol: float = 0.0) -> bool:
    assert first.keys() == second.keys()
    return all(np.allclose(first[path], second[path], rtol=0, atol=atol) for path in first)


def pair(spec: Spec, seed: int = 0) -> tuple[Any, Any]:
    """A and B as tensors: Keras will not mix arrays and tensors in one list."""
    return tf.constant(images(spec, seed=seed)), tf.constant(images(spec, seed=seed + 100))


@pytest.fixture
def eagerly() -> Iterator[None]:
    """The update uncompiled: seconds less for each model. That the compiled one is the same, the first two tests say."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


class NumpyAdam:
    """Adam as Kingma and Ba print it before section 2.1, with Keras's epsilon."""

    def __init__(self, spec: Spec):
        self.rate, self.beta1, self.count = spec.learning_rate, spec.beta1, 0
        self.moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def step(self, weights: Arrays, gradients: Arrays) -> Arrays:
        self.count += 1
        rate = self.rate * np.sqrt(1 - 0.999**self.count) / (1 - self.beta1**self.count)
        moved = {}
        for path, gradient in gradients.items():
            m, v = self.moments.get(path, (np.zeros_like(gradient), np.zeros_like(gradient)))
            m, v = self.beta1 * m + (1 - self.beta1) * gradient, 0.999 * v + 0.001 * gradient**2
            self.moments[path] = m, v
            moved[path] = weights[path] - rate * m / (np.sqrt(v) + 1e-7)
        return moved


def gradients(tape: tf.GradientTape, loss: Any, network: Any) -> Arrays:
    found = {path: weight for path, weight in weights_by_path(network).items() if weight.trainable}
    return dict(zip(found, map(np.asarray, tape.gradient(loss, list(found.values()))), strict=True))


def put(model: Pix2Pix, weights: Arrays) -> None:
    """Sets weights in a model; the rest of it (dropout seeds) stays."""
    for network in (model.generator, model.discriminator):
        for path, weight in weights_by_path(network).items():
            weight.assign(weights[path])


@pytest.mark.parametrize("name", SMALL)
def test_fused_equals_the_update_written_by_hand(name: str) -> None:
    spec = replace(SMALL[name], learning_rate=2e-3)  # so that 1e-5 is little of a step
    model, for_g, for_d = (pix2pix(spec) for _ in range(3))  # the two references never see each other's passes
    adam_g, adam_d = NumpyAdam(spec), NumpyAdam(spec)
    for step in range(3):
        a, b = pair(spec, step)
        with tf.GradientTape() as tape:
            fake = for_g.generator(a, training=True)
            g_loss, g_adversarial, g_l1 = generator_loss(spec, for_g.discriminator([a, fake], training=True), fake, b)
        moved_g = adam_g.step(arrays(for_g.generator), gradients(tape, g_loss, for_g.generator))
        with tf.GradientTape() as tape:
            fake = for_d.generator(a, training=True)
            real_logits, fake_logits = (for_d.discriminator([a, image], training=True) for image in (b, fake))
            d_loss, d_real, d_fake = discriminator_loss(spec, real_logits, fake_logits)
        moved_d = adam_d.step(arrays(for_d.discriminator), gradients(tape, d_loss, for_d.discriminator))

        losses = model.train_on_batch(a, b)
        expected = dict(zip(LOSSES, map(float, (d_loss, d_real, d_fake, g_loss, g_adversarial, g_l1)), strict=True))
        assert losses == pytest.approx(expected, rel=1e-5)
        assert same(arrays(model.generator), arrays(for_g.generator) | moved_g, atol=1e-5)
        assert same(arrays(model.discriminator), arrays(for_d.discriminator) | moved_d, atol=1e-5)
        for reference in (for_g, for_d):
            put(reference, arrays(model.generator) | arrays(model.discriminator))
    assert model._step.experimental_get_tracing_count() == 1


class PrintedLoop:
    """The article's loop as printed, on Keras's own compile and train_on_batch, with D traced while it still may train."""

    def __init__(self, model: Pix2Pix):
        self.generator, self.discriminator = model.generator, model.discriminator
        spec = model.spec
        adam = {"learning_rate": spec.learning_rate, "beta_1": spec.beta1}
        self.discriminator.compile(loss="mse", optimizer=keras.optimizers.Adam(**adam))
        self.discriminator.make_train_function()
        a, b = keras.Input((spec.size, spec.size, 3)), keras.Input((spec.size, spec.size, 3))
        self.discriminator.trainable = False
        fake = self.generator(a)
        self.combined = keras.Model([a, b], [self.discriminator([a, fake]), fake])
        self.combined.compile(loss=["mse", "mae"], loss_weights=[1, 100], optimizer=keras.optimizers.Adam(**adam))

    def step(self, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        fake = self.generator.predict(a, verbose=0)
        shape = (len(a), *self.discriminator.output_shape[1:])
        self.discriminator.trainable = True
        d_real = self.discriminator.train_on_batch([a, b], np.ones(shape, np.float32))
        d_fake = self.discriminator.train_on_batch([a, fake], np.zeros(shape, np.float32))
        self.discriminator.reset_metrics()
        self.discriminator.trainable = False
        whole, fooled, l1 = self.combined.train_on_batch([a, b], [np.ones(shape, np.float32), b])
        self.combined.reset_metrics()
        return dict(zip(LOSSES, map(float, (0.5 * (d_real + d_fake), d_real, d_fake, whole, fooled, l1)), strict=True))


def test_article_updates_equal_the_printed_loop() -> None:
    spec = replace(SMALL["article"], learning_rate=2e-3)
    model, reference = pix2pix(spec, "article"), pix2pix(spec, "article")
    loop = PrintedLoop(reference)
    for step in range(3):
        a, b = pair(spec, step)
        expected = loop.step(a.numpy(), b.numpy())
        losses = model.train_on_batch(a, b)
        assert losses["g_loss"] == pytest.approx(expected["g_loss"], rel=1e-4)
        assert losses["d_real"] == pytest.approx(expected["d_real"], rel=1e-4)
        assert same(arrays(model.discriminator), arrays(reference.discriminator), atol=1e-5)
        assert same(arrays(model.generator), arrays(reference.generator), atol=1e-5)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("updates", UPDATES)
@pytest.mark.parametrize("name", SMALL)
def test_both_networks_train(name: str, updates: str) -> None:
    model = pix2pix(SMALL[name], updates)
    before = arrays(model.generator) | arrays(model.discriminator)
    a, b = pair(SMALL[name])
    losses = model.train_on_batch(a, b)
    after = arrays(model.generator) | arrays(model.discriminator)
    assert [path for path in before if np.array_equal(before[path], after[path])] == []
    assert tuple(losses) == LOSSES
    assert all(type(value) is float for value in losses.values())
    assert losses["d_loss"] == pytest.approx(0.5 * (losses["d_real"] + losses["d_fake"]), rel=1e-5)
    assert losses["g_loss"] == pytest.approx(losses["g_adversarial"] + 100 * losses["g_l1"], rel=1e-5)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("updates", UPDATES)
def test_the_generators_update_leaves_the_discriminator_alone(updates: str) -> None:
    """D's moving statistics are those of its own two passes, and its weights those of its own update, whatever G does."""
    spec = SMALL["article"]
    a, b = pair(spec)
    whole, d_only, frozen, passes = (pix2pix(spec, updates) for _ in range(4))
    start = arrays(whole.discriminator)
    whole.train_on_batch(a, b)
    d_only.generator_optimizer.learning_rate = 0.0
    d_only.train_on_batch(a, b)
    assert same(arrays(whole.discriminator), arrays(d_only.discriminator), atol=1e-7)

    frozen.discriminator_optimizer.learning_rate = 0.0
    frozen.train_on_batch(a, b)
    fake = passes.generator(a, training=updates == "fused")
    passes.discriminator([a, b], training=True)
    passes.discriminator([a, fake], training=True)
    assert same(arrays(frozen.discriminator), arrays(passes.discriminator), atol=1e-6)
    moved = arrays(frozen.discriminator)
    assert not same(statistics(frozen.discriminator), {path: start[path] for path in statistics(frozen.discriminator)})
    assert all(np.array_equal(moved[path], start[path]) for path in start if "moving" not in path)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("updates", UPDATES)
def test_the_discriminators_update_leaves_the_generator_alone(updates: str) -> None:
    spec = SMALL["article"]
    a, b = pair(spec)
    d_only, passes = pix2pix(spec, updates), pix2pix(spec, updates)
    start = arrays(d_only.generator)
    d_only.generator_optimizer.learning_rate = 0.0
    d_only.train_on_batch(a, b)
    passes.generator(a, training=True)  # once: G's statistics see A once a step, though D needs fakes of its own in "article"
    assert same(statistics(d_only.generator), statistics(passes.generator), atol=1e-6)
    assert all(np.array_equal(array, start[path]) for path, array in arrays(d_only.generator).items() if "moving" not in path)


@pytest.mark.usefixtures("eagerly")
def test_article_fakes_are_made_in_inference_mode_and_judged_in_training_mode() -> None:
    spec = SMALL["article"]
    a, b = pair(spec)
    model, reference = pix2pix(spec, "article"), pix2pix(spec, "article")
    model.discriminator_optimizer.learning_rate = 0.0
    losses = model.train_on_batch(a, b)
    discriminator = reference.discriminator
    real = adversarial(spec, discriminator([a, b], training=True), True)
    fake = adversarial(spec, discriminator([a, reference.generator(a, training=False)], training=True), False)
    fooled = adversarial(spec, discriminator([a, reference.generator(a, training=True)], training=False), True)
    expected = {"d_real": float(real), "d_fake": float(fake), "g_adversarial": float(fooled)}
    assert {name: losses[name] for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(("name", "updates"), [("paper", "fused"), ("article", "article")])
def test_a_checkpoint_put_back_goes_on_the_same(name: str, updates: str) -> None:
    """Dropout included: the second model is of another seed before it takes the first one's variables."""
    spec = SMALL[name]
    first = pix2pix(spec, updates)
    first.train_on_batch(*pair(spec, 0))
    kept = copied(first.variables_by_path())
    second = Pix2Pix(spec, updates)
    second.train_on_batch(*pair(spec, 5))
    second.set_variables(kept)
    assert first.train_on_batch(*pair(spec, 1)) == pytest.approx(second.train_on_batch(*pair(spec, 1)), rel=1e-6)
    assert same(arrays(first.generator), arrays(second.generator), atol=1e-7)
    assert same(arrays(first.discriminator), arrays(second.discriminator), atol=1e-7)


@pytest.mark.parametrize("name", SMALL)
def test_paths_of_a_checkpoint(name: str) -> None:
    model = Pix2Pix(SMALL[name])
    paths = list(model.variables_by_path())
    assert paths == list(Pix2Pix(SMALL[name]).variables_by_path())
    networks = (model.generator, model.discriminator)
    weights = sum(len(network.variables) for network in networks)
    moments = sum(2 * len(network.trainable_variables) + 2 for network in networks)  # and iteration, learning rate
    assert len(paths) == weights + moments
    assert {path.partition("/")[0] for path in paths} == {
        "generator", "discriminator", "generator_optimizer", "discriminator_optimizer",
    }  # fmt: skip
    assert not [path for path in paths if any(other.startswith(f"{path}/") for other in paths)]  # HDF5: no group is a value


def test_variables_that_do_not_fit_are_refused_and_nothing_changes() -> None:
    spec = SMALL["tiny"]
    model = Pix2Pix(spec)
    kept = copied(model.variables_by_path())
    zeros = {path: np.zeros_like(value) for path, value in kept.items()}
    last = list(zeros)[-1]
    for wrong, line in (
        ({path: value for path, value in zeros.items() if path != last}, f"lacks {last} .1 missing"),
        (
            {**zeros, "generator/out_conv/colour": np.zeros(3)},
            "holds generator/out_conv/colour, which this model has not .1 unknown",
        ),
        ({**zeros, last: np.zeros((7, 7))}, rf"{last} has the shape \(7, 7\), but this model's has"),
    ):
        with pytest.raises(RunError, match=line):
            model.set_variables(wrong)
        assert same(kept, copied(model.variables_by_path()))


def test_a_call_restores() -> None:
    model = pix2pix(SMALL["article"])
    a, _ = pair(SMALL["article"])
    assert np.array_equal(model(a), model.generator(a, training=False))


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("updates", UPDATES)
def test_mixed_precision_is_near_float32(updates: str) -> None:
    spec = SMALL["tiny"]
    exact, mixed = pix2pix(spec, updates), pix2pix(spec, updates, "mixed_bfloat16")
    a, b = pair(spec)
    assert mixed.train_on_batch(a, b) == pytest.approx(exact.train_on_batch(a, b), rel=0.02)
    assert {str(value.dtype) for value in mixed.trainable_variables} == {"float32"}


def test_what_cannot_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no updates 'both': choose one of fused, article"):
        Pix2Pix(PRESETS["tiny"], "both")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match="Keras is set to jax"):
        Pix2Pix(PRESETS["tiny"])

"""The update: against a hand-written one, against the printed loop, and who may touch what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from dataset_tools.errors import RunError, UsageError
from pix2pix import step_tf
from pix2pix.batches import Batch
from pix2pix.losses import adversarial, dissimilarity
from pix2pix.model import LOSSES, Pix2Pix, WarmUp
from pix2pix.muon import MOMENTUM, orthogonal
from pix2pix.networks import variables_by_path, weights_by_path
from pix2pix.spec import PRESETS, Spec
from tests.conftest import some
from tests.test_networks import SMALL, images, scramble

import keras  # isort: skip
import tensorflow as tf  # isort: skip

UPDATES = ("fused", "article")
NO_ARTICLE = ("mend", "article")  # its loop knows no cells
QUICK = [("tiny", "fused"), ("mend", "fused")]
OTHERS = [each for each in product(SMALL, UPDATES) if each not in (NO_ARTICLE, *QUICK)]
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


def batch(spec: Spec, seed: int = 0) -> tuple[Any, Any]:
    """A and B as tensors: Keras will not mix arrays and tensors in one list."""
    return tf.constant(images(spec, seed=seed)), tf.constant(images(spec, seed=seed + 100))


@pytest.fixture
def eagerly() -> Iterator[None]:
    """The update uncompiled: seconds less for each model. That the compiled one is the same, the first two tests say."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


class NumpyAdam:
    """Adam as Kingma and Ba print it before section 2.1, with Keras's epsilon and the spec's learning rate.

    The kernels `hidden` are moved by Muon, with Nesterov's momentum, at its own rate.
    """

    def __init__(self, spec: Spec, hidden: Sequence[str] = ()):
        self.spec, self.beta1, self.count, self.hidden = spec, spec.beta1, 0, hidden
        self.moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def step(self, weights: Arrays, gradients: Arrays) -> Arrays:
        self.count += 1
        share = 1.0
        if self.spec.warmup:
            share *= min(1.0, self.count / self.spec.warmup)
        if self.spec.hold:
            share *= min(1.0, np.sqrt(self.spec.hold / self.count))
        rate = self.spec.learning_rate * share * np.sqrt(1 - 0.999**self.count) / (1 - self.beta1**self.count)
        moved, clip = {}, min(1.0, self.spec.clip / norm_of(gradients)) if self.spec.clip else 1.0
        for path, gradient in ((path, clip * each) for path, each in gradients.items()):
            m, v = self.moments.get(path, (np.zeros_like(gradient), np.zeros_like(gradient)))
            if path in self.hidden:
                m = MOMENTUM * m + (1 - MOMENTUM) * gradient
                nearest = orthogonal(tf.constant(MOMENTUM * m + (1 - MOMENTUM) * gradient, tf.float32), "float32")
                moved[path] = weights[path] - share * self.spec.muon * np.asarray(nearest)
            else:
                m, v = self.beta1 * m + (1 - self.beta1) * gradient, 0.999 * v + 0.001 * gradient**2
                moved[path] = weights[path] - rate * m / (np.sqrt(v) + 1e-7)
            self.moments[path] = m, v
        return moved


def norm_of(gradients: Arrays) -> float:
    return float(np.sqrt(sum(np.sum(np.square(gradient, dtype=np.float64)) for gradient in gradients.values())))


def gradients(tape: tf.GradientTape, loss: Any, network: Any) -> Arrays:
    found = {path: weight for path, weight in weights_by_path(network).items() if weight.trainable}
    return dict(zip(found, map(np.asarray, tape.gradient(loss, list(found.values()))), strict=True))


def put(model: Pix2Pix, weights: Arrays) -> None:
    """Sets weights in a model; the rest of it (dropout seeds) stays."""
    for network in (model.generator, model.discriminator):
        for path, weight in weights_by_path(network).items():
            weight.assign(weights[path])


@pytest.mark.parametrize("name", some(["tiny"], ["article", "mend"], soak=["paper"]))
def test_fused_equals_the_update_written_by_hand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(SMALL[name], learning_rate=2e-3)  # so that 1e-5 is little of a step
    if name == "mend":
        spec = replace(spec, warmup=2, hold=1)
    traced, objective = [], step_tf.objective
    monkeypatch.setattr(step_tf, "objective", lambda *given: traced.append(1) or objective(*given))  # type: ignore[func-returns-value]
    model, for_g, for_d = (pix2pix(spec) for _ in range(3))  # the two references never see each other's passes
    hidden = [path for path in arrays(model.generator) if re.search(r"_conv_[12]/kernel$", path)] if spec.muon else []
    adam_g, adam_d = NumpyAdam(spec, hidden), NumpyAdam(spec)
    for step in range(3):
        a, b = batch(spec, step)
        with tf.GradientTape() as tape:
            fake = for_g.generator(a, training=True)
            g_adversarial = adversarial(spec, for_g.discriminator([a, fake], training=True), True)
            g_l1 = tf.reduce_mean(tf.abs(fake - b))
            g_loss = spec.adversarial_weight * g_adversarial + spec.l1_weight * g_l1
            g_loss += spec.ssim_weight * dissimilarity(fake, b)
        g_gradients = gradients(tape, g_loss, for_g.generator)
        moved_g = adam_g.step(arrays(for_g.generator), g_gradients)
        with tf.GradientTape() as tape:
            fake = for_d.generator(a, training=True)
            d_real = adversarial(spec, for_d.discriminator([a, b], training=True), True)
            d_fake = adversarial(spec, for_d.discriminator([a, fake], training=True), False)
            d_loss = 0.5 * (d_real + d_fake)
        d_gradients = gradients(tape, d_loss, for_d.discriminator)
        moved_d = adam_d.step(arrays(for_d.discriminator), d_gradients)

        losses = model.train_on_batch(a, b)
        expected = dict(zip(LOSSES, map(float, (d_loss, d_real, d_fake, g_loss, g_adversarial, g_l1)), strict=True))
        expected |= {"g_gradient": norm_of(g_gradients), "d_gradient": norm_of(d_gradients)}
        expected |= {"g_ssim": float(dissimilarity(fake, b))} if spec.ssim_weight else {}
        assert losses == pytest.approx(expected, rel=1e-5)
        assert same(arrays(model.generator), arrays(for_g.generator) | moved_g, atol=1e-5)
        assert same(arrays(model.discriminator), arrays(for_d.discriminator) | moved_d, atol=1e-5)
        for reference in (for_g, for_d):
            put(reference, arrays(model.generator) | arrays(model.discriminator))
    assert len(traced) == 1


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


@pytest.mark.slow
def test_article_updates_equal_the_printed_loop() -> None:
    spec = replace(SMALL["article"], learning_rate=2e-3)
    model, reference = pix2pix(spec, "article"), pix2pix(spec, "article")
    loop = PrintedLoop(reference)
    for step in range(3):
        a, b = batch(spec, step)
        expected = loop.step(a.numpy(), b.numpy())
        losses = model.train_on_batch(a, b)
        assert losses["g_loss"] == pytest.approx(expected["g_loss"], rel=1e-4)
        assert losses["d_real"] == pytest.approx(expected["d_real"], rel=1e-4)
        assert same(arrays(model.discriminator), arrays(reference.discriminator), atol=1e-5)
        assert same(arrays(model.generator), arrays(reference.generator), atol=1e-5)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(("name", "updates"), some(QUICK, OTHERS))
def test_both_networks_train(name: str, updates: str) -> None:
    spec = SMALL[name]
    model = pix2pix(spec, updates)
    before = arrays(model.generator) | arrays(model.discriminator)
    losses = model.train_on_batch(*batch(spec))
    after = arrays(model.generator) | arrays(model.discriminator)
    assert [path for path in before if np.array_equal(before[path], after[path])] == []
    assert set(losses) == {*LOSSES, "g_gradient", "d_gradient", *(["g_ssim"] if spec.ssim_weight else [])}
    assert all(type(value) is float for value in losses.values())
    assert losses["d_loss"] == pytest.approx(0.5 * (losses["d_real"] + losses["d_fake"]), rel=1e-5)
    weighed = spec.adversarial_weight * losses["g_adversarial"] + spec.l1_weight * losses["g_l1"]
    assert losses["g_loss"] == pytest.approx(weighed + spec.ssim_weight * losses.get("g_ssim", 0), rel=1e-5)
    assert min(losses["g_gradient"], losses["d_gradient"]) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_the_play_generator_never_asks_d() -> None:
    for name in ("mend", "article"):
        spec = SMALL[name]
        model = pix2pix(spec)
        before = copied(model.variables_by_path())
        losses = model.train_on_batch(*batch(spec), play="generator")
        after = copied(model.variables_by_path())
        assert set(losses) == {"g_l1", "g_loss", "g_gradient", *(["g_ssim"] if spec.ssim_weight else [])}
        still = {path for path in before if np.array_equal(before[path], after[path])}
        assert {path for path in before if path.startswith(("discriminator/", "discriminator_optimizer/"))} <= still
        assert not {path for path in still if path.startswith(("generator/", "ema/"))}
        assert int(after["generator_optimizer/iteration"]) == 1


@pytest.mark.usefixtures("eagerly")
@pytest.mark.slow
def test_the_play_discriminator_leaves_g_and_its_average_alone() -> None:
    for name in ("mend", "article"):
        spec = SMALL[name]
        model = pix2pix(spec)
        before = copied(model.variables_by_path())
        losses = model.train_on_batch(*batch(spec), play="discriminator")
        after = copied(model.variables_by_path())
        assert losses.keys() >= {"d_loss", "d_gradient"}
        assert "g_gradient" not in losses
        moved = {path for path in before if not np.array_equal(before[path], after[path])}
        assert all(path.startswith(("discriminator/", "discriminator_optimizer/")) for path in moved)  # nor G's statistics
        assert {path for path in before if path.startswith("discriminator/")} <= moved
        assert int(after["discriminator_optimizer/iteration"]) == 1


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("name", some([], ["mend", "article"]))
def test_the_average_of_the_weights(name: str) -> None:
    decay = 0.3  # so that both sides of min(decay, (1 + n) / (10 + n)) are seen
    spec = replace(SMALL[name], ema=decay, learning_rate=0.01, warmup=0)
    model = Pix2Pix(spec)
    assert model.ema is not None
    expected = arrays(model.generator)
    assert same(arrays(model.ema), expected)
    for step in range(1, 5):
        model.train_on_batch(*batch(spec, step))
        keep = min(decay, (1 + step) / (10 + step))
        for path, weight in arrays(model.generator).items():
            expected[path] = expected[path] + (1 - keep) * (weight - expected[path])
        assert same(arrays(model.ema), expected, atol=1e-6)
    assert not same(arrays(model.ema), arrays(model.generator), atol=1e-3)
    a, _ = batch(spec)
    for network, averaged in ((model.ema, True), (model.generator, False)):
        assert np.allclose(model.restore(a, averaged), network(a, training=False), atol=1e-6)
    assert Pix2Pix(replace(spec, ema=0.0)).ema is None


def test_the_learning_rate_by_the_number_of_updates() -> None:
    rate = WarmUp(0.8, 4, 10)
    found = [float(rate(step)) for step in (0, 1, 3, 4, 9, 10, 39, 999)]
    expected = [0.2, 0.4, 0.8, 0.8, 0.8, 0.8 * (10 / 11) ** 0.5, 0.4, 0.08]
    assert found == pytest.approx(expected, rel=1e-6)
    assert [float(WarmUp(0.8, 4, 0)(step)) for step in (0, 3, 10**6)] == pytest.approx([0.2, 0.8, 0.8])
    assert [float(WarmUp(0.8, 0, 10)(step)) for step in (0, 9, 39)] == pytest.approx([0.8, 0.8, 0.4])
    assert [float(WarmUp(0.8, 4, 0, 8)(step)) for step in (0, 3, 4, 7, 8, 99)] == pytest.approx([0.2, 0.5, 0.4, 0.1, 0, 0])


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("clip", some([0.01], [0.0, 1e6]))
def test_a_gradient_is_made_no_longer_than_the_clip(clip: float) -> None:
    """Told is its length before; Adam's first momentum is (1 - beta1) of what is left of it."""
    spec = replace(SMALL["article"], clip=clip)
    model = pix2pix(spec)
    losses = model.train_on_batch(*batch(spec))
    for name in ("g", "d"):
        optimizer = model.trained(name)[1]
        momenta = [np.asarray(each, np.float64) for each in optimizer._momentums]
        length = np.sqrt(sum((each**2).sum() for each in momenta)) / (1 - spec.beta1)
        assert losses[f"{name}_gradient"] > 0.1
        assert length == pytest.approx(min(losses[f"{name}_gradient"], clip or np.inf), rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_each_network_warms_up_by_its_own_updates() -> None:
    spec = replace(SMALL["mend"], learning_rate=0.01, warmup=4, hold=8)
    model = pix2pix(spec)
    for play in ("generator", "generator", "both"):
        model.train_on_batch(*batch(spec), play=play)
    assert float(model.generator_optimizer.learning_rate) == pytest.approx(0.01)  # of the fourth
    assert float(model.discriminator_optimizer.learning_rate) == pytest.approx(0.005)  # of the second
    plain = Pix2Pix(replace(spec, warmup=0, hold=0))
    assert float(plain.generator_optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ema"), [("article", 0.0), ("article", 0.5), ("paper", 0.0)])
def test_recalibrated_statistics_are_the_means_over_the_batches(name: str, ema: float) -> None:
    spec = replace(SMALL[name], ema=ema, recalibrate=3)
    model = pix2pix(spec)
    assert model.ema is not None
    scramble(model.ema, 7)  # an average that is not the newest weights; without one, the newest take its place
    restoring = model.ema if ema else model.generator
    weights, others = arrays(restoring), copied(variables_by_path(model.generator) | weights_by_path(model.discriminator))
    batches = [Batch(images(spec, 2, seed), images(spec, 2, seed)) for seed in range(3)]
    norm = {"article": "down_1_norm", "paper": "down_2_norm"}[name]  # the first one: no other lies before it
    before = keras.Model(restoring.input, restoring.get_layer(norm).input)
    given = [np.asarray(before(batch.a)) for batch in batches]
    model.recalibrate(batches)
    first = arrays(model.ema)
    means, variances = (np.mean([of(each, axis=(0, 1, 2)) for each in given], axis=0) for of in (np.mean, np.var))
    assert np.allclose(first[f"generator/{norm}/moving_mean"], means, atol=1e-5)
    assert np.allclose(first[f"generator/{norm}/moving_variance"], variances, atol=1e-5)
    assert all(np.array_equal(first[path], weights[path]) == ("moving" not in path) for path in weights)
    model.recalibrate(batches)
    assert same(arrays(model.ema), first)  # whatever dropout would have drawn
    assert same(others, copied(variables_by_path(model.generator) | weights_by_path(model.discriminator)))
    assert model.ema.trainable_variables == []
    for layer in model.ema.layers:  # as they were
        twin = model.generator.get_layer(layer.name)
        assert all(getattr(layer, key, None) == getattr(twin, key, None) for key in ("rate", "momentum"))
    assert np.allclose(model.restore(batches[0].a, averaged=True), model.ema(batches[0].a, training=False), atol=1e-6)


class Counted:
    """A network that counts how often Python runs it: each time that a graph of it is traced."""

    def __init__(self, network: Any):
        self.network, self.input, self.count = network, network.input, 0

    def __call__(self, given: Any, training: bool) -> Any:
        self.count += 1
        return self.network(given, training=training)


@pytest.mark.slow
def test_any_number_of_images_is_restored_by_one_graph() -> None:
    for name, sizes in (("mend", (16, 24, 40)), ("article", (16,))):
        network = Counted(pix2pix(SMALL[name]).generator)
        restore = step_tf.inference(network)
        for count, size in [(count, size) for count in (1, 2, 3) for size in sizes]:
            a = np.zeros((count, size, size, 3), np.float32)
            assert restore(a).shape == a.shape
        assert network.count == 1


def test_a_device_without_memory_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    model = pix2pix(SMALL["tiny"])
    monkeypatch.setitem(step_tf.UPDATES, "fused", lambda model, play: full)
    with pytest.raises(MemoryError):
        model.train_on_batch(*batch(SMALL["tiny"]))


@pytest.mark.slow
def test_d_judges_a_pair_as_it_is_trained_on() -> None:
    for name in ("mend", "article"):
        model = pix2pix(SMALL[name])
        a, b = batch(SMALL[name])
        assert np.allclose(model.judge(a, b), model.discriminator([a, b], training=False), atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("updates", UPDATES)
def test_the_generators_update_leaves_the_discriminator_alone(updates: str) -> None:
    """D's moving statistics are those of its own two passes, and its weights those of its own update, whatever G does."""
    spec = SMALL["article"]
    a, b = batch(spec)
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
    a, b = batch(spec)
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
    a, b = batch(spec)
    model, reference = pix2pix(spec, "article"), pix2pix(spec, "article")
    model.discriminator_optimizer.learning_rate = 0.0
    losses = model.train_on_batch(a, b)
    discriminator = reference.discriminator
    real = adversarial(spec, discriminator([a, b], training=True), True)
    fake = adversarial(spec, discriminator([a, reference.generator(a, training=False)], training=True), False)
    fooled = adversarial(spec, discriminator([a, reference.generator(a, training=True)], training=False), True)
    expected = {"d_real": float(real), "d_fake": float(fake), "g_adversarial": float(fooled)}
    assert {name: losses[name] for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(("name", "updates"), [("paper", "fused"), ("article", "article"), ("mend", "fused")])
def test_a_checkpoint_put_back_goes_on_the_same(name: str, updates: str) -> None:
    """Dropout included: the second model is of another seed before it takes the first one's variables."""
    spec = SMALL[name]
    first = pix2pix(spec, updates)
    first.train_on_batch(*batch(spec, 0))
    kept = copied(first.variables_by_path())
    second = Pix2Pix(spec, updates)
    second.train_on_batch(*batch(spec, 5))
    second.set_variables(kept)
    assert first.train_on_batch(*batch(spec, 1)) == pytest.approx(second.train_on_batch(*batch(spec, 1)), rel=1e-6)
    assert same(copied(first.variables_by_path()), copied(second.variables_by_path()), atol=1e-7)


@pytest.mark.parametrize("name", SMALL)
def test_paths_of_a_checkpoint(name: str) -> None:
    model = Pix2Pix(SMALL[name])
    paths = list(model.variables_by_path())
    assert paths == list(Pix2Pix(SMALL[name]).variables_by_path())
    networks = (model.generator, model.discriminator)
    weights = sum(len(network.variables) for network in networks)
    rates = 2 if SMALL[name].warmup or SMALL[name].hold else 4  # iteration, and the learning rate where it has no schedule
    moments = sum(2 * len(network.trainable_variables) for network in networks)
    averages = len(model.generator.weights) if SMALL[name].ema else 0
    assert len(paths) == weights + moments + rates + averages
    assert {path.partition("/")[0] for path in paths} == {
        "generator", "discriminator", "generator_optimizer", "discriminator_optimizer", *(["ema"] if averages else []),
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
    a, _ = batch(SMALL["article"])
    assert np.array_equal(model(a), model.generator(a, training=False))


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("updates", UPDATES)
def test_mixed_precision_is_near_float32(updates: str) -> None:
    spec = SMALL["tiny"]
    exact, mixed = pix2pix(spec, updates), pix2pix(spec, updates, "mixed_bfloat16")
    a, b = batch(spec)
    assert mixed.train_on_batch(a, b) == pytest.approx(exact.train_on_batch(a, b), rel=0.02)
    assert {str(value.dtype) for value in mixed.trainable_variables} == {"float32"}


def test_what_cannot_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no updates 'both' on tensorflow: choose one of fused, article"):
        Pix2Pix(PRESETS["tiny"], "both")
    for name, play in (("mend", "both"), ("article", "generator")):
        with pytest.raises(
            UsageError, match="--updates article is for presets that do not start from cells, and trains both networks"
        ):
            Pix2Pix(SMALL[name], "article").train_on_batch(*batch(SMALL[name]), play=play)
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UsageError, match="training runs on TensorFlow or JAX, but Keras is set to torch"):
        Pix2Pix(PRESETS["tiny"])

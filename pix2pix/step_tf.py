"""The update on TensorFlow: objective -> gradients -> Adam, as one compiled function. Training imports TensorFlow here alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from dataset_tools.errors import RunError, UsageError
from pix2pix import workers
from pix2pix.backend import keras
from pix2pix.losses import adversarial, averaged, generator_losses, in_range, norm, objective

# (a, b) -> {name of a loss: scalar}
Step = Callable[[Any, Any], dict[str, Any]]


class Adam(keras.optimizers.Adam):  # type: ignore[misc]  # keras is not typed
    """Keras's Adam, the same formula, in one pass over each weight instead of ten."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Changes the tf.Variable `variable`, its momentum and its velocity."""
        index = self._get_variable_index(variable)
        count = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, m=self._momentums[index].value.handle, v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, count), beta2_power=tf.pow(self.beta_2, count), lr=learning_rate,
            beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon, grad=gradient,
        )  # fmt: skip


def fused(model: Any, play: str) -> Step:
    """One pass, both networks: G and D run in training mode, and both gradients are those of the weights before the step.

    D's moving statistics see the real pairs and the generated ones once each; G's update adds nothing to them.
    """

    def step(a: Any, b: Any) -> dict[str, Any]:
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            losses = objective(model.spec, model.generator, model.discriminator, a, b, play)
        gradients = []
        if play != "discriminator":
            gradients.append(("g", generator_tape.gradient(losses["g_loss"], model.generator.trainable_variables)))
        if play != "generator":
            gradients.append(("d", discriminator_tape.gradient(losses["d_loss"], model.discriminator.trainable_variables)))
        for name, each in gradients:
            losses[f"{name}_gradient"] = _update(model, name, each)
        return losses

    return step


def article(model: Any, play: str) -> Step:
    """The article's printed loop, with a D that trains: D on real pairs, D on generated ones, then G through a frozen D.

    D learns from fakes that G makes in inference mode, in two updates of the whole loss each (d_loss is half their sum). G runs
    in training mode, through D in inference mode, so that D's statistics are used and not touched.
    """
    spec, generator, discriminator = model.spec, model.generator, model.discriminator
    if play != "both" or spec.generator.starts_from == "cells":
        raise UsageError("--updates article is for presets that do not start from cells, and trains both networks at each step")

    def train_discriminator(a: Any, image: Any, real: bool) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss = adversarial(spec, discriminator([a, image], training=True), real)
        return loss, _update(model, "d", tape.gradient(loss, discriminator.trainable_variables))

    def step(a: Any, b: Any) -> dict[str, Any]:
        fake = generator(a, training=False)
        (d_real, _), (d_fake, d_gradient) = train_discriminator(a, b, True), train_discriminator(a, fake, False)
        losses = {"d_real": d_real, "d_fake": d_fake, "d_loss": 0.5 * (d_real + d_fake)}
        with tf.GradientTape() as tape:
            fake = generator(a, training=True)
            losses["g_adversarial"] = adversarial(spec, discriminator([a, fake], training=False), True)
            losses |= generator_losses(spec, losses["g_adversarial"], fake, b)
        losses["g_gradient"] = _update(model, "g", tape.gradient(losses["g_loss"], generator.trainable_variables))
        losses["d_gradient"] = d_gradient
        return losses

    return step


UPDATES: dict[str, Callable[[Any, str], Step]] = {"fused": fused, "article": article}


def _update(model: Any, name: str, gradients: Sequence[Any]) -> Any:
    """Adam, and for G the moving average; gives the norm of the gradient. With several replicas: of their mean."""
    shared = tf.distribute.has_strategy()
    context = tf.distribute.get_replica_context()
    if shared:
        gradients = [each / context.num_replicas_in_sync for each in gradients]
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    if shared:
        clipped = tf.clip_by_global_norm(gradients, model.spec.clip)[0] if model.spec.clip else gradients
        context.merge_call(_apply_everywhere, args=(clipped,), kwargs={"model": model, "name": name})
    else:
        network, optimizer = model.trained(name)
        optimizer.apply(gradients, network.trainable_variables)
        _average(tf.distribute.get_strategy(), model, name)
    return norm(gradients)


def _apply_everywhere(strategy: Any, gradients: Sequence[Any], model: Any, name: str) -> None:
    """`optimizer.apply`, for gradients that are the replicas' mean already, and clipped: it would add them up once more."""
    network, optimizer = model.trained(name)
    rate = optimizer.learning_rate
    for gradient, variable in zip(gradients, network.trainable_variables, strict=True):
        strategy.extended.update(
            variable.value, lambda weight, each: optimizer.update_step(each, weight, rate), args=(gradient,), group=False
        )
    optimizer.iterations.assign_add(1)
    _average(strategy, model, name)


def _average(strategy: Any, model: Any, name: str) -> None:
    if name != "g" or not model.spec.ema:
        return
    updates = model.generator_optimizer.iterations
    for average, variable in zip(model.ema.weights, model.generator.weights, strict=True):
        strategy.extended.update(
            average.value,
            lambda kept, value: kept.assign(averaged(kept, value, updates, model.spec.ema)),
            args=(variable.value,),
            group=False,
        )


def compiled(model: Any, updates: str, play: str) -> Callable[[Any, Any], dict[str, float]]:
    """The update `updates` of `model` as one graph, traced once for each shape of a batch: NumPy in, floats out."""
    update = UPDATES[updates](model, play)
    strategy = getattr(model.generator.trainable_variables[0].value, "distribute_strategy", None)

    def step(a: Any, b: Any) -> dict[str, Any]:
        return update(in_range(a), in_range(b))

    @tf.function  # type: ignore[untyped-decorator]
    def run(a: Any, b: Any) -> dict[str, Any]:
        if strategy is None:
            return step(a, b)
        losses = strategy.run(step, args=(a, b))
        return {name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None) for name, value in losses.items()}

    def call(a: Any, b: Any) -> dict[str, float]:
        with _together():
            given = [_shared(strategy, each) for each in (a, b)]
            return {name: float(value) for name, value in run(*given).items()}

    return call


def _shared(strategy: Any, batch: np.ndarray) -> Any:
    """This process's part of a batch, a piece of it for each replica here."""
    local = strategy.extended.parameter_devices if strategy else ()
    if len(local) < 2:
        return tf.constant(batch)
    pieces = np.split(batch, len(local))
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(pieces[context.replica_id_in_sync_group % len(local)])
    )


def inference(network: Any) -> Callable[[Any], np.ndarray]:
    """`network` in inference mode as one graph, for any number of images: what it takes, as NumPy -> its output, as NumPy."""
    signature = tf.nest.map_structure(lambda each: tf.TensorSpec([None, *each.shape[1:]], tf.float32), network.input)
    run = tf.function(lambda given: network(given, training=False), input_signature=[signature])

    def call(given: Any) -> np.ndarray:
        with _together():
            return np.asarray(run(tf.nest.map_structure(tf.constant, given)))

    return call


def prepare(threads: int, device: str = "auto") -> int:
    """Makes what follows repeatable: the same bits on the same machine with as many threads. Gives the threads in use.

    To be called before TensorFlow computes anything; later it can no longer change the threads. GPUs then take memory as they
    need it; with device "cpu" none is used.
    """
    tf.config.experimental.enable_op_determinism()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        if device == "cpu":
            tf.config.set_visible_devices([], "GPU")
        for gpu in tf.config.get_visible_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:  # it runs already
        pass
    return tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0))


def accelerators() -> list[str]:
    """The names of the GPUs that TensorFlow can use."""
    found = tf.config.get_visible_devices("GPU")
    return [str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")) for gpu in found]


class Spread:
    """The devices that share each batch. To be made after `prepare`, and before TensorFlow computes anything.

    Every GPU of this machine (or every logical CPU, to try it out), or those of `several` workers, for all of which it waits.

    Attributes:
        replicas: how many devices, over all workers.

    Raises:
        RunError: another worker is not there, or dies; `scope` and `agree` say so, too.
    """

    def __init__(self, several: workers.Workers | None):
        with _together():
            if several is None:
                found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
                self._strategy = tf.distribute.MirroredStrategy([device.name for device in found])
            else:
                workers.meet(several)
                self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self.replicas: int = self._strategy.num_replicas_in_sync
        self._chief = several is None or several.rank == 0

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Where a model is made that all devices share."""
        with _together(), self._strategy.scope():
            yield

    def agree(self, value: int) -> int:
        """What the first worker gives, on each of them."""
        local = len(self._strategy.extended.worker_devices)

        @tf.function  # type: ignore[untyped-decorator]
        def told() -> Any:
            given = self._strategy.run(lambda: tf.constant(value if self._chief else 0, tf.int64) * 1)
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, given, axis=None)

        with _together():
            return int(told()) // local


GONE = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


@contextmanager
def _together() -> Iterator[None]:
    """One line for what TensorFlow says in many when another worker is gone, or when the device has no memory left."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError from error
    except GONE as error:
        raise RunError("another worker of this run died or cannot be reached: start the same command again on each of them, "
                       "and it goes on from the last checkpoint") from error  # fmt: skip

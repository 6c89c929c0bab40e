"""The update on JAX: objective -> gradients -> Adam, as one compiled function. The only file that imports JAX."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dataset_tools.errors import UsageError
from pix2pix.backend import keras
from pix2pix.losses import averaged, in_range, norm, objective

UPDATES = ("fused",)
Adam = keras.optimizers.Adam


def compiled(model: Any, updates: str, play: str) -> Callable[[Any, Any], dict[str, float]]:
    """The update of `model` as one program, compiled once for each shape of a batch: NumPy in, floats out.

    As step_tf.fused: one pass, both networks, both gradients those of the weights before the step.
    """
    generator, discriminator, spec = model.generator, model.discriminator, model.spec
    trained = (generator.trainable_variables, discriminator.trainable_variables)
    others = [*generator.non_trainable_variables, *discriminator.non_trainable_variables]
    averages = list(model.ema.weights) if spec.ema else []
    optimizers = (model.generator_optimizer, model.discriminator_optimizer)
    held = [*trained[0], *trained[1], *others, *averages, *optimizers[0].variables, *optimizers[1].variables]

    def losses_of(g_weights: Any, d_weights: Any, other: Any, a: Any, b: Any) -> Any:
        values = [*zip(trained[0], g_weights), *zip(trained[1], d_weights), *zip(others, other)]  # noqa: B905
        with keras.StatelessScope(state_mapping=values) as scope:
            losses = objective(spec, generator, discriminator, a, b, play)
        after = [
            value if (new := scope.get_current_value(each)) is None else new for each, value in zip(others, other, strict=True)
        ]
        return (losses["g_loss"], losses.get("d_loss", losses["g_loss"])), (losses, after)

    def step(state: Any, a: Any, b: Any) -> Any:
        new = dict(state)
        a, b = in_range(a), in_range(b)
        _, backward, (losses, new["others"]) = jax.vjp(
            lambda g, d: losses_of(g, d, state["others"], a, b), state["g"], state["d"], has_aux=True
        )
        for name, network, optimizer, seeds in (("g", 0, optimizers[0], (1.0, 0.0)), ("d", 1, optimizers[1], (0.0, 1.0))):
            if play == {"g": "discriminator", "d": "generator"}[name]:
                continue
            gradients = backward(tuple(jax.numpy.float32(s) for s in seeds))[network]
            losses[f"{name}_gradient"] = norm(gradients)
            new[name], new[f"{name}_optimizer"] = optimizer.stateless_apply(state[f"{name}_optimizer"], gradients, state[name])
        if averages and play != "discriminator":
            weights = _all_weights(generator, new["g"], trained[0], new["others"], others)
            count = new["g_optimizer"][0]
            new["ema"] = [averaged(kept, value, count, spec.ema) for kept, value in zip(state["ema"], weights, strict=True)]
        return new, losses

    run = jax.jit(step, donate_argnums=0)
    assert optimizers[0].variables[0] is optimizers[0].iterations

    def call(a: Any, b: Any) -> dict[str, float]:
        state = {
            "g": [each.value for each in trained[0]], "d": [each.value for each in trained[1]],
            "others": [each.value for each in others], "ema": [each.value for each in averages],
            "g_optimizer": [each.value for each in optimizers[0].variables],
            "d_optimizer": [each.value for each in optimizers[1].variables],
        }  # fmt: skip
        try:
            new, losses = run(state, a, b)
            losses = jax.device_get(losses)  # waits: what fails on the device fails here
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                raise MemoryError from error
            raise
        after = [*new["g"], *new["d"], *new["others"], *new["ema"], *new["g_optimizer"], *new["d_optimizer"]]
        for variable, value in zip(held, after, strict=True):
            variable._value = value
        return {name: float(value) for name, value in losses.items()}

    return call


def _all_weights(network: Any, trained: Any, trainable: Any, others: Any, other: Any) -> list[Any]:
    """The new values of `network.weights`, in their order."""
    values = {id(variable): value for variable, value in (*zip(trainable, trained), *zip(other, others))}  # noqa: B905
    return [values[id(variable)] for variable in network.weights]


def inference(network: Any) -> Callable[[Any], np.ndarray]:
    """`network` in inference mode as one program for each shape: what it takes, as NumPy -> its output, as NumPy."""

    @jax.jit  # type: ignore[untyped-decorator]
    def run(weights: Any, others: Any, given: Any) -> Any:
        return network.stateless_call(weights, others, given, training=False)[0]

    def call(given: Any) -> np.ndarray:
        values = ([each.value for each in of] for of in (network.trainable_variables, network.non_trainable_variables))
        return np.asarray(run(*values, given))

    return call


def prepare(threads: int, device: str = "auto") -> int:
    """JAX on a CPU uses all the cores that it finds; gives their number. With device "cpu" no GPU is used."""
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    return len(os.sched_getaffinity(0))


def accelerators() -> list[str]:
    """The names of the GPUs that JAX can use."""
    return [str(device.device_kind) for device in jax.devices() if device.platform != "cpu"]


class Spread:
    """Raises UsageError: only TensorFlow has strategies here."""

    def __init__(self, several: Any):
        raise UsageError("--strategy needs TensorFlow: leave KERAS_BACKEND away")

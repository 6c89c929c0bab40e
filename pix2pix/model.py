"""Pix2Pix: two networks, two optimizers, one update. Free of a backend: the step comes from step_<backend>.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dataset_tools.errors import RunError, UsageError
from pix2pix.backend import keras, ops
from pix2pix.backend import name as backend
from pix2pix.batches import Batch
from pix2pix.losses import PLAYS, in_range
from pix2pix.muon import with_muon
from pix2pix.networks import build_discriminator, build_generator, variables_by_path, weights_by_path
from pix2pix.spec import Spec
from pix2pix.step import steps

LOSSES = ("d_loss", "d_real", "d_fake", "g_loss", "g_adversarial", "g_l1")  # of every preset, once both networks train


class Pix2Pix(keras.Model):  # type: ignore[misc]  # keras is not typed
    """A conditional GAN (Isola et al. 2017) built from a Spec. Called on A, it runs the generator.

    Args:
        spec: networks, losses and optimizers.
        updates: "fused" (one pass, both networks) or "article" (the printed loop; see step_tf.py).
        precision: dtype policy of the networks, "float32" or "mixed_bfloat16". Weights, outputs and losses stay float32.

    Attributes:
        generator, discriminator: the two networks (keras.Model).
        ema: the generator that restores, where it is not `generator` itself: of averaged weights, or of recalibrated statistics.

    Input and output of a call: (N, S, S, 3) float32 [-1, 1] RGB; of a generator that starts from cells, (N, H, W, 3).

    Raises:
        UsageError: Keras runs on a backend that has no step here, or `updates` is none of the two.
    """

    def __init__(self, spec: Spec, updates: str = "fused", precision: str = "float32"):
        super().__init__(name="pix2pix")
        self._backend = steps()
        if updates not in self._backend.UPDATES:
            raise UsageError(f"there are no updates {updates!r} on {backend()}: choose one of {', '.join(self._backend.UPDATES)}")
        self.spec, self._updates = spec, updates
        self.generator = build_generator(spec, precision)
        self.discriminator = build_discriminator(spec, precision)
        self.ema = build_generator(spec, precision) if spec.ema or spec.recalibrate else None
        if self.ema is not None:
            self.ema.trainable = False
            copy_weights(self.generator, self.ema)
        self.generator_optimizer = _optimizer(spec, self.generator, spec.muon, precision)
        self.discriminator_optimizer = _optimizer(spec, self.discriminator)
        self._steps: dict[str, Any] = {}
        self._restore: dict[str, Any] = {}

    def call(self, a: Any, training: bool = False) -> Any:
        """A -> restored, (N, S, S, 3) float32 [-1, 1]."""
        return self.generator(a, training=training)

    def trained(self, name: str) -> tuple[Any, Any]:
        """The network and the optimizer of "g" or "d"."""
        if name == "g":
            return self.generator, self.generator_optimizer
        return self.discriminator, self.discriminator_optimizer

    def train_on_batch(self, a: Any, b: Any, play: str = "both") -> dict[str, float]:
        """One update on A and B, each (N, side, side, 3) of the spec, uint8 or float32 [-1, 1].

        play: which networks change: "both", "generator" (D is not even asked), "discriminator".

        Returns:
            losses.objective's, all from before the update (with updates "article": each from before its own), and the norms
            of the gradients, g_gradient and d_gradient ("article": of its second one). g_l1 is on [-1, 1].
        """
        assert play in PLAYS
        if play not in self._steps:
            self._steps[play] = self._backend.compiled(self, self._updates, play)
        found: dict[str, float] = self._steps[play](a, b)
        return found

    def restore(self, a: Any, averaged: bool = False) -> np.ndarray:
        """A -> restored, NumPy (N, S, S, 3) float32 [-1, 1]; `averaged`: by the generator `ema`."""
        name = "ema" if averaged else "generator"
        if name not in self._restore:
            self._restore[name] = self._backend.inference(self.ema if averaged else self.generator)
        return np.asarray(self._restore[name](a))

    def judge(self, a: Any, image: Any) -> np.ndarray:
        """What D thinks of `image` as the original of A: logits (N, h, w, 1) float32, one for each patch."""
        if "discriminator" not in self._restore:
            self._restore["discriminator"] = self._backend.inference(self.discriminator)
        return np.asarray(self._restore["discriminator"]([a, image]))

    def recalibrate(self, batches: Iterable[Batch]) -> None:
        """Sets the moving statistics of BatchNorm in `ema` to the means over `batches`, seen in training mode without dropout.

        With few images a batch, the moving statistics lag behind weights that move fast; these belong to the weights as they
        are. (Izmailov et al. 2018 do the same after averaging weights.)
        """
        assert self.ema is not None, "the spec asks for no recalibration"
        if not self.spec.ema:
            copy_weights(self.generator, self.ema)
        norms = [layer for layer in self.ema.layers if isinstance(layer, keras.layers.BatchNormalization)]
        drops = [layer for layer in self.ema.layers if isinstance(layer, keras.layers.Dropout)]
        momenta, rates = [layer.momentum for layer in norms], [layer.rate for layer in drops]
        for layer in norms:
            layer.trainable = True  # else Keras runs it in inference mode
        for layer in drops:
            layer.rate = 0.0  # it would draw other numbers after a resumption
        for count, (a, _) in enumerate(batches):
            for layer in norms:
                layer.momentum = count / (count + 1)
            self.ema(in_range(a), training=True)
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum, layer.trainable = momentum, False
        for layer, rate in zip(drops, rates, strict=True):
            layer.rate = rate

    def variables_by_path(self) -> dict[str, Any]:
        """Everything that training changes, for a checkpoint: weights, moving statistics, dropout seeds, both optimizers.

        Keys are paths such as "generator/down_1_conv/kernel" and "generator_optimizer/iteration"; values are Keras variables.
        """
        found = variables_by_path(self.generator) | variables_by_path(self.discriminator)
        if self.ema is not None:
            found |= {f"ema/{path}": value for path, value in weights_by_path(self.ema).items()}
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            found |= {value.path: value for value in optimizer.variables}
        return found

    def set_variables(self, arrays: Mapping[str, Any]) -> None:
        """Puts back what `variables_by_path` gave, as arrays. Nothing is changed where anything does not fit.

        Raises:
            RunError: a key is missing or unknown, or an array has another shape; the line names the first one.
        """
        variables = self.variables_by_path()
        if missing := sorted(variables.keys() - arrays.keys()):
            raise RunError(f"the checkpoint lacks {missing[0]} ({len(missing)} missing): it is not of this model")
        if unknown := sorted(arrays.keys() - variables.keys()):
            raise RunError(f"the checkpoint holds {unknown[0]}, which this model has not ({len(unknown)} unknown)")
        for path, variable in variables.items():
            shape, expected = tuple(np.shape(arrays[path])), tuple(variable.shape)
            if shape != expected:
                raise RunError(f"the checkpoint's {path} has the shape {shape}, but this model's has {expected}")
        for path, variable in variables.items():
            variable.assign(arrays[path])


def copy_weights(source: Any, target: Any) -> None:
    """Gives `target`, a network of the same spec, the weights and moving statistics of `source`."""
    for theirs, ours in zip(source.weights, target.weights, strict=True):
        ours.assign(ops.copy(theirs))


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """The learning rate by the number of updates: from 0 up in `warmup` of them, `hold` at `peak`, then peak * sqrt(hold / n).

    It does not depend on how long the run will be, so that a run can be made longer (Vaswani et al. 2017 have this shape). With
    `cooldown` it does: all of it is multiplied by what is left of so many updates, 1 at first and 0 at their end.
    """

    def __init__(self, peak: float, warmup: int, hold: int, cooldown: int = 0):
        self.peak, self.warmup, self.hold, self.cooldown = peak, warmup, hold, cooldown

    def __call__(self, step: Any) -> Any:
        """The rate of update `step`, from 0."""
        count = ops.cast(step, "float32") + 1.0
        rate = self.peak * ops.minimum(1.0, count / max(self.warmup, 1))
        rate = rate * ops.minimum(1.0, ops.sqrt(self.hold / count)) if self.hold else rate
        return rate * ops.maximum(0.0, (self.cooldown + 1.0 - count) / self.cooldown) if self.cooldown else rate


def _optimizer(spec: Spec, network: Any, muon: float = 0.0, precision: str = "float32") -> Any:
    """Adam (Kingma and Ba 2015), with Muon at that rate, for the weights of `network`.

    Its variables are made now so that a checkpoint can hold them.
    """
    rate: Any = spec.learning_rate
    if spec.warmup or spec.hold or spec.cooldown:
        rate = WarmUp(spec.learning_rate, spec.warmup, spec.hold, spec.cooldown)
    told = {"beta_1": spec.beta1, "global_clipnorm": spec.clip or None, "name": f"{network.name}_optimizer"}
    if muon:
        dtype = "bfloat16" if precision == "mixed_bfloat16" else "float32"
        optimizer = with_muon(steps().Adam)(rate, rate=muon / spec.learning_rate, dtype=dtype, **told)
    else:
        optimizer = steps().Adam(rate, **told)
    optimizer.build(network.trainable_variables)
    return optimizer

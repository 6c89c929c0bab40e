"""Muon: the nearest orthogonal matrix, which weights it moves and by how much; Adam moves the rest as ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pix2pix import step_tf
from pix2pix.backend import ops
from pix2pix.model import Pix2Pix, WarmUp
from pix2pix.muon import MOMENTUM, is_hidden_kernel, orthogonal, with_muon
from pix2pix.networks import build_discriminator, build_generator, weights_by_path
from pix2pix.spec import PRESETS
from tests.conftest import some
from tests.test_networks import SMALL

import keras  # isort: skip

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 16, 32)).astype(np.float32)
LEAST, NEAR = 0.15, 0.8  # of POLYNOMIALS: the smallest singular value that they leave, and the cosine to U Vᵀ
MOST = {"float32": 1.9, "bfloat16": 2.5}  # the largest; a CPU without bfloat16 rounds the sums of 576 products, too: 2.01


def matrix(kernel: Any) -> np.ndarray:
    """(height, width, in, out) -> (out, height * width * in)."""
    return np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]).T


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum()))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(3, 3, 16, 32), (3, 3, 4, 64), (3, 3, 64, 8)])
def test_all_singular_values_become_near_one(shape: tuple[int, ...], dtype: str) -> None:
    """Also of a matrix that is higher than wide. U and V stay: what is nearest to U S Vᵀ is U Vᵀ."""
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = orthogonal(ops.convert_to_tensor(kernel), dtype)
    assert tuple(found.shape) == shape
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    values = np.linalg.svd(matrix(found), compute_uv=False)
    assert LEAST < values.min() <= values.max() < MOST[dtype]
    u, _, v = np.linalg.svd(matrix(kernel), full_matrices=False)
    assert cosine(matrix(found), u @ v) > NEAR
    if dtype == "float32":
        inner = u.T @ matrix(found) @ v.T
        assert np.abs(inner - np.diag(np.diag(inner))).max() < 1e-4  # the same singular vectors


def test_the_size_of_a_gradient_says_nothing() -> None:
    one, other = (np.asarray(orthogonal(ops.convert_to_tensor(KERNEL * size), "float32")) for size in (1e-3, 1e3))
    assert np.abs(one - other).max() < 1e-3
    assert not np.asarray(orthogonal(ops.zeros(KERNEL.shape), "float32")).any()  # and none is no step


def test_weak_directions_count_as_strong_ones_do() -> None:
    """Of singular values from 1 to 0.03, as gradients have them."""
    u, values, v = np.linalg.svd(matrix(KERNEL), full_matrices=False)
    given = (u @ np.diag(np.geomspace(1, 0.03, len(values))) @ v).T.reshape(KERNEL.shape).astype(np.float32)
    found = matrix(orthogonal(ops.convert_to_tensor(given), "float32"))
    assert np.linalg.svd(found, compute_uv=False).min() > LEAST
    assert cosine(found, u @ v) > max(NEAR, cosine(matrix(given), u @ v) + 0.1)


@pytest.mark.parametrize("task", ["mosaic", "colorize"])
def test_the_hidden_kernels_of_mend(task: str) -> None:
    """Those of the residual blocks: all 3 × 3 kernels but the first and the last, most of the weights."""
    generator = build_generator(PRESETS["mend"].for_task(task))
    weights = weights_by_path(generator)
    hidden = [path for path, weight in weights.items() if is_hidden_kernel(weight)]
    blocks = ("down_1_1", "down_2_1", "down_3_1", "down_4_1", "down_4_2", "up_3_1", "up_2_1", "up_1_1")
    assert hidden == [f"generator/{block}_conv_{number}/kernel" for block in blocks for number in (1, 2)]
    others = {path for path, weight in weights.items() if len(weight.shape) == 4 and weight.shape[0] == 3} - set(hidden)
    assert others == {"generator/stem_conv/kernel", "generator/out_conv/kernel"}
    assert sum(np.prod(weights[path].shape) for path in hidden) > 0.8 * generator.count_params()
    assert not [each for each in build_discriminator(SMALL["mend"]).weights if is_hidden_kernel(each)]


BASES = {"step_tf": step_tf.Adam, "keras": keras.optimizers.Adam}


@pytest.mark.parametrize("base", some(["step_tf"], ["keras"]))
def test_hidden_kernels_take_orthogonal_steps_and_adam_moves_the_rest_as_before(base: str) -> None:
    """Three updates of given gradients, beside those of Adam alone. The rate follows the schedule of Adam's."""
    adam, rates = BASES[base], WarmUp(2e-3, 2, 2)
    spec = SMALL["mend"]
    one, other = build_generator(spec), build_generator(spec)
    hidden = [is_hidden_kernel(each) for each in one.trainable_variables]
    assert sum(hidden) == 8
    told = {"beta_1": spec.beta1, "global_clipnorm": None}
    muon, plain = with_muon(adam)(rates, rate=5.0, dtype="float32", **told), adam(rates, **told)
    for optimizer, network in ((muon, one), (plain, other)):
        optimizer.build(network.trainable_variables)
        for mine, theirs in zip(network.trainable_variables, one.trainable_variables, strict=True):
            mine.assign(theirs)
    rng = np.random.default_rng(0)
    momenta = [np.zeros(each.shape, np.float32) for each in one.trainable_variables]
    for count in range(3):
        gradients = [rng.normal(size=each.shape).astype(np.float32) for each in one.trainable_variables]
        before = [np.asarray(each).copy() for each in one.trainable_variables]
        for optimizer, network in ((muon, one), (plain, other)):
            optimizer.apply([ops.convert_to_tensor(each) for each in gradients], network.trainable_variables)
        for index, (mine, theirs) in enumerate(zip(one.trainable_variables, other.trainable_variables, strict=True)):
            if not hidden[index]:
                assert np.array_equal(mine, theirs)
                continue
            momenta[index] = MOMENTUM * momenta[index] + (1 - MOMENTUM) * gradients[index]
            nesterov = MOMENTUM * momenta[index] + (1 - MOMENTUM) * gradients[index]
            expected = np.asarray(orthogonal(ops.convert_to_tensor(nesterov), "float32"))
            step = (before[index] - np.asarray(mine)) / (5.0 * float(rates(count)))
            assert np.abs(step - expected).max() < 1e-4
            u, _, v = np.linalg.svd(matrix(nesterov), full_matrices=False)
            assert cosine(matrix(step), u @ v) > NEAR


def test_the_generator_of_a_spec_with_muon_is_trained_by_it_and_nothing_else() -> None:
    spec = SMALL["mend"]
    for precision, products in (("float32", "float32"), ("mixed_bfloat16", "bfloat16")):
        model = Pix2Pix(spec, precision=precision)
        assert model.generator_optimizer.rate * spec.learning_rate == pytest.approx(spec.muon)
        assert model.generator_optimizer.products == products
        assert type(model.discriminator_optimizer) is step_tf.Adam
    without = Pix2Pix(replace(spec, muon=0.0))
    assert type(without.generator_optimizer) is step_tf.Adam
    assert without.variables_by_path().keys() == model.variables_by_path().keys()  # a checkpoint has room for either

"""The networks: exact sizes, stable names, and what their layers promise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pix2pix.networks import DISCRIMINATORS, GENERATORS, build_discriminator, build_generator, variables_by_path, weights_by_path
from pix2pix.spec import DISCRIMINATOR_KINDS, GENERATOR_KINDS, PRESETS, DiscriminatorSpec, GeneratorSpec, Spec

# preset -> generator: all, trainable; discriminator: all, trainable; its output at the preset's size
COUNTS = {
    "tiny": (740_131, 740_131, 43_633, 43_633, 8),
    "article": (41_937_603, 41_928_515, 2_771_649, 2_769_729, 16),
    "paper": (54_423_811, 54_413_955, 2_770_497, 2_768_705, 30),  # trainable: as the reference implementation counts
}

# The kinds of the presets, small: every test that does not count parameters uses these.
SMALL = {
    "article": replace(
        PRESETS["article"], size=16, generator=GeneratorSpec("upsampling_unet", (4, 6)),
        discriminator=DiscriminatorSpec("activation_norm", (4,)),
    ),
    "paper": replace(
        PRESETS["paper"], size=32, generator=GeneratorSpec("transposed_unet", (4, 6, 6, 6, 6), dropout=0.5),
        discriminator=DiscriminatorSpec("patchgan", (4, 6)),
    ),
    "tiny": replace(
        PRESETS["tiny"], size=16, generator=GeneratorSpec("residual", (6, 8), blocks=1),
        discriminator=DiscriminatorSpec("plain", (4,)),
    ),
}  # fmt: skip


def images(spec: Spec, count: int = 2, seed: int = 0) -> np.ndarray:
    """(N, S, S, 3) float32 in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, spec.size, spec.size, 3)).astype(np.float32)


def scramble(network: Any, seed: int = 0) -> Any:
    """`network` with every weight random, so that no zero and no one hides a mistake, and no activation overflows."""
    rng = np.random.default_rng(seed)
    for path, weight in weights_by_path(network).items():
        reach = np.sqrt(3 / np.prod(weight.shape[:-1])) if path.endswith("kernel") else 0.2
        low, high = (0.5, 1.5) if path.endswith(("gamma", "moving_variance")) else (-reach, reach)
        weight.assign(rng.uniform(low, high, weight.shape))
    return network


def test_every_kind_is_built_somewhere() -> None:
    assert COUNTS.keys() == SMALL.keys() == PRESETS.keys()
    assert set(GENERATORS) == set(GENERATOR_KINDS) == {spec.generator.kind for spec in SMALL.values()}
    assert set(DISCRIMINATORS) == set(DISCRIMINATOR_KINDS) == {spec.discriminator.kind for spec in SMALL.values()}


@pytest.mark.parametrize("name", PRESETS)
def test_exact_parameter_counts(name: str) -> None:
    spec = PRESETS[name]
    generator, discriminator = build_generator(spec), build_discriminator(spec)
    trainable = [sum(int(np.prod(w.shape)) for w in network.trainable_weights) for network in (generator, discriminator)]
    side = discriminator.output_shape[1]
    assert (generator.count_params(), trainable[0], discriminator.count_params(), trainable[1], side) == COUNTS[name]
    assert discriminator.output_shape == (None, side, side, 1)


@pytest.mark.parametrize("name", SMALL)
def test_shapes_and_range(name: str) -> None:
    spec = SMALL[name]
    a = images(spec)
    restored = np.asarray(scramble(build_generator(spec))(a))
    assert restored.shape == a.shape
    assert restored.dtype == np.float32
    assert np.abs(restored).max() <= 1
    logits = np.asarray(build_discriminator(spec)([a, a]))
    assert logits.dtype == np.float32
    assert logits.shape[0] == 2
    assert logits.shape[3] == 1


@pytest.mark.parametrize("name", SMALL)
def test_names_are_unique_and_the_same_in_the_next_network(name: str) -> None:
    first, second = (variables_by_path(build_generator(SMALL[name])) for _ in range(2))
    assert list(first) == list(second)
    assert all(path.startswith("generator/") and path.count("/") == 2 for path in first)
    assert not [path for path in weights_by_path(build_generator(SMALL[name])) if "seed" in path]


def test_paths_of_the_article() -> None:
    paths = list(weights_by_path(build_generator(SMALL["article"])))
    assert paths[:6] == [
        "generator/down_1_conv/kernel", "generator/down_1_conv/bias", "generator/down_1_norm/gamma",
        "generator/down_1_norm/beta", "generator/down_1_norm/moving_mean", "generator/down_1_norm/moving_variance",
    ]  # fmt: skip
    assert paths[-2:] == ["generator/out_conv/kernel", "generator/out_conv/bias"]


@pytest.mark.parametrize("name", SMALL)
def test_mixed_precision_keeps_float32_outside(name: str) -> None:
    spec = SMALL[name]
    for build, inputs in ((build_generator, images(spec)), (build_discriminator, [images(spec), images(spec, seed=1)])):
        exact, mixed = scramble(build(spec)), scramble(build(spec, "mixed_bfloat16"))
        assert {str(weight.dtype) for weight in mixed.weights} == {"float32"}
        assert {layer.compute_dtype for layer in mixed.layers if "conv" in layer.name} == {"bfloat16"}
        given = np.asarray(mixed(inputs))
        assert given.dtype == np.float32
        assert 0 < np.abs(given - np.asarray(exact(inputs))).max() < 0.05


def test_the_discriminator_sees_a_before_b() -> None:
    spec = SMALL["tiny"]
    discriminator = scramble(build_discriminator(spec))
    a, b = images(spec), images(spec, seed=1)
    kernel = discriminator.get_layer("level_1_conv").kernel
    kernel.assign(np.concatenate([np.asarray(kernel)[:, :, :3], np.zeros_like(np.asarray(kernel)[:, :, 3:])], axis=2))
    assert np.array_equal(discriminator([a, b]), discriminator([a, a]))
    assert not np.array_equal(discriminator([a, b]), discriminator([b, b]))


def test_tiny_starts_at_its_input_and_takes_other_sizes() -> None:
    generator = build_generator(SMALL["tiny"])
    wide = np.random.default_rng(0).uniform(-1, 1, (1, 24, 40, 3)).astype(np.float32)
    assert np.array_equal(generator(wide), wide)


@pytest.mark.parametrize("name", SMALL)
def test_tiny_alone_is_free_of_the_rest_of_its_batch(name: str) -> None:
    generator = scramble(build_generator(SMALL[name]))
    a = images(SMALL[name], 3)
    together = np.asarray(generator(a, training=True))[:1]
    alone = np.asarray(generator(a[:1], training=True))
    assert np.allclose(together, alone, atol=1e-6) == (name == "tiny")


def test_paper_initial_weights() -> None:
    generator = build_generator(PRESETS["paper"])
    weights = {path: np.asarray(weight) for path, weight in weights_by_path(generator).items()}
    kernels = {path: weight for path, weight in weights.items() if path.endswith("kernel")}
    assert all(abs(weight.std() - 0.02) < 2e-3 and abs(weight.mean()) < 2e-3 for weight in kernels.values())
    gamma = weights["generator/up_1_norm/gamma"]
    assert abs(gamma.mean() - 1) < 5e-3
    assert 0.015 < gamma.std() < 0.025
    assert not np.array_equal(weights["generator/down_6_conv/kernel"], weights["generator/down_7_conv/kernel"])


def test_paper_dropout_only_in_training() -> None:
    generator = scramble(build_generator(SMALL["paper"]))
    a = images(SMALL["paper"])
    assert np.array_equal(generator(a, training=False), generator(a, training=False))
    assert not np.array_equal(generator(a, training=True), generator(a, training=True))
    assert [layer.name for layer in generator.layers if "drop" in layer.name] == ["up_1_drop", "up_2_drop", "up_3_drop"]

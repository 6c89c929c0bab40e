"""The networks, free of a backend: NHWC, float32 in and out, [-1, 1]. Every layer has a fixed name, so weight paths are stable.

upsampling_unet + activation_norm are the article's (after the pix2pix of the Keras-GAN collection); transposed_unet + patchgan
are those of Isola et al. 2017 as their reference implementation builds them; residual + plain are small and use no statistics
of the batch, so they train well on a few photos.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports failures of optional parts (no GPU) as errors

from dataset_tools.system import quiet_native
from pix2pix.spec import STEM, Spec

with quiet_native():
    import keras
    from keras import layers

DROPPED = 3  # decoder layers with dropout in the transposed_unet


def build_generator(spec: Spec, precision: str = "float32") -> Any:
    """keras.Model: A (N, S, S, 3) float32 [-1, 1] -> restored, alike. The residual kind takes any multiple of the stride.

    precision: the dtype policy of the layers, "float32" or "mixed_bfloat16"; input, weights and output stay float32.
    """
    return GENERATORS[spec.generator.kind](spec, precision)


def build_discriminator(spec: Spec, precision: str = "float32") -> Any:
    """keras.Model: [A, B], each (N, S, S, 3) float32 [-1, 1] -> logits (N, h, w, 1) float32, one for each patch.

    The two are concatenated in this order, A first. S = 256 gives 16 × 16 (article) or 30 × 30 patches (paper).
    """
    a = layers.Input((spec.size, spec.size, 3), name="a")
    b = layers.Input((spec.size, spec.size, 3), name="b")
    x = layers.Concatenate(name="pair", dtype=precision)([a, b])  # (N, S, S, 6)
    x = DISCRIMINATORS[spec.discriminator.kind](spec, precision, x)
    x = layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model([a, b], x, name="discriminator")


def weights_by_path(network: Any) -> dict[str, Any]:
    """{"generator/down_1_conv/kernel": keras.Variable, …}: weights and moving statistics of `network`, in layer order."""
    return _by_path(network, lambda layer: layer.weights)


def variables_by_path(network: Any) -> dict[str, Any]:
    """`weights_by_path` and the states of the dropout layers' random generators."""
    return _by_path(network, lambda layer: layer.variables)


def _by_path(network: Any, of: Callable[[Any], list[Any]]) -> dict[str, Any]:
    # Not Keras's own path: the dropout seeds of a second network in the process would be numbered on.
    found = {f"{network.name}/{layer.name}/{value.name}": value for layer in network.layers for value in of(layer)}
    assert len(found) == len(of(network)), f"weight paths of {network.name} are not unique"
    return found


def _upsampling_unet(spec: Spec, precision: str) -> Any:
    """Down: 4×4 stride 2 -> LeakyReLU 0.2 -> BatchNorm. Up: nearest ×2 -> 4×4 -> ReLU -> BatchNorm -> skip. Out: tanh."""
    filters = spec.generator.filters
    image = x = layers.Input((spec.size, spec.size, 3), name="image")
    skips = []
    for level, width in enumerate(filters, 1):
        x = layers.Conv2D(width, 4, strides=2, padding="same", dtype=precision, name=f"down_{level}_conv")(x)
        x = layers.LeakyReLU(0.2, dtype=precision, name=f"down_{level}_act")(x)
        x = layers.BatchNormalization(dtype=precision, name=f"down_{level}_norm")(x)
        skips.append(x)
    for level, (width, skip) in enumerate(zip(filters[-2::-1], skips[-2::-1], strict=True), 1):
        x = layers.UpSampling2D(2, dtype=precision, name=f"up_{level}_double")(x)
        x = layers.Conv2D(width, 4, padding="same", dtype=precision, name=f"up_{level}_conv")(x)
        x = layers.ReLU(dtype=precision, name=f"up_{level}_act")(x)
        x = layers.BatchNormalization(dtype=precision, name=f"up_{level}_norm")(x)
        x = layers.Concatenate(dtype=precision, name=f"up_{level}_skip")([x, skip])
    x = layers.UpSampling2D(2, dtype=precision, name="out_double")(x)
    x = layers.Conv2D(3, 4, padding="same", dtype=precision, name="out_conv")(x)
    x = layers.Activation("tanh", dtype="float32", name="out_tanh")(x)
    return keras.Model(image, x, name="generator")


def _normal(mean: float = 0.0) -> Any:
    """A fresh initializer for each weight: the one of the reference implementation."""
    return keras.initializers.RandomNormal(mean, 0.02)


def _reference_norm(precision: str, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=_normal(1.0), dtype=precision, name=name)


def _transposed_unet(spec: Spec, precision: str) -> Any:
    """Down: LeakyReLU 0.2 -> 4×4 stride 2 -> BatchNorm. Up: ReLU -> transposed 4×4 stride 2 -> BatchNorm -> dropout -> skip.

    No activation before the first convolution, no BatchNorm after the first and the last one down; biases only in the last layer.
    Dropout is off when restoring, so that a photo is restored in the same way each time.
    """
    filters = spec.generator.filters
    image = x = layers.Input((spec.size, spec.size, 3), name="image")
    skips = []
    for level, width in enumerate(filters, 1):
        if level > 1:
            x = layers.LeakyReLU(0.2, dtype=precision, name=f"down_{level}_act")(x)
        x = layers.Conv2D(width, 4, strides=2, padding="same", use_bias=False, kernel_initializer=_normal(),
                          dtype=precision, name=f"down_{level}_conv")(x)  # fmt: skip
        if 1 < level < len(filters):
            x = _reference_norm(precision, f"down_{level}_norm")(x)
        skips.append(x)
    for level, (width, skip) in enumerate(zip(filters[-2::-1], skips[-2::-1], strict=True), 1):
        x = layers.ReLU(dtype=precision, name=f"up_{level}_act")(x)
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", use_bias=False, kernel_initializer=_normal(),
                                   dtype=precision, name=f"up_{level}_conv")(x)  # fmt: skip
        x = _reference_norm(precision, f"up_{level}_norm")(x)
        if level <= DROPPED:
            x = layers.Dropout(spec.generator.dropout, dtype=precision, name=f"up_{level}_drop")(x)
        x = layers.Concatenate(dtype=precision, name=f"up_{level}_skip")([x, skip])
    x = layers.ReLU(dtype=precision, name="out_act")(x)
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", kernel_initializer=_normal(), dtype=precision, name="out_conv")(x)
    x = layers.Activation("tanh", dtype="float32", name="out_tanh")(x)
    return keras.Model(image, x, name="generator")


def _refined(spec: Spec, precision: str, x: Any, width: int, name: str) -> Any:
    """Residual blocks: x + conv(dropout(silu(conv(silu(x))))), 3×3, each the identity at first."""
    for block in range(1, spec.generator.blocks + 1):
        y = layers.Activation("silu", dtype=precision, name=f"{name}_{block}_act_1")(x)
        y = layers.Conv2D(width, 3, padding="same", dtype=precision, name=f"{name}_{block}_conv_1")(y)
        y = layers.Activation("silu", dtype=precision, name=f"{name}_{block}_act_2")(y)
        if spec.generator.dropout:
            y = layers.Dropout(spec.generator.dropout, dtype=precision, name=f"{name}_{block}_drop")(y)
        y = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros", dtype=precision,
                          name=f"{name}_{block}_conv_2")(y)  # fmt: skip
        x = layers.Add(dtype=precision, name=f"{name}_{block}_add")([x, y])
    return x


def _residual(spec: Spec, precision: str) -> Any:
    """A + correction, clipped to [-1, 1]. The correction is a small U-Net of residual blocks at 1/2 of the size and below.

    Its last layer starts at zero, so training starts from A itself. No statistics of the batch are used anywhere.
    """
    filters = spec.generator.filters
    image = layers.Input((None, None, 3), name="image")
    x = layers.Conv2D(filters[0], 4, strides=STEM, padding="same", dtype=precision, name="stem")(image)  # (N, S/2, S/2, C)
    x = _refined(spec, precision, x, filters[0], "down_1")
    skips = [x]
    for level, width in enumerate(filters[1:], 2):
        x = layers.Conv2D(width, 4, strides=2, padding="same", dtype=precision, name=f"down_{level}_half")(x)
        x = _refined(spec, precision, x, width, f"down_{level}")
        skips.append(x)
    for level, width in reversed(list(enumerate(filters[:-1], 1))):
        x = layers.Conv2D(width, 3, padding="same", dtype=precision, name=f"up_{level}_conv")(x)
        x = layers.UpSampling2D(2, dtype=precision, name=f"up_{level}_double")(x)
        x = layers.Add(dtype=precision, name=f"up_{level}_skip")([x, skips[level - 1]])
        x = _refined(spec, precision, x, width, f"up_{level}")
    x = layers.Activation("silu", dtype=precision, name="out_act")(x)
    x = layers.UpSampling2D(STEM, dtype=precision, name="out_double")(x)
    x = layers.Conv2D(3, 5, padding="same", kernel_initializer="zeros", dtype=precision, name="out_conv")(x)
    x = layers.Add(dtype="float32", name="out_add")([image, x])
    x = layers.Activation("hard_tanh", dtype="float32", name="out_clip")(x)
    return keras.Model(image, x, name="generator")


def _strided(spec: Spec, precision: str, x: Any, norm: bool) -> Any:
    """4×4 stride 2 -> LeakyReLU 0.2 (-> BatchNorm), each level; then 4×4 to one channel, 'same'. Four levels see 94 × 94 px."""
    for level, width in enumerate(spec.discriminator.filters, 1):
        x = layers.Conv2D(width, 4, strides=2, padding="same", dtype=precision, name=f"level_{level}_conv")(x)
        x = layers.LeakyReLU(0.2, dtype=precision, name=f"level_{level}_act")(x)
        if norm:
            x = layers.BatchNormalization(dtype=precision, name=f"level_{level}_norm")(x)
    return layers.Conv2D(1, 4, padding="same", dtype=precision, name="out_conv")(x)


def _patchgan(spec: Spec, precision: str, x: Any) -> Any:
    """4×4 convolutions over a border of one zero, stride 2 but for the last level's 1: conv -> BatchNorm (not the first) ->
    LeakyReLU 0.2; then 4×4 stride 1 to one channel. Four levels see 70 × 70 px: 256 -> 128 -> 64 -> 32 -> 31 -> 30."""
    filters = spec.discriminator.filters
    for level, width in enumerate(filters, 1):
        x = layers.ZeroPadding2D(1, dtype=precision, name=f"level_{level}_pad")(x)
        x = layers.Conv2D(width, 4, strides=2 if level < len(filters) else 1, use_bias=level == 1, kernel_initializer=_normal(),
                          dtype=precision, name=f"level_{level}_conv")(x)  # fmt: skip
        if level > 1:
            x = _reference_norm(precision, f"level_{level}_norm")(x)
        x = layers.LeakyReLU(0.2, dtype=precision, name=f"level_{level}_act")(x)
    x = layers.ZeroPadding2D(1, dtype=precision, name="out_pad")(x)
    return layers.Conv2D(1, 4, kernel_initializer=_normal(), dtype=precision, name="out_conv")(x)


GENERATORS: dict[str, Callable[[Spec, str], Any]] = {
    "upsampling_unet": _upsampling_unet, "transposed_unet": _transposed_unet, "residual": _residual,
}  # fmt: skip
DISCRIMINATORS: dict[str, Callable[[Spec, str, Any], Any]] = {
    "activation_norm": partial(_strided, norm=True), "patchgan": _patchgan, "plain": partial(_strided, norm=False),
}  # fmt: skip

"""The generators, a function a kind, free of a backend: NHWC, float32 in and out, [-1, 1]. Every layer has a fixed name.

upsampling_unet is the article's (after the pix2pix of the Keras-GAN collection); transposed_unet is that of Isola et al. 2017 as
their reference implementation builds it; residual is our own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataset_tools.cells import CELL
from pix2pix.backend import keras, layers
from pix2pix.layers import Between, CellMeans, Chroma, Clip, DepthToSpace, DoubledConv2D, KeepMeans, Luminance, SpaceToDepth
from pix2pix.spec import Spec

DROPPED = 3  # decoder layers with dropout in the transposed_unet


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
        x = DoubledConv2D(width, dtype=precision, name=f"up_{level}_conv")(x)
        x = layers.ReLU(dtype=precision, name=f"up_{level}_act")(x)
        x = layers.BatchNormalization(dtype=precision, name=f"up_{level}_norm")(x)
        x = layers.Concatenate(dtype=precision, name=f"up_{level}_skip")([x, skip])
    x = DoubledConv2D(3, dtype=precision, name="out_conv")(x)
    x = layers.Activation("tanh", dtype="float32", name="out_tanh")(x)
    return keras.Model(image, x, name="generator")


def normal(mean: float = 0.0) -> Any:
    """A fresh initializer for each weight: the one of the reference implementation."""
    return keras.initializers.RandomNormal(mean, 0.02)


def reference_norm(precision: str, name: str) -> Any:
    """BatchNormalization as the reference implementation has it."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=normal(1.0), dtype=precision, name=name)


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
        x = layers.Conv2D(width, 4, strides=2, padding="same", use_bias=False, kernel_initializer=normal(),
                          dtype=precision, name=f"down_{level}_conv")(x)  # fmt: skip
        if 1 < level < len(filters):
            x = reference_norm(precision, f"down_{level}_norm")(x)
        skips.append(x)
    for level, (width, skip) in enumerate(zip(filters[-2::-1], skips[-2::-1], strict=True), 1):
        x = layers.ReLU(dtype=precision, name=f"up_{level}_act")(x)
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", use_bias=False, kernel_initializer=normal(),
                                   dtype=precision, name=f"up_{level}_conv")(x)  # fmt: skip
        x = reference_norm(precision, f"up_{level}_norm")(x)
        if level <= DROPPED:
            x = layers.Dropout(spec.generator.dropout, dtype=precision, name=f"up_{level}_drop")(x)
        x = layers.Concatenate(dtype=precision, name=f"up_{level}_skip")([x, skip])
    x = layers.ReLU(dtype=precision, name="out_act")(x)
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", kernel_initializer=normal(), dtype=precision, name="out_conv")(x)
    x = layers.Activation("tanh", dtype="float32", name="out_tanh")(x)
    return keras.Model(image, x, name="generator")


def _refined(spec: Spec, precision: str, x: Any, width: int, blocks: int, name: str) -> Any:
    """Residual blocks: x + conv(dropout(silu(conv(silu(x))))), 3×3, each the identity at first."""
    for block in range(1, blocks + 1):
        y = layers.Activation("silu", dtype=precision, name=f"{name}_{block}_act_1")(x)
        y = layers.Conv2D(
            width, 3, padding="same", kernel_initializer="he_normal", dtype=precision, name=f"{name}_{block}_conv_1"
        )(y)
        y = layers.Activation("silu", dtype=precision, name=f"{name}_{block}_act_2")(y)
        if spec.generator.dropout:
            y = layers.Dropout(spec.generator.dropout, dtype=precision, name=f"{name}_{block}_drop")(y)
        y = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros", dtype=precision,
                          name=f"{name}_{block}_conv_2")(y)  # fmt: skip
        x = layers.Add(dtype=precision, name=f"{name}_{block}_add")([x, y])
    return x


def _residual(spec: Spec, precision: str) -> Any:
    """What is known + a correction by a U-Net of residual blocks, all of whose work is at 1/stem of the size and below.

    What is known (`starts_from`): the input; the smooth image between the cells of a mosaic, and then the means of the restored
    image over the cells are made to be the cells; or the luminance of the input, and then the correction has two channels, blue
    and red difference, and leaves the luminance alone. The last layer starts at zero, so training starts from what is known. No
    statistics of the batch are used; any multiple of the stride is a size.
    """
    part, stem = spec.generator, spec.generator.stem
    image = known = x = layers.Input((None, None, 3), name="image")
    if part.starts_from == "cells":
        cells = CellMeans(dtype="float32", name="cells")(image)
        known = DepthToSpace(CELL, dtype="float32", name="known")(Between(dtype="float32", name="between")(cells))
        x = known
    elif part.starts_from == "luminance":
        known = Luminance(dtype="float32", name="luminance")(image)
    x = SpaceToDepth(stem, dtype=precision, name="stem_pixels")(x)
    x = layers.Conv2D(part.filters[0], 3, padding="same", dtype=precision, name="stem_conv")(x)
    x = _refined(spec, precision, x, part.filters[0], part.blocks[0], "down_1")
    skips = [x]  # (N, S / stem, S / stem, C) is the finest
    for level, (width, blocks) in enumerate(zip(part.filters[1:], part.blocks[1:], strict=True), 2):
        x = layers.Conv2D(width, 2, strides=2, padding="same", dtype=precision, name=f"down_{level}_half")(x)
        x = _refined(spec, precision, x, width, blocks, f"down_{level}")
        skips.append(x)
    for level in range(len(skips) - 1, 0, -1):
        width, blocks = part.filters[level - 1], part.blocks[level - 1]
        x = layers.Conv2D(4 * width, 1, padding="same", dtype=precision, name=f"up_{level}_conv")(x)
        x = DepthToSpace(2, dtype=precision, name=f"up_{level}_double")(x)
        x = layers.Add(dtype=precision, name=f"up_{level}_skip")([x, skips[level - 1]])
        x = _refined(spec, precision, x, width, blocks, f"up_{level}")
    x = layers.Activation("silu", dtype=precision, name="out_act")(x)
    chroma = part.starts_from == "luminance"
    x = layers.Conv2D((2 if chroma else 3) * stem**2, 3, padding="same", kernel_initializer="zeros", dtype=precision,
                      name="out_conv")(x)  # fmt: skip
    x = DepthToSpace(stem, dtype=precision, name="out_pixels")(x)
    x = Chroma(dtype="float32", name="out_chroma")(x) if chroma else x
    x = layers.Add(dtype="float32", name="out_add")([known, x])
    x = KeepMeans(dtype="float32", name="out_means")([x, cells]) if part.starts_from == "cells" else x
    return keras.Model(image, Clip(dtype="float32", name="out_clip")(x), name="generator")


GENERATORS: dict[str, Callable[[Spec, str], Any]] = {
    "upsampling_unet": _upsampling_unet, "transposed_unet": _transposed_unet, "residual": _residual,
}  # fmt: skip

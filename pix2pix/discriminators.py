"""The discriminators, a function a kind, free of a backend: (N, S, S, 6) -> logits (N, h, w, 1), one for each patch.

activation_norm is the article's; patchgan is that of Isola et al. 2017; plain uses no statistics of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pix2pix.backend import layers
from pix2pix.generators import normal, reference_norm
from pix2pix.spec import Spec


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
        x = layers.Conv2D(width, 4, strides=2 if level < len(filters) else 1, use_bias=level == 1, kernel_initializer=normal(),
                          dtype=precision, name=f"level_{level}_conv")(x)  # fmt: skip
        if level > 1:
            x = reference_norm(precision, f"level_{level}_norm")(x)
        x = layers.LeakyReLU(0.2, dtype=precision, name=f"level_{level}_act")(x)
    x = layers.ZeroPadding2D(1, dtype=precision, name="out_pad")(x)
    return layers.Conv2D(1, 4, kernel_initializer=normal(), dtype=precision, name="out_conv")(x)


DISCRIMINATORS: dict[str, Callable[[Spec, str, Any], Any]] = {
    "activation_norm": partial(_strided, norm=True), "patchgan": _patchgan, "plain": partial(_strided, norm=False),
}  # fmt: skip

"""The layers that Keras does not have, free of a backend: NHWC."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from dataset_tools.cells import CELL
from pix2pix.backend import layers, ops
from pix2pix.pixels import LUMA, chroma_matrix

# Rows of a 5-tap kernel of stride 2 as sums of the 4 taps that follow a doubling: w3, w2+w3, w1+w2, w0+w1, w0.
_SPREAD = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], np.float32)
REACH = 4  # cells on each side that `Between` looks at
_LARGE = 16  # pixels a side of an input from which the summed kernel pays for itself


class DoubledConv2D(layers.Layer):  # type: ignore[misc]  # keras is not typed
    """Nearest doubling, then a 4×4 convolution ('same', stride 1, with bias): (N, H, W, C) -> (N, 2H, 2W, filters).

    On large inputs in float32 computed as one transposed convolution of stride 2, whose 5×5 kernel is summed from the 4×4 one:
    the same function with the same weights in 25 multiplications for each four pixels instead of 64. On a CPU transposed
    convolutions are slow in bfloat16, and the sums cost more than they save on small inputs.
    """

    def __init__(self, filters: int, **options: Any):
        super().__init__(**options)
        self.filters = filters

    def build(self, shape: tuple[int, ...]) -> None:
        """kernel (4, 4, C, filters) as Keras's Conv2D draws it (Glorot uniform), and bias (filters,)."""
        self.kernel = self.add_weight(name="kernel", shape=(4, 4, shape[-1], self.filters), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, x: Any) -> Any:
        """(N, H, W, C) -> (N, 2H, 2W, filters)."""
        height, width = x.shape[1:3]
        if self.compute_dtype != "float32" or None in (height, width) or min(height, width) < _LARGE:
            doubled = ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)
            return ops.conv(doubled, self.kernel, padding="same") + self.bias
        spread = ops.convert_to_tensor(_SPREAD)
        kernel = ops.einsum("pi,qj,ijco->pqoc", spread, spread, self.kernel)  # transposed kernels hold (rows, columns, out, in)
        whole = ops.conv_transpose(x, kernel, strides=2, padding="valid")  # (N, 2H + 3, 2W + 3, filters)
        return whole[:, 2 : 2 * height + 2, 2 : 2 * width + 2] + self.bias

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(N, H, W, C) -> (N, 2H, 2W, filters)."""
        count, height, width, _ = shape
        return count, height and 2 * height, width and 2 * width, self.filters


class SpaceToDepth(layers.Layer):  # type: ignore[misc]
    """Pixel-unshuffle: squares of factor × factor pixels become one position, channels ordered row, column, colour."""

    def __init__(self, factor: int, **options: Any):
        super().__init__(**options)
        self.factor = factor

    def call(self, x: Any) -> Any:
        """(N, H, W, C) -> (N, H / factor, W / factor, factor² C)."""
        _, height, width, channels = ops.shape(x)
        rows, columns = height // self.factor, width // self.factor
        x = ops.reshape(x, (-1, self.factor, columns, self.factor * channels))
        return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, rows, columns, self.factor**2 * channels))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(N, H, W, C) -> (N, H / factor, W / factor, factor² C)."""
        count, height, width, channels = shape
        assert channels
        return count, height and height // self.factor, width and width // self.factor, channels * self.factor**2


class DepthToSpace(layers.Layer):  # type: ignore[misc]
    """Pixel-shuffle (Shi et al. 2016): the inverse of SpaceToDepth."""

    def __init__(self, factor: int, **options: Any):
        super().__init__(**options)
        self.factor = factor

    def call(self, x: Any) -> Any:
        """(N, H, W, C) -> (N, factor H, factor W, C / factor²)."""
        _, height, width, channels = ops.shape(x)
        colours = channels // self.factor**2
        x = ops.reshape(x, (-1, width, self.factor, self.factor * colours))
        return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, height * self.factor, width * self.factor, colours))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(N, H, W, C) -> (N, factor H, factor W, C / factor²)."""
        count, height, width, channels = shape
        assert channels
        return count, height and height * self.factor, width and width * self.factor, channels // self.factor**2


class CellMeans(layers.Layer):  # type: ignore[misc]
    """The mean of each square of CELL × CELL pixels: (N, H, W, C) -> (N, H / CELL, W / CELL, C)."""

    def call(self, x: Any) -> Any:
        """(N, H, W, C) -> (N, H / CELL, W / CELL, C)."""
        return cell_means(x)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(N, H, W, C) -> (N, H / CELL, W / CELL, C)."""
        count, height, width, channels = shape
        return count, height and height // CELL, width and width // CELL, channels


class Between(layers.Layer):  # type: ignore[misc]
    """The smooth image between cells, as DepthToSpace(CELL) takes it: (N, h, w, 3) -> (N, h, w, 3 CELL²).

    Cubic convolution (Keys 1981) of the cells, after these were sharpened so that the means of the image over the cells are
    nearly the cells themselves again: of the cubic alone they are too flat. Beyond the border the outermost cells go on.
    """

    def call(self, cells: Any) -> Any:
        """(N, h, w, 3) -> (N, h, w, 3 CELL²)."""
        x = cells
        for axis in (1, 2):
            first, last = (x[:, :1], x[:, -1:]) if axis == 1 else (x[:, :, :1], x[:, :, -1:])
            x = ops.concatenate([ops.repeat(first, REACH, axis=axis), x, ops.repeat(last, REACH, axis=axis)], axis=axis)
        return ops.conv(x, ops.convert_to_tensor(between_kernel(), dtype=self.compute_dtype), padding="valid")

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(N, h, w, 3) -> (N, h, w, 3 CELL²)."""
        return (*shape[:-1], 3 * CELL**2)


class KeepMeans(layers.Layer):  # type: ignore[misc]
    """[image (N, H, W, C), cells (N, H / CELL, W / CELL, C)] -> the image, each square moved so that its mean is its cell."""

    def call(self, given: list[Any]) -> Any:
        """[(N, H, W, C), (N, H / CELL, W / CELL, C)] -> (N, H, W, C)."""
        image, cells = given
        return image + ops.repeat(ops.repeat(cells - cell_means(image), CELL, axis=1), CELL, axis=2)

    def compute_output_shape(self, shapes: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """As the image."""
        return shapes[0]


def cell_means(x: Any) -> Any:
    """(N, H, W, C) -> (N, H / CELL, W / CELL, C)."""
    return ops.average_pool(x, CELL, CELL, padding="valid")


@cache
def between_kernel() -> np.ndarray:
    """The kernel of `Between`: (2 REACH + 1, 2 REACH + 1, 3, 3 CELL²) float32, outputs ordered row, column, colour."""
    offsets = np.arange(-2, 3)
    places = (np.arange(CELL) + 0.5) / CELL - 0.5  # of the pixels of a cell, from its centre, in cells
    away = np.abs(places[:, None] - offsets)  # (CELL, 5)
    near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    cubic = np.where(away <= 1, near, np.where(away < 2, far, 0.0))
    sharper = 2 * (offsets == 0) - cubic.mean(axis=0)  # (5,): twice the cells less the means of what comes of them
    line = np.stack([np.convolve(taps, sharper) for taps in cubic])  # (CELL, 9)
    both = np.einsum("pi,qj->ijpq", line, line)  # (9, 9, CELL, CELL)
    kernel = np.einsum("ijpq,co->ijcpqo", both, np.eye(3))
    return np.asarray(kernel.reshape(*both.shape[:2], 3, -1), np.float32)


class Luminance(layers.Layer):  # type: ignore[misc]
    """(N, H, W, 3) RGB -> the same in gray: Y of BT.601 in all three channels."""

    def call(self, x: Any) -> Any:
        """(N, H, W, 3) -> (N, H, W, 3)."""
        luma = ops.sum(x * ops.convert_to_tensor(LUMA, dtype=self.compute_dtype), axis=-1, keepdims=True)
        return ops.repeat(luma, 3, axis=-1)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As its input."""
        return shape


class Chroma(layers.Layer):  # type: ignore[misc]
    """(N, H, W, 2) blue and red difference (Cb, Cr of BT.601) -> (N, H, W, 3): what they add to a gray image, itself of Y = 0."""

    def call(self, x: Any) -> Any:
        """(N, H, W, 2) -> (N, H, W, 3)."""
        return ops.matmul(x, ops.convert_to_tensor(chroma_matrix(), dtype=self.compute_dtype))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(N, H, W, 2) -> (N, H, W, 3)."""
        return (*shape[:-1], 3)


class Clip(layers.Layer):  # type: ignore[misc]
    """Clips to [-1, 1] when restoring. Not in training, where a clipped value would have no gradient."""

    def call(self, x: Any, training: bool = False) -> Any:
        """Any shape -> the same."""
        return x if training else ops.clip(x, -1.0, 1.0)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As its input."""
        return shape

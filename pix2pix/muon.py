"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): momentum, of which each kernel takes the nearest
orthogonal matrix as its step. Free of a backend. Weights that are no kernels between two layers are left to Adam."""

from __future__ import annotations

from typing import Any

from pix2pix.backend import ops

MOMENTUM = 0.95
# Of the polynomials a x + b x³ + c x⁵ that bring all singular values near 1, one after the other, the first three of Polar
# Express (Amsel et al. 2025, arXiv:2505.16932). They stop short of it, at 0.2 to 1.9: closer ones cost more, or learned slower.
POLYNOMIALS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
)
ROOM = 1.01  # the polynomials want singular values below 1, with rounding


def is_hidden_kernel(variable: Any) -> bool:
    """Whether Muon moves it: a 3 × 3 kernel whose inputs and outputs are features, so neither of the first nor the last layer."""
    return len(variable.shape) == 4 and variable.shape[0] == 3 and not variable.path.split("/")[-2].startswith(("stem", "out"))


def orthogonal(matrix: Any, dtype: str) -> Any:
    """The nearest orthogonal matrix to (height, width, in, out), as one of (out, height * width * in), nearly; same shape.

    dtype: of the products, "float32" or "bfloat16".
    """
    shape = matrix.shape
    x = ops.transpose(ops.reshape(matrix, (-1, shape[-1])))  # (out, height * width * in)
    x = ops.cast(x / (ROOM * ops.sqrt(ops.sum(ops.square(x))) + 1e-7), dtype)
    for a, b, c in POLYNOMIALS:
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.reshape(ops.transpose(ops.cast(x, "float32")), shape)


def with_muon(adam: type[Any]) -> type[Any]:
    """`adam`, an optimizer of Keras, that moves hidden kernels by Muon.

    Takes `rate`, the learning rate of Muon where Adam's is 1, and `dtype`, as `orthogonal`.
    """

    class Muon(adam):  # type: ignore[misc]
        def __init__(self, *args: Any, rate: float, dtype: str, **options: Any):
            super().__init__(*args, **options)
            self.rate, self.products = rate, dtype

        def build(self, variables: list[Any]) -> None:
            """Makes the momentum of each, and the velocity."""
            super().build(variables)
            self.hidden = [is_hidden_kernel(each) for each in variables]

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            """Changes `variable`, its momentum and, if Adam's, its velocity."""
            index = self._get_variable_index(variable)
            if not self.hidden[index]:
                super().update_step(gradient, variable, learning_rate)
                return
            momentum = self._momentums[index]
            gradient = ops.convert_to_tensor(gradient)
            new = momentum + (1 - MOMENTUM) * (gradient - momentum)
            self.assign(momentum, new)
            step = orthogonal(new + (1 - MOMENTUM) * (gradient - new), self.products)  # Nesterov's
            self.assign_sub(variable, ops.cast(learning_rate, "float32") * self.rate * step)

    return Muon

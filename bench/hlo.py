"""The arithmetic in the text of a program that XLA has compiled: its convolutions and matrix products.

XLA's own analysis leaves out what a GPU does in cuDNN and cuBLAS (https://github.com/jax-ml/jax/issues/22249), which is nearly
all of it. Counted as XLA counts: two for each product of two numbers; what would lie outside of an image is left out.
"""

from __future__ import annotations

import re
from math import prod

import numpy as np

_LINE = re.compile(r"\s*(?:ROOT )?%?([\w.-]+) = \(?\w+\[([\d,]*)\].*? ([\w-]+)\((.*)")  # name, its (first) shape, what it does
_CALL = re.compile(r'custom_call_target="__(cudnn\$conv|cublas\$)(\w*)')
_CONTRACTED = re.compile(r'lhs_contracting_dim(?:s=\{|ensions":\[)([\d,"]*)')
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")

Shape = list[int]


def matrix_flops(text: str) -> int:
    """FLOPs of the convolutions and matrix products of a module, those in cuDNN and cuBLAS among them."""
    shapes: dict[str, Shape] = {}
    total = 0
    for line in text.splitlines():
        if not (parts := _LINE.match(line)):
            continue
        name, shape, operation, rest = parts.groups()
        shapes[name] = _numbers(shape)
        library, kind = call.groups() if (call := _CALL.search(rest)) else ("", "")
        if operation not in ("convolution", "dot") and not library:
            continue
        operands = re.findall(r"%?([\w.-]+)(?:, |\))", rest[: rest.index(")") + 1])
        given = [shapes[each] for each in operands if each in shapes]
        if operation == "convolution" or library.startswith("cudnn"):
            total += _convolution(rest, kind, given[0], given[1], shapes[name])
        elif contracted := _CONTRACTED.search(rest):
            total += 2 * prod(shapes[name]) * prod(given[0][side] for side in _numbers(contracted[1].replace('"', "")))
    return total


def _numbers(text: str) -> Shape:
    return [int(each) for each in text.split(",") if each]


def _convolution(rest: str, kind: str, first: Shape, second: Shape, result: Shape) -> int:
    """cuDNN's calls for gradients are described by the convolution whose gradient they are: its image, kernel, outcome."""
    image, kernel, made = first, second, result
    if kind == "BackwardInput":
        image, made = result, first
    elif kind == "BackwardFilter":
        kernel, made = result, second
    if not (labels := _LABELS.search(rest)):
        return 0
    described = re.search(r"window=\{([^}]*)\}", rest)
    window = {key: value.split("x") for key, value in re.findall(r"(\w+)=(\S+)", described[1] if described else "")}
    positions = 1
    for side in range(len(labels[1]) - 2):
        along = [each[labels[part].index(str(side))] for part, each in enumerate((image, kernel, made), 1)]
        positions *= _positions(*along, {key: value[side] for key, value in window.items()})
    return 2 * made[labels[3].index("b")] * kernel[labels[2].index("i")] * kernel[labels[2].index("o")] * positions


def _positions(image: int, taps: int, made: int, window: dict[str, str]) -> int:
    """Pairs of an output and a tap, along one side, that meet a pixel: neither the border nor a hole of a dilated image."""
    holes = int(window.get("lhs_dilate", 1))
    starts = np.arange(made) * int(window.get("stride", 1)) - int(window.get("pad", "0").split("_")[0])
    met = starts[:, None] + np.arange(taps) * int(window.get("rhs_dilate", 1))
    return int(np.sum((met >= 0) & (met <= (image - 1) * holes) & (met % holes == 0)))

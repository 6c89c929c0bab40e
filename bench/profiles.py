"""Colour profiles, made by hand: for bench/restore_colours.py and the tests of what reads them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

WHITE = (0.9642, 1.0, 0.8249)
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])  # RGB -> XYZ, D50


def icc(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    """A minimal ICC version 2 profile (ICC.1:2001-04)."""
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50 as s15Fixed16
    header = struct.pack(">I4sI4s4s4s", 128 + len(table + body), bytes(4), 0x02400000, kind, space, connection)
    header += struct.pack(">6H4s4s", 2024, 1, 1, 0, 0, 0, b"acsp", bytes(4)) + bytes(24) + white
    return header.ljust(128, b"\0") + table + body


def xyz(values: Any) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def rgb_profile(matrix: NDArray[np.float64], exponent: float) -> bytes:
    """Of the three colours that the columns of `matrix` tell as XYZ, and of one exponent."""
    columns = {name: xyz(matrix[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return icc(b"RGB ", {b"wtpt": xyz(WHITE), **columns, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(exponent))})

"""The machine that trains: what it is called, what exactness depends on, and the precision that it is good at."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pix2pix.backend import name, ops
from pix2pix.spec import PRECISIONS
from pix2pix.step import steps

WORTH = 1.25  # how many times faster bfloat16 must be, to be taken
ROUNDS = 10


def device() -> str:
    """ "2 x NVIDIA H200", or the name of the processor with the cores that this process may use."""
    found = steps().accelerators()
    if found:
        return found[0] if len(found) == 1 else f"{len(found)} x {found[0]}"
    return f"{_processor()}, {len(os.sched_getaffinity(0))} cores"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The versions of what computes: Keras, its backend, what makes the batches, and photomend."""
    return {each: importlib.metadata.version(each) for each in ("keras", name(), "numpy", "opencv-python", "pillow", "photomend")}


def exact(precision: str, threads: int) -> dict[str, Any]:
    """What must be equal for a run to go on bit for bit."""
    return {"precision": precision, "threads": threads, "backend": name(), "device": device(), "versions": versions()}


def best_precision() -> str:
    """ "mixed_bfloat16" where a convolution is WORTH times faster with it, measured now; else "float32"."""
    seconds = _seconds()
    return PRECISIONS[1] if seconds["float32"] > WORTH * seconds["bfloat16"] else PRECISIONS[0]


def _seconds() -> dict[str, float]:
    """{dtype: the least time of a 3×3 convolution of (4, 64, 64, 128)}, in turn, so that other programs weigh on both alike."""
    tried = {dtype: _convolution(dtype) for dtype in ("float32", "bfloat16")}
    least = dict.fromkeys(tried, math.inf)
    for _ in range(ROUNDS):
        for dtype, convolve in tried.items():
            start = time.perf_counter()
            convolve()
            least[dtype] = min(least[dtype], time.perf_counter() - start)
    return least


def _convolution(dtype: str) -> Callable[[], Any]:
    """A 3×3 convolution of (4, 64, 64, 128), that has run once."""
    rng = np.random.default_rng(0)
    x = ops.cast(ops.convert_to_tensor(rng.normal(size=(4, 64, 64, 128)).astype(np.float32)), dtype)
    kernel = ops.cast(ops.convert_to_tensor(rng.normal(size=(3, 3, 128, 128)).astype(np.float32)), dtype)
    convolve: Callable[[], Any] = lambda: np.asarray(ops.cast(ops.conv(x, kernel, padding="same"), "float32"))  # noqa: E731
    convolve()
    return convolve

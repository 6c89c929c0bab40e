"""What the benches share: tables, targets, the machine in words."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

Row = Sequence[Any]


def table(title: str, head: Row, rows: Sequence[Row]) -> None:
    """Prints a Markdown table."""
    print(f"\n### {title}\n")
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    sys.stdout.flush()


def verdict(value: float, limit: float, *, least: bool = False) -> str:
    """ "<= 3: yes", or "no"."""
    return f"{'>=' if least else '<='} {limit:g}: {'yes' if (value >= limit if least else value <= limit) else 'no'}"


def spread(values: Sequence[float]) -> str:
    """The median, and the smallest and largest behind it."""
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    names = ("photomend", "pillow", "opencv-python", "mediapipe", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"{os.cpu_count()} cores, {model}; Python {sys.version.split()[0]}, {versions}"

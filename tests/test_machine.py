"""What a run's exactness depends on, and the precision that a machine is good at."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import Any

import pytest

from pix2pix import machine
from pix2pix.backend import name
from pix2pix.machine import WORTH, best_precision, device, exact, versions
from pix2pix.spec import PRECISIONS
from pix2pix.step import steps

TIMES = {  # seconds in float32 and in bfloat16 -> the precision that is taken
    (1.0, 1.0): "float32", (1.0, 2.0): "float32", (WORTH, 1.0): "float32", (1.01 * WORTH, 1.0): "mixed_bfloat16",
    (1.0, 0.1): "mixed_bfloat16",
}  # fmt: skip


@pytest.mark.parametrize("times", TIMES)
def test_half_precision_only_where_it_is_worth_it(times: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_seconds", lambda: dict(zip(("float32", "bfloat16"), times, strict=True)))
    assert best_precision() == TIMES[times]


@pytest.mark.slow
def test_the_precision_is_measured() -> None:
    assert best_precision() in PRECISIONS
    assert all(0 < seconds < 10 for seconds in machine._seconds().values())


def test_versions_of_what_computes() -> None:
    assert versions().keys() == {"keras", "numpy", "opencv-python", "photomend", "pillow", "tensorflow"}
    assert all(version == importlib.metadata.version(each) for each, version in versions().items())


def test_what_must_be_equal() -> None:
    told = exact("float32", 2)
    assert told == {"precision": "float32", "threads": 2, "backend": "tensorflow", "device": device(), "versions": versions()}
    assert name() == "tensorflow"
    assert exact("mixed_bfloat16", 2) != told != exact("float32", 1)


@pytest.mark.parametrize(
    ("found", "expected"),
    [(["NVIDIA H200"], "NVIDIA H200"), (["NVIDIA H200", "NVIDIA H200"], "2 x NVIDIA H200")],
)
def test_accelerators_by_name(found: list[str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps(), "accelerators", lambda: found)
    assert device() == expected


def test_a_processor_by_name_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps(), "accelerators", lambda: [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    for text, expected in (
        ("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz \n\nmodel name\t: other\n", "Fast CPU @ 3 GHz, 3 cores"),
        ("nothing\n", "abacus, 3 cores"),
    ):
        monkeypatch.setattr(Path, "read_text", lambda self, *given, text=text: text)
        monkeypatch.setattr(machine.platform, "processor", lambda: "abacus")
        assert device() == expected

    def absent(*given: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    assert device() == "abacus, 3 cores"

"""What several tests draw on."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_tools import image_io, resources
from tests.builds import SOAK

with contextlib.suppress(ValueError):  # a shell starts what runs in its background deaf to Ctrl-C, and so its children
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Tests of minutes: begun first, so that no worker is left alone with one in the end.
LONGEST = ("test_train_kills.py", "test_backends.py", "test_demo.py", "test_kills.py", "test_exact.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest come first; what is marked as soak is no part of `make test`."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    if not SOAK:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("soak")])
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


def some(fast: Sequence[Any], slow: Sequence[Any] = (), *, soak: Sequence[Any] = ()) -> list[Any]:
    """Values of a parameter, tuples where there are several: for `make check`, for `make test`, and for `make soak` alone."""
    marked = ((slow, pytest.mark.slow), (soak, pytest.mark.soak))
    cases = [(each if isinstance(each, tuple) else (each,), mark) for values, mark in marked for each in values]
    return [*fast, *(pytest.param(*each, marks=mark) for each, mark in cases)]


def textured(seed: int, height: int = 96, width: int = 96) -> np.ndarray:
    """A smooth random image, (H, W, 3) uint8, unlike that of any other seed."""
    import cv2

    noise = np.random.default_rng(seed).uniform(0, 255, (6, 6, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


@pytest.fixture
def write_photos(tmp_path: Path) -> Callable[..., Path]:
    """write_photos({"x/a.png": 1, "b.jpg": 2}, "archive"): textured images by seed, under tmp_path/archive."""

    def write(photos: dict[str, int], folder: str = "archive", height: int = 96, width: int = 96) -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for name, seed in photos.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image_io.write(path, textured(seed, height, width), "JPEG" if name.endswith(".jpg") else "PNG")
        return root

    return write


@pytest.fixture
def samples() -> list[Path]:
    """The 24 portraits that ship."""
    return sorted(resources.path("samples").glob("*.jpg"))

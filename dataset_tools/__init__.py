"""Photos in, pairs out: everything between a folder of photos and a dataset of A|B pairs.

Floor 1 of the house (docs/architecture.md): NumPy, Pillow, OpenCV and, only when faces are looked for, MediaPipe.
Never Keras. Importing this package imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataset_tools.build import build_dataset

__all__ = ["build_dataset"]


def __getattr__(name: str) -> Any:
    if name == "build_dataset":
        from dataset_tools.build import build_dataset

        return build_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

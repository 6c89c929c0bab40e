"""The model: specs, networks, the fused training step, the training loop, the model file.

Floor 2 of the house (docs/architecture.md). Importing this package imports neither Keras nor NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataset_tools.system import forbid_telemetry

if TYPE_CHECKING:
    from pix2pix.export import load_generator
    from pix2pix.train import train_model

forbid_telemetry()

__all__ = ["load_generator", "train_model"]


def __getattr__(name: str) -> Any:
    if name == "train_model":
        from pix2pix.train import train_model

        return train_model
    if name == "load_generator":
        from pix2pix.export import load_generator

        return load_generator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

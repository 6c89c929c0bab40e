"""What a person does: restore, evaluate, look at a report, run the demo.

Floor 3 of the house (docs/architecture.md). Importing this package imports nothing heavy; restoring needs no Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataset_tools.system import forbid_telemetry

if TYPE_CHECKING:
    from pipelines.evaluate import evaluate_model
    from pipelines.job import restore_photos

forbid_telemetry()

__all__ = ["evaluate_model", "restore_photos"]


def __getattr__(name: str) -> Any:
    if name == "restore_photos":
        from pipelines.job import restore_photos

        return restore_photos
    if name == "evaluate_model":
        from pipelines.evaluate import evaluate_model

        return evaluate_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

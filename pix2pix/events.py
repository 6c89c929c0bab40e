"""What a training tells whoever started it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One thing told. `values`: of a step its losses and seconds; of a validation its figures; of a note or an alarm its text."""

    kind: str  # "loading" (Keras, for seconds) | "start" | "step" | "validation" | "note" | "alarm"
    step: int
    steps: int  # in all, as far as can be told
    values: Mapping[str, Any]

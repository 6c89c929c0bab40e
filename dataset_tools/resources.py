"""Finds what ships in data/: the sample photos and the models. The only finder."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from dataset_tools.errors import PhotomendError

_HERE = Path(__file__).resolve().parent


def _candidates() -> list[Path]:
    folders = [_HERE.parent / "data"]  # a checkout, an editable install
    folders.append(_HERE.parent / "share" / "photomend")  # pip install --target
    folders.append(Path(sysconfig.get_path("data")) / "share" / "photomend")  # a wheel in an environment
    folders.append(Path(sysconfig.get_path("data", scheme=sysconfig.get_preferred_scheme("user"))) / "share" / "photomend")
    chosen = os.environ.get("PHOTOMEND_DATA")
    return [Path(chosen)] if chosen else folders


def path(name: str) -> Path:
    """The file or folder `name` (such as "samples" or "models/face_detection_short_range.tflite") that ships.

    $PHOTOMEND_DATA, where it is set, is the only place looked at.

    Raises:
        PhotomendError: it is in none of the places, which the line names.
    """
    places = _candidates()
    for place in places:
        if (place / name).exists():
            return place / name
    raise PhotomendError(
        f"{name} is missing from this installation (looked in {', '.join(map(str, places))}): "
        "install photomend again, or set PHOTOMEND_DATA to its data folder"
    )

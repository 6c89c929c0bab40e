"""python -m dataset_tools.system: are the system libraries here that OpenCV and MediaPipe need? One line if not."""

from __future__ import annotations

import importlib
import sys

from dataset_tools.errors import from_import_error

NEEDS = ("cv2", "dataset_tools.faces")


def missing() -> str | None:
    """The line that says what is missing and how to install it, or None."""
    for name in NEEDS:
        try:
            module = importlib.import_module(name)
            if name == "dataset_tools.faces":
                module.import_mediapipe()
        except (ImportError, OSError) as error:
            return str(from_import_error(error) or error)
    return None


if __name__ == "__main__":
    told = missing()
    if told:
        sys.exit(f"photomend: {told}")

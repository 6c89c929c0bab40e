"""Whether a detector still sees a face where the original shows one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dataset_tools.faces import MediaPipeDetector

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB


class Detected:
    """A judge: 1 where MediaPipe's full-range detector finds a face in an image (score 0.5 and more), 0 where it finds none."""

    name = "detected"
    title = "share of the faces that a detector finds"

    def __init__(self) -> None:
        self._detector = MediaPipeDetector("full")

    def judge(self, images: Mapping[str, Rgb]) -> dict[str, float] | None:
        """{name: 1.0 or 0.0} of all but "original"; None where the detector finds none in that."""
        if not self._detector.detect(images["original"]):
            return None
        return {name: float(bool(self._detector.detect(rgb))) for name, rgb in images.items() if name != "original"}

    def close(self) -> None:
        """To be called: MediaPipe prints a traceback otherwise."""
        self._detector.close()

"""Where the faces of a photo are: the one-method Detector protocol, and MediaPipe's detector behind it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import resources
from dataset_tools.errors import UsageError, from_import_error

MODELS = {
    "full": "models/face_detection_full_range_sparse.tflite",
    "short": "models/face_detection_short_range.tflite",
}
LONGEST = 640  # pixels of the longer side that the detector gets: it shrinks to 192 (full) or 128 (short) anyway


@dataclass(frozen=True)
class Face:
    """One face, in pixels of the upright photo."""

    box: tuple[float, float, float, float]  # x, y, width, height; may reach past the photo's edge
    score: float  # the detector's confidence, 0 to 1
    keypoints: tuple[tuple[float, float], ...]  # right eye, left eye, nose tip, mouth, right ear, left ear (BlazeFace)


class Detector(Protocol):
    """What the rest of the project asks of a face detector."""

    def detect(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """All faces of a photo, uint8 (H, W, 3) RGB upright, the largest first."""
        ...


def describe_detector(model: str, confidence: float) -> dict[str, Any]:
    """What dataset.json says of the detector: its name, the SHA-256 of its file, its confidence."""
    data = resources.path(_model_file(model)).read_bytes()
    return {"name": f"mediapipe-{model}-range", "sha256": hashlib.sha256(data).hexdigest(), "confidence": confidence}


class MediaPipeDetector:
    """MediaPipe's BlazeFace (Bazarevsky et al. 2019), full range or short range, one pass over the whole photo.

    Close it, or use it in a `with`: left to the interpreter's end, MediaPipe prints a traceback.

    Raises:
        UsageError: no such model. MissingDependency: a system library of MediaPipe is not installed.
    """

    def __init__(self, model: str = "full", confidence: float = 0.5):
        self._buffer = resources.path(_model_file(model)).read_bytes()
        self._confidence = confidence
        self._mediapipe = import_mediapipe()
        self._detector: Any = None

    def detect(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """See `Detector`. Whatever goes wrong in MediaPipe, the next call starts with a fresh detector."""
        height, width = rgb.shape[:2]
        scale = min(1.0, LONGEST / max(height, width))
        small = rgb
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        try:
            if self._detector is None:
                self._detector = self._create()
            image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(small))
            found = self._detector.detect(image).detections
        except Exception:
            self.close()
            raise
        across, down = width / small.shape[1], height / small.shape[0]
        faces = [_face(detection, (width, height), (across, down)) for detection in found]
        faces = [face for face in faces if face.box[2] > 0 and face.box[3] > 0]
        return sorted(faces, key=lambda face: (-face.box[2] * face.box[3], face.box[0], face.box[1]))

    def close(self) -> None:
        detector, self._detector = self._detector, None
        if detector is not None:
            with contextlib.suppress(Exception):
                detector.close()

    def __enter__(self) -> MediaPipeDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _create(self) -> Any:
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceDetectorOptions(
            base_options=BaseOptions(model_asset_buffer=self._buffer), min_detection_confidence=self._confidence
        )
        with _quiet_stderr():
            return vision.FaceDetector.create_from_options(options)


def import_mediapipe() -> ModuleType:
    """The mediapipe module, imported without the TensorFlow that it would drag in where that is installed.

    Raises:
        MissingDependency: one of its system libraries is missing.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    hidden = "tensorflow" not in sys.modules
    if hidden:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        import mediapipe
        import mediapipe.tasks.python.vision
    except (ImportError, OSError) as error:
        told = from_import_error(error)
        if told is None:
            raise
        raise told from error
    finally:
        if hidden:
            del sys.modules["tensorflow"]
    return mediapipe  # type: ignore[no-any-return]


def _model_file(model: str) -> str:
    if model not in MODELS:
        raise UsageError(f"there is no face detector {model!r}: choose one of {', '.join(MODELS)}")
    return MODELS[model]


def _face(detection: Any, size: tuple[int, int], scale: tuple[float, float]) -> Face:
    box = detection.bounding_box
    return Face(
        box=(box.origin_x * scale[0], box.origin_y * scale[1], box.width * scale[0], box.height * scale[1]),
        score=float(detection.categories[0].score),
        keypoints=tuple((point.x * size[0], point.y * size[1]) for point in detection.keypoints),
    )


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """MediaPipe's native code writes notices to file descriptor 2 while it loads; a command's stderr is for its user."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)

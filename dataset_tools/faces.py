"""Where the faces of a photo are: the one-method Detector protocol, and MediaPipe's detector behind it."""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import resources
from dataset_tools.errors import PhotoError, PhotomendError, UsageError, from_import_error
from dataset_tools.system import quiet_native

MODELS = {
    "full": "models/face_detection_full_range_sparse.tflite",
    "short": "models/face_detection_short_range.tflite",
}
LONGEST = 640  # pixels of the longer side that the detector gets: it shrinks to 192 (full) or 128 (short) anyway


@dataclass(frozen=True)
class Face:
    """One face, in pixels of the upright photo."""

    box: tuple[float, float, float, float]  # x, y, width, height (both above 0); may reach past the photo's edge
    score: float  # the detector's confidence, 0 to 1
    keypoints: tuple[tuple[float, float], ...]  # right eye, left eye, nose tip, mouth, right ear, left ear (BlazeFace)


class Detector(Protocol):
    """What the rest of the project asks of a face detector."""

    def detect(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """All faces of a photo, uint8 (H, W, 3) RGB upright, the largest first."""
        ...


def describe_detector(model: str, confidence: float) -> dict[str, Any]:
    """What dataset.json says of the detector: its name, the SHA-256 of its file, its confidence."""
    return MediaPipeDetector(model, confidence).describe()


class MediaPipeDetector:
    """MediaPipe's BlazeFace (Bazarevsky et al. 2019), full range or short range, one pass over the whole photo.

    Close it, or use it in a `with`: left to the interpreter's end, MediaPipe prints a traceback. MediaPipe is imported and
    the model loaded at the first `detect`.

    Raises:
        UsageError: no such model, or a confidence outside 0..1. PhotomendError: the model is missing from this installation.
    """

    def __init__(self, model: str = "full", confidence: float = 0.5) -> None:
        if model not in MODELS:
            raise UsageError(f"there is no face detector {model!r}: choose one of {', '.join(MODELS)}")
        if not 0 <= confidence <= 1:
            raise UsageError(f"the confidence of a face detector lies between 0 and 1; received {confidence}")
        self._name, self._confidence = f"mediapipe-{model}-range", confidence
        self._model = resources.path(MODELS[model]).read_bytes()
        self._task: Any = None

    def describe(self) -> dict[str, Any]:
        """What decides the boxes, JSON-safe: {"name", "sha256" of the model file, "confidence"}."""
        return {"name": self._name, "sha256": hashlib.sha256(self._model).hexdigest(), "confidence": self._confidence}

    def detect(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """All faces of a photo, uint8 (H, W, 3) RGB upright, in its own pixels: largest area first, ties by x, then y.

        Raises:
            ValueError: not uint8 (H, W, 3), or empty.
            PhotoError: MediaPipe failed on this photo; the next one gets a new task, since one that failed stays failed.
            MissingDependency: a system library that MediaPipe needs is not installed.
        """
        check_rgb(rgb)
        if self._task is None:
            self._task = _load(self._model, self._confidence)
        import mediapipe  # loaded by _load

        shown = _shrink(rgb)
        try:
            found = self._task.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=shown)).detections
        except Exception as error:
            self.close()
            raise PhotoError(f"the face detector failed: {_first_line(error)}") from error
        scale = (rgb.shape[1] / shown.shape[1], rgb.shape[0] / shown.shape[0])
        faces = [_face(detection, (rgb.shape[1], rgb.shape[0]), scale) for detection in found]
        usable = [face for face in faces if face.box[2] > 0 and face.box[3] > 0 and _finite(face)]
        return sorted(usable, key=lambda face: (-face.box[2] * face.box[3], face.box[0], face.box[1]))

    def close(self) -> None:
        """Frees the task; a later `detect` loads a new one."""
        task, self._task = self._task, None
        if task is None:
            return
        try:
            task.close()
        except Exception:  # a task that failed cannot close, and its __del__ then waits for its own thread for ever:
            task._lib.close()  # with that thread ended, every further call is a no-op

    def __enter__(self) -> MediaPipeDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_rgb(rgb: NDArray[np.uint8]) -> None:
    """Raises ValueError for what no detector takes: not uint8 (H, W, 3), or empty, which MediaPipe does not survive."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ValueError(f"the detector takes uint8 (H, W, 3), not empty; received {rgb.dtype} {rgb.shape}")


def import_mediapipe() -> ModuleType:
    """The mediapipe module, imported without the TensorFlow that it would drag in where that is installed.

    Raises:
        MissingDependency: one of its system libraries is missing.
    """
    hidden = "tensorflow" not in sys.modules
    if hidden:
        sys.modules["tensorflow"] = None  # type: ignore[assignment] # an import of it now fails at once
    try:
        with quiet_native():  # it imports Matplotlib, which talks of its caches
            import mediapipe
            import mediapipe.tasks.python.vision
    except (ImportError, OSError) as error:
        raise from_import_error(error) or error from error
    finally:
        if hidden:
            sys.modules.pop("tensorflow", None)
    return mediapipe  # type: ignore[no-any-return]


def _load(model: bytes, confidence: float) -> Any:
    """A MediaPipe task from the bytes of its model, which it checks; only here does it open its own native library."""
    import_mediapipe()
    from mediapipe.tasks.python import BaseOptions, vision

    base = BaseOptions(model_asset_buffer=model)
    options = vision.FaceDetectorOptions(base_options=base, min_detection_confidence=confidence)
    try:
        with quiet_native():
            return vision.FaceDetector.create_from_options(options)
    except OSError as error:
        raise from_import_error(error) or error from error
    except (RuntimeError, ValueError) as error:
        line = f"the model of the face detector cannot be loaded: {_first_line(error)}; install photomend again"
        raise PhotomendError(line) from error


def _shrink(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most LONGEST pixels long, contiguous as MediaPipe wants it: most of its time would go into copying a large photo."""
    height, width = rgb.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(rgb)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: NDArray[np.uint8] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return small


def _face(detection: Any, size: tuple[int, int], scale: tuple[float, float]) -> Face:
    """MediaPipe gives the box in pixels of what it was shown, the keypoints as fractions of the image."""
    box = detection.bounding_box
    return Face(
        box=(box.origin_x * scale[0], box.origin_y * scale[1], box.width * scale[0], box.height * scale[1]),
        score=float(detection.categories[0].score),
        keypoints=tuple((point.x * size[0], point.y * size[1]) for point in detection.keypoints),
    )


def _finite(face: Face) -> bool:
    return all(map(math.isfinite, (*face.box, face.score, *(value for point in face.keypoints for value in point))))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(" :")

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dataset_tools import errors, faces, image_io, resources
from dataset_tools.faces import MODELS, Detector, Face, MediaPipeDetector


@pytest.fixture(scope="module")
def detector() -> Iterator[MediaPipeDetector]:
    with MediaPipeDetector() as made:
        yield made


def photo(name: str) -> np.ndarray:
    return image_io.read(resources.path("samples") / name).rgb8


def centre(face: Face) -> tuple[float, float]:
    x, y, width, height = face.box
    return x + width / 2, y + height / 2


class Fails:
    """A MediaPipe task that fails at every call, in the way that `task` says a real one does."""

    def __init__(self) -> None:
        self._lib = SimpleNamespace(close=lambda: setattr(self, "thread_ended", True))
        self.thread_ended = False

    def detect(self, image: object) -> object:
        raise RuntimeError("Graph has errors: \nCalculator::Process() failed")

    def close(self) -> None:
        raise RuntimeError("CalculatorGraph::Run() failed")


def test_every_sample_has_a_face_in_its_middle(samples: list[Path], detector: Detector) -> None:
    assert len(samples) == 24
    for path in samples:
        found = detector.detect(image_io.read(path).rgb8)
        assert found, path.name
        x, y = centre(found[0])
        assert 300 < x < 500, path.name  # a portrait of 768 by 768
        assert 150 < y < 430, path.name
        assert 140 < found[0].box[2] < 420, path.name
        assert 0.5 <= found[0].score <= 1
        eyes, mouth = found[0].keypoints[:2], found[0].keypoints[3]
        assert len(found[0].keypoints) == 6
        assert eyes[0][0] < eyes[1][0], path.name  # the person's right eye is left in the image
        assert max(eyes[0][1], eyes[1][1]) < mouth[1], path.name


def test_the_short_range_model_finds_a_portrait_too() -> None:
    with MediaPipeDetector("short") as short:
        (face,) = short.detect(photo("male-05.jpg"))
    assert np.allclose(centre(face), (384, 384), atol=80)


def test_two_people_are_two_faces_the_larger_first(detector: Detector) -> None:
    canvas = np.full((768, 1400, 3), 128, np.uint8)
    canvas[200:712, :512] = cv2.resize(photo("female-05.jpg"), (512, 512), interpolation=cv2.INTER_AREA)
    canvas[:, 632:] = photo("male-05.jpg")
    large, small = detector.detect(canvas)
    assert 800 < centre(large)[0] < 1200
    assert 150 < centre(small)[0] < 360
    assert large.box[2] * large.box[3] > small.box[2] * small.box[3]


def test_a_large_photo_is_shrunk_and_its_boxes_are_not(detector: Detector) -> None:
    rgb = photo("female-05.jpg")
    large = cv2.resize(rgb, (2400, 1800), interpolation=cv2.INTER_CUBIC)
    (face,), (there,) = detector.detect(rgb), detector.detect(large)
    scale = np.array([2400 / 768, 1800 / 768])
    assert np.allclose(centre(there), np.array(centre(face)) * scale, atol=120)
    assert np.allclose(there.keypoints, np.array(face.keypoints) * scale, atol=90)


def test_no_face_is_an_empty_list(detector: Detector) -> None:
    assert detector.detect(np.full((300, 400, 3), 128, np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 700)])
def test_odd_sizes_are_photos(shape: tuple[int, int], detector: Detector) -> None:
    assert detector.detect(np.zeros((*shape, 3), np.uint8)) == []


def test_the_array_need_not_be_contiguous(detector: Detector) -> None:
    rgb = cv2.resize(photo("male-05.jpg"), (400, 400), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    assert detector.detect(bgr[..., ::-1]) == detector.detect(rgb)


@pytest.mark.parametrize("bad", [np.zeros((0, 0, 3), np.uint8), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_what_would_break_mediapipe_never_reaches_it(bad: np.ndarray, detector: Detector) -> None:
    with pytest.raises(ValueError, match=r"the detector takes uint8 \(H, W, 3\), not empty; received"):
        detector.detect(bad)
    assert len(detector.detect(photo("male-05.jpg"))) == 1


def test_it_works_again_after_a_failure() -> None:
    with MediaPipeDetector() as fresh:
        faces.import_mediapipe()
        broken = fresh._task = Fails()
        with pytest.raises(errors.PhotoError) as failure:
            fresh.detect(photo("male-05.jpg"))
        assert str(failure.value) == "the face detector failed: Graph has errors"
        assert broken.thread_ended
        assert len(fresh.detect(photo("male-05.jpg"))) == 1


def test_it_works_again_after_mediapipe_itself_was_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = photo("male-05.jpg")
    with MediaPipeDetector() as fresh:
        assert len(fresh.detect(rgb)) == 1
        with monkeypatch.context() as patched:
            patched.setattr(faces, "_shrink", lambda rgb: np.zeros((0, 0, 3), np.uint8))
            with pytest.raises(errors.PhotoError, match=r"^the face detector failed: \S"):
                fresh.detect(rgb)
        assert len(fresh.detect(rgb)) == 1


def test_it_works_again_after_it_was_closed() -> None:
    once = MediaPipeDetector()
    once.close()
    assert len(once.detect(photo("male-05.jpg"))) == 1
    once.close()
    once.close()


def test_faces_are_sorted_and_impossible_boxes_left_out() -> None:
    def detection(x: int, y: int, width: int, height: int, eye: float = 0.5) -> SimpleNamespace:
        return SimpleNamespace(
            bounding_box=SimpleNamespace(origin_x=x, origin_y=y, width=width, height=height),
            categories=[SimpleNamespace(score=0.75)],
            keypoints=[SimpleNamespace(x=eye, y=0.25)],
        )

    listed = [(9, 0, 4, 4), (5, 7, 4, 4), (5, 2, 2, 8), (0, 0, 0, 9), (0, 0, 9, -1), (-3, -2, 6, 6)]
    detections = [*(detection(*box) for box in listed), detection(0, 0, 90, 90, eye=float("nan"))]
    faces.import_mediapipe()
    fake = MediaPipeDetector()
    fake._task = SimpleNamespace(detect=lambda image: SimpleNamespace(detections=detections), close=lambda: None)
    found = fake.detect(np.zeros((640, 1280, 3), np.uint8))  # shown at half its size
    assert [face.box for face in found] == [(-6, -4, 12, 12), (10, 4, 4, 16), (10, 14, 8, 8), (18, 0, 8, 8)]
    assert found[0].keypoints == ((640.0, 160.0),)
    assert found[0].score == 0.75


@pytest.mark.parametrize("model", MODELS)
def test_describe_holds_the_hash_of_the_model_file(model: str) -> None:
    described = MediaPipeDetector(model, confidence=0.25).describe()
    data = resources.path(MODELS[model]).read_bytes()
    assert described == {"name": f"mediapipe-{model}-range", "sha256": hashlib.sha256(data).hexdigest(), "confidence": 0.25}
    assert json.loads(json.dumps(described)) == described
    assert faces.describe_detector(model, 0.25) == described


def test_models_are_the_ones_that_were_chosen() -> None:
    assert MediaPipeDetector().describe()["sha256"].startswith("2c3728e6")
    assert MediaPipeDetector("short").describe()["sha256"].startswith("bbff11ce")


def test_wrong_options_are_refused() -> None:
    with pytest.raises(errors.UsageError, match=r"^there is no face detector 'yunet': choose one of full, short$"):
        MediaPipeDetector("yunet")
    with pytest.raises(errors.UsageError, match=r"between 0 and 1; received 1\.5$"):
        MediaPipeDetector(confidence=1.5)


def test_a_missing_system_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(options: object) -> None:
        raise OSError("libGLESv2.so.2: cannot open shared object file: No such file or directory")

    vision = faces.import_mediapipe().tasks.vision
    monkeypatch.setattr(vision.FaceDetector, "create_from_options", fail)
    with pytest.raises(errors.MissingDependency, match=r"^the system library libGLESv2.so.2 is missing; .*apt-get install"):
        MediaPipeDetector().detect(np.zeros((9, 9, 3), np.uint8))


def test_a_failed_import_is_one_line_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setitem(sys.modules, "mediapipe", None)  # as good as not installed
    with pytest.raises(errors.MissingDependency, match=r"^the Python package mediapipe is missing; "):
        faces.import_mediapipe()
    assert "tensorflow" not in sys.modules


def test_a_tensorflow_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    there = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "tensorflow", there)
    faces.import_mediapipe()
    assert sys.modules["tensorflow"] is there


def test_a_broken_model_file_is_one_line() -> None:
    detector = MediaPipeDetector()
    detector._model = b"not a model"
    with pytest.raises(errors.PhotomendError, match=r"^the model of the face detector cannot be loaded: [^\n]*again$"):
        detector.detect(np.zeros((9, 9, 3), np.uint8))


FRESH = """
import sys
import numpy as np
from dataset_tools.faces import MediaPipeDetector
assert "mediapipe" not in sys.modules
with MediaPipeDetector() as detector:
    assert "mediapipe" not in sys.modules
    assert detector.detect(np.zeros((90, 90, 3), np.uint8)) == []
assert "mediapipe" in sys.modules
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras")))
print(sorted(name for name, module in sys.modules.items() if module is None))
"""


@pytest.mark.slow
def test_a_fresh_process_imports_no_tensorflow_and_keeps_stderr_clean() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n[]\n", "")

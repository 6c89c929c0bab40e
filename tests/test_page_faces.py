"""The page's face finder (pipelines/page/src/faces.ts) beside MediaPipe's, and the ONNX file that it runs."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from bench import face_to_onnx
from dataset_tools import image_io, resources
from dataset_tools.faces import MODELS, MediaPipeDetector
from tests.conftest import textured

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[1] / "pipelines" / "page"
ESBUILD = PAGE / "node_modules" / ".bin" / "esbuild"
TFLITE = resources.path(MODELS["full"])
PLAIN = {"Add", "Cast", "Conv", "DepthToSpace", "Pad", "Relu", "Reshape", "Resize", "Transpose"}

# A line of JSON in for each picture, a line of faces out; in between, lines that ask for what the model makes of a square.
DRIVER = """
import { createInterface } from "node:readline";
import { findFaces } from "./faces.js";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const receive = async () => JSON.parse((await lines.next()).value ?? "null");
const send = (value) => process.stdout.write(JSON.stringify(value) + "\\n");
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const run = async (pixels, shape) => {
  send({ pixels: Buffer.from(pixels.buffer).toString("base64"), shape });
  const { boxes, scores } = await receive();
  return { boxes: new Float32Array(bytes(boxes).buffer), scores: new Float32Array(bytes(scores).buffer) };
};
for (let asked = await receive(); asked; asked = await receive()) {
  const { width, height, data, options } = asked;
  const found = findFaces({ width, height, data: bytes(data) }, run, options);
  send(await found.then((faces) => ({ faces }), (error) => ({ error: String(error) })));
}
"""


class Page:
    """faces.ts in Node, which asks back what the model makes of its squares."""

    def __init__(self, folder: Path, model: Path) -> None:
        bundle = [str(ESBUILD), str(PAGE / "src/faces.ts"), "--bundle", "--format=esm", f"--outfile={folder / 'faces.js'}"]
        subprocess.run(bundle, check=True, capture_output=True, timeout=60)
        (folder / "package.json").write_text('{"type": "module"}')
        (folder / "driver.js").write_text(DRIVER)
        self.session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        self.looks = 0
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.node = subprocess.Popen(["node", str(folder / "driver.js")], text=True, **pipes)

    def find(self, rgb: np.ndarray, *, outputs: tuple[str, str] = ("boxes", "scores"), **options: Any) -> list[dict[str, Any]]:
        self.looks = 0
        height, width = rgb.shape[:2]
        return self.ask({"width": width, "height": height, "data": _text(rgb), "options": options}, outputs)

    def ask(self, asked: dict[str, Any], outputs: tuple[str, str] = ("boxes", "scores")) -> list[dict[str, Any]]:
        self._send(asked)
        while "pixels" in (line := self._receive()):
            self.looks += 1
            pixels = np.frombuffer(base64.b64decode(line["pixels"]), np.float32).reshape(line["shape"])
            assert -1 <= pixels.min() <= pixels.max() <= 1
            made = self.session.run(list(outputs), {"pixels": pixels})
            self._send({"boxes": _text(made[0]), "scores": _text(made[1])})
        if "error" in line:
            raise ValueError(line["error"])
        return list(line["faces"])

    def _send(self, value: object) -> None:
        assert self.node.stdin
        self.node.stdin.write(json.dumps(value) + "\n")
        self.node.stdin.flush()

    def _receive(self) -> Any:
        assert self.node.stdout
        return json.loads(self.node.stdout.readline())


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("model") / "faces.onnx"
    output.write_bytes(face_to_onnx.convert(TFLITE.read_bytes()))
    return output


@pytest.fixture(scope="module")
def page(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    if not ESBUILD.exists():
        pytest.skip("esbuild is not installed: run npm ci in pipelines/page")
    made = Page(tmp_path_factory.mktemp("page"), model)
    yield made
    made.node.communicate(timeout=10)
    assert made.node.returncode == 0


@pytest.fixture(scope="module")
def detector() -> Iterator[MediaPipeDetector]:
    with MediaPipeDetector("full") as made:
        yield made


def photo(name: str, side: int = 768) -> np.ndarray:
    rgb = image_io.read(resources.path("samples") / name).rgb8
    return cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)


def off(face: dict[str, Any], known: Any) -> tuple[float, float]:
    """By how much box and keypoints differ, in sides of the face."""
    pairs = (face["box"], known.box), (face["keypoints"], known.keypoints)
    box, points = (float(np.abs(np.array(ours) - theirs).max()) / known.box[2] for ours, theirs in pairs)
    return box, points


# --- the file


def test_the_file_says_what_tensorflow_lite_says(model: Path) -> None:
    assert face_to_onnx.difference(TFLITE.read_bytes(), model.read_bytes()) <= 1e-3


def test_the_file_has_plain_operators_half_weights_and_its_licence(model: Path) -> None:
    made = onnx.load(str(model))
    assert {node.op_type for node in made.graph.node} == PLAIN
    assert [each.version for each in made.opset_import] == [17]
    assert not any(each.data_type == onnx.TensorProto.FLOAT for each in made.graph.initializer)
    assert model.stat().st_size < 1.1e6
    assert {each.key: each.value for each in made.metadata_props}["license"] == "Apache-2.0"


@pytest.mark.parametrize(("most", "written"), [(1e-3, True), (2e-3, False), (float("nan"), False)])
def test_only_a_file_that_says_the_same_is_written(
    most: float, written: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "faces.onnx"
    monkeypatch.setattr(face_to_onnx, "convert", lambda tflite: b"made of " + tflite)
    monkeypatch.setattr(face_to_onnx, "difference", lambda tflite, made: most)
    monkeypatch.setattr(sys, "argv", ["face_to_onnx", str(output)])
    with nullcontext() if written else pytest.raises(SystemExit, match="nothing is written"):
        face_to_onnx.main()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"made of " + TFLITE.read_bytes()] * written


# --- one look


def test_one_look_at_a_sample_agrees_with_mediapipe(samples: list[Path], page: Page, detector: MediaPipeDetector) -> None:
    for path in samples:
        rgb = image_io.read(path).rgb8
        (face,), (known,) = page.find(rgb), detector.detect(rgb)
        box, points = off(face, known)
        assert box < 0.02, path.name  # MediaPipe cuts boxes to whole pixels of 640
        assert points < 0.02, path.name
        assert abs(face["score"] - known.score) < 0.02, path.name
        assert page.looks == 1


@pytest.mark.parametrize("shape", ["wide", "tall", "small", "large", "grey"])
def test_any_size_and_shape_agrees_with_mediapipe(shape: str, page: Page, detector: MediaPipeDetector) -> None:
    for name in ("male-60.jpg",) if shape == "large" else ("female-05.jpg", "male-30.jpg", "male-60.jpg"):
        rgb = photo(name)
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        made = {
            "wide": rgb[100:600],
            "tall": rgb[:, 150:650],
            "small": photo(name, 150),
            "large": cv2.resize(rgb, (1901, 1903)),
            "grey": np.repeat(grey[..., None], 3, 2),
        }[shape]
        made = np.ascontiguousarray(made)
        (face,), (known,) = page.find(made), detector.detect(made)
        assert off(face, known)[1] < 0.02, name  # MediaPipe moves a box that reaches past the edge
        assert abs(face["score"] - known.score) < 0.02, name


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("shape", [(480, 640), (1, 700), (3, 2)])
def test_a_plain_picture_has_no_face(shape: tuple[int, int], search: bool, page: Page) -> None:
    for value in (0, 150):
        assert page.find(np.full((*shape, 3), value, np.uint8), search=search) == []


def test_a_higher_confidence_leaves_faces_out(page: Page) -> None:
    rgb = photo("female-69.jpg")
    (face,) = page.find(rgb)
    assert page.find(rgb, confidence=face["score"] + 0.01) == []


# --- the search


def canvas(*portraits: tuple[str, int, int, int]) -> np.ndarray:
    """(1200, 1600, 3): portraits as (name, x, y, side) on a textured ground."""
    rgb = textured(7, 1200, 1600)
    for name, x, y, side in portraits:
        rgb[y : y + side, x : x + side] = photo(name, side)
    return rgb


def test_the_search_finds_small_faces_beside_a_large_one(page: Page, detector: MediaPipeDetector) -> None:
    portraits = [("male-05.jpg", 100, 250, 768), ("female-60.jpg", 1100, 150, 130), ("male-12.jpg", 1300, 900, 130)]
    rgb = canvas(*portraits)
    assert len(page.find(rgb)) == 1
    found = page.find(rgb, search=True)
    assert len(found) == 3
    assert page.looks > 3
    for (name, x, y, side), face in zip(portraits, sorted(found, key=lambda face: face["box"][0]), strict=True):
        (known,) = detector.detect(photo(name))
        box = np.array(known.box) * side / 768 + (x, y, 0, 0)
        assert np.abs(face["box"] - box).max() < 0.15 * box[2], name
    sizes = [face["box"][2] * face["box"][3] for face in found]
    assert sizes == sorted(sizes, reverse=True)


def test_the_search_finds_a_face_that_fills_the_picture(page: Page, detector: MediaPipeDetector) -> None:
    found = {False: 0, True: 0}
    for name in ("female-23.jpg", "female-30.jpg", "female-52.jpg", "male-47.jpg"):
        rgb = photo(name)
        x, y, width, _ = (int(value) for value in detector.detect(rgb)[0].box)
        close = np.ascontiguousarray(rgb[y : y + width, x : x + width])
        grey = np.repeat(cv2.cvtColor(close, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        for search in found:
            found[search] += len(page.find(grey, search=search))
    assert found[True] == 4 > found[False]


# --- what is refused


def test_bytes_that_are_no_picture_and_outputs_of_another_model_are_refused(page: Page) -> None:
    for asked in ({"width": 2, "height": 2, "data": _text(np.zeros(11, np.uint8))}, {"width": 0, "height": 0, "data": ""}):
        with pytest.raises(ValueError, match="RangeError"):
            page.ask(asked)
    with pytest.raises(ValueError, match="another one"):
        page.find(np.zeros((8, 8, 3), np.uint8), outputs=("scores", "boxes"))

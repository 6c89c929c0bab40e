from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dataset_tools import errors, face_search, image_io, resources
from dataset_tools.face_search import PASSES, WANTED, FaceSearch, Pass, Seen
from dataset_tools.faces import MODELS, Face, MediaPipeDetector
from tests.conftest import some, textured

PORTRAIT = "male-05.jpg"


@pytest.fixture(scope="module")
def fast() -> Iterator[FaceSearch]:
    with FaceSearch() as made:
        yield made


@pytest.fixture(scope="module")
def thorough() -> Iterator[FaceSearch]:
    with FaceSearch("thorough") as made:
        yield made


@pytest.fixture(params=some(["fast"], ["thorough"]))
def search(request: pytest.FixtureRequest, fast: FaceSearch, thorough: FaceSearch) -> FaceSearch:
    return {"fast": fast, "thorough": thorough}[request.param]


def photo(name: str = PORTRAIT, side: int = 768) -> np.ndarray:
    rgb = image_io.read(resources.path("samples") / name).rgb8
    return cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)


def canvas(*portraits: tuple[str, int, int, int]) -> np.ndarray:
    """(750, 1000, 3): portraits as (name, x, y, side) on a textured ground."""
    rgb = textured(7, 750, 1000)
    for name, x, y, side in portraits:
        rgb[y : y + side, x : x + side] = photo(name, side)
    return rgb


def middle(face: Face) -> np.ndarray:
    x, y, width, height = face.box
    return np.array([x + width / 2, y + height / 2])


def tilt(face: Face) -> float:
    """Degrees from the right to the left eye, clockwise on the screen."""
    (x0, y0), (x1, y1) = face.keypoints[:2]
    return math.degrees(math.atan2(y1 - y0, x1 - x0))


def seen(x: float, y: float, side: float, score: float = 0.9) -> Seen:
    return Seen((x, y), side, score, ((x - 1, y), (x + 1, y)), 0.0)


# --- what is there is found


def test_every_sample_is_one_face_with_the_box_of_a_single_pass(samples: list[Path], fast: FaceSearch) -> None:
    with MediaPipeDetector() as one_pass:
        for path in samples:
            rgb = image_io.read(path).rgb8
            (face,), (known, *_) = fast.detect(rgb), one_pass.detect(rgb)
            side = known.box[2]
            assert np.linalg.norm(middle(face) - middle(known)) < 0.25 * side, path.name
            assert 0.8 < face.box[2] / side < 1.25, path.name
            assert face.box[2] == face.box[3]
            assert np.abs(np.array(face.keypoints) - known.keypoints)[:4].max() < 0.2 * side, path.name
            assert abs(tilt(face)) < 15, path.name
            assert 0.5 <= face.score <= 1


@pytest.mark.parametrize("side", [700, 300, 150])
def test_a_face_is_found_at_every_size_in_its_place(search: FaceSearch, fast: FaceSearch, side: int) -> None:
    (known,) = fast.detect(photo())
    (face,) = search.detect(canvas((PORTRAIT, 230, 40, side)))
    scale = side / 768
    assert np.allclose(middle(face), middle(known) * scale + (230, 40), atol=0.12 * known.box[2] * scale)
    assert np.isclose(face.box[2], known.box[2] * scale, rtol=0.15)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_photo_gives_the_same_face_turned(search: FaceSearch, quarters: int) -> None:
    rgb = canvas((PORTRAIT, 120, 60, 640))
    (upright,) = search.detect(rgb)
    (face,) = search.detect(np.rot90(rgb, quarters).copy())
    points = np.array([middle(upright), *upright.keypoints])
    width, height = 1000, 750
    for _ in range(quarters):  # anticlockwise: (x, y) -> (y, width - x)
        points, width, height = np.stack([points[:, 1], width - points[:, 0]], 1), height, width
    assert np.abs(np.array([middle(face), *face.keypoints]) - points).max() < 0.15 * upright.box[2]
    assert abs(math.remainder(tilt(face) - tilt(upright) + 90 * quarters, 360)) < 6
    assert 0.85 < face.box[2] / upright.box[2] < 1.18


@pytest.mark.parametrize("degrees", [-40, 30])
def test_the_eyes_tell_how_far_a_face_is_tilted(search: FaceSearch, degrees: int) -> None:
    rgb = canvas((PORTRAIT, 120, 60, 640))
    turn = cv2.getRotationMatrix2D((440, 340), degrees, 1.0)
    (upright,) = search.detect(rgb)
    face = search.detect(cv2.warpAffine(rgb, turn, (1000, 750), borderMode=cv2.BORDER_REFLECT))[0]
    assert abs(tilt(face) - tilt(upright) + degrees) < 6
    assert np.abs(middle(face) - turn @ [*middle(upright), 1]).max() < 0.15 * upright.box[2]


def test_people_are_found_the_largest_first(search: FaceSearch) -> None:
    found = search.detect(canvas((PORTRAIT, 0, 100, 600), ("female-05.jpg", 640, 30, 340), ("male-12.jpg", 700, 420, 300)))
    assert len(found) == 3
    assert [face.box[2] for face in found] == sorted((face.box[2] for face in found), reverse=True)
    assert [middle(face)[0] > 600 for face in found] == [False, True, True]


def test_only_thorough_looks_for_the_small_beside_the_large(thorough: FaceSearch) -> None:
    large, small = thorough.detect(canvas((PORTRAIT, 0, 50, 700), ("female-16.jpg", 800, 300, 110)))
    assert middle(large)[0] < 700
    assert np.abs(middle(small) - (855, 330)).max() < 30
    assert 25 < small.box[2] < 70


def test_a_gray_photo_and_a_panorama(search: FaceSearch) -> None:
    gray = np.repeat(photo().mean(2, keepdims=True), 3, 2).astype(np.uint8)
    assert len(search.detect(gray)) == 1
    wide = textured(3, 400, 2400)
    wide[:, 2000:] = photo(side=400)
    (face,) = search.detect(wide)
    assert np.abs(middle(face) - (2200, 200)).max() < 50


def test_a_larger_photo_gives_larger_numbers(fast: FaceSearch) -> None:
    rgb = canvas((PORTRAIT, 230, 40, 600))
    (face,), (there,) = fast.detect(rgb), fast.detect(cv2.resize(rgb, (3000, 2250), interpolation=cv2.INTER_CUBIC))
    assert np.allclose(np.array(there.box) / 3, face.box, atol=0.06 * face.box[2])
    assert np.allclose(np.array(there.keypoints) / 3, face.keypoints, atol=0.06 * face.box[2])
    assert WANTED <= 1000


# --- what is not there is not


@pytest.mark.parametrize("seed", [1, 2])
def test_a_photo_without_faces_is_an_empty_list(search: FaceSearch, seed: int) -> None:
    rgb = textured(seed, 750, 1000)
    noise = np.random.default_rng(seed).integers(0, 60, rgb.shape, np.uint8)
    assert search.detect(rgb // 2 + noise) == []


def test_headless_people_are_no_faces(search: FaceSearch) -> None:
    for name in ("female-05.jpg", "male-23.jpg", "male-77.jpg"):
        assert search.detect(photo(name)[480:].copy()) == []


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (1, 300), (40, 40)])
def test_tiny_photos_do_no_harm(search: FaceSearch, shape: tuple[int, int]) -> None:
    assert search.detect(np.full((*shape, 3), 99, np.uint8)) == []


def test_a_tiny_portrait_is_found(search: FaceSearch) -> None:
    assert len(search.detect(photo(side=80))) == 1


@pytest.mark.slow
def test_a_face_needs_the_confidence(thorough: FaceSearch) -> None:
    rgb = canvas((PORTRAIT, 0, 100, 600), ("female-05.jpg", 640, 30, 340))
    scores = sorted(face.score for face in thorough.detect(rgb))
    between = (scores[0] + scores[-1]) / 2
    with FaceSearch("thorough", between) as strict:
        assert [face.score for face in strict.detect(rgb)] == [scores[-1]]
    with FaceSearch("thorough", 1.0) as none:
        assert none.detect(rgb) == []


# --- a detector


def test_the_same_photo_gives_the_same_faces(search: FaceSearch) -> None:
    rgb = canvas((PORTRAIT, 0, 100, 600), ("female-05.jpg", 640, 30, 340))
    before = rgb.copy()
    first = search.detect(rgb)
    search.detect(photo("male-77.jpg"))
    assert repr(search.detect(rgb)) == repr(first)
    assert np.array_equal(rgb, before)
    with FaceSearch(search.describe()["effort"]) as fresh:
        assert repr(fresh.detect(np.asfortranarray(rgb))) == repr(first)
        fresh.close()
        assert repr(fresh.detect(rgb)) == repr(first)


@pytest.mark.parametrize("model", MODELS)
def test_it_works_again_after_an_error(model: str) -> None:
    def fail(image: object) -> object:
        raise RuntimeError("Graph has errors: \nCalculator::Process() failed")

    rgb = canvas((PORTRAIT, 230, 40, 600))
    with FaceSearch() as fresh:
        known = fresh.detect(rgb)
        fresh._models[model].close()
        fresh._models[model]._task = SimpleNamespace(detect=fail, close=lambda: None)
        with pytest.raises(errors.PhotoError, match=r"^the face detector failed: Graph has errors$"):
            fresh.detect(rgb)
        assert fresh.detect(rgb) == known


@pytest.mark.parametrize("rgb", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3), np.uint8)])
def test_only_rgb_is_taken(fast: FaceSearch, rgb: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^the detector takes uint8 \(H, W, 3\), not empty; received "):
        fast.detect(rgb)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(errors.UsageError, match=r"^there is no face search 'best': choose one of fast, thorough$"):
        FaceSearch("best")
    with pytest.raises(errors.UsageError, match=r"between 0 and 1; received -0\.1$"):
        FaceSearch(confidence=-0.1)


@pytest.mark.parametrize("effort", PASSES)
def test_describe_names_everything_that_decides(effort: str) -> None:
    described = FaceSearch(effort, 0.25).describe()
    hashes = {name: hashlib.sha256(resources.path(path).read_bytes()).hexdigest() for name, path in MODELS.items()}
    assert described == {"name": "mediapipe-search", "effort": effort, "sha256": hashes, "confidence": 0.25}
    assert json.loads(json.dumps(described)) == described


# --- parts


@pytest.mark.parametrize("effort", PASSES)
@pytest.mark.parametrize("shape", [(750, 1000), (1000, 750), (300, 4000), (17, 900)])
def test_the_squares_of_each_stage_cover_the_photo(effort: str, shape: tuple[int, int]) -> None:
    for stage in PASSES[effort]:
        for each in stage:
            squares = list(face_search._squares(each, shape[1], shape[0]))
            covered = np.zeros(shape, bool)
            for (x, y), side in squares:
                x0, y0 = round(x - side / 2), round(y - side / 2)
                covered[max(0, y0) : round(y0 + side), max(0, x0) : round(x0 + side)] = True
            assert covered.all() or not squares
            assert squares or each.share * min(shape) < face_search.INPUT[each.model] / 2


def test_squares_are_a_stride_apart() -> None:
    centres = sorted({x for (x, _), _ in face_search._squares(Pass("short", 0.5, 0.3, stride=0.7), 1000, 600)})
    assert (centres[0], centres[-1]) == (150, 850)
    assert max(np.diff(centres)) <= 0.7 * 300


def test_of_boxes_that_overlap_the_best_stays() -> None:
    apart, good = seen(500, 100, 80, 0.6), seen(100, 100, 100, 0.9)
    shifted, inside = seen(120, 100, 100, 0.7), seen(90, 90, 20, 0.8)
    assert face_search._best([shifted, apart, inside, good]) == [good, apart]
    beside = seen(160, 100, 100, 0.7)  # 40 % in common: two people, cheek to cheek
    assert face_search._best([beside, good]) == [good, beside]


@pytest.mark.parametrize("turn", [0.0, 0.6, -math.pi / 2])
@pytest.mark.parametrize("side", [40.0, 500.0])
def test_a_square_shows_the_place_that_its_affine_names(turn: float, side: float) -> None:
    rgb = np.zeros((600, 800, 3), np.uint8)
    cv2.circle(rgb, (400, 300), round(side / 20), (255, 255, 255), -1, cv2.LINE_AA)  # (400.5, 300.5) from the corner
    patch, matrix = face_search._Pyramid(rgb).square((400 + side / 5, 300), side, turn, 128)
    weights = patch[:, :, 0].astype(float)
    y, x = (np.average(np.arange(128) + 0.5, weights=weights.sum(axis)) for axis in (1, 0))
    assert np.allclose(matrix @ [x, y, 1], (400.5, 300.5), atol=max(0.1, side / 500))
    assert np.isclose(np.linalg.norm(matrix[:, 0]) * 128, side)

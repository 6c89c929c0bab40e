"""Finds the faces of a photo with several passes of MediaPipe's two models, and looks twice before it believes one.

A look shows a model one square of the photo, shrunk to what the model takes. A pass is a row of looks: at the whole frame, or at
tiles of it, since a model misses what is small in its square. Small tiles find small faces, and bring false boxes. So every
candidate gets a look of its own, where it fills the square as a portrait does: in all four turns unless the first one is sure,
then upright by its eyes. Where the short-range model is not sure, both must agree. Box and keypoints are the short-range model's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools.errors import UsageError
from dataset_tools.faces import Face, MediaPipeDetector, check_rgb

Rgb = NDArray[np.uint8]
Point = tuple[float, float]

WANTED = 960  # pixels of the longer side, if the photo has them: with fewer, small faces are lost
INPUT = {"short": 128, "full": 192}  # side of the square that a model takes
FLOOR = 0.2  # least score at which a model mentions something
SURE = 0.85  # score of the short-range model at which its second look is enough
HALF_SURE = 0.45  # ... and below which it is not asked again
UNLIKELY = 2  # a quarter turn must at least double the odds: profiles look alike in all of them
TILTED = 0.2  # radians from upright beyond which a face is shown again, turned by its eyes
PRIOR = 1 / 3  # odds of a candidate, times the odds that each model gives it
ROOM, MORE_ROOM = 2.2, 2.8  # side of the second look's square, in sides of the candidate; the full-range model wants more
QUARTER = math.pi / 2


@dataclass(frozen=True)
class Pass:
    """Squares of `share` of the photo's shorter side, overlapping (0: one square around the whole photo), and a model."""

    model: str
    share: float
    least: float  # score of a candidate
    turns: tuple[int, ...] = (0,)  # quarter turns of the squares
    stride: float = 0.5  # most sides between two squares; what is larger than the rest may be cut in both


PASSES = {  # effort -> stages of passes: a stage begins where those before it found nothing
    "fast": (
        (Pass("short", 0, 0.3), Pass("full", 1, 0.2)),
        (Pass("full", 0.6, 0.25, stride=0.7), Pass("short", 0, 0.3, turns=(1, 2, 3))),
    ),
    "thorough": (
        (Pass("short", 0, 0.25), Pass("full", 1, 0.2), Pass("short", 0.6, 0.35, stride=0.7), Pass("full", 0.6, 0.25, stride=0.7)),
        (Pass("short", 0, 0.25, turns=(1, 2, 3)), Pass("full", 1, 0.25, turns=(1, 2, 3))),
    ),
}


@dataclass(frozen=True)
class Seen:
    """A face as one look saw it, in pixels of the photo."""

    centre: Point
    side: float  # MediaPipe's boxes are squares
    score: float
    keypoints: tuple[Point, ...]
    turn: float  # radians by which the square was turned that showed it

    @property
    def angle(self) -> float:
        """Direction from the right to the left eye in radians, 0 for an upright face, clockwise on the screen."""
        (x0, y0), (x1, y1) = self.keypoints[:2]
        return math.atan2(y1 - y0, x1 - x0)


class FaceSearch:
    """A Detector. Close it, or use it in a `with`; the models are loaded at the first `detect`.

    effort: "fast" looks for small and turned faces only where it found no other; "thorough" always looks for small ones.
    confidence: least score of a face.

    Raises:
        UsageError: no such effort, or a confidence outside 0..1. PhotomendError: a model is missing from this installation.
    """

    def __init__(self, effort: str = "fast", confidence: float = 0.5) -> None:
        if effort not in PASSES:
            raise UsageError(f"there is no face search {effort!r}: choose one of {', '.join(PASSES)}")
        if not 0 <= confidence <= 1:
            raise UsageError(f"the confidence of a face search lies between 0 and 1; received {confidence}")
        self._effort, self._confidence = effort, confidence
        self._models = {name: MediaPipeDetector(name, FLOOR) for name in INPUT}

    def describe(self) -> dict[str, Any]:
        """What decides the boxes, JSON-safe: {"name", "effort", "sha256" of the files by model, "confidence"}."""
        hashes = {name: model.describe()["sha256"] for name, model in self._models.items()}
        return {"name": "mediapipe-search", "effort": self._effort, "sha256": hashes, "confidence": self._confidence}

    def detect(self, rgb: Rgb) -> list[Face]:
        """All faces of a photo, uint8 (H, W, 3) RGB, in its own pixels: largest area first, ties by x, then y.

        The box is an upright square around the face, turned or not; the keypoints of a turned face are turned with it.

        Raises:
            ValueError: not uint8 (H, W, 3), or empty. PhotoError, MissingDependency: as MediaPipeDetector.detect.
        """
        check_rgb(rgb)
        photo = _Pyramid(rgb)
        found: list[Seen] = []
        for stage in PASSES[self._effort]:
            looked: list[Seen] = []
            for each in stage:
                self._run(each, photo, found, looked)
            if found:
                break
        faces = [_face(seen) for seen in _best(found)]
        return sorted(faces, key=lambda face: (-face.box[2] * face.box[3], face.box[0], face.box[1]))

    def _run(self, each: Pass, photo: _Pyramid, found: list[Seen], looked: list[Seen]) -> None:
        """One pass: adds to `found` what the second look confirms; what is among `looked` already gets none."""
        candidates = [
            seen
            for centre, side in _squares(each, photo.width, photo.height)
            for turn in each.turns
            for seen in self._look(photo, each.model, centre, side, turn * QUARTER)
            if seen.score >= each.least
        ]
        for candidate in sorted(candidates, key=lambda seen: (-seen.score, seen.centre)):
            if any(_overlap(candidate, other) > 0.5 for other in found):
                continue
            if any(_alike(candidate, other) for other in looked):
                continue
            looked.append(candidate)
            face = self._second_look(photo, candidate, each.model)
            if face is not None and face.score >= self._confidence:
                found.append(face)

    def _second_look(self, photo: _Pyramid, candidate: Seen, model: str) -> Seen | None:
        """The candidate as its own square shows it, with the final score; None where there is no face in it.

        Only the short-range model mentions faces that are turned by 90 degrees and more, and it takes them for upright ones.
        """
        best = self._closer(photo, "short", candidate, candidate.turn)
        if model == "short" and (best is None or best.score < SURE):
            turned = (self._closer(photo, "short", candidate, candidate.turn + quarter * QUARTER) for quarter in (1, 2, 3))
            other = max((seen for seen in turned if seen is not None), key=lambda seen: seen.score, default=None)
            if other is not None and (best is None or _odds(other.score) > UNLIKELY * _odds(best.score)):
                best = other
        if best is None or best.score < HALF_SURE:
            return None
        if best.score < SURE or abs(math.remainder(best.angle - best.turn, math.tau)) > TILTED:
            best = self._closer(photo, "short", best, best.angle) or best
        if best.score >= SURE:
            return best
        odds = 0.0
        filling = best.side > min(photo.width, photo.height) / 2  # much room around it is mostly outside of the photo
        for room in (MORE_ROOM, ROOM) if filling else (MORE_ROOM,):
            full = self._closer(photo, "full", best, best.turn, room)
            odds = max(odds, PRIOR * _odds(best.score) * _odds(full.score) if full is not None else 0.0)
        return Seen(best.centre, best.side, odds / (1 + odds), best.keypoints, best.turn)

    def _closer(self, photo: _Pyramid, model: str, seen: Seen, turn: float, room: float = ROOM) -> Seen | None:
        """What a model makes of something seen, if anything, in a square of its own: `room` times as large, turned by `turn`."""
        there = [
            face
            for face in self._look(photo, model, seen.centre, room * seen.side, turn)
            if math.dist(face.centre, seen.centre) < 0.6 * seen.side and 0.4 < face.side / seen.side < 2.2
        ]
        return max(there, key=lambda face: face.score, default=None)

    def _look(self, photo: _Pyramid, model: str, centre: Point, side: float, turn: float) -> list[Seen]:
        """Shows a model one square of the photo."""
        patch, matrix = photo.square(centre, side, turn, INPUT[model])
        step = side / INPUT[model]
        seen = []
        for face in self._models[model].detect(patch):
            x, y, width, height = face.box
            points = np.array([(x + width / 2, y + height / 2), *face.keypoints]) @ matrix[:, :2].T + matrix[:, 2]
            middle, *keypoints = ((float(px), float(py)) for px, py in points)
            seen.append(Seen(middle, math.sqrt(width * height) * step, face.score, tuple(keypoints), turn))
        return seen

    def close(self) -> None:
        """Frees the models; a later `detect` loads them again."""
        for model in self._models.values():
            model.close()

    def __enter__(self) -> FaceSearch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pyramid:
    """A photo and its halvings, made when asked for: a square is sampled from the level nearest to its size."""

    def __init__(self, rgb: Rgb) -> None:
        self.height, self.width = rgb.shape[:2]
        self._levels = [rgb]

    def _level(self, number: int) -> int:
        while len(self._levels) <= number and min(self._levels[-1].shape[:2]) > 1:
            last = self._levels[-1]
            size = (last.shape[1] // 2, last.shape[0] // 2)
            self._levels.append(cv2.resize(last[: size[1] * 2, : size[0] * 2], size, interpolation=cv2.INTER_AREA))
        return min(number, len(self._levels) - 1)

    def square(self, centre: Point, side: float, turn: float, pixels: int) -> tuple[Rgb, NDArray[np.float64]]:
        """A square as (pixels, pixels, 3), black outside of the photo, and the 2x3 affine from its coordinates to the photo's.

        Coordinates count from the corner of the corner pixel, as boxes do; OpenCV counts from its middle.
        """
        level = self._level(max(0, round(math.log2(max(side, 1) / pixels))))
        cos, sin = math.cos(turn) * side / pixels, math.sin(turn) * side / pixels
        matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
        matrix[:, 2] = np.array(centre) - matrix[:, :2] @ (pixels / 2, pixels / 2)
        there = matrix / 2**level
        there[:, 2] += there[:, :2] @ (0.5, 0.5) - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        patch: Rgb = cv2.warpAffine(self._levels[level], there, (pixels, pixels), flags=flags)  # type: ignore[assignment]
        return patch, matrix


def _squares(each: Pass, width: int, height: int) -> Iterator[tuple[Point, float]]:
    """Centre and side of a pass's squares; none where they would be enlarged more than twofold."""
    if each.share == 0:
        yield (width / 2, height / 2), float(max(width, height))
        return
    side = each.share * min(width, height)
    if side >= INPUT[each.model] / 2:
        for y in _starts(height, side, each.stride):
            for x in _starts(width, side, each.stride):
                yield (x + side / 2, y + side / 2), side


def _starts(length: int, side: float, stride: float) -> list[float]:
    """Where squares begin that cover a length evenly, at most `stride` of their side apart."""
    steps = math.ceil(max(0.0, length - side) / (side * stride))
    return [(length - side) * step / steps for step in range(steps + 1)] if steps else [0.0]


def _overlap(one: Seen, other: Seen) -> float:
    """The common area, as a share of the smaller one's."""
    half = (one.side + other.side) / 2
    least = min(one.side, other.side)
    shared = [min(least, max(0.0, half - abs(a - b))) for a, b in zip(one.centre, other.centre, strict=True)]
    return shared[0] * shared[1] / least**2


def _alike(one: Seen, other: Seen) -> bool:
    """Whether a second look at one would show what the second look at the other showed."""
    return math.dist(one.centre, other.centre) < 0.2 * other.side and 0.75 < one.side / other.side < 1.33


def _best(found: Iterable[Seen]) -> list[Seen]:
    """Non-maximum suppression: of those that overlap by more than half of the smaller, the one with the best score."""
    kept: list[Seen] = []
    for seen in sorted(found, key=lambda seen: (-seen.score, seen.centre)):
        if all(_overlap(seen, other) <= 0.5 for other in kept):
            kept.append(seen)
    return kept


def _odds(score: float) -> float:
    return score / max(1 - score, 1e-6)


def _face(seen: Seen) -> Face:
    """The short-range model's square, as the full-range model draws it: a little larger, and nearer to the forehead."""
    side = 1.05 * seen.side
    x = seen.centre[0] + 0.03 * side * math.sin(seen.angle)
    y = seen.centre[1] - 0.03 * side * math.cos(seen.angle)
    return Face((x - side / 2, y - side / 2, side, side), seen.score, seen.keypoints)

"""Canvases whose faces are known, since they were pasted: bench/recall.py says how."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import image_io
from dataset_tools.errors import PhotoError
from dataset_tools.faces import Face, MediaPipeDetector

Rgb = NDArray[np.uint8]
Point = tuple[float, float]
Box = tuple[float, float, float, float]  # x, y, width, height
Detect = Callable[[Rgb], list[Face]]

WIDTH, HEIGHT = 1280, 960
LARGE, SMALL = 0.45, 0.12  # of the frame's height: the others of a mixed canvas
COLUMNS = {".9": (0.9, 0), ".45": (0.45, 0), ".25": (0.25, 0), ".12": (0.12, 0), ".06": (0.06, 0),
           ".45, 30°": (0.45, 30), ".45, 90°": (0.45, 90), ".45, 180°": (0.45, 180)}  # fmt: skip
LEAST_SIDE = 450  # of a portrait


@dataclass(frozen=True)
class Portrait:
    """A photo with exactly one face."""

    rgb: Rgb
    mask: NDArray[np.float32]  # (H, W) 0 to 1: head and shoulders, soft
    box: Box
    name: str
    sha256: str


@dataclass(frozen=True)
class Canvas:
    """A drawn photo, the faces in it, and which of them its column is about."""

    rgb: Rgb
    truth: list[Box]
    asked: list[bool]


# --- portraits


def load_portraits(paths: Sequence[Path], most: int, peer: Detect, seed: int) -> list[Portrait]:
    """At most `most` usable portraits, the same ones for the same files and seed, whatever their names."""
    hashed = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in reversed(paths)}
    order = sorted(hashed, key=lambda sha: hashlib.sha256(f"{seed} {sha}".encode()).digest())
    portraits: list[Portrait] = []
    with MediaPipeDetector("full") as full:
        for sha in order:
            if len(portraits) == most:
                break
            try:
                rgb = image_io.read(hashed[sha]).rgb8
            except PhotoError:
                continue
            box = _agreed(full.detect(rgb), peer(rgb)) if min(rgb.shape[:2]) >= LEAST_SIDE else None
            if box is not None and _whole(box, rgb.shape):
                portraits.append(Portrait(rgb, _mask(rgb.shape[:2], box), box, hashed[sha].name, sha))
    return portraits


def _agreed(ours: list[Face], theirs: list[Face]) -> Box | None:
    if len(ours) != 1 or len(theirs) != 1 or not hits(ours[0].box, theirs[0].box):
        return None
    mean = np.mean([ours[0].box, theirs[0].box], axis=0)
    return (float(mean[0]), float(mean[1]), float(mean[2]), float(mean[3]))


def _whole(box: Box, shape: tuple[int, ...]) -> bool:
    """Whether the head is in the photo: a face cut from a close-up and pasted without its head is none that a camera sees."""
    (x, y, width, height), room = box, 0.15
    return x > room * width and y > room * height and x + (1 + room) * width < shape[1] and y + (1 + room) * height < shape[0]


def hits(box: Box, truth: Box) -> bool:
    """The project's rule of a hit."""
    off = math.hypot(box[0] + box[2] / 2 - truth[0] - truth[2] / 2, box[1] + box[3] / 2 - truth[1] - truth[3] / 2)
    return off <= 0.3 * truth[2] and 0.6 <= math.sqrt(box[2] * box[3] / (truth[2] * truth[3])) <= 1.6


def _mask(shape: tuple[int, ...], box: Box) -> NDArray[np.float32]:
    """Head (an ellipse with room for the hair) and shoulders (a rounded block below), faded out before the photo's edges."""
    x, y, width, height = box
    middle, side = (x + width / 2, y + height / 2), math.sqrt(width * height)
    mask = np.zeros(shape, np.float32)
    head = (round(middle[0]), round(middle[1] - 0.1 * side)), (round(0.8 * side), round(0.95 * side))
    cv2.ellipse(mask, *head, 0, 0, 360, 1.0, -1)
    cv2.ellipse(
        mask, (round(middle[0]), round(middle[1] + 1.7 * side)), (round(1.5 * side), round(0.95 * side)), 0, 0, 360, 1.0, -1
    )
    neck = (round(middle[0] - 0.45 * side), round(middle[1])), (round(middle[0] + 0.45 * side), shape[0])
    cv2.rectangle(mask, *neck, 1.0, -1)
    edge = max(4, round(0.06 * side))
    mask[:edge], mask[-edge:], mask[:, :edge], mask[:, -edge:] = 0, 0, 0, 0
    return cv2.GaussianBlur(mask, (0, 0), edge / 2.5)


# --- backgrounds


def load_backgrounds(folder: Path | None) -> list[Rgb]:
    """Photos without faces: those of `folder`, at most 1600 px long."""
    found = []
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.is_file():
            rgb = image_io.read(path).rgb8
            scale = 1600 / max(rgb.shape[:2])
            found.append(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else rgb)
    return found


def background(rng: np.random.Generator, bodies: Sequence[Portrait], photos: Sequence[Rgb]) -> Rgb:
    """(HEIGHT, WIDTH, 3): a part of a photo, or one that is put together from headless parts of portraits."""
    if photos and rng.random() < 0.6:
        photo = photos[rng.integers(len(photos))]
        return _part(rng, photo, (0, 0, photo.shape[1], photo.shape[0]), (WIDTH, HEIGHT), least=0.6)
    rgb = _clouds(rng)
    for _ in range(int(rng.integers(8, 20))):
        portrait = bodies[rng.integers(len(bodies))]
        size = (int(rng.integers(200, 700)), int(rng.integers(200, 500)))
        part = _part(rng, portrait.rgb, _headless(rng, portrait), size, least=0.5)
        x, y = int(rng.integers(-100, WIDTH - 100)), int(rng.integers(-100, HEIGHT - 100))
        soft = np.zeros((size[1], size[0]), np.float32)
        cv2.rectangle(soft, (12, 12), (size[0] - 13, size[1] - 13), 1.0, -1)
        _blend(rgb, part, cv2.GaussianBlur(soft, (0, 0), 4), x, y)
    return rgb


def _headless(rng: np.random.Generator, portrait: Portrait) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a part that shows no head: below the chin, or beside the head."""
    (x, y, width, height), (rows, columns) = portrait.box, portrait.rgb.shape[:2]
    parts = [(0, y + 1.25 * height, columns, rows), (0, 0, x - 0.6 * width, rows), (x + 1.6 * width, 0, columns, rows)]
    usable = [part for part in parts if part[2] - part[0] > 60 and part[3] - part[1] > 60]
    chosen = usable[rng.integers(len(usable))] if usable else (0, rows - 60, columns, rows)
    x0, y0, x1, y1 = map(int, chosen)
    return x0, y0, x1, y1


def _part(rng: np.random.Generator, rgb: Rgb, area: tuple[int, int, int, int], size: tuple[int, int], least: float) -> Rgb:
    """A random part of an area, of at least `least` of its sides, mirrored at random, stretched by at most 1.3 to `size`."""
    x0, y0, x1, y1 = area
    share = rng.uniform(least, 1)
    aspect = size[0] / size[1] * math.exp(rng.uniform(-0.25, 0.25))
    width = share * min(x1 - x0, (y1 - y0) * aspect)
    height = width / aspect
    left, top = rng.uniform(x0, x1 - width), rng.uniform(y0, y1 - height)
    piece = rgb[int(top) : int(top + height) + 1, int(left) : int(left + width) + 1]
    piece = piece[:, ::-1] if rng.random() < 0.5 else piece
    return cv2.resize(np.ascontiguousarray(piece), size, interpolation=cv2.INTER_CUBIC)


def _clouds(rng: np.random.Generator) -> Rgb:
    """Smooth colours with noise of several sizes."""
    total = np.full((HEIGHT, WIDTH, 3), rng.uniform(60, 190, 3), np.float32)
    for cells in (3, 9, 40, 300):
        noise = rng.normal(0, rng.uniform(5, 30), (cells * 3 // 4, cells, 3)).astype(np.float32)
        total += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return total.clip(0, 255).astype(np.uint8)


def _blend(canvas: Rgb, patch: Rgb, mask: NDArray[np.float32], x: int, y: int) -> None:
    """Lays a patch on the canvas in place; what leaves the canvas is cut."""
    top, left = max(0, -y), max(0, -x)
    bottom, right = min(patch.shape[0], canvas.shape[0] - y), min(patch.shape[1], canvas.shape[1] - x)
    if bottom <= top or right <= left:
        return
    below = canvas[y + top : y + bottom, x + left : x + right]
    weight = mask[top:bottom, left:right, None]
    below[:] = (below * (1 - weight) + patch[top:bottom, left:right] * weight + 0.5).astype(np.uint8)


# --- canvases


def turned(portrait: Portrait, centre: Point, height: float, degrees: float) -> tuple[Rgb, NDArray[np.float32], Box]:
    """A portrait turned anticlockwise on a canvas, its face's box `height` high and around `centre`; its mask; that box."""
    x, y, width, before = portrait.box
    rgb, mask, scale = portrait.rgb, portrait.mask, height / before
    less = min(1.0, 2 * scale)  # warpAffine samples, so what it would shrink by more than 2 is shrunk by area before
    if less < 1:
        size = (round(rgb.shape[1] * less), round(rgb.shape[0] * less))
        rgb, mask = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (rgb, mask))
    middle = ((x + width / 2) * less - 0.5, (y + before / 2) * less - 0.5)
    matrix = cv2.getRotationMatrix2D(middle, degrees, scale / less)
    matrix[:, 2] += np.array(centre) - 0.5 - middle
    rgb = cv2.warpAffine(rgb, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    width *= scale
    return rgb, cv2.warpAffine(mask, matrix, (WIDTH, HEIGHT)), (centre[0] - width / 2, centre[1] - height / 2, width, height)


def draw(seed: int, column: str, number: int, portraits: Sequence[Portrait], bodies: Sequence[Portrait],
         photos: Sequence[Rgb]) -> Canvas:  # fmt: skip
    """Canvas `number` of a column; odd ones are mixed."""
    share, degrees = COLUMNS[column]
    rng = np.random.default_rng((seed, list(COLUMNS).index(column), number))
    rgb = background(rng, bodies, photos)
    shares, asked = [share], [True]
    if number % 2:
        shares, asked = (
            ([share, SMALL, SMALL], [True, False, False]) if share >= LARGE else ([LARGE, share, share], [False, True, True])
        )
    truth: list[Box] = []
    for each in shares:
        picture, mask, box = _placed(rng, portraits, each * HEIGHT, degrees, truth)
        _blend(rgb, picture, mask, 0, 0)
        truth.append(box)
    return Canvas(rgb, truth, asked)


def _placed(rng: np.random.Generator, portraits: Sequence[Portrait], height: float, degrees: float,
            taken: Sequence[Box]) -> tuple[Rgb, NDArray[np.float32], Box]:  # fmt: skip
    """A portrait somewhere in the frame, so that it hides nothing of the faces that are there."""
    for _ in range(1000):
        portrait = portraits[rng.integers(len(portraits))]
        width = height * portrait.box[2] / portrait.box[3]
        x, y = rng.uniform(width / 2, WIDTH - width / 2), rng.uniform(height / 2, HEIGHT - height / 2)
        turn = degrees if rng.random() < 0.5 else -degrees
        if any(max(abs(x - bx - bw / 2) - bw / 2, abs(y - by - bh / 2) - bh / 2) < 0.8 * height for bx, by, bw, bh in taken):
            continue
        picture, mask, box = turned(portrait, (x, y), height, turn)
        if all(mask[round(by) : round(by + bh), round(bx) : round(bx + bw)].mean() < 0.02 for bx, by, bw, bh in taken):
            return picture, mask, box
    raise RuntimeError("no room for a face")

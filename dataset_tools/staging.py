"""One photo -> its rows and its staged pairs. What a worker does; it knows nothing of other photos, groups or splits.

No more is decoded than is needed: a photo is opened at the coarsest of 1/1, 1/2, 1/4 and 1/8 in which its faces can be found,
and once more, finer, only where a crop would have fewer pixels than it shows.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import crops, files, image_io, pairs
from dataset_tools.archive import Source, sha256
from dataset_tools.degrade_crop import Look, degrade
from dataset_tools.errors import NotAnImage, PhotoError, PhotomendError, TooLarge, Unreadable, UnsupportedFormat
from dataset_tools.groups import perceptual_hash
from dataset_tools.image_formats import APPLE_DOUBLE, UNREAD_SUFFIXES
from dataset_tools.manifest import Row, crop_row, photo_row
from dataset_tools.recipe import SURE, Recipe


def read_source(source: Source) -> bytes | None:
    """The bytes of a file that is, or claims to be, a photo; None where neither its content nor its name says so.

    Raises:
        PhotoError: it claims to be a photo and cannot be read, or is none.
    """
    suffix = os.path.splitext(source.path)[1].lower()
    claims = suffix in image_io.SUFFIXES
    refusal = Unreadable(f"{source.name} cannot be opened: a dangling link, no regular file, or a folder without permission")
    if not source.regular:
        if claims or source.hidden or _hidden_folder(source.path):
            raise refusal
        return None
    try:  # O_NONBLOCK: it may have become a pipe, which must not be waited for
        with open(source.path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as handle:
            status = os.fstat(handle.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise refusal
            head = handle.read(image_io.HEAD_BYTES)
            if image_io.sniff(head) is None and (head or not claims):
                if head.startswith(APPLE_DOUBLE):
                    return None
                if suffix in UNREAD_SUFFIXES:
                    raise UnsupportedFormat(f"{source.name} is an image of a kind that is not read: convert it to PNG or JPEG")
                if claims:
                    raise NotAnImage(f"{source.name} is called a photo, and is none")
                return None
            if status.st_size > image_io.MAX_BYTES:
                raise TooLarge(f"{source.name} is larger than {image_io.MAX_BYTES >> 20} MiB, which no photo is")
            handle.seek(0)
            return handle.read()
    except OSError as error:
        raise Unreadable(f"{source.name} cannot be read: {error.strerror or error}") from error


def _hidden_folder(path: str) -> bool:
    """True for what may be a folder of photos that cannot be entered; False for a dangling link, a pipe, a socket."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ELOOP)


def pair_name(source: str, sha: str, index: int) -> str:
    """The file name of a pair: readable, and no other (source, content, index) can have it."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", source.rpartition("/")[2].rpartition(".")[0])[:40].strip("_") or "photo"
    return f"{stem}-{hashlib.sha256(f'{source}:{sha}'.encode()).hexdigest()[:16]}-{index}.png"


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
    name = pair_name(row["source"], row["sha256"], row["face"])
    files.replace_bytes(folder / name, data)
    row.update(status="kept", reason=None, pair=name, pair_sha256=sha256(data), phash=perceptual_hash(b))


@dataclass
class _Candidate:
    """A crop that might be made, or the reason why not."""

    window: crops.Window  # in source pixels
    found: Row = field(default_factory=dict)  # score, box, keypoints
    reason: str | None = None


@dataclass
class PhotoStager:
    """Callable on a job of one source: gives its rows, photo first. Sent to each worker; the face search is made there."""

    recipe: Recipe
    folder: Path  # staging folder
    _search: Any = field(default=None, repr=False)

    def open(self) -> None:
        """Makes the face search and loads its models."""
        if self.recipe.crop == "faces" and self._search is None:
            from dataset_tools.face_search import FaceSearch

            self._search = FaceSearch(self.recipe.search, min(SURE, self.recipe.confidence))
            self._search.detect(np.zeros((64, 64, 3), np.uint8))

    def __call__(self, job: tuple[Source, ...]) -> list[Row]:
        (source,) = job
        sha = None
        try:
            data = read_source(source)
            if data is None:
                return []
            sha = sha256(data)
            look = self._look(data, source.name, self._least())
            rows = list(self._crops(source.name, sha, data, look))
        except PhotoError as error:
            return [failed(source.name, sha, error)]
        except PhotomendError:
            raise
        except Exception as error:  # a photo that breaks a library is a row too, not the end of the build
            return [failed(source.name, sha, error)]
        kept = any(row["status"] == "kept" for row in rows)
        reason = None if kept else "no_face" if not rows else "no_crop_kept"
        info = look.info
        extra = {"width": info.width, "height": info.height, "bytes": len(data), "format": info.format, "notes": list(info.notes)}
        if kept:
            extra["phash"] = perceptual_hash(look.rgb)
        return [photo_row(source.name, sha, "kept" if kept else "rejected", reason, **extra), *rows]

    def _least(self) -> tuple[int, int]:
        """(shorter, longer) side in pixels that the first look at a photo needs, if the photo has as many."""
        if self.recipe.crop != "faces":
            return self.recipe.size, self.recipe.size
        from dataset_tools.face_search import WANTED

        return 0, WANTED

    def _look(self, data: bytes, name: str, least: tuple[int, int]) -> Look:
        def scale(width: int, height: int) -> int:
            return _coarsest(min(min(width, height) / max(1, least[0]), max(width, height) / max(1, least[1])))

        photo = image_io.decode(data, name, scale)
        return Look(photo.rgb8, photo.info.scale, photo.info)

    def _crops(self, name: str, sha: str, data: bytes, look: Look) -> Iterator[Row]:
        recipe = self.recipe
        candidates = self._faces(look) if recipe.crop == "faces" else self._squares(sha, look.shape)
        for each in candidates:
            if each.reason is None and crops.enlargement(each.window, recipe.size) > recipe.max_enlarge:
                each.reason = "too_small"
        sides = [each.window.side for each in candidates if each.reason is None]
        finer = _coarsest(min(sides) / recipe.size) if sides else look.scale
        if finer < look.scale:
            photo = image_io.decode(data, name, finer)
            look = Look(photo.rgb8, photo.info.scale, photo.info)
        for index, each in enumerate(candidates):
            window = crops.on_raster(each.window, look.scale, look.shape, recipe.padding)
            kind, matrix = "face" if recipe.crop == "faces" else "crop", crops.affine(window, recipe.size)
            row = crop_row(kind, name, sha, index, "rejected", each.reason, **each.found, seed=crop_seed(recipe.seed, sha, index),
                           affine=np.round(matrix, 6).tolist(), degradations=[])  # fmt: skip
            if each.reason is None:
                self._make(row, look, window)
            yield row

    def _make(self, row: Row, look: Look, window: crops.Window) -> None:
        """Cuts, judges, degrades and stores one crop; its row is told the outcome."""
        recipe = self.recipe
        padding = "replicate" if recipe.padding == "clamp" else recipe.padding
        b = crops.crop(look.rgb, window, recipe.size, padding, look.scale)
        if recipe.min_sharpness > 0:
            row["sharpness"] = round(sharpness(b), 3)
            if row["sharpness"] < recipe.min_sharpness:
                row["reason"] = "blurred"
                return
        a, row["degradations"] = degrade(recipe, row, look, window, b, padding)
        store_pair(self.folder, row, a, b)

    def _squares(self, sha: str, shape: tuple[int, int]) -> list[_Candidate]:
        if self.recipe.crop == "center":
            return [_Candidate(crops.center_square(shape))]
        rng = np.random.default_rng(crop_seed(self.recipe.seed, sha, "tiles"))
        return [_Candidate(square) for square in crops.tile_squares(shape, self.recipe.size, self.recipe.tiles, rng)]

    def _faces(self, look: Look) -> list[_Candidate]:
        recipe, shape = self.recipe, look.shape
        self.open()
        candidates = []
        for face in self._search.detect(look.rgb):
            x, y, width, height = (round(float(value) * look.scale, 3) for value in face.box)
            box = (x, y, width, height)
            # the search counts from the corner of a pixel, an affine from its centre
            points = [(round(x * look.scale - 0.5, 3), round(y * look.scale - 0.5, 3)) for x, y in face.keypoints]
            window: crops.Window = crops.face_square(box, shape, recipe.margin, recipe.padding)
            if recipe.align:
                window = crops.upright_face(box, (points[0], points[1]), shape, recipe.margin, recipe.padding)
            found = {"score": round(float(face.score), 6), "box": list(box), "keypoints": list(map(list, points))}
            candidates.append(_Candidate(window, found, self._refusal(face.score, box, shape)))
        return candidates

    def _refusal(self, score: float, box: crops.Box, shape: tuple[int, int]) -> str | None:
        recipe = self.recipe
        x, y, width, height = box
        inside = max(0.0, min(x + width, shape[1]) - max(x, 0)) * max(0.0, min(y + height, shape[0]) - max(y, 0))
        if score < recipe.confidence:
            return "low_confidence"
        if max(width, height) < recipe.min_face:
            return "small_face"
        return "cut_by_frame" if 1 - inside / (width * height) > recipe.max_cut + 1e-6 else None

    def close(self) -> None:
        """Closes the face search (MediaPipe prints a traceback if the interpreter's end does it)."""
        if self._search is not None:
            self._search.close()
            self._search = None


def sharpness(rgb: NDArray[np.uint8]) -> float:
    """The variance of the Laplacian of the luma (Pech-Pacheco et al. 2000): low where an image is blurred or has no detail."""
    return float(cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def _coarsest(room: float) -> int:
    """The largest of the scales 1, 2, 4, 8 that is at most `room`; 1 where none is."""
    return max((scale for scale in (1, 2, 4, 8) if scale <= room), default=1)

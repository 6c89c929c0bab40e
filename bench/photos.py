"""Makes the photos that the benches work on: the same ones for the same seed, made once and kept in a folder.

`camera_photos` go the way of light through a camera, since the cost of a JPEG is its entropy, and that is mostly sensor noise:
a scene in linear light -> one colour a pixel behind a Bayer filter, with shot and read noise -> demosaicing, which spreads the
noise over neighbours -> gamma -> sharpening -> JPEG as phones and cameras write it (quality 92 to 95, 4:2:0 or 4:2:2, standard
Huffman tables). At these settings 12 megapixels take 3 to 6 MB, as they do from a phone.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset_tools import crops, files, resources
from dataset_tools.faces import MediaPipeDetector

WIDTH, HEIGHT = 4000, 3000  # 12 megapixels
FACE_SHARE = 0.52  # of the side of a portrait that its face's box takes
GAMMA = 2.2


def camera_photos(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """`count` JPEGs of 4000 x 3000, each with a face of 0.3 to 0.5 of the frame's height."""
    return _make_missing(folder, count, partial(_camera_photo, seed))


def small_photos(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """`count` JPEGs of 640 x 480, all different; every second one shows a face."""
    return _make_missing(folder, count, partial(_small_photo, seed))


def _make_missing(folder: Path, count: int, make: Callable[[int], bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    missing = [path for path in paths if not path.exists()]
    if missing:
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            for path, data in zip(missing, pool.map(make, (int(path.stem) for path in missing), chunksize=8), strict=True):
                files.replace_bytes(path, data)
    return paths


def _camera_photo(seed: int, number: int) -> bytes:
    cv2.setNumThreads(1)
    rng = np.random.default_rng((seed, number))
    light = cv2.resize(_scene(rng, number, WIDTH // 2, HEIGHT // 2), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    rgb = _expose(rng, light.clip(0.002, 1), gain=float(np.exp(rng.uniform(np.log(0.0011), np.log(0.0026)))))
    return _jpeg(rgb, quality=int(rng.choice([92, 93, 95])), subsampling=str(rng.choice(["4:2:0", "4:2:0", "4:2:2"])))


def _scene(rng: np.random.Generator, number: int, width: int, height: int) -> NDArray[np.float32]:
    """(height, width, 3) in linear light: smooth shades, some 300 objects with edges, texture, and a person in front."""
    light = np.full((height, width, 3), 0.22, np.float32)
    for cells in (4, 10, 25):
        light += _cloud(rng, cells, 0.09, width, height)
    for _ in range(300):
        middle = (int(rng.integers(width)), int(rng.integers(height)))
        axes = tuple(int(side) for side in np.exp(rng.uniform(np.log(3), np.log(width / 12), 2)))
        colour = (rng.uniform(0.02, 0.7) * rng.uniform(0.6, 1.4, 3)).tolist()
        if rng.random() < 0.5:
            cv2.ellipse(light, (middle, axes, float(rng.uniform(0, 360))), colour, -1, cv2.LINE_AA)
        else:
            corners = cv2.boxPoints((middle, axes, float(rng.uniform(0, 360))))
            cv2.fillConvexPoly(light, corners.round().astype(np.int32), colour, cv2.LINE_AA)
    light = cv2.GaussianBlur(light, (0, 0), 0.7)  # a lens draws no stairs
    light *= (1 + sum(_cloud(rng, cells, 0.12, width, height) for cells in (120, 400, width // 2))).clip(0.3, 1.7)
    _paste_portrait(rng, light, number)
    return light


def _cloud(rng: np.random.Generator, cells: int, strength: float, width: int, height: int) -> NDArray[np.float32]:
    """Smooth noise of `cells` random values along the width, mostly grey."""
    values = rng.standard_normal((cells * 3 // 4 + 1, cells, 3), dtype=np.float32)
    values = (0.4 * values + 0.8 * values.mean(2, keepdims=True)) * strength
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _paste_portrait(rng: np.random.Generator, light: NDArray[np.float32], number: int) -> None:
    """A sample portrait with soft edges; its face takes 0.3 to 0.5 of the height."""
    portraits = _portraits()
    height, width = light.shape[:2]
    side = int(height * rng.uniform(0.3, 0.5) / FACE_SHARE)
    portrait = cv2.resize(portraits[number % len(portraits)], (side, side), interpolation=cv2.INTER_CUBIC)
    portrait = (portrait.astype(np.float32).clip(0, 255) / 255) ** GAMMA
    left, top = int(rng.integers(width - side)), int(rng.integers(height - side))
    place = light[top : top + side, left : left + side]
    place += (portrait - place) * _soft_disc(side)


@cache
def _portraits() -> list[NDArray[np.uint8]]:
    """The sample portraits, each cut to a square around its face, of which the face takes FACE_SHARE."""
    portraits = []
    with MediaPipeDetector() as detector:
        for path in sorted(resources.path("samples").glob("*.jpg")):
            rgb = np.asarray(Image.open(path).convert("RGB"))
            window = crops.face_square(detector.detect(rgb)[0].box, rgb.shape, (1 / FACE_SHARE - 1) / 2, "replicate")
            portraits.append(crops.crop(rgb, window, window.side))
    return portraits


def _soft_disc(side: int) -> NDArray[np.float32]:
    """(side, side, 1): 1 inside, falling to 0 at the rim."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    return np.asarray(((1 - np.hypot(x, y)) / 0.2).clip(0, 1)[..., None], np.float32)


def _expose(rng: np.random.Generator, light: NDArray[np.float32], gain: float) -> NDArray[np.uint8]:
    """What a camera makes of `light`, (H, W, 3) in 0..1: sRGB-like uint8. `gain` is the share of full well of one electron."""
    raw = np.empty(light.shape[:2], np.float32)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):  # RGGB
        raw[y::2, x::2] = light[y::2, x::2, channel]
    raw += rng.standard_normal(raw.shape, dtype=np.float32) * np.sqrt(gain * raw + (3 * gain) ** 2)  # shot and read noise
    levels = np.rint(raw.clip(0, 1) * 65535).astype(np.uint16)
    developed = cv2.demosaicing(levels, cv2.COLOR_BayerRGGB2RGB_EA)
    curve = np.rint((np.arange(65536) / 65535) ** (1 / GAMMA) * 255).astype(np.uint8)
    rgb = curve[developed]
    return np.asarray(cv2.addWeighted(rgb, 1.4, cv2.GaussianBlur(rgb, (0, 0), 1.0), -0.4, 0), np.uint8)


def _jpeg(rgb: NDArray[np.uint8], quality: int, subsampling: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def _small_photo(seed: int, number: int) -> bytes:
    """Random shades, so that no two are near-duplicates; in every second one a face, the mix of two portraits."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng((seed, 1, number))
    rgb = 110 + 55 * rng.standard_normal((9, 12, 3), dtype=np.float32)
    rgb = cv2.resize(rgb, (640, 480), interpolation=cv2.INTER_CUBIC)
    if number % 2:
        faces, side = _small_portraits(), 320
        one, other = rng.choice(len(faces), 2, replace=False)
        weight = rng.uniform(0.2, 0.8)
        face = cv2.addWeighted(faces[one], weight, faces[other], 1 - weight, 0)
        shade = cv2.resize(rng.uniform(0.5, 1.3, (4, 4)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        left, top = int(rng.integers(640 - side)), int(rng.integers(480 - side))
        place = rgb[top : top + side, left : left + side]
        place += (face[:, :: int(rng.choice([-1, 1]))] * shade[..., None] - place) * _small_disc()
    return bytes(cv2.imencode(".jpg", rgb.clip(0, 255).astype(np.uint8)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1])


@cache
def _small_portraits() -> list[NDArray[np.float32]]:
    return [cv2.resize(portrait, (320, 320), interpolation=cv2.INTER_AREA).astype(np.float32) for portrait in _portraits()]


@cache
def _small_disc() -> NDArray[np.float32]:
    return _soft_disc(320)


def links(folder: Path, photos: list[Path]) -> Path:
    """`folder` with just these photos in it, as links."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in set(folder.iterdir()) - {folder / photo.name for photo in photos}:
        path.unlink()
    for photo in photos:
        if not (folder / photo.name).exists():
            (folder / photo.name).symlink_to(photo.resolve())
    return folder

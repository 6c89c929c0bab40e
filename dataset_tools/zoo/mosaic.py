"""Mosaic: on the whole picture or on a part of it, on the crop or on the photo before it is cropped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import mosaic_grid
from dataset_tools.zoo.options import Degradation, Record, Rgb, Scene, draw_value, mix, real, whole, word

MAX_BLOCK = 1024  # pixels

_OPTIONS = {
    "block": whole(1, MAX_BLOCK, 16, "side of a cell in pixels of the crop", "8..24"),
    "phase": word(("0", "random"), "0", "where the first whole cell starts: 0, the corner of the image, or random", random=False),
    "space": word(
        ("crop", "photo"), "crop", "laid on the crop, or on the photo before it is cropped and turned, as real mosaics are",
        quiet=True,
    ),
    "region": word(
        ("whole", "face", "ellipse", "eyes"), "whole",
        "what is covered: the whole image, the face's box, an ellipse around the face, a bar over the eyes; whole where no face "
        "is known", quiet=True,
    ),
    "feather": real(0, 256, 0, "width of the soft edge of a region in pixels of the crop", "4..12", quiet=True),
}  # fmt: skip


def _draw(rng: np.random.Generator, options: Mapping[str, Any], scene: Scene) -> dict[str, Any]:
    block = max(1, round(int(draw_value(rng, options["block"], _OPTIONS["block"])) * scene.scale))
    phases = rng.integers(block, size=2)
    if options["phase"] == "0":
        phases = np.zeros(2, int)
    record: dict[str, Any] = {"block": block, "phase_y": int(phases[0]), "phase_x": int(phases[1])}
    region = draw_value(rng, options["region"], _OPTIONS["region"])
    feather = float(draw_value(rng, options["feather"], _OPTIONS["feather"])) * scene.scale
    if options["space"] == "photo":
        record["space"] = "photo"
    if region != "whole":
        at = _place(str(region), scene)
        record |= {"region": region, "at": at, "feather": round(feather, 3)} if at else {"region": "whole"}
    return record


def _place(region: str, scene: Scene) -> list[float] | None:
    """[x, y, half width, half height, degrees clockwise] of a region about its centre; None where the scene has no face.

    Pixel centres lie at integers, so that a box begins half a pixel before its first one.
    """
    if scene.box is not None:
        x, y, width, height = scene.box
        eyes = scene.eyes or ((x + 0.3 * width, y + 0.33 * height), (x + 0.7 * width, y + 0.33 * height))
    elif scene.eyes is not None:  # a face is about 2.4 eye distances wide; its middle lies a little below the eyes
        eyes = scene.eyes
        width = height = 2.4 * math.dist(*eyes)
        x, y = (eyes[0][0] + eyes[1][0] - width) / 2, (eyes[0][1] + eyes[1][1]) / 2 - width / 3
    else:
        return None
    centre_x, centre_y = x + width / 2 - 0.5, y + height / 2 - 0.5
    (x1, y1), (x2, y2) = sorted(eyes)  # left to right in the image: the bar has no upside down
    turn = math.atan2(y2 - y1, x2 - x1)
    if region == "face":
        place = (centre_x, centre_y, width / 2, height / 2, 0.0)
    elif region == "ellipse":  # a detector's box ends at the brows and the chin; the ellipse takes in the forehead
        side = (width + height) / 2
        up = 0.08 * side
        place = (centre_x + up * math.sin(turn), centre_y - up * math.cos(turn), 0.52 * side, 0.68 * side, math.degrees(turn))
    else:
        distance = math.dist(*eyes)
        half = (max(0.95 * distance, 0.1 * width), max(0.36 * distance, 0.06 * width))  # a profile's eyes lie close together
        place = ((x1 + x2) / 2, (y1 + y2) / 2, *half, math.degrees(turn))
    return [round(float(value), 3) for value in place]


def region_weights(record: Record, shape: tuple[int, int]) -> NDArray[np.uint8] | None:
    """How much of the mosaic `record` shows in each pixel: 0 to 255 of `shape` (H, W); None: all of it everywhere."""
    kind = record.get("region", "whole")
    if kind == "whole":
        return None
    centre_x, centre_y, half_width, half_height, degrees = record["at"]
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    dx = np.arange(shape[1])[None, :] - centre_x
    dy = np.arange(shape[0])[:, None] - centre_y
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine  # (H, W)
    if kind == "ellipse":
        away = (np.sqrt((along / half_width) ** 2 + (across / half_height) ** 2) - 1) * min(half_width, half_height)
    else:
        away = np.maximum(np.abs(along) - half_width, np.abs(across) - half_height)  # pixels outside the edge
    shares = np.clip(0.5 - away / record["feather"], 0, 1) if record["feather"] > 0 else away <= 0
    return np.asarray(np.rint(255.0 * shares), np.uint8)


def cover(rgb: Rgb, other: Rgb, record: Record, onto: NDArray[np.float64] | None = None) -> Rgb:
    """`other` where the mosaic `record` lies, `rgb` elsewhere, a soft edge between them: all uint8 (H, W, 3).

    `onto`: of a mosaic on the photo, the (2, 3) affine from pixels of `rgb` to those of the raster that it was laid on.
    """
    height, width = rgb.shape[:2]
    if onto is None:
        weights = region_weights(record, (height, width))
    else:
        weights = region_weights(record, (record["raster"][3], record["raster"][2]))
        if weights is not None:
            weights = np.asarray(cv2.warpAffine(weights, onto, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    return other if weights is None else mix(rgb, other, weights)


def _apply(rgb: Rgb, record: Record) -> Rgb:
    grid = mosaic_grid.Grid(record["block"], record["phase_y"], record["phase_x"])
    return cover(rgb, mosaic_grid.paint(mosaic_grid.cell_means(rgb, grid), grid, (rgb.shape[0], rgb.shape[1])), record)


ENTRIES = (Degradation("mosaic", "square cells, each filled with the mean of its pixels", _OPTIONS, _draw, _apply),)

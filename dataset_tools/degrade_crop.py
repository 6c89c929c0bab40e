"""A, the input of a pair, from B: what is laid on the photo before it is cut, then what is laid on the crop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_tools import crops, degradations, image_io
from dataset_tools.manifest import Row
from dataset_tools.recipe import Recipe

FINER = (0.8, 2.5)  # pixels of a photo, a side, for one of its crop


@dataclass
class Look:
    """A photo decoded at 1/scale."""

    rgb: NDArray[np.uint8]  # (H, W, 3) sRGB
    scale: int
    info: image_io.PhotoInfo

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the upright photo at full size."""
        return self.info.height, self.info.width


def degrade(
    recipe: Recipe, row: Row, look: Look, window: crops.Window, b: NDArray[np.uint8], padding: str
) -> tuple[NDArray[np.uint8], list[Row]]:
    """A from B: first what is laid on the photo itself, cut by the same window, then what is laid on the crop."""
    rng = np.random.default_rng(row["seed"])
    steps = degradations.settle([degradations.parse(text) for text in recipe.degrade], rng)
    on_photo = [step for step in steps if degradations.in_photo(step)]
    a, drawn = b, list[Row]()
    if on_photo:
        a, drawn = _degrade_photo(on_photo, rng, row, look, window, recipe.size, padding)
    on_crop = degradations.draw([step for step in steps if step not in on_photo], rng,
                                _scene(row, crops.affine(window, recipe.size), (recipe.size, recipe.size), 1.0))  # fmt: skip
    return degradations.apply(a, on_crop), [*drawn, *on_crop]


def degrade_anew(
    steps: Sequence[degradations.Step], rng: np.random.Generator, b: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], list[Row]]:
    """A from B alone, uint8 (S, S, 3), whatever it shows and wherever it was.

    What is laid on the photo is laid on B enlarged or shrunk to between the sides that FINER names: its cells then lie off the
    pixels of the crop, as they do there; what of the photo is finer than B is hardly seen in the mean of a cell.
    """
    steps, size = degradations.settle(steps, rng), b.shape[0]
    on_photo = [step for step in steps if degradations.in_photo(step)]
    a, drawn = b, list[Row]()
    if on_photo:
        side = round(size * math.exp(rng.uniform(math.log(FINER[0]), math.log(FINER[1]))))
        patch = crops.crop(b, crops.Square(0, 0, size), side)
        whole = crops.Square(0, 0, side)
        onto = crops.invert(crops.affine(whole, size))
        place = {"raster": [0, 0, side, side, 1], "onto": np.round(onto, 6).tolist()}
        drawn = degradations.draw(on_photo, rng, degradations.Scene((side, side), scale=side / size))
        a = crops.crop(degradations.apply(patch, drawn), whole, size)
        drawn = [{**record, **place} for record in drawn]
    on_crop = degradations.draw([step for step in steps if step not in on_photo], rng, (size, size))
    return degradations.apply(a, on_crop), [*drawn, *on_crop]


def _degrade_photo(
    steps: list[degradations.Step], rng: np.random.Generator, row: Row, look: Look, window: crops.Window, size: int, padding: str
) -> tuple[NDArray[np.uint8], list[Row]]:
    """The crop of a photo that was degraded before it was cut: only the part around the window is worked on."""
    per_pixel = window.side / size  # source pixels a crop pixel
    height, width = look.rgb.shape[:2]
    room = max(window.side / 4, (degradations.reach(steps) + 1) * per_pixel)  # a cell at the edge is the mean of all its pixels
    left, top, right, bottom = (round(edge / look.scale) for edge in crops.footprint(window, room))
    left, top, right, bottom = max(0, left), max(0, top), min(width, right), min(height, bottom)
    patch = look.rgb[top:bottom, left:right]
    raster = np.array([[1.0, 0.0, 0.5 / look.scale - 0.5 - left], [0.0, 1.0, 0.5 / look.scale - 0.5 - top]])
    raster[:, :2] /= look.scale  # source pixels -> patch pixels
    drawn = degradations.draw(steps, rng, _scene(row, raster, patch.shape[:2], per_pixel / look.scale))
    degraded = look.rgb.copy()
    degraded[top:bottom, left:right] = degradations.apply(patch, drawn)
    onto = crops.compose(raster, crops.invert(crops.affine(window, size)))  # pixels of the crop -> of the patch
    place = {"raster": [left, top, right - left, bottom - top, look.scale],  # the patch, in pixels of the photo read at 1/scale
             "onto": np.round(onto, 6).tolist()}  # fmt: skip
    return crops.crop(degraded, window, size, padding, look.scale), [{**record, **place} for record in drawn]


def _scene(row: Row, matrix: crops.Matrix, shape: tuple[int, ...], scale: float) -> degradations.Scene:
    """What degradations may know of the face, in the pixels that `matrix` leads to."""
    shape = (shape[0], shape[1])
    if "box" not in row:
        return degradations.Scene(shape, scale=scale)
    eyes = crops.transform(matrix, np.array(row["keypoints"][:2], np.float64)).tolist()
    return degradations.Scene(shape, crops.transform_box(matrix, tuple(row["box"])), (tuple(eyes[0]), tuple(eyes[1])), scale)

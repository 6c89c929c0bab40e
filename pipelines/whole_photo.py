"""One whole photo: what a model's task says is to be restored in it, and the samples that come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dataset_tools import crops
from dataset_tools.crops import Square
from dataset_tools.image_io import Photo
from dataset_tools.mosaic_finder import find_mosaics
from dataset_tools.mosaic_grid import Grid
from dataset_tools.mosaic_regions import MOST, Region
from pipelines import regions as places
from pipelines.samples import in_colour, with_changes
from pipelines.whole_image import colorized, has_colours, restored_in_tiles

FEW = 8  # cells on the longer side of a mosaic; the model that ships learned from 11 and more
FEW_CELLS = f"mosaics of fewer than {FEW} cells on the longer side, of which next to nothing is known"
ALL_TAKEN = f"it shows {MOST} mosaics, the most that are looked for: there may be more"
HAD_COLOURS = "it had colours, which the model's have replaced"
COARSE = 24  # of a JPEG's luminance, its first step of quantization: that of quality 33

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB


class Engine(Protocol):
    """What restoring a whole photo needs of an engine; see engines.Engine."""

    card: dict[str, Any]
    size: int
    any_size: bool

    def run(self, batch: Rgb) -> Rgb:
        """(N, H, W, 3) uint8 -> restored; of a model of mosaics, as `cells.even` makes them."""


@dataclass(frozen=True)
class Wishes:
    """What a person may ask for."""

    strength: float = 1.0  # 0 to 1: how much of what was restored shows
    largest: int | None = None  # at most so many regions, the largest ones
    least: int = 0  # pixels: regions that are smaller on their longer side are left alone


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a photo. `photo` is None where nothing was restored."""

    photo: Photo | None
    mask: NDArray[np.uint8] | None = None  # (H, W) 0 to 255: how much of each pixel was invented
    regions: tuple[dict[str, Any], ...] = ()  # what was restored, for a report
    notes: tuple[str, ...] = ()


def restore_whole(engine: Engine, photo: Photo, wishes: Wishes, windows: Sequence[Square] = ()) -> Outcome:
    """`photo`, read at full size, restored as the task of the model says.

    mosaic: the mosaicked regions that its pixels show; a photo without one is left as it is. colorize: the whole photo, its
    luminance kept; a grey photo gets colour samples. other: the faces that are found, where the model learned from faces, or
    the whole photo, in tiles at its own size.

    Args:
        windows: where a dataset's crops of this photo lie: a model that learned from faces takes them for the faces.
    """
    task = engine.card["task"]
    if task == "mosaic":
        return _regions(engine, photo, wishes)
    if task == "other" and engine.card["crop"].get("kind") == "faces":
        return _faces(engine, photo, wishes, windows)
    stride = int(engine.card["stride"])
    if task == "colorize" and engine.any_size:
        made, paler = colorized(photo.opaque, engine.run, engine.size, stride, wishes.strength)
        notes = []
        if paler >= 0.0005:  # else it would be told as 0.0 %
            notes.append(f"{paler:.1%} of the pixels were given paler colours than the model's, to keep their luminance")
        if has_colours(photo.opaque):
            notes.append(HAD_COLOURS)
        whole = np.full(made.shape[:2], 255, np.uint8)
        return Outcome(with_changes(in_colour(photo), photo.opaque, made), whole, notes=tuple(notes))
    made = restored_in_tiles(photo.opaque, engine.run, engine.size)
    if wishes.strength < 1:
        made = np.rint(photo.opaque + wishes.strength * (made.astype(np.float32) - photo.opaque)).astype(np.uint8)
    return Outcome(with_changes(photo, photo.opaque, made), np.full(made.shape[:2], 255, np.uint8))


def _faces(engine: Engine, photo: Photo, wishes: Wishes, windows: Sequence[Square]) -> Outcome:
    """Each face as the crop that the model learned from, laid back into the photo."""
    rgb, card = photo.opaque, engine.card["crop"]
    made, mask = rgb.copy(), np.zeros(rgb.shape[:2], np.uint8)
    largest = sorted(windows, key=lambda each: -each.side)
    found = [(each, (each.x, each.y, each.side, each.side)) for each in largest] or [
        (crops.face_square(face.box, rgb.shape, card.get("margin") or 0.25, card.get("padding") or "clamp"), face.box)
        for face in _face_search().detect(rgb)
    ]
    told = []
    for window, box in [each for each in found if max(each[1][2:]) >= wishes.least][: wishes.largest]:
        (restored,) = engine.run(crops.crop(rgb, window, engine.size, "reflect")[None])
        rows, columns, pixels, part = places.face_pasted(made, window, restored, wishes.strength)
        made[rows, columns] = pixels
        mask[rows, columns] = np.maximum(mask[rows, columns], np.rint(255 * part).astype(np.uint8))
        told.append({"box": [round(value) for value in box], "size": engine.size})
    if not told:
        return Outcome(None)
    return Outcome(with_changes(photo, rgb, made, mask > 0), mask, tuple(told))


@cache
def _face_search() -> Any:
    """One for the process: its models take a second to load."""
    from dataset_tools.face_search import FaceSearch

    return FaceSearch()


def _regions(engine: Engine, photo: Photo, wishes: Wishes) -> Outcome:
    rgb = photo.opaque
    seen = find_mosaics(rgb)
    found = [each for each in seen if _side(each) >= wishes.least and not _is_jpegs_own(photo, each)]
    found = sorted(found, key=lambda each: -int(each.mask.sum()))[: wishes.largest]
    made, mask = rgb.copy(), np.zeros(rgb.shape[:2], np.uint8)
    told: list[dict[str, Any]] = []
    for region in found:
        top, left, restored = places.restored_around(rgb, region, engine.run, int(engine.card["stride"]))
        rows, columns, pixels, weights = places.pasted(made, region, (top, left), restored, wishes.strength)
        made[rows, columns] = pixels
        mask[rows, columns] = np.maximum(mask[rows, columns], np.rint(255 * weights).astype(np.uint8))
        told.append(_told(region))
    if not told:
        return Outcome(None)
    few = sum(_side(each) < FEW * each.grid.block for each in found)
    notes = [*([f"{FEW_CELLS}: {few}"] if few else []), *([ALL_TAKEN] if len(seen) >= MOST else [])]
    return Outcome(with_changes(photo, rgb, made, mask > 0), mask, tuple(told), tuple(notes))


def _is_jpegs_own(photo: Photo, region: Region) -> bool:
    """Whether what looks like a mosaic are the blocks of a JPEG that was compressed so strongly that each has one colour."""
    coarse = photo.info.quantization is not None and photo.info.quantization[min(photo.info.quantization)][0] >= COARSE
    if not coarse or photo.info.orientation != 1:
        return False
    if region.lines:  # they may fit the blocks a little better than these themselves
        return abs(region.lines.block - 8) < 0.1
    return region.grid == Grid(8)


def _told(region: Region) -> dict[str, Any]:
    top, left, bottom, right = region.box
    grid = region.grid
    return {"box": [left, top, right - left, bottom - top], "block": grid.block, "phase": [grid.phase_y, grid.phase_x]}


def _side(region: Region) -> int:
    top, left, bottom, right = region.box
    return max(bottom - top, right - left)

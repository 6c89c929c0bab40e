"""The pictures of a build's report: photos with the outlines of their crops, and pairs.

A picture that an earlier report holds is taken from there, so that a small change of a large archive costs a small report.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_tools import crops, html, image_io, sheets
from dataset_tools.errors import PhotoError
from dataset_tools.html import Markup, element
from dataset_tools.manifest import Row
from dataset_tools.summary import Sample, Summary, group_number

SIDE, QUALITY = 240, 80  # a thumbnail's longer side in pixels, and its JPEG quality
PAIR = 512  # a pair's width at most: two halves of 256 as they are, since a mosaic that is resized shows seams
LEAST = 9  # pixels of an outline's side in a thumbnail: a smaller one could not be seen
OF_A_GROUP = 6  # photos of a group that are shown
KEPT, REJECTED = (64, 205, 116), (255, 150, 30)  # colours of outlines

OpenPhoto = Callable[[str], "NDArray[np.uint8] | None"]  # source -> upright rgb (h, w, 3), small; None where it cannot be read
ReadPair = Callable[[Row], bytes]  # the row of a kept crop -> its pair A|B


def thumbnail(path: Path) -> NDArray[np.uint8] | None:
    """The photo at `path` upright at SIDE pixels, decoded as coarsely as that allows; None where it cannot be read."""
    try:
        return sheets.fit(image_io.decode(path.read_bytes(), path.name, _coarsest).rgb8, SIDE)
    except Exception:  # a picture that a report lacks is no reason for a build to fail; the photo's row tells what was wrong
        return None


def _coarsest(width: int, height: int) -> int:
    return max((scale for scale in (1, 2, 4, 8) if max(width, height) / scale >= SIDE), default=1)


class Found:
    """What pictures need from the manifest: the photos of the summary's samples with all their crops, and photos of `groups`.

    groups: numbers of groups (`group_number`). folders: group -> the folders that its photos lie in.
    """

    def __init__(self, summary: Summary, groups: Sequence[int]):
        shown = [row for key, sample in summary.samples.items() if key[1] == "rejected" for row in sample.rows()]
        self.photos: dict[str, Row] = {}
        self.crops: dict[str, list[Row]] = {}
        self.members = {key: Sample(OF_A_GROUP) for key in groups}
        self.folders: dict[int, set[str]] = {key: set() for key in groups}
        self._wanted = {row["source"] for row in shown} | {row["duplicate_of"] for row in shown if row.get("duplicate_of")}

    def add(self, row: Row) -> None:
        """To be called with every row of the manifest."""
        photo = row["kind"] == "photo"
        if row["source"] in self._wanted:
            if photo:
                self.photos[row["source"]] = row
            else:
                self.crops.setdefault(row["source"], []).append(row)
        if photo and row["group"] and group_number(row) in self.members:
            self.members[group_number(row)].add(row)
            self.folders[group_number(row)].add(row["source"].rpartition("/")[0])


@dataclass
class Pictures:
    """Makes pictures, or takes them from `held`, those of an earlier report. size: the side of a crop."""

    open_photo: OpenPhoto
    read_pair: ReadPair
    size: int
    held: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)

    def photo(self, row: Row, outlined: Sequence[Row] = (), main: Row | None = None) -> Markup:
        """The photo of a photo's row with the outlines of crops: green the kept, orange the rejected, that of `main` thicker."""
        lines = [(corners(crop, self.size), KEPT if crop["status"] == "kept" else REJECTED,
                  3 if main is None or crop.get("face") == main.get("face") else 1) for crop in outlined]  # fmt: skip

        def make() -> NDArray[np.uint8] | None:
            rgb = self.open_photo(row["source"])
            if rgb is None:
                return None
            rgb = np.ascontiguousarray(sheets.fit(rgb, SIDE))
            for points, colour, width in lines if row.get("width") else ():
                scaled = (points + 0.5) * (rgb.shape[1] / row["width"]) - 0.5
                rgb = sheets.outlined(rgb, _visible(scaled), colour, width)
            return rgb

        about = [row["source"] if row["sha256"] is None else row["sha256"], [(p.round(2).tolist(), c, w) for p, c, w in lines]]
        return self._picture(about, make, row["source"])

    def pair(self, row: Row) -> Markup:
        """A|B of a kept crop."""

        def make() -> NDArray[np.uint8] | None:
            try:
                rgb = image_io.decode(self.read_pair(row), row["source"]).rgb8
                return sheets.fit(rgb, min(PAIR, rgb.shape[1]))
            except (OSError, KeyError, PhotoError):
                return None

        return self._picture([row["pair_sha256"]], make, f"A and B of {row['source']}")

    def _picture(self, about: Any, make: Callable[[], NDArray[np.uint8] | None], alt: str) -> Markup:
        key = hashlib.sha256(json.dumps([SIDE, QUALITY, about]).encode()).hexdigest()[:16]
        if key in self.held:
            data, width, height = self.held[key]
            picture = html.jpeg(data, int(width), int(height), alt)
        else:
            rgb = make()
            if rgb is None:
                return element("div", "no picture: the file cannot be read", kind="blank")
            picture = html.image(rgb, alt, QUALITY)
        return element("div", picture, **{"data-key": key})


def corners(crop: Row, size: int) -> NDArray[np.float64]:
    """What outlines a crop, (n, 2) x, y in source pixels, pixel centres at integers.

    The face's box, which counts from the corner of the first pixel; the crop's square where it is turned or there is no box;
    no corner where the row has neither.
    """
    affine = np.array(crop["affine"], np.float64) if crop.get("affine") else None
    turned = affine is not None and abs(affine[0, 1]) > 1e-6
    if crop.get("box") and not turned:
        x, y, width, height = crop["box"]
        return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)]) - 0.5
    if affine is None:
        return np.zeros((0, 2))
    edge = size - 0.5
    square = np.array([(-0.5, -0.5), (edge, -0.5), (edge, edge), (-0.5, edge)])
    back = crops.invert(affine)
    return np.asarray(square @ back[:, :2].T + back[:, 2], np.float64)


def _visible(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A tiny outline grows around its middle to LEAST pixels."""
    if not len(points):
        return points
    middle, longest = points.mean(axis=0), float(np.ptp(points, axis=0).max())
    return np.asarray(middle + (points - middle) * max(1.0, LEAST / max(longest, 1e-6)), np.float64)


_HELD = re.compile(
    r'data-key="([0-9a-f]{16})"><img src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)" width="(\d{1,4})" height="(\d{1,4})"'
)


def held(page: str) -> dict[str, tuple[str, str, str]]:
    """key -> (base64, width, height) of the pictures of an earlier report."""
    return {each[1]: (each[2], each[3], each[4]) for each in _HELD.finditer(page)}

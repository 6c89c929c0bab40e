"""The pairs of a split -> batches. A batch is a pure function of (seed, step), so a resumed run sees what it would have seen."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_tools import cells, degradations, degrade_crop, image_io, mosaic_grid, pairs, priors
from dataset_tools.dataset import PairRow
from dataset_tools.errors import DatasetError, UsageError

Rgb = NDArray[np.uint8]

CACHE_BYTES = 1 << 30  # decoded pairs kept in memory; beyond that they lie in a file that the system maps into memory


class Batch(NamedTuple):
    """A and B: each (N, side, side, 3) uint8."""

    a: Rgb
    b: Rgb


def read_pair(row: PairRow, size: int, direction: str = "AtoB") -> tuple[Rgb, Rgb]:
    """(A, B), each (S, S, 3) uint8, from the A|B image of `row`. Raises DatasetError where it is not S × 2S."""
    rgb = image_io.decode(row.read(), row.name).rgb8
    if rgb.shape != (size, 2 * size, 3):
        raise DatasetError(f"{row.name} is {rgb.shape[1]}×{rgb.shape[0]} pixels, but the pairs of this dataset are "
                           f"{2 * size}×{size}: all must be of one size")  # fmt: skip
    a, b = pairs.split(rgb, direction)
    return a, b


def cells_of(a: Rgb, drawn: Sequence[Mapping[str, Any]]) -> cells.Cells:
    """Those that `drawn` records, or where it does not those that the pixels tell; what shows none is taken for one of CELL."""
    if priors.has_mosaic(drawn):
        return cells.recorded(a, drawn)
    return cells.estimated(a) or cells.of_grid(a, mosaic_grid.Grid(cells.CELL))


class Batches:
    """Shuffled, augmented batches of a list of pairs.

    Args:
        rows: the pairs.
        size: S, the side of each image.
        batch: pairs a batch; at most as many as there are.
        seed: of the order and of the augmentation.
        jitter: pixels by which pairs are enlarged (anew: from 0 to so many) before a random S × S cut of both halves alike.
        flip: mirror half of the pairs.
        direction: "AtoB", or "BtoA" for datasets that hold their input on the right.
        anew: the steps of the recipe, if A shall be made from B again each time, after its jitter and flip; else A is read.
        window: for a generator that starts from cells: give squares of so many pixels a side (see cells.window); 0: whole images.
        cache_bytes: bound of the memory for decoded pairs.
        spill: a folder for those that do not fit; their file has no name and goes with the process.
        part: (i, n): this process makes the i-th of n equal parts of each batch.
    """

    def __init__(
        self, rows: Sequence[PairRow], size: int, batch: int, seed: int, *, jitter: int = 0, flip: bool = False,
        direction: str = "AtoB", anew: Sequence[degradations.Step] = (), window: int = 0,
        cache_bytes: int = CACHE_BYTES, spill: Path | None = None, part: tuple[int, int] = (0, 1),
    ):  # fmt: skip
        if not rows:
            raise DatasetError("the dataset has no pair to train on: its train split is empty")
        few = " or less" if len(rows) > 1 else ""
        if batch > len(rows):
            raise UsageError(
                f"a batch takes {batch} pairs, but the train split has only {len(rows)}: give --batch {len(rows)}{few}"
            )
        if batch % part[1]:
            raise UsageError(
                f"a batch of {batch} cannot be shared by {part[1]} workers: give a --batch that is a multiple of {part[1]}"
            )
        self.rows, self.size, self.batch, self.seed = rows, size, batch, seed
        self.jitter, self.flip, self.direction, self.anew, self.window = jitter, flip, direction, list(anew), window
        self.part = part
        self._store = _Store(len(rows), (1 if anew else 2, size, size, 3), cache_bytes, spill)
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, step: int) -> Batch:
        """The batch of `step` (from 0), or this process's part of it."""
        share = self.batch // self.part[1]
        first = step * self.batch + self.part[0] * share
        drawn = [self._sample(position) for position in range(first, first + share)]
        images = np.stack([image for side in zip(*drawn, strict=True) for image in side])  # one piece of memory for all
        return Batch(*images.reshape(-1, share, *images.shape[1:]))

    def stream(self, start: int, stop: int, ahead: int = 1) -> Iterator[Batch]:
        """The batches of steps start … stop - 1; while one is used, the `ahead` that follow are loaded, each by a thread."""
        with ThreadPoolExecutor(ahead) as loader:
            coming = deque(loader.submit(self.at, step) for step in range(start, min(start + ahead, stop)))
            for step in range(start, stop):
                current = coming.popleft().result()
                if step + ahead < stop:
                    coming.append(loader.submit(self.at, step + ahead))
                yield current

    def _shuffled(self, epoch: int) -> NDArray[np.intp]:
        return np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.rows))

    def _sample(self, position: int) -> tuple[Rgb, ...]:
        """(A, B) at `position` of the endless order."""
        epoch, place = divmod(position, len(self.rows))
        index = int(self._order(epoch)[place])
        rng = np.random.default_rng((self.seed, 1, position))
        images = self._load(index)
        if self.anew:
            (b,) = self._moved(images, rng, int(rng.integers(self.jitter + 1)))
            a, drawn = degrade_crop.degrade_anew(self.anew, rng, b)
            return cells.window(b, cells_of(a, drawn), self.window, rng) if self.window else (a, b)
        if self.window:
            a, b = images
            a, b = cells.window(b, cells_of(a, self.rows[index].degradations), self.window, rng)
            return (cv2.flip(a, 1), cv2.flip(b, 1)) if self.flip and rng.random() < 0.5 else (a, b)
        return tuple(self._moved(images, rng, self.jitter))

    def _load(self, index: int) -> list[Rgb]:
        found = self._store.get(index)
        if found is None:
            a, b = read_pair(self.rows[index], self.size, self.direction)
            found = np.stack([b] if self.anew else [a, b])
            self._store.put(index, found)
        return list(found)

    def _moved(self, images: Sequence[Rgb], rng: np.random.Generator, larger: int) -> list[Rgb]:
        """The images enlarged by `larger` pixels, cut and mirrored: one draw for all of them, so that they stay aligned."""
        y, x = rng.integers(larger + 1, size=2)
        mirrored = self.flip and rng.random() < 0.5
        moved = []
        for image in images:
            if larger:
                side = self.size + larger
                image = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)[y : y + self.size, x : x + self.size]
            moved.append(cv2.flip(image, 1) if mirrored else np.ascontiguousarray(image))
        return moved


class _Store:
    """Arrays of one shape by index: in memory while there is room, then in a file that the system maps; it may drop its pages."""

    def __init__(self, count: int, shape: tuple[int, ...], room: int, spill: Path | None):
        self.kept: dict[int, Rgb] = {}
        self.most = room // int(np.prod(shape))
        self.shape, self.spilled, self.spill = shape, max(0, count - self.most), spill
        self.mapped: Rgb | None = None
        self.places: dict[int, int] = {}  # in the file
        self.lock = threading.Lock()

    def get(self, index: int) -> Rgb | None:
        found = self.kept.get(index)
        return found if found is not None or self.mapped is None or index not in self.places else self.mapped[self.places[index]]

    def put(self, index: int, value: Rgb) -> None:
        with self.lock:
            if len(self.kept) < self.most:
                self.kept[index] = value
                return
            if self.mapped is None and self.spill is not None:
                self.mapped, self.spill = _mapped((self.spilled, *self.shape), self.spill), None
            if self.mapped is None or index in self.kept or index in self.places:
                return
            self.mapped[len(self.places)] = value
            self.places[index] = len(self.places)


def _mapped(shape: tuple[int, ...], folder: Path) -> Rgb | None:
    """A file of zeros without a name, mapped; None where it would fill half of the disk: pairs are then decoded each time."""
    size = int(np.prod(shape))
    try:
        if shutil.disk_usage(folder).free < 2 * size:  # the checkpoints need some, too
            return None
        with tempfile.TemporaryFile(dir=folder) as handle:
            os.posix_fallocate(handle.fileno(), 0, size)  # a full disk would kill the process at a write
            return np.memmap(handle, np.uint8, "r+", shape=shape)  # type: ignore[call-overload,no-any-return]
    except OSError:
        return None

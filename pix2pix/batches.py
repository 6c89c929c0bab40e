"""The pairs of a split -> batches. A batch is a pure function of (seed, step), so a resumed run sees what it would have seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import cv2
import numpy as np

from dataset_tools import image_io, pairs
from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.manifest import PairRow
from pix2pix.pixels import to_float

CACHE_BYTES = 1 << 30  # decoded pairs kept in memory; what does not fit is decoded again each time


def read_pair(row: PairRow, size: int, direction: str = "AtoB") -> tuple[np.ndarray, np.ndarray]:
    """(A, B), each (S, S, 3) uint8, from the A|B image of `row`. Raises DatasetError where it is not S × 2S."""
    rgb = image_io.decode(row.read(), row.name).rgb8
    if rgb.shape != (size, 2 * size, 3):
        raise DatasetError(f"{row.name} is {rgb.shape[1]}×{rgb.shape[0]} pixels, but a pair of this dataset is {2 * size}×{size}")
    a, b = pairs.split(rgb, direction)
    return a, b


class Batches:
    """Shuffled, augmented batches of a list of pairs.

    Args:
        rows: the pairs.
        size: S, the side of each image.
        batch: pairs a batch; at most as many as there are.
        seed: of the order and of the augmentation.
        jitter: pixels by which pairs are enlarged before a random S × S cut of both halves alike; 0 is none.
        flip: mirror half of the pairs.
        direction: "AtoB", or "BtoA" for datasets that hold their input on the right.
        cache_bytes: bound of the memory for decoded pairs.
    """

    def __init__(
        self, rows: Sequence[PairRow], size: int, batch: int, seed: int, *, jitter: int = 0, flip: bool = False,
        direction: str = "AtoB", cache_bytes: int = CACHE_BYTES,
    ):  # fmt: skip
        if not rows:
            raise DatasetError("the dataset has no pair to train on: its train split is empty")
        if batch > len(rows):
            raise UsageError(f"--batch {batch} is more than the {len(rows)} pairs of the train split: give {len(rows)} or fewer")
        self.rows, self.size, self.batch, self.seed = rows, size, batch, seed
        self.jitter, self.flip, self.direction = jitter, flip, direction
        self._room = cache_bytes // (size * size * 6)  # pairs that fit
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch of `step` (from 0): A and B, each (N, S, S, 3) float32 [-1, 1]."""
        rng = np.random.default_rng((self.seed, 1, step))
        drawn = [self._augment(*self._load(self._index(position)), rng) for position in self._positions(step)]
        a, b = (to_float(np.stack(side)) for side in zip(*drawn, strict=True))
        return a, b

    def stream(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of steps start … stop - 1, the next one loaded while the last one is used."""
        with ThreadPoolExecutor(1) as loader:
            following = loader.submit(self.at, start) if start < stop else None
            for step in range(start, stop):
                assert following is not None
                current = following.result()
                following = loader.submit(self.at, step + 1) if step + 1 < stop else None
                yield current

    def _positions(self, step: int) -> range:
        return range(step * self.batch, (step + 1) * self.batch)

    def _index(self, position: int) -> int:
        epoch, place = divmod(position, len(self.rows))
        return int(self._order(epoch)[place])

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.rows))

    def _load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index in self._cache:
            return self._cache[index]
        loaded = read_pair(self.rows[index], self.size, self.direction)
        if len(self._cache) < self._room:
            self._cache[index] = loaded
        return loaded

    def _augment(self, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One draw for both halves, so that they stay aligned."""
        if self.jitter:
            large = self.size + self.jitter
            y, x = rng.integers(self.jitter + 1, size=2)
            cut = (slice(y, y + self.size), slice(x, x + self.size))
            a, b = (cv2.resize(half, (large, large), interpolation=cv2.INTER_CUBIC)[cut] for half in (a, b))
        if self.flip and rng.random() < 0.5:
            a, b = a[:, ::-1], b[:, ::-1]
        return a, b

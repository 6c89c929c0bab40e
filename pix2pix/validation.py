"""What a model is worth on images it does not train on, always beside what doing nothing is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dataset_tools import image_io, metrics, sheets
from dataset_tools.manifest import PairRow
from pix2pix.batches import read_pair
from pix2pix.pixels import to_float, to_uint8

Figures = dict[str, dict[str, float]]  # {"restored" | a baseline: {metric: mean}}
SHOWN = 6  # rows of a sample grid


class Validation:
    """A fixed choice of validation pairs, held in memory, with the baselines' figures computed once.

    Args:
        rows: the pairs of the validation split.
        count: how many of them; chosen by hash of their name, so that the choice never depends on order.
        batch: images that the model restores at once.
        extra: metrics beside PSNR, SSIM and L1.
    """

    def __init__(self, rows: Sequence[PairRow], size: int, count: int, direction: str, batch: int, extra: Sequence[str] = ()):
        chosen = sorted(rows, key=lambda row: hashlib.sha256(row.name.rpartition("/")[2].encode("utf-8")).digest())[:count]
        loaded = [read_pair(row, size, direction) for row in chosen]
        self.names = ("psnr", "ssim", "l1", *extra)
        self.batch = batch
        self.a = [a for a, _ in loaded]
        self.b = [b for _, b in loaded]
        self.baselines = [metrics.baselines(a, row.degradations) for a, row in zip(self.a, chosen, strict=True)]
        first = self.baselines[0] if self.baselines else {}
        names = [name for name in first if all(name in given for given in self.baselines)]
        self.figures: Figures = {name: self._mean([given[name] for given in self.baselines]) for name in names}

    def __len__(self) -> int:
        return len(self.a)

    def _mean(self, restored: Sequence[np.ndarray]) -> dict[str, float]:
        measured = [metrics.measure(image, b, self.names) for image, b in zip(restored, self.b, strict=True)]
        return {name: float(np.mean([row[name] for row in measured])) for name in self.names}

    def restore(self, generate: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
        """Every A through `generate`, (N, S, S, 3) float32 [-1, 1] -> the same; as (S, S, 3) uint8."""
        restored: list[np.ndarray] = []
        for start in range(0, len(self), self.batch):
            restored.extend(to_uint8(np.asarray(generate(to_float(np.stack(self.a[start : start + self.batch]))))))
        return restored

    def measure(self, restored: Sequence[np.ndarray]) -> Figures:
        """Means over the images: of the model ("restored") and of each trivial baseline."""
        return {"restored": self._mean(restored), **self.figures}

    def write_sample(self, path: Path, restored: Sequence[np.ndarray], header: str) -> None:
        """A grid of the first few images: input | baseline | restored | original, with the figures of each."""
        best = list(self.figures)[-1]
        titles = ["input", *([best] if best != "input" else []), "restored", "original"]
        rows, captions = [], []
        for a, b, given, image in list(zip(self.a, self.b, self.baselines, restored, strict=True))[:SHOWN]:
            shown = [a, *([given[best]] if best != "input" else []), image, b]
            rows.append(shown)
            captions.append([*(_caption(each, b) for each in shown[:-1]), ""])
        image_io.write(path, sheets.grid(rows, titles=titles, captions=captions, header=header), "PNG")


def _caption(image: np.ndarray, original: np.ndarray) -> str:
    figures = metrics.measure(image, original, ("psnr", "ssim"))
    return f"{figures['psnr']:.2f} dB · {figures['ssim']:.3f}"

"""What a model is worth on images it does not train on, always beside what doing nothing is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from dataset_tools import cells, metrics, sheets
from dataset_tools.dataset import PairRow
from pix2pix.batches import cells_of, read_pair
from pix2pix.pixels import to_float, to_uint8

Figures = dict[str, dict[str, float]]  # {"restored" | a baseline: {metric: mean}}
SHOWN = 6  # rows of a sample grid


def better(metric: str) -> Callable[[Figures, Figures], bool]:
    """Whether one validation beats another, by the restored images' `metric`."""
    sign = 1 if metrics.METRICS[metric].better == "higher" else -1
    return lambda one, other: sign * one["restored"][metric] > sign * other["restored"][metric]


def unbeaten(figures: Figures, metric: str) -> list[str]:
    """The trivial baselines that the restored images do not beat by `metric`."""
    others = [name for name in figures if name not in ("restored", "raw")]
    return [name for name in others if not better(metric)(figures, {"restored": figures[name]})]


class Validation:
    """A fixed choice of validation pairs, held in memory, with the baselines' figures computed once.

    Args:
        rows: the pairs of the validation split.
        count: how many of them; chosen by hash of their name, so that the choice never depends on order.
        batch: images that the model restores at once.
        names: the metrics.
        window: pixels a side of what a model that starts from cells trains on; 0 for others.
        stride: of such a model: it takes multiples of so many pixels.
    """

    def __init__(
        self, rows: Sequence[PairRow], size: int, count: int, direction: str, batch: int,
        names: Sequence[str] = ("psnr", "ssim", "l1"), window: int = 0, stride: int = 1,
    ):  # fmt: skip
        chosen = sorted(rows, key=lambda row: hashlib.sha256(row.name.rpartition("/")[2].encode("utf-8")).digest())[:count]
        loaded = [read_pair(row, size, direction) for row in chosen]
        self.names, self.batch = tuple(names), batch
        self.a = [a for a, _ in loaded]
        self.b = [b for _, b in loaded]
        self.window, self.stride, self.rows = window, stride, chosen
        self.baselines = [metrics.baselines(a, row.degradations) for a, row in zip(self.a, chosen, strict=True)]
        first = self.baselines[0] if self.baselines else {}
        known = [name for name in first if all(name in given for given in self.baselines)]
        self.figures: Figures = {name: self.mean([given[name] for given in self.baselines]) for name in known}

    def __len__(self) -> int:
        return len(self.a)

    def mean(self, restored: Sequence[np.ndarray]) -> dict[str, float]:
        """The mean of every metric of `restored`, one uint8 (S, S, 3) for each pair, against the originals."""
        measured = [metrics.measure(image, b, self.names) for image, b in zip(restored, self.b, strict=True)]
        return {name: float(np.mean([row[name] for row in measured])) for name in self.names}

    def restore(self, generate: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
        """Every A through `generate`, (N, H, W, 3) float32 [-1, 1] -> alike, as uint8 (S, S, 3).

        Where the model starts from cells, they are those that the pixels tell, as when a photo is restored.
        """

        def run(images: np.ndarray) -> np.ndarray:
            return to_uint8(np.asarray(generate(to_float(images))))

        if self.window:
            return cells.restore(self.a, [cells.estimated(a) for a in self.a], self.stride, run, self.batch)
        batches = (np.stack(self.a[start : start + self.batch]) for start in range(0, len(self), self.batch))
        return [image for batch in batches for image in run(batch)]

    def sides(self, restored: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(A, B, restored) of the first few images as the networks train on them, each (N, side, side, 3) float32 [-1, 1]."""
        several = []
        for a, b, made, row in list(zip(self.a, self.b, restored, self.rows, strict=True))[: self.batch]:
            if self.window:
                known = cells_of(a, row.degradations)
                several.append((*cells.window(b, known, self.window), cells.window(made, known, self.window)[1]))
            else:
                several.append((a, b, made))
        first, second, third = (to_float(np.stack(side)) for side in zip(*several, strict=True))
        return first, second, third

    def diversity(self, restored: Sequence[np.ndarray]) -> float:
        """How much the restored images differ from one another, as a share of how much the originals do; near 0 is collapse.

        The mean standard deviation, over the images, of 8 × 8 thumbnails; 1 where the originals are all alike, as one alone is.
        """
        spreads = [
            float(np.mean(np.std([cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA) for image in images], axis=0)))
            for images in (restored, self.b)
        ]
        return spreads[0] / spreads[1] if spreads[1] else 1.0

    def grid(self, restored: Sequence[np.ndarray], header: str) -> np.ndarray:
        """The first few images, uint8: input | baseline | restored | original, with the figures of each."""
        best = list(self.figures)[-1]
        titles = ["input", *([best] if best != "input" else []), "restored", "original"]
        rows, captions = [], []
        for a, b, given, image in list(zip(self.a, self.b, self.baselines, restored, strict=True))[:SHOWN]:
            shown = [a, *([given[best]] if best != "input" else []), image, b]
            rows.append(shown)
            captions.append([*(_caption(each, b) for each in shown[:-1]), ""])
        return sheets.grid(rows, titles=titles, captions=captions, header=header)


def _caption(image: np.ndarray, original: np.ndarray) -> str:
    figures = metrics.measure(image, original, ("psnr", "ssim"))
    return f"{figures['psnr']:.2f} dB · {figures['ssim']:.3f}"

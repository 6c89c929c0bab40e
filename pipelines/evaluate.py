"""How good a model is on a split of a dataset, image by image, always beside what doing nothing is worth."""

from __future__ import annotations

import csv as csv_module
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools import files, image_io, sheets
from dataset_tools.errors import DatasetError, PhotoError, UsageError
from dataset_tools.groups import SPLITS
from dataset_tools.manifest import Dataset, PairRow, open_dataset
from dataset_tools.metrics import BASELINES, METRICS
from dataset_tools.pairs import split as split_pair
from pipelines.engines import Engine, open_engine
from pipelines.mark import STATEMENT
from pipelines.restore import (
    BATCH,
    DEFAULT_METRICS,
    Figures,
    Rgb,
    Shown,
    measure_pair,
    metric_names,
    pair_images,
)

SHEET_ROWS = 24  # at most


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on one split. `rows` are those of the CSV; `figures` their means."""

    model: str
    dataset: str
    split: str
    images: int
    figures: Figures  # {"restored" | a baseline: {metric: mean}}
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()  # what a person should know

    def table(self) -> str:
        """The means as lines for a terminal: the model, then the baselines, a column for each metric."""
        count = f"{self.images} image{'s' if self.images != 1 else ''}"
        told = f"{count} of the split {self.split} of {self.dataset}, restored by {self.model}"
        return "\n".join([told, *figures_table(self.figures)])

    def summary(self) -> dict[str, Any]:
        """What --json prints."""
        return {"model": self.model, "split": self.split, "images": self.images, "figures": self.figures}


def evaluate_model(
    model: str | Path, dataset: Path, *, split: str = "test", direction: str | None = None, csv: Path | None = None,
    sheet: Path | None = None, metrics: Sequence[str] = DEFAULT_METRICS, progress: Callable[[int, int], None] | None = None,
) -> Evaluation:  # fmt: skip
    """Restores every pair of a split and measures it, and each trivial baseline, against its original.

    Args:
        model: a run folder, an .onnx file, or the name of a model that ships.
        dataset: a dataset of photomend, or a folder of other programs with train/ val/ test/ of A|B images.
        direction: of a classic dataset, which half is the input; None: the one that the model learned from.
        csv: where to write one line an image; sheet: where to write a contact sheet (PNG) of up to 24 of them.
        metrics: names from METRICS; ΔE2000 and colourfulness are added where the dataset took colour away.
        progress: called as progress(done, total).

    Raises:
        DatasetError: not a dataset, a split without pairs, a damaged pair, or pairs of another size than the model's.
        ModelFileError: not a model of photomend. UsageError: no such metric.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise UsageError(f"there is no metric {unknown[0]}; there are: {', '.join(METRICS)}")
    if sheet and sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet {sheet}: the sheet is a PNG, give a name that ends in .png")
    engine = open_engine(model)
    direction = direction or (engine.card["direction"] if open_dataset(dataset).info is None else "AtoB")
    opened = open_dataset(dataset, direction)
    pairs = split_pairs(opened, split)
    names = metric_names((pair.degradations for pair in pairs), metrics)
    chosen = evenly(len(pairs), SHEET_ROWS) if sheet else set()
    rows: list[dict[str, Any]] = []
    measured: list[Figures] = []
    shown: list[Shown] = []
    for start in range(0, len(pairs), BATCH):
        for pair, images in _restore(engine, pairs[start : start + BATCH], direction):
            figures = measure_pair(images, names)
            if len(rows) in chosen:
                shown.append(Shown(pair.name, images, figures))
            rows.append({"pair": pair.name, "source": pair.source, **flatten(figures)})
            measured.append(figures)
        if progress:
            progress(len(rows), len(pairs))
    if csv:
        files.replace_text(csv, csv_text(rows, ("pair", "source")))
    if sheet:
        header = f"{engine.name} on {len(pairs)} images of the split {split}"
        image_io.write(sheet, comparison_sheet(shown, header), "PNG")
    notes = _other_task(engine.card["recipe"], (opened.info or {}).get("recipe", {}).get("degrade", []))
    return Evaluation(engine.name, str(dataset), split, len(pairs), means(measured), tuple(rows), notes)


def _other_task(learned: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """A line where the model learned from other degradations than those of the dataset; nothing is known of classic ones."""
    names = [sorted({step.partition(":")[0] for step in steps}) for steps in (learned, given)]
    if not all(names) or names[0] == names[1]:
        return ()
    return (f"the model learned from {', '.join(names[0])}, these pairs are of {', '.join(names[1])}: it was not made for them",)


def split_pairs(dataset: Dataset, split: str) -> list[PairRow]:
    """The pairs of a split. Raises DatasetError where it has none, saying which splits have some."""
    pairs = dataset.pairs(split)
    if not pairs:
        others = [f"{name} ({len(dataset.pairs(name))})" for name in SPLITS if dataset.pairs(name)]
        advice = f"pairs are in {', '.join(others)}" if others else "no split has any"
        raise DatasetError(f"the split {split} of {dataset.folder} holds no pairs: {advice}")
    return pairs


def _restore(engine: Engine, pairs: Sequence[PairRow], direction: str) -> Iterator[tuple[PairRow, dict[str, Rgb]]]:
    halves = [_read_halves(pair, engine.size, direction) for pair in pairs]
    restored = engine.restore(np.stack([a for a, _ in halves]))  # (N, S, S, 3) uint8
    for pair, (a, b), image in zip(pairs, halves, restored, strict=True):
        yield pair, pair_images(a, b, image, pair.degradations)


def _read_halves(pair: PairRow, size: int, direction: str) -> tuple[Rgb, Rgb]:
    """The halves (a, b) of a pair, each uint8 (size, size, 3). Raises DatasetError."""
    try:
        a, b = split_pair(image_io.decode(pair.read(), pair.name).rgb8, direction)
    except PhotoError as error:
        raise DatasetError(f"the dataset is damaged: {error}") from error
    if a.shape != (size, size, 3):
        raise DatasetError(
            f"{pair.name} holds images of {a.shape[1]}x{a.shape[0]}, the model restores {size}x{size}: "
            f"build a dataset with --size {size}, or use another model"
        )
    return a, b


def means(measured: Sequence[Figures]) -> Figures:
    """The mean of every figure that all images have: "restored" first, then the baselines, the strongest first."""
    names = ["restored", *reversed(BASELINES), "original"]
    result: Figures = {}
    for name in names:
        rows = [figures[name] for figures in measured if name in figures]
        if rows and len(rows) == len(measured):  # else its mean would be of other images
            known = [metric for metric in METRICS if all(metric in row for row in rows)]
            result[name] = {metric: float(np.mean([row[metric] for row in rows])) for metric in known}
    return result


def figures_table(figures: Figures) -> list[str]:
    """The means as lines for a terminal: the model, then the baselines, a column for each metric."""
    names = list(figures["restored"])
    head = ["", *map(metric_title, names)]
    body = [[row, *(f"{values[name]:.3f}" if name in values else "" for name in names)] for row, values in figures.items()]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = []
    for first, *others in (head, *body):
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return lines


def metric_title(name: str) -> str:
    """ "PSNR (dB)": the title of a metric with its unit."""
    metric = METRICS[name]
    return f"{metric.title} ({metric.unit})" if metric.unit not in metric.title else metric.title


def flatten(figures: Figures | None) -> dict[str, float]:
    """{"restored": {"psnr": 22.1}} -> {"restored_psnr": 22.1}, the columns of a CSV."""
    return {f"{name}_{metric}": value for name, row in (figures or {}).items() for metric, value in row.items()}


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """CSV with a header: `columns`, then every other column of the rows in the order of its first appearance."""
    names = [*columns, *dict.fromkeys(name for row in rows for name in row if name not in columns)]
    buffer = io.StringIO()
    writer = csv_module.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def evenly(total: int, count: int) -> set[int]:
    """At most `count` of the indices 0..total-1, evenly spread."""
    return {index * total // count for index in range(count)} if total > count else set(range(total))


def comparison_sheet(shown: Sequence[Shown], header: str) -> Rgb:
    """A contact sheet, input | baselines | restored | original, with each one's figures: uint8 (height, width, 3) sRGB."""
    titles = [name for name in (*BASELINES, "restored", "original") if any(name in each.images for each in shown)]
    captions = [[_caption(each, title, title == titles[-1]) for title in titles] for each in shown]
    known = any(each.figures for each in shown)
    footer = "PSNR and SSIM against the original: higher is better.\n" if known else ""
    return sheets.grid(
        [[each.images.get(title) for title in titles] for each in shown],
        titles=titles, captions=captions, header=header, footer=footer + STATEMENT,
    )  # fmt: skip


def _caption(shown: Shown, title: str, last: bool) -> str:
    figures = (shown.figures or {}).get(title)
    if figures and "psnr" in figures and "ssim" in figures:
        return f"{figures['psnr']:.2f} dB · {figures['ssim']:.3f}"
    return shown.name.rpartition("/")[2] if last else ""

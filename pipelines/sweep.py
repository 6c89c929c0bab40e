"""How a model does as a degradation gets harder or easier than it learned: the originals of a split, degraded anew each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_tools import cells, degradations, priors
from dataset_tools.dataset import open_dataset
from dataset_tools.degradations import Step
from dataset_tools.errors import UsageError
from dataset_tools.metrics import BASELINES, baselines
from pipelines.engines import Engine, open_engine
from pipelines.evaluate import read_halves, split_pairs
from pipelines.figures import KNOWN, evenly, figures_table, metric_title
from pipelines.plot import Panel, Series, line_plot
from pipelines.restore import BATCH, Figures, Rgb, measure_pair

MOST = 100  # images of the split, evenly taken
RESTORED = "restored"  # of a model of mosaics: with the grid that the pixels tell
METRICS = ("psnr", "ssim", "l1")


@dataclass(frozen=True)
class Sweep:
    """The figures of a model at each value of one option of a degradation."""

    model: str
    option: str  # "mosaic:block"
    values: tuple[float, ...]
    images: int
    figures: tuple[Figures, ...]  # for each value

    def lines(self) -> list[str]:
        """A table for each value."""
        told = [f"{self.images} images, degraded anew, restored by {self.model}"]
        for value, figures in zip(self.values, self.figures, strict=True):
            told += [f"{self.option}={value:g}", *(f"  {line}" for line in figures_table(figures))]
        return told

    def summary(self) -> dict[str, object]:
        """What --json prints."""
        return {"model": self.model, "option": self.option, "values": list(self.values), "images": self.images,
                "figures": list(self.figures)}  # fmt: skip

    def plot(self) -> Rgb:
        """Quality against the value, the baselines gray, what knows the grid dashed: uint8 (height, width, 3) sRGB."""
        names = [name for name in self.figures[0] if name != "original"]
        panels = []
        for metric in ("psnr", "ssim"):
            series = [
                Series(name, [(value, figures[name][metric]) for value, figures in zip(self.values, self.figures, strict=True)],
                       dashed=name != RESTORED, like=RESTORED if name == KNOWN else "") for name in names
            ]  # fmt: skip
            panels.append(Panel(series, self.option, metric_title(metric), x_ticks=self.values))
        header = f"{self.model} on {self.images} images, degraded anew"
        return line_plot(panels, header=header, footer="Higher is better. Below a gray line it is worse than doing just that.")


def parse(text: str) -> tuple[str, list[float], list[Step]]:
    """("mosaic:block", its values, a step for each) of "mosaic:block=4,8,16,phase=0": one option has several values.

    Raises:
        UsageError: none has, or more than one; or no such degradation.
    """
    name, _, rest = text.partition(":")
    options: dict[str, list[str]] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if equals:
            options[key] = [value]
        elif options:
            options[next(reversed(options))].append(key)
    several = [key for key, values in options.items() if len(values) > 1]
    if not several:
        degradations.parse(text, "--sweep")  # which says what else may be wrong
    try:
        (key,) = several
        values = [float(each) for each in options[key]]
    except ValueError as error:
        raise UsageError(f"--sweep {text}: give one option several numbers, such as mosaic:block=4,8,16,32") from error
    others = "".join(f",{other}={given[0]}" for other, given in options.items() if other != key)
    return f"{name}:{key}", values, [degradations.parse(f"{name}:{key}={each}{others}", "--sweep") for each in options[key]]


def sweep_model(
    model: str | Path, dataset: Path, sweep: str, *, split: str = "test", engine: str = "onnxruntime",
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:  # fmt: skip
    """Degrades the originals of a split with each step of `sweep` (see `parse`), restores and measures them.

    Raises:
        As `evaluate_model` does, and `parse`.
    """
    option, values, steps = parse(sweep)
    runner = open_engine(model, engine)
    pairs = split_pairs(open_dataset(dataset), split)
    pairs = [pairs[index] for index in sorted(evenly(len(pairs), MOST))]
    originals = [read_halves(pair, runner.size, "AtoB")[1] for pair in pairs]
    found: list[Figures] = []
    for step in steps:
        degradations.check([step], "--sweep")
        measured: list[Figures] = []
        for start in range(0, len(originals), BATCH):
            measured += _measured(runner, originals[start : start + BATCH], step, start)
            if progress:
                progress(len(found) * len(originals) + len(measured), len(steps) * len(originals))
        found.append(_means(measured))
    return Sweep(runner.name, option, tuple(values), len(originals), tuple(found))


def _measured(engine: Engine, originals: Sequence[Rgb], step: Step, first: int) -> list[Figures]:
    drawn = [degradations.draw([step], np.random.default_rng(first + index), (rgb.shape[0], rgb.shape[1]))
             for index, rgb in enumerate(originals)]  # fmt: skip
    inputs = [degradations.apply(rgb, each) for rgb, each in zip(originals, drawn, strict=True)]
    batch = np.stack(inputs)
    if engine.card["cell"] and all(map(priors.has_mosaic, drawn)):
        known = [cells.recorded(a, each) for a, each in zip(inputs, drawn, strict=True)]
        restored = {RESTORED: engine.restore(batch), KNOWN: engine.restore(batch, known)}
    else:
        restored = {RESTORED: engine.restore(batch)}
    rows = []
    for index, (a, b, each) in enumerate(zip(inputs, originals, drawn, strict=True)):
        images = {**baselines(a, each), **{name: made[index] for name, made in restored.items()}, "original": b}
        rows.append(measure_pair(images, METRICS))
    return rows


def _means(measured: Sequence[Figures]) -> Figures:
    """Of what all images have: the model first, then the baselines, the strongest first."""
    names = [name for name in (RESTORED, KNOWN, *reversed(BASELINES)) if all(name in row for row in measured)]
    return {name: {metric: float(np.mean([row[name][metric] for row in measured])) for metric in METRICS} for name in names}

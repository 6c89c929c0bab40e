"""Several training runs side by side: the settings that differ, and figures at equal steps and at equal time."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataset_tools import files, image_io
from dataset_tools.errors import OutputError, RunError, UsageError
from dataset_tools.metrics import METRICS
from pipelines.figures import csv_text, metric_title
from pipelines.plot import Panel, Series, line_plot
from pipelines.restore import Figures, Rgb
from pipelines.runs import WEIGHTS, Check, Run, labels, read_run, shown

FORMAT, FORMAT_VERSION = "photomend comparison", 1
FILES = ("compare.json", "compare.csv", "compare.png")
ROWS = 8  # of a table at equal steps or at equal time, at most
ROUND = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800] + [3600 * n for n in (1, 2, 5, 10, 20, 50, 100)]  # seconds


@dataclass(frozen=True)
class Comparison:
    """Runs in the order in which they were given, and the metric that is looked at beside PSNR and SSIM."""

    runs: tuple[Run, ...]
    metric: str

    @property
    def labels(self) -> list[str]:
        return [run.label for run in self.runs]

    @property
    def alike(self) -> bool:
        """True where the baselines of all runs are the same, and so the images on which they validate."""
        held: dict[tuple[str, str], float] = {}
        for each in (each for run in self.runs for each in _long(run.baselines)):
            if not math.isclose(held.setdefault((each["name"], each["metric"]), each["value"]), each["value"], rel_tol=1e-4):
                return False
        return True

    def settings(self) -> dict[str, list[Any]]:
        """The settings that differ, a value for each run; None where a run has no such setting."""
        names = dict.fromkeys(name for run in self.runs for name in run.settings)
        found = {name: [run.settings.get(name) for run in self.runs] for name in names}
        return {name: values for name, values in found.items() if any(value != values[0] for value in values)}

    def notes(self) -> list[str]:
        """Why figures cannot be compared, and which runs have none."""
        told = []
        if "dataset" in self.settings():
            told.append("the runs were not trained on the same dataset: their figures are not comparable")
        elif not self.alike:
            told.append("the runs do not validate the same images (their baselines differ): their figures are not comparable")
        return told + [f"{run.label} has no validation" for run in self.runs if not run.checks]

    def at_steps(self) -> list[tuple[int, list[Check | None]]]:
        """The validations at up to 8 steps at which every run has one, the last such step included."""
        by_step = [{check.step: check for check in run.checks} for run in self.runs]
        common = sorted(set.intersection(*(set(checks) for checks in by_step if checks)))
        count = min(ROWS, len(common))
        chosen = [common[(index + 1) * len(common) // count - 1] for index in range(count)]
        return [(step, [checks.get(step) for checks in by_step]) for step in chosen]

    def at_times(self) -> list[tuple[float, list[Check | None]]]:
        """The newest validations not later than some round times, and than the end of the run that ended first."""
        ends = [run.seconds for run in self.runs if run.checks and run.seconds is not None]
        rows = [(time, [_newest(run.checks, time) for run in self.runs]) for time in (_times(min(ends)) if ends else [])]
        return [row for row in rows if any(row[1])]

    def summary(self) -> dict[str, Any]:
        """What --json prints."""
        return {
            "metric": self.metric,
            "notes": self.notes(),
            "settings": {name: dict(zip(self.labels, values, strict=True)) for name, values in self.settings().items()},
            "runs": [
                {"label": run.label, "folder": run.folder, "steps": run.steps, "seconds": run.seconds,
                 "best": run.best and asdict(run.best), "last": run.last and asdict(run.last),
                 "baselines": run.baselines, "alarms": run.alarms}
                for run in self.runs
            ],
            "equal_steps": [{"step": step, "runs": self._by_label(row)} for step, row in self.at_steps()],
            "equal_times": [{"seconds": time, "runs": self._by_label(row)} for time, row in self.at_times()],
        }  # fmt: skip

    def _by_label(self, row: Sequence[Check | None]) -> dict[str, Any]:
        return dict(zip(self.labels, (check and asdict(check) for check in row), strict=True))

    def rows(self) -> list[dict[str, Any]]:
        """The rows of compare.csv: a row a figure; those of a baseline once a run, without step and seconds."""
        rows = []
        for run in self.runs:
            for check in run.checks:
                weights = {name: row for name, row in check.figures.items() if name in WEIGHTS}
                rows += _long(weights, run=run.label, step=check.step, seconds=check.seconds)
            rows += _long(run.baselines, run=run.label)
        return rows

    def plot(self) -> Rgb:
        """The metric against steps and against time, uint8 (H, W, 3)."""
        longest = max((check.seconds for run in self.runs for check in run.checks if check.seconds is not None), default=0.0)
        unit, length = ("s", 1) if longest <= 180 else ("min", 60) if longest <= 3 * 3600 else ("h", 3600)
        better = METRICS[self.metric].better
        y = metric_title(self.metric).replace("Δ", "Delta ") + ("" if better == "none" else f", {better} is better")
        times = self._series(lambda check: None if check.seconds is None else check.seconds / length)
        panels = [
            Panel(self._series(lambda check: check.step), "steps", y, "At equal steps"),
            Panel(times, f"time of steps and loading ({unit})", y, "At equal time"),
        ]
        header = f"{len(self.runs)} runs on their validation images"
        return line_plot(panels, header=header, footer="\n".join(f"Note: {note}." for note in self.notes()))

    def _series(self, x: Callable[[Check], float | None]) -> list[Series]:
        """A line for each run, and a dashed one for each baseline of runs that share it."""
        lines = []
        for run in self.runs:
            found = [(x(check), check.figures.get("restored", {}).get(self.metric)) for check in run.checks]
            lines.append(Series(run.label, [(at, value) for at, value in found if at is not None and value is not None]))
        end = max((point[0] for line in lines for point in line.points), default=0.0)
        shared: dict[tuple[str, float], list[str]] = {}
        for run in self.runs:
            for name, figures in run.baselines.items():
                if end and self.metric in figures:
                    shared.setdefault((name, round(figures[self.metric], 3)), []).append(run.label)
        for (name, value), whose in shared.items():
            alone = sum(other == name for other, _ in shared) == 1
            title, like = (name, "") if alone else (f"{name} of {', '.join(whose)}", whose[0])
            title += " (baseline)" if title in self.labels else ""
            lines.append(Series(title, [(0.0, value), (end, value)], dashed=True, like=like))
        return lines


def compare_runs(folders: Sequence[Path], *, metric: str = "psnr", out: Path | None = None) -> Comparison:
    """Reads the runs in `folders`, and writes compare.json, compare.csv and compare.png into the folder `out`.

    Args:
        metric: a name from METRICS, which is plotted and stands in every table beside PSNR and SSIM.

    Raises:
        UsageError: fewer than two runs, a run twice, a metric that is none or that no run has.
        RunError: a folder that is no run, or that cannot be read; no run with a validation.
        OutputError: `out` holds files of these names that photomend has not written, or cannot be written.
    """
    if metric not in METRICS:
        raise UsageError(f"there is no metric {image_io.printable(metric)}; there are: {', '.join(METRICS)}")
    if len(folders) < 2:
        raise UsageError("give two runs or more to compare")
    real = [os.path.realpath(folder) for folder in folders]
    twice = next((folder for folder, path in zip(folders, real, strict=True) if real.count(path) > 1), None)
    if twice is not None:
        raise UsageError(f"the run {shown(twice)} was given twice: give each run once")
    if out:
        _check_ours(out)
    runs = tuple(read_run(folder, label) for folder, label in zip(folders, labels(folders), strict=True))
    known = dict.fromkeys(name for run in runs for check in run.checks for name in check.figures.get("restored", {}))
    if not any(run.checks for run in runs):
        raise RunError("no run has a validation yet: let them train until their first one")
    if metric not in known:
        raise UsageError(f"no run has figures of --metric {metric}; they have: {', '.join(known)}")
    result = Comparison(runs, metric)
    if out:
        full = {run.label: [asdict(check) for check in run.checks] for run in runs}
        value = {"format": FORMAT, "format_version": FORMAT_VERSION, **result.summary(), "validations": full}
        files.replace_json(out / FILES[0], value)  # first, because it is what makes the others ours
        files.replace_text(out / FILES[1], csv_text(result.rows(), ("run", "step", "seconds", "name", "metric", "value")))
        image_io.write(out / FILES[2], result.plot(), "PNG")
    return result


def _newest(checks: Sequence[Check], time: float) -> Check | None:
    return next((check for check in reversed(checks) if check.seconds is not None and check.seconds <= time), None)


def _times(end: float) -> list[float]:
    """At most 8 round times up to `end` seconds, `end` the last of them."""
    apart = next((each for each in ROUND if end / each < ROWS), end)
    return [*(apart * n for n in range(1, ROWS) if apart * (n + 0.5) <= end), end]


def _long(figures: Figures, **at: Any) -> list[dict[str, Any]]:
    return [
        at | {"name": name, "metric": metric, "value": value} for name, row in figures.items() for metric, value in row.items()
    ]


def _check_ours(out: Path) -> None:
    """Raises OutputError where `out` holds files of these names that no earlier comparison has written."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"--out {shown(out)} is a file, not a folder: choose another name")
    try:
        ours = json.loads((out / FILES[0]).read_text("utf-8")).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        ours = False
    held = [name for name in FILES if os.path.lexists(out / name)]
    if held and not ours:
        raise OutputError(f"{shown(out / held[0])} exists and was not written by photomend compare: choose another folder")

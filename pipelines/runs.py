"""What training runs tell: run.json, log.jsonl and best.json as one object each. Neither Keras nor TensorFlow is imported."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_tools import image_io
from dataset_tools.archive import encode_name
from dataset_tools.errors import RunError
from dataset_tools.metrics import BASELINES
from pipelines.restore import Figures
from pix2pix import run_folder

WEIGHTS = ("restored", "raw")  # everything else in a validation's figures is a baseline


@dataclass(frozen=True)
class Check:
    """One validation."""

    step: int
    seconds: float | None  # of steps and loading since step 0; None where the log does not tell
    figures: Figures


@dataclass(frozen=True)
class Run:
    """What a run folder tells. `label` is what tables call it."""

    label: str
    folder: str
    settings: dict[str, Any]  # run.json, flat: "spec.batch"
    steps: int
    seconds: float | None
    checks: tuple[Check, ...]
    best: Check | None  # of model.onnx
    alarms: tuple[tuple[int, str], ...]  # step, text

    @property
    def last(self) -> Check | None:
        return self.checks[-1] if self.checks else None

    @property
    def baselines(self) -> Figures:
        """Those of the last validation, in the order of the registry; {} before the first."""
        figures = self.last.figures if self.last else {}
        return {name: figures[name] for name in dict.fromkeys((*BASELINES, *figures)) if name in figures and name not in WEIGHTS}


def labels(folders: Sequence[Path]) -> list[str]:
    """What tables call the runs: of each path as much of its end as no other path has."""
    parts = [Path(os.path.abspath(folder)).parts for folder in folders]
    found = []
    for own in parts:
        length = next(n for n in range(1, len(own) + 1) if sum(other[-n:] == own[-n:] for other in parts) == 1)
        found.append(shown(Path(*own[-length:])))
    return found


def read_run(folder: Path, label: str) -> Run:
    """The run in `folder`. Raises RunError where it is none, or cannot be read."""
    name, held = shown(folder), run_folder.RunFolder(folder)
    try:
        record = json.loads((folder / "run.json").read_text("utf-8"))
        rows = [row for row in held.rows() if isinstance(row, dict) and isinstance(row.get("step"), int)]
        best = held.best()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{name} is no run: give folders that photomend train has written") from error
    except (OSError, ValueError) as error:
        raise RunError(f"the run {name} cannot be read ({error})") from error
    if not isinstance(record, dict) or record.get("format") != run_folder.FORMAT:
        raise RunError(f"{name} is no run: its run.json was not written by photomend train")
    step = (best or {}).get("step")
    checks, seconds = _checks(rows)
    times = {check.step: check.seconds for check in checks}
    return Run(
        label=label,
        folder=name,
        settings=_settings(record),
        steps=max((row["step"] for row in rows), default=0),
        seconds=seconds,
        checks=tuple(checks),
        best=Check(step, times.get(step), _figures(best)) if isinstance(step, int) else None,
        alarms=tuple((row["step"], _alarm(row)) for row in rows if row.get("kind") == "alarm"),
    )


def _checks(rows: Sequence[dict[str, Any]]) -> tuple[list[Check], float | None]:
    """The validations, and the time of the last row that tells one. A validation without a time has that of the row before."""
    checks, seconds, before, last = [], None, 0.0, 0.0
    for row in sorted(rows, key=lambda row: (row["step"], row.get("kind") == "validation")):
        told = _numbers(row.get("time")).get("seconds")
        if told is not None:
            if row.get("kind") == "losses":
                before += last if told < last else 0.0  # runs of format 1 begin at 0 again when they are resumed
                last = told
            seconds = before + told
        if row.get("kind") == "validation":
            checks.append(Check(row["step"], seconds, _figures(row)))
    return checks, seconds


def _figures(row: Mapping[str, Any] | None) -> Figures:
    figures = (row or {}).get("figures")
    return {name: _numbers(values) for name, values in figures.items()} if isinstance(figures, dict) else {}


def _alarm(row: Mapping[str, Any]) -> str:
    return image_io.printable(str(row.get("text") or row.get("name")))


def _numbers(value: Any) -> dict[str, float]:
    """What is a finite number of a JSON object; {} where `value` is none."""
    items = value.items() if isinstance(value, dict) else ()
    return {name: item for name, item in items if isinstance(item, int | float) and -1e300 < item < 1e300}


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """run.json, flat; what stands in its options and in its `exact` (format 2) without that prefix, as device and versions do."""
    found = {name: value for name, value in record.items() if name not in ("format", "format_version")}
    parts = [part for part in (found.pop("options", {}), found.pop("exact", {})) if isinstance(part, Mapping)]
    return {name: value for part in (*parts, found) for name, value in run_folder.flat(part).items()}


def shown(path: Path) -> str:
    """A path as messages call it: printable, percent-encoded where it is not UTF-8."""
    return image_io.printable(encode_name(os.fsencode(path)))

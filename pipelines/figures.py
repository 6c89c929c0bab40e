"""Figures as people and programs read them: means, tables for a terminal, CSV, contact sheets with their captions."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dataset_tools import sheets
from dataset_tools.metrics import BASELINES, METRICS
from pipelines.mark import STATEMENT
from pipelines.restore import Figures, Rgb, Shown

KNOWN = "grid known"  # a mosaic restored with its grid told; "restored" is what its pixels tell
Intervals = dict[str, dict[str, float]]  # {metric: {"mean" | "low" | "high": value}}

FEWEST = 5  # images or groups that an interval takes: of fewer it would say next to nothing
SHEET_ROWS = 24  # at most
RANKED_ROWS = 12  # of a sheet of the best, or of the worst


def means(measured: Sequence[Figures]) -> Figures:
    """The mean of every figure that all images have: "restored" first, then the baselines, the strongest first."""
    names = ["restored", KNOWN, *reversed(BASELINES), "original"]
    result: Figures = {}
    for name in names:
        rows = [figures[name] for figures in measured if name in figures]
        if rows and len(rows) == len(measured):  # else its mean would be of other images
            known = [metric for metric in METRICS if all(metric in row for row in rows)]
            result[name] = {metric: float(np.mean([row[metric] for row in rows])) for metric in known}
    return result


def intervals(measured: Sequence[Figures], groups: Sequence[str] = ()) -> dict[str, Intervals]:
    """How far "restored" is from each of the others, in pairs: {name: {metric: {"mean", "low", "high"}}}.

    low and high: 95 in 100 if the images stand for those that are to come, by Student's t; only of metrics that rank, and of what
    all images have. `groups`: of each image; what images of one group have in common counts once (standard errors clustered by
    group, Liang and Zeger 1986; as many degrees of freedom as groups, less one). Without groups, or where one is "", each image
    is one; of fewer than FEWEST there is only the mean.
    """
    members: dict[object, list[int]] = {}
    for place in range(len(measured)):
        members.setdefault((groups[place] if groups else "") or place, []).append(place)
    told: dict[str, Intervals] = {}
    for name in means(measured):
        if name in ("restored", KNOWN, "original"):
            continue
        told[name] = {}
        for metric in (each for each in measured[0]["restored"] if METRICS[each].better != "none"):
            away = np.array([row["restored"][metric] - row[name][metric] for row in measured])
            mean, count = float(away.mean()), len(members)
            told[name][metric] = {"mean": mean}
            if count >= FEWEST:
                square = sum(float((away[places] - mean).sum()) ** 2 for places in members.values())
                reach = student(count - 1) * (count / (count - 1) * square) ** 0.5 / len(away)
                told[name][metric] |= {"low": mean - reach, "high": mean + reach}
    return told


def student(freedom: int) -> float:
    """The 97.5th percentile of Student's t, to 0.01 from four degrees of freedom on (Abramowitz and Stegun 1964, 26.7.5)."""
    z = 1.959964  # of the normal distribution
    square = z * z
    terms = (square + 1) / 4, (5 * square**2 + 16 * square + 3) / 96, (3 * square**3 + 19 * square**2 + 17 * square - 15) / 384
    return z * (1 + terms[0] / freedom + terms[1] / freedom**2 + terms[2] / freedom**3)


def interval(told: Mapping[str, float], digits: int) -> str:
    """ "+1.70 (+1.62 to +1.78)", or "+1.70" of one image or group alone."""
    reach = f" ({told['low']:+.{digits}f} to {told['high']:+.{digits}f})" if "low" in told else ""
    return f"{told['mean']:+.{digits}f}{reach}"


def intervals_lines(told: Mapping[str, Intervals]) -> list[str]:
    """`intervals` as lines for a terminal."""
    return [
        f"beside {name}: " + ", ".join(
            f"{METRICS[metric].title} {interval(each, 3)}" for metric, each in row.items()
        )
        for name, row in told.items()
    ]  # fmt: skip


def figures_table(figures: Figures) -> list[str]:
    """The means as lines for a terminal: the model, then the baselines, a column for each metric."""
    names = list(next(iter(figures.values())))
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
    return {f"{name.replace(' ', '_')}_{metric}": value for name, row in (figures or {}).items() for metric, value in row.items()}


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """CSV with a header: `columns`, then every other column of the rows in the order of its first appearance."""
    names = [*columns, *dict.fromkeys(name for row in rows for name in row if name not in columns)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def counted(number: int, word: str) -> str:
    """ "1 file", "2 files"."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def evenly(total: int, count: int) -> set[int]:
    """At most `count` of the indices 0..total-1, evenly spread."""
    return {index * total // count for index in range(count)} if total > count else set(range(total))


def comparison_sheet(shown: Sequence[Shown], header: str) -> Rgb:
    """A contact sheet, input | baselines | restored | original, with each one's figures: uint8 (height, width, 3) sRGB."""
    titles = [name for name in (*BASELINES, "restored", "original") if any(name in each.images for each in shown)]
    captions = [[_caption(each, title, title == titles[-1]) for title in titles] for each in shown]
    known = any(each.figures for each in shown)
    colours = any("delta_e" in figures for each in shown for figures in (each.figures or {}).values())
    told = "ΔE2000 against the original: lower is better. " if colours else ""
    footer = f"{told}PSNR and SSIM against the original: higher is better.\n" if known else ""
    return sheets.grid(
        [[each.images.get(title) for title in titles] for each in shown],
        titles=titles, captions=captions, header=header, footer=footer + STATEMENT,
    )  # fmt: skip


def _caption(shown: Shown, title: str, last: bool) -> str:
    figures = (shown.figures or {}).get(title)
    if figures and "delta_e" in figures and "psnr" in figures:
        return f"ΔE {figures['delta_e']:.1f} · {figures['psnr']:.2f} dB"
    if figures and "psnr" in figures and "ssim" in figures:
        return f"{figures['psnr']:.2f} dB · {figures['ssim']:.3f}"
    return shown.name if last else ""

"""photomend compare"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.terminal import PATH, emit_json

if TYPE_CHECKING:
    from pipelines.compare import Comparison
    from pipelines.runs import Run


@click.command("compare", short_help="Training runs side by side: settings that differ, figures, a plot.")
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUN RUN...")
@click.option("--out", type=PATH, default=None, metavar="FOLDER", help="Write compare.json, compare.csv and compare.png here.")
@click.option(
    "--metric",
    default="psnr",
    show_default=True,
    metavar="NAME",
    help="What is plotted, and told beside PSNR and SSIM: psnr, ssim, l1, delta_e or colourfulness.",
)
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout.")
def command(runs: tuple[Path, ...], out: Path | None, metric: str, as_json: bool) -> int:
    """Compare the training runs in the folders RUN: at equal steps, and at equal time of steps and loading.

    Figures are those of each run's own validations, beside the trivial baselines. best is the step of model.onnx.
    """
    from pipelines.compare import compare_runs

    result = compare_runs(runs, metric=metric, out=out)
    click.echo("\n\n".join("\n".join(part) for part in tables(result)))
    for note in result.notes():
        click.echo(f"note: {note}", err=True)
    if as_json:
        emit_json(result.summary())
    return 0


def tables(result: Comparison) -> list[list[str]]:
    """The lines of each table, its title the first; a cell holds PSNR, SSIM and the metric that was asked for."""
    from pipelines.figures import metric_title

    names = tuple(dict.fromkeys(("psnr", "ssim", result.metric)))
    title = " / ".join(map(metric_title, names))
    head = [run.label for run in result.runs]

    def cells(checks: Sequence[Any], weights: str = "restored") -> list[str]:
        return [cell(check.figures.get(weights) if check else None, names) for check in checks]

    last = [run.last for run in result.runs]
    settings = [[name, *(setting(name, value) for value in values)] for name, values in result.settings().items()]
    baselines = dict.fromkeys(name for run in result.runs for name in run.baselines)
    overview = [
        ["steps", *map(steps, result.runs)],
        ["time", *("-" if run.seconds is None else duration(run.seconds) for run in result.runs)],
        ["best at step", *(f"{run.best.step:,}" if run.best else "-" for run in result.runs)],
        ["best", *cells([run.best for run in result.runs])],
        ["last", *cells(last)],
        *([["last, raw weights", *cells(last, "raw")]] if any(check and "raw" in check.figures for check in last) else []),
        *([["alarms", *(str(len(run.alarms)) for run in result.runs)]] if any(run.alarms for run in result.runs) else []),
    ]
    at_steps = [[f"{step:,}", *cells(row)] for step, row in result.at_steps()]
    at_times = [[duration(time), *cells(row)] for time, row in result.at_times()]
    alarms = [f"{run.label}: step {run.alarms[-1][0]:,}: {run.alarms[-1][1]}" for run in result.runs if run.alarms]
    return [
        ["settings that differ", *(table(["", *head], settings) if settings else ["none"])],
        [f"baselines: {title}", *table(["", *head], [[name, *cells(last, name)] for name in baselines])],
        [f"runs: {title}", *table(["", *head], overview)],
        [f"at equal steps: {title}",
         *(table(["steps", *head], at_steps) if at_steps else ["the runs have no validation at the same step"])],
        [f"at equal time: {title}", *(table(["time", *head], at_times) if at_times else ["the runs do not tell their times"])],
        *([["last alarms", *alarms]] if alarms else []),
    ]  # fmt: skip


def cell(figures: dict[str, float] | None, names: Sequence[str]) -> str:
    """ "22.15 / 0.658"; "-" where nothing is known."""
    if not figures:
        return "-"
    return " / ".join(f"{figures[name]:.{3 if name == 'ssim' else 2}f}" if name in figures else "-" for name in names)


def steps(run: Run) -> str:
    """ "600 of 5,000" where the run is not done."""
    asked = run.settings.get("steps")
    return f"{run.steps:,} of {asked:,}" if isinstance(asked, int) and asked > run.steps else f"{run.steps:,}"


def setting(name: str, value: Any) -> str:
    """The value of a setting; "-" where a run has none."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    told = value if isinstance(value, str) else json.dumps(value)
    return told[:12] if name == "dataset" else told


def duration(seconds: float) -> str:
    """3675 -> "1 h 1 min 15 s"."""
    if seconds < 10:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return " ".join(f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if value)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines in columns, the first flush left, the others flush right."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join([first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))])
            for first, *rest in lines]  # fmt: skip

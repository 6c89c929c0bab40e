"""What commands say while they work: a live line on a terminal, plain lines elsewhere. Diagnostics go to stderr."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click


class _Place(click.Path):
    """A path, as pathlib's; an empty text, such as that of a variable that was never set, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in ("", b""):
            self.fail("an empty path was given", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Place(path_type=Path)


engine_option = click.option(
    "--engine",
    type=click.Choice(["onnxruntime", "openvino", "openvino-bfloat16"]),
    default="onnxruntime",
    show_default=True,
    help="What computes: openvino needs pip install 'photomend[openvino]'.",
)


class Progress:
    """Callable as progress(done, total). Shows the share done, the speed and the time left."""

    def __init__(self, what: str, unit: str):
        self.what, self.unit = what, unit
        self.start = time.monotonic()
        self.first: int | None = None  # done when we first heard: what an earlier run had done does not count for speed
        self.last_shown = self.start
        self.live = bool(sys.stderr and sys.stderr.isatty())

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done - 1
        if done < total and now - self.last_shown < (0.1 if self.live else 10.0):
            return
        self.last_shown = now
        speed = (done - self.first) / max(now - self.start, 1e-6)
        line = (
            f"{self.what}: {done}/{total} {self.unit}, {speed:.1f} {self.unit}/s, {clock((total - done) / max(speed, 1e-6))} left"
        )
        if self.live:
            click.echo(f"\r{line}\033[K", err=True, nl=done >= total)
        else:
            click.echo(line, err=True)


def clock(seconds: float) -> str:
    """75 -> "1:15", 3675 -> "1:01:15"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def emit_json(value: Any) -> None:
    """The one JSON line that --json ends with, on stdout."""
    click.echo(json.dumps(value, sort_keys=True))

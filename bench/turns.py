"""Processes that work when they are told, and take turns, so that what else the machine does weighs on all of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from statistics import mean
from typing import Any


class Server:
    """A process that does so many steps as it is told."""

    def __init__(self, name: str, command: Sequence[str]):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hello = self._line()
        self.seconds: list[float] = []
        self.peak = 0.0

    def step(self, count: int, order: str = "step") -> dict[str, Any]:
        """`count` steps: what the process tells of them. order "again": with one batch, and nothing loaded."""
        assert self.process.stdin
        print(f"{order} {count}", file=self.process.stdin, flush=True)
        told = self._line()
        self.peak = told["peak_rss_mb"]
        return told

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended: {self.process.wait()}")
        return dict(json.loads(line))


def take_turns(servers: Sequence[Server], rounds: int, count: int) -> None:
    """Fills `seconds` of each with the mean of `count` steps of each round, after two steps that trace and warm up."""
    for each in servers:
        each.step(2)
    for _ in range(rounds):
        for each in servers:
            each.seconds.append(mean(each.step(count)["seconds"]))


def ratio(slow: Server, fast: Server) -> list[float]:
    """How many times faster `fast` was, round by round."""
    return [one / other for one, other in zip(slow.seconds, fast.seconds, strict=True)]

"""Memory: of a command and of all processes that it starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.tables import Row, table, verdict


class Peaks:
    """The most memory that a process and its descendants held, in MB of PSS (shared pages count once), seen every 50 ms.

    `own` is the part of it that is mapped from no file: it depends on no other program that has the same libraries open.
    """

    def __init__(self, pid: int):
        self.most = dict.fromkeys(("parent", "workers", "tree"), (0.0, 0.0))  # -> (all, own)
        self._pid, self._stop = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            parent, *others = (self._held(pid) for pid in self._tree(self._pid))
            workers = (sum(all for all, _ in others), sum(own for _, own in others))
            for what, now in (
                ("parent", parent),
                ("workers", workers),
                ("tree", (parent[0] + workers[0], parent[1] + workers[1])),
            ):
                self.most[what] = (max(self.most[what][0], now[0]), max(self.most[what][1], now[1]))

    def _tree(self, pid: int) -> Iterator[int]:
        yield pid
        try:
            children = [text for task in Path(f"/proc/{pid}/task").iterdir() for text in (task / "children").read_text().split()]
        except OSError:
            return
        for child in children:
            yield from self._tree(int(child))

    def _held(self, pid: int) -> tuple[float, float]:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            return 0.0, 0.0
        held = {line.partition(":")[0]: float(line.split()[1]) / 1000 for line in lines[1:]}
        return held.get("Pss", 0.0), held.get("Pss_Anon", 0.0)


def part_memory(archives: dict[str, Path], work: Path, command: Callable[[Path, Path], list[str]]) -> None:
    """`archives`: name -> folder; the last two are few and many of the same kind. `command`: (archive, dataset) -> a build."""
    peaks: dict[str, Peaks] = {}
    rows: list[Row] = []
    for name, archive in archives.items():
        shutil.rmtree(work / "dataset", ignore_errors=True)
        start = time.perf_counter()
        process = subprocess.Popen(command(archive, work / "dataset"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peaks[name] = seen = Peaks(process.pid)
        code = process.wait()
        seen.stop()
        if code:
            raise SystemExit(f"the build of {archive} ended with exit code {code}")
        held = [f"{all:.0f} ({own:.0f})" for all, own in seen.most.values()]
        rows.append((name, *held, time.perf_counter() - start, verdict(seen.most["tree"][0], 1500)))
    few, many = list(archives)[-2:]
    more = len(os.listdir(archives[many])) - len(os.listdir(archives[few]))
    growth = [(peaks[many].most[what][1] - peaks[few].most[what][1]) * 1000 / more for what in ("parent", "workers", "tree")]
    rows.append(("growth of own, KB a photo", *growth, "", verdict(growth[2], 1)))
    table(
        "Peak memory, MB of PSS (own: mapped from no file), 2 workers",
        ("photos", "parent", "workers", "tree", "s", "target"),
        rows,
    )

"""What a photo costs more on Ray than in local processes of the same machine. Prints a Markdown table.

    python bench/ray_overhead.py [--workers 2] [--rounds 3] [--photos 960]

Both engines run the same work in turn, round by round. A run is timed from its warm state (the first tenth of the jobs is
done) to the point where jobs run out, so that neither start-up nor end is in it. cpu: of this process and all below it, with
those that Ray starts beside its workers. Photos: the samples that ship, each copy with a comment of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dataset_tools import resources
from dataset_tools.archive import Source, walk
from dataset_tools.engine_ray import PARCEL, run_ray
from dataset_tools.engines import AHEAD, TimedOut, WorkerDied, run_local
from dataset_tools.staging import PhotoStager, Recipe

TICK = os.sysconf("SC_CLK_TCK")
ENGINES = {"local": run_local, "ray": run_ray}


class Nothing:
    """The smallest work: gives its job back."""

    def __call__(self, job: Any) -> Any:
        return job

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass


def copies(folder: Path, count: int) -> list[tuple[Source]]:
    """`count` photos that differ, from the samples in turn, as the jobs of a build."""
    samples = sorted(resources.path("samples").glob("*.jpg"))
    for number in range(count):
        data = samples[number % len(samples)].read_bytes()
        comment = f"copy {number}".encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment  # COM, right behind SOI
        (folder / f"{number:06}.jpg").write_bytes(data[:2] + segment + data[2:])
    return [(source,) for source in walk([folder])[0]]


def tree_cpu() -> float:
    """cpu seconds of this process and all that live below it, ended children included."""
    own, parents = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(entry.parent.name)
        parents[pid], own[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    tree = [os.getpid()]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return sum(own[pid] for pid in tree) / TICK


def steady(results: Iterable[tuple[Any, Any]], jobs: int, workers: int) -> tuple[float, float]:
    """Seconds and cpu seconds a job, between the first tenth and the last jobs that are given out."""
    first, last = jobs // 10, jobs - 2 * workers * AHEAD * PARCEL
    if last < 2 * first:
        raise SystemExit(f"{jobs} jobs are too few for {workers} workers")
    for number, (_, result) in enumerate(results):
        if isinstance(result, TimedOut | WorkerDied):
            raise SystemExit("a job was lost: the figures would mean nothing")
        if number == first:
            start, start_cpu = time.perf_counter(), tree_cpu()
        elif number == last:
            seconds, cpu = time.perf_counter() - start, tree_cpu() - start_cpu
    return seconds / (last - first), cpu / (last - first)


def measure(work: Any, jobs: Sequence[Any], workers: int, rounds: int) -> Iterator[tuple[str, float, float]]:
    for turn in range(rounds):
        for engine in sorted(ENGINES, reverse=bool(turn % 2)):
            yield engine, *steady(ENGINES[engine](work, jobs, workers, 120.0), len(jobs), workers)


def report(name: str, runs: Sequence[tuple[str, float, float]]) -> None:
    """Rows of the table, in ms a job: lowest (median, highest). The lowest are compared: they are disturbed least."""
    least = {}
    for engine in ENGINES:
        cells = []
        for column in (1, 2):
            values = [run[column] * 1e3 for run in runs if run[0] == engine]
            least[engine, column] = min(values)
            cells.append(f"{min(values):.3f} ({statistics.median(values):.3f}, {max(values):.3f})")
        print(f"| {name}, {engine} | {' | '.join(cells)} |")
    extra = [least["ray", column] - least["local", column] for column in (1, 2)]
    shares = [100 * more / least["local", column] for more, column in zip(extra, (1, 2), strict=True)]
    told = " | ".join(f"{more:+.3f} ms, {share:+.1f} %" for more, share in zip(extra, shares, strict=True))
    print(f"| **{name}, Ray's part** | {told} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=int, default=960)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before; {options.workers} workers, {options.rounds} rounds, "
          f"{options.photos} photos or {20 * options.photos} empty jobs a run\n")  # fmt: skip
    print("| ms a job: lowest (median, highest) | wall clock | cpu |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        archive, staging = Path(folder, "archive"), Path(folder, "staging")
        archive.mkdir(), staging.mkdir()
        photos = copies(archive, options.photos)
        report("photos", list(measure(PhotoStager(Recipe(), staging), photos, options.workers, options.rounds)))
        report("empty jobs", list(measure(Nothing(), photos * 20, options.workers, options.rounds)))


if __name__ == "__main__":
    main()

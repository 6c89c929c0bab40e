from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataset_tools import engines
from dataset_tools.engines import AHEAD, TimedOut, WorkerDied, run_here, run_local
from dataset_tools.errors import OutputError


@dataclass
class Square:
    """Squares numbers; dies, hangs, raises or notes its closing where it is told to."""

    dies_at: int = -1
    hangs_at: int = -1
    raises_at: int = -1
    notes: str = ""

    def __call__(self, job: int) -> int:
        if job == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if job == self.hangs_at:
            time.sleep(1000)
        if job == self.raises_at:
            raise OutputError("no room")
        return job * job

    def open(self) -> None:
        pass

    def close(self) -> None:
        if self.notes:
            (Path(self.notes) / str(os.getpid())).touch()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_job_is_done_once_and_workers_are_closed(tmp_path: Path, workers: int) -> None:
    work = Square(notes=str(tmp_path))
    done = list(run_local(work, range(30), workers) if workers else run_here(work, range(30)))
    assert sorted(done) == [(number, number * number) for number in range(30)]
    assert len(list(tmp_path.iterdir())) == max(1, workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_ends_the_run(workers: int) -> None:
    work = Square(raises_at=3)
    with pytest.raises(OutputError, match="no room"):
        list(run_local(work, range(30), workers) if workers else run_here(work, range(30)))


def test_a_job_that_kills_its_worker_costs_only_itself() -> None:
    done = dict(run_local(Square(dies_at=5), range(20), 2))
    assert isinstance(done.pop(5), WorkerDied)
    assert done == {number: number * number for number in range(20) if number != 5}


@pytest.mark.slow
def test_a_job_that_hangs_costs_only_itself() -> None:
    done = dict(run_local(Square(hangs_at=5), range(20), 2, limit=0.5))
    assert isinstance(done.pop(5), TimedOut)
    assert done == {number: number * number for number in range(20) if number != 5}


@pytest.mark.slow
def test_a_worker_killed_from_outside_costs_nothing() -> None:
    runs, done = run_local(Square(), range(200), 2), {}
    for number, (job, result) in enumerate(runs):
        done[job] = result
        if number == 20:
            me = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            crew = [pid for pid in me if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            os.kill(int(crew[-1]), signal.SIGKILL)
    assert done == {number: number * number for number in range(200)}


@dataclass
class Echo:
    """Gives each job back."""

    def __call__(self, job: bytes) -> bytes:
        return job

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_large_jobs_with_large_results(size: int) -> None:
    """Neither side waits for the other to read while it writes itself."""
    done = list(run_local(Echo(), (b"x" * size for _ in range(6)), 1, limit=20))
    assert [result for _, result in done] == [b"x" * size] * 6


def test_workers_that_die_before_they_get_their_work_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    real, broken = engines._Worker._send, []

    def send(self: engines._Worker, message: object) -> None:
        if not broken:
            broken.append(self)
            self.process.kill()
            self.process.join()
        real(self, message)

    monkeypatch.setattr(engines._Worker, "_send", send)
    assert dict(run_local(Square(), range(5), 1)) == {number: number * number for number in range(5)}
    assert broken


def test_jobs_are_read_as_they_are_needed() -> None:
    read = 0

    def jobs() -> Iterator[int]:
        nonlocal read
        for number in range(50):
            read += 1
            yield number

    for done, _ in enumerate(run_local(Square(), jobs(), 2), 1):
        assert read <= done + 2 * AHEAD
    assert read == 50


def test_a_run_that_is_given_up_leaves_no_process() -> None:
    runs = run_local(Square(hangs_at=3), range(20), 1)
    next(runs)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    crew = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert crew
    runs.close()  # type: ignore[attr-defined]
    assert not any(Path(f"/proc/{pid}").exists() for pid in crew)


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from tests.test_engines import Square\nfrom dataset_tools.engines import run_local\n"
                      "list(run_local(Square(), range(5), 2))\n")  # fmt: skip
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    assert "the worker processes cannot start: in a script, call this below" in done.stderr.splitlines()[-1]

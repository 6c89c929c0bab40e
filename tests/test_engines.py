from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataset_tools.engines import WorkerDied, run_local
from dataset_tools.errors import OutputError


@dataclass
class Square:
    """Squares numbers; dies, raises or notes its closing where it is told to."""

    dies_at: int = -1
    raises_at: int = -1
    notes: str = ""

    def __call__(self, job: int) -> int:
        if job == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if job == self.raises_at:
            raise OutputError("no room")
        return job * job

    def close(self) -> None:
        if self.notes:
            (Path(self.notes) / str(os.getpid())).touch()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once_and_workers_are_closed(tmp_path: Path, workers: int) -> None:
    done = list(run_local(Square(notes=str(tmp_path)), range(30), workers, here=workers == 1))
    assert sorted(done) == [(number, number * number) for number in range(30)]
    assert len(list(tmp_path.iterdir())) == workers


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_run(workers: int) -> None:
    with pytest.raises(OutputError, match="no room"):
        list(run_local(Square(raises_at=3), range(30), workers, here=workers == 1))


def test_a_job_that_kills_its_worker_costs_only_itself() -> None:
    done = dict(run_local(Square(dies_at=5), range(20), 2, here=False))
    assert isinstance(done.pop(5), WorkerDied)
    assert done == {number: number * number for number in range(20) if number != 5}


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from tests.test_engines import Square\nfrom dataset_tools.engines import run_local\n"
                      "list(run_local(Square(), range(5), 2, here=False))\n")  # fmt: skip
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    assert "the worker processes cannot start: in a script, call this below" in done.stderr.splitlines()[-1]

"""The engine of more than one machine: what it yields, what a lost worker or machine costs, and that nobody outside is called."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataset_tools.archive import walk
from dataset_tools.engine_ray import PARCEL, run_ray
from dataset_tools.engines import AHEAD, TimedOut, WorkerDied, run_local
from dataset_tools.errors import MissingDependency, OutputError, UsageError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is installed, and no cluster of the person who runs the tests is joined."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'photomend[ray]'", exc_type=ImportError)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


needs_ray = pytest.mark.usefixtures("no_cluster")


@dataclass
class Square:
    """Squares numbers; dies, hangs or raises where it is told to, and notes its process, its calls and its closing."""

    dies_at: int = -1
    hangs_at: int = -1
    raises_at: int = -1
    notes: str = ""
    naps: float = 0.0

    def __call__(self, job: int) -> int:
        if self.notes:
            with open(Path(self.notes) / f"pid-{os.getpid()}", "a") as handle:
                handle.write(f"{job}\n")
        if job == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if job == self.raises_at:
            raise OutputError("no room")
        time.sleep(1000 if job == self.hangs_at else self.naps)
        return job * job

    def open(self) -> None:
        pass

    def close(self) -> None:
        if self.notes:
            (Path(self.notes) / f"closed-{os.getpid()}").touch()


def squares(numbers: range) -> list[tuple[int, int]]:
    return [(number, number * number) for number in numbers]


def crew(notes: Path) -> list[int]:
    return [int(path.name.removeprefix("pid-")) for path in notes.glob("pid-*")]


def wait_until_gone(pids: list[int], seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"pip install 'photomend\[ray\]'"):
        next(run_ray(Square(), range(3), 1, None))


@needs_ray
@pytest.mark.slow
def test_for_no_job_no_cluster_is_started() -> None:
    assert list(run_ray(Square(), [], 1, None, address="ray://never-looked-at")) == []


@needs_ray
@pytest.mark.soak
def test_every_job_is_done_once_jobs_are_read_as_needed_and_workers_are_closed(tmp_path: Path) -> None:
    read = 0

    def jobs() -> Iterator[int]:
        nonlocal read
        for number in range(500):
            read += 1
            yield number

    handler, done = signal.getsignal(signal.SIGTERM), []
    for pair in run_ray(Square(notes=str(tmp_path), naps=0.01), jobs(), 2, None):
        done.append(pair)
        assert read <= len(done) + 2 * AHEAD * PARCEL + PARCEL
        assert signal.getsignal(signal.SIGTERM) is handler
    assert sorted(done) == squares(range(500))
    assert len(list(tmp_path.glob("closed-*"))) == 2
    wait_until_gone(crew(tmp_path), 5)


@needs_ray
@pytest.mark.soak
def test_a_job_that_dies_and_one_that_hangs_cost_only_themselves() -> None:
    done: dict[int, Any] = {}
    for job, result in run_ray(Square(dies_at=45, hangs_at=90), range(200), 2, limit=3.0):
        assert job not in done
        done[job] = result
    assert isinstance(done.pop(45), WorkerDied)
    assert isinstance(done.pop(90), TimedOut)
    assert sorted(done.items()) == [pair for pair in squares(range(200)) if pair[0] not in (45, 90)]


@needs_ray
@pytest.mark.soak
def test_an_error_ends_the_run_as_itself(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^no room$"):
        list(run_ray(Square(raises_at=30, notes=str(tmp_path)), range(500), 2, None))
    wait_until_gone(crew(tmp_path), 5)


@needs_ray
@pytest.mark.soak
def test_a_folder_that_a_machine_does_not_see_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"of the Ray cluster does not see {tmp_path / 'absent'}: put archive and dataset"):
        list(run_ray(Square(), range(5), 1, None, shared=[tmp_path, tmp_path / "absent"]))


@needs_ray
def test_an_address_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match="ray://there:10001 is that of a client"):
        next(run_ray(Square(), range(5), 1, None, address="ray://there:10001"))
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unheard.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"no Ray cluster answers at {address}"):
            next(run_ray(Square(), range(5), 1, None, address=address))


@needs_ray
@pytest.mark.soak
def test_the_same_bytes_as_local_processes(tmp_path: Path, samples: list[Path]) -> None:
    from dataset_tools.staging import PhotoStager, Recipe

    jobs = [(source,) for source in walk([samples[0].parent])[0]]
    made = []
    for name, run in (("local", run_local), ("ray", run_ray)):
        folder = tmp_path / name
        folder.mkdir()
        rows = {job[0].name: result for job, result in run(PhotoStager(Recipe(size=64), folder), jobs, 2, 120.0)}
        made.append((rows, {path.name: path.read_bytes() for path in folder.iterdir()}))
    assert made[0] == made[1]
    assert len(made[0][0]) == len(jobs)
    assert len(made[0][1]) >= len(samples)


@needs_ray
@pytest.mark.soak
def test_a_build_gives_the_same_bytes(tmp_path: Path, samples: list[Path]) -> None:
    from dataset_tools.build import build_dataset
    from dataset_tools.recipe import Recipe

    made = []
    for engine in ("local", "ray"):
        dataset = tmp_path / engine
        build_dataset([samples[0].parent], dataset, Recipe(size=64), workers=2, engine=engine)
        files = (path for path in dataset.rglob("*") if path.is_file() and ".photomend" not in path.parts)
        made.append({path.relative_to(dataset): path.read_bytes() for path in files})
    assert made[0] == made[1]
    assert sum(path.suffix == ".png" for path in made[0]) >= len(samples)


CLUSTER = """
import sys
from pathlib import Path
from ray.cluster_utils import Cluster
from dataset_tools.engine_ray import run_ray
from tests.test_engine_ray import Square, crew, squares

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80_000_000})
second = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
notes = Path(sys.argv[1])
done = {}
for job, result in run_ray(Square(notes=str(notes), naps=0.02), range(600), None, 60.0, address=cluster.address):
    assert job not in done
    done[job] = result
    if len(done) == 100:
        assert len(crew(notes)) == 2  # an actor a machine
        cluster.remove_node(second, allow_graceful=False)
    if len(done) == 400:
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
cluster.shutdown()
assert sorted(done.items()) == squares(range(600)), done
print("whole")
"""


@needs_ray
@pytest.mark.soak
def test_a_machine_that_goes_costs_only_the_work_in_flight(tmp_path: Path) -> None:
    # A cluster that was not begun by ray.init tells Ray's makers even that it tells them nothing: not from here.
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CLUSTER, str(tmp_path)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.splitlines()[-1:] == ["whole"], done.stderr
    started = [int(line) for path in tmp_path.glob("pid-*") for line in path.read_text().split()]
    assert len(started) - 600 <= AHEAD * PARCEL


SCRIPT = """
import sys
from dataset_tools.engine_ray import run_ray
from tests.test_engine_ray import Square
print("begun", flush=True)
for job, result in run_ray(Square(notes=sys.argv[1], naps=0.01, dies_at={dies}), range({jobs}), 2, None):
    if job == 50:
        print("under way", flush=True)
print("done", flush=True)
"""


@pytest.fixture
def short_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """$TMPDIR for a driver that is started; its name is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def start(tmp_path: Path, jobs: int, dies: int = -1, *before: str) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(jobs=jobs, dies=dies))
    notes = tmp_path / "notes"
    notes.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*before, sys.executable, script, notes], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip


@needs_ray
@pytest.mark.soak
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_one_that_began_them(tmp_path: Path, short_tmp: Path, how: signal.Signals) -> None:
    driver = start(tmp_path, 100_000)
    assert driver.stdout
    assert [driver.stdout.readline() for _ in range(2)] == ["begun\n", "under way\n"]
    workers = crew(tmp_path / "notes")
    assert len(workers) == 2
    if how == signal.SIGINT:
        os.killpg(driver.pid, how)  # as a terminal does
        _, told = driver.communicate(timeout=30)
        assert told.splitlines()[-1] == "KeyboardInterrupt"
        assert not list(short_tmp.iterdir())
    else:
        driver.kill()
        driver.communicate(timeout=30)
    wait_until_gone(workers, 5)


@needs_ray
@pytest.mark.soak
def test_nothing_is_said_and_nobody_outside_is_called(tmp_path: Path, short_tmp: Path) -> None:
    log = tmp_path / "log"
    strace = ["strace", "-f", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log)] if shutil.which("strace") else []
    driver = start(tmp_path, 1000, 300, *strace)
    said = driver.communicate(timeout=300)
    if "Operation not permitted" in said[1]:
        pytest.skip("strace may not trace here")
    assert said == ("begun\nunder way\ndone\n", "")
    assert not list(short_tmp.iterdir())
    if strace:
        hosts = re.findall(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"', log.read_text(errors="replace"))
        assert set(hosts) == {"127.0.0.1", "::ffff:127.0.0.1"}

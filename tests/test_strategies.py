"""Several devices, and several workers, train what one process trains. In processes of their own: TensorFlow is set up once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pix2pix.run_folder import RunFolder
from tests.builds import PATIENCE
from tests.training import environment, mosaics, newest, small_presets, split_cpu

pytestmark = pytest.mark.slow

STEPS, EVERY = 24, 8
OPTIONS = ("--preset", "mend", "--batch", 4, "--val-images", 2, "--precision", "float32", "--val-every", EVERY,
           "--checkpoint-every", EVERY, "--steps", STEPS)  # fmt: skip
CLOSE = 1e-4


def record(out: Path, last: int, number: int, words: list[str]) -> int:
    """`photomend train WORDS`, with a line in `out` for each step: its losses, the photos that it saw, what it wrote so far.

    In the step `last` it gets the signal `number`.
    """
    from dataset_tools import files
    from pipelines.cli import run
    from pix2pix import train
    from pix2pix.batches import Batches

    small_presets()
    split_cpu()
    photos: list[str] = []
    written: list[str] = []
    real_at, real_train, real_write = Batches._sample, train.train_model, files.replace_bytes

    def sample(self: Batches, position: int) -> Any:
        photos.append(self.rows[int(self._order(position // len(self))[position % len(self)])].name)
        return real_at(self, position)

    def write(path: Path, *given: Any, **options: Any) -> None:
        written.append(path.name)
        real_write(path, *given, **options)

    def train_model(*given: Any, tell: Any, **options: Any) -> Any:
        def told(event: Any) -> None:
            if event.kind == "step":
                with open(out, "a", encoding="utf-8") as handle:
                    row = {"step": event.step, "losses": dict(event.values), "photos": list(photos), "written": list(written)}
                    handle.write(json.dumps(row) + "\n")
                if event.step == last:
                    os.kill(os.getpid(), number)
            tell(event)

        return real_train(*given, tell=told, **options)

    Batches._sample, files.replace_bytes, train.train_model = sample, write, train_model  # type: ignore[method-assign]
    return run(words)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def recorded(out: Path, *words: object, last: int = 0, number: int = 0, **more: str) -> subprocess.Popen[str]:
    """Starts `record` in a process of its own."""
    code = "import sys; from pathlib import Path; from tests.test_strategies import record; " \
           "sys.exit(record(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))"  # fmt: skip
    line = [sys.executable, "-c", code, str(out), str(last), str(number), "train", *map(str, words)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**more))


def ended(process: subprocess.Popen[str], code: int) -> str:
    said = "".join(process.communicate(timeout=PATIENCE))
    assert process.returncode == code, said
    assert "Traceback" not in said
    return said


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mosaics(tmp_path_factory.mktemp("strategies"))


@pytest.fixture(scope="module")
def alone(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUN of one process, and RUN.jsonl with its steps."""
    run = tmp_path_factory.mktemp("alone") / "run"
    ended(recorded(run.with_suffix(".jsonl"), dataset, run, *OPTIONS), 0)
    return run


def check_close(alone: Path, other: Path, steps: list[dict[str, Any]]) -> None:
    expected = {row["step"]: row["losses"] for row in rows(alone.with_suffix(".jsonl"))}
    for row in steps:
        losses = {name: value for name, value in row["losses"].items() if name != "seconds"}
        assert losses == {name: pytest.approx(expected[row["step"]][name], rel=CLOSE, abs=CLOSE) for name in losses}
    one, several = newest(alone), newest(other)
    assert one.keys() == several.keys()
    for name, value in one.items():
        assert np.allclose(value, several[name], atol=CLOSE), name
    best = [json.loads((run / "best.json").read_text()) for run in (alone, other)]
    assert best[0]["step"] == best[1]["step"]


@pytest.mark.soak
def test_mirrored_on_two_devices(dataset: Path, alone: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "run.jsonl"
    ended(recorded(out, dataset, run, *OPTIONS, "--strategy", "mirrored", CPUS="2"), 0)
    assert json.loads((run / "run.json").read_text())["exact"]["devices"] == 2
    steps = rows(out)
    assert [row["step"] for row in steps] == list(range(1, STEPS + 1))
    check_close(alone, run, steps)


def free_ports(count: int) -> list[int]:
    with_ports = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in with_ports]
    for server in with_ports:
        server.close()
    return ports


def start(
    dataset: Path, run: Path, outs: list[Path], last: tuple[int, int] = (0, 0), number: int = 0
) -> list[subprocess.Popen[str]]:
    """Two workers of one run; those whose `last` is not 0 get the signal `number` in that step."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    tasks = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}} for index in range(2)]
    line = (dataset, run, *OPTIONS, "--strategy", "multiworker")
    return [recorded(out, *line, last=step, number=number, TF_CONFIG=json.dumps(task))
            for out, step, task in zip(outs, last, tasks, strict=True)]  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize(("who", "number"), [(1, signal.SIGKILL), (0, signal.SIGKILL), (0, signal.SIGTERM)])
def test_two_workers_of_which_one_ends(dataset: Path, alone: Path, tmp_path: Path, record_property, who, number) -> None:  # type: ignore[no-untyped-def]
    """The other ends within a minute, with one line; the same commands go on, to what one process comes to."""
    run, outs, last = tmp_path / "run", [tmp_path / f"{index}.jsonl" for index in range(2)], EVERY + 5
    pair = start(dataset, run, outs, last=(0, last) if who else (last, 0), number=number)
    ended(pair[who], 143 if number == signal.SIGTERM else -number)
    moment = time.monotonic()
    said = ended(pair[1 - who], 1)
    assert time.monotonic() < moment + 60
    assert [line for line in said.splitlines() if line.startswith("photomend:")] == [said.splitlines()[-1]] == [
        "photomend: another worker of this run died or cannot be reached: start the same command again on each of them, and it "
        "goes on from the last checkpoint"
    ]  # fmt: skip
    began = last if number == signal.SIGTERM else EVERY  # who is asked to stop saves first
    assert RunFolder(run).steps()[-1] == began
    first = [rows(out) for out in outs]
    assert all(row["step"] <= last for each in first for row in each)
    again = [tmp_path / f"{index}-again.jsonl" for index in range(2)]
    for process in start(dataset, run, again):
        assert f"going on from step {began} " in ended(process, 0)
    second = [rows(out) for out in again]
    for each in second:
        assert [row["step"] for row in each] == list(range(began + 1, STEPS + 1))
    check_close(alone, run, [row for each in (*first, *second) for row in each])

    chief, other = second
    assert other[-1]["written"] == []
    assert {"best.json", "log.jsonl", "model.onnx"} <= set(chief[-1]["written"])
    names = [each[-1]["photos"] for each in second]  # in order, with those loaded ahead
    for step in range(STEPS - began):
        shares = [set(seen[2 * step : 2 * step + 2]) for seen in names]
        if (4 * (began + step)) % 8 == 0:  # a batch within an epoch of 8 photos
            assert not shares[0] & shares[1]
    whole = rows(alone.with_suffix(".jsonl"))[-1]["photos"][4 * began :]
    woven = [name for step in range(STEPS - began) for seen in names for name in seen[2 * step : 2 * step + 2]]
    assert woven == whole
    what = f"{'the first worker' if who == 0 else 'a worker'} of two gets {number.name}: the other ends with one line"
    record_property("what", f"{what}, and both go on to what one process comes to")
    record_property("count", 1)

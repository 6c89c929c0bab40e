"""A training that is killed, stopped, or runs out of disk: the same command goes on, to the same run bit for bit."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dataset_tools import files
from pix2pix.run_folder import RunFolder
from tests.builds import PATIENCE
from tests.training import command, environment, log, mosaics, same_arrays, trained

pytestmark = pytest.mark.soak  # `make test` has runs stopped and resumed: test_exact.py, test_train.py

KILLS = 24
DISKS = 12
STEPS, EVERY = 120, 10
OPTIONS = ("--preset", "tiny", "--batch", 2, "--val-images", 2, "--precision", "float32", "--val-every", EVERY,
           "--checkpoint-every", EVERY)  # fmt: skip


@dataclass
class Scene:
    dataset: Path
    whole: Path  # a run of STEPS that nothing broke
    seconds: float  # from its run.json to its end

    def line(self, run: Path, steps: int = STEPS) -> tuple[object, ...]:
        return (self.dataset, run, *OPTIONS, "--steps", steps)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("train_kills")
    scene = Scene(mosaics(folder), folder / "whole", 0.0)
    done = trained(*scene.line(scene.whole))
    assert done.returncode == 0, done.stderr
    began, ended = ((scene.whole / name).stat().st_mtime for name in ("run.json", "summary.json"))
    return Scene(scene.dataset, scene.whole, ended - began)


def same(one: Path, other: Path) -> None:
    assert same_arrays(one, other) == []
    assert log(one) == log(other)
    for name in ("best.json", "model.onnx", "samples/timeline.png", f"samples/step-{EVERY:06d}.png"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert left_over(other) == []


def left_over(run: Path) -> list[Path]:
    return list(run.rglob(f"{files.TEMPORARY}*"))


def newest_step(run: Path) -> int:
    return (RunFolder(run).steps() or [0])[-1]


@contextlib.contextmanager
def running(*words: object) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A training, and the file that holds what it says."""
    with tempfile.NamedTemporaryFile() as said:
        process = subprocess.Popen(command(*words), stdout=said, stderr=said, env=environment())
        try:
            yield process, Path(said.name)
        finally:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], what: object, pause: float = 0.01) -> None:
    """Until `what()` is true, or the process has ended."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and not what():  # type: ignore[operator]
        assert time.monotonic() < end, "it hangs"
        time.sleep(pause)


def kill_at(process: subprocess.Popen[bytes], said: Path, run: Path, seconds: float | None) -> bool:
    """SIGKILL so many seconds after the model was begun with, or (None) while a checkpoint is written. Whether it struck then."""
    wait_for(process, lambda: b"starting on" in said.read_bytes() or b"going on" in said.read_bytes())
    if seconds is None:
        place = os.fspath(run / "checkpoints")

        def writing() -> bool:
            with contextlib.suppress(FileNotFoundError):
                return any(name.startswith(files.TEMPORARY) for name in os.listdir(place))
            return False

        wait_for(process, writing, pause=0)
    else:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    process.kill()
    process.wait(PATIENCE)
    return bool(left_over(run / "checkpoints"))


def test_killed_at_a_moment(scene: Scene, tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    run, kills, struck, runs = tmp_path / "run0", 0, 0, 0
    expected = "starting on"
    while kills < KILLS:
        # A few in a row, then a new run: else all but the first would meet its end.
        seconds = None if kills % 3 == 1 else float(rng.uniform(0, scene.seconds / 2))
        with running(*scene.line(run)) as (process, said):
            struck += kill_at(process, said, run, seconds)
            text = said.read_text()
        assert process.returncode == -signal.SIGKILL, text
        assert expected in text
        assert "Traceback" not in text
        kills += 1
        step = newest_step(run)
        assert all(len(RunFolder(run).load(each)[0]) > 40 for each in RunFolder(run).steps())  # none is half written
        told = max((row["step"] for row in RunFolder(run).rows()), default=0)
        assert told - EVERY <= step, "more than one interval is lost"
        expected = f"going on from step {step} " if step else "starting on"
        if step == STEPS or kills % 5 == 0 or kills == KILLS:
            done = trained(*scene.line(run))
            assert done.returncode == 0, done.stderr
            assert expected in done.stderr
            same(scene.whole, run)
            runs += 1
            run, expected = tmp_path / f"run{runs}", "starting on"
    assert struck, "no kill struck while a checkpoint was being written"
    record_property("what", f"SIGKILL to a training, {struck} of them while it wrote a checkpoint, started again: bit for bit "
                            "the same weights and log")  # fmt: skip
    record_property("count", kills)


def test_stopped_by_a_signal(scene: Scene, tmp_path: Path) -> None:
    """Ctrl-C, then SIGTERM: each saves the step that it came in, though no checkpoint was due."""
    rare = (scene.dataset, tmp_path / "run", *OPTIONS[:-4], "--val-every", 10**6, "--checkpoint-every", 10**6, "--steps")
    before = 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with running(*rare, 10**6) as (process, said):
            wait_for(process, lambda: any(row["step"] > before + 20 for row in RunFolder(tmp_path / "run").rows()))  # noqa: B023
            process.send_signal(number)
            process.wait(PATIENCE)
            text = said.read_text()
        assert process.returncode == code, text
        assert "Traceback" not in text
        assert text.splitlines()[-1] == ("photomend: stopped; what was finished is kept, and the same command goes on from there")
        assert f"going on from step {before} " in text or not before
        after = newest_step(tmp_path / "run")
        told = [int(step) for step in re.findall(r"^step (\d+)/", text, re.MULTILINE)]
        assert after >= told[-1] > before  # the one that it was in, not that of a round number
        assert after < told[-1] + 50
        before = after


@contextlib.contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", place], capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted as root")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_full(scene: Scene, tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    """It fills up at one point of the training after another; with more room the same command goes on to the same run."""
    needed = int(subprocess.check_output(["du", "-sk", scene.whole]).split()[0])
    disk, failures = tmp_path / "disk", 0
    for share in [0.6, *np.random.default_rng(6).uniform(0.02, 1.1, DISKS - 1)]:
        with small_disk(disk, max(8, int(share * needed))):
            done = trained(*scene.line(disk / "run"))
            if done.returncode:
                failures += 1
                said = [line for line in done.stderr.splitlines() if line.startswith("photomend:")]
                assert (done.returncode, len(said)) == (1, 1), done.stderr
                assert "free some space, then run the same command again" in said[0]
                assert "Traceback" not in done.stderr
                assert left_over(disk / "run") == []
                assert all(len(RunFolder(disk / "run").load(step)[0]) > 40 for step in RunFolder(disk / "run").steps())
                if share == 0.6:  # where it holds a checkpoint or two
                    assert newest_step(disk / "run") >= EVERY
                subprocess.run(["mount", "-o", "remount,size=60m", disk], check=True)
                done = trained(*scene.line(disk / "run"))
                assert done.returncode == 0, done.stderr
            same(scene.whole, disk / "run")
    assert failures
    record_property("what", "full disks (a small file system), each at another point of a training: one line, then the same run")
    record_property("count", failures)

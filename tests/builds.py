"""What tests of whole builds share: how many, in which processes, and what came out. Tests nothing itself."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataset_tools.manifest import STATE

PATIENCE = 600  # seconds after which a build counts as hanging


SOAK = os.environ.get("PHOTOMEND_SOAK") == "1"  # as `python -m bench.soak` sets it


def counts(small: int, full: int) -> int:
    """`full` in a soak, else `small`."""
    return full if SOAK else small


def command(*words: object) -> list[str]:
    """`photomend WORDS`, run by this interpreter."""
    return [sys.executable, "-c", "from pipelines.cli import main; main()", *map(str, words)]


@dataclass
class Ended:
    """How a command ended. `said`: its stdout and stderr together; `peak`: the most that each process took, added up, in MB."""

    code: int
    said: str
    peak: int


def photomend(*words: object, **process: object) -> Ended:
    """Runs `photomend WORDS` to its end, watched; `process` goes to Popen. A command that hangs fails the test."""
    with tempfile.TemporaryFile() as said:
        running = subprocess.Popen(command(*words), stdout=said, stderr=said, start_new_session=True, **process)  # type: ignore[call-overload]
        start, peak = time.monotonic(), 0
        while running.poll() is None:
            peak = max(peak, sum(map(memory, [running.pid, *of_session(running.pid)])))
            if time.monotonic() > start + PATIENCE:
                os.killpg(running.pid, 9)
                raise AssertionError(f"{words} hangs")
            time.sleep(0.1)
        said.seek(0)
        return Ended(running.returncode, said.read().decode("utf-8", "replace"), peak >> 10)


def of_session(leader: int) -> list[int]:
    """The living processes of the session that `leader` began, itself aside."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, _, _, session = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state not in "ZX" and int(name) != leader:
            found.append(int(name))
    return found


def memory(pid: int) -> int:
    """KB: the most memory that a living process has had so far, what it shares with others included."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def published(folder: Path) -> dict[str, str]:
    """Every published file of a dataset and its hash: what must be byte for byte the same however it was built."""
    found = (path for path in folder.rglob("*") if path.is_file() and STATE not in path.relative_to(folder).parts)
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if path.name != "report.html"
    }


def hide(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """From now on `folder` cannot be listed, as without permission (which root would have all the same)."""
    real = os.scandir

    def scandir(path: bytes) -> object:
        if os.fsdecode(path) == str(folder):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("dataset_tools.archive.os.scandir", scandir)


def contents(archive: Path) -> dict[bytes, str]:
    """Every regular file below `archive` and its hash, by its path's bytes: to see that a build changes no input."""
    walked = ((root, name) for root, _, names in os.walk(os.fsencode(archive)) for name in names)
    paths = [path for path in (os.path.join(*each) for each in walked) if os.path.isfile(path) and not os.path.islink(path)]
    return {path: hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest() for path in paths}

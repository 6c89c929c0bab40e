"""SIGKILL at any moment: started again, the dataset is byte for byte the uninterrupted one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_tools import build, image_io
from dataset_tools.build import build_dataset
from dataset_tools.manifest import STATE
from dataset_tools.recipe import Recipe
from dataset_tools.verify import verify_dataset
from tests.builds import PATIENCE, command, counts, of_session, published
from tests.conftest import some, textured

KILLS = counts(2, 20)  # of each kind
PHOTOS = counts(40, 100)


def line_of(archive: Path, dataset: Path, workers: int) -> list[str]:
    options = ("--size", 64, "--group-by", "(wedding|beach)", "--split", "60/20/20", "--workers", workers)
    return command("build", *options, "--", archive, dataset)


def finished(archive: Path, dataset: Path, workers: int) -> float:
    """Runs a build to its end. How many seconds that took."""
    start = time.monotonic()
    done = subprocess.run(line_of(archive, dataset, workers), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return time.monotonic() - start


def write_photo(path: Path, portraits: list[np.ndarray], number: int) -> None:
    """A photo of one or two faces, unlike those of other numbers; some show nobody."""
    rng = np.random.default_rng(number)
    one, other = (portraits[index] for index in rng.choice(len(portraits), 2, replace=False))
    rgb = {0: textured(number, 256, 256), 1: np.hstack([one, other[:, ::-1]])}.get(number % 10, one)
    left, top = rng.integers(0, 40, 2)
    shade = cv2.resize(rng.uniform(0.6, 1.3, (3, 3)).astype(np.float32), rgb.shape[1::-1])
    rgb = (rgb * shade[..., None]).clip(0, 255).astype(np.uint8)[top:, left:]
    image_io.write(path, np.ascontiguousarray(rgb), "JPEG")


@dataclass
class Scene:
    """An archive in its second state, and what uninterrupted builds make of it."""

    archive: Path
    first: Path  # the dataset of the first state: what later builds begin from
    whole: dict[str, str]  # published files of a build of the second state alone
    later: dict[str, str]  # published files of a build of the first state, brought up to date with the second
    seconds: dict[bool, float]  # of an uninterrupted build: from nothing (False), from the first state (True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    from dataset_tools import resources

    folder = tmp_path_factory.mktemp("kills")
    archive = folder / "archive"
    samples = sorted(resources.path("samples").glob("*.jpg"))
    portraits = [cv2.resize(image_io.read(path).rgb8, (320, 320), interpolation=cv2.INTER_AREA) for path in samples]
    places = [f"{('wedding', 'beach', 'other', 'misc')[number % 4]}{number % 7}/{number}.jpg" for number in range(PHOTOS)]
    for number, place in enumerate(places):
        (archive / place).parent.mkdir(parents=True, exist_ok=True)
        write_photo(archive / place, portraits, number)
    (archive / "notes.txt").write_text("no photo")
    finished(archive, folder / "first", 2)
    for number, place in enumerate(places):  # the second state: some are gone, some changed, some are new
        if number % 9 == 0:
            (archive / place).unlink()
        elif number % 7 == 0:
            write_photo(archive / place, portraits, 1000 + number)
    for number in range(PHOTOS // 2):
        write_photo(archive / f"other{number % 7}" / f"new-{number}.jpg", portraits, 2000 + number)
    shutil.copytree(folder / "first", folder / "later")
    seconds = {False: finished(archive, folder / "whole", 2), True: finished(archive, folder / "later", 2)}
    assert verify_dataset(folder / "whole", [archive]) == verify_dataset(folder / "later", [archive]) == []
    whole, later = published(folder / "whole"), published(folder / "later")
    return Scene(archive, folder / "first", whole, later, seconds)


def workers_of(leader: int) -> list[int]:
    def is_worker(pid: int) -> bool:
        try:
            return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    return sorted(filter(is_worker, of_session(leader)))


def wait_for_finishing(process: subprocess.Popen[bytes], dataset: Path, rng: np.random.Generator) -> None:
    """Until the build has begun its finishing step, and up to 0.4 s more."""
    tables, began = dataset / STATE / "next", time.time()

    def begun() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return any(path.stat().st_mtime >= began for path in (tables, tables / "manifest.jsonl"))
        return False

    while process.poll() is None and not begun():
        time.sleep(0.002)
    time.sleep(float(rng.uniform(0, rng.choice([0.02, 0.1, 0.4]))))


def send(process: subprocess.Popen[bytes], who: str, rng: np.random.Generator) -> None:
    """SIGKILL to `who`; to a worker as soon as there is one."""
    with contextlib.suppress(ProcessLookupError):
        if who == "group":
            os.killpg(process.pid, signal.SIGKILL)
        elif who == "parent":
            process.kill()
        while who == "worker" and process.poll() is None:
            if workers := workers_of(process.pid):
                os.kill(int(rng.choice(workers)), signal.SIGKILL)
                return
            time.sleep(0.002)


def start_and_kill(line: list[str], who: str, after: float | None, rng: np.random.Generator) -> str | None:
    """Starts a build and sends SIGKILL to `who` after so many seconds, or (None) in the finishing step.

    Returns its exit code and what it said, if it ended by itself. Workers must be gone within a second of their parent's death.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)
        if after is None:
            wait_for_finishing(process, Path(line[-1]), rng)
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after)
        if process.poll() is None:
            send(process, who, rng)
        process.wait(PATIENCE)
        died = time.monotonic()
        while (left := of_session(process.pid)) and time.monotonic() < died + 1:
            time.sleep(0.005)
        assert not left, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
        if process.returncode == -signal.SIGKILL:
            return None
        said.seek(0)
        return f"{process.returncode} {said.read().decode(errors='replace')}"


def moments(seed: int) -> Iterator[tuple[int, bool, int, list[float | None], np.random.Generator]]:
    """(number, from the first state?, workers, when, rng), KILLS of them. When: share of a whole run; None: finishing step."""
    for number in range(KILLS):
        rng = np.random.default_rng((seed, number))
        several = int(rng.choice([1, 1, 1, 2, 3]))
        share = (number + rng.random()) / KILLS  # spread over the whole run
        shares: list[float | None] = [None if number % 3 == 2 else share, *rng.random(several - 1)]
        yield number, bool(number % 2), 1 + int(rng.random() < 0.7), shares, rng


@pytest.mark.slow
@pytest.mark.parametrize("who", some(["parent"], soak=["worker", "group"]))
def test_killed_at_a_moment(scene: Scene, tmp_path: Path, who: str, record_property) -> None:  # type: ignore[no-untyped-def]
    landed = 0
    for number, again, workers, shares, rng in moments({"parent": 1, "worker": 2, "group": 3}[who]):
        if who == "worker":  # which the finishing step does not have
            shares = [0.95 if share is None else share for share in shares]
        dataset = tmp_path / f"ds{number}"
        if again:
            shutil.copytree(scene.first, dataset)
        line = line_of(scene.archive, dataset, workers)
        for share in shares:
            ended = start_and_kill(line, who, share and share * scene.seconds[again], rng)
            landed += ended is None or who == "worker"
            assert ended is None or ended.startswith("0 "), (number, again, workers, shares, ended)
            assert "Traceback" not in (ended or "")
        if who != "worker":  # whose parent goes on by itself
            finished(scene.archive, dataset, workers)
        assert published(dataset) == (scene.later if again else scene.whole), (number, again, workers, shares)
        assert verify_dataset(dataset, [scene.archive]) == []
        shutil.rmtree(dataset)
    record_property(
        "what", f"SIGKILL to {'the ' if who != 'worker' else 'a '}{who}, started again: byte for byte the same dataset"
    )
    record_property("count", landed)


@pytest.mark.soak
def test_killed_again_and_again(scene: Scene, tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    """Killed long before its end, as often as it takes until what is left fits between two kills."""
    rng = np.random.default_rng(4)
    kills = 0
    for again in (False, True):
        dataset = tmp_path / f"ds{again}"
        if again:
            shutil.copytree(scene.first, dataset)
        for _ in range(20):
            share = float(rng.uniform(0.2, 0.6))
            if start_and_kill(line_of(scene.archive, dataset, 2), "parent", share * scene.seconds[again], rng):
                break
            kills += 1
        finished(scene.archive, dataset, 2)
        assert published(dataset) == (scene.later if again else scene.whole)
    record_property("what", "SIGKILL to the parent, several in a row until the build is through")
    record_property("count", kills)


def test_a_photo_that_is_put_back(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of a changed photo is killed between its pair and its entry in the journal; then the old photo returns."""
    recipe = Recipe(size=64, crop="center")
    archive = write_photos({"a.png": 1, "b.png": 2})
    build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    before = published(tmp_path / "ds")
    shutil.copy2(archive / "a.png", tmp_path / "kept.png")
    write_photos({"a.png": 3})

    class Killed(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(build.Journal, "add", stop)
        with pytest.raises(Killed):
            build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    shutil.copy2(tmp_path / "kept.png", archive / "a.png")
    build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    assert published(tmp_path / "ds") == before
    assert verify_dataset(tmp_path / "ds", [archive]) == []

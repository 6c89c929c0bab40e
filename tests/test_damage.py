"""Archives as they are: damaged files, hostile names, links in circles, disks that fill up. Every photo has its row."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataset_tools import build, image_io, pairs
from dataset_tools.build import build_dataset
from dataset_tools.manifest import STATE, read_rows
from dataset_tools.recipe import Recipe
from dataset_tools.staging import PhotoStager
from dataset_tools.verify import verify_dataset
from tests import damage, hostile
from tests.builds import contents, counts, photomend, published
from tests.conftest import some

CENTER = Recipe(size=64, crop="center")
AS_CENTER = ("--size", 64, "--crop", "center", "--workers", 2)
MEMORY = 1500  # MB, for a parent and two workers
DAMAGED = counts(40, 500)


def photo_rows(dataset: Path) -> dict[str, dict]:
    rows = [row for row in read_rows(dataset / "manifest.jsonl") if row["kind"] == "photo"]
    assert len({row["source"] for row in rows}) == len(rows)
    return {row["source"]: row for row in rows}


def grey_below(rgb: np.ndarray) -> int:
    """Rows at the bottom that are exactly the grey which a JPEG decoder makes up where data is missing."""
    return int(np.cumprod((rgb[::-1] == 128).all((1, 2))).sum())


def check_pairs(dataset: Path) -> None:
    """Every pair opens, and none shows a picture of which a part was made up."""
    for row in read_rows(dataset / "manifest.jsonl"):
        if row.get("pair"):
            _, b = pairs.split(image_io.read(dataset / row["pair"]).rgb8)
            assert b.shape == (64, 64, 3)
            assert grey_below(b) == 0, row["source"]


def check_counts(dataset: Path) -> dict:
    told: dict = json.loads((dataset / "dataset.json").read_text())["counts"]
    assert told["files"] == told["not_images"] + told["photos"]["all"]
    for kind in ("photos", "faces"):
        assert told[kind]["all"] == sum(number for status, number in told[kind].items() if status != "all")
    rows = list(photo_rows(dataset).values())
    assert told["photos"] == {
        "all": len(rows),
        **{s: sum(r["status"] == s for r in rows) for s in ("kept", "rejected", "failed")},
    }
    return told


@pytest.mark.slow
@pytest.mark.parametrize("crop", some(["faces"], soak=["center"]))
def test_damaged_files(tmp_path: Path, samples: list[Path], crop: str, record_property) -> None:  # type: ignore[no-untyped-def]
    archive, dataset = tmp_path / "archive", tmp_path / "ds"
    archive.mkdir()
    for path in samples[:12]:
        shutil.copy(path, archive / f"good-{path.name}")
    expected = {f"good-{path.name}": frozenset({None}) for path in samples[:12]}
    expected |= damage.fill(archive, DAMAGED, seed={"center": 1, "faces": 2}[crop])
    expected |= hostile.fill_names(archive)
    expected |= hostile.fill_specials(archive, tmp_path / "outside")
    before, beside = contents(tmp_path), set(os.listdir(tmp_path))
    ended = photomend("build", "--size", 64, "--crop", crop, "--workers", 2, "--time-limit", 90, archive, dataset)
    check_output(ended.said)
    assert ended.code == 3
    rows = photo_rows(dataset)
    wrong = {name: rows[name]["reason"] if name in rows else "no row" for name, reasons in expected.items()
             if name not in rows or rows[name]["reason"] not in reasons}  # fmt: skip
    assert not wrong
    assert not rows.keys() - expected.keys()
    assert {row["status"] for row in rows.values() if row["reason"] not in damage.GOOD} == {"failed"}
    check_pairs(dataset)
    check_counts(dataset)
    assert verify_dataset(dataset, [archive]) == []
    built = published(dataset)
    again = photomend("build", "--size", 64, "--crop", crop, "--workers", 2, "--json", archive, dataset)
    passing = sum(row["reason"] in build.PASSING for row in rows.values())
    assert answer(again.said)["reused"] == check_counts(dataset)["files"] - passing
    assert published(dataset) == built
    shutil.rmtree(dataset)
    assert (contents(tmp_path), set(os.listdir(tmp_path))) == (before, beside)
    assert ended.peak < MEMORY
    record_property(
        "what", f"damaged and hostile files in one archive (--crop {crop}): one row each, memory at most {ended.peak} MB"
    )
    record_property("count", len(expected) - 12)


def answer(said: str) -> dict:
    """The line of JSON that --json prints; a note on stderr may follow."""
    return json.loads(next(line for line in said.splitlines() if line.startswith("{")))


def check_output(said: str) -> None:
    """No traceback, and nothing that could drive a terminal."""
    assert "Traceback" not in said, said
    assert all(character.isprintable() or character == "\n" for character in said), said


@pytest.mark.slow
def test_folders_in_folders(tmp_path: Path) -> None:
    """Deeper than Python's stack, and than the longest path that can be opened."""
    (tmp_path / "archive").mkdir()
    damage.portrait(1).save(tmp_path / "archive" / "a.jpg")
    here = os.open(tmp_path / "archive", os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        report = build_dataset([tmp_path / "archive"], tmp_path / "ds", CENTER, workers=0)
        assert (report.counts["photos"]["kept"], report.counts["reasons"]) == (1, {"photo:unreadable": 1})
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "archive"], check=True)  # shutil.rmtree gives up on it


@pytest.mark.slow
def test_files_that_vanish_change_and_grow(write_photos, tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    """Someone works in the archive during the build. A later, quiet build makes good whatever was seen amid a change."""
    number = counts(50, 400)
    names = [f"{index}.{'jpg' if index % 2 else 'png'}" for index in range(number)]
    archive = write_photos({name: index for index, name in enumerate(names)}, height=500, width=500)
    stop, done = threading.Event(), Counter[str]()

    def meddle() -> None:
        rng = np.random.default_rng(5)
        while not stop.wait(0.002):
            path = archive / names[int(rng.integers(number))]
            how = str(rng.choice(["vanish", "cut", "grow", "rewrite", "pipe", "return"]))
            done[how] += 1
            if how in ("vanish", "pipe"):
                path.unlink(missing_ok=True)
            if how == "pipe":
                os.mkfifo(path)
            if not path.exists() and how in ("return", "rewrite"):
                write_photos({path.name: int(rng.integers(10_000))}, height=500, width=500)
            elif path.is_file() and how != "return":
                data = path.read_bytes()
                with open(path, "wb") as handle:  # in place, and in two steps, as a slow copy does
                    handle.write(data[: len(data) // 2])
                    handle.flush()
                    time.sleep(0.001)
                    handle.write({"cut": b"", "grow": data[len(data) // 2 :] + bytes(5000)}.get(how, data[len(data) // 2 :]))

    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        report = build_dataset([archive], tmp_path / "ds", CENTER, workers=2, time_limit=60)
    finally:
        stop.set()
        thread.join()
    assert report.counts["photos"]["all"] == number
    assert set(report.counts["reasons"]) <= {f"photo:{reason}" for reason in ("truncated", "unreadable", "corrupt", "empty")}
    check_counts(tmp_path / "ds")
    check_pairs(tmp_path / "ds")
    assert verify_dataset(tmp_path / "ds") == []
    build_dataset([archive], tmp_path / "ds", CENTER, workers=2)
    build_dataset([archive], tmp_path / "whole", CENTER, workers=2)
    assert verify_dataset(tmp_path / "ds", [archive]) == []
    facts = [{name: (row["status"], row["reason"], row["sha256"]) for name, row in photo_rows(tmp_path / folder).items()
              if row["reason"] != "bridges_splits"} for folder in ("ds", "whole")]  # fmt: skip
    assert facts[0].items() <= facts[1].items()
    record_property(
        "what", f"changes to an archive of {number} photos while it is read (vanish, cut, grow, rewrite, become a pipe)"
    )
    record_property("count", sum(done.values()))


def as_a_person() -> None:
    """In a child, before exec: root loses the right to read what nobody may read."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP


@pytest.mark.slow
def test_no_permission(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.jpg": 1, "closed.jpg": 2, "folder/b.jpg": 3, "folder/c.jpg": 4})
    locked = (archive / "closed.jpg", archive / "folder")
    for path in locked:
        path.chmod(0)
    if subprocess.run(["cat", locked[0]], capture_output=True, preexec_fn=as_a_person).returncode == 0:
        pytest.skip("permissions do not bind here")
    ended = photomend("build", *AS_CENTER, archive, tmp_path / "ds", preexec_fn=as_a_person)
    check_output(ended.said)
    reasons = {name: row["reason"] for name, row in photo_rows(tmp_path / "ds").items()}
    assert reasons == {"a.jpg": None, "closed.jpg": "unreadable", "folder": "unreadable"}
    assert "Permission denied" in photo_rows(tmp_path / "ds")["closed.jpg"]["detail"]
    for path in locked:
        path.chmod(0o755)
    ended = photomend("build", *AS_CENTER, archive, tmp_path / "ds", preexec_fn=as_a_person)
    assert (ended.code, len(photo_rows(tmp_path / "ds"))) == (0, 4)
    assert verify_dataset(tmp_path / "ds", [archive]) == []


@contextlib.contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted as root")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def say_so(ended) -> None:  # type: ignore[no-untyped-def]
    check_output(ended.said)
    last = [line for line in ended.said.splitlines() if not line.startswith(("building:", "note:"))]
    assert (ended.code, len(last)) == (1, 1), ended.said
    assert "free some space, then run the same command again" in last[0]


@pytest.mark.slow
def test_a_disk_that_is_full(write_photos, tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    """It fills up at one point of the build after another; with more room the same command goes on to the same dataset."""
    archive = write_photos({f"{number % 5}/{number}.jpg": number for number in range(60)})
    line = ("build", *AS_CENTER, archive)
    assert photomend(*line, tmp_path / "whole").code == 0
    whole = published(tmp_path / "whole")
    needed = int(subprocess.check_output(["du", "-sk", tmp_path / "whole"]).split()[0])
    disk, failures = tmp_path / "disk", 0
    for share in np.random.default_rng(6).permutation(np.linspace(0.02, 1.1, counts(3, 24))):
        with small_disk(disk, max(8, int(share * needed))):
            ended = photomend(*line, disk / "ds")
            if ended.code:
                failures += 1
                say_so(ended)
                subprocess.run(["mount", "-o", "remount,size=60m", disk], check=True)
                assert photomend(*line, disk / "ds").code == 0
            assert published(disk / "ds") == whole
            assert verify_dataset(disk / "ds", [archive]) == []
    assert failures
    record_property(
        "what", "full disks (a small file system), each at another point of the build: one line, then the same dataset"
    )
    record_property("count", failures)


@pytest.mark.soak  # `make test` has a disk that is full
def test_files_that_may_not_grow(write_photos, tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    """A limit on the size of a file, which meets the pairs, the journal, the manifest and the report in turn."""
    archive = write_photos({f"{number}.jpg": number for number in range(60)})
    line = ("build", *AS_CENTER, archive)
    assert photomend(*line, tmp_path / "whole").code == 0
    sizes = sorted({path.stat().st_size for path in (tmp_path / "whole").rglob("*")} - {0})
    sizes = [size for size in sizes if size > 1000]  # what a command says must fit into a file, too
    limits = [1000, *np.random.default_rng(7).permutation([size - 1 for size in sizes])[:20], sizes[-1] - 1]
    for limit in map(int, limits):

        def limited(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        ended = photomend(*line, tmp_path / "ds", preexec_fn=limited)
        if ended.code:
            say_so(ended)
        assert photomend(*line, tmp_path / "ds").code == 0
        assert published(tmp_path / "ds") == published(tmp_path / "whole")
        shutil.rmtree(tmp_path / "ds")
    record_property("what", "limits on the size of a file: one line, then the same dataset")
    record_property("count", len(limits))


@pytest.mark.parametrize("moment", ["open", "read"])
def test_a_disk_that_cannot_be_read(write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    archive = write_photos({f"{number}.png": number for number in range(4)})
    real = open

    class Failing(io.FileIO):
        def readall(self) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        def readinto(self, buffer: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

    def failing(path, mode="r", *arguments, **named):  # type: ignore[no-untyped-def]
        if not str(path).endswith("/2.png") or "ds" in str(path):
            return real(path, mode, *arguments, **named)
        if moment == "open":
            raise OSError(errno.EIO, "Input/output error")
        return io.BufferedReader(Failing(path))

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", failing)
        first = build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert (first.counts["reasons"], first.passing) == ({"photo:unreadable": 1}, 1)
    assert "Input/output error" in photo_rows(tmp_path / "ds")["2.png"]["detail"]
    second = build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    assert (second.reused, second.counts["photos"]["kept"], second.passing) == (3, 4, 0)
    build_dataset([archive], tmp_path / "whole", CENTER, workers=0)
    assert {name: row["sha256"] for name, row in photo_rows(tmp_path / "ds").items()} == {
        name: row["sha256"] for name, row in photo_rows(tmp_path / "whole").items()
    }


class Troubled(PhotoStager):
    """Hangs on photos called hang*, dies on those called die*, as a decoder might."""

    def __call__(self, job):  # type: ignore[no-untyped-def]
        if job[0].name.startswith("hang"):
            time.sleep(1000)
        if job[0].name.startswith("die"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().__call__(job)


@pytest.mark.soak  # `make test` has one that kills: test_build.py
@pytest.mark.parametrize("workers", [1, 2])
def test_photos_that_hang_or_kill(
    write_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, record_property
) -> None:  # type: ignore[no-untyped-def]
    """Each costs its own row alone, though others wait behind it in its worker's queue, and is tried again by the next build."""
    hangs, dies = 3, 5
    troubled = {f"hang{number}.png": number for number in range(hangs)} | {
        f"die{number}.png": 10 + number for number in range(dies)
    }
    archive = write_photos({f"{number:02}.png": 20 + number for number in range(20)} | troubled)
    with monkeypatch.context() as patch:
        patch.setattr(build, "PhotoStager", Troubled)
        for reused in (0, 20):
            report = build_dataset([archive], tmp_path / "ds", CENTER, workers=workers, time_limit=3)
            assert report.counts["reasons"] == {"photo:time_limit": hangs, "photo:worker_died": dies}
            assert (report.counts["photos"]["kept"], report.reused, report.passing) == (20, reused, hangs + dies)
    report = build_dataset([archive], tmp_path / "ds", CENTER, workers=workers)
    assert (report.counts["photos"]["kept"], report.counts["photos"]["failed"], report.reused) == (20 + hangs + dies, 0, 20)
    assert verify_dataset(tmp_path / "ds", [archive]) == []
    record_property(
        "what", f"photos that hang or kill the process that decodes them, twice each ({workers} of --workers): a row each"
    )
    record_property("count", 2 * (hangs + dies))


@pytest.mark.slow
def test_what_a_later_build_costs_and_says(write_photos, tmp_path: Path) -> None:
    archive = write_photos({f"{number}.png": number for number in range(40)})
    line = ("build", *AS_CENTER, "--json", archive, tmp_path / "ds")

    def told(*arguments: object) -> tuple[dict, str]:
        ended = photomend(*arguments)
        assert ended.code == 0, ended.said
        return answer(ended.said), ended.said

    assert told(*line)[0]["reused"] == 0
    first = published(tmp_path / "ds")
    assert told(*line)[0]["reused"] == 40
    assert published(tmp_path / "ds") == first
    write_photos({f"new{number}.png": 100 + number for number in range(10)})
    result, _ = told(*line)
    assert (result["reused"], result["counts"]["files"]) == (40, 50)
    write_photos({"3.png": 300, "4.png": 400})
    for name in ("5.png", "6.png", "7.png"):
        (archive / name).unlink()
    result, said = told(*line)
    assert (result["reused"], result["counts"]["files"]) == (45, 47)
    assert "note: 3 photos of the last build were no longer in the archive; their pairs were removed" in said
    assert "note: 2 photos changed since the last build, and were worked on again" in said
    kept = published(tmp_path / "ds")
    refused = photomend("build", "--size", 32, "--crop", "center", archive, tmp_path / "ds")
    assert (refused.code, published(tmp_path / "ds")) == (1, kept)
    assert "was made with another recipe (--size was 64, is 32): choose another folder, or add --fresh" in refused.said
    check_output(refused.said)


@pytest.mark.parametrize("name", ["recipe.json", "journal.sqlite", "dataset.json", "manifest.jsonl"])
@pytest.mark.parametrize("harm", ["cut", "garbage", "empty"])
def test_a_dataset_that_is_damaged(write_photos, tmp_path: Path, name: str, harm: str) -> None:
    """A later build ends in one line that says what to do, or goes on to a whole dataset; --fresh always does."""
    from dataset_tools.errors import PhotomendError

    archive = write_photos({f"{number}.png": number for number in range(6)})
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
    whole = published(tmp_path / "ds")
    path = tmp_path / "ds" / (STATE if name in ("recipe.json", "journal.sqlite") else "") / name
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "garbage": b"\xff\0{" + data[3:], "empty": b""}[harm])
    write_photos({"new.png": 99})
    said = "it went on"
    try:
        build_dataset([archive], tmp_path / "ds", CENTER, workers=0)
        assert verify_dataset(tmp_path / "ds", [archive]) == []
    except PhotomendError as error:
        said = str(error)
    assert said == "it went on" or ("--fresh" in said and "\n" not in said)
    (archive / "new.png").unlink()
    build_dataset([archive], tmp_path / "ds", CENTER, workers=0, fresh=True)
    assert published(tmp_path / "ds") == whole

"""What the README says of building: cpu, speed and memory, as Markdown tables. bench/README.md explains each figure.

python -m bench.build [--parts cpu,peer,workers,memory,again] [--photos 48] [--rounds 5] [--quick] [--work FOLDER]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import cv2
from PIL import Image

from bench import photos
from dataset_tools import build, crops, degradations, files, finish, image_io, journal, pairs, staging
from dataset_tools.build import BuildReport, build_dataset

Row = Sequence[Any]

SPLIT = {  # label -> what is timed under it; a function that calls another is not told the other's time
    "read and hash": ((staging, "read_source"), (staging, "sha256")),
    "decode": ((image_io, "decode"), (image_io, "_to_srgb")),
    "detect": (),  # FaceSearch.detect, imported late
    "crop": ((crops, "crop"),),
    "encode": ((image_io, "encode_png"), (pairs, "stitch")),
    "- perceptual hashes": ((staging, "perceptual_hash"),),
    "- degrade": ((degradations, "draw"), (degradations, "apply")),
    "- write the pair": ((files, "replace_bytes"),),
    "- journal": ((journal.Journal, "add"), (journal.Journal, "ask_for_all")),
    "- finish": ((build, "finish"),),
}
REPORT = ((finish, "write_report"), (finish, "pairs_grid"))  # once a build, and bounded: kept apart from what a photo costs


def table(title: str, head: Row, rows: Sequence[Row]) -> None:
    """Prints a Markdown table."""
    print(f"\n### {title}\n")
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    sys.stdout.flush()


def verdict(value: float, limit: float, *, least: bool = False) -> str:
    """ "<= 3: yes", or "no"."""
    return f"{'>=' if least else '<='} {limit:g}: {'yes' if (value >= limit if least else value <= limit) else 'no'}"


def spread(values: Sequence[float]) -> str:
    """The median, and the smallest and largest behind it."""
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


# --- cpu: ours, the floor and a full decode, in one process, in turn


class Split:
    """cpu seconds of this process (all its threads) by label, each without what was spent in another label below it."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._below = [0.0]
        self._in_report = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        from dataset_tools.face_search import FaceSearch

        with ExitStack() as stack:
            for label, places in {**SPLIT, "detect": ((FaceSearch, "detect"),), "report": REPORT}.items():
                for owner, name in places:
                    stack.enter_context(patch.object(owner, name, self._timed(label, getattr(owner, name))))
            yield

    def _timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            if self._in_report:
                return function(*given, **named)
            self._in_report = label == "report"
            self._below.append(0.0)
            start = time.process_time()
            try:
                return function(*given, **named)
            finally:
                took = time.process_time() - start
                self.spent[label] += took - self._below.pop()
                self._below[-1] += took
                self._in_report = False

        return timed


def cpu() -> float:
    """User and system seconds of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def built(archive: Path, work: Path, **means: Any) -> BuildReport:
    """A dataset of `archive` from nothing."""
    shutil.rmtree(work / "dataset", ignore_errors=True)
    return build_dataset([archive], work / "dataset", **means)


def slope(run: Callable[[Path], Any], few: Path, many: Path, clock: Callable[[], float]) -> float:
    """What one photo more costs: start-up is in both runs, and cancels out; the report of a build is left aside."""
    spent = []
    for archive in (few, many):
        with reports_aside(clock) as aside:
            start = clock()
            run(archive)
            spent.append(clock() - start - sum(aside))
    return (spent[1] - spent[0]) / (len(os.listdir(many)) - len(os.listdir(few)))


@contextmanager
def reports_aside(clock: Callable[[], float]) -> Iterator[list[float]]:
    """What the builds inside of it spend on their reports and cards."""
    aside: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            start = clock()
            result = function(*given)
            aside.append(clock() - start)
            return result

        return call

    with ExitStack() as stack:
        for owner, name in REPORT:
            stack.enter_context(patch.object(owner, name, timed(getattr(owner, name))))
        yield aside


def floor(archive: Path) -> None:
    """Reads and decodes every JPEG at 1/8, as the builder's decoder does."""
    for path in sorted(archive.iterdir()):
        image = Image.open(io.BytesIO(path.read_bytes()), formats=["JPEG"])
        image.draft(None, (image.width // 8, image.height // 8))
        image.load()


def part_cpu(few: Path, many: Path, work: Path, rounds: int) -> None:
    cv2.setNumThreads(1)  # as in a worker
    report = built(many, work, workers=0)  # also loads what is loaded once
    kept, total = report.counts["photos"]["kept"], report.counts["photos"]["all"]
    number = len(os.listdir(many)) - len(os.listdir(few))
    costs: dict[str, list[float]] = {"floor": [], "ours": [], "worker": [], "full": []}
    split: dict[str, list[float]] = {}
    reports: list[float] = []
    for _ in range(rounds):
        costs["floor"].append(slope(floor, few, many, cpu) * 1000)
        shares: list[Counter[str]] = []

        def ours(archive: Path, shares: list[Counter[str]] = shares) -> None:
            watch = Split()
            with watch.watching():
                built(archive, work, workers=0)
            shares.append(watch.spent)

        costs["ours"].append(slope(ours, few, many, cpu) * 1000)
        for label in SPLIT:
            split.setdefault(label, []).append((shares[1][label] - shares[0][label]) / number * 1000)
        reports.append(shares[1]["report"] * 1000)
        costs["worker"].append(slope(lambda archive: built(archive, work, workers=1), few, many, cpu) * 1000)
        with patch.object(staging, "_coarsest", lambda room: 1):
            costs["full"].append(slope(lambda archive: built(archive, work, workers=0), few, many, cpu) * 1000)

    def ratio(values: Sequence[float]) -> list[float]:
        return [value / base for value, base in zip(values, costs["floor"], strict=True)]

    base = ratio(costs["ours"])
    others = [all - detect for all, detect in zip(costs["ours"], split["detect"], strict=True)]
    known = [sum(values) for values in zip(*split.values(), strict=True)]
    rest = [all - timed for all, timed in zip(costs["ours"], known, strict=True)]
    times = [full / ours for full, ours in zip(costs["full"], costs["ours"], strict=True)]
    rows: list[Row] = [
        ("floor: 1/8-scale decode by Pillow", spread(costs["floor"]), 1.0, ""),
        ("**build, in one process**", spread(costs["ours"]), spread(base), verdict(median(base), 3)),
        ("everything but detection", spread(others), spread(ratio(others)), verdict(median(ratio(others)), 1.7)),
        *((label, spread(values), median(ratio(values)), "") for label, values in split.items() if label[0] != "-"),
        ("the rest", spread(small := [a + sum(split[n][i] for n in split if n[0] == "-") for i, a in enumerate(rest)]),
         median(ratio(small)), ""),
        *((label, spread(values), median(ratio(values)), "") for label, values in split.items() if label[0] == "-"),
        ("- all else", spread(rest), median(ratio(rest)), ""),
        ("build, with 1 worker process", spread(costs["worker"]), spread(ratio(costs["worker"])), ""),
        ("build, full decode by Pillow", spread(costs["full"]), spread(ratio(costs["full"])), ""),
        ("full decode / ours", "", spread(times), verdict(median(times), 4, least=True)),
        (f"aside: report and card of the {len(os.listdir(many))} photos, once a build", spread(reports), "", ""),
    ]  # fmt: skip
    table(f"cpu per photo, {rounds} rounds in turn; {kept} of {total} photos give a pair",
          ("", "ms (median, range)", "times the floor", "target"), rows)  # fmt: skip


# --- speed: autocrop, and two workers


def part_peer(few: Path, many: Path, work: Path, rounds: int, autocrop: Path | None) -> None:
    """Wall time against autocrop: its CLI, one process a photo as its manual says, and its Cropper in a loop in one process."""
    program = autocrop or installed_autocrop(work)
    loop = """if True:
        import sys, time
        from PIL import Image
        from autocrop import Cropper
        cropper = Cropper(256, 256)
        for path in sys.argv[1:]:
            start = time.perf_counter()
            image = cropper.crop(path).image
            if image is not None:
                Image.fromarray(image).save(path + ".png")
            print(time.perf_counter() - start)
    """
    some = sorted(photos.links(work / "links-peer", sorted(many.iterdir())[:8]).glob("*.jpg"))

    def in_a_loop() -> float:
        """Seconds a photo, of eight, without imports and without the first photo, which loads the model."""
        told = subprocess.run([program.parent / "python", "-c", loop, *some], check=True, capture_output=True, text=True)
        return median(map(float, told.stdout.split()[1:]))

    def cli() -> float:
        """Seconds a photo, of eight: it starts anew for each."""
        start = time.perf_counter()
        for path in some:  # exit code 1: it saw no face
            subprocess.run([program, path, "-w", "256", "-H", "256", "-o", f"{path}.png"], capture_output=True)
        return (time.perf_counter() - start) / len(some)

    ways: dict[str, Callable[[Path], Any]] = {
        "ours, 2 workers": lambda archive: built(archive, work, workers=2),
        "ours, 1 worker": lambda archive: built(archive, work, workers=1),
    }
    peers = {"autocrop's command, one call a photo": cli, "autocrop's Cropper, in one process": in_a_loop}
    wall: dict[str, list[float]] = {name: [] for name in (*ways, *peers)}
    for _ in range(rounds):
        for name, run in ways.items():
            wall[name].append(slope(run, few, many, time.perf_counter))
        for name, measure in peers.items():
            wall[name].append(measure())
    cropped = len(list((work / "links-peer").glob("*.png")))
    rows: list[Row] = []
    for peer in peers:
        for mine in ways:
            ratios = [theirs / ours for theirs, ours in zip(wall[peer], wall[mine], strict=True)]
            speeds = (1 / median(wall[mine]), 1 / median(wall[peer]))
            rows.append((mine, peer, *speeds, spread(ratios), verdict(median(ratios), 3, least=True)))
    table(f"photos/s beside autocrop {version_of(program)}, our start-up aside (it finds a face in {cropped} of {len(some)})",
          ("", "", "ours", "autocrop's", "ratio", "target"), rows)  # fmt: skip


def installed_autocrop(work: Path) -> Path:
    """autocrop 2.0 in a virtual environment of its own, since it wants another OpenCV."""
    program = work / "autocrop" / "bin" / "autocrop"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", work / "autocrop"], check=True)
        subprocess.run([program.with_name("pip"), "install", "--quiet", "autocrop==2.0.*"], check=True)
    return program


def version_of(program: Path) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True).stdout.split()[-1]


def calm(patience: int = 180) -> float:
    """The load average (1 minute) once what this bench did before has left it, or after `patience` seconds."""
    while os.getloadavg()[0] > 0.25 and (patience := patience - 5) > 0:
        time.sleep(5)
    return os.getloadavg()[0]


def part_workers(few: Path, many: Path, work: Path, rounds: int) -> None:
    before = calm()
    walls: list[tuple[float, float]] = []
    for _ in range(rounds):
        one, two = (
            slope(lambda archive, workers=workers: built(archive, work, workers=workers), few, many, time.perf_counter)
            for workers in (1, 2)
        )
        walls.append((one, two))
    ratios = [one / two for one, two in walls]
    valid = "" if before <= 0.5 else " **not valid: the machine was not idle**"
    row = (1 / median(one for one, _ in walls), 1 / median(two for _, two in walls), spread(ratios), f"{before:.2f}",
           verdict(median(ratios), 1.7, least=True) + valid)  # fmt: skip
    table("photos/s of 1 and 2 workers, start-up aside", ("1 worker", "2 workers", "ratio", "load before", "target"), [row])


# --- memory, and building again: the command itself


def command(archive: Path, dataset: Path, *options: str) -> list[str]:
    code = "from pipelines.cli import main; main()"
    return [sys.executable, "-c", code, "build", str(archive), str(dataset), "--workers", "2", *options]


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


def part_memory(archives: dict[str, Path], work: Path, crop: str) -> None:
    """`archives`: name -> folder; the last two are few and many of the same kind."""
    peaks: dict[str, Peaks] = {}
    rows: list[Row] = []
    for name, archive in archives.items():
        shutil.rmtree(work / "dataset", ignore_errors=True)
        start = time.perf_counter()
        process = subprocess.Popen(
            command(archive, work / "dataset", "--crop", crop), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
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
        f"Peak memory, MB of PSS (own: mapped from no file), 2 workers, --crop {crop}",
        ("photos", "parent", "workers", "tree", "s", "target"),
        rows,
    )


def part_again(small: list[Path], work: Path, rounds: int) -> None:
    """The same archive again, and with ten photos more; the command as a person runs it, start-up included."""
    few, ten, dataset = small[:-10], small[-10:], work / "again"
    first, second, added, alone = [], [], [], []

    def timed(archive: Path, target: Path) -> tuple[float, float]:
        start = (time.perf_counter(), cpu())
        subprocess.run(command(archive, target), check=True, capture_output=True)
        return time.perf_counter() - start[0], cpu() - start[1]

    for _ in range(rounds):
        shutil.rmtree(dataset, ignore_errors=True)
        archive = photos.links(work / "links-again", few)
        first.append(timed(archive, dataset))
        second.append(timed(archive, dataset))
        added.append(timed(photos.links(archive, small), dataset))
        shutil.rmtree(work / "dataset", ignore_errors=True)
        alone.append(timed(photos.links(work / "links-ten", ten), work / "dataset"))
    rows: list[Row] = []
    for unit, at in (("wall", 0), ("cpu", 1)):
        a, b, c, d = ([each[at] for each in runs] for runs in (first, second, added, alone))
        share = [100 * again / once for again, once in zip(b, a, strict=True)]
        ratios = [more / fresh for more, fresh in zip(c, d, strict=True)]
        rows.append(
            (f"{unit}, s", median(a), median(b), spread(share), verdict(median(share), 5), median(c), median(d), spread(ratios))
        )
    head = ("", f"first, {len(few)} photos", "unchanged", "% of the first", "target", "with 10 more", "10 alone", "ratio")
    table("Building again, 640 x 480 photos, 2 workers, start-up included", head, rows)


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    names = ("photomend", "pillow", "opencv-python", "mediapipe", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"{os.cpu_count()} cores, {model}; Python {sys.version.split()[0]}, {versions}"


def main() -> None:
    parts = ("cpu", "peer", "workers", "memory", "again")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(parts), help=f"of {', '.join(parts)}")
    parser.add_argument("--photos", type=int, default=48, help="12-megapixel photos")
    parser.add_argument(
        "--small", type=int, default=10_000, help="640 x 480 photos of the memory part; a tenth of them is the short run"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("build/bench"), help="folder for photos and datasets")
    parser.add_argument("--autocrop", type=Path, help="its program; else it is installed below --work")
    parser.add_argument("--quick", action="store_true", help="small counts, for a look")
    given = parser.parse_args()
    if given.quick:
        given.photos, given.small, given.rounds = 24, 1000, 1
    work, asked = given.work.resolve(), given.parts.split(",")
    if not set(asked) <= set(parts):
        parser.error(f"--parts takes {', '.join(parts)}. Received: {given.parts}")
    work.mkdir(parents=True, exist_ok=True)
    print(f"{machine()}. Load at the start: {' '.join(f'{load:.2f}' for load in os.getloadavg())}.")
    if set(asked) - {"again"}:
        large = photos.camera_photos(work / "camera", given.photos)
        few, many = photos.links(work / "few", large[: max(16, given.photos // 6)]), photos.links(work / "many", large)
        sizes = [path.stat().st_size / 1e6 for path in large]
        print(f"{len(large)} photos of 4000 x 3000; MB each: {spread(sizes)}.")
        floor(many)  # brings them into the page cache
    small = photos.small_photos(work / "small", given.small) if {"memory", "again"} & set(asked) else []
    if "cpu" in asked:
        part_cpu(few, many, work, given.rounds)
    if "workers" in asked:
        part_workers(few, many, work, given.rounds)
    if "peer" in asked:
        part_peer(few, many, work, max(1, given.rounds // 2), given.autocrop)
    if "again" in asked:
        part_again(small[:1010], work, max(1, given.rounds // 2))
    if "memory" in asked:
        tenth = len(small) // 10
        archives = {f"{given.photos} of 12 megapixels": many}
        for number in (tenth, len(small)):
            archives[f"{number} of 640 x 480"] = photos.links(work / f"links-{number}", small[:number])
        part_memory(archives, work, "faces")
    print(f"\nLoad at the end: {' '.join(f'{load:.2f}' for load in os.getloadavg())}.")


if __name__ == "__main__":
    main()

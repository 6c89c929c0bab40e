"""What the README says of building: cpu, speed and memory, as Markdown tables. bench/README.md explains each figure.

python -m bench.build [--parts cpu,peer,workers,memory,again] [--photos 48] [--rounds 5] [--quick] [--work FOLDER]
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from unittest.mock import patch

import cv2
from PIL import Image

from bench import photos
from bench.cost import SPLIT, built, cpu, of_a_build, slope
from bench.memory import part_memory
from bench.peer import WORK, part_peer
from bench.tables import Row, machine, spread, table, verdict
from dataset_tools import staging


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
            watch = of_a_build()
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


def command(archive: Path, dataset: Path) -> list[str]:
    code = "from pipelines.cli import main; main()"
    return [sys.executable, "-c", code, "build", str(archive), str(dataset), "--workers", "2"]


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


def main() -> None:
    parts = ("cpu", "peer", "workers", "memory", "again")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(parts), help=f"of {', '.join(parts)}")
    parser.add_argument("--photos", type=int, default=48, help="12-megapixel photos")
    parser.add_argument(
        "--small", type=int, default=10_000, help="640 x 480 photos of the memory part; a tenth of them is the short run"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=WORK, help="folder for photos and datasets")
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
        part_memory(archives, work, command)
    print(f"\nLoad at the end: {' '.join(f'{load:.2f}' for load in os.getloadavg())}.")


if __name__ == "__main__":
    main()

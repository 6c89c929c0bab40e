"""The builder beside autocrop 2.0, which also finds faces and crops them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench import photos
from bench.cost import built, slope
from bench.tables import Row, spread, table, verdict

WORK = Path("build/bench")  # where photos and datasets of the benches are kept


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

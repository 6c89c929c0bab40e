"""The long tests with their full counts: `make soak`, or `python -m bench.soak`. Writes the table docs/soak.md.

A part is a name and what pytest is to run for it. A test that tells its `record_property("what", ...)` and "count" becomes a line
of a table; the others of a part are summed up in its last line. Parts that were not run keep what an earlier run wrote.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset_tools import files

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "docs" / "soak.md"
PARTS = {  # name -> arguments of pytest
    "kills": ["tests/test_kills.py"],
    "damage": ["tests/test_damage.py"],
    "training": [
        "tests/test_train_kills.py",
        "tests/test_exact.py",
        "tests/test_origin.py",
        "tests/test_strategies.py",
        "tests/test_backends.py",
        "tests/test_model.py",
    ],
    "restoring": ["tests/test_restore_damage.py", "tests/test_resume.py"],
    "page": ["tests/test_page.py", "tests/test_page_core.py"],
    "ray": ["tests/test_engine_ray.py"],
    "exports": ["tests/test_export.py", "tests/test_export_formats.py"],
    "mosaics": ["tests/test_mosaic_finder.py", "tests/test_mosaic_regions.py"],
    "benches": ["tests/test_bench_gpu.py", "tests/test_bench_peers.py", "tests/test_bench_variants.py"],
}
SECONDS = 7200  # that one part may take


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    count: str
    result: str  # passed | skipped | FAILED
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts, all that exist if none is named. Exit code 1 if anything failed; the table is written in any case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--output", type=Path, default=PLACE, help="where the table goes")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.parts) - PARTS.keys():
        parser.error(f"there is no part {unknown.pop()!r}: give some of {', '.join(PARTS)}")
    sections = kept(chosen.output.read_text("utf-8") if chosen.output.exists() else "")
    count, failed = 0, 0
    for name in chosen.parts or PARTS:
        start = time.monotonic()
        lines = run(PARTS[name])
        sections[name] = section(lines, time.monotonic() - start)
        count, failed = count + len(lines), failed + sum(line.result == "FAILED" for line in lines)
        files.replace_text(chosen.output, page(sections))
    print(f"{chosen.output}: {count} lines, {failed} failed")
    return int(failed > 0)


def run(tests: Sequence[str]) -> list[Line]:
    """The lines of one part."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "results.xml"
        line = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={table}",
            "-o",
            "junit_family=xunit1",
            *tests,
        ]
        start = time.monotonic()
        try:
            subprocess.run(line, cwd=ROOT, env={**os.environ, "PHOTOMEND_SOAK": "1"}, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return [Line("everything", "", "FAILED", time.monotonic() - start)]
        return read(table)


def read(table: Path) -> list[Line]:
    """The lines that pytest's table of results (JUnit XML) tells."""
    if not table.exists():
        return [Line("pytest did not start", "", "FAILED", 0.0)]
    lines, others = list[Line](), list[Line]()
    for case in xml.parse(table).iter("testcase"):
        told = {each.get("name"): each.get("value", "") for each in case.iter("property")}
        kinds = {child.tag for child in case}
        result = "FAILED" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        what = told.get("what") or str(case.get("name"))
        line = Line(what, told.get("count", ""), result, float(case.get("time", 0)))
        (lines if "what" in told or result == "FAILED" else others).append(line)
    for result in ("passed", "skipped"):
        same = [line for line in others if line.result == result]
        if same:
            lines.append(Line("other tests", str(len(same)), result, sum(line.seconds for line in same)))
    return lines


def section(lines: Sequence[Line], seconds: float) -> str:
    """When and where a part ran, and its table."""
    rows = [f"| {line.what.replace('|', '/')} | {line.count} | {line.result} | {line.seconds:.0f} |" for line in lines]
    when = f"{datetime.date.today()} · commit {commit()} · {hardware()} · {seconds / 60:.0f} minutes"
    return "\n".join([when, "", "| what | count | result | seconds |", "|---|---:|---|---:|", *rows])


def kept(text: str) -> dict[str, str]:
    """The sections of a page, by part."""
    found = (part.partition("\n\n") for part in text.split("\n## ")[1:])
    return {name: body.rstrip() for name, _, body in found if name in PARTS}


def page(sections: Mapping[str, str]) -> str:
    """The page with the sections that there are, in the order of the parts."""
    heading = "# Soak\n\nThe long tests with their full counts, written by `make soak` (`python -m bench.soak`).\n"
    return heading + "".join(f"\n## {name}\n\n{sections[name]}\n" for name in PARTS if name in sections)


def commit() -> str:
    """The commit that was tested, and whether the files differed from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" + changes" if git("status", "--porcelain") else "")


def hardware() -> str:
    """Processor, cores that this process may use, memory, Python, load."""
    about = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in about if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{model}, {cores} cores, {memory:.0f} GB · Python {platform.python_version()} · load {load:.1f} at the end"


if __name__ == "__main__":
    sys.exit(main())

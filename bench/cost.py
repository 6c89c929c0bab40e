"""What one photo costs a build: cpu or wall time, start-up and report aside, and what of it goes where."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dataset_tools import build, colour, crops, degradations, files, finish, image_io, journal, pairs, staging
from dataset_tools.build import BuildReport, build_dataset

Places = Sequence[tuple[Any, str]]

SPLIT: dict[str, Places] = {  # label -> what is timed under it; a function that calls another is not told the other's time
    "read and hash": ((staging, "read_source"), (staging, "sha256")),
    "decode": ((image_io, "decode"), (colour, "to_srgb")),
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


def of_a_build() -> Split:
    """The split of what `build_dataset` spends."""
    from dataset_tools.face_search import FaceSearch

    return Split({**SPLIT, "detect": ((FaceSearch, "detect"),), "report": REPORT})


class Split:
    """Seconds by label, each without what was spent in another label below it.

    Args:
        places: label -> the functions timed under it, as (owner, name). What is under "report" is told under no other label.
        clock: cpu of this process (all its threads), if nothing else is said.
    """

    def __init__(self, places: Mapping[str, Places], clock: Callable[[], float] = time.process_time) -> None:
        self.places, self.clock = places, clock
        self.spent: Counter[str] = Counter()
        self._below = [0.0]
        self._in_report = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            for label, places in self.places.items():
                for owner, name in places:
                    stack.enter_context(patch.object(owner, name, self._timed(label, getattr(owner, name))))
            yield

    def _timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            if self._in_report:
                return function(*given, **named)
            self._in_report = label == "report"
            self._below.append(0.0)
            start = self.clock()
            try:
                return function(*given, **named)
            finally:
                took = self.clock() - start
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

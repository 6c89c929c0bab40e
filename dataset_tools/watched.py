"""What files were like when they were read: so that a later build knows which to read again."""

from __future__ import annotations

from dataclasses import dataclass

from dataset_tools.archive import Source, stat_key
from dataset_tools.engines import Work
from dataset_tools.manifest import Row

Job = tuple[Source, ...]
Stats = list[list[int] | None] | None  # [size, time of change] of each file of a job; None: they changed while it was done


@dataclass
class Watched:
    """A stager that also tells what the files were before it read them: None where they changed meanwhile (do it again)."""

    work: Work

    def open(self) -> None:
        self.work.open()

    def __call__(self, job: Job) -> tuple[list[Row], Stats]:
        before = stats(job)
        rows = self.work(job)
        return rows, before if stats(job) == before else None

    def close(self) -> None:
        self.work.close()


def stats(job: Job) -> list[list[int] | None]:
    """[size, time of change] of each file of a job; None for one that cannot be asked."""
    states = (stat_key(source.path) for source in job)
    return [list(state) if state else None for state in states]

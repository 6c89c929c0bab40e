"""Running the same function over many jobs in several processes of this machine.

Every worker has a pipe of its own and no lock is shared, so that a process that is killed at any moment takes only its own
job with it (a ProcessPoolExecutor breaks as a whole; pools with one shared queue can be killed while they hold its lock).
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol, TypeVar

from dataset_tools.errors import PhotomendError

Job = TypeVar("Job")
AHEAD = 2  # jobs that a worker has been given: while the result of one travels, it works on the next
TRIES = 2  # of a job whose worker dies
SMALL = 16 << 10  # bytes that a pipe holds though nobody reads them: a larger job waits until its worker is idle


class Work(Protocol):
    """What is run on each job. It is pickled to each worker once, before it has opened anything."""

    def open(self) -> None:
        """Loads what the jobs need, so that no job's time is spent on it."""
        ...

    def __call__(self, job: Any) -> Any: ...

    def close(self) -> None: ...


class WorkerDied:
    """The result of a job whose worker process died twice (a crash in a native library, or killed for its memory)."""


class TimedOut:
    """The result of a job that took longer than the limit; its worker was ended and replaced."""


def default_workers() -> int:
    """One worker a core that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


def run_here(work: Work, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
    """As `run_local`, but in this very process, which a crash or an endless loop of a library ends or holds up."""
    opened = False
    try:
        for job in jobs:
            if not opened:
                work.open()
                opened = True
            yield job, work(job)
    finally:
        work.close()


def run_local(work: Work, jobs: Iterable[Job], workers: int, limit: float | None = None) -> Iterator[tuple[Job, Any]]:
    """Yields (job, work(job)) in the order of completion.

    Args:
        jobs: read as they are needed, at most AHEAD a worker.
        limit: seconds that one job may take; one that takes longer yields TimedOut, and its worker is replaced.

    A job whose worker dies is tried once more; if that one dies too, it yields WorkerDied.

    Raises:
        Whatever `work` raises: it ends the run. PhotomendError: the processes cannot be started at all.
    """
    waiting: deque[tuple[Job, int]] = deque()  # the next jobs, with how often a worker died of each
    source = iter(jobs)
    crew = [_Worker(work) for _ in range(workers)]
    proved = False  # one of them was once ready
    try:
        while True:
            for worker in crew:
                _give(worker, waiting, source)
            busy = [worker for worker in crew if worker.jobs]
            if not busy and not any(worker.broken for worker in crew):
                return
            if busy:
                wait([worker.pipe for worker in busy], _patience(busy, limit))
            for index, worker in enumerate(crew):
                yield from worker.results()
                proved = proved or worker.ready
                late = limit is not None and bool(worker.jobs) and worker.seconds() > limit
                if not worker.broken and not late:
                    continue
                if not worker.ready and not late and not proved and worker.failed_to_start():
                    raise PhotomendError("the worker processes cannot start: in a script, call this below "
                                         "`if __name__ == '__main__':`, or ask for 0")  # fmt: skip
                crew[index] = _Worker(work)
                worker.kill()
                if worker.jobs:
                    job, died = worker.jobs.popleft()
                    waiting.extend(worker.jobs)
                    if late:
                        yield job, TimedOut()
                    elif died + 1 < TRIES:
                        waiting.append((job, died + 1))
                    else:
                        yield job, WorkerDied()
    finally:
        for worker in crew:
            worker.dismiss()
        for worker in crew:
            worker.kill(patience=5.0)


@dataclass(eq=False)
class _Worker:
    """One process and this side of its pipe."""

    work: Work
    jobs: deque[tuple[Any, int]] = field(default_factory=deque)  # given to it, the one it works on first
    ready: bool = False
    broken: bool = False

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, its_end = context.Pipe()
        self.since = time.monotonic()  # when it began the first of its jobs
        self.process = context.Process(target=_serve, args=(its_end, os.getpid()), daemon=True)
        with _ctrl_c_held_back():  # the process inherits this, and leaves Ctrl-C to its parent
            self.process.start()
        its_end.close()
        self._send(ForkingPickler.dumps(self.work))

    def give(self, job: Any, died: int) -> bool:
        """False where it must be idle first: were it to send a large result at the same time, both would wait for ever."""
        message = ForkingPickler.dumps(job)
        if self.jobs and len(message) > SMALL:
            return False
        if not self.jobs:
            self.since = time.monotonic()
        self.jobs.append((job, died))
        self._send(message)
        return True

    def _send(self, message: Any) -> None:
        try:
            self.pipe.send_bytes(message)
        except OSError:
            self.broken = True

    def results(self) -> Iterator[tuple[Any, Any]]:
        """What has come back so far. Raises what `work` raised."""
        while (answer := self._receive()) is not None:
            kind, value = answer
            self.since = time.monotonic()
            if kind == "ready":
                self.ready = True
            elif kind == "raised":
                raise value
            else:
                yield self.jobs.popleft()[0], value

    def _receive(self) -> tuple[str, Any] | None:
        try:
            return self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, OSError):
            self.broken = True
            return None

    def failed_to_start(self) -> bool:
        """True where it ended by itself with an error; False where something killed it."""
        self.process.join(5.0)
        return (self.process.exitcode or 0) > 0

    def seconds(self) -> float:
        return time.monotonic() - self.since if self.ready else 0.0

    def dismiss(self) -> None:
        """Tells it that no more jobs come."""
        with contextlib.suppress(OSError):
            self.pipe.send(_END)

    def kill(self, patience: float = 0.0) -> None:
        """Ends it: by itself within `patience` seconds, or by force."""
        if patience and not self.jobs:
            self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.pipe.close()


_END = "no more jobs"


def _give(worker: _Worker, waiting: deque[tuple[Any, int]], source: Iterator[Any]) -> None:
    while len(worker.jobs) < AHEAD and not worker.broken:
        if not waiting:
            waiting.extend((job, 0) for job in islice(source, 1))
        if not waiting or not worker.give(*waiting[0]):
            return
        waiting.popleft()


def _patience(busy: list[_Worker], limit: float | None) -> float | None:
    """Seconds until the first of these could be late."""
    return None if limit is None else max(0.0, min(limit - worker.seconds() for worker in busy)) + 0.01


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, parent: int) -> None:
    """What a worker process does: job after job, until it is told that none is left or its parent is gone.

    The work comes through the pipe as well, since reading it imports much, and a parent that dies meanwhile must be noticed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no worker outlives its parent
        if os.getppid() != parent:
            os._exit(1)
    work: Work = pipe.recv()
    with open(os.devnull, "wb") as nowhere:  # libtiff and others write of damaged photos, without saying which
        os.dup2(nowhere.fileno(), 2)
    import cv2

    cv2.setNumThreads(1)  # the processes are the parallelism
    try:
        answer: tuple[str, Any] = ("ready", None)
        try:
            work.open()
        except Exception as error:
            answer = ("raised", error)
        pipe.send(answer)
        while (job := pipe.recv()) != _END:
            try:
                answer = ("done", work(job))
            except Exception as error:
                answer = ("raised", error)
            pipe.send(answer)
    except (EOFError, OSError):  # the parent has hung up
        pass
    finally:
        work.close()

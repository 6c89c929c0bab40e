"""Running the same function over many jobs: in this process, or in several on this machine."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from dataset_tools.errors import PhotomendError

Job = TypeVar("Job")


class Work(Protocol):
    """What is run on each job. It is pickled to each worker once, before it has opened anything."""

    def __call__(self, job: Any) -> Any: ...

    def close(self) -> None: ...


class WorkerDied:
    """The result of a job whose worker process died twice (a crash in a native library, or killed for its memory)."""


def default_workers() -> int:
    """One worker a core that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


def run_local(work: Work, jobs: Sequence[Job], workers: int, *, here: bool) -> Iterator[tuple[Job, Any]]:
    """Yields (job, work(job)) in the order of completion. `here`: in this very process, which a crash of a library ends.

    An exception out of `work` ends the run and is raised here. A worker that dies costs the jobs that were in flight one
    more try, each alone; the one that kills its worker again yields WorkerDied.
    """
    if here:
        try:
            for job in jobs:
                yield job, work(job)
        finally:
            work.close()
        return
    waiting = list(reversed(jobs))
    while waiting:
        in_flight: list[Job] = []
        yield from _run_pool(work, waiting, workers, in_flight)
        for job in in_flight:  # the pool broke: find out which of these it was
            alone, again = [job], []  # type: ignore[var-annotated]
            yield from _run_pool(work, alone, 1, again)
            if again:
                yield job, WorkerDied()


def _run_pool(work: Work, waiting: list[Job], workers: int, in_flight: list[Job]) -> Iterator[tuple[Job, Any]]:
    """Works `waiting` off from its end. If the pool breaks, returns with the jobs that were under way in `in_flight`."""
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(work, os.getpid(), started))
    futures: dict[Future[Any], Job] = {}
    try:
        while waiting or futures:
            while waiting and len(futures) < 3 * workers:
                with _ctrl_c_held_back():  # a process that starts now inherits this, and leaves Ctrl-C to its parent
                    futures[pool.submit(_work_on, waiting[-1])] = waiting[-1]
                waiting.pop()
            done, _ = wait(futures, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                yield futures.pop(future), result
    except BrokenProcessPool as error:
        if not started.is_set():
            raise PhotomendError(
                "the worker processes cannot start: in a script, call this below `if __name__ == '__main__':`, or ask for one"
            ) from error
        in_flight.extend(futures.values())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_work: Work | None = None  # of this worker process


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(work: Work, parent: int, started: Any) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no worker outlives its parent
        if os.getppid() != parent:
            os._exit(1)
    import atexit

    import cv2

    cv2.setNumThreads(1)  # the processes are the parallelism
    _work = work
    started.set()
    atexit.register(work.close)


def _work_on(job: Any) -> Any:
    assert _work is not None
    return _work(job)

"""Running the same function over many jobs on a Ray cluster: `run_local` of engines.py for more than one machine.

One actor a CPU. Jobs travel in parcels, since a call costs the caller about as much as ten small jobs. What was in the hands
of an actor that died is tried again alone, one job an actor, so that the blame can fall on no other job.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import queue
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dataset_tools.engines import AHEAD, TRIES, TimedOut, Work, WorkerDied, default_workers
from dataset_tools.errors import PhotomendError, UsageError
from dataset_tools.ray_session import LOCAL, ray_session

Job = TypeVar("Job")
Answer = tuple[str, Any]  # "done" and a result, or "raised" and an exception
PARCEL = 8  # jobs a call, at most
PARCEL_SECONDS = 0.5  # a parcel holds no more jobs than take about so long: what a lost worker costs
PATIENCE = 600.0  # seconds to wait while the cluster has room for no worker at all


def run_ray(
    work: Work, jobs: Iterable[Job], workers: int | None, limit: float | None, address: str | None = None,
    shared: Sequence[Path] = (),
) -> Iterator[tuple[Job, Any]]:  # fmt: skip
    """Yields (job, work(job)) in the order of completion, as `engines.run_local` does, from actors of a Ray cluster.

    Args:
        jobs: read as they are needed, at most AHEAD * PARCEL a worker.
        workers: actors, each of which takes one CPU of the cluster; None or 0 is one for every CPU that it has.
        limit: seconds that one job may take; one that takes longer yields TimedOut, and its actor is replaced.
        address: of an existing cluster; None is $RAY_ADDRESS, and without that a cluster of this machine alone, which listens
            on the loopback interface and ends with the run. A Ray session that this process has begun is used as it is.
        shared: folders that every worker must see under the same path.

    A job whose actor or machine dies is tried once more elsewhere; if that one dies too, it yields WorkerDied.

    Raises:
        Whatever `work` raises: it ends the run. MissingDependency: Ray is not installed. UsageError: no such cluster, or a
        machine of it does not see `shared`. PhotomendError: no worker can be started.
    """
    source = iter(jobs)
    first = list(itertools.islice(source, 1))
    if not first:  # no cluster is started for nothing
        return
    with ray_session(address or os.environ.get("RAY_ADDRESS") or LOCAL, workers or default_workers()) as ray:
        crew = _Crew(ray, work, workers or int(ray.cluster_resources().get("CPU", 1)), shared)
        try:
            yield from crew.run(itertools.chain(first, source), limit)
            crew.dismiss()
        finally:
            crew.kill()


class _Hand:
    """What runs in an actor: an unpickled `work` and nothing else."""

    def begin(self, work: bytes, folder: str, shared: Sequence[str]) -> Answer:
        """`folder` is the caller's current one, for relative paths; Ray starts its workers elsewhere."""
        import cv2
        from ray import cloudpickle

        cv2.setNumThreads(1)  # the actors are the parallelism
        if sys.platform == "linux":  # ends with Ray's process on this machine at once; by itself it takes seconds to notice
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        try:
            with contextlib.suppress(OSError):
                os.chdir(folder)
            missing = [path for path in shared if not os.path.isdir(path)]
            if missing:
                raise UsageError(f"the machine {socket.gethostname()} of the Ray cluster does not see {missing[0]}: put archive "
                                 "and dataset on a file system that all its machines mount at the same place")  # fmt: skip
            self.work = cloudpickle.loads(work)
            self.work.open()
        except Exception as error:
            return "raised", _portable(error)
        return "ready", None

    def do(self, jobs: Sequence[Any]) -> tuple[float, list[Answer]]:
        """Seconds, and an answer a job up to the first that raises."""
        start, answers = time.monotonic(), []
        for job in jobs:
            try:
                answers.append(("done", self.work(job)))
            except Exception as error:
                answers.append(("raised", _portable(error)))
                break
        return time.monotonic() - start, answers

    def end(self) -> None:
        self.work.close()


def _portable(error: Exception) -> Exception:
    """`error` itself where it survives the way back, else its words."""
    from ray import cloudpickle

    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


@dataclass(eq=False)
class _Parcel:
    """The jobs of one call."""

    jobs: Sequence[Any]
    died: int = 0  # workers that died over it
    alone: bool = False  # one job of a lost parcel; its worker gets no other meanwhile


@dataclass(eq=False)
class _Worker:
    """An actor and what it was given."""

    hand: Any
    ready: bool = False
    parcels: deque[_Parcel] = field(default_factory=deque)  # the one it works on first
    since: float = 0.0  # when it began the first of them


class _Crew:
    """The actors, and the jobs that are on their way."""

    def __init__(self, ray: Any, work: Work, size: int, shared: Sequence[Path]):
        self.ray = ray
        self.hand = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD")(_Hand)
        self.orders = ray.cloudpickle.dumps(work), os.getcwd(), [os.path.abspath(path) for path in shared]
        self.events: queue.SimpleQueue[tuple[float, _Worker, _Parcel | None, Any]] = queue.SimpleQueue()
        self.waiting: deque[_Parcel] = deque()  # to be tried again, alone
        self.exhausted = False  # all jobs have been read
        self.pace = PARCEL_SECONDS  # seconds a job, lately
        self.false_starts = 0  # workers that died before they were ready, since one was
        self.workers: set[_Worker] = set()
        for _ in range(size):
            self._hire()
        self.alive = time.monotonic()  # when a worker was last ready

    def run(self, source: Iterator[Any], limit: float | None) -> Iterator[tuple[Any, Any]]:
        while True:
            for worker in self.workers:
                self._give(worker, source)
            busy = [worker for worker in self.workers if worker.parcels]
            if self.exhausted and not busy and not self.waiting:
                return
            self._check_room()
            yield from self._answers(_patience(busy, limit))
            if limit is not None:
                now = time.monotonic()
                for worker in [worker for worker in busy if worker.parcels and now - worker.since > limit]:
                    if worker in self.workers:
                        yield from self._replace(worker, late=True)

    def _hire(self) -> None:
        worker = _Worker(self.hand.remote())
        self.workers.add(worker)
        self._listen(worker, None, worker.hand.begin.remote(*self.orders))

    def _listen(self, worker: _Worker, parcel: _Parcel | None, call: Any) -> None:
        def note(future: Any) -> None:  # in a thread of Ray's
            self.events.put((time.monotonic(), worker, parcel, future))

        call.future().add_done_callback(note)

    def _give(self, worker: _Worker, source: Iterator[Any]) -> None:
        while worker.ready and len(worker.parcels) < AHEAD:
            if worker.parcels and (self.waiting or worker.parcels[0].alone):
                return
            if self.waiting:
                parcel = self.waiting.popleft()
            else:
                parcel = _Parcel(list(itertools.islice(source, max(1, min(PARCEL, int(PARCEL_SECONDS / self.pace))))))
                if not parcel.jobs:
                    self.exhausted = True
                    return
            if not worker.parcels:
                worker.since = time.monotonic()
            worker.parcels.append(parcel)
            self._listen(worker, parcel, worker.hand.do.remote(parcel.jobs))

    def _check_room(self) -> None:
        if any(worker.ready for worker in self.workers):
            self.alive = time.monotonic()
        elif time.monotonic() - self.alive > PATIENCE:
            raise PhotomendError(f"the Ray cluster had no CPU free for {PATIENCE:.0f} s: wait until its other work is done, or "
                                 "add machines, then run the same command again")  # fmt: skip

    def _answers(self, patience: float) -> Iterator[tuple[Any, Any]]:
        """What has come back, waiting for it at most `patience` seconds. All of it, before anybody is called late."""
        with contextlib.suppress(queue.Empty):
            event = self.events.get(timeout=patience)
            while True:
                yield from self._take(*event)
                event = self.events.get_nowait()

    def _take(self, when: float, worker: _Worker, parcel: _Parcel | None, future: Any) -> Iterator[tuple[Any, Any]]:
        if worker not in self.workers:  # it has been replaced
            return
        error = future.exception()
        if isinstance(error, self.ray.exceptions.RayTaskError):  # no failure of `work`, whose exceptions are answers
            raise PhotomendError(f"a Ray worker failed: {_last_line(error)}")
        if error is not None:
            yield from self._replace(worker, cause=error)
        elif parcel is None:
            kind, value = future.result()
            if kind == "raised":
                raise value
            worker.ready, self.false_starts = True, 0
        else:
            seconds, answers = future.result()
            worker.parcels.remove(parcel)
            worker.since = when
            self.pace = 0.8 * self.pace + 0.2 * max(1e-6, seconds / len(answers))
            for job, (kind, value) in zip(parcel.jobs, answers, strict=False):
                if kind == "raised":
                    raise value
                yield job, value

    def _replace(self, worker: _Worker, late: bool = False, cause: Any = None) -> Iterator[tuple[Any, Any]]:
        """A new actor for one that is dead or late. Only the job that it worked on can be blamed, and only if it was alone."""
        self.workers.remove(worker)
        self.ray.kill(worker.hand, no_restart=True)
        if not worker.ready:
            self.false_starts += 1
            if self.false_starts > len(self.workers) + 2:
                raise PhotomendError(f"the Ray workers cannot start: {_last_line(cause)}")
        self._hire()
        for place, parcel in enumerate(worker.parcels):
            died = parcel.died + (place == 0 and not late)
            if late and place == 0 and len(parcel.jobs) == 1:
                yield parcel.jobs[0], TimedOut()
            elif died >= TRIES:
                yield parcel.jobs[0], WorkerDied()
            else:
                self.waiting.extend(_Parcel([job], died, alone=True) for job in parcel.jobs)

    def dismiss(self) -> None:
        """Lets the actors close what they hold."""
        if ends := [worker.hand.end.remote() for worker in self.workers if worker.ready]:
            self.ray.wait(ends, num_returns=len(ends), timeout=5.0)

    def kill(self) -> None:
        for worker in self.workers:
            self.ray.kill(worker.hand, no_restart=True)


def _patience(busy: list[_Worker], limit: float | None) -> float:
    """Seconds until the first of these could be late, at most 10 (then it is looked whether any worker is left)."""
    now = time.monotonic()
    until = [worker.since + limit - now for worker in busy] if limit is not None else []
    return max(0.0, min([*until, 10.0])) + 0.01


def _last_line(error: Any) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

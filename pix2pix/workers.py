"""Several machines that train one model: who they are (TF_CONFIG), and that all of them are there before TensorFlow waits.

TensorFlow's own waiting has no end and hears no Ctrl-C.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from dataset_tools.errors import RunError, UsageError

PATIENCE = 300.0  # seconds within which all workers must have been started
HELLO = b"photomend worker "


@dataclass(frozen=True)
class Workers:
    """addresses: "host:port" of each; rank: which of them this process is. The first one is the chief: it alone writes."""

    addresses: tuple[str, ...]
    rank: int


def told() -> Workers:
    """The workers that TF_CONFIG names (https://www.tensorflow.org/guide/distributed_training). Raises UsageError."""
    try:
        value = json.loads(os.environ["TF_CONFIG"])
        addresses, task = value["cluster"]["worker"], value["task"]
        rank = int(task["index"])
        if task["type"] != "worker" or not 0 <= rank < len(addresses):
            raise UsageError("its task is none of its workers")
        for address in addresses:
            _place(address)
    except KeyError as error:
        what = "it is not set" if error.args[0] == "TF_CONFIG" else f"it lacks {error}"
    except UsageError as error:
        what = str(error)
    except (ValueError, TypeError, AttributeError):
        what = "it is of another form"
    else:
        return Workers(tuple(addresses), rank)
    raise UsageError(f"--strategy multiworker needs TF_CONFIG with the cluster's workers and this one's task ({what}): "
                     "docs/scale.md shows it")  # fmt: skip


def meet(workers: Workers, patience: float = PATIENCE) -> None:
    """Returns once all workers have called this. Raises RunError where they have not after `patience` seconds."""
    end = time.monotonic() + patience
    if workers.rank == 0:
        _gather(workers, end, patience)
    else:
        _report(workers, end, patience)


def _gather(workers: Workers, end: float, patience: float) -> None:
    awaited = set(range(1, len(workers.addresses)))
    with ExitStack() as open_ones:
        server = open_ones.enter_context(_listening(_place(workers.addresses[0])[1]))
        there: dict[int, socket.socket] = {}
        while awaited - there.keys():
            if time.monotonic() > end:
                missing = ", ".join(workers.addresses[rank] for rank in sorted(awaited - there.keys()))
                raise RunError(f"{missing} did not report within {patience:.0f} s: start the same command on every worker, each "
                               "with its own TF_CONFIG")  # fmt: skip
            server.settimeout(0.5)  # short, so that Ctrl-C is heard
            with suppress(OSError):
                found = open_ones.enter_context(server.accept()[0])
                rank = _hello(found)
                if rank in awaited:
                    there[rank] = found
        for each in there.values():
            with suppress(OSError):
                each.sendall(b"go\n")
                each.recv(1)  # until it has closed its end, so that the port is free at once


def _hello(found: socket.socket) -> int:
    """The rank that a worker reports; -1 for a stranger."""
    found.settimeout(5)
    with found.makefile("rb") as lines:
        said = lines.readline(100)
    number = said.removeprefix(HELLO).strip()
    return int(number) if said.startswith(HELLO) and number.isdigit() else -1


def _report(workers: Workers, end: float, patience: float) -> None:
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(_place(workers.addresses[0]), timeout=1) as chief:
            chief.sendall(HELLO + b"%d\n" % workers.rank)
            answer = b""
            chief.settimeout(0.5)
            while time.monotonic() < end and not answer:
                with suppress(TimeoutError):
                    answer = chief.recv(3)
                    if not answer:
                        break  # the chief has gone: it may be started again
            if answer:
                return
        time.sleep(0.2)
    raise RunError(f"the first worker, {workers.addresses[0]}, did not answer within {patience:.0f} s: start "
                   "the same command on every worker, each with its own TF_CONFIG")  # fmt: skip


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise RunError(
            f"port {port} of TF_CONFIG cannot be used ({os.strerror(error.errno or 0)}): give this worker another"
        ) from error
    with server:
        yield server


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"{address!r} is no host:port")
    return host.strip("[]"), int(port)

"""Who the workers of a training are, and that they wait for each other: threads here stand for machines."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable

import pytest

from dataset_tools.errors import RunError, UsageError
from pix2pix.workers import Workers, meet, told


def config(workers: object, kind: object = "worker", index: object = 0) -> str:
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": kind, "index": index}})


def test_tf_config_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", config(["a.example:1234", "[::1]:1235"], index=1))
    assert told() == Workers(("a.example:1234", "[::1]:1235"), 1)


@pytest.mark.parametrize(("value", "what"), [
    (None, "it is not set"), ("{}", "it lacks 'cluster'"), ('{"cluster": {"worker": ["a:1"]}}', "it lacks 'task'"),
    ("nonsense", "it is of another form"), (config(["a:1"], index=1), "its task is none of its workers"),
    (config(["a:1"], "chief"), "its task is none of its workers"), (config(["a"]), "'a' is no host:port"),
    (config([":1"]), "':1' is no host:port"), (config([7]), "it is of another form"), ("[]", "it is of another form"),
])  # fmt: skip
def test_a_tf_config_that_does_not(monkeypatch: pytest.MonkeyPatch, value: str | None, what: str) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if value is not None:
        monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(UsageError) as caught:
        told()
    assert str(caught.value) == (
        f"--strategy multiworker needs TF_CONFIG with the cluster's workers and this one's task ({what}): docs/scale.md shows it"
    )


def addresses(count: int) -> tuple[str, ...]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in servers)
    for server in servers:
        server.close()
    return found


def in_threads(*calls: Callable[[], None]) -> list[BaseException | float]:
    """What each call raised, or the moment at which it returned."""
    results: list[BaseException | float] = [0.0] * len(calls)

    def run(place: int) -> None:
        try:
            calls[place]()
            results[place] = time.monotonic()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.slow
def test_all_go_on_when_the_last_one_is_there() -> None:
    names = addresses(3)
    last = [0.0]

    def late(rank: int, seconds: float) -> Callable[[], None]:
        def run() -> None:
            time.sleep(seconds)
            last[0] = max(last[0], time.monotonic())
            meet(Workers(names, rank), 30)

        return run

    for delays in ((0.0, 0.2, 0.6), (0.6, 0.0, 0.2)):  # the chief comes first, or last
        found = in_threads(*(late(rank, seconds) for rank, seconds in enumerate(delays)))
        assert all(isinstance(each, float) and each >= last[0] for each in found), found
    server = socket.create_server(("127.0.0.1", int(names[0].rpartition(":")[2])))  # the port is free for TensorFlow at once
    server.close()


@pytest.mark.slow
def test_one_that_does_not_come_is_named() -> None:
    names = addresses(3)
    (error, other) = in_threads(lambda: meet(Workers(names, 0), 1.0), lambda: meet(Workers(names, 1), 1.5))
    assert str(error) == (f"{names[2]} did not report within 1 s: start the same command on every worker, each with its own "
                          "TF_CONFIG")  # fmt: skip
    assert isinstance(error, RunError)
    assert str(other) == (f"the first worker, {names[0]}, did not answer within 2 s: start the same command on every worker, "
                          "each with its own TF_CONFIG")  # fmt: skip


@pytest.mark.slow
def test_a_chief_that_is_started_again_is_found() -> None:
    names = addresses(2)

    def chief() -> None:
        with pytest.raises(RunError):
            meet(Workers((*names, "127.0.0.1:1"), 0), 0.5)  # waits for a third one, gives up
        meet(Workers(names, 0), 30)

    found = in_threads(chief, lambda: meet(Workers(names, 1), 30))
    assert all(isinstance(each, float) for each in found), found


def test_strangers_at_the_port_are_no_workers() -> None:
    names = addresses(2)
    place = ("127.0.0.1", int(names[0].rpartition(":")[2]))

    def strangers() -> None:
        for hello in (b"GET / HTTP/1.1\r\n\r\n", b"photomend worker x\n", b"photomend worker 7\n", b""):
            end = time.monotonic() + 5
            while time.monotonic() < end:
                try:
                    with socket.create_connection(place, timeout=1) as stranger:
                        stranger.sendall(hello)
                    break
                except OSError:
                    time.sleep(0.05)
        meet(Workers(names, 1), 30)

    found = in_threads(lambda: meet(Workers(names, 0), 30), strangers)
    assert all(isinstance(each, float) for each in found), found


def test_a_port_that_is_taken() -> None:
    names = addresses(2)
    with socket.create_server(("", int(names[0].rpartition(":")[2]))), pytest.raises(RunError) as caught:
        meet(Workers(names, 0), 5)
    port = names[0].rpartition(":")[2]
    assert str(caught.value) == f"port {port} of TF_CONFIG cannot be used (Address already in use): give this worker another"


def test_one_worker_alone_waits_for_nobody() -> None:
    meet(Workers(addresses(1), 0), 5)

"""Joining a Ray cluster, or starting one of this machine alone, without a word to the terminal or to anybody outside."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from dataset_tools.errors import MissingDependency, UsageError

LOCAL = "local"  # Ray's word for: start one on this machine, join none
MAX_TMP = 20  # characters: Ray puts sockets some 80 below it, and the path of a socket may have 107


@contextlib.contextmanager
def ray_session(address: str, workers: int) -> Iterator[Any]:
    """Ray, joined to a cluster; what was begun here is ended here."""
    ray = _import_ray()
    if ray.is_initialized():
        yield ray
        return
    _check_address(address)
    with contextlib.ExitStack() as ending:
        options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.CRITICAL}
        if address == LOCAL:
            folder = tempfile.mkdtemp(prefix="photomend-", dir="/tmp" if len(tempfile.gettempdir()) > MAX_TMP else None)
            ending.callback(shutil.rmtree, folder, ignore_errors=True)
            options |= {"num_cpus": workers, "include_dashboard": False, "_temp_dir": folder, "object_store_memory": 100_000_000}
        ending.enter_context(_hushed())
        ending.callback(ray.shutdown)
        try:
            with _signals_kept(), warnings.catch_warnings(), _loopback(ray) if address == LOCAL else contextlib.nullcontext():
                warnings.simplefilter("ignore")
                ray.init(**options)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            what = "start Ray on this machine" if address == LOCAL else f"join the Ray cluster at {address}"
            raise UsageError(f"cannot {what}: {str(error).strip().partition(chr(10))[0]}") from error
        yield ray


def _check_address(address: str) -> None:
    """Ray itself would try for two minutes, with a page of complaints."""
    if address.startswith("ray://"):
        raise UsageError(f"the Ray address {address} is that of a client: run on a machine of the cluster, with RAY_ADDRESS=auto")
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise UsageError(f"no Ray cluster answers at {address} ({error}): check the address in RAY_ADDRESS") from error


def _import_ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # no statistics to Ray's makers
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # below `uv run` it would pack and send the current folder
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingDependency(f"the engine ray needs Ray ({error}): pip install 'photomend[ray]'") from error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keeps Ray from telling of each lost worker on stdout, as it does whatever its log level."""
    worker: Any = importlib.import_module("ray._private.worker")
    before, worker.print_to_stdstream = worker.print_to_stdstream, lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


@contextlib.contextmanager
def _loopback(ray: Any) -> Iterator[None]:
    """Ray of this machine alone: on 127.0.0.1, and without its dashboard's process.

    Left to itself Ray listens on the outer interface, where anybody who reaches it may run code; and the process of its
    dashboard, which runs with include_dashboard=False too, asks the metadata services of three clouds where it is.
    """
    constants: Any = ray._private.ray_constants
    services: Any = importlib.import_module("ray._private.services")
    name, before = constants.ENABLE_RAY_CLUSTERS_ENV_VAR, (constants.ENABLE_RAY_CLUSTER, services.start_api_server)
    os.environ[name] = "0"
    constants.ENABLE_RAY_CLUSTER, services.start_api_server = False, lambda *_, **__: (None, None)
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER, services.start_api_server = before
        del os.environ[name]


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray puts its own handler of SIGTERM in the caller's place."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)

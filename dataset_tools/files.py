"""Writing so that nothing is ever half-written: a temporary name, then a rename. And the lock of a folder."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dataset_tools.errors import FolderBusy, output_error

TEMPORARY = ".photomend-tmp-"  # prefix of every name that is not finished
_numbers = itertools.count()


def replace_bytes(path: Path, data: bytes, durable: bool = False) -> None:
    """Writes `data` under `path`, whole or not at all; `durable`: even where the power is cut. Raises OutputError."""
    temporary = path.with_name(_temporary_name())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as handle:
            handle.write(data)
            if durable:
                handle.flush()
                os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise output_error(error, path) from error


def _temporary_name() -> str:
    """One that no other process has, on this machine or on another that writes into the same folder."""
    return f"{TEMPORARY}{os.getpid()}-{next(_numbers)}-{uuid.uuid4().hex[:8]}"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder under a temporary name beside `path`, which it gets when the block ends well; else nothing of it stays.

    Raises:
        OutputError: it cannot be written, in the block too; or there is a `path` by now.
    """
    temporary = path.with_name(_temporary_name())
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.rename(temporary, path)  # fails where anything but an empty folder is in the way
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_text(path: Path, text: str, durable: bool = False) -> None:
    """`replace_bytes` of UTF-8 text."""
    replace_bytes(path, text.encode("utf-8"), durable)


def replace_json(path: Path, value: Any, durable: bool = False) -> None:
    """`replace_bytes` of `value` as readable JSON: sorted keys, two spaces, a newline at the end."""
    replace_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", durable)


def json_line(value: Any) -> str:
    """`value` as one line of JSON with sorted keys, the form of every .jsonl row."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(", ", ": ")) + "\n"


@contextmanager
def folder_lock(path: Path, what: str) -> Iterator[None]:
    """Holds the lock file `path` for as long as the block runs; the kernel frees it however the process ends.

    Raises:
        FolderBusy: another process holds it. `what` names the folder in that line.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, "a+")  # noqa: SIM115 - it lives as long as the lock
    except OSError as error:
        raise output_error(error, what) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "?"
            raise FolderBusy(f"{what} is in use by another photomend (process {owner}): wait for it, or stop it") from None
        except OSError as error:  # a file system that knows no locks
            raise output_error(error, what) from error
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield

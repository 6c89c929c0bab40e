"""The one family of exceptions. Whatever a person can cause is raised as one of these.

PhotomendError                 exit 1   one line: what, where, what to do
├── UsageError                 exit 2   an option or a path that cannot be meant
├── PhotoError                          one photo cannot be used: a row in a table, never the end of a job
│   ├── NotAnImage             not_an_image         no image format that we know begins like this
│   ├── UnsupportedFormat      unsupported_format   an image, but of a kind that we do not read
│   ├── EmptyFile              empty                0 bytes
│   ├── Truncated              truncated            the file ends before the image does
│   ├── Corrupt                corrupt              the bytes contradict their own format
│   ├── TooLarge               too_large            more pixels than we are willing to hold (an image bomb)
│   └── Unreadable             unreadable           no permission, vanished, an I/O error
├── RestoreError                        one photo cannot be restored: a row in a table, never the end of a job
│   └── OutputTaken            output_taken         where it would be written lies a file that is not ours to replace
├── DatasetError               a dataset folder that is not ours, not whole, or of another recipe
├── RunError                   a run folder that does not fit what was asked for
├── ModelFileError             a model file that is not ours, or not whole
├── FolderBusy                 another process works in this folder
├── OutputError                the disk is full, or a folder cannot be written
└── MissingDependency          a system library or an extra is not installed
"""

from __future__ import annotations

import errno
import re


class PhotomendError(Exception):
    """Base of all. `str(error)` is the one line a person reads; `exit_code` is what the command ends with."""

    exit_code = 1


class UsageError(PhotomendError):
    """An option or a path that cannot be meant."""

    exit_code = 2


class PhotoError(PhotomendError):
    """One photo cannot be used. `reason` is the word that is counted in tables."""

    reason = "failed"


class NotAnImage(PhotoError):
    """No image format that we know begins like this."""

    reason = "not_an_image"


class UnsupportedFormat(PhotoError):
    """An image, but of a kind that we do not read."""

    reason = "unsupported_format"


class EmptyFile(PhotoError):
    """0 bytes."""

    reason = "empty"


class Truncated(PhotoError):
    """The file ends before the image does."""

    reason = "truncated"


class Corrupt(PhotoError):
    """The bytes contradict their own format."""

    reason = "corrupt"


class TooLarge(PhotoError):
    """More pixels or bytes than we are willing to hold."""

    reason = "too_large"


class Unreadable(PhotoError):
    """No permission, vanished, an I/O error."""

    reason = "unreadable"


class RestoreError(PhotomendError):
    """One photo cannot be restored. `reason` is the word that is counted in tables."""

    reason = "failed"


class OutputTaken(RestoreError):
    """Where it would be written lies a file that is not ours to replace."""

    reason = "output_taken"


class DatasetError(PhotomendError):
    """A dataset folder that is not ours, not whole, or of another recipe."""


class RunError(PhotomendError):
    """A run folder that does not fit what was asked for."""


class ModelFileError(PhotomendError):
    """A model file that is not ours, or not whole."""


class FolderBusy(PhotomendError):
    """Another process works in this folder."""


class OutputError(PhotomendError):
    """The disk is full, or a folder cannot be written."""


class MissingDependency(PhotomendError):
    """A system library or an extra is not installed."""


APT_LINE = "sudo apt-get install -y python3 python3-venv git make libegl1 libgles2 libgl1 libglib2.0-0 libxcb1"

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def output_error(error: OSError, path: object) -> OutputError:
    """Says in one line why `path` could not be written, and what to do."""
    if error.errno in _NO_ROOM:
        return OutputError(f"no room left on the disk to write {path}: free some space, then run the same command again")
    return OutputError(f"cannot write {path}: {error.strerror or error}; choose another place for it")


def from_import_error(error: BaseException) -> MissingDependency | None:
    """The line for an import that failed for want of a system library or a package, or None for any other failure."""
    library = re.search(r"(lib[\w.+-]+\.so[\w.]*)", str(error))
    if library:
        return MissingDependency(f"the system library {library.group(1)} is missing; on Debian and Ubuntu: {APT_LINE}")
    if isinstance(error, ModuleNotFoundError) and error.name:
        return MissingDependency(f"the Python package {error.name} is missing; install photomend again: pip install photomend")
    return None

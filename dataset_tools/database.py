"""A SQLite file that one process holds at a time: what a long job has done so far survives a kill at any moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dataset_tools.errors import OutputError, PhotomendError


class Database:
    """The base of what keeps its notes in SQLite.

    Args:
        path: of the file, whose folder exists.
        damaged: raised, with a line, where it is no database any more.
        cure: what a person can do then; the end of that line.
    """

    def __init__(self, path: Path, damaged: type[PhotomendError], cure: str):
        self.path, self._damaged, self._cure = path, damaged, cure
        with self._errors():
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")  # no shared memory, which network file systems lack
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA temp_store=FILE")

    def close(self) -> None:
        """Gives the file free."""
        with self._errors():
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _select(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        with self._errors():
            yield from self._db.execute(query, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error}): free some space, then run the same command again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(f"{self.path} is damaged ({error}): {self._cure}") from error

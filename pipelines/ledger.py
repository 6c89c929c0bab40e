"""What restore jobs have done so far, in OUTPUT/.photomend/: killed at any moment, the same command goes on where it was."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dataset_tools.archive import decode_name
from dataset_tools.database import Database
from dataset_tools.errors import OutputError
from pipelines.outputs import STATE, Written
from pipelines.restore import Row

_TABLES = """
CREATE TABLE IF NOT EXISTS photos (name BLOB PRIMARY KEY, pending INTEGER, kept TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (name BLOB PRIMARY KEY, page TEXT);
"""


@dataclass(frozen=True)
class Kept:
    """What became of one photo: enough to know whether it would become the same again."""

    path: str  # of the input
    size: int  # of the input when it was read, bytes
    mtime_ns: int
    sha256: str
    made_with: str  # model, settings and version, as one hash
    written: tuple[Written, ...]
    row: Row
    pending: bool = False  # a later run had begun with it, and was killed

    def is_current(self, path: Path, made_with: str, folder: Path) -> bool:
        """Whether nothing has changed since, as far as sizes and times tell."""
        try:
            status = os.stat(path)
        except OSError:
            return False
        same = (os.path.realpath(path), status.st_size, status.st_mtime_ns, made_with)
        return (
            not self.pending
            and same == (self.path, self.size, self.mtime_ns, self.made_with)
            and all(each.is_intact(folder) for each in self.written)
        )

    def is_whole(self, folder: Path) -> bool:
        """Whether its files in OUTPUT hold what was written, whenever that was."""
        return all(each.is_intact(folder, thoroughly=True) for each in self.written)

    def seen_again(self, folder: Path, path: Path, status: os.stat_result, source: str) -> Kept:
        """The same, with the input's and the outputs' times as they are now."""
        written = tuple(replace(each, mtime_ns=os.stat(folder / each.name).st_mtime_ns) for each in self.written)
        return replace(self, path=os.path.realpath(path), size=status.st_size, mtime_ns=status.st_mtime_ns, written=written,
                       row=replace(self.row, source=source))  # fmt: skip

    def written_as(self, name: Path) -> Written | None:
        """The file that was written under this name."""
        return next((each for each in self.written if each.name == os.fspath(name)), None)


class Ledger(Database):
    """One entry for each name below OUTPUT that a photo has got. Held by one process; each `add` is one transaction.

    Raises:
        OutputError: it cannot be written, or is damaged.
    """

    def __init__(self, folder: Path):
        super().__init__(path_of(folder), OutputError, f"remove the folder {STATE} in OUTPUT, and everything is restored anew")
        with self._errors():
            self._db.executescript(_TABLES)

    def kept(self, name: Path) -> Kept | None:
        """The entry of the photo that is called `name` below OUTPUT."""
        found = list(self._select("SELECT kept, pending FROM photos WHERE name = ?", (os.fsencode(name),)))
        return _kept(*found[0]) if found else None

    def begin(self, names: Iterable[Path]) -> None:
        """Notes which photos are to be restored anew."""
        with self._errors(), self._transaction():
            self._db.executemany("UPDATE photos SET pending = 1 WHERE name = ?", ((os.fsencode(name),) for name in names))

    def add(self, done: Iterable[tuple[Path, Kept, str | None]]) -> None:
        """Notes (name, entry, pictures for the page; None: those that are there stay)."""
        with self._errors(), self._transaction():
            for name, kept, page in done:
                key, text = os.fsencode(name), json.dumps(asdict(replace(kept, pending=False)))
                self._db.execute("INSERT OR REPLACE INTO photos VALUES (?, 0, ?)", (key, text))
                if page is not None:
                    self._db.execute("INSERT OR REPLACE INTO pictures VALUES (?, ?)", (key, page))

    def settle(self, names: Iterable[Path]) -> None:
        """These are as they were before `begin`."""
        with self._errors(), self._transaction():
            self._db.executemany("UPDATE photos SET pending = 0 WHERE name = ?", ((os.fsencode(name),) for name in names))

    def pictures(self, names: Iterable[Path]) -> Iterator[tuple[Path, str]]:
        """(name, pictures for the page) of those that have some."""
        for name in names:
            for (page,) in self._select("SELECT page FROM pictures WHERE name = ?", (os.fsencode(name),)):
                yield name, page

    def others(self, names: Iterable[Path]) -> int:
        """How many photos earlier runs restored that are not among these."""
        known = {bytes(name) for (name,) in self._select("SELECT name FROM photos")}
        return len(known - {os.fsencode(name) for name in names})


def path_of(folder: Path) -> Path:
    """Where the ledger of an OUTPUT lies."""
    return folder / STATE / "restored.sqlite"


def no_photos(folder: Path) -> set[Path]:
    """The images that earlier jobs have put into `folder` beside photos: masks, and the sheet."""
    path = path_of(folder)
    if not path.exists():
        return set()
    found = {folder / "sheet.png"}
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as held:
        for (text,) in held.execute("SELECT kept FROM photos"):
            told = json.loads(text)
            photo = os.fsdecode(decode_name(told["row"]["output"] or ""))
            found |= {folder / each["name"] for each in told["written"] if each["name"] != photo}
    return found


def _kept(text: str, pending: int) -> Kept:
    held: dict[str, Any] = json.loads(text)
    row = held["row"]
    row |= {"regions": tuple(row["regions"]), "notes": tuple(row["notes"])}
    written = tuple(Written(**each) for each in held["written"])
    return Kept(**held | {"row": Row(**row), "written": written, "pending": bool(pending)})

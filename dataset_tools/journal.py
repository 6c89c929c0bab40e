"""What a build has done so far, kept in the dataset's .photomend/ so that a killed build goes on where it was.

A SQLite file rather than dicts: a build of millions of photos holds none of their rows in memory, and the finishing step reads
them back in the manifest's order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from dataset_tools import files
from dataset_tools.archive import decode_name
from dataset_tools.database import Database
from dataset_tools.errors import DatasetError
from dataset_tools.manifest import STATE, Row
from dataset_tools.watched import Job, Stats, stats

PASSING = {"unreadable", "worker_died", "time_limit", "internal_error"}  # failures that the next build tries again

_TABLES = """
PRAGMA user_version = 0;
DROP TABLE IF EXISTS made_with;
DROP TABLE IF EXISTS jobs;
DROP TABLE IF EXISTS rows;
CREATE TABLE made_with (text TEXT);
CREATE TABLE jobs (id INTEGER PRIMARY KEY, name TEXT UNIQUE, files INTEGER, stats TEXT, again INTEGER, seen INTEGER);
CREATE TABLE rows (job INTEGER, archive TEXT, relative BLOB, face INTEGER, source TEXT, row TEXT, pair TEXT);
CREATE INDEX rows_of_job ON rows (job);
CREATE INDEX rows_of_pair ON rows (pair) WHERE pair IS NOT NULL;
"""
_PASSING_TABLES = """
CREATE TEMP TABLE archives (prefix TEXT PRIMARY KEY, place INTEGER) WITHOUT ROWID;
CREATE TEMP TABLE old (source TEXT PRIMARY KEY, sha256 TEXT, grp TEXT, split TEXT) WITHOUT ROWID;
CREATE TEMP TABLE verdicts (job INTEGER PRIMARY KEY, verdict TEXT);
"""


class Journal(Database):
    """The jobs that are done, their rows as they were before grouping, and what their files were like. Held by one process.

    Every job is one transaction. PR_SET_PDEATHSIG and atomic pair files make a lost one harmless: it is done again.
    """

    def __init__(self, dataset: Path, made_with: Row):
        """`made_with`: versions and detector. Rows made with others are forgotten, since their bytes could differ."""
        super().__init__(dataset / STATE / "journal.sqlite", DatasetError, "add --fresh to build the dataset anew")
        self.changed = 0  # jobs whose files are no longer what they were
        with self._errors():
            self._db.executescript(_PASSING_TABLES)
            text = files.json_line({**made_with, "tables": _TABLES})
            known = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'made_with'").fetchone()
            if not known or self._db.execute("SELECT text FROM made_with").fetchall() != [(text,)]:
                self._db.executescript(f"BEGIN; {_TABLES} COMMIT;")
                self._db.execute("INSERT INTO made_with VALUES (?)", (text,))  # a kill before it costs the tables once more

    # --- while photos are worked on

    def begin(self, present: Iterable[str], prefixes: Iterable[str]) -> None:
        """Forgets jobs whose staged or published pairs are not among the names `present`.

        `prefixes`: what the names of each archive's photos begin with, in the order of the archives.
        """
        with self._errors(), self._transaction():
            self._db.executemany("INSERT INTO archives VALUES (?, ?)", ((prefix, at) for at, prefix in enumerate(prefixes)))
            self._place_in_archives()
            self._db.execute("CREATE TEMP TABLE present (name TEXT PRIMARY KEY) WITHOUT ROWID")
            self._db.executemany("INSERT OR IGNORE INTO present VALUES (?)", ((name,) for name in present))
            self._db.execute("DELETE FROM jobs WHERE id IN (SELECT job FROM rows WHERE pair IS NOT NULL "
                             "AND pair NOT IN (SELECT name FROM present))")  # fmt: skip
            if self._db.execute("SELECT changes()").fetchone()[0]:
                self.finished = False
            self._db.execute("DROP TABLE present")
            self._db.execute("DELETE FROM rows WHERE job NOT IN (SELECT id FROM jobs)")
            self._db.execute("UPDATE jobs SET seen = 0")

    def _place_in_archives(self) -> None:
        """Rows of another set of archives, where the names of photos may mean the same files all the same: a/1.png of photos/, or
        1.png of photos/a/ beside another archive."""
        known = {prefix for (prefix,) in self._db.execute("SELECT prefix FROM archives")}

        def prefix_of(source: str) -> str:
            return "" if "" in known else "".join(source.partition("/")[:2])

        self._db.create_function("prefix_of", 1, prefix_of)
        self._db.create_function("relative_of", 1, lambda source: decode_name(source.removeprefix(prefix_of(source))))
        self._db.execute("UPDATE rows SET relative = relative_of(source), archive = prefix_of(source) "
                         "WHERE archive NOT IN (SELECT prefix FROM archives)")  # fmt: skip

    def is_done(self, job: Job) -> bool:
        """True for a job that was done before, whose files have not changed since, and that did not fail in passing."""
        found = self._db.execute("SELECT id, stats, again FROM jobs WHERE name = ?", (_job_name(job),)).fetchone()
        if found is None or found[2]:
            return False
        if found[1] != json.dumps(stats(job)):
            self.changed += 1
            return False
        self._db.execute("UPDATE jobs SET seen = 1 WHERE id = ?", (found[0],))
        return True

    def ask_for_all(self, jobs: Sequence[Job], hidden: Iterable[str] = ()) -> list[Job]:
        """Those of `jobs` that are still to be done; the others are marked as part of the archive.

        `hidden`: what the names of files begin with that lie in folders which cannot be read at present: they are not gone.
        A job that is known to hold such a file stays as it is; what is left of it is not done anew without it.
        """
        with self._errors(), self._transaction():
            kept = {name: job for prefix in hidden for job in self._keep_below(prefix) for name in job.split("//")}
            left = [job for job in jobs if not kept or not all(source.name in kept for source in job)]
            for job in left if kept else ():  # one with a file more is done, instead of the one that is known
                names = [(kept[source.name],) for source in job if source.name in kept]
                self._db.executemany("UPDATE jobs SET seen = 0 WHERE name = ?", names)
            return [job for job in left if not self.is_done(job)]

    def _keep_below(self, prefix: str) -> list[str]:
        """Marks the jobs that hold a file whose name begins with `prefix`; their names."""
        within = "substr(name, 1, length(?1)) = ?1 OR instr(name, '//' || ?1) > 0"
        names = [name for (name,) in self._db.execute(f"SELECT name FROM jobs WHERE {within}", (prefix,))]
        self._db.execute(f"UPDATE jobs SET seen = 1 WHERE {within}", (prefix,))
        return names

    def add(self, job: Job, rows: Sequence[Row], stats: Stats) -> None:
        """Notes a finished job and what its files were when it began."""
        places = {source.name: source for source in job}
        name, reasons = _job_name(job), {row["reason"] for row in rows}
        told = [files.json_line(row) for row in rows]
        with self._errors(), self._transaction():
            known = self._db.execute("SELECT id FROM jobs WHERE name = ?", (name,)).fetchone()
            if known:
                held = [text for (text,) in self._db.execute("SELECT row FROM rows WHERE job = ? ORDER BY rowid", known)]
                self._db.execute("DELETE FROM rows WHERE job = ?", known)
            if not known or held != told or any(row.get("pair") for row in rows):  # a pair is staged, and wants its place
                self.finished = False
            values = (known and known[0], name, len(job), json.dumps(stats), bool(reasons & PASSING))
            key = self._db.execute("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, 1)", values).lastrowid
            self._db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", (
                (key, places[row["source"]].prefix, places[row["source"]].relative, row.get("face", -1), row["source"],
                 text, row.get("pair")) for row, text in zip(rows, told, strict=True)))  # fmt: skip

    # --- the finishing step

    def all_seen(self) -> bool:
        """True where the archive still holds every file that this journal knows."""
        return self._db.execute("SELECT 1 FROM jobs WHERE NOT seen").fetchone() is None

    def drop_the_unseen(self) -> int:
        """Forgets the jobs that the archive no longer holds; how many."""
        with self._errors(), self._transaction():
            gone = self._db.execute("DELETE FROM jobs WHERE NOT seen").rowcount
            if gone:
                self.finished = False
                self._db.execute("DELETE FROM rows WHERE job NOT IN (SELECT id FROM jobs)")
        return gone

    def remember(self, published: Iterable[Row]) -> None:
        """The rows of the manifest before: where its photos were placed."""
        photos = ((row["source"], row["sha256"], row["group"], row["split"]) for row in published if row["kind"] == "photo")
        with self._errors(), self._transaction():
            self._db.execute("DELETE FROM old")
            self._db.executemany("INSERT OR REPLACE INTO old VALUES (?, ?, ?, ?)", photos)

    def placed_before(self, source: str, sha256: str) -> tuple[str, str] | None:
        """(group, split) that the manifest before gave to this very photo."""
        query = "SELECT grp, split FROM old WHERE source = ? AND sha256 = ? AND grp IS NOT NULL"
        with self._errors():
            found: tuple[str, str] | None = self._db.execute(query, (source, sha256)).fetchone()
        return found

    def of_before(self) -> tuple[int, int]:
        """(photos of the manifest before that could be read, those of them that the archive no longer holds)."""
        with self._errors():
            count = "SELECT COUNT(*) FROM old WHERE sha256 IS NOT NULL"
            total = self._db.execute(count).fetchone()[0]
            there = "SELECT source FROM rows JOIN jobs ON jobs.id = rows.job WHERE seen"
            left = self._db.execute(f"{count} AND source NOT IN ({there})").fetchone()[0]
        return total, left

    def files(self) -> int:
        """How many files the archive holds."""
        return int(self._db.execute("SELECT COALESCE(SUM(files), 0) FROM jobs WHERE seen").fetchone()[0])

    def kept_jobs(self) -> Iterator[tuple[int, list[Row]]]:
        """(job, its rows) of each job that keeps a pair, in an order that depends on the names of its files alone."""
        query = ("SELECT rows.job, row FROM rows JOIN jobs ON jobs.id = rows.job JOIN archives ON prefix = archive "
                 "WHERE rows.job IN (SELECT job FROM rows WHERE pair IS NOT NULL) "
                 "ORDER BY jobs.name, place, relative, face")  # fmt: skip
        job, rows = 0, list[Row]()
        for key, text in self._select(query):
            if key != job and rows:
                yield job, rows
                rows = []
            job = key
            rows.append(json.loads(text))
        if rows:
            yield job, rows

    def holds(self, pair: str) -> bool:
        """True where a row of this build made that pair."""
        with self._errors():
            return self._db.execute("SELECT 1 FROM rows WHERE pair = ?", (pair,)).fetchone() is not None

    @property
    def finished(self) -> bool:
        """True where the dataset was published from exactly what this journal holds."""
        return bool(self._db.execute("PRAGMA user_version").fetchone()[0])

    @finished.setter
    def finished(self, value: bool) -> None:
        with self._errors():
            self._db.execute(f"PRAGMA user_version = {int(value)}")

    def source_of(self, job: int) -> str:
        """The name of the photo that a job keeps pairs of."""
        with self._errors():
            return str(self._db.execute("SELECT source FROM rows WHERE job = ? AND pair IS NOT NULL", (job,)).fetchone()[0])

    def decide(self, verdicts: Iterable[tuple[int, Row]]) -> None:
        """Notes (job, what the finishing step says of it) for `final_rows`."""
        with self._errors(), self._transaction():
            self._db.execute("DELETE FROM verdicts")
            lines = ((job, json.dumps(verdict)) for job, verdict in verdicts)
            self._db.executemany("INSERT INTO verdicts VALUES (?, ?)", lines)

    def final_rows(self, judge: Callable[[Row, Row | None], Row]) -> Iterator[Row]:
        """judge(row, verdict on its job or None) of every row, in the manifest's order: (archive, path bytes, face)."""
        query = ("SELECT row, verdict FROM rows JOIN archives ON prefix = archive LEFT JOIN verdicts USING (job) "
                 "ORDER BY place, relative, face")  # fmt: skip
        for text, verdict in self._select(query):
            yield judge(json.loads(text), json.loads(verdict) if verdict else None)


def _job_name(job: Job) -> str:
    return "//".join(source.name for source in job)  # which no path holds


def names_in(*folders: Path) -> Iterator[str]:
    """The names in those of the folders that exist."""
    for folder in folders:
        if folder.is_dir():
            yield from os.listdir(folder)

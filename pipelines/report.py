"""What a job tells: its rows and counts, report.json, report.csv, failures.csv, sheet.png and report.html."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dataset_tools import files, image_io
from dataset_tools.errors import OutputError
from pipelines.figures import comparison_sheet, counted, csv_text, figures_table, flatten, means
from pipelines.mark import STATEMENT
from pipelines.outputs import REPORT_FILES, STATE
from pipelines.restore import Figures, Row, Shown, in_words
from pipelines.whole_photo import HAD_COLOURS

FORMAT, FORMAT_VERSION = "photomend restore report", 1
LOCK = "restore.lock"  # in the folder STATE of an OUTPUT
NAMED = 3  # files that are no images, for a terminal
PICTURES = 2000  # photos that report.html shows


@dataclass(frozen=True)
class RestoreReport:
    """The whole job. files = not_images + restored + nothing_to_restore + failed."""

    model: dict[str, Any]  # name, sha256, card
    settings: dict[str, Any]
    rows: tuple[Row, ...]
    no_images: tuple[str, ...] = ()  # the other files of the INPUTs
    earlier: int = 0  # of the restored and copied ones: those that an earlier run had done
    others: int = 0  # photos of earlier jobs that are not among these, and stay in OUTPUT
    linked_folders: tuple[str, ...] = ()  # links to folders, which are not followed
    seconds: float = 0.0
    shown: tuple[Shown, ...] = field(default=(), repr=False)  # rows of the sheet, at most SHEET_ROWS
    pictures: Mapping[str, str] = field(default_factory=dict, repr=False)  # of the page, by source, at most PICTURES

    @property
    def files(self) -> int:
        return len(self.rows) + len(self.no_images)

    @property
    def not_images(self) -> int:
        return len(self.no_images)

    @property
    def restored(self) -> int:
        return sum(row.status == "restored" for row in self.rows)

    @property
    def nothing_to_restore(self) -> int:
        """Whole photos that were copied as they are."""
        return sum(row.status == "nothing_to_restore" for row in self.rows)

    @property
    def failed(self) -> int:
        return sum(row.status == "failed" for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0, or 3 where some inputs failed."""
        return 3 if self.failed else 0

    @property
    def counts(self) -> dict[str, int]:
        names = ("files", "not_images", "restored", "nothing_to_restore", "failed")
        return {name: getattr(self, name) for name in names}

    @property
    def figures(self) -> Figures:
        """Means over the photos whose original is known: of "restored" and of each baseline; {} where there is none."""
        return means([row.metrics for row in self.rows if row.metrics])

    def summary(self) -> dict[str, Any]:
        """What --json prints: the counts, and the figures where originals are known."""
        told = {"counts": self.counts, "earlier": self.earlier, "others": self.others}
        return told | {"figures": self.figures, "seconds": round(self.seconds, 3)}

    def lines(self) -> list[str]:
        """The outcome in words, for a terminal."""
        counts = self.counts
        idle = f"{self.nothing_to_restore} with nothing to restore, " if self.nothing_to_restore else ""
        total = counted(counts["files"], "file")
        told = [f"{total}: {self.restored} restored, {idle}{self.failed} failed, {self.not_images} not images"]
        if self.earlier:
            told.append(f"{self.earlier} of them were done by an earlier run and have not changed since")
        if self.others:
            told.append(f"{counted(self.others, 'photo')} of earlier jobs in OUTPUT; this report does not tell of them")
        if len(self.rows) == 1:
            told += self.rows[0].notes
        elif repainted := sum(HAD_COLOURS in row.notes for row in self.rows):
            told.append(f"{repainted} of them had colours, which the model's have replaced; report.csv says which")
        if self.failed:
            told.append("failures.csv says which failed, and why")
        if self.no_images:
            more = f" and {self.not_images - NAMED} more, which report.json names" if self.not_images > NAMED else ""
            told.append(f"not images: {', '.join(map(image_io.printable, self.no_images[:NAMED]))}{more}")
        if self.linked_folders:
            told.append(f"links to folders are not followed: {', '.join(self.linked_folders)}")
        return told + (figures_table(self.figures) if self.figures else [])

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "complete": True,
            "photomend": importlib.metadata.version("photomend"),
            "statement": STATEMENT,
            "model": self.model,
            "settings": self.settings,
            "counts": self.counts,
            "earlier": self.earlier,
            "others": self.others,
            "no_images": list(self.no_images),
            "linked_folders": list(self.linked_folders),
            "figures": self.figures,
            "seconds": round(self.seconds, 3),
            "rows": [asdict(row) for row in self.rows],
        }


def check_folder(output: Path) -> None:
    """Raises OutputError where the folder `output` holds something that no earlier job has written."""
    if not os.path.lexists(output):
        return
    if not output.is_dir():
        raise OutputError(f"OUTPUT {in_words(output)} is a file, not a folder: choose another name")
    if any(output.iterdir()) and not is_ours(output):
        raise OutputError(
            f"OUTPUT {in_words(output)} is not empty and was not written by photomend restore: choose another folder"
        )


def is_ours(folder: Path) -> bool:
    """True where an earlier job, finished or not, has written into `folder`."""
    if (folder / STATE / LOCK).exists():
        return True
    try:
        return bool(json.loads((folder / "report.json").read_text("utf-8")).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError):
        return False


def begin(folder: Path) -> None:
    """Says in `folder` that a job has begun, and forgets the report of an earlier one."""
    files.replace_json(folder / "report.json", {"format": FORMAT, "format_version": FORMAT_VERSION, "complete": False})
    for name in REPORT_FILES[1:]:
        (folder / name).unlink(missing_ok=True)


def write(folder: Path, report: RestoreReport, page: str) -> None:
    """Writes the five files of a report, `page` as its HTML; failures.csv and sheet.png only where they tell something."""
    rows = [_csv_row(row) for row in report.rows]
    files.replace_text(folder / "report.csv", csv_text(rows, ("source", "output", "status", "reason")))
    if report.failed:
        failures = [
            {"source": row.source, "reason": row.reason, "message": row.message} for row in report.rows if row.status == "failed"
        ]
        files.replace_text(folder / "failures.csv", csv_text(failures, ("source", "reason", "message")))
    if report.shown:
        header = f"{report.restored} of {len(report.rows)} restored by {report.model['name']}"
        image_io.write(folder / "sheet.png", comparison_sheet(report.shown, header), "PNG")
    files.replace_text(folder / "report.html", page)
    files.replace_json(folder / "report.json", report.to_json())


def _csv_row(row: Row) -> dict[str, Any]:
    values = asdict(row)
    del values["metrics"], values["message"]
    values |= {"regions": len(row.regions), "notes": "; ".join(row.notes)}
    return values | flatten(row.metrics)

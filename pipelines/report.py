"""What a job tells: its rows and counts, report.json, report.csv, failures.csv, sheet.png and report.html."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dataset_tools import files, html, image_io, sheets
from dataset_tools.archive import decode_name, encode_name
from dataset_tools.errors import OutputError
from dataset_tools.html import Markup, element
from dataset_tools.metrics import METRICS
from pipelines.evaluate import comparison_sheet, csv_text, figures_table, flatten, means, metric_title
from pipelines.mark import STATEMENT, is_marked
from pipelines.restore import Figures, Row, Shown

FORMAT, FORMAT_VERSION = "photomend restore report", 1
FILES = ("report.json", "report.csv", "failures.csv", "sheet.png", "report.html")  # names that no photo may take
PICTURES = 200  # rows of report.html that show pictures
THUMBNAIL = 112  # pixels


@dataclass(frozen=True)
class RestoreReport:
    """The whole job. files = not_images + restored + nothing_to_restore + failed."""

    model: dict[str, Any]  # name, sha256, card
    settings: dict[str, Any]
    files: int
    not_images: int
    rows: tuple[Row, ...]
    linked_folders: tuple[str, ...] = ()  # links to folders, which are not followed
    seconds: float = 0.0
    shown: tuple[Shown, ...] = field(default=(), repr=False)  # rows of the sheet, at most SHEET_ROWS
    pictures: Mapping[str, Markup] = field(default_factory=dict, repr=False)  # of the page, by source, at most PICTURES

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
        return {"counts": self.counts, "figures": self.figures, "seconds": round(self.seconds, 3)}

    def lines(self) -> list[str]:
        """The outcome in words, for a terminal."""
        counts = self.counts
        idle = f"{self.nothing_to_restore} with nothing to restore, " if self.nothing_to_restore else ""
        told = [f"{counts['files']} files: {self.restored} restored, {idle}{self.failed} failed, {self.not_images} no images"]
        if self.failed:
            told.append("failures.csv says which failed, and why")
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
            "linked_folders": list(self.linked_folders),
            "figures": self.figures,
            "seconds": round(self.seconds, 3),
            "rows": [asdict(row) for row in self.rows],
        }


def check_file(output: Path) -> None:
    """Raises OutputError where the file `output` exists and was not restored by photomend."""
    try:
        ours = not os.path.lexists(output) or is_marked(output.read_bytes())
    except OSError:
        ours = False
    if not ours:
        raise OutputError(f"{_shown(output)} exists and was not written by photomend: choose another name, or remove it")


def check_folder(output: Path) -> None:
    """Raises OutputError where the folder `output` holds something that no earlier job has written."""
    if not os.path.lexists(output):
        return
    if not output.is_dir():
        raise OutputError(f"OUTPUT {_shown(output)} is a file, not a folder: choose another name")
    if any(output.iterdir()) and not is_ours(output):
        raise OutputError(f"OUTPUT {_shown(output)} is not empty and was not written by photomend restore: choose another folder")


def is_ours(folder: Path) -> bool:
    """True where an earlier job, finished or not, has written into `folder`."""
    try:
        return bool(json.loads((folder / "report.json").read_text("utf-8")).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError):
        return False


def begin(folder: Path) -> set[str]:
    """Makes `folder` ours before the first photo, so that an interrupted job can be run again, and forgets an earlier report.

    Returns the outputs that earlier jobs wrote.
    """
    path = folder / "report.json"
    held = json.loads(path.read_text("utf-8")) if path.exists() else {}
    outputs = {row["output"] for row in held.get("rows", ()) if row.get("output")} | set(held.get("outputs", ()))
    files.replace_json(path, {"format": FORMAT, "format_version": FORMAT_VERSION, "complete": False, "outputs": sorted(outputs)})
    for name in FILES[1:]:
        (folder / name).unlink(missing_ok=True)
    return outputs


def remove_stale(folder: Path, outputs: set[str]) -> None:
    """Removes what earlier jobs restored and this one did not: only files below `folder` that carry the mark."""
    for name in outputs:
        path = folder / os.fsdecode(decode_name(name))
        inside = os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)
        if inside and path.is_file() and is_marked(path.read_bytes()):
            path.unlink()


def write(folder: Path, report: RestoreReport) -> None:
    """Writes the five files of a report; failures.csv and sheet.png only where there is something to put into them."""
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
    files.replace_text(folder / "report.html", report_page(report))
    files.replace_json(folder / "report.json", report.to_json())


def _csv_row(row: Row) -> dict[str, Any]:
    values = asdict(row)
    del values["metrics"], values["message"]
    values |= {"regions": len(row.regions), "notes": "; ".join(row.notes)}
    return values | flatten(row.metrics)


def thumbnails(shown: Shown) -> Markup:
    """The pictures of one row of report.html."""
    pictures = (html.image(sheets.fit(rgb, THUMBNAIL), f"{title}: {shown.name}") for title, rgb in shown.images.items())
    return element("div", *pictures, kind="pictures")


def report_page(report: RestoreReport) -> str:
    """report.html: what was restored, how well where the original is known, what failed, and with which model."""
    parts = [
        element("p", STATEMENT, kind="notice"),
        element("h2", "Counts"),
        html.table(("", "files"), [(name.replace("_", " "), value) for name, value in report.counts.items()]),
    ]
    if report.linked_folders:
        parts.append(element("p", f"Links to folders are not followed: {', '.join(report.linked_folders)}."))
    figures = report.figures
    if figures:
        parts += [element("h2", "Against the originals"), *_figures_table(figures)]
    failed = [row for row in report.rows if row.status == "failed"]
    if failed:
        lines = [(row.source, row.reason, row.message) for row in failed]
        parts += [element("h2", "Failures"), html.table(("photo", "reason", "what"), lines)]
    parts += [element("h2", "Photos"), *_photos(report, tuple(figures.get("restored", ())))]
    about = {"name": report.model["name"], "sha256": report.model["sha256"], **report.model["card"]}
    parts += [element("h2", "Model"), _facts(about)]
    parts += [element("h2", "Settings"), _facts(report.settings)]
    return html.page(f"Restored by {report.model['name']}", parts)


def _figures_table(figures: Figures) -> list[Markup]:
    names = list(figures["restored"])
    arrows = {"higher": " ↑", "lower": " ↓", "none": ""}
    head = ("mean", *(metric_title(name) + arrows[METRICS[name].better] for name in names))
    rows = [(row, *(values.get(name) for name in names)) for row, values in figures.items()]
    return [html.table(head, rows), element("p", "↑ higher is better, ↓ lower is better.", kind="faint")]


def _photos(report: RestoreReport, names: Sequence[str]) -> list[Markup]:
    """The table of what was restored, pictures first, and what to know about it."""
    rows = []
    for row in report.rows:
        if row.status == "restored":
            size = f"{row.width}\u00a0×\u00a0{row.height}{', resized for the model' if row.resized else ''}"
            values = (row.metrics or {}).get("restored", {})
            rows.append((report.pictures.get(row.source, ""), row.source, size, *(values.get(name) for name in names)))
    titles = next((", ".join(each.images) for each in report.shown), "")
    told = f"Each row shows {titles}. " if titles else "None. "
    told += "The figures are those of the restored image. " if names else ""
    without = report.restored - len(report.pictures)
    if without:
        told += f"The first {len(report.pictures)} photos are shown; {without} more are listed without pictures."
    head = ("", "photo", "size", *map(metric_title, names))
    return [element("p", told, kind="faint"), html.table(head, rows)]


def _facts(values: Mapping[str, Any]) -> Markup:
    lines = []
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append((name.replace("_", " "), text))
    return html.table(("", ""), lines)


def _shown(path: Path) -> str:
    return encode_name(os.fsencode(path))

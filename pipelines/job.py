"""A folder of photos: find every one, restore it, mirror it under OUTPUT, and account for every file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dataset_tools import image_io
from dataset_tools.archive import decode_name, encode_name, walk
from dataset_tools.engines import TimedOut, WorkerDied, default_workers, run_here, run_local
from dataset_tools.errors import PhotomendError, UsageError
from dataset_tools.groups import SPLITS
from dataset_tools.html import Markup
from dataset_tools.manifest import is_dataset, open_dataset
from dataset_tools.pairs import DIRECTIONS
from pipelines import report as reports
from pipelines.engines import OnnxEngine, open_engine, resolve_model
from pipelines.evaluate import SHEET_ROWS, evenly, split_pairs
from pipelines.report import RestoreReport
from pipelines.restore import BATCH, Item, Row, Shown, Target, metric_names
from pipelines.whole_photo import Wishes
from pipelines.work import Done, RestoreWork, Settings, Task

INPUT_KINDS = ("photo", "crop", "pair")
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF",
           ".tiff": "TIFF"}  # fmt: skip
KEPT = frozenset(FORMATS.values())  # formats that can carry the mark; a file of any other becomes a PNG
WORTH_A_WORKER = 8  # photos, or batches of crops, for which another process is worth its start
TIME_LIMIT = 1800  # seconds for one photo, or for a batch of crops

Progress = Callable[[int, int], None]


def restore_photos(
    model: str | Path, inputs: Sequence[Path], output: Path, *, input_kind: str | None = None, direction: str = "AtoB",
    split: str = "test", wishes: Wishes | None = None, gps: bool = True, workers: int | None = None,
    progress: Progress | None = None,
) -> RestoreReport:  # fmt: skip
    """Restores every photo of `inputs` (files and folders) into the folder `output`, names and sizes kept, and reports.

    Args:
        model: a run folder, an .onnx file, or the name of a model that ships.
        output: absent, empty, or written by an earlier job; for one input file it may be a file with an image suffix.
        input_kind: "photo", each file is a whole photo, of which the model's task says what is restored; "crop", each file is a
            crop; "pair", each file is A|B. None: pairs where the INPUTs are datasets of photomend or lie in one, else photos.
        direction: of pairs, "AtoB" (the left half is the input) or "BtoA".
        split: what is restored of an INPUT that is a dataset's own folder.
        wishes: of whole photos: how strongly, and which regions.
        gps: keep the location that a photo tells.
        workers: processes; None: one a core, or this process alone where there is little to do.
        progress: called as progress(done, total).

    A photo that cannot be read, or that this model cannot restore, is a failed row and never ends the job; exit_code of the
    report is 3 then. A whole photo in which nothing is to be restored is copied as it is, and counted as such.

    Raises:
        UsageError: paths or options that cannot be meant. PhotomendError: no image.
        OutputError: `output` is not ours, or cannot be written. ModelFileError, DatasetError: not a model, not a dataset.
    """
    began = time.monotonic()
    wishes = wishes or Wishes()
    model_file = resolve_model(model)
    check_paths(inputs, output)
    kind = _kind(inputs, input_kind, direction)
    check_wishes(wishes)
    engine = open_engine(model_file)
    items, not_images, linked = find(inputs, split, direction)
    if not items:
        raise PhotomendError(
            f"{', '.join(map(_shown, inputs))} holds no image ({not_images} other files): give a folder of photos"
        )
    to_file = _is_file_output(inputs, output)
    earlier: set[str] = set()
    if to_file:
        reports.check_file(output)
        name = Path(output.name)
        targets = [Target(output.parent, name, FORMATS[output.suffix.lower()], name)]
    else:
        reports.check_folder(output)
        targets = name_outputs(items, output)
        earlier = reports.begin(output)
    settings = Settings(kind, direction, metric_names(item.drawn for item in items), gps, wishes)
    rows, shown, pictures = _run(engine, model_file, items, targets, settings, workers, progress)
    if to_file and rows[0].status == "failed":
        raise PhotomendError(rows[0].message or "")
    told: dict[str, Any] = {"inputs": [encode_name(os.fsencode(_base(path))) for path in inputs], "input": kind}
    told |= {"direction": direction, "split": split} if kind == "pair" else {"gps": gps}
    told |= asdict(wishes) if kind == "photo" else {}
    report = RestoreReport(
        model={"name": engine.name, "sha256": engine.sha256, "card": engine.card}, settings=told, rows=tuple(rows),
        files=not_images + len(rows), not_images=not_images, linked_folders=tuple(linked), seconds=time.monotonic() - began,
        shown=tuple(shown), pictures=pictures,
    )  # fmt: skip
    if not to_file:
        reports.remove_stale(output, earlier - {row.output for row in rows if row.output})
        reports.write(output, report)
    return report


def check_wishes(wishes: Wishes) -> None:
    """Raises UsageError for a wish that no photo could fulfil."""
    if not 0 <= wishes.strength <= 1:
        raise UsageError(f"--strength {wishes.strength:g}: give a number from 0 (as it was) to 1 (as the model restores it)")
    if wishes.largest is not None and wishes.largest < 1:
        raise UsageError(f"--largest {wishes.largest}: give 1 or more")
    if wishes.least < 0:
        raise UsageError(f"--min-face {wishes.least}: give a number of pixels, 0 or more")


def find(inputs: Sequence[Path], split: str = "test", direction: str = "AtoB") -> tuple[list[Item], int, list[str]]:
    """Every photo of the INPUTs, by (input, path bytes), named as below OUTPUT; how many other files; links to folders.

    Something counts as a photo if it is one by content, or claims by its suffix to be one.
    """
    items: list[Item] = []
    seen, linked = 0, []
    roots = [dataset_of(path) for path in inputs]
    datasets = {root: open_dataset(root, direction) for root in set(roots) if root}
    for path, root in zip(inputs, roots, strict=True):
        if root and (datasets[root].info or {}).get("recipe", {}).get("format") == "webdataset":
            raise UsageError(
                f"{_shown(path)} holds its pairs in tar shards, which are not restored: use photomend evaluate on it, "
                "or restore a dataset built with --format folder"
            )
    drawn = {row.path: row.degradations for each in datasets.values() for name in SPLITS for row in each.pairs(name)}
    for path, root, label in zip(inputs, roots, _labels(inputs), strict=True):
        if root and root == path.resolve():
            found = [(row.path, row.path.relative_to(root)) for row in split_pairs(datasets[root], split)]
        elif path.is_dir():
            sources, links = walk([path])
            linked += [encode_name(os.fsencode(label / os.fsdecode(decode_name(link)))) for link in links]
            found = [(Path(source.path), Path(os.fsdecode(source.relative))) for source in sources]
        else:
            found = [(path, Path())]
        seen += len(found)
        for file, below in found:
            counts, format = _look(file)
            if counts:
                items.append(Item(file, label / below, format, drawn.get(file.resolve(), ())))
    return items, seen - len(items), linked


def name_outputs(items: Sequence[Item], folder: Path) -> list[Target]:
    """Where below `folder` each item goes. No two are the same, none is a file of the report or a folder of another.

    A file keeps its name where its format can carry the mark, else .png follows the whole old name (x.gif.png). Where that is
    taken, the old suffix is repeated (sheet.png.png), then come -2, -3.
    """
    taken = {Path(name) for name in reports.FILES}.union(*(item.name.parents for item in items))
    targets: dict[int, Target] = {}
    for index in sorted(range(len(items)), key=lambda index: items[index].format not in KEPT):  # names that are kept come first
        name, format = items[index].name, items[index].format
        suffix = name.suffix if format in KEPT else ".png"
        target = name if format in KEPT else name.with_name(name.name + suffix)
        number = 1
        while target in taken:
            target = name.with_name(f"{name.name}{f'-{number}' if number > 1 else ''}{suffix}")
            number += 1
        taken.add(target)
        as_it_is = name if name == target or name not in taken else target.with_name(f"{target.name}{name.suffix}")
        targets[index] = Target(folder, target, format if format in KEPT and format else "PNG", as_it_is)
    return [targets[index] for index in range(len(items))]


def dataset_of(path: Path) -> Path | None:
    """The photomend dataset that `path` is or lies in."""
    resolved = path.resolve()
    return next((folder for folder in (resolved, *resolved.parents) if is_dataset(folder)), None)


def check_paths(inputs: Sequence[Path], output: Path) -> None:
    """Raises UsageError where an INPUT is missing, or where OUTPUT could overwrite one or be restored again."""
    if not inputs:
        raise UsageError("no INPUT: give photos or folders of photos")
    target = output.resolve()
    for path in inputs:
        if not path.exists():
            raise UsageError(f"{_shown(path)} does not exist: give a photo or a folder of photos")
        source = path.resolve()
        if target == source:
            raise UsageError(f"OUTPUT is INPUT ({_shown(path)}): an input is never overwritten, choose another OUTPUT")
        if source in target.parents or target in source.parents:
            raise UsageError(f"OUTPUT {_shown(output)} and INPUT {_shown(path)} lie one inside the other: choose an OUTPUT apart")


def _kind(inputs: Sequence[Path], asked: str | None, direction: str) -> str:
    """What the files are: crop or pair."""
    if asked not in (None, *INPUT_KINDS):
        raise UsageError(f"--input takes {', '.join(INPUT_KINDS)}; received {asked}")
    if direction not in DIRECTIONS:
        raise UsageError(f"--direction takes {' or '.join(DIRECTIONS)}; received {direction}")
    members = [path for path in inputs if dataset_of(path)]
    if members and asked in ("photo", "crop"):
        raise UsageError(f"{_shown(members[0])} belongs to a dataset, whose files are A|B images: leave --input out")
    if asked is None and members and len(members) < len(inputs):
        raise UsageError("some INPUTs belong to a dataset and some do not: restore them one after the other")
    kind = asked or ("pair" if members else "photo")
    return kind


def _labels(inputs: Sequence[Path]) -> list[Path]:
    """What stands before the names of each INPUT: nothing for one folder, else its base name (-2, -3 where equal)."""
    if len(inputs) == 1 and inputs[0].is_dir():
        return [Path()]
    labels: dict[Path, None] = {}
    for path in inputs:
        label = base = Path(_base(path))
        stem, suffix = (base.name, "") if path.is_dir() else (base.stem, base.suffix)
        number = 1
        while label in labels:
            number += 1
            label = Path(f"{stem}-{number}{suffix}")
        labels[label] = None
    return list(labels)


def _look(path: Path) -> tuple[bool, str | None]:
    """(whether it counts as a photo, its format by content). Neither content nor suffix: it does not count."""
    claims = path.suffix.lower() in image_io.SUFFIXES
    if not os.path.isfile(path):  # a dangling link, a pipe; or a folder that may not be read, which must not be passed over
        return claims or os.path.isdir(path), None
    try:
        with open(path, "rb") as handle:
            format = image_io.sniff(handle.read(image_io.HEAD_BYTES))
    except OSError:
        return True, None
    return claims or format is not None, format


def _is_file_output(inputs: Sequence[Path], output: Path) -> bool:
    single = len(inputs) == 1 and inputs[0].is_file() and not output.is_dir()
    if single and output.suffix.lower() in image_io.SUFFIXES - FORMATS.keys():
        raise UsageError(f"OUTPUT {_shown(output)} cannot carry the mark of a restored image: use .png, .jpg, .webp or .tif")
    return single and output.suffix.lower() in FORMATS


def _run(
    engine: OnnxEngine, model: Path, items: Sequence[Item], targets: Sequence[Target], settings: Settings, workers: int | None,
    progress: Progress | None,
) -> tuple[list[Row], list[Shown], dict[str, Markup]]:  # fmt: skip
    """Restores and writes every item. Gives the rows, the rows of the sheet and the pictures of the page, in the items' order."""
    chosen = evenly(len(items), SHEET_ROWS)
    tasks = [
        Task(index, item, target, index in chosen or index < reports.PICTURES)
        for index, (item, target) in enumerate(zip(items, targets, strict=True))
    ]
    size = 1 if settings.kind == "photo" else BATCH
    jobs = [tuple(tasks[start : start + size]) for start in range(0, len(tasks), size)]
    wanted = min(workers or default_workers(), -(-len(jobs) // WORTH_A_WORKER))
    if workers is None and wanted < 2:
        running = run_here(RestoreWork(model, settings, engine=engine), jobs)
    else:
        threads = max(1, default_workers() // wanted)
        running = run_local(RestoreWork(model, settings, threads), jobs, wanted, TIME_LIMIT)
    done: dict[int, Done] = {}
    for job, result in running:
        answers = result if isinstance(result, list) else [(_lost(task.item, result), None) for task in job]
        done |= {task.index: answer for task, answer in zip(job, answers, strict=True)}
        if progress:
            progress(len(done), len(items))
    ordered = [done[index] for index in range(len(items))]
    shown = [seen for index, (_, seen) in enumerate(ordered) if seen and index in chosen]
    pictures: dict[str, Markup] = {}
    for row, seen in ordered:
        if seen and len(pictures) < reports.PICTURES:
            pictures[row.source] = reports.thumbnails(seen)
    return [row for row, _ in ordered], shown, pictures


def _lost(item: Item, how: TimedOut | WorkerDied) -> Row:
    """The row of a photo that took too long, or that ended the process which worked on it, twice."""
    if isinstance(how, TimedOut):
        told = "time_limit", f"it took longer than the {TIME_LIMIT} seconds that one photo may"
    else:
        told = "worker_died", "the process that worked on it died twice: a damaged file, or too little memory"
    return Row(item.source, None, "failed", told[0], f"{item.source}: {told[1]}")


def _base(path: Path) -> str:
    return os.path.basename(os.path.abspath(path)) or "input"


def _shown(path: Path) -> str:
    return encode_name(os.fsencode(path))

"""A folder of photos: find every one, restore it, mirror it under OUTPUT, and account for every file."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dataset_tools import files
from dataset_tools.engines import TimedOut, WorkerDied, default_workers, run_here, run_local
from dataset_tools.errors import PhotomendError, UsageError
from pipelines import report as reports
from pipelines.engines import open_engine, resolve_model
from pipelines.figures import SHEET_ROWS, counted, evenly
from pipelines.inputs import base_name, check_paths, find, kind_of, windows_of
from pipelines.inputs import told as inputs_told
from pipelines.ledger import Kept, Ledger, path_of
from pipelines.outputs import FORMATS, KEPT, STATE, Target, check_file, is_file_output, name_outputs, sweep
from pipelines.pictures import shown_again
from pipelines.report import PICTURES, RestoreReport
from pipelines.report_page import report_page
from pipelines.restore import BATCH, Item, Row, Shown, in_words, metric_names
from pipelines.whole_photo import Wishes
from pipelines.work import Done, RestoreWork, Settings, Task

WORTH_A_WORKER = 8  # photos, or batches of crops, for which another process is worth its start
TIME_LIMIT = 1800.0  # seconds for one photo, or for a batch of crops

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """What a job has to do, by task."""

    todo: tuple[Task, ...]
    current: tuple[tuple[Task, Kept], ...]  # what an earlier run has done, and what it noted
    not_images: int
    whole: bool = False  # photos, in some of which nothing may be to be restored

    def summary(self) -> dict[str, Any]:
        """What --dry-run --json prints."""
        names = {task.item.source: in_words(task.target.name) for task in self.todo}
        return {"to_do": len(self.todo), "done_before": len(self.current), "not_images": self.not_images, "outputs": names}

    def lines(self, most: int = 10) -> list[str]:
        """The same in words."""
        told = [
            f"{counted(len(self.todo), 'photo')} to do, {len(self.current)} done by an earlier run, {self.not_images} not images"
        ]
        told += [f"   {task.item.source} -> {in_words(task.target.name)}" for task in self.todo[:most]]
        if self.whole and any(task.target.as_it_is != task.target.name for task in self.todo[:most]):
            told.append("   (a photo in which nothing is to be restored keeps its name and its format)")
        return told + ([f"   and {len(self.todo) - most} more"] if len(self.todo) > most else [])


def restore_photos(
    model: str | Path, inputs: Sequence[Path], output: Path, *, input_kind: str | None = None, direction: str = "AtoB",
    split: str = "test", wishes: Wishes | None = None, gps: bool = True, format: str | None = None, mask: bool = False,
    label: bool = False, manifest: Path | None = None, engine: str = "onnxruntime", workers: int | None = None,
    time_limit: float | None = None, progress: Progress | None = None,
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
        format: JPEG, PNG, WEBP or TIFF for all that is restored; None: each keeps its own.
        mask: write the map of invented pixels beside each photo, NAME.mask.png: 0 is the photo's own, 255 the model's.
        label: draw a small visible note on what was restored.
        manifest: a dataset that was built of photos of these names: a model that learned from faces is given its crops.
        engine: onnxruntime, openvino or openvino-bfloat16.
        workers: processes; 0: this process alone; None: one a core, or this process where there is little to do.
        time_limit: seconds for one photo, or for a batch of crops; None: TIME_LIMIT, where there are worker processes.
        progress: called as progress(done, total).

    What an earlier run has done is left as it is where photo, model, settings and output are the same, so that the same call
    goes on after a kill; nothing that an earlier run restored is removed but what the same photo's new output replaces, such as
    its old mask. A photo that cannot be read, or that this model cannot restore, is a failed row and never ends the job;
    exit_code of the report is 3 then. A whole photo in which nothing is to be restored is copied as it is, and counted as such.

    Raises:
        UsageError: paths or options that cannot be meant. PhotomendError: no image.
        OutputError, FolderBusy: `output` is not ours, cannot be written, or is in use. ModelFileError, DatasetError: not a
        model, not a dataset.
    """
    job = RestoreJob(model, inputs, output, input_kind=input_kind, direction=direction, split=split, wishes=wishes, gps=gps,
                     format=format, mask=mask, label=label, manifest=manifest, engine=engine)  # fmt: skip
    return job.run(workers, time_limit, progress)


class RestoreJob:
    """One job, as `restore_photos` describes it. Making it checks everything and writes nothing."""

    def __init__(
        self, model: str | Path, inputs: Sequence[Path], output: Path, *, input_kind: str | None = None,
        direction: str = "AtoB", split: str = "test", wishes: Wishes | None = None, gps: bool = True,
        format: str | None = None, mask: bool = False, label: bool = False,
        manifest: Path | None = None, engine: str = "onnxruntime",
    ):  # fmt: skip
        self._model, self._output = resolve_model(model), output
        check_paths(inputs, output)
        kind, wishes = kind_of(inputs, input_kind, direction), wishes or Wishes()
        check_wishes(wishes)
        if format not in (None, *KEPT):
            raise UsageError(f"--format {format}: choose one of {', '.join(sorted(KEPT))}")
        self._engine = open_engine(self._model, engine)
        check_use(wishes, kind, self._engine.card["task"])
        items, self._others, self._linked = find(inputs, split, direction)
        if not items:
            others = counted(len(self._others), "other file")
            raise PhotomendError(f"{', '.join(map(in_words, inputs))} holds no image ({others}): give a folder of photos")
        self._to_file = is_file_output(inputs, output)
        if self._to_file and format:
            raise UsageError(f"--format {format.lower()}: the name of OUTPUT, {in_words(output)}, says what it is to be")
        if self._to_file:
            targets = [_as_file(items[0], output, mask)]
            check_file(output, items[0].path)
        else:
            targets = name_outputs(items, output, format, mask)
            reports.check_folder(output)
        names = metric_names(item.drawn for item in items)
        windows, fingerprint = windows_of(manifest) if manifest else ({}, None)
        known = sum(item.source in windows for item in items)
        if manifest and not known:
            raise UsageError(
                f"--manifest {in_words(manifest)} knows none of these photos: it knows their names below the archive that "
                f"it was built from, such as {next(iter(windows), '')!r}, and here {items[0].source!r}"
            )
        self._settings = Settings(kind, direction, names, gps, mask, label, format, engine, wishes, fingerprint)
        made_with = self._settings.made_with(importlib.metadata.version("photomend"), self._engine.sha256)
        sheet = evenly(len(items), SHEET_ROWS)
        self._tasks = [
            Task(index, item, target, made_with, None, windows.get(item.source, ()), index < PICTURES and not self._to_file,
                 index in sheet)
            for index, (item, target) in enumerate(zip(items, targets, strict=True))
        ]  # fmt: skip
        told: dict[str, Any] = {"inputs": inputs_told(inputs), "input": kind}
        told |= {"direction": direction, "split": split} if kind == "pair" else {"gps": gps}
        told |= asdict(wishes) if kind == "photo" else {}
        self._told = told | {"format": format or "as it was", "mask": mask, "label": label}
        manifest_told = f"{base_name(manifest)}, which knows {known} of {len(items)} photos" if manifest else None
        self._told |= {"manifest": manifest_told, "engine": self._engine.runs_on}

    def plan(self) -> Plan:
        """What `run` would do. Raises FolderBusy: another job works in that OUTPUT."""
        if self._to_file or not path_of(self._output).exists():
            return Plan(tuple(self._tasks), (), len(self._others), self._settings.kind == "photo")
        with files.folder_lock(_lock(self._output), in_words(self._output)), Ledger(self._output) as ledger:
            return self._plan(ledger)

    def run(
        self, workers: int | None = None, time_limit: float | None = None, progress: Progress | None = None
    ) -> RestoreReport:  # fmt: skip
        """Does it. Ctrl-C and SIGTERM end it between two photos at most; the next run goes on."""
        began = time.monotonic()
        if time_limit is not None and time_limit <= 0:
            raise UsageError(f"--time-limit {time_limit:g}: give a number of seconds")
        if time_limit is not None and workers == 0:
            raise UsageError("--time-limit needs a process that can be ended: leave --workers 0 or the limit away")
        with ExitStack() as held:
            ledger = None
            if not self._to_file:
                held.enter_context(files.folder_lock(_lock(self._output), in_words(self._output)))
                ledger = held.enter_context(Ledger(self._output))
                sweep(self._output, [task.target for task in self._tasks])
                reports.begin(self._output)
            report = self._run(ledger, workers, time_limit, progress)
            report = replace(report, seconds=time.monotonic() - began)
            if ledger:
                reports.write(self._output, report, report_page(report))
            elif report.failed:
                raise PhotomendError(report.rows[0].message or "")
        return report

    def _plan(self, ledger: Ledger) -> Plan:
        todo, current = [], []
        for task in self._tasks:
            kept = ledger.kept(task.target.name)
            if kept and kept.is_current(task.item.path, task.made_with, self._output):
                current.append((task, kept))
            else:
                todo.append(replace(task, kept=kept))
        return Plan(tuple(todo), tuple(current), len(self._others), self._settings.kind == "photo")

    def _run(
        self, ledger: Ledger | None, workers: int | None, time_limit: float | None, progress: Progress | None
    ) -> RestoreReport:  # fmt: skip
        plan = self._plan(ledger) if ledger else Plan(tuple(self._tasks), (), len(self._others), self._settings.kind == "photo")
        rows = {task.index: replace(kept.row, source=task.item.source) for task, kept in plan.current}
        earlier, shown = len(rows), dict[int, Shown]()
        if ledger:
            ledger.begin(task.target.name for task in plan.todo if task.kept)
        if progress and rows:
            progress(len(rows), len(self._tasks))
        for answers in self._answers(plan.todo, workers, time_limit):
            for task, done in answers:
                rows[task.index] = done.row
                earlier += done.as_before
                if done.shown:
                    shown[task.index] = done.shown
            if ledger:
                ledger.add((task.target.name, done.kept, done.page) for task, done in answers if done.kept)
                ledger.settle(task.target.name for task, done in answers if task.kept and not done.kept)
            if progress:
                progress(len(rows), len(self._tasks))
        pictures: dict[str, str] = {}
        if ledger:
            restored = {task.target.name: task for task in self._tasks if rows[task.index].status == "restored"}
            pages = {restored[name].index: page for name, page in ledger.pictures(restored)}
            pictures = {self._tasks[index].item.source: page for index, page in sorted(pages.items())[:PICTURES]}
            for index in {task.index for task in self._tasks if task.on_sheet} & pages.keys() - shown.keys():
                shown[index] = shown_again(rows[index].source, pages[index], rows[index].metrics)
        card = {"name": self._engine.name, "sha256": self._engine.sha256, "card": self._engine.card}
        ordered = tuple(rows[index] for index in range(len(self._tasks)))
        return RestoreReport(
            model=card, settings=self._told, rows=ordered, no_images=tuple(self._others),
            earlier=earlier, others=ledger.others(task.target.name for task in self._tasks) if ledger else 0,
            linked_folders=tuple(self._linked), shown=tuple(shown[index] for index in sorted(shown)), pictures=pictures,
        )  # fmt: skip

    def _answers(
        self, tasks: Sequence[Task], workers: int | None, time_limit: float | None, alone: bool = False
    ) -> Iterator[list[tuple[Task, Done]]]:  # fmt: skip
        """What becomes of the tasks, some at a time, in the order of completion."""
        size = 1 if alone or self._settings.kind == "photo" else BATCH
        jobs = [tuple(tasks[start : start + size]) for start in range(0, len(tasks), size)]
        wanted = min(workers or default_workers(), max(1, -(-len(jobs) // WORTH_A_WORKER)))
        if workers == 0 or (workers is None and wanted < 2 and time_limit is None and not alone):
            running = run_here(RestoreWork(self._model, self._settings, engine=self._engine), jobs)
        else:
            threads = max(1, default_workers() // wanted)
            running = run_local(RestoreWork(self._model, self._settings, threads), jobs, wanted, time_limit or TIME_LIMIT)
        lost: list[Task] = []
        for job, result in running:
            if isinstance(result, list):
                yield list(zip(job, result, strict=True))
            elif len(job) == 1:
                yield [(job[0], _lost(job[0].item, result, time_limit or TIME_LIMIT))]
            else:
                lost += job  # one of them did it: which one shows when each goes alone
        if lost:
            yield from self._answers(lost, workers, time_limit, alone=True)


def check_wishes(wishes: Wishes) -> None:
    """Raises UsageError for a wish that no photo could fulfil."""
    if not 0 < wishes.strength <= 1:
        raise UsageError(f"--strength {wishes.strength:g}: give a number above 0 (as it was) to 1 (as the model restores it)")
    if wishes.largest is not None and wishes.largest < 1:
        raise UsageError(f"--largest {wishes.largest}: give 1 or more")
    if wishes.least < 0:
        raise UsageError(f"--min-face {wishes.least}: give a number of pixels, 0 or more")


def check_use(wishes: Wishes, kind: str, task: str) -> None:
    """Raises UsageError for a wish that has no meaning for what the files are, or for what the model does."""
    given = [name for name, wish in (("--strength", wishes.strength < 1), ("--largest", wishes.largest is not None),
                                     ("--min-face", wishes.least > 0)) if wish]  # fmt: skip
    if given and kind != "photo":
        raise UsageError(f"{given[0]} is for whole photos, and these are {kind}s: leave it out")
    regional = [name for name in given if name != "--strength"]
    if regional and task == "colorize":
        raise UsageError(f"{regional[0]} chooses among regions, and this model gives colours to all of a photo: leave it out")


def _as_file(item: Item, output: Path, mask: bool) -> Target:
    """OUTPUT as a file. What is not restored keeps the format of the photo, whatever OUTPUT is called."""
    name, format = Path(output.name), FORMATS[output.suffix.lower()]
    as_it_is = name if format == item.format else name.with_suffix(item.path.suffix)
    return Target(output.parent, name, format, as_it_is, name.with_name(f"{name.name}.mask.png") if mask else None)


def _lock(output: Path) -> Path:
    return output / STATE / reports.LOCK


def _lost(item: Item, how: TimedOut | WorkerDied, limit: float) -> Done:
    """The row of a photo that took too long, or that ended the process which worked on it, twice."""
    if isinstance(how, TimedOut):
        told = "time_limit", f"it took longer than the {limit:g} seconds that one photo may"
    else:
        told = "worker_died", "the process that worked on it died twice: a damaged file, or too little memory"
    return Done(Row(item.source, None, "failed", told[0], f"{item.source}: {told[1]}"))

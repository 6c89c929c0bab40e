"""What a worker process does of a job: it reads photos, restores them, writes and measures them."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dataset_tools import files, image_io
from dataset_tools.archive import encode_name
from dataset_tools.errors import OutputError, PhotoError
from dataset_tools.image_rewrite import rewrite
from pipelines.engines import OnnxEngine
from pipelines.mark import mark
from pipelines.restore import Item, Loaded, Row, Shown, Target, failed, finish, is_resized, load, restore_crops
from pipelines.whole_photo import Outcome, Wishes, restore_whole

Done = tuple[Row, Shown | None]


@dataclass(frozen=True)
class Task:
    """One item of a job."""

    index: int  # its place among all
    item: Item
    target: Target
    shown: bool  # its pictures are wanted


@dataclass(frozen=True)
class Settings:
    """What is the same for all items of a job."""

    kind: str  # photo | crop | pair
    direction: str = "AtoB"  # of pairs
    names: tuple[str, ...] = ()  # of the metrics, where the original is known
    gps: bool = True  # keep the location
    wishes: Wishes = field(default_factory=Wishes)


class RestoreWork:
    """Restores the tasks that it is given; see dataset_tools.engines.Work.

    Args:
        threads: that the engine may use; None: one for each core.
        engine: one that is open already, in this process.
    """

    def __init__(self, model: Path, settings: Settings, threads: int | None = None, engine: OnnxEngine | None = None):
        self.model, self.settings, self.threads, self._engine = model, settings, threads, engine

    def open(self) -> None:
        """Loads the model. Raises ModelFileError."""
        self._engine = self._engine or OnnxEngine(self.model, self.threads)

    def close(self) -> None:
        """Nothing to be given back."""

    def __call__(self, job: Sequence[Task]) -> list[Done]:
        """A row for each task, and its pictures where they are wanted. Raises OutputError: nothing more can be written."""
        assert self._engine is not None, "open comes first"
        if self.settings.kind == "photo":
            return [_whole(self._engine, task, self.settings) for task in job]
        return _halves_or_crops(self._engine, job, self.settings)


def _halves_or_crops(engine: OnnxEngine, tasks: Sequence[Task], settings: Settings) -> list[Done]:
    """Crops, or the A of pairs, which go through the model together."""
    loaded = [load(task.item, settings.kind, settings.direction) for task in tasks]
    began = time.monotonic()
    restored = iter(restore_crops(engine, [each.a for each in loaded if isinstance(each, Loaded)]))
    share = (time.monotonic() - began) / len(tasks)
    done: list[Done] = []
    for task, each in zip(tasks, loaded, strict=True):
        if isinstance(each, Row):
            done.append((each, None))
            continue
        xmp = mark(engine.name, engine.sha256, each.photo.info.xmp if each.photo else None)
        row, seen = finish(each, next(restored), task.target, xmp, settings.names, gps=settings.gps)
        row = replace(row, resized=is_resized(engine, each.a), seconds=round((row.seconds or 0) + share, 4))
        done.append((row, seen.small() if seen and task.shown else None))
    return done


def _whole(engine: OnnxEngine, task: Task, settings: Settings) -> Done:
    """A photo of any size, of which the model's task tells what is to be restored."""
    began = time.monotonic()
    item = task.item
    try:
        data = image_io.read_bytes(item.path, str(item.path))
        photo = image_io.decode(data, str(item.path))
        outcome = restore_whole(engine, photo, settings.wishes)
        if outcome.photo is None and outcome.refused:
            message = f"{item.source}: {'; '.join(outcome.refused)}"
            return Row(item.source, None, "failed", "not_trained_for", message), None
        name, notes = _write(engine, task, data, photo, outcome, settings)
    except PhotoError as error:
        return failed(item, error), None
    except OutputError as error:
        if getattr(error.__cause__, "errno", None) not in (None, errno.ENAMETOOLONG):
            raise
        return failed(item, error), None
    after = outcome.photo or photo
    status = "restored" if outcome.photo else "nothing_to_restore"
    row = Row(item.source, encode_name(os.fsencode(name)), status, width=photo.info.width, height=photo.info.height,
              regions=outcome.regions, notes=(*outcome.refused, *outcome.notes, *notes),
              seconds=round(time.monotonic() - began, 4))  # fmt: skip
    if not (task.shown and outcome.photo):
        return row, None
    return row, Shown(item.source, {"input": photo.rgb8, "restored": after.rgb8}).small()


def _write(
    engine: OnnxEngine, task: Task, data: bytes, photo: image_io.Photo, outcome: Outcome, settings: Settings
) -> tuple[Path, tuple[str, ...]]:
    """(the name below OUTPUT, notes): what was restored with its mark, or the very file where nothing was."""
    target = task.target
    if outcome.photo is None:
        files.replace_bytes(target.folder / target.as_it_is, data)
        return target.as_it_is, ()
    xmp = mark(engine.name, engine.sha256, photo.info.xmp)
    written = rewrite(data, outcome.photo, outcome.photo.samples, target.format, xmp, gps=settings.gps)
    files.replace_bytes(target.folder / target.name, written.data)
    return target.name, written.notes

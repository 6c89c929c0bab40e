"""What a worker process does of a job: it reads photos, restores them, writes and measures them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from dataset_tools import image_io
from dataset_tools.archive import encode_name
from dataset_tools.crops import Square
from dataset_tools.errors import (
    DatasetError,
    OutputError,
    OutputTaken,
    PhotoError,
    PhotomendError,
    RestoreError,
    Unreadable,
)
from dataset_tools.image_rewrite import rewrite, without_location
from dataset_tools.metrics import SSIM_WINDOW
from dataset_tools.pairs import split as split_pair
from pipelines.engines import Engine, open_engine
from pipelines.label import labelled
from pipelines.ledger import Kept
from pipelines.mark import mark
from pipelines.outputs import Target, check_place, put
from pipelines.pictures import for_page
from pipelines.restore import Item, Rgb, Row, Shown, in_words, is_resized, measure_pair, pair_images, restore_crops
from pipelines.samples import in_colour, with_changes
from pipelines.whole_photo import Outcome, Wishes, restore_whole


@dataclass(frozen=True)
class Settings:
    """What is the same for all items of a job."""

    kind: str  # photo | crop | pair
    direction: str = "AtoB"  # of pairs
    names: tuple[str, ...] = ()  # of the metrics, where the original is known
    gps: bool = True  # keep the location
    mask: bool = False  # write the map of invented pixels
    label: bool = False  # draw a visible note
    format: str | None = None  # that all become; None: their own
    engine: str = "onnxruntime"
    wishes: Wishes = field(default_factory=Wishes)
    manifest: str | None = None  # fingerprint of the dataset whose crops tell where to look

    def made_with(self, version: str, sha256: str) -> str:
        """What decides the bytes of an output, beside those of the photo, as one hash."""
        told = json.dumps([version, sha256, asdict(self)], sort_keys=True)
        return hashlib.sha256(told.encode("utf-8")).hexdigest()


@dataclass(frozen=True)
class Task:
    """One item of a job."""

    index: int  # its place among all
    item: Item
    target: Target
    made_with: str = ""
    kept: Kept | None = None  # what an earlier run did under the same name
    windows: tuple[Square, ...] = ()  # where a dataset's crops of it lie
    on_page: bool = False  # its pictures are wanted for the page
    on_sheet: bool = False


@dataclass(frozen=True)
class Done:
    """What became of a task."""

    row: Row
    kept: Kept | None = None  # None: nothing that another run could go by
    page: str | None = None  # see pictures.for_page
    shown: Shown | None = None
    as_before: bool = False  # nothing was done: neither photo nor model nor settings have changed


@dataclass(frozen=True)
class _Read:
    """A file that is to be restored."""

    task: Task
    data: bytes
    sha256: str
    size: int
    mtime_ns: int
    began: float  # monotonic seconds

    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 4)


@dataclass(frozen=True)
class _Made:
    """What is to be written of a photo."""

    data: bytes
    name: Path
    row: Row  # but for its time
    mask: bytes | None = None
    shown: Shown | None = None


class RestoreWork:
    """Restores the tasks that it is given; see dataset_tools.engines.Work.

    Args:
        threads: that the engine may use; None: one for each core.
        engine: one that is open already, in this process.
    """

    def __init__(self, model: Path, settings: Settings, threads: int | None = None, engine: Engine | None = None):
        self.model, self.settings, self.threads, self._engine = model, settings, threads, engine

    def open(self) -> None:
        """Loads the model. Raises ModelFileError."""
        self._engine = self._engine or open_engine(self.model, self.settings.engine, self.threads)

    def close(self) -> None:
        """Nothing to be given back."""

    def __call__(self, job: Sequence[Task]) -> list[Done]:
        """What became of each task. Raises OutputError: nothing more can be written."""
        assert self._engine is not None, "open comes first"
        answers = [_read(task) for task in job]
        files = [each for each in answers if isinstance(each, _Read)]
        make = _whole if self.settings.kind == "photo" else _crops
        made = iter(make(self._engine, files, self.settings) if files else [])
        return [_write(each, next(made)) if isinstance(each, _Read) else each for each in answers]


def _read(task: Task) -> _Read | Done:
    """The file of a task, or what is known of it without restoring it."""
    began, path = time.monotonic(), task.item.path
    try:
        status = os.stat(path)  # first: a file that changes while it is read is another one the next time
        data = image_io.read_bytes(path, str(path))
        sha256 = hashlib.sha256(data).hexdigest()
        kept = task.kept
        if kept and kept.sha256 == sha256 and kept.made_with == task.made_with and kept.is_whole(task.target.folder):
            now = kept.seen_again(task.target.folder, path, status, task.item.source)
            return Done(now.row, now, as_before=True)
        _check_places(task, data, sha256)
    except (PhotoError, RestoreError) as error:
        return failed(task.item, error)
    except OSError as error:
        return failed(task.item, Unreadable(f"{path} cannot be read ({error.strerror})"))
    return _Read(task, data, sha256, status.st_size, status.st_mtime_ns, began)


def _check_places(task: Task, data: bytes, sha256: str) -> None:
    """Raises OutputTaken where something would be lost by restoring this."""
    kept, target = task.kept, task.target
    if kept and sha256 != kept.sha256 and os.path.realpath(task.item.path) != kept.path and kept.written:
        raise OutputTaken(f"{target.name} in OUTPUT was restored from another photo of this name: choose another OUTPUT")
    for name in dict.fromkeys((target.name, target.as_it_is, *([target.mask] if target.mask else []))):
        check_place(target.folder / name, data, kept.written_as(name) if kept else None, bool(kept and kept.pending))


def _crops(engine: Engine, files: Sequence[_Read], settings: Settings) -> list[_Made | PhotomendError]:
    """Crops, or the A of pairs, which go through the model together."""
    halves: list[tuple[Rgb, Rgb | None, image_io.Photo] | PhotomendError] = []
    for each in files:
        try:
            photo = image_io.decode(each.data, str(each.task.item.path))
            a, b = split_pair(photo.rgb8, settings.direction) if settings.kind == "pair" else (photo.opaque, None)
            halves.append((a, b, photo))
        except (PhotoError, DatasetError) as error:
            halves.append(error)
    restored = iter(restore_crops(engine, [each[0] for each in halves if isinstance(each, tuple)]))
    made: list[_Made | PhotomendError] = []
    for file, half in zip(files, halves, strict=True):
        if not isinstance(half, tuple):
            made.append(half)
            continue
        try:
            made.append(_crop(engine, file, *half, next(restored), settings))
        except OutputError as error:
            made.append(error)
    return made


def _crop(engine: Engine, file: _Read, a: Rgb, b: Rgb | None, photo: image_io.Photo, restored: Rgb, settings: Settings) -> _Made:
    """A crop with the metadata that it had; a half of a pair, which has none, as an image of its own."""
    target, item = file.task.target, file.task.item
    drawn = labelled(restored)[0] if settings.label and b is not None else restored
    if b is None:
        xmp = mark(engine.name, engine.sha256, photo.info.xmp, gps=settings.gps, source=file.sha256)
        after = with_changes(in_colour(photo), a, drawn)
        after = _with_label(after) if settings.label else after
        written = rewrite(file.data, after, after.samples, target.format, xmp, gps=settings.gps)
        data, notes = written.data, (*_said(photo), *written.notes)
    else:
        data, notes = image_io.encode(drawn, target.format, mark(engine.name, engine.sha256, source=file.sha256)), ()
    images, figures = {"input": a, "restored": restored}, None
    if b is not None:
        images = pair_images(a, b, restored, item.drawn)
        figures = measure_pair(images, settings.names) if min(restored.shape[:2]) >= SSIM_WINDOW else None
    height, width = restored.shape[:2]
    row = Row(item.source, encode_name(os.fsencode(target.name)), "restored", width=width, height=height,
              resized=is_resized(engine, a), metrics=figures, notes=notes)  # fmt: skip
    return _Made(data, target.name, row, _mask(engine, np.full((height, width), 255, np.uint8), target),
                 Shown(item.source, images, figures))  # fmt: skip


def _whole(engine: Engine, files: Sequence[_Read], settings: Settings) -> list[_Made | PhotomendError]:
    """Photos of any size, of which the model's task tells what is to be restored."""
    made: list[_Made | PhotomendError] = []
    for file in files:
        try:
            photo = image_io.decode(file.data, str(file.task.item.path))
            outcome = restore_whole(engine, photo, settings.wishes, file.task.windows)
            made.append(_photo(engine, file, photo, outcome, settings))
        except (PhotoError, RestoreError, OutputError) as error:
            made.append(error)
    return made


def _photo(engine: Engine, file: _Read, photo: image_io.Photo, outcome: Outcome, settings: Settings) -> _Made:
    target, item = file.task.target, file.task.item
    row = Row(item.source, None, "restored", width=photo.info.width, height=photo.info.height, regions=outcome.regions)
    if outcome.photo is None:
        data = file.data if settings.gps else without_location(file.data, photo)
        notes = () if data == file.data else ("copied as it is, but for its location and its thumbnail",)
        if target.as_it_is.suffix != target.name.suffix and target.name != target.as_it_is:
            notes = (*notes, f"nothing was to be restored, so it stays what it is, and is called {in_words(target.as_it_is)}")
        row = replace(
            row, output=encode_name(os.fsencode(target.as_it_is)), status="nothing_to_restore", notes=(*outcome.notes, *notes)
        )
        return _Made(data, target.as_it_is, row)
    after = outcome.photo
    if settings.label:
        after = _with_label(after)
    xmp = mark(engine.name, engine.sha256, photo.info.xmp, gps=settings.gps, source=file.sha256)
    written = rewrite(file.data, after, after.samples, target.format, xmp, gps=settings.gps)
    row = replace(row, output=encode_name(os.fsencode(target.name)), notes=(*_said(photo), *outcome.notes, *written.notes))
    wanted = file.task.on_page or file.task.on_sheet
    shown = Shown(item.source, {"input": photo.rgb8, "restored": outcome.photo.rgb8}) if wanted else None
    return _Made(written.data, target.name, row, _mask(engine, outcome.mask, target), shown)


def _with_label(photo: image_io.Photo) -> image_io.Photo:
    """The note on it, to be read on any ground: nothing of it is transparent."""
    drawn, where = labelled(photo.opaque)
    if not where.any():
        return photo
    after = with_changes(photo, photo.opaque, drawn, where)
    if photo.info.mode.endswith("A"):
        samples = after.samples.copy()
        samples[..., -1][where] = np.iinfo(samples.dtype).max
        after = image_io.Photo(samples, after.info)
    return after


def _said(photo: image_io.Photo) -> tuple[str, ...]:
    """What was to be said of the photo when it was read; its transparency stays."""
    return tuple(note for note in photo.info.notes if not note.startswith("transparent"))


def _mask(engine: Engine, invented: np.ndarray | None, target: Target) -> bytes | None:
    """The map of invented pixels as a PNG, upright: 0 is the photo's own, 255 the model's."""
    if target.mask is None or invented is None:
        return None
    return image_io.encode_png(invented, mark(engine.name, engine.sha256))


def _write(file: _Read, made: _Made | PhotomendError) -> Done:
    """Writes what was made. Raises OutputError: nothing more can be written. A name that is too long fails this photo alone."""
    task = file.task
    if isinstance(made, PhotomendError):
        if isinstance(made, OutputError) and getattr(made.__cause__, "errno", None) is not None:
            raise made
        return failed(task.item, made)
    try:
        written = [put(task.target.folder, made.name, made.data)]
        if made.mask and task.target.mask:
            written.append(put(task.target.folder, task.target.mask, made.mask))
    except OutputError as error:
        if getattr(error.__cause__, "errno", None) != errno.ENAMETOOLONG:
            raise
        return failed(task.item, error)
    for earlier in task.kept.written if task.kept else ():  # the mask of what was there before, say
        if earlier.name not in {each.name for each in written} and earlier.is_intact(task.target.folder, thoroughly=True):
            (task.target.folder / earlier.name).unlink(missing_ok=True)
    row = replace(made.row, seconds=file.seconds())
    kept = Kept(os.path.realpath(task.item.path), file.size, file.mtime_ns, file.sha256, task.made_with, tuple(written), row)
    page = for_page(made.shown, row.regions) if made.shown and task.on_page else None
    return Done(row, kept, page, made.shown.small() if made.shown and task.on_sheet else None)


_REASONS = {DatasetError: "not_a_pair", OutputError: "not_written"}


def failed(item: Item, error: PhotomendError) -> Done:
    """The row of a photo that could not be restored."""
    reason = error.reason if isinstance(error, PhotoError | RestoreError) else _REASONS.get(type(error), "failed")
    message = str(error).replace(str(item.path), item.source)  # where the photos lie is nobody's business who reads the report
    return Done(Row(item.source, None, "failed", reason, message if item.source in message else f"{item.source}: {message}"))

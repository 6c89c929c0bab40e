"""What TensorBoard shows of a run, written without TensorFlow: event files in RUN/tensorboard."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from dataset_tools import image_io
from dataset_tools.errors import OutputError, output_error


class Board:
    """A new event file in `folder`, as a context manager. Tags are grouped by what stands before their first "/".

    Each event is written at once, whole or not at all: a process that is killed loses nothing of what it told, and after an
    OutputError the board can be used on.
    """

    def __init__(self, folder: Path, step: int):
        """What earlier files tell of steps after `step` is no longer shown: they will be done again.

        Raises:
            OutputError: as every method does when the disk is full or the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            names = (re.fullmatch(r"events\.out\.tfevents\.([0-9]+)\.photomend", path.name) for path in folder.iterdir())
            number = 1 + max((int(found[1]) for found in names if found), default=0)  # TensorBoard reads them in this order
            self.path = folder / f"events.out.tfevents.{number:06d}.photomend"
            self._handle = open(self.path, "ab", buffering=0)  # noqa: SIM115 - it lives as long as the board
        except OSError as error:
            raise output_error(error, folder) from error
        self._size = 0
        try:
            self._write(0, file_version="brain.Event:2")
            self._write(step + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))  # drops from here on
        except OutputError:
            self.close()
            raise

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of one step, by tag."""
        self._summary(step, [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])

    def image(self, step: int, tag: str, rgb: NDArray[np.uint8]) -> None:
        """A picture, (H, W, 3) uint8 sRGB."""
        height, width = rgb.shape[:2]
        png = image_io.encode_png(rgb)
        image = summary_pb2.Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self._summary(step, [summary_pb2.Summary.Value(tag=tag, image=image)])

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _summary(self, step: int, values: list[Any]) -> None:
        self._write(step, summary=summary_pb2.Summary(value=values))

    def _write(self, step: int, **what: Any) -> None:
        record = io.BytesIO()
        RecordWriter(record).write(event_pb2.Event(wall_time=time.time(), step=step, **what).SerializeToString())
        data = record.getvalue()
        try:
            written = 0
            while written < len(data):
                written += self._handle.write(data[written:])
        except OSError as error:
            with suppress(OSError):
                self._handle.truncate(self._size)  # half a record would hide all that come after it
            raise output_error(error, self.path) from error
        self._size += len(data)

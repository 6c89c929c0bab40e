"""How the same faces emerged while a model learned: small frames of every validation, and what is drawn of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset_tools import files, image_io, sheets
from dataset_tools.errors import PhotoError, output_error

Rgb = NDArray[np.uint8]

FACES = 4  # of the validation images, the first
SIDE = 160  # pixels of a stored face, at most
COLUMNS = 10  # steps in the strip, at most
FRAMES = 60  # pictures in the animation, at most, with the input
FIRST, EACH, LAST = 1000, 125, 3000  # milliseconds that they are shown; those of a short run longer: up to 500
ANIMATION_BYTES = 1_500_000


class Timeline:
    """The frames of a run, in `folder`/frames (`folder` is RUN/samples), and timeline.png and timeline.webp drawn of them.

    A frame is step-NNNNNN.png, the faces side by side, (s, n s, 3), s at most 160, and step-NNNNNN.txt, its figures.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.frames = folder / "frames"

    def add(self, step: int, restored: Sequence[Rgb], figures: str = "") -> None:
        """Keeps the first faces of `restored`, uint8 (S, S, 3) each, with a short line on them all. Raises OutputError."""
        files.replace_text(self._text(step), figures)
        image_io.write(self._picture(step), np.concatenate(_small(restored), axis=1), "PNG")

    def rewind(self, step: int) -> None:
        """Forgets the frames of steps after `step`: they will be made again. Raises OutputError."""
        for later in (number for number in self.steps() if number > step):
            try:
                self._picture(later).unlink()
                self._text(later).unlink(missing_ok=True)
            except OSError as error:
                raise output_error(error, self._picture(later)) from error

    def steps(self) -> list[int]:
        """The steps of the frames that are here, in order."""
        names = (re.fullmatch(r"step-([0-9]+)\.png", path.name) for path in self.frames.glob("step-*"))
        return sorted(int(found[1]) for found in names if found)

    def write(self, before: Sequence[Rgb], originals: Sequence[Rgb], total: int) -> None:
        """Draws timeline.png and timeline.webp of the frames that are here; nothing where there is none.

        Args:
            before, originals: what the faces are made from, and what they should become, uint8 (S, S, 3) in the order of `add`.
            total: steps of the whole run.

        Raises:
            OutputError: they cannot be written.
        """
        inputs, targets = _small(before), _small(originals)
        steps = self.steps()
        shown = list(self._read(steps, early_denser(len(steps), COLUMNS)))
        if not shown:
            return
        cell = _cell(inputs)
        columns = [inputs, *(faces for _, faces, _ in shown), targets]
        rows = [list(row) for row in zip(*columns, strict=False)]
        titles = ["input", *(f"step {step}" for step, _, _ in shown), "original"]
        header = f"The same images while the model learned: {shown[-1][0]} of {total} steps"
        sheet = sheets.grid(rows, titles=titles, header=header, cell=cell)
        captions = [["", *(figures for _, _, figures in shown), ""]]  # under the last row alone, so that the rows stand close
        under = sheets.grid(rows[-1:], captions=captions, cell=cell)[sheets.MARGIN + cell :]
        image_io.write(self.folder / "timeline.png", np.concatenate([sheet[: -sheets.MARGIN], under]), "PNG")

        moments = [("input", inputs)]
        for step, faces, figures in self._read(steps, evenly(len(steps), FRAMES - 1)):
            moments.append((f"step {step} of {total}" + (f" · {figures}" if figures else ""), faces))
        pictures = _padded([sheets.grid([faces], header=text, cell=cell) for text, faces in moments])
        each = max(EACH, min(500, 4000 // len(pictures)))
        durations = [FIRST, *[each] * (len(pictures) - 2), LAST]
        image_io.write_animation(self.folder / "timeline.webp", pictures, durations, ANIMATION_BYTES)

    def _read(self, steps: Sequence[int], chosen: Sequence[int]) -> Iterator[tuple[int, list[Rgb], str]]:
        """(step, faces, figures) of the chosen ones; one that cannot be read is left out, for the run matters more."""
        for step in (steps[index] for index in chosen):
            with suppress(PhotoError, OSError, UnicodeError):
                strip = image_io.read(self._picture(step)).rgb8
                figures = self._text(step).read_text("utf-8")
                yield step, [strip[:, left : left + len(strip)] for left in range(0, strip.shape[1], len(strip))], figures

    def _picture(self, step: int) -> Path:
        return self.frames / f"step-{step:06d}.png"

    def _text(self, step: int) -> Path:
        return self._picture(step).with_suffix(".txt")


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of range(count), first and last among them, equally far apart."""
    return [round(index) for index in np.linspace(0, count - 1, min(count, most))]


def early_denser(count: int, most: int) -> list[int]:
    """At most `most` of range(count), first and last among them, ever further apart, for a model changes most at first."""
    chosen: list[int] = []
    for part in np.linspace(0, 1, min(count, most)):
        chosen.append(max(round((count - 1) * part**2), chosen[-1] + 1 if chosen else 0))
    return chosen


def _small(faces: Sequence[Rgb]) -> list[Rgb]:
    return [sheets.fit(face, min(SIDE, len(face))) for face in faces[:FACES]]


def _cell(faces: Sequence[Rgb]) -> int:
    """Side of a drawn face: those of small models are enlarged by a whole factor."""
    side = len(faces[0])
    return side * max(1, round(SIDE / side))


def _padded(pictures: Sequence[Rgb]) -> list[Rgb]:
    """All as high as the highest, with the faces in one place: over a single face a long header takes more lines."""
    height = max(len(picture) for picture in pictures)
    paper = np.array(sheets.PAPER, np.uint8)
    return [np.concatenate([np.broadcast_to(paper, (height - len(p), *p.shape[1:])), p]) for p in pictures]

"""A model as a thing to give away: as small as it may be, its licence in its card, and proven to restore what it did."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dataset_tools import cells, degradations, image_io, priors, resources
from dataset_tools.degrade_crop import degrade_anew
from dataset_tools.errors import ModelFileError, UsageError
from dataset_tools.mosaic_grid import Grid
from pipelines.engines import OnnxEngine, resolve_model
from pipelines.export_formats import FORMATS, Run
from pipelines.restore import Drawn, Rgb, in_words
from pipelines.site import name_of, site_of, write_site
from pix2pix import model_file

LEVELS = 1  # by which no value of the proof may be off, or more


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    size: int  # bytes
    sha256: str | None  # None of a folder
    most: int  # levels by which a value of the proof is off from what MODEL makes
    share: float  # of the values of the proof that are off at all

    def line(self) -> str:
        """The same in words."""
        share = f"{self.share:.1%}" if self.share >= 0.001 else "less than 0.1%"
        off = f"{share} of the values are off by {self.most} level" if self.most else "not a value is off"
        what = f"sha256 {self.sha256}" if self.sha256 else "a folder"
        return f"{in_words(self.path)}: {self.size / 1e6:.1f} MB, {what}; on the photos that ship {off}"


def export_model(
    model: str | Path, output: Path, *, format: str = "onnx", float16: bool = False, license: str | None = None
) -> Exported:
    """Writes MODEL as `output`, which must not exist.

    Args:
        model: a run folder, an .onnx file, or the name of a model that ships.
        format: one of FORMATS.
        float16: store the weights in half the bytes.
        license: of the weights, for the card; None: as MODEL says.

    Raises:
        UsageError: `output` is there, or is called otherwise than the format asks; a format that cannot do what is asked.
        ModelFileError: not a model; or on the photos that ship, degraded as it learned, the graph would make a value that is off
            by more than one grey level. Nothing is written then.
        OutputError: `output` cannot be written.
    """
    _check(output, format, float16)
    source = resolve_model(model)
    engine = OnnxEngine(source)
    card = {**engine.card, **model_file.CONSTANT} | ({"licence": license} if license else {})
    with FORMATS[format].write(source, output, card, float16) as run:
        most, share = _off(engine, run, output)
    parts = [path for path in output.rglob("*") if path.is_file()] if output.is_dir() else [output]
    size = sum(path.stat().st_size for path in parts)
    return Exported(output, size, None if output.is_dir() else model_file.sha256(output), most, share)


def export_site(
    models: Sequence[str | Path], output: Path, *, float16: bool = False, license: str | None = None
) -> Exported:  # fmt: skip
    """Writes a page that restores in the browser with `models` as the folder `output`, which must not exist; see site.py.

    Args, Raises: as export_model, whose proof each model goes through; as site_of.
    """
    _check_new(output)
    site_of(models)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name_of(resolve_model(model))}.onnx" for model in models]
        proven = [export_model(model, path, float16=float16, license=license) for model, path in zip(models, paths, strict=True)]
        size = write_site(paths, output)
    return Exported(output, size, None, max(each.most for each in proven), max(each.share for each in proven))


def _check(output: Path, format: str, float16: bool) -> None:
    """Raises UsageError for what cannot be meant."""
    if format not in FORMATS:
        raise UsageError(f"--format {format}: choose one of {', '.join(FORMATS)}")
    suffix = FORMATS[format].suffix
    if suffix and output.suffix.lower() != suffix:
        raise UsageError(f"OUTPUT {in_words(output)}: give a name that ends in {suffix}, or another --format than {format}")
    if float16 and not FORMATS[format].half:
        able = " or ".join(name for name, each in FORMATS.items() if each.half)
        raise UsageError(f"--format {format} holds float32 weights alone: leave --float16 out, or take --format {able}")
    _check_new(output)


def _check_new(output: Path) -> None:
    if os.path.lexists(output):
        raise UsageError(f"OUTPUT {in_words(output)} exists: choose another name, or remove it")


def _off(engine: OnnxEngine, run: Run, output: Path) -> tuple[int, float]:
    """By how many levels `run` is off from the engine at most, and in which share of the values at all. Raises ModelFileError."""
    most, off, values = 0, 0, 0
    for given in _given(engine):
        expected = engine.run(given)
        try:
            made = run(given)
        except Exception as error:  # of an engine's own, which have no common base but this one
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelFileError(f"{in_words(output)} was not written: it cannot restore {given.shape}: {line}") from error
        if made.shape != expected.shape:
            raise ModelFileError(f"{in_words(output)} was not written: it would make {made.shape} of {given.shape}")
        away = np.abs(expected.astype(np.int16) - made)
        most, off, values = max(most, int(away.max())), off + int((away > 0).sum()), values + away.size
    if most > LEVELS:
        raise ModelFileError(f"{in_words(output)} was not written: it would restore values that are {most} levels off")
    return most, off / values


def _given(engine: OnnxEngine) -> Iterator[Rgb]:
    """What the proof is made of, (N, H, W, 3) uint8, as the bare graph takes it; two of a wider size, if it takes any."""
    card, size = engine.card, engine.size
    a = np.stack([_even(*each) if card["cell"] else each[1] for each in _degraded(card, size)])
    yield a
    if engine.any_size:
        yield np.concatenate([a[:1], a[1:2]], axis=2)


def _degraded(card: Mapping[str, Any], size: int) -> Iterator[tuple[Rgb, Rgb, Drawn]]:
    """(B, A, what was drawn), B and A (size, size, 3) uint8."""
    steps = [degradations.parse(step) for step in card["recipe"]]
    for number, path in enumerate(sorted(resources.path("samples").glob("*.jpg"))[::3]):
        b = np.asarray(cv2.resize(image_io.read(path).rgb8, (size, size), interpolation=cv2.INTER_AREA))
        yield b, *degrade_anew(steps, np.random.default_rng(number), b)


def _even(b: Rgb, a: Rgb, drawn: Drawn) -> Rgb:
    """The cells of A as a model of mosaics takes them, of the size of A, mirrored where they are fewer."""
    known = cells.recorded(a, drawn) if priors.has_mosaic(drawn) else cells.of_grid(a, Grid(cells.CELL, 0, 0))
    return cells.window(b, known, b.shape[0])[0]

"""The whole job on the photos that ship: restore them with the models that ship, then build, fine-tune, restore and measure."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_tools import degradations, files, image_io, resources, sheets
from dataset_tools.build import build_dataset
from dataset_tools.errors import OutputError
from dataset_tools.face_search import FaceSearch
from dataset_tools.metrics import measure
from dataset_tools.recipe import Recipe
from pipelines.engines import resolve_model
from pipelines.figures import evenly, figures_table, means
from pipelines.job import restore_photos
from pipelines.mark import STATEMENT
from pipelines.report import RestoreReport
from pipelines.restore import Figures
from pix2pix.events import Event
from pix2pix.train import train_model

MARK = "demo.json"  # says that a folder is a demo's, and holds its result
FORMAT = "photomend demo"
PARTS = ("photos", "restored", "dataset", "run", "held-out")
SHEETS = ("sheet.png", "fine-tuned.png")
SHOWN = 5  # rows of a sheet, at most

CELLS = 20  # of the mosaic on a sample's face, across
GRAY = "grayscale"  # the degradation for the model of colours
RECIPE = Recipe(size=256, degrade=("mosaic:block=16",), split="67/8/25", seed=1)

Rgb = NDArray[np.uint8]  # (H, W, 3) sRGB


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    steps: int  # at most
    seconds: float  # at most


SIZES = {"full": Size(100, 150.0), "quick": Size(25, 30.0)}


def run_demo(
    out: Path, *, quick: bool = False, say: Callable[[str], None] = print, tell: Callable[[Event], None] = lambda event: None
) -> dict[str, Any]:
    """Restores, builds, fine-tunes and restores under `out`; returns counts, seconds by stage, figures (also in out/demo.json).

    Args:
        quick: with a quarter of the training.
        say: told what happens at each step, in words.
        tell: told of training as `train_model` tells it.

    Raises:
        OutputError: `out` holds something that is not a demo's.
    """
    size = SIZES["quick" if quick else "full"]
    _make_room(out)
    files.replace_json(out / MARK, {"format": FORMAT, "finished": False})
    seconds: dict[str, float] = {}
    samples = {path.name: image_io.read(path).rgb8 for path in sorted(resources.path("samples").glob("*.jpg"))}

    say(f"1. Restoring with the models that ship: {len(samples)} photos with a mosaic on the face, and their gray copies.")
    squares = _degraded(samples, out / "photos")
    with _timed(seconds, "restore"):
        for name in ("mosaic", "colorize"):
            restore_photos(name, [out / "photos" / name], out / "restored" / name)
    _sheet_of_photos(out, samples)
    restored = _judged_photos(out, samples, squares)
    for line in _in_words(restored):
        say(f"   {line}")
    say(f"   {seconds['restore']:.1f} s. Look at {out}/sheet.png, and at report.html in {out}/restored/mosaic and .../colorize")

    say("2. Building a dataset from the same photos: each face is found, cropped, and put behind a mosaic.")
    with _timed(seconds, "build"):
        built = build_dataset([resources.path("samples")], out / "dataset", RECIPE, workers=0)
    splits = built.counts["splits"]
    say(f"   {splits['train']} people to learn from, {splits['val']} to watch, {splits['test']} held out. See {out}/dataset/")

    say(f"3. Fine-tuning the shipped model on them, for {size.steps} steps or {size.seconds:.0f} seconds.")
    with _timed(seconds, "train"):
        trained = train_model(out / "dataset", out / "run", source=resolve_model("mosaic"), batch=8, warmup_d=0, steps=size.steps,
                              max_seconds=size.seconds, val_every=50, checkpoint_every=size.steps, tell=tell)  # fmt: skip
    say(f"   {trained.steps} steps. The model: {trained.model}")

    say(f"4. Restoring the {splits['test']} people that it has never seen, with both.")
    reports = {
        name: restore_photos(model, [out / "dataset"], out / "held-out" / name, workers=0)
        for name, model in (("shipped", "mosaic"), ("fine-tuned", out / "run"))
    }
    figures = _side_by_side(reports, out / "fine-tuned.png")
    for line in figures_table(figures):
        say(f"   {line}")
    say(f"Look at {out}/fine-tuned.png, then at {out}/held-out/fine-tuned/report.html.")
    say("What a model adds is a plausible invention, learnt from other faces; it is not what was under the mosaic.")
    result = {
        "format": FORMAT, "finished": True, "quick": quick, "counts": built.counts, "steps": trained.steps, "restored": restored,
        "figures": figures, "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }  # fmt: skip
    files.replace_json(out / MARK, result)
    return result


def _degraded(samples: dict[str, Rgb], folder: Path) -> dict[str, tuple[slice, slice]]:
    """Writes a mosaicked and a gray copy of each; returns the square of each that lies behind the mosaic."""
    (gray,) = degradations.draw([degradations.parse(GRAY)], np.random.default_rng(0), (1, 1))
    squares = {}
    for name in ("mosaic", "colorize"):
        (folder / name).mkdir(parents=True)
    with FaceSearch() as search:
        for name, rgb in samples.items():
            x, y, width, height = search.detect(rgb)[0].box
            block, side = max(4, round(width / CELLS)), round(1.3 * max(width, height))
            top, left = (max(0, round(start + extent / 2 - side / 2)) for start, extent in ((y, height), (x, width)))
            squares[name] = square = slice(top, top + side), slice(left, left + side)
            mosaic = degradations.parse(f"mosaic:block={block}")
            behind = rgb.copy()
            drawn = degradations.draw([mosaic], np.random.default_rng(0), behind[square].shape[:2])
            behind[square] = degradations.apply(behind[square], drawn)
            for kind, made in (("mosaic", behind), ("colorize", degradations.apply(rgb, [gray]))):
                image_io.write(folder / kind / name, made, "JPEG")
    return squares


def _judged_photos(out: Path, samples: dict[str, Rgb], squares: dict[str, tuple[slice, slice]]) -> dict[str, Figures]:
    """{"mosaic": PSNR and SSIM of what lay behind it, "colorize": ΔE2000}, as given and as restored: means over the photos."""
    told = {}
    for kind, metrics in (("mosaic", ("psnr", "ssim")), ("colorize", ("delta_e",))):
        rows = []
        for name, original in samples.items():
            where = squares[name] if kind == "mosaic" else slice(None)
            rows.append({
                title: measure(image_io.read(folder / kind / name).rgb8[where], original[where], metrics)
                for title, folder in (("restored", out / "restored"), ("input", out / "photos"))
            })  # fmt: skip
        told[kind] = means(rows)
    return told


def _in_words(restored: dict[str, Figures]) -> Iterator[str]:
    faces, colours = restored["mosaic"], restored["colorize"]
    yield (f"behind the mosaics: PSNR / SSIM {faces['restored']['psnr']:.2f} dB / {faces['restored']['ssim']:.3f}, "
           f"of the mosaics themselves {faces['input']['psnr']:.2f} dB / {faces['input']['ssim']:.3f}")  # fmt: skip
    yield (f"colours: ΔE2000 {colours['restored']['delta_e']:.2f}, of the gray copies {colours['input']['delta_e']:.2f} "
           "(lower is better)")  # fmt: skip


def _sheet_of_photos(out: Path, samples: dict[str, Rgb]) -> None:
    """sheet.png: what the shipped models were given and made."""
    columns = {
        "behind a mosaic": out / "photos" / "mosaic", "restored": out / "restored" / "mosaic",
        "gray": out / "photos" / "colorize", "colorized": out / "restored" / "colorize",
    }  # fmt: skip
    names = [name for place, name in enumerate(samples) if place in evenly(len(samples), SHOWN)]
    rows = [[*(image_io.read(folder / name).rgb8 for folder in columns.values()), samples[name]] for name in names]
    header = "photos that ship, restored by the models that ship"
    drawn = sheets.grid(rows, titles=[*columns, "original"], header=header, footer=STATEMENT)
    image_io.write(out / "sheet.png", drawn, "PNG")


def _side_by_side(reports: dict[str, RestoreReport], sheet: Path) -> Figures:
    """The figures of each model and of the baselines; draws `sheet`."""
    first = next(iter(reports.values()))
    figures = {name: report.figures["restored"] for name, report in reports.items()}
    others = {name: row for name, row in first.figures.items() if name != "restored"}
    columns = ["input", "bicubic", *reports, "original"]
    rows, captions = [], []
    for place, shown in enumerate(first.shown[:SHOWN]):
        theirs = {name: report.shown[place] for name, report in reports.items()}
        images = dict(shown.images) | {name: each.images["restored"] for name, each in theirs.items()}
        told = dict(shown.figures or {}) | {name: (each.figures or {})["restored"] for name, each in theirs.items()}
        rows.append([images[name] for name in columns])
        captions.append([f"{told[name]['psnr']:.2f} dB · {told[name]['ssim']:.3f}" if name in told else "" for name in columns])
    header = f"{len(first.rows)} people that the fine-tuned model has never seen"
    drawn = sheets.grid(rows, titles=columns, captions=captions, header=header, footer=STATEMENT)
    image_io.write(sheet, drawn, "PNG")
    return dict(reversed(figures.items())) | others


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _make_room(out: Path) -> None:
    """Removes what an earlier demo left in `out`, and nothing else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        ours = json.loads((out / MARK).read_text("utf-8")).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        ours = False
    if not ours:
        raise OutputError(f"the folder {out} is not empty and holds no demo: choose another with --out")
    for part in PARTS:
        shutil.rmtree(out / part, ignore_errors=True)
    for name in SHEETS:
        (out / name).unlink(missing_ok=True)

"""The whole job on the photos that ship: dataset, training, restoring, figures. What a stranger runs first."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_tools import files, resources
from dataset_tools.build import build_dataset
from dataset_tools.errors import OutputError
from dataset_tools.recipe import Recipe
from pipelines.job import restore_photos
from pix2pix.events import Event
from pix2pix.train import train_model

MARK = "demo.json"  # says that a folder is a demo's, and holds its result
FORMAT = "photomend demo"
PARTS = ("dataset", "run", "restored")


@dataclass(frozen=True)
class Size:
    """How much the demo does."""

    recipe: Recipe
    steps: int  # at most
    seconds: float  # of training, at most
    val_every: int


SIZES = {
    "full": Size(Recipe(size=128, degrade=("mosaic:block=8",), split="67/8/25", seed=1), 1000, 200.0, 250),
    "quick": Size(Recipe(size=64, degrade=("mosaic:block=4",), split="67/8/25", seed=1), 500, 20.0, 250),
}


def run_demo(
    out: Path, *, quick: bool = False, say: Callable[[str], None] = print, tell: Callable[[Event], None] = lambda event: None
) -> dict[str, Any]:
    """Builds, trains and restores under `out`, and returns counts, seconds by stage and figures (also in out/demo.json).

    Args:
        quick: at 64 × 64 pixels instead of 128 × 128.
        say: told what happens at each step, in words.
        tell: told of training as `train_model` tells it.

    Raises:
        OutputError: `out` holds something that is not a demo's.
    """
    size = SIZES["quick" if quick else "full"]
    _make_room(out)
    files.replace_json(out / MARK, {"format": FORMAT, "finished": False})
    seconds: dict[str, float] = {}

    say("1. Building a dataset from the 24 photos that ship: each face is found, cropped, and put behind a mosaic.")
    start = time.perf_counter()
    built = build_dataset([resources.path("samples")], out / "dataset", size.recipe, workers=0)
    seconds["build"] = time.perf_counter() - start
    splits = built.counts["splits"]
    say(f"   {splits['train']} people to learn from, {splits['val']} to watch, {splits['test']} held out. See {out}/dataset/")

    side, limit = size.recipe.size, f"{size.steps} steps or {size.seconds:.0f} seconds"
    say(f"2. Training a small model, {side} × {side} pixels, for {limit}.")
    start = time.perf_counter()
    trained = train_model(out / "dataset", out / "run", preset="tiny", steps=size.steps, max_seconds=size.seconds,
                          val_every=size.val_every, checkpoint_every=size.steps, tell=tell)  # fmt: skip
    seconds["train"] = time.perf_counter() - start
    say(f"   {trained.steps} steps. How the faces emerged: {out}/run/samples/. The model: {trained.model}")

    say(f"3. Restoring the {splits['test']} people that the model has never seen.")
    start = time.perf_counter()
    restored = restore_photos(str(trained.model), [out / "dataset"], out / "restored")
    seconds["restore"] = time.perf_counter() - start
    shutil.copyfile(out / "restored" / "sheet.png", out / "sheet.png")
    result = {
        "format": FORMAT, "finished": True, "quick": quick, "counts": built.counts, "steps": trained.steps,
        "seconds": {name: round(value, 1) for name, value in seconds.items()}, "figures": restored.figures,
    }  # fmt: skip
    files.replace_json(out / MARK, result)
    for line in restored.lines():
        say(f"   {line}")
    say(f"Look at {out}/sheet.png, then at {out}/restored/report.html.")
    say("What the model adds is a plausible invention, learnt from other faces; it is not what was under the mosaic.")
    return result


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
    (out / "sheet.png").unlink(missing_ok=True)

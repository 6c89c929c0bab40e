"""What tests of training share: a small preset, small datasets, and processes that train. Tests nothing itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools import image_io, pairs
from dataset_tools.build import build_dataset
from dataset_tools.recipe import Recipe
from pix2pix.run_folder import RunFolder
from pix2pix.spec import PRESETS, DiscriminatorSpec, GeneratorSpec
from tests.builds import PATIENCE
from tests.conftest import textured

SIZE = 32
# `tiny`, smaller still: these tests are about the loop, not about what it learns. Dropout has a state that a resumed run needs.
SMALL = replace(
    PRESETS["tiny"], generator=GeneratorSpec("residual", (8, 8), dropout=0.5, blocks=(1, 1), stem=2), window=SIZE
)  # fmt: skip
# `mend`, smaller still, with every part of it at work after a few steps.
SMALL_MEND = replace(
    PRESETS["mend"], generator=GeneratorSpec("residual", (8, 8), blocks=(1, 1), stem=2),
    discriminator=DiscriminatorSpec("plain", (8, 8)), jitter=4, alone=3, warmup=4, hold=8, ema=0.9, window=2 * SIZE, muon=2e-3,
)  # fmt: skip
QUICK: dict[str, Any] = {"preset": "tiny", "batch": 2, "val_images": 3, "precision": "float32"}


def mosaics(folder: Path, count: int = 16, split: str = "50/25/25", degrade: str = "mosaic:block=4") -> Path:
    """A dataset `folder`/ds of `count` textured photos."""
    (folder / "archive").mkdir(parents=True)
    for number in range(count):
        image_io.write(folder / "archive" / f"{number}.png", textured(number), "PNG")
    recipe = Recipe(size=SIZE, crop="center", degrade=(degrade,), split=split)
    build_dataset([folder / "archive"], folder / "ds", recipe, workers=0)
    return folder / "ds"


def classic(folder: Path, train: Iterable[int], val: Iterable[int] = ()) -> Path:
    """A classic folder of A|B images, each A the negative of its B."""
    for split, numbers in (("train", train), ("val", val)):
        for number in numbers:
            b = textured(number, SIZE, SIZE)
            image_io.write(folder / split / f"{number}.png", pairs.stitch(255 - b, b), "PNG")
    return folder


def command(*words: object) -> list[str]:
    """`photomend train WORDS` in a process of its own, with the small presets, on as many logical CPUs as CPUS says."""
    return [sys.executable, "-m", "tests.training", "train", *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **more}


def trained(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs `command` to its end; `more` is added to the environment."""
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=PATIENCE, env=environment(**more))


def newest(run: Path) -> dict[str, np.ndarray]:
    """The arrays of the newest checkpoint."""
    folder = RunFolder(run)
    return folder.load(folder.steps()[-1])[0]


def same_arrays(one: Path, other: Path) -> list[str]:
    """The arrays of the newest checkpoints of two runs that are not equal bit for bit."""
    a, b = newest(one), newest(other)
    assert a.keys() == b.keys()
    return [name for name in a if a[name].tobytes() != b[name].tobytes()]


def log(run: Path) -> list[dict[str, Any]]:
    """log.jsonl without what depends on the clock."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name != "time"} for row in rows]


def small_presets() -> None:
    PRESETS["tiny"], PRESETS["mend"] = SMALL, SMALL_MEND


def split_cpu() -> None:
    """Makes as many logical CPUs for TensorFlow as the variable CPUS says."""
    if count := int(os.environ.get("CPUS", 0)):
        import pix2pix.backend  # noqa: F401 - it says what TensorFlow is to be quiet about
        import tensorflow as tf  # isort: skip

        device = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * count)


if __name__ == "__main__":
    from pipelines.cli import run

    small_presets()
    split_cpu()
    sys.exit(run(sys.argv[1:]))

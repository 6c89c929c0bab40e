"""A run that is stopped and resumed is bit for bit the one that was not: weights, optimizers, averages, seeds, log, best."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pix2pix.run_folder import RunFolder
from pix2pix.train import LOG_EVERY
from tests.builds import PATIENCE, SOAK
from tests.training import QUICK, environment, log, mosaics, newest, same_arrays, small_presets

pytestmark = pytest.mark.slow

STEPS, HALF, MIDDLE = 2 * LOG_EVERY, LOG_EVERY, LOG_EVERY + 13
OPTIONS = {**QUICK, "val_every": LOG_EVERY // 2, "checkpoint_every": LOG_EVERY // 2, "seed": 3}
RUNS: dict[str, dict[str, object]] = {"float32": {"ema": 0.9}}  # dropout, windows of cells and an average
if SOAK:
    RUNS["bfloat16"] = {"ema": 0.9, "precision": "mixed_bfloat16"}
    RUNS["mend"] = {"preset": "mend"}  # mosaics laid on anew, Muon, G alone at first

PARTS = {"float32": "stopped", "bfloat16": "half", "mend": "stopped"}  # in the middle of two checkpoints; at its last step


def train(dataset: Path, run: Path, **more: object) -> None:
    from pix2pix.train import train_model

    small_presets()
    train_model(dataset, run, **{**OPTIONS, **more})  # type: ignore[arg-type]


def until(dataset: Path, run: Path, last: int, **more: object) -> None:
    """Trains, and presses Ctrl-C in the step `last`."""
    import contextlib
    import signal

    def tell(event: object) -> None:
        if getattr(event, "kind", "") == "step" and getattr(event, "step", 0) == last:
            signal.raise_signal(signal.SIGINT)

    with contextlib.suppress(KeyboardInterrupt):
        train(dataset, run, tell=tell, **more)


def process(code: str, *words: object) -> str:
    """Runs `code`, which sees this module as t and `words` as w, in a process of its own; gives what it printed."""
    line = f"import sys\nfrom pathlib import Path\nimport tests.test_exact as t\nw = sys.argv[1:]\n{code}"
    done = subprocess.run([sys.executable, "-c", line, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE,
                          env=environment())  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NAME/whole and NAME/part of each of RUNS; the part begun in one process and gone on with in another."""
    folder = tmp_path_factory.mktemp("exact")
    dataset = mosaics(folder)
    process(
        "for name, more in t.RUNS.items():\n"
        "    t.train(Path(w[0]), Path(w[1], name, 'whole'), steps=t.STEPS, **more)\n"
        "    if t.PARTS[name] == 'half':\n"
        "        t.train(Path(w[0]), Path(w[1], name, 'part'), steps=t.HALF, **more)\n"
        "    else:\n"
        "        t.until(Path(w[0]), Path(w[1], name, 'part'), t.MIDDLE, steps=t.STEPS, **more)\n",
        dataset, folder,
    )  # fmt: skip
    reached = {name: RunFolder(folder / name / "part").steps()[-1] for name in RUNS}
    assert reached == {name: HALF if PARTS[name] == "half" else MIDDLE for name in RUNS}
    process(
        "for name, more in t.RUNS.items():\n"
        "    t.train(Path(w[0]), Path(w[1], name, 'part'), steps=t.STEPS, **more)\n",
        dataset, folder,
    )  # fmt: skip
    return folder


def test_resumed_in_another_process_it_is_bit_for_bit_the_same(scene: Path) -> None:
    for name in RUNS:
        whole, other = scene / name / "whole", scene / name / "part"
        assert RunFolder(other).steps()[-1] == STEPS
        assert same_arrays(whole, other) == [], name
        assert log(whole) == log(other)
        assert (whole / "best.json").read_text() == (other / "best.json").read_text()
        for picture in (f"samples/step-{HALF:06d}.png", f"samples/step-{STEPS:06d}.png", "samples/timeline.png"):
            assert (whole / picture).read_bytes() == (other / picture).read_bytes()


def test_the_runs_are_what_they_should_be(scene: Path) -> None:
    arrays = newest(scene / "float32" / "whole")
    kinds = {name.partition("/")[0] for name in arrays}
    assert kinds == {"generator", "discriminator", "ema", "generator_optimizer", "discriminator_optimizer"}
    assert any("seed" in name for name in arrays)
    assert int(arrays["generator_optimizer/iteration"]) == int(arrays["discriminator_optimizer/iteration"]) == STEPS
    check_told(scene / "float32" / "whole", "float32")


def check_told(run: Path, precision: str) -> None:
    told = json.loads((run / "run.json").read_text())
    assert told["exact"]["precision"] == precision
    assert told["options"]["spec"]["generator"]["starts_from"] == "cells"


@pytest.mark.soak
def test_half_precision_is_another_run(scene: Path) -> None:
    arrays, other = (newest(scene / name / "whole") for name in ("float32", "bfloat16"))
    assert any(arrays[name].tobytes() != other[name].tobytes() for name in arrays)
    check_told(scene / "bfloat16" / "whole", "mixed_bfloat16")


@pytest.mark.soak
def test_another_number_of_threads_is_not_the_same_bits(scene: Path, tmp_path: Path) -> None:
    """The line names what differs, and --inexact goes on. In a process of its own: TensorFlow sets its threads once."""
    run = tmp_path / "run"
    shutil.copytree(scene / "float32" / "whole", run)
    said = process(
        "from dataset_tools.errors import RunError\n"
        "try:\n"
        "    t.train(Path(w[0]), Path(w[1]), steps=t.STEPS + 1, ema=0.9, threads=7)\n"
        "except RunError as error:\n"
        "    print(error)\n"
        "t.train(Path(w[0]), Path(w[1]), steps=t.STEPS + 1, ema=0.9, threads=7, inexact=True)\n",
        scene / "ds", run,
    )  # fmt: skip
    threads = json.loads((scene / "float32" / "whole" / "run.json").read_text())["exact"]["threads"]
    assert said == (
        f"the run {run} cannot go on bit for bit here (threads was {threads}, now 7): go on there, or add --inexact\n"
    )
    assert json.loads((run / "run.json").read_text())["exact"]["threads"] == 7
    assert RunFolder(run).steps()[-1] == STEPS + 1

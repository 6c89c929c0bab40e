"""One run from start to end on the tiny preset, and what interrupts it. TensorFlow is imported once, here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataset_tools import image_io, pairs
from dataset_tools.build import build_dataset
from dataset_tools.errors import DatasetError, RunError, UsageError
from dataset_tools.manifest import open_dataset
from dataset_tools.recipe import Recipe
from pix2pix import train
from pix2pix.model_file import read_card
from pix2pix.run_folder import RunFolder
from pix2pix.spec import PRESETS, GeneratorSpec
from pix2pix.train import Event, train_model
from tests.conftest import textured

QUICK = {"preset": "tiny", "batch": 2, "val_images": 3}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    (folder / "archive").mkdir()
    for number in range(16):
        image_io.write(folder / "archive" / f"{number}.png", textured(number), "PNG")
    recipe = Recipe(size=32, crop="center", degrade=("mosaic:block=4",), split="50/25/25")
    build_dataset([folder / "archive"], folder / "ds", recipe, workers=0)
    return folder / "ds"


@pytest.fixture(autouse=True)
def small_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tiny`, smaller still: these tests are about the loop, not about what it learns."""
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], generator=GeneratorSpec("residual", (8, 8), blocks=1)))


def weights(run: Path, step: int) -> dict[str, np.ndarray]:
    return RunFolder(run).load(step)


def test_a_run_holds_what_it_promises(dataset: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    report = train_model(dataset, tmp_path / "run", steps=6, val_every=3, checkpoint_every=3, tell=events.append, **QUICK)
    run = tmp_path / "run"
    assert report.steps == 6
    told = json.loads((run / "run.json").read_text())
    assert told["options"]["dataset"] == open_dataset(dataset).fingerprint
    assert told["options"]["spec"]["size"] == 32
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [(row["kind"], row["step"]) for row in log] == [("validation", 3), ("losses", 6), ("validation", 6)]
    assert log[0]["figures"].keys() == {"restored", "input", "bicubic"}
    assert log[0]["figures"]["input"] == log[2]["figures"]["input"]
    assert log[0]["figures"]["input"].keys() == {"psnr", "ssim", "l1"}
    assert set(log[1]["losses"]) == {"d_loss", "d_real", "d_fake", "g_loss", "g_adversarial", "g_l1"}
    assert [path.name for path in sorted((run / "samples").iterdir())] == ["step-000003.png", "step-000006.png"]
    assert [event.step for event in events if event.kind == "step"] == [1, 2, 3, 4, 5, 6]
    best = json.loads((run / "best.json").read_text())
    scores = {row["step"]: row["figures"]["restored"]["psnr"] for row in log if row["kind"] == "validation"}
    assert best["step"] == max(scores, key=lambda step: scores[step])
    card = read_card(run / "model.onnx")
    assert (card["task"], card["preset"], card["size"], card["step"]) == ("mosaic", "tiny", 32, best["step"])
    assert card["recipe"] == ["mosaic:block=4,phase=0"]
    assert card["validation"] == best["figures"]
    assert card["largest_difference"] < 1e-3


def test_stopped_and_resumed_equals_uninterrupted(dataset: Path, tmp_path: Path) -> None:
    options = {"val_every": 100, "checkpoint_every": 3, "seed": 5, **QUICK}
    train_model(dataset, tmp_path / "whole", steps=6, **options)
    train_model(dataset, tmp_path / "parts", steps=3, **options)
    report = train_model(dataset, tmp_path / "parts", steps=6, **options)
    assert report.steps == 6
    one, other = weights(tmp_path / "whole", 6), weights(tmp_path / "parts", 6)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert np.allclose(value, other[name], atol=1e-5), name
    assert int(one["generator_optimizer/iteration"]) == 6


def test_a_finished_run_stays_as_it_is(dataset: Path, tmp_path: Path) -> None:
    train_model(dataset, tmp_path / "run", steps=2, **QUICK)
    before = (tmp_path / "run" / "model.onnx").read_bytes()
    report = train_model(dataset, tmp_path / "run", steps=2, **QUICK)
    assert report.steps == 2
    assert report.figures is not None
    assert (tmp_path / "run" / "model.onnx").read_bytes() == before


def test_a_classic_folder_of_other_programs(tmp_path: Path) -> None:
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        for number in numbers:
            b = textured(number, 32, 32)
            image_io.write(tmp_path / "classic" / split / f"{number}.jpg", pairs.stitch(b, 255 - b), "JPEG")
    report = train_model(tmp_path / "classic", tmp_path / "run", steps=2, direction="BtoA", **QUICK)
    assert report.figures is not None
    assert report.figures.keys() == {"restored", "input"}
    assert read_card(tmp_path / "run" / "model.onnx")["task"] == "other"


def test_an_empty_validation_split_is_said(dataset: Path, tmp_path: Path, write_photos) -> None:  # type: ignore[no-untyped-def]
    archive = write_photos({f"{number}.png": number for number in range(3)})
    build_dataset([archive], tmp_path / "ds", Recipe(size=32, crop="center", split="100/0/0"), workers=0)
    notes: list[Event] = []
    report = train_model(
        tmp_path / "ds", tmp_path / "run", steps=2, tell=lambda e: notes.append(e) if e.kind == "note" else None, **QUICK
    )
    assert "the val split is empty" in notes[0].values["text"]
    assert report.figures is None
    assert report.model is not None


def test_bad_use(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="article cannot take size 32: it must be a multiple of 256"):
        train_model(dataset, tmp_path / "run", preset="article", steps=1)
    with pytest.raises(UsageError, match="there is no preset 'huge': choose one of tiny, article, paper"):
        train_model(dataset, tmp_path / "run", preset="huge", steps=1)
    with pytest.raises(UsageError, match="--batch 100 is more than the"):
        train_model(dataset, tmp_path / "run", preset="tiny", steps=1, batch=100)
    assert not (tmp_path / "run").exists()
    train_model(dataset, tmp_path / "run", steps=1, **QUICK)
    with pytest.raises(RunError, match=r"other options \(seed was 0, now 1\)"):
        train_model(dataset, tmp_path / "run", steps=1, seed=1, **QUICK)
    with pytest.raises(DatasetError, match="does not exist"):
        train_model(tmp_path / "none", tmp_path / "run", steps=1, **QUICK)


def test_a_run_of_another_dataset(dataset: Path, tmp_path: Path, write_photos) -> None:  # type: ignore[no-untyped-def]
    archive = write_photos({f"{number}.png": 100 + number for number in range(8)})
    build_dataset([archive], tmp_path / "other", Recipe(size=32, crop="center"), workers=0)
    train_model(dataset, tmp_path / "run", steps=1, **QUICK)
    with pytest.raises(RunError, match="was trained on another dataset"):
        train_model(tmp_path / "other", tmp_path / "run", steps=1, **QUICK)


def test_a_loss_that_is_no_number_stops_the_run(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pix2pix.model import Pix2Pix

    train_model(dataset, tmp_path / "run", steps=2, checkpoint_every=2, **QUICK)
    real = Pix2Pix.train_on_batch
    monkeypatch.setattr(Pix2Pix, "train_on_batch", lambda self, a, b: {**real(self, a, b), "g_l1": float("nan")})
    with pytest.raises(RunError, match="the generator's loss g_l1 is nan at step 3: the checkpoint of step 2 is kept"):
        train_model(dataset, tmp_path / "run", steps=4, **{**QUICK, "checkpoint_every": 2})
    assert RunFolder(tmp_path / "run").steps() == [2]


def test_validation_images_are_chosen_by_name_not_by_order(dataset: Path) -> None:
    rows = open_dataset(dataset).pairs("val") + open_dataset(dataset).pairs("train")
    one = train.Validation(rows, 32, 4, "AtoB", 2)
    other = train.Validation(rows[::-1], 32, 4, "AtoB", 2)
    assert all(np.array_equal(left, right) for left, right in zip(one.a, other.a, strict=True))
    perfect = one.measure(one.b)
    assert perfect["restored"] == {"psnr": 100.0, "ssim": pytest.approx(1), "l1": 0.0}
    assert perfect["input"]["psnr"] < 100


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_interrupted_training_goes_on(dataset: Path, tmp_path: Path, number: int, code: int) -> None:
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "train", str(dataset), str(tmp_path / "run"),
               "--preset", "tiny", "--batch", "2", "--val-images", "2", "--checkpoint-every", "5",
               "--val-every", "1000000", "--steps"]  # fmt: skip
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen([*command, "1000000"], stderr=subprocess.PIPE, text=True, env=environment)
    while not (tmp_path / "run" / "checkpoints" / "step-000010").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (code, False), said
    steps = RunFolder(tmp_path / "run").steps()
    assert steps[-1] >= 10
    if code > 0:
        assert "the same command goes on from there" in said
    done = subprocess.run([*command, str(steps[-1] + 3)], capture_output=True, text=True, env=environment, check=True)
    assert f"going on from step {steps[-1]}" in done.stderr
    assert RunFolder(tmp_path / "run").steps()[-1] == steps[-1] + 3

"""One run from start to end on a small preset, and what may stop it. TensorFlow is imported once, here."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
import types
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from dataset_tools import image_io, pairs
from dataset_tools.build import build_dataset
from dataset_tools.dataset import open_dataset
from dataset_tools.errors import DatasetError, ModelFileError, OutputError, RunError, UsageError
from dataset_tools.recipe import Recipe
from pipelines.cli import run as main
from pix2pix import model_file
from pix2pix.events import Event
from pix2pix.model import Pix2Pix
from pix2pix.model_file import read_card
from pix2pix.run_folder import RunFolder
from pix2pix.spec import PRESETS
from pix2pix.stopper import Stopper
from pix2pix.task import recipe_anew, task_of
from pix2pix.train import _check_finite, play_at, train_model
from pix2pix.validation import Validation
from pix2pix.watch import Watch
from tests.conftest import textured
from tests.training import QUICK, SMALL, classic, log, mosaics, newest, same_arrays, small_presets

SUMMARY = {"ended", "steps", "seconds", "images_per_second", "preset", "parameters", "metric", "best", "last", "unbeaten",
           "alarms", "model", "exact"}  # fmt: skip
LOSSES = {"d_loss", "d_real", "d_fake", "g_loss", "g_adversarial", "g_l1", "g_gradient", "d_gradient"}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mosaics(tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mosaics(tmp_path_factory.mktemp("colours"), degrade="grayscale")


OPTIONS = {"steps": 10, "val_every": 5, "checkpoint_every": 5, "seed": 5, **QUICK}


@pytest.fixture(scope="session")
def whole(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with OPTIONS that nothing interrupts."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", SMALL)
        patch.setattr("pix2pix.train.LOG_EVERY", 5)
        train_model(dataset, run, **OPTIONS)
    return run


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tiny", "mend"):
        monkeypatch.setitem(PRESETS, name, PRESETS[name])
    small_presets()


def shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What TensorBoard's own reader, which is to take its stub instead of TensorFlow, finds in a run."""
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()


def test_a_run_holds_what_it_promises(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    report = train_model(dataset, tmp_path / "run", steps=6, val_every=3, checkpoint_every=3, tell=events.append, **QUICK)
    run = tmp_path / "run"
    assert (report.steps, report.ended, report.model) == (6, "steps", run / "model.onnx")
    assert sorted(path.name for path in run.iterdir()) == [
        ".lock", "best.json", "checkpoints", "log.jsonl", "model.onnx", "run.json", "samples", "summary.json", "tensorboard",
    ]  # fmt: skip
    told = json.loads((run / "run.json").read_text())
    assert told["options"]["dataset"] == open_dataset(dataset).fingerprint
    assert told["options"]["spec"]["size"] == 32
    assert told["options"]["from"] is None
    assert set(told["exact"]) == {"precision", "threads", "backend", "device", "versions"}

    rows = log(run)
    assert [(row["kind"], row["step"]) for row in rows] == [("validation", 3), ("losses", 6), ("validation", 6)]
    assert rows[0]["figures"].keys() == {"restored", "input", "bicubic"}
    assert rows[0]["figures"]["input"] == rows[2]["figures"]["input"]
    assert rows[0]["figures"]["input"].keys() == {"psnr", "ssim", "l1"}
    assert set(rows[1]["losses"]) == LOSSES
    steps = [event for event in events if event.kind == "step"]
    assert [event.step for event in steps] == [1, 2, 3, 4, 5, 6]
    for name in LOSSES:  # what is told last is what is logged
        assert rows[1]["losses"][name] == steps[-1].values[name]
    assert [event.kind for event in events if event.kind != "step"] == [
        "loading", "start", "note", "validation", "validation",
    ]  # fmt: skip
    assert events[1].values["exact"] == told["exact"]

    best = json.loads((run / "best.json").read_text())
    scores = {row["step"]: row["figures"]["restored"]["psnr"] for row in rows if row["kind"] == "validation"}
    assert best["step"] == max(scores, key=lambda step: scores[step])
    assert best == report.best
    card = read_card(run / "model.onnx")
    assert (card["task"], card["preset"], card["size"], card["step"]) == ("mosaic", "tiny", 32, best["step"])
    assert (card["cell"], card["weights"]) == (8, "raw")
    assert card["recipe"] == ["mosaic:block=4,phase=0"]
    assert card["validation"] == best["figures"]
    assert card["largest_difference"] < 1e-3

    samples = sorted(str(path.relative_to(run / "samples")) for path in (run / "samples").rglob("*.*"))
    assert samples == ["frames/step-000003.png", "frames/step-000003.txt", "frames/step-000006.png", "frames/step-000006.txt",
                       "step-000003.png", "step-000006.png", "timeline.png", "timeline.webp"]  # fmt: skip
    assert image_io.read(run / "samples" / "frames" / "step-000006.png").rgb8.shape == (32, 2 * 32, 3)  # two faces
    with Image.open(run / "samples" / "timeline.webp") as film:
        assert film.n_frames == 3  # type: ignore[attr-defined]  # the input, steps 3 and 6

    board = shown(run, monkeypatch)
    figures = {f"validation/{metric}/{name}" for name in ("restored", "input", "bicubic") for metric in ("psnr", "ssim", "l1")}
    assert set(board.Tags()["scalars"]) == {f"loss/{name}" for name in LOSSES} | figures
    assert set(board.Tags()["images"]) == {"validation/grid", "discriminator/patches"}
    assert [event.step for event in board.Scalars("validation/psnr/restored")] == [3, 6]
    assert [event.value for event in board.Scalars("loss/g_l1")] == [pytest.approx(rows[1]["losses"]["g_l1"])]
    patches = board.Images("discriminator/patches")[-1]
    assert (patches.width, patches.height) == (2 * 128, 2 * 128)

    summary = json.loads((run / "summary.json").read_text())
    assert set(summary) == SUMMARY
    assert (summary["ended"], summary["steps"], summary["preset"], summary["metric"]) == ("steps", 6, "tiny", "psnr")
    assert summary["best"] == best
    assert summary["last"] == rows[2]["figures"]
    assert summary["exact"] == told["exact"]
    assert summary["alarms"] == []
    assert summary["model"] == {"file": "model.onnx", "sha256": model_file.sha256(run / "model.onnx")}
    assert summary["images_per_second"] == pytest.approx(6 * 2 / summary["seconds"], rel=0.01)
    model = Pix2Pix(PRESETS["tiny"].for_task("mosaic").with_size(32))
    assert summary["parameters"] == {"generator": model.generator.count_params(),
                                     "discriminator": model.discriminator.count_params()}  # fmt: skip


@pytest.mark.slow
def test_stopped_and_resumed_equals_uninterrupted(
    dataset: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pix2pix.train.LOG_EVERY", 5)
    for steps in (5, 10):
        assert train_model(dataset, tmp_path / "parts", **{**OPTIONS, "steps": steps}).steps == steps
    assert same_arrays(whole, tmp_path / "parts") == []
    assert log(whole) == log(tmp_path / "parts")
    assert (whole / "best.json").read_text() == (tmp_path / "parts" / "best.json").read_text()
    assert int(newest(tmp_path / "parts")["generator_optimizer/iteration"]) == 10


@pytest.mark.slow
def test_a_signal_saves_the_step_that_it_came_in(
    dataset: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pix2pix.train.LOG_EVERY", 5)

    def stop(event: Event) -> None:
        if event.kind == "step" and event.step == 7:
            signal.raise_signal(signal.SIGTERM)

    raised: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: raised.append(signum))
    try:
        train_model(dataset, tmp_path / "run", **OPTIONS, tell=stop)
    finally:
        handler = signal.signal(signal.SIGTERM, before)
    assert raised == [signal.SIGTERM]  # passed on, once everything was written
    handler(0, None)  # type: ignore[operator,misc,arg-type]
    assert raised == [signal.SIGTERM, 0]  # and heard by who heard it before
    assert RunFolder(tmp_path / "run").steps()[-1] == 7
    assert not (tmp_path / "run" / "summary.json").exists()
    told: list[Event] = []
    report = train_model(dataset, tmp_path / "run", **OPTIONS, tell=told.append)
    assert (told[1].kind, told[1].step, told[1].values["resumed"]) == ("start", 7, True)
    assert report.steps == 10
    assert same_arrays(whole, tmp_path / "run") == []
    assert log(whole) == log(tmp_path / "run")


@pytest.mark.slow
def test_ctrl_c_before_the_first_step_stops_at_once(dataset: Path, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if event.kind == "loading":
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_model(dataset, tmp_path / "run", **OPTIONS, tell=stop)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert train_model(dataset, tmp_path / "run", steps=1, **QUICK).steps == 1


@pytest.mark.slow
def test_a_finished_run_stays_as_it_is(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_model(dataset, run, steps=2, **QUICK)
    kept = ("model.onnx", "best.json", "log.jsonl", "checkpoints/step-000002/weights.h5", "run.json", "summary.json")
    before = [(run / name).read_bytes() for name in kept]
    report = train_model(dataset, run, steps=2, **QUICK)
    assert report.steps == 2
    assert report.figures is not None
    assert [(run / name).read_bytes() for name in kept] == before
    with pytest.raises(UsageError, match=r"--steps 1: the run .*run has done 2 already: give as many or more"):
        train_model(dataset, run, steps=1, **QUICK)
    assert [(run / name).read_bytes() for name in kept] == before
    (run / "model.onnx").unlink()  # by somebody: it is written anew
    assert train_model(dataset, run, **QUICK).steps == 2  # as many as it was begun with
    assert [(run / name).read_bytes() for name in kept] == before

    train_model(dataset, run, steps=3, val_every=2, checkpoint_every=2, patience=9, **QUICK)
    options = json.loads((run / "run.json").read_text())["options"]
    assert [options[name] for name in ("steps", "val_every", "checkpoint_every", "patience")] == [3, 2, 2, 9]
    only = "use the same, or choose another folder; only --steps, --val-every, --checkpoint-every and --patience may change"
    for changed, line in (
        ({"seed": 1}, "--seed was 0, now 1"),
        ({"batch": 4}, "--batch was 2, now 4"),
        ({"ema": 0.5}, "--ema was 0.0, now 0.5"),
        ({"val_images": 2}, "--val-images was 3, now 2"),
        ({"metric": "ssim"}, "--metric was psnr, now ssim"),
        ({"warmup_d": 3}, "--warmup-d was 0, now 3"),
        ({"seed": 1, "metric": "ssim"}, "--metric was psnr, now ssim; --seed was 0, now 1"),
    ):
        with pytest.raises(RunError) as caught:
            train_model(dataset, run, steps=3, **{**QUICK, **changed})
        assert str(caught.value) == f"the run {run} was started with other options ({line}): {only}"
    with pytest.raises(RunError) as caught:
        train_model(dataset, run, steps=3, **{**QUICK, "precision": "mixed_bfloat16"})
    assert str(caught.value) == (
        f"the run {run} cannot go on bit for bit here (precision was float32, now mixed_bfloat16): go on there, or add --inexact"
    )
    train_model(dataset, run, steps=4, inexact=True, **{**QUICK, "precision": "mixed_bfloat16"})
    assert json.loads((run / "run.json").read_text())["exact"]["precision"] == "mixed_bfloat16"


@pytest.mark.slow
def test_a_run_of_before_a_setting_existed_goes_on(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_model(dataset, run, steps=1, **QUICK)
    told = json.loads((run / "run.json").read_text())
    for name in ("cooldown", "vivid", "muon"):
        del told["options"]["spec"][name]
    (run / "run.json").write_text(json.dumps(told))
    assert train_model(dataset, run, steps=2, **QUICK).steps == 2
    told = json.loads((run / "run.json").read_text())
    del told["options"]["spec"]["jitter"]  # which has always been there
    (run / "run.json").write_text(json.dumps(told))
    with pytest.raises(RunError, match=r"\(spec.jitter was None, now 0\)"):
        train_model(dataset, run, steps=3, **QUICK)


@pytest.mark.slow
def test_a_cooldown_ends_where_nothing_moves_any_more(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UsageError, match=r"--steps 4: after --cooldown 3 nothing moves any more: give as many or fewer"):
        train_model(dataset, run, steps=4, cooldown=3, **QUICK)
    with pytest.raises(UsageError, match=r"--cooldown -1: give 0 \(none\) or more steps"):
        train_model(dataset, run, cooldown=-1, **QUICK)
    moved = []
    before: dict[str, np.ndarray] = {}
    for steps in (1, 2, 3):
        train_model(dataset, run, steps=steps, cooldown=3, **QUICK)
        arrays = {name: value for name, value in newest(run).items() if name.startswith("generator/") and name.endswith("kernel")}
        if before:
            moved.append(max(float(np.abs(arrays[name] - before[name]).max()) for name in arrays))
        before = arrays
    assert moved[0] > 1.5 * moved[1] > 0  # Adam's steps are about as long as the rate: two thirds of it, then one
    with pytest.raises(RunError, match="--cooldown was 3, now 0"):
        train_model(dataset, run, **QUICK)
    assert train_model(dataset, tmp_path / "other", cooldown=2, **QUICK).steps == 2  # as many as it takes, unless told


@pytest.mark.slow
def test_a_classic_folder_of_other_programs(tmp_path: Path) -> None:
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        for number in numbers:
            b = textured(number, 32, 32)
            image_io.write(tmp_path / "classic" / split / f"{number}.jpg", pairs.stitch(b, 255 - b), "JPEG")
    report = train_model(tmp_path / "classic", tmp_path / "run", steps=2, direction="BtoA", **QUICK)
    assert report.figures is not None
    assert report.figures.keys() == {"restored", "input"}
    card = read_card(tmp_path / "run" / "model.onnx")
    assert (card["task"], card["cell"]) == ("other", None)


@pytest.mark.slow
def test_an_empty_validation_split_is_said(tmp_path: Path, write_photos) -> None:  # type: ignore[no-untyped-def]
    archive = write_photos({f"{number}.png": number for number in range(3)})
    build_dataset([archive], tmp_path / "ds", Recipe(size=32, crop="center", split="100/0/0"), workers=0)
    events: list[Event] = []
    report = train_model(tmp_path / "ds", tmp_path / "run", steps=2, tell=events.append, **QUICK)
    notes = [event.values["text"] for event in events if event.kind == "note"]
    assert notes == ["the val split is empty: no figures, nothing that --metric and --patience could go by, and model.onnx "
                     "follows the newest step",
                     "3 pairs are few: the model will learn them by heart"]  # fmt: skip
    assert report.figures is None
    assert report.model is not None
    assert read_card(report.model)["step"] == 2
    assert report.best == {"step": 2, "metric": "psnr", "figures": None}
    assert not (tmp_path / "run" / "samples" / "timeline.png").exists()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["last"], summary["unbeaten"]) == (None, None)


def test_bad_use(dataset: Path, tmp_path: Path) -> None:
    for options, line in (
        ({"preset": "article"}, "article cannot take size 32: it must be a multiple of 256"),
        ({"preset": "huge"}, "there is no preset 'huge': choose one of mend, article, paper, tiny"),
        ({"preset": "tiny", "batch": 100}, "a batch takes 100 pairs, but the train split has only 8: give --batch 8 or less"),
        ({"preset": "tiny", "batch": 0}, "--batch 0: give 1 or more"),
        ({"preset": "tiny", "ema": 1.0}, r"--ema 1.0: give 0 \(none\) to less than 1, such as 0.999"),
        ({"preset": "tiny", "seed": -1}, "--seed -1: give 0 to 4294967295"),
        ({"preset": "tiny", "metric": "colourfulness"}, "--metric colourfulness: choose one of auto, psnr, ssim, l1, delta_e"),
        ({"preset": "tiny", "recalibrate": 2}, "--recalibrate: tiny has no BatchNorm whose statistics could be taken anew"),
        ({"preset": "tiny", "strategy": "both"}, "--strategy both: choose one of none, mirrored, multiworker"),
        ({"preset": "tiny", "updates": "article"}, "--updates article trains both networks at each step, and knows no cells"),
        ({"preset": "tiny", "strategy": "mirrored", "max_seconds": 9}, "goes with --updates fused, and without a limit of time"),
    ):
        with pytest.raises(UsageError, match=line):
            train_model(dataset, tmp_path / "run", steps=1, **options)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="none does not exist: build one with: photomend build ARCHIVE"):
        train_model(tmp_path / "none", tmp_path / "run", steps=1, **QUICK)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="--precision half: choose one of auto, float32, mixed_bfloat16"):
        train_model(dataset, tmp_path / "run", steps=1, **{**QUICK, "precision": "half"})


def test_a_batch_that_cannot_be_shared(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pix2pix.step_tf.Spread", lambda several: types.SimpleNamespace(replicas=2, agree=lambda value: value))
    with pytest.raises(UsageError) as caught:
        train_model(dataset, tmp_path / "run", steps=1, strategy="mirrored", **{**QUICK, "batch": 3})
    assert str(caught.value) == "3 pairs a step cannot be shared by 2 devices: give a --batch that can"
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.slow
def test_a_run_of_another_dataset(dataset: Path, tmp_path: Path, write_photos) -> None:  # type: ignore[no-untyped-def]
    archive = write_photos({f"{number}.png": 100 + number for number in range(8)})
    build_dataset([archive], tmp_path / "other", Recipe(size=32, crop="center", degrade=("mosaic:block=4",)), workers=0)
    train_model(dataset, tmp_path / "run", steps=1, **QUICK)
    with pytest.raises(RunError, match="was trained on another dataset"):
        train_model(tmp_path / "other", tmp_path / "run", steps=1, **QUICK)


@pytest.mark.slow
def test_what_is_no_number_stops_the_run(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    real = Pix2Pix.train_on_batch
    taken: list[int] = []

    def broken(self: Pix2Pix, *batch: Any) -> dict[str, float]:
        taken.append(len(taken) + 1)
        return {**real(self, *batch), **({"d_gradient": float("inf")} if len(taken) == 3 else {})}

    monkeypatch.setattr(Pix2Pix, "train_on_batch", broken)
    with pytest.raises(RunError) as caught:
        train_model(dataset, run, steps=9, checkpoint_every=2, val_every=100, **QUICK)
    assert str(caught.value) == (
        "the discriminator's gradient d_gradient is inf at step 3: the checkpoint of step 2 is kept; start a new run with "
        f"another --seed or --precision float32, or go on from that checkpoint in a new run with --from {run}"
    )
    assert taken == [1, 2, 3]
    assert RunFolder(run).steps() == [2]
    assert train_model(dataset, run, steps=4, checkpoint_every=2, val_every=100, **QUICK).steps == 4


@pytest.mark.parametrize(("name", "value", "line"), [
    ("g_l1", float("nan"), "the generator's loss g_l1 is nan"),
    ("d_fake", float("-inf"), "the discriminator's loss d_fake is -inf"),
    ("g_gradient", float("inf"), "the generator's gradient g_gradient is inf"),
])  # fmt: skip
def test_the_network_and_its_loss_are_named(name: str, value: float, line: str) -> None:
    with pytest.raises(RunError, match=f"^{line} at step 7: there was no checkpoint yet; start a new run with another --seed"):
        _check_finite({"d_loss": 1.0, name: value}, 7, 0, Path("run"))


@pytest.mark.slow
def test_no_number_before_the_first_checkpoint(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Pix2Pix.train_on_batch
    monkeypatch.setattr(Pix2Pix, "train_on_batch", lambda self, *batch: {**real(self, *batch), "d_loss": float("nan")})
    with pytest.raises(RunError) as caught:
        train_model(dataset, tmp_path / "run", steps=9, **QUICK)
    assert str(caught.value) == ("the discriminator's loss d_loss is nan at step 1: there was no checkpoint yet; start a new run "
                                 "with another --seed or --precision float32")  # fmt: skip
    assert RunFolder(tmp_path / "run").steps() == []


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_not_saved(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update may overflow although its losses and gradients are numbers: the next step would tell, a checkpoint must not."""
    real = Pix2Pix.train_on_batch
    taken: list[int] = []

    def broken(self: Pix2Pix, *batch: Any) -> dict[str, float]:
        losses = real(self, *batch)
        taken.append(1)
        if len(taken) == 4:
            kernel = self.discriminator.get_layer("out_conv").kernel
            kernel.assign(np.full(kernel.shape, np.inf))
        return losses

    monkeypatch.setattr(Pix2Pix, "train_on_batch", broken)
    with pytest.raises(RunError) as caught:
        train_model(dataset, tmp_path / "run", steps=9, checkpoint_every=2, val_every=100, **QUICK)
    assert str(caught.value) == (
        "discriminator/out_conv/kernel is not finite after step 4: no checkpoint is made of it; those before are kept"
    )
    assert RunFolder(tmp_path / "run").steps() == [2]


@pytest.mark.slow
def test_a_full_disk_while_a_checkpoint_is_written(
    dataset: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pix2pix.train.LOG_EVERY", 5)
    run = tmp_path / "run"
    real = h5py.Group.create_dataset
    written: list[str] = []

    def full(self: h5py.Group, name: str, **more: Any) -> Any:
        written.append(name)
        if len(written) == len(newest(whole)) + 5:  # within the second checkpoint
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, name, **more)

    with monkeypatch.context() as patch:
        patch.setattr(h5py.Group, "create_dataset", full)
        with pytest.raises(OutputError) as caught:
            train_model(dataset, run, **OPTIONS)
    assert str(caught.value) == (f"no room left on the disk to write {run}/checkpoints/step-000010: free some space, then run "
                                 "the same command again")  # fmt: skip
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000005"]
    assert RunFolder(run).load(5)[1]["step"] == 5
    train_model(dataset, run, **OPTIONS)
    assert same_arrays(whole, run) == []
    assert log(whole) == log(run)


@pytest.mark.slow
def test_stopped_between_a_checkpoint_and_its_model_file(
    dataset: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pix2pix.train.LOG_EVERY", 5)
    best = json.loads((whole / "best.json").read_text())["step"]
    real = Watch.keep_best

    def stopped(self: Watch, step: int, figures: Any) -> None:
        if step == best:
            raise KeyboardInterrupt
        real(self, step, figures)

    monkeypatch.setattr(Watch, "keep_best", stopped)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_model(dataset, run, **OPTIONS)
    assert RunFolder(run).steps()[-1] == best
    assert not (run / "best.json").exists() or json.loads((run / "best.json").read_text())["step"] < best
    monkeypatch.setattr(Watch, "keep_best", real)
    train_model(dataset, run, **OPTIONS)
    assert same_arrays(whole, run) == []
    assert log(whole) == log(run)
    assert (run / "best.json").read_text() == (whole / "best.json").read_text()
    assert (run / "model.onnx").read_bytes() == (whole / "model.onnx").read_bytes()


@pytest.mark.slow
def test_a_model_that_cannot_be_exported_ends_nothing(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise ModelFileError("run/model.onnx was not written: its graph differs")

    monkeypatch.setattr("pix2pix.watch.write_model_file", refused)
    events: list[Event] = []
    report = train_model(dataset, tmp_path / "run", steps=2, tell=events.append, **QUICK)
    assert (report.steps, report.model, report.best) == (2, None, None)
    line = "run/model.onnx was not written: its graph differs; the training goes on"
    assert [event.values for event in events if event.kind == "alarm"] == [{"name": "not_exported", "text": line}]
    assert [row["text"] for row in log(tmp_path / "run") if row["kind"] == "alarm"] == [line]
    assert RunFolder(tmp_path / "run").steps() == [2]
    monkeypatch.undo()
    small_presets()
    assert train_model(dataset, tmp_path / "run", steps=2, **QUICK).model is not None  # the same command tries again


@pytest.mark.slow
def test_patience_waits_until_the_generator_trains(dataset: Path, tmp_path: Path) -> None:
    """While D trains alone, no validation can be better than the first, or any other."""
    options = {**QUICK, "steps": 12, "val_every": 1, "patience": 2, "warmup_d": 6}
    report = train_model(dataset, tmp_path / "run", **options)
    assert report.steps > 6
    assert not [row for row in log(tmp_path / "run") if row["kind"] == "alarm"]


@pytest.mark.slow
def test_patience_ends_a_run_that_gets_no_better(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A generator that restores ever worse: its first validation is the best."""
    real = Pix2Pix.restore
    state = {"worse": 0.0}

    def worse(self: Pix2Pix, a: Any, averaged: bool = False) -> np.ndarray:
        state["worse"] += 0.1
        return np.clip(real(self, a, averaged) + state["worse"], -1, 1)

    monkeypatch.setattr(Pix2Pix, "restore", worse)
    options = {"steps": 20, "val_every": 2, "patience": 3, "checkpoint_every": 50, **QUICK, "val_images": 2}
    report = train_model(dataset, tmp_path / "run", **options)
    assert (report.steps, report.ended) == (8, "patience")
    assert report.best is not None
    assert report.best["step"] == 2
    assert RunFolder(tmp_path / "run").steps() == [2, 8]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["ended"] == "patience"
    again = train_model(dataset, tmp_path / "run", **options)
    assert (again.steps, again.ended) == (8, "patience")  # the same command does not go on
    line = [
        "--preset",
        "tiny",
        "--batch",
        "2",
        "--val-images",
        "2",
        "--precision",
        "float32",
        "--steps",
        "20",
        "--val-every",
        "2",
    ]
    assert main(["train", str(dataset), str(tmp_path / "run"), *line, "--patience", "4"]) == 0
    said = capfd.readouterr().err.splitlines()
    assert said[1].startswith("going on from step 8 on ")
    assert said[-1] == "stopped at step 10: no better validation since step 2 (--patience)"


@pytest.mark.slow
def test_a_limit_of_time_ends_a_run(dataset: Path, tmp_path: Path) -> None:
    report = train_model(dataset, tmp_path / "run", steps=10**6, max_seconds=0.0, **QUICK)
    assert (report.steps, report.ended) == (1, "seconds")
    assert report.figures is not None
    report = train_model(dataset, tmp_path / "run", steps=10**6, max_seconds=0.0, **QUICK)
    assert report.steps == 2  # of this call


@pytest.mark.slow
def test_a_limit_of_time_is_no_end_before_it_is_reached(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step takes long, since it compiles: of the steps that are told, one more was always to come."""
    clock = iter([0.0, 100.0, 100.0, 101.0, 101.0, 102.0])
    monkeypatch.setattr("pix2pix.train.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    told: list[Any] = []
    train_model(dataset, tmp_path / "run", steps=50, max_seconds=101.5, tell=told.append, **QUICK)
    assert [(event.step, event.steps) for event in told if event.kind == "step"] == [(1, 2), (2, 3), (3, 3)]


@pytest.mark.slow
def test_the_metric_chooses_the_best(dataset: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validations that PSNR, SSIM and ΔE rank differently."""
    figures = [{"psnr": 30.0, "ssim": 0.8, "l1": 5.0, "delta_e": 9.0, "colourfulness": 1.0},
               {"psnr": 20.0, "ssim": 0.9, "l1": 6.0, "delta_e": 8.0, "colourfulness": 1.0},
               {"psnr": 25.0, "ssim": 0.7, "l1": 4.0, "delta_e": 7.0, "colourfulness": 1.0}]  # fmt: skip

    real_mean, real_restore = Validation.mean, Validation.restore
    for folder, metric, best, named in ((dataset, "auto", 1, "psnr"), (dataset, "ssim", 2, "ssim"),
                                        (colours, "auto", 3, "delta_e")):  # fmt: skip
        told, restored = iter(figures), list[Any]()

        def restore(self: Validation, generate: Any, restored: list[Any] = restored) -> Any:
            restored.append(real_restore(self, generate))
            return restored[-1]

        def mean(self: Validation, images: Any, told: Any = told, restored: list[Any] = restored) -> dict[str, float]:
            found = real_mean(self, images)
            if not any(images is each for each in restored):
                return found  # of a baseline
            row = next(told)
            return {name: row[name] for name in found}

        monkeypatch.setattr(Validation, "restore", restore)
        monkeypatch.setattr(Validation, "mean", mean)
        run = tmp_path / f"{folder.parent.name}-{metric}"
        report = train_model(folder, run, steps=3, val_every=1, metric=metric, **QUICK)
        assert report.best is not None
        assert (report.best["step"], report.best["metric"]) == (best, named)
        assert read_card(run / "model.onnx")["step"] == best
        assert best in RunFolder(run).steps()
        baselines = {name for name in report.best["figures"] if name != "restored"}
        unbeaten = json.loads((run / "summary.json").read_text())["unbeaten"]
        assert set(unbeaten) <= baselines


@pytest.mark.slow
def test_an_average_of_the_weights_is_what_restores(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = train_model(dataset, run, steps=4, val_every=2, ema=0.9, **QUICK)
    assert report.figures is not None
    assert list(report.figures) == ["restored", "raw", "input", "bicubic"]
    assert report.figures["raw"] != report.figures["restored"]
    assert read_card(run / "model.onnx")["weights"] == "ema"
    best = RunFolder(run).best()
    assert best is not None
    arrays, _ = RunFolder(run).load(best["step"])
    exported = model_file.read_weights(run / "model.onnx")
    assert exported.keys() == {name.removeprefix("ema/") for name in arrays if name.startswith("ema/")}
    for name, value in exported.items():
        assert np.array_equal(value, arrays[f"ema/{name}"]), name
    assert any(not np.array_equal(value, arrays[name]) for name, value in exported.items())


@pytest.mark.slow
def test_each_step_plays_with_the_right_networks(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(PRESETS["tiny"], alone=5)
    assert [play_at(step, spec, 3) for step in range(7)] == ["discriminator"] * 3 + ["generator"] * 2 + ["both"] * 2
    assert [play_at(step, spec, 0) for step in range(6)] == ["generator"] * 5 + ["both"]
    monkeypatch.setitem(PRESETS, "tiny", spec)
    real = Pix2Pix.train_on_batch
    plays: list[str] = []

    def watched(self: Pix2Pix, a: Any, b: Any, play: str) -> dict[str, float]:
        plays.append(play)
        return real(self, a, b, play)

    monkeypatch.setattr(Pix2Pix, "train_on_batch", watched)
    for steps in (4, 7):  # a resumed run goes on with what comes next
        train_model(dataset, tmp_path / "run", steps=steps, warmup_d=3, **QUICK)
    assert plays == ["discriminator"] * 3 + ["generator"] * 2 + ["both"] * 2
    losses = [set(row["losses"]) for row in log(tmp_path / "run") if row["kind"] == "losses"]
    assert losses == [LOSSES, LOSSES]  # the means of those steps that have them


def test_the_task_is_what_the_recipe_takes_away() -> None:
    def task(*steps: str) -> str:
        return task_of(SimpleNamespace(info={"recipe": {"degrade": list(steps)}}))  # type: ignore[arg-type]

    assert task("grayscale") == task("grayscale:standard=bt709", "fade:p=0.5", "grain", "jpeg:quality=60") == "colorize"
    assert task("mosaic:block=8", "grayscale") == task("mosaic:block=8", "jpeg:quality=60") == "mosaic"
    assert task("grayscale", "scratches") == task("sepia") == task("blur") == task() == "other"


@pytest.mark.slow
def test_what_cannot_be_laid_on_anew_is_said(tmp_path: Path, write_photos) -> None:  # type: ignore[no-untyped-def]
    archive = write_photos({f"{number}.png": number for number in range(40)})
    for degrade, count in (("mosaic:block=4", 1), ("mosaic:block=4,space=random", 1), ("mosaic:block=4,region=face", 0)):
        build_dataset(
            [archive], tmp_path / degrade, Recipe(size=32, crop="center", degrade=(degrade,), split="100/0/0"), workers=0
        )
        assert len(recipe_anew(open_dataset(tmp_path / degrade))) == count
    notes: list[str] = []
    train_model(tmp_path / "mosaic:block=4,region=face", tmp_path / "run", **{**QUICK, "preset": "mend"}, steps=1,
                tell=lambda event: notes.append(event.values["text"]) if event.kind == "note" else None)  # fmt: skip
    assert "the inputs are taken from the pairs as they are: this recipe cannot be laid on them anew" in notes


@pytest.mark.slow
def test_what_the_command_line_says(dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run, line = tmp_path / "run", ["--preset", "tiny", "--batch", "2", "--precision", "float32", "--val-every", "2"]
    assert main(["train", str(dataset), str(run), *line, "--steps", "4", "--ema", "0.9", "--json"]) == 0
    said = capfd.readouterr()
    out, err = said.out.splitlines(), said.err.splitlines()
    number = r"-?[0-9]+\.[0-9]+"
    figures = ", ".join(rf"{name} {number} dB / {number} / {number}" for name in ("restored", "raw", "input", "bicubic"))
    assert re.fullmatch(f"step 2: PSNR / SSIM / L1 of {figures}", out[0])
    assert re.fullmatch(f"step 4: PSNR / SSIM / L1 of {figures}", out[1])
    best = json.loads((run / "best.json").read_text())
    assert out[2].startswith(f"best at step {best['step']}: restored {best['figures']['restored']['psnr']:.2f} dB / ")
    assert out[-2] == f"model: {run}/model.onnx"
    told = json.loads(out[-1])
    assert told.keys() == {"run", "steps", "seconds", "figures", "best", "ended"}
    assert (told["run"], told["steps"], told["ended"], told["best"]) == (str(run), 4, "steps", best)
    summary = json.loads((run / "summary.json").read_text())
    note = f"note: by psnr it does not beat doing without a model ({', '.join(summary['unbeaten'])}): train longer"
    assert out[3:-2] == ([note] if summary["unbeaten"] else [])
    exact = json.loads((run / "run.json").read_text())["exact"]
    assert err[:2] == ["loading Keras ...",
                       f"starting on {exact['device']}, float32: preset tiny at 32×32, batch 2, 8 pairs"]  # fmt: skip
    assert re.fullmatch(rf"step 4/4, {number} images/s, 0:00 left: (\w+ {number} ?)+", err[3])
    assert err[2:3] == ["note: 8 pairs are few: the model will learn them by heart"]
    assert len(err) == 4


def test_a_photo_of_another_size_among_the_pairs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = classic(tmp_path / "ds", range(4), [4])
    image_io.write(folder / "train" / "odd.png", textured(9, 24, 48), "PNG")
    line = ["--preset", "tiny", "--batch", "2", "--precision", "float32", "--steps", "9"]
    assert main(["train", str(folder), str(tmp_path / "run"), *line]) == 1
    assert capfd.readouterr().err.splitlines()[-1] == (
        "photomend: train/odd.png is 48×24 pixels, but the pairs of this dataset are 64×32: all must be of one size"
    )


def test_a_signal_that_was_ignored_from_the_start_stays_so() -> None:
    """A shell script starts what ends in & with Ctrl-C ignored: a training must not stop at it, nor say that it was finished."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stopper() as stopper:
            stopper.listen()
            os.kill(os.getpid(), signal.SIGINT)
            assert stopper.asked is None
    finally:
        signal.signal(signal.SIGINT, before)

"""--from: where a new run takes its first weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_tools.errors import ModelFileError, RunError, UsageError
from pix2pix import model_file
from pix2pix.model import Pix2Pix
from pix2pix.origin import adopt
from pix2pix.run_folder import RunFolder
from pix2pix.spec import PRESETS, DiscriminatorSpec, GeneratorSpec
from pix2pix.train import train_model
from tests.training import QUICK, SMALL, log, mosaics, newest, same_arrays, small_presets

pytestmark = pytest.mark.slow  # each trains a run to start from


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tiny", "mend"):
        monkeypatch.setitem(PRESETS, name, PRESETS[name])
    small_presets()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mosaics(tmp_path_factory.mktemp("origin"))


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mosaics(tmp_path_factory.mktemp("grey"), degrade="grayscale")


@pytest.fixture(scope="module")
def source(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3 steps with an average of its weights."""
    run = tmp_path_factory.mktemp("source") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", SMALL)
        train_model(dataset, run, steps=3, ema=0.9, seed=1, **QUICK)
    return run


def first_weights(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, np.ndarray]]:
    """What the networks are like before each step."""
    seen: list[dict[str, np.ndarray]] = []
    real = Pix2Pix.train_on_batch

    def watched(self: Pix2Pix, *given: Any) -> dict[str, float]:
        seen.append({name: np.asarray(value).copy() for name, value in self.variables_by_path().items()})
        return real(self, *given)

    monkeypatch.setattr(Pix2Pix, "train_on_batch", watched)
    return seen


def changed(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> set[str]:
    """The networks and optimizers of which anything differs."""
    return {name.partition("/")[0] for name in one if not np.array_equal(one[name], other[name])}


def test_a_model_file_gives_the_generator(dataset: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = first_weights(monkeypatch)
    model = source / "model.onnx"
    options = {"source": model, "seed": 2, "warmup_d": 2, "ema": 0.9, **QUICK}
    train_model(dataset, tmp_path / "run", steps=4, **options)
    exported = model_file.read_weights(model)
    for name, value in exported.items():
        assert np.array_equal(seen[0][name], value)
        assert np.array_equal(seen[0][f"ema/{name}"], value)
    trained = newest(source)
    assert any(not np.array_equal(seen[0][name], trained[name]) for name in trained if name.startswith("discriminator/"))
    assert changed(seen[0], seen[2]) == {"discriminator", "discriminator_optimizer"} | dropout(seen[0], seen[2])
    assert changed(seen[2], seen[3]) >= {"generator", "discriminator", "generator_optimizer", "discriminator_optimizer", "ema"}
    told = json.loads((tmp_path / "run" / "run.json").read_text())["options"]
    assert told["from"] == {"kind": "model", "sha256": model_file.sha256(model)}
    assert told["warmup_d"] == 2


def dropout(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> set[str]:
    """{"generator"} where nothing of it but the seeds of its dropout differs."""
    names = [name for name in one if name.startswith("generator/") and not np.array_equal(one[name], other[name])]
    assert all("seed" in name for name in names), names
    return {"generator"} if names else set()


def test_a_model_file_warms_the_discriminator_up_by_default(dataset: Path, source: Path, tmp_path: Path) -> None:
    said: list[str] = []
    train_model(
        dataset,
        tmp_path / "run",
        steps=1,
        source=source / "model.onnx",
        ema=0.9,
        tell=lambda event: said.append(str(event.values.get("text"))),
        **QUICK,
    )
    assert "after --steps 1 the model is still the one that this began with: give more, or --warmup-d 0" in said
    assert json.loads((tmp_path / "run" / "run.json").read_text())["options"]["warmup_d"] == 200


def test_a_run_gives_both_networks_and_the_average(
    dataset: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = first_weights(monkeypatch)
    train_model(dataset, tmp_path / "run", steps=1, source=source, seed=2, ema=0.5, **QUICK)
    arrays = newest(source)
    networks = [name for name in arrays if name.startswith(("generator/", "discriminator/", "ema/")) and "seed" not in name]
    assert len(networks) > 40
    for name in networks:
        assert np.array_equal(seen[0][name], arrays[name]), name
    assert int(seen[0]["generator_optimizer/iteration"]) == 0  # the optimizers begin anew
    told = json.loads((tmp_path / "run" / "run.json").read_text())["options"]
    assert (told["from"], told["warmup_d"]) == ({"kind": "run", "step": 3}, 0)


def test_a_run_without_an_average_gives_its_weights_as_one(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_model(dataset, tmp_path / "raw", steps=1, **QUICK)
    seen = first_weights(monkeypatch)
    train_model(dataset, tmp_path / "run", steps=1, source=tmp_path / "raw", ema=0.9, **QUICK)
    for name, value in newest(tmp_path / "raw").items():
        if name.startswith("generator/") and "seed" not in name:
            assert np.array_equal(seen[0][f"ema/{name}"], value)


@pytest.mark.soak
def test_the_same_command_resumes_it(dataset: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the source has been trained on in between, or begins before the first step was saved."""
    monkeypatch.setattr("pix2pix.train.LOG_EVERY", 2)
    shutil.copytree(source, tmp_path / "source")
    options = {"source": tmp_path / "source", "seed": 2, "ema": 0.9, "val_every": 2, "checkpoint_every": 2, **QUICK}
    train_model(dataset, tmp_path / "whole", steps=4, **options)
    train_model(dataset, tmp_path / "run", steps=2, **options)
    train_model(dataset, tmp_path / "source", steps=4, ema=0.9, seed=1, **QUICK)
    train_model(dataset, tmp_path / "run", steps=4, **options)
    assert same_arrays(tmp_path / "whole", tmp_path / "run") == []
    assert log(tmp_path / "whole") == log(tmp_path / "run")
    told = json.loads((tmp_path / "run" / "run.json").read_text())["options"]["from"]
    assert told == {"kind": "run", "step": 3}  # what it began with
    with pytest.raises(RunError, match=r"--from was run, now model; --warmup-d was 0, now 200"):
        train_model(dataset, tmp_path / "run", steps=4, **{**options, "source": source / "model.onnx"})


@pytest.mark.soak
def test_a_run_goes_on_without_the_file_that_it_began_with(dataset: Path, source: Path, tmp_path: Path) -> None:
    """A model file is rewritten at each new best, or moved."""
    model = tmp_path / "model.onnx"
    shutil.copy(source / "model.onnx", model)
    options = {**QUICK, "source": model, "ema": 0.9, "preset": "tiny"}
    train_model(dataset, tmp_path / "run", steps=1, **options)
    told = RunFolder(tmp_path / "run").options()
    other = tmp_path / "other"
    train_model(dataset, other, steps=1, ema=0.9, seed=7, **QUICK)
    shutil.copy(other / "model.onnx", model)
    assert train_model(dataset, tmp_path / "run", steps=2, **options).steps == 2
    model.unlink()
    assert train_model(dataset, tmp_path / "run", steps=3, **options).steps == 3
    assert train_model(dataset, tmp_path / "run", steps=4, **{**options, "source": None}).steps == 4
    assert RunFolder(tmp_path / "run").options() == {**told, "steps": 4}
    with pytest.raises(RunError, match="--from was None, now run"):  # begun without one
        train_model(dataset, other, steps=2, source=source, ema=0.9, seed=7, **QUICK)


@pytest.mark.soak
def test_a_generator_that_has_learned_alone_does_not_do_so_again(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**QUICK, "preset": "mend"}
    train_model(dataset, tmp_path / "first", steps=1, **options)
    plays: list[str] = []
    real = Pix2Pix.train_on_batch
    monkeypatch.setattr(Pix2Pix, "train_on_batch", lambda self, a, b, play: plays.append(play) or real(self, a, b, play))
    for source in (tmp_path / "first" / "model.onnx", tmp_path / "first"):
        plays.clear()
        train_model(dataset, tmp_path / source.name / "run", steps=3, source=source, warmup_d=1, **options)
        assert plays == ["discriminator", "both", "both"]


def test_what_does_not_fit_is_named_before_anything_is_made(
    dataset: Path, grey: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = tmp_path / "run", source / "model.onnx"
    task = "starts_from cells there, luminance here"
    take = f"take --preset {SMALL.name} and the task it was made for"
    for given, line in ((model, f"--from {model}: its generator is another one ({task}): {take}"),
                        (source, f"--from {source}: its generator is another one ({task}): {take}")):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            train_model(grey, run, steps=1, source=given, ema=0.9, **QUICK)
        assert str(caught.value) == line
    monkeypatch.setitem(PRESETS, "tiny", replace(SMALL, generator=GeneratorSpec("residual", (8, 16), blocks=(1, 2), stem=2)))
    with pytest.raises(UsageError) as caught:
        train_model(dataset, run, steps=1, source=model, **QUICK)
    assert str(caught.value) == (f"--from {model}: its generator is another one (filters (8, 8) there, (8, 16) here, "
                                 f"blocks (1, 1) there, (1, 2) here): {take}")  # fmt: skip
    monkeypatch.setitem(PRESETS, "tiny", replace(SMALL, discriminator=DiscriminatorSpec("plain", (4, 4))))
    with pytest.raises(UsageError) as caught:
        train_model(dataset, run, steps=1, source=source, **QUICK)
    assert str(caught.value) == (f"--from {source}: its discriminator is another one (filters (16, 32, 64) there, (4, 4) here): "
                                 f"{take}")  # fmt: skip
    assert not run.exists()


def test_what_is_no_source(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.onnx").write_bytes(b"\x80\x04 a pickle, say")
    for source, kind, line in ((tmp_path / "empty", RunError, "empty: that folder holds no checkpoint of a run: train it first"),
                               (tmp_path / "file.onnx", ModelFileError, "file.onnx"),
                               (tmp_path / "none.onnx", ModelFileError, "none.onnx")):  # fmt: skip
        with pytest.raises(kind, match=line):
            train_model(dataset, tmp_path / "run", steps=1, source=source, **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_source_of_another_version_is_said(dataset: Path, source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "old")
    told = json.loads((source / "run.json").read_text())
    told["options"]["spec"]["colour"] = "none"
    (tmp_path / "old" / "run.json").write_text(json.dumps(told))
    with pytest.raises(UsageError) as caught:
        train_model(dataset, tmp_path / "run", steps=1, source=tmp_path / "old", ema=0.9, **QUICK)
    assert str(caught.value) == (
        f"--from {tmp_path}/old: it was made by another version of photomend (the spec has the unknown key colour)"
    )


def test_weights_that_lack_one_are_refused(source: Path, tmp_path: Path) -> None:
    """A checkpoint that somebody has changed by hand: run.json says what it no longer holds."""
    import h5py

    shutil.copytree(source, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "step-000003"
    with h5py.File(path / "weights.h5", "r+") as store:
        del store["generator/out_conv/bias"]
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "arrays": state["arrays"] - 1}))
    model = Pix2Pix(replace(SMALL, ema=0.9).for_task("mosaic").with_size(32))
    with pytest.raises(UsageError, match=r"run: it has no generator/out_conv/bias of the shape \(12,\)"):
        adopt(model, tmp_path / "run", {"kind": "run", "step": 3})
    assert RunFolder(tmp_path / "run").steps() == [3]

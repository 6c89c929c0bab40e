from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from dataset_tools.errors import FolderBusy, OutputError, RunError
from pix2pix.run_folder import RunFolder

ASKED = {"dataset": "abc", "preset": "tiny", "steps": 10, "seed": 0, "val_every": 5, "checkpoint_every": 5}


def arrays(value: float) -> dict[str, np.ndarray]:
    return {"generator/a/kernel": np.full((2, 3), value, np.float32), "generator/a/bias": np.float32(value), "step": np.int64(7)}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    with folder.lock():
        folder.begin(ASKED, {"versions": {}})
    return folder


def test_a_checkpoint_comes_back_exactly(run: RunFolder) -> None:
    run.save(5, arrays(0.1), None)
    loaded = run.load(5)
    assert loaded.keys() == arrays(0.1).keys()
    for name, value in arrays(0.1).items():
        assert np.array_equal(loaded[name], value)
        assert loaded[name].dtype == value.dtype
    assert json.loads((run.checkpoints / "step-000005" / "state.json").read_text())["step"] == 5


def test_the_newest_two_and_the_best_are_kept(run: RunFolder) -> None:
    for step in (5, 10, 15, 20, 25):
        run.save(step, arrays(step), best_step=10)
    assert run.steps() == [10, 20, 25]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), RuntimeError("unable to extend file, errno = 28")])
def test_a_full_disk_leaves_the_last_checkpoint(run: RunFolder, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    run.save(5, arrays(1), None)

    def full(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(OutputError, match=r"no room left on the disk to write .*step-000010: free some space"):
        run.save(10, arrays(2), None)
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000005"]
    assert np.array_equal(run.load(5)["generator/a/kernel"], arrays(1)["generator/a/kernel"])


def test_a_damaged_checkpoint_is_said(run: RunFolder) -> None:
    run.save(5, arrays(1), None)
    path = run.checkpoints / "step-000005" / "weights.h5"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=r"is damaged .* delete its folder to go on from the one before"):
        run.load(5)


def test_resuming_asks_for_the_same_run(run: RunFolder) -> None:
    run.begin({**ASKED, "steps": 20, "val_every": 1}, {})
    assert json.loads((run.folder / "run.json").read_text())["options"]["steps"] == 20
    with pytest.raises(RunError, match=r"other options \(seed was 0, now 1\): use the same, or choose another folder"):
        run.begin({**ASKED, "seed": 1}, {})
    with pytest.raises(RunError, match="was trained on another dataset"):
        run.begin({**ASKED, "dataset": "other"}, {})


def test_a_folder_that_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="not empty and holds no run"):
        RunFolder(tmp_path).begin(ASKED, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"cannot read .*run\.json"):
        RunFolder(tmp_path).begin(ASKED, {})


def test_two_trainings_at_once(run: RunFolder) -> None:
    with run.lock(), pytest.raises(FolderBusy, match=r"the run .* is in use"), run.lock():
        pass


def test_the_log_forgets_what_will_be_done_again(run: RunFolder) -> None:
    for step in (5, 10, 15):
        run.log({"kind": "losses", "step": step})
    with open(run.folder / "log.jsonl", "a") as handle:
        handle.write('{"kind": "los')
    run.rewind(10)
    assert [row["step"] for row in run.rows()] == [5, 10]


def test_a_strange_name_among_the_checkpoints(run: RunFolder) -> None:
    run.save(5, arrays(1), None)
    (run.checkpoints / "step-000005.bak").mkdir()
    assert run.steps() == [5]


def test_rewinding_forgets_a_best_that_will_be_found_again(run: RunFolder) -> None:
    run.set_best({"step": 10})
    run.rewind(10)
    assert run.best() == {"step": 10}
    run.rewind(5)
    assert run.best() is None


def test_a_differing_setting_is_named_alone(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with run.lock():
        run.begin({**ASKED, "spec": {"batch": 8, "size": 64}}, {})
    with pytest.raises(RunError, match=r"other options \(spec\.batch was 8, now 3\): use the same"):
        run.begin({**ASKED, "spec": {"size": 64, "batch": 3}}, {})

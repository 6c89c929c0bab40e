from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dataset_tools import files
from dataset_tools.errors import FolderBusy, OutputError, RunError
from pix2pix.run_folder import FORMAT, FORMAT_VERSION, RunFolder
from pix2pix.spec import with_defaults

ASKED = {"dataset": "abc", "preset": "tiny", "steps": 10, "seed": 0, "val_every": 5, "checkpoint_every": 5, "patience": 0}
EXACT = {"precision": "float32", "threads": 2, "versions": {"keras": "3.15.1"}}


def arrays(value: float) -> dict[str, np.ndarray]:
    return {"generator/a/kernel": np.full((2, 3), value, np.float32), "generator/a/bias": np.float32(value), "step": np.int64(7)}


def higher(figures: Any, others: Any) -> bool:
    return bool(figures["restored"]["psnr"] > others["restored"]["psnr"])


def figures(psnr: float) -> dict[str, dict[str, float]]:
    return {"restored": {"psnr": psnr}}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    folder = RunFolder(tmp_path / "run")
    with folder.lock():
        assert folder.begin(ASKED) is None
        folder.write(ASKED, EXACT)
    yield folder
    assert not [path for path in folder.folder.rglob("*") if path.name.startswith(files.TEMPORARY)]


def test_what_run_json_holds(run: RunFolder) -> None:
    assert json.loads((run.folder / "run.json").read_text()) == {
        "format": FORMAT, "format_version": FORMAT_VERSION, "options": ASKED, "exact": EXACT,
    }  # fmt: skip
    assert run.begin(ASKED) == json.loads((run.folder / "run.json").read_text())


def test_run_json_is_written_only_where_it_changes(run: RunFolder) -> None:
    before = (run.folder / "run.json").stat().st_ino
    run.write(ASKED, EXACT)
    assert (run.folder / "run.json").stat().st_ino == before
    run.write({**ASKED, "steps": 20}, EXACT)
    assert run.options()["steps"] == 20


def test_a_checkpoint_comes_back_exactly(run: RunFolder) -> None:
    state = {"seconds": 0.1 + 0.2, "window": [{"g_l1": 1 / 3}]}
    run.save(5, arrays(0.1), state)
    loaded, found = run.load(5)
    assert loaded.keys() == arrays(0.1).keys()
    for name, value in arrays(0.1).items():
        assert np.array_equal(loaded[name], value)
        assert loaded[name].dtype == value.dtype
    assert found == {"step": 5, "arrays": 3, **state}


def test_the_newest_two_and_the_best_are_kept(run: RunFolder) -> None:
    for step in (5, 10, 15, 20, 25):
        if step == 10:
            run.set_best({"step": 10})
        run.save(step, arrays(step), {})
    assert run.steps() == [10, 20, 25]
    run.save(30, arrays(30), {})
    assert run.steps() == [10, 25, 30]
    run.set_best({"step": 30})
    assert run.steps() == [25, 30]


def test_a_checkpoint_that_is_there_is_left_as_it_is(run: RunFolder) -> None:
    run.save(5, arrays(1), {})
    before = (run.checkpoints / "step-000005" / "weights.h5").stat().st_mtime_ns
    run.save(5, arrays(1), {})
    assert (run.checkpoints / "step-000005" / "weights.h5").stat().st_mtime_ns == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_written(run: RunFolder, value: float) -> None:
    run.save(5, arrays(1), {})
    bad = arrays(1)
    bad["generator/a/kernel"][1, 2] = value
    with pytest.raises(RunError) as caught:
        run.save(10, bad, {})
    assert str(caught.value) == (
        "generator/a/kernel is not finite after step 10: no checkpoint is made of it; those before are kept"
    )
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000005"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), RuntimeError("unable to extend file, errno = 28"),
                                     OSError("Unable to synchronously create dataset (errno = 28)")])  # fmt: skip
def test_a_full_disk_leaves_the_last_checkpoint(run: RunFolder, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    run.save(5, arrays(1), {})
    real = h5py.Group.create_dataset

    def full(self: h5py.Group, name: str, **more: Any) -> Any:
        if name == "step":
            raise failure
        return real(self, name, **more)

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(OutputError) as caught:
        run.save(10, arrays(2), {})
    assert str(caught.value) == (
        f"no room left on the disk to write {run.checkpoints}/step-000010: free some space, then run the same command again"
    )
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000005"]
    assert np.array_equal(run.load(5)[0]["generator/a/kernel"], arrays(1)["generator/a/kernel"])
    monkeypatch.undo()
    run.save(10, arrays(2), {})
    assert run.steps() == [5, 10]


def test_room_is_reserved_before_hdf5_sees_the_file(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 may crash the process where it finds the disk full; Python finds it before."""
    reserved: list[int] = []
    monkeypatch.setattr("os.posix_fallocate", lambda handle, start, size: reserved.append(size))
    many = {f"generator/{number}/kernel": np.zeros(number, np.float32) for number in range(300)}
    run.save(5, many, {})
    written = (run.checkpoints / "step-000005" / "weights.h5").stat().st_size
    assert written < reserved[0] < written + 300 * 4096
    monkeypatch.undo()
    run.save(10, many, {})
    assert (run.checkpoints / "step-000010" / "weights.h5").stat().st_size == written  # what was not needed is given back

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    monkeypatch.setattr(h5py.Group, "create_dataset", None)
    with pytest.raises(OutputError, match="no room left on the disk"):
        run.save(15, many, {})
    assert run.steps() == [5, 10]


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "no state", "half a state", "an array less"])
def test_a_damaged_checkpoint_is_said(run: RunFolder, damage: str) -> None:
    run.save(5, arrays(1), {})
    weights, state = run.checkpoints / "step-000005" / "weights.h5", run.checkpoints / "step-000005" / "state.json"
    if damage in ("cut", "empty"):
        weights.write_bytes(weights.read_bytes()[: 100 if damage == "cut" else 0])
    elif damage == "gone":
        weights.unlink()
    elif damage == "no state":
        state.unlink()
    elif damage == "half a state":
        state.write_text(state.read_text()[:10])
    else:
        with h5py.File(weights, "r+") as store:
            del store["step"]
    with pytest.raises(RunError, match=r"^the checkpoint .*/run/checkpoints/step-000005 is damaged \(.*\): "
                                       r"delete that folder to go on from the one before$"):  # fmt: skip
        run.load(5)


def done(run: RunFolder) -> None:
    """As if a checkpoint was written."""
    (run.checkpoints / "step-000001").mkdir(parents=True)


def test_resuming_asks_for_the_same_run(run: RunFolder) -> None:
    more = {**ASKED, "steps": 20, "val_every": 1, "checkpoint_every": 7, "patience": 3}
    assert run.begin(more) is not None
    run.write(more, EXACT)
    assert json.loads((run.folder / "run.json").read_text())["options"] == more
    for other in ({**ASKED, "seed": 1}, {**ASKED, "dataset": "other"}):
        assert run.begin(other) is not None, "nothing was done yet"
    done(run)
    with pytest.raises(RunError) as caught:
        run.begin({**ASKED, "seed": 1, "preset": "mend", "spec": {"filters": [1]}})
    assert str(caught.value) == (
        f"the run {run.folder} was started with other options (--preset was tiny, now mend; --seed was 0, now 1): use the same, "
        "or choose another folder; only --steps, --val-every, --checkpoint-every and --patience may change"
    )
    with pytest.raises(RunError) as caught:
        run.begin({**ASKED, "dataset": "other"})
    assert str(caught.value) == (
        f"the run {run.folder} was trained on another dataset (or it has changed): choose another folder"
    )


def test_a_run_whose_source_was_trained_on_is_the_same_run(run: RunFolder) -> None:
    run.write({**ASKED, "from": {"kind": "run", "step": 5}}, EXACT)
    assert run.begin({**ASKED, "from": {"kind": "run", "step": 10}}) is not None
    done(run)
    with pytest.raises(RunError, match=r"\(--from was None, now None; --from was run, now None\)|\(--from was run, now"):
        run.begin({**ASKED, "from": None})


def test_another_machine_needs_inexact(run: RunFolder) -> None:
    held = run.begin(ASKED)
    assert held is not None
    run.check_exact(held, EXACT, False)
    other = {**EXACT, "threads": 4, "versions": {"keras": "3.16.0"}}
    with pytest.raises(RunError) as caught:
        run.check_exact(held, other, False)
    assert str(caught.value) == (
        f"the run {run.folder} cannot go on bit for bit here (threads was 2, now 4; versions.keras was 3.15.1, now 3.16.0): "
        "go on there, or add --inexact"
    )
    run.check_exact(held, other, True)


def test_a_run_of_another_format_version(run: RunFolder) -> None:
    path = run.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 1}))
    with pytest.raises(RunError) as caught:
        run.begin(ASKED)
    assert str(caught.value) == (
        f"the run {run.folder} is of format version 1, this photomend goes on with 2: finish it with the version that began "
        "it, or start another one"
    )


def test_a_folder_that_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError) as caught:
        RunFolder(tmp_path).begin(ASKED)
    assert str(caught.value) == f"the folder {tmp_path} is not empty and holds no run: choose another folder"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    for text, line in (("{", r"cannot read .*run\.json \("), ("[]", r"run\.json was not written by photomend"),
                       ("{}", r"run\.json was not written by photomend: choose another folder")):  # fmt: skip
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(RunError, match=line):
            RunFolder(tmp_path).begin(ASKED)


def test_what_a_kill_leaves_before_there_is_a_run_is_no_obstacle(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.lock():
        (tmp_path / f"{files.TEMPORARY}123-0-abc").write_text('{"format"')
        assert run.begin(ASKED) is None
        run.rewind(0, higher)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "log.jsonl"]


def test_two_trainings_at_once(run: RunFolder) -> None:
    with run.lock(), pytest.raises(FolderBusy, match=r"the run .* is in use"), run.lock():
        pass


def test_the_log_forgets_what_will_be_done_again(run: RunFolder) -> None:
    for step in (5, 10, 15):
        run.log({"kind": "losses", "step": step})
    with open(run.folder / "log.jsonl", "a") as handle:
        handle.write('{"kind": "los')
    assert [row["step"] for row in run.rows()] == [5, 10, 15]
    run.rewind(10, higher)
    assert [row["step"] for row in run.rows()] == [5, 10]


def test_rewinding_removes_what_a_kill_left(run: RunFolder) -> None:
    run.save(5, arrays(1), {})
    half = run.checkpoints / f"{files.TEMPORARY}step-000010"
    half.mkdir()
    (half / "weights.h5").write_bytes(b"half")
    (run.folder / "samples").mkdir()
    (run.folder / "samples" / f"{files.TEMPORARY}1-2-3").write_bytes(b"half")
    run.rewind(5, higher)
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000005"]
    assert list((run.folder / "samples").iterdir()) == []


def test_a_strange_name_among_the_checkpoints(run: RunFolder) -> None:
    run.save(5, arrays(1), {})
    (run.checkpoints / "step-000005.bak").mkdir()
    assert run.steps() == [5]


def test_rewinding_forgets_a_best_that_will_be_found_again(run: RunFolder) -> None:
    for step, psnr in ((5, 20.0), (10, 22.0), (15, 21.0), (20, 23.0), (25, 23.0)):
        run.log({"kind": "validation", "step": step, "figures": figures(psnr)})
    run.set_best({"step": 20, "metric": "psnr", "figures": figures(23.0)})
    for step, best in ((25, 20), (20, 20), (19, 10), (10, 10), (9, 5)):
        run.rewind(step, higher)
        told = run.best()
        assert told is not None
        assert told["step"] == best
        assert told["metric"] == "psnr"
    assert run.best() == {"step": 5, "metric": "psnr", "figures": figures(20.0)}
    run.rewind(4, higher)
    assert run.best() is None
    assert run.rows() == []


def test_a_differing_setting_is_named_alone(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with run.lock():
        run.write({**ASKED, "spec": with_defaults({"batch": 8, "size": 64})}, EXACT)
    done(run)
    with pytest.raises(RunError, match=r"other options \(--batch was 8, now 3\): use the same"):
        run.begin({**ASKED, "spec": with_defaults({"size": 64, "batch": 3})})


def test_a_worker_waits_for_its_chief(tmp_path: Path, run: RunFolder) -> None:
    assert run.await_run(ASKED)["options"] == ASKED
    with pytest.raises(RunError) as caught:
        RunFolder(tmp_path / "elsewhere").await_run(ASKED, patience=0.3)
    assert str(caught.value) == (
        f"the chief has not begun the run {tmp_path}/elsewhere within 0 s: all workers need the same RUN folder"
    )
    with pytest.raises(RunError, match="--seed was 0, now 1"):
        run.await_run({**ASKED, "seed": 1})

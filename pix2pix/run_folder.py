"""The run folder: run.json, log.jsonl, samples/, checkpoints/, best.json, model.onnx, summary.json. Written and read here alone.

A checkpoint is HDF5 and JSON, never pickle. Everything is written to a temporary name and renamed.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dataset_tools import files
from dataset_tools.errors import RunError, output_error
from pix2pix.spec import with_defaults

FORMAT = "photomend run"
FORMAT_VERSION = 2  # 1 had no `exact`
EACH = 4096  # bytes that HDF5 needs beside the numbers of an array, at most
KEPT = 2  # newest checkpoints that stay, beside the best

MAY_CHANGE = ("steps", "val_every", "checkpoint_every", "patience")  # between a run and its resumption


class RunFolder:
    """One training run on disk. Hold `lock()` while training."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.model = folder / "model.onnx"

    def lock(self) -> Any:
        """A context manager. Raises FolderBusy where another process trains here, RunError where `folder` is a file."""
        if self.folder.is_file():
            raise RunError(f"{self.folder} is a file: give a folder for the run")
        return files.folder_lock(self.folder / ".lock", f"the run {self.folder}")

    def begin(self, asked: Mapping[str, Any], strict: bool = False) -> dict[str, Any] | None:
        """What run.json holds, if what is asked for is the run that is here; None where there is no run yet.

        Args:
            asked: the options that make this run what it is, the dataset's fingerprint among them.
            strict: before its first checkpoint, too; nothing has been done until then that other options could spoil.

        Raises:
            RunError: the folder holds something else, or a run with other options, which the line names.
        """
        path = self.folder / "run.json"
        if not path.exists():
            others = [path.name for path in self.folder.iterdir() if not path.name.startswith((".lock", files.TEMPORARY))]
            if others:
                raise RunError(f"the folder {self.folder} is not empty and holds no run: choose another folder")
            return None
        held = self._read(path)
        if held.get("format") != FORMAT:
            raise RunError(f"{path} was not written by photomend: choose another folder")
        if held.get("format_version") != FORMAT_VERSION:
            raise RunError(f"the run {self.folder} is of format version {held.get('format_version')}, this photomend goes on "
                           f"with {FORMAT_VERSION}: finish it with the version that began it, or start another one")  # fmt: skip
        options = held["options"]
        if "spec" in options:
            options = {**options, "spec": with_defaults(options["spec"])}
        if not self.steps() and not strict:
            return held
        if options["dataset"] != asked["dataset"]:
            raise RunError(f"the run {self.folder} was trained on another dataset (or it has changed): choose another folder")
        but = [*MAY_CHANGE, "from.step", "from.sha256"]  # the source may train on
        if options["preset"] != asked["preset"]:  # which says it all
            but += [f"spec.{name}" for name in {**flat(asked.get("spec", {})), **flat(options.get("spec", {}))}]
        if differing := _differing(options, asked, but, _option):
            raise RunError(
                f"the run {self.folder} was started with other options ({differing}): use the same, or choose another folder; "
                "only --steps, --val-every, --checkpoint-every and --patience may change"
            )
        return held

    def await_run(self, asked: Mapping[str, Any], patience: float = 60.0) -> dict[str, Any]:
        """`begin` for a worker that is not the chief: it waits until the chief has written run.json.

        Raises:
            RunError: it did not within `patience` seconds, or see `begin`.
        """
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if (self.folder / "run.json").exists() and (held := self.begin(asked, strict=True)) is not None:
                return held
            time.sleep(0.2)
        raise RunError(
            f"the chief has not begun the run {self.folder} within {patience:.0f} s: all workers need the same RUN folder"
        )

    def options(self) -> dict[str, Any]:
        """The options that the run was begun with; {} where there is none. Raises RunError where run.json cannot be read."""
        path = self.folder / "run.json"
        options: dict[str, Any] = self._read(path).get("options", {}) if path.exists() else {}
        return options

    def check_exact(self, held: Mapping[str, Any], now: Mapping[str, Any], inexact: bool) -> None:
        """Raises RunError where the run cannot go on bit for bit, since the machine or its software is another one.

        Args:
            held: run.json.
            now: what its `exact` would be if it began here.
            inexact: go on all the same.
        """
        differing = _differing(held["exact"], now)
        if differing and not inexact:
            raise RunError(f"the run {self.folder} cannot go on bit for bit here ({differing}): go on there, or add --inexact")

    def write(self, asked: Mapping[str, Any], exact: Mapping[str, Any]) -> None:
        """Writes run.json: the options, and what exactness depends on. It stays untouched where it says so already."""
        value = {"format": FORMAT, "format_version": FORMAT_VERSION, "options": dict(asked), "exact": dict(exact)}
        path = self.folder / "run.json"
        if not path.exists() or self._read(path) != value:
            files.replace_json(path, value, durable=True)

    def log(self, row: Mapping[str, Any]) -> None:
        """Appends a row to log.jsonl. Times stand under the one key `time`."""
        try:
            with open(self.folder / "log.jsonl", "a", encoding="utf-8") as handle:
                handle.write(files.json_line(dict(row)))
        except OSError as error:
            raise output_error(error, self.folder / "log.jsonl") from error

    def rows(self) -> list[dict[str, Any]]:
        """The rows of log.jsonl; a last line that a kill cut short is left out."""
        path = self.folder / "log.jsonl"
        rows = []
        for line in path.read_text("utf-8").splitlines() if path.exists() else []:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def save(self, step: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Writes checkpoints/step-NNNNNN, whole or not at all, then removes the ones that nobody needs.

        Kept are the newest two, and that of best.json. `state`: what else the run must know to go on, as JSON.

        Raises:
            RunError: an array is not finite; nothing is written.
            OutputError: no room left; the checkpoints that were there are whole.
        """
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise RunError(f"{name} is not finite after step {step}: no checkpoint is made of it; those before are kept")
        final = self.checkpoints / f"step-{step:06d}"
        if not final.exists():  # else it is the same one
            self._write(final, arrays, {"step": step, "arrays": len(arrays), **state})
        self._prune()

    def _prune(self) -> None:
        best = self.best()
        kept = {*self.steps()[-KEPT:], best["step"] if best else 0}
        for old in self.steps():
            if old not in kept:
                shutil.rmtree(self.checkpoints / f"step-{old:06d}", ignore_errors=True)

    def _write(self, final: Path, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        temporary = self.checkpoints / f"{files.TEMPORARY}{final.name}"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            _reserve(temporary / "weights.h5", sum(array.nbytes + EACH for array in arrays.values()) + EACH)
            with h5py.File(temporary / "weights.h5", "r+") as store:
                for name, array in arrays.items():
                    store.create_dataset(name, data=array)
            _sync(temporary / "weights.h5")
            files.replace_text(temporary / "state.json", json.dumps(state) + "\n", durable=True)
            os.replace(temporary, final)
        except (OSError, RuntimeError) as error:  # h5py raises either when the disk is full
            shutil.rmtree(temporary, ignore_errors=True)
            cause = error if isinstance(error, OSError) and error.errno else OSError(errno.ENOSPC, str(error))
            raise output_error(cause, final) from error

    def steps(self) -> list[int]:
        """The steps of the checkpoints that are here, in order."""
        names = (re.fullmatch(r"step-([0-9]+)", path.name) for path in self.checkpoints.glob("step-*"))
        return sorted(int(found[1]) for found in names if found)

    def load(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The arrays of a checkpoint, and its state. Raises RunError where it is damaged."""
        folder = self.checkpoints / f"step-{step:06d}"
        arrays: dict[str, np.ndarray] = {}
        try:
            with h5py.File(folder / "weights.h5", "r") as store:
                store.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
            state = json.loads((folder / "state.json").read_text("utf-8"))
            if state["arrays"] != len(arrays):
                raise ValueError(f"it holds {len(arrays)} of {state['arrays']} arrays")
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise RunError(
                f"the checkpoint {folder} is damaged ({error}): delete that folder to go on from the one before"
            ) from error
        return arrays, state

    def rewind(self, step: int, better: Callable[[Any, Any], bool]) -> None:
        """Forgets what the log and best.json say about steps after `step`: they will be done again. Removes what a kill left.

        better(figures, others): whether a validation beats another, to find the best of what remains.
        """
        for left in list(self.folder.rglob(f"{files.TEMPORARY}*")):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        kept = [row for row in self.rows() if row["step"] <= step]
        files.replace_text(self.folder / "log.jsonl", "".join(map(files.json_line, kept)))
        best = self.best()
        if best and best["step"] > step:
            found = best_of(kept, better)
            if found:
                self.set_best({"step": found["step"], "metric": best["metric"], "figures": found["figures"]})
            else:
                (self.folder / "best.json").unlink()

    def best(self) -> dict[str, Any] | None:
        """best.json: the step and figures of the model in model.onnx, or None before there is one."""
        path = self.folder / "best.json"
        return self._read(path) if path.exists() else None

    def set_best(self, value: Mapping[str, Any]) -> None:
        """Writes best.json, and removes the checkpoint that was the best one until now."""
        files.replace_json(self.folder / "best.json", dict(value), durable=True)
        self._prune()

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            value = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {path} ({error}): restore it, or start a new run in another folder") from error
        if not isinstance(value, dict):
            raise RunError(f"{path} was not written by photomend: choose another folder")
        return value


def best_of(rows: Sequence[Mapping[str, Any]], better: Callable[[Any, Any], bool]) -> Mapping[str, Any] | None:
    """The validation among the rows of a log whose figures are the best; the first one of equals."""
    found = None
    for row in rows:
        if row["kind"] == "validation" and (found is None or better(row["figures"], found["figures"])):
            found = row
    return found


def _sync(path: Path) -> None:
    """What was written to `path` outlives a power cut."""
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def _reserve(path: Path, size: int) -> None:
    """An empty HDF5 file with room for `size` bytes: on a full disk HDF5 itself may crash the process when it closes a file."""
    empty = io.BytesIO()
    h5py.File(empty, "w").close()
    with open(path, "wb") as handle:
        handle.write(empty.getvalue())
        handle.flush()
        os.posix_fallocate(handle.fileno(), 0, size)


def _option(name: str) -> str:
    """What a person calls a setting of run.json: the option of the command line where there is one."""
    own = ("spec.batch", "spec.ema", "spec.recalibrate", "spec.cooldown")
    given = name.removeprefix("spec.") if name in own else name.partition(".")[0]
    return name if given == "spec" else f"--{given.replace('_', '-')}"


def _differing(
    was: Mapping[str, Any], now: Mapping[str, Any], but: Sequence[str] = (), called: Callable[[str], str] = str
) -> str:
    """ "seed was 1, now 2; …": what differs in two nested mappings, or "" where nothing does."""
    before, after = flat(was), flat(now)
    names = sorted(name for name in before.keys() | after.keys() if name not in but and before.get(name) != after.get(name))
    return "; ".join(f"{called(name)} was {before.get(name)}, now {after.get(name)}" for name in names)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"spec": {"batch": 4}} -> {"spec.batch": 4}, so that a line can name the one setting that differs."""
    found: dict[str, Any] = {}
    for name, item in value.items():
        found |= flat(item, f"{prefix}{name}.") if isinstance(item, Mapping) else {f"{prefix}{name}": item}
    return found

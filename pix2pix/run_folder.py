"""The run folder: run.json, log.jsonl, samples/, checkpoints/, best.json, model.onnx. Written and read here alone.

A checkpoint is HDF5 and JSON, never pickle. Everything is written to a temporary name and renamed.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dataset_tools import files
from dataset_tools.errors import RunError, output_error

FORMAT = "photomend run"
FORMAT_VERSION = 1
KEPT = 2  # newest checkpoints that stay, beside the best

MAY_CHANGE = {"steps", "val_every", "checkpoint_every"}  # between a run and its resumption


class RunFolder:
    """One training run on disk. Hold `lock()` while training."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.model = folder / "model.onnx"

    def lock(self) -> Any:
        """A context manager; FolderBusy where another process trains here."""
        return files.folder_lock(self.folder / ".lock", f"the run {self.folder}")

    def begin(self, asked: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Starts the run, or checks that what is asked for is the run that is here.

        Args:
            asked: the options that make this run what it is, the dataset's fingerprint among them.
            record: what else run.json tells (versions, device), noted at step 0 and kept.

        Raises:
            RunError: the folder holds something else, or a run with other options.
        """
        path = self.folder / "run.json"
        if not path.exists():
            others = [entry.name for entry in self.folder.iterdir() if entry.name != ".lock"]
            if others:
                raise RunError(f"the folder {self.folder} is not empty and holds no run: choose another folder")
            files.replace_json(path, {"format": FORMAT, "format_version": FORMAT_VERSION, "options": asked, **record})
            return
        held = self._read(path)
        if held.get("format") != FORMAT:
            raise RunError(f"{path} was not written by photomend: choose another folder")
        options = held["options"]
        if options["dataset"] != asked["dataset"]:
            raise RunError(f"the run {self.folder} was trained on another dataset (or it has changed): choose another folder")
        was, now = _flat(options), _flat(asked)
        differing = sorted(name for name in was.keys() | now.keys() if name not in MAY_CHANGE and was.get(name) != now.get(name))
        if differing:
            told = "; ".join(f"{name} was {was.get(name)}, now {now.get(name)}" for name in differing)
            raise RunError(
                f"the run {self.folder} was started with other options ({told}): use the same, or choose another folder"
            )
        files.replace_json(path, {**held, "options": dict(asked)})

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

    def save(self, step: int, arrays: Mapping[str, np.ndarray], best_step: int | None) -> None:
        """Writes checkpoints/step-NNNNNN, whole or not at all, then removes the ones that nobody needs."""
        final = self.checkpoints / f"step-{step:06d}"
        temporary = self.checkpoints / f"{files.TEMPORARY}{final.name}"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            with h5py.File(temporary / "weights.h5", "w") as store:
                for name, array in arrays.items():
                    store.create_dataset(name, data=array)
            (temporary / "state.json").write_text(json.dumps({"step": step, "arrays": len(arrays)}) + "\n", "utf-8")
            shutil.rmtree(final, ignore_errors=True)
            os.replace(temporary, final)
        except (OSError, RuntimeError) as error:  # h5py raises either when the disk is full
            shutil.rmtree(temporary, ignore_errors=True)
            cause = error if isinstance(error, OSError) and error.errno else OSError(errno.ENOSPC, str(error))
            raise output_error(cause, final) from error
        newest = self.steps()[-KEPT:]
        for old in self.steps():
            if old not in newest and old != best_step:
                shutil.rmtree(self.checkpoints / f"step-{old:06d}", ignore_errors=True)

    def steps(self) -> list[int]:
        """The steps of the checkpoints that are here, in order."""
        names = (re.fullmatch(r"step-([0-9]+)", path.name) for path in self.checkpoints.glob("step-*"))
        return sorted(int(found[1]) for found in names if found)

    def load(self, step: int) -> dict[str, np.ndarray]:
        """The arrays of a checkpoint. Raises RunError where it is damaged."""
        path = self.checkpoints / f"step-{step:06d}" / "weights.h5"
        arrays: dict[str, np.ndarray] = {}
        try:
            with h5py.File(path, "r") as store:
                store.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        except OSError as error:
            raise RunError(
                f"the checkpoint {path} is damaged ({error}): delete its folder to go on from the one before"
            ) from error
        return arrays

    def rewind(self, step: int) -> None:
        """Forgets what the log and best.json say about steps after `step`: they will be done again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        files.replace_text(self.folder / "log.jsonl", "".join(map(files.json_line, kept)))
        best = self.best()
        if best and best["step"] > step:
            (self.folder / "best.json").unlink()

    def best(self) -> dict[str, Any] | None:
        """best.json: the step and figures of the model in model.onnx, or None before there is one."""
        path = self.folder / "best.json"
        return self._read(path) if path.exists() else None

    def set_best(self, value: Mapping[str, Any]) -> None:
        files.replace_json(self.folder / "best.json", dict(value))

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            value = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {path} ({error}): restore it, or start a new run in another folder") from error
        if not isinstance(value, dict):
            raise RunError(f"{path} was not written by photomend: choose another folder")
        return value


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"spec": {"batch": 4}} -> {"spec.batch": 4}, so that an error can name the one setting that differs."""
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flat(item, f"{prefix}{name}.") if isinstance(item, Mapping) else {f"{prefix}{name}": item}
    return flat

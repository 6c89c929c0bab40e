"""--from: where a new run takes its first weights. A model file gives the generator; a run gives both networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset_tools.errors import RunError, UsageError
from pix2pix import model_file
from pix2pix.run_folder import RunFolder
from pix2pix.spec import Spec

if TYPE_CHECKING:
    from pix2pix.model import Pix2Pix


def describe(source: Path, spec: Spec) -> dict[str, Any]:
    """What run.json keeps of it: {"kind": "model", "sha256": …} or {"kind": "run", "step": …}.

    Raises:
        ModelFileError, RunError: it is neither, or a run without a checkpoint.
        UsageError: its networks are not those of `spec`; the line names what differs.
    """
    if source.is_dir():
        steps = RunFolder(source).steps()
        if not steps:
            raise RunError(f"--from {source}: that folder holds no checkpoint of a run: train it first, or give a model file")
        theirs = _spec(RunFolder(source).options().get("spec", {}), source)
        _check("discriminator", theirs.discriminator, spec.discriminator, source, theirs.name)
        told: dict[str, Any] = {"kind": "run", "step": steps[-1]}
    else:
        theirs = _spec(model_file.read_card(source)["spec"], source)
        told = {"kind": "model", "sha256": model_file.sha256(source)}
    _check("generator", theirs.generator, spec.generator, source, theirs.name)
    return told


def _spec(value: Mapping[str, Any], source: Path) -> Spec:
    try:
        return Spec.from_json(value)
    except (ValueError, TypeError, UsageError) as error:
        raise UsageError(f"--from {source}: it was made by another version of photomend ({error})") from error


def adopt(model: Pix2Pix, source: Path, told: Mapping[str, Any]) -> None:
    """Gives `model` the weights of `source`: G of a model file (D stays fresh), or G, D and the average of a run's checkpoint.

    `told`: what `describe` said of it.

    Raises:
        UsageError: its networks are built otherwise, which `describe` says better.
    """
    from pix2pix.model import copy_weights

    if source.is_dir():
        arrays, _ = RunFolder(source).load(told["step"])
        networks = [model.generator, model.discriminator]
    else:
        arrays, networks = dict(model_file.read_weights(source)), [model.generator]
    for network in networks:
        _assign(network, arrays, source)
    if model.ema is not None:
        averaged = {name.removeprefix("ema/"): array for name, array in arrays.items() if name.startswith("ema/")}
        if averaged:
            _assign(model.ema, averaged, source)
        else:
            copy_weights(model.generator, model.ema)


def _check(what: str, theirs: Any, ours: Any, source: Path, preset: str) -> None:
    """Dropout has no weights, so it alone may differ."""
    names = [
        each.name for each in fields(ours) if each.name != "dropout" and getattr(theirs, each.name) != getattr(ours, each.name)
    ]
    if names:
        told = ", ".join(f"{name} {getattr(theirs, name)} there, {getattr(ours, name)} here" for name in names)
        raise UsageError(
            f"--from {source}: its {what} is another one ({told}): take --preset {preset} and the task it was made for"
        )


def _assign(network: Any, arrays: dict[str, Any], source: Path) -> None:
    from pix2pix.networks import weights_by_path

    for name, variable in weights_by_path(network).items():
        if name not in arrays or np.shape(arrays[name]) != tuple(variable.shape):
            raise UsageError(
                f"--from {source}: it has no {name} of the shape {tuple(variable.shape)}: take the --preset it was made with"
            )
        variable.assign(arrays[name])

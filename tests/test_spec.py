"""Specs: sizes, JSON, presets; and that the command line may import them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from typing import Any

import pytest

from dataset_tools.errors import UsageError
from pix2pix.spec import PRESETS, DiscriminatorSpec, GeneratorSpec, Spec

MEND = PRESETS["mend"].generator.stem << (len(PRESETS["mend"].generator.filters) - 1)  # its stride: it doubles at each level
LEAST = max(MEND, 16)
SIZES = {  # preset -> (sizes it takes, sizes it refuses, what the line allows)
    "mend": ((LEAST, 3 * MEND, 8 * MEND), (0, -MEND, MEND // 2, MEND - 1, LEAST + 1), f"a multiple of {MEND}, {LEAST} or more"),
    "tiny": ((16, 64, 72, 256), (0, -8, 8, 63, 100), "a multiple of 8, 16 or more"),
    "article": ((256, 512), (0, 100, 128, 384), "a multiple of 256, 256 or more"),
    "paper": ((256, 512), (0, 100, 128, 384), "a multiple of 256, 256 or more"),
}


def test_every_preset_is_in_the_table_and_knows_its_name() -> None:
    assert SIZES.keys() == PRESETS.keys()
    assert all(name == spec.name for name, spec in PRESETS.items())


@pytest.mark.parametrize("name", PRESETS)
def test_sizes(name: str) -> None:
    taken, refused, allowed = SIZES[name]
    for size in taken:
        assert PRESETS[name].with_size(size) == replace(PRESETS[name], size=size)
    for size in refused:
        with pytest.raises(UsageError) as caught:
            PRESETS[name].with_size(size)
        assert str(caught.value).startswith(
            f"{name} cannot take size {size}: it must be {allowed}; build the dataset with --size "
        )


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name: str) -> None:
    written = PRESETS[name].to_json()
    assert json.loads(json.dumps(written)) == written
    assert Spec.from_json(json.loads(json.dumps(written))) == PRESETS[name]


@pytest.mark.parametrize("part", [None, "generator", "discriminator"])
def test_from_json_names_the_key_that_is_wrong(part: str | None) -> None:
    kind = {None: Spec, "generator": GeneratorSpec, "discriminator": DiscriminatorSpec}[part]
    needed = {field.name for field in fields(kind) if field.default is MISSING}  # the others came later: older files lack them
    assert needed >= ({"kind", "filters"} if part else {"name", "size", "learning_rate", "generator", "discriminator"})
    for key in needed:
        value = PRESETS["tiny"].to_json()
        inner = value if part is None else value[part]
        del inner[key]
        with pytest.raises(ValueError, match=f"lacks {key}$"):
            Spec.from_json(value)
    value = PRESETS["tiny"].to_json()
    (value if part is None else value[part])["colour"] = 1
    with pytest.raises(ValueError, match="unknown key colour"):
        Spec.from_json(value)


def of_the_first_version(spec: Spec) -> dict[str, Any]:
    value = spec.to_json()
    first = ("name", "size", "batch", "learning_rate", "beta1", "l1_weight", "adversarial", "jitter", "flip", "discriminator")
    generator = {key: value["generator"][key] for key in ("kind", "filters", "dropout")} | {
        "blocks": sum(spec.generator.blocks[:1])
    }
    return {key: value[key] for key in first} | {"generator": generator}


def test_a_spec_of_the_first_version_is_read() -> None:
    """As photomend wrote it before there was `mend`: no key of those with a default, and blocks a number."""
    for name in ("article", "paper"):
        read = Spec.from_json(of_the_first_version(PRESETS[name]))
        assert replace(read, generator=replace(read.generator, blocks=())) == PRESETS[name]


def test_from_json_refuses_what_is_no_spec() -> None:
    for value in ([], {**PRESETS["tiny"].to_json(), "generator": 3}):
        with pytest.raises(ValueError, match="no JSON object"):
            Spec.from_json(value)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="size 100"):
        Spec.from_json({**PRESETS["article"].to_json(), "size": 100})


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="no generator kind 'unet': one of upsampling_unet, transposed_unet, residual"):
        GeneratorSpec("unet", (8,))
    with pytest.raises(ValueError, match="no start 'noise': one of input, cells, luminance"):
        GeneratorSpec("residual", (8,), blocks=(1,), starts_from="noise")
    with pytest.raises(ValueError, match=r"as many numbers of blocks as levels; received \(1, 1\)"):
        GeneratorSpec("residual", (8,), blocks=(1, 1))
    with pytest.raises(ValueError, match="no discriminator kind 'pixel'"):
        DiscriminatorSpec("pixel", (8,))
    with pytest.raises(ValueError, match="no adversarial loss 'hinge'"):
        replace(PRESETS["tiny"], adversarial="hinge")


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_known_without_the_generator_is_what_it_starts_from(name: str) -> None:
    spec = PRESETS[name]
    residual = spec.generator.kind == "residual"
    for task, start in (("mosaic", "cells"), ("colorize", "luminance"), ("other", "input")):
        told = spec.for_task(task)
        assert told.generator.starts_from == (start if residual else "input")
        assert told.generator.stem == (2 if residual and task == "mosaic" else spec.generator.stem)  # 4 × 4 positions a cell
        assert replace(told, generator=spec.generator) == spec
        assert replace(told.generator, starts_from="input", stem=spec.generator.stem) == spec.generator
        assert told.for_task(task) == told


@pytest.mark.parametrize(("name", "stride", "window"), [("mend", 16, 128), ("tiny", 8, 64)])
def test_the_networks_of_mosaics_train_on_windows(name: str, stride: int, window: int) -> None:
    spec = PRESETS[name].for_task("mosaic")
    assert (spec.stride, spec.window, spec.side, spec.cells_side) == (stride, window, window, window)
    for size in (64, 512):
        assert spec.with_size(size).side == window
        assert spec.for_task("other").with_size(size).side == spec.for_task("colorize").with_size(size).side == size
        assert spec.for_task("other").cells_side == spec.for_task("colorize").cells_side == 0
    assert (PRESETS["article"].side, PRESETS["paper"].with_size(512).side, PRESETS["paper"].cells_side) == (256, 512, 0)
    with pytest.raises(
        ValueError, match=f"cells are for residual generators, in windows that are multiples of 8 and of {stride}; "
    ):
        replace(spec, window=window + stride // 2)
    with pytest.raises(ValueError, match="cells are for residual generators"):
        replace(PRESETS["article"], generator=replace(PRESETS["article"].generator, starts_from="cells"), window=256)


def test_training_of_the_presets() -> None:
    def training(name: str) -> tuple[object, ...]:
        spec = PRESETS[name]
        return spec.adversarial, spec.l1_weight, spec.learning_rate, spec.beta1, spec.batch, spec.size, spec.jitter, spec.flip

    assert training("article") == ("mse", 100.0, 2e-4, 0.5, 4, 256, 0, False)
    assert training("paper") == ("bce", 100.0, 2e-4, 0.5, 1, 256, 30, True)
    for name in ("article", "paper"):  # none of what came later
        spec = PRESETS[name]
        assert (spec.adversarial_weight, spec.ssim_weight, spec.ema) == (1.0, 0.0, 0.0)
        assert (spec.alone, spec.warmup, spec.hold, spec.muon) == (0, 0, 0, 0.0)
    assert (PRESETS["mend"].muon, PRESETS["tiny"].muon) == (0.02, 0.0)


def test_importing_specs_imports_nothing_heavy() -> None:
    code = "import sys, pix2pix.spec; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "keras", "tensorflow", "onnx"} & set(loaded)

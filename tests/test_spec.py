"""Specs: sizes, JSON, presets; and that the command line may import them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from dataset_tools.errors import UsageError
from pix2pix.spec import PRESETS, DiscriminatorSpec, GeneratorSpec, Spec

SIZES = {  # preset -> (sizes it takes, sizes it refuses, what the line allows)
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
    for key in PRESETS["tiny"].to_json() if part is None else PRESETS["tiny"].to_json()[part]:
        value = PRESETS["tiny"].to_json()
        inner = value if part is None else value[part]
        del inner[key]
        with pytest.raises(ValueError, match=f"lacks {key}$"):
            Spec.from_json(value)
    value = PRESETS["tiny"].to_json()
    (value if part is None else value[part])["colour"] = 1
    with pytest.raises(ValueError, match="unknown key colour"):
        Spec.from_json(value)


def test_from_json_refuses_what_is_no_spec() -> None:
    for value in ([], {**PRESETS["tiny"].to_json(), "generator": 3}):
        with pytest.raises(ValueError, match="no JSON object"):
            Spec.from_json(value)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="size 100"):
        Spec.from_json({**PRESETS["article"].to_json(), "size": 100})


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="no generator kind 'unet': one of upsampling_unet, transposed_unet, residual"):
        GeneratorSpec("unet", (8,))
    with pytest.raises(ValueError, match="no discriminator kind 'pixel'"):
        DiscriminatorSpec("pixel", (8,))
    with pytest.raises(ValueError, match="no adversarial loss 'hinge'"):
        replace(PRESETS["tiny"], adversarial="hinge")


def test_training_of_the_presets() -> None:
    def training(name: str) -> tuple[object, ...]:
        spec = PRESETS[name]
        return spec.adversarial, spec.l1_weight, spec.learning_rate, spec.beta1, spec.batch, spec.size, spec.jitter, spec.flip

    assert training("article") == ("mse", 100.0, 2e-4, 0.5, 4, 256, 0, False)
    assert training("paper") == ("bce", 100.0, 2e-4, 0.5, 1, 256, 30, True)


def test_importing_specs_imports_nothing_heavy() -> None:
    code = "import sys, pix2pix.spec; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "keras", "tensorflow", "onnx"} & set(loaded)

"""A sweep degrades the originals of a split anew, and says how the model does at each value, beside doing nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_tools import degradations, image_io, pairs
from dataset_tools.errors import UsageError
from dataset_tools.metrics import psnr
from pipelines.cli import run
from pipelines.sweep import parse, sweep_model
from tests.conftest import textured
from tests.test_pipelines_engines import write_model


@pytest.fixture
def classic(tmp_path: Path) -> Path:
    for split in ("train", "val", "test"):
        for seed in range(3):
            b = image_io.decode(image_io.encode_jpeg(textured(seed, 64, 64), 30), "x").rgb8
            image_io.write(tmp_path / "ds" / split / f"{seed}.png", pairs.stitch(255 - b, b), "PNG")
    return tmp_path / "ds"


def test_one_option_has_several_values() -> None:
    option, values, steps = parse("mosaic:phase=0,block=4,8,16")
    assert (option, values) == ("mosaic:block", [4, 8, 16])
    assert [step.options["block"] for step in steps] == [(4, 4), (8, 8), (16, 16)]
    for text in ("mosaic:block=8", "mosaic", "mosaic:block=4,8,phase=0,1", "mosaic:block=4,many", "mosaik:block=4,8"):
        with pytest.raises(UsageError):
            parse(text)


def test_the_grid_is_known_or_estimated(classic: Path, tmp_path: Path) -> None:
    """A model that makes the smooth image between the cells is, with the grid known, about the bicubic baseline."""
    model = write_model(tmp_path / "m.onnx", 64, cell=8)
    found = sweep_model(model, classic, "mosaic:block=4,8")
    assert (found.images, found.values) == (3, (4, 8))
    for figures in found.figures:
        assert list(figures) == ["restored", "grid known", "bicubic", "input"]
        assert figures["grid known"] == pytest.approx(figures["bicubic"], rel=0.01)
    assert found.figures[0]["input"]["psnr"] > found.figures[1]["input"]["psnr"]
    assert found.plot().shape[2] == 3


def test_a_model_of_no_mosaics_has_one_line(classic: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", 64)
    found = sweep_model(model, classic, "noise:sigma=5,20")
    assert [list(figures) for figures in found.figures] == [["restored", "input"]] * 2
    assert found.figures[0]["restored"] == found.figures[0]["input"]
    b = pairs.split(image_io.read(classic / "test" / "0.png").rgb8, "AtoB")[1]
    step = degradations.draw([degradations.parse("noise:sigma=5")], np.random.default_rng(0), (64, 64))
    assert abs(found.figures[0]["input"]["psnr"] - psnr(degradations.apply(b, step), b)) < 1


def test_the_command_prints_draws_and_refuses(classic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(write_model(tmp_path / "m.onnx", 64))
    line = ["evaluate", model, str(classic), "--sweep", "mosaic:block=4,8", "--plot", str(tmp_path / "p.png"), "--json"]
    assert run(line) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "3 images, degraded anew, restored by m"
    assert told[1] == "mosaic:block=4"
    assert json.loads(told[-1])["values"] == [4, 8]
    assert image_io.read(tmp_path / "p.png").rgb8.shape[1] > 1000
    assert run(["evaluate", model, str(classic), "--plot", "p.png"]) == 2
    assert run(["evaluate", model, str(classic), "--sweep", "mosaic:block=4"]) == 2
    assert "give one option several numbers, such as mosaic:block=4,8,16,32" in capsys.readouterr().err

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_tools import image_io
from dataset_tools.errors import OutputError
from dataset_tools.verify import verify_dataset
from pipelines.demo import MARK, run_demo


@pytest.mark.slow
def test_the_quick_demo_restores_builds_tunes_and_beats_doing_nothing(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from pipelines.cli import main; main()",
        "demo",
        "--quick",
        "--json",
        "--out",
        str(tmp_path / "demo"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["counts"]["faces"] == {"all": 24, "kept": 24, "rejected": 0}
    assert set(result["seconds"]) == {"restore", "build", "train"}
    faces, colours = result["restored"]["mosaic"], result["restored"]["colorize"]
    assert faces["restored"]["psnr"] > faces["input"]["psnr"] + 2
    assert faces["restored"]["ssim"] > faces["input"]["ssim"] + 0.1
    assert colours["restored"]["delta_e"] < 0.9 * colours["input"]["delta_e"]
    figures = result["figures"]
    assert set(figures) == {"fine-tuned", "shipped", "bicubic", "input"}
    for name in ("fine-tuned", "shipped"):
        assert figures[name]["psnr"] > figures["bicubic"]["psnr"] + 1
        assert figures[name]["ssim"] > figures["bicubic"]["ssim"] + 0.04
    for folder in ("mosaic", "colorize"):
        report = json.loads((tmp_path / "demo" / "restored" / folder / "report.json").read_text())
        assert report["counts"]["restored"] == 24, folder
    for name in ("sheet.png", "fine-tuned.png"):
        assert image_io.read(tmp_path / "demo" / name).rgb8.shape[1] > 1000
    assert json.loads((tmp_path / "demo" / MARK).read_text())["finished"] is True
    assert verify_dataset(tmp_path / "demo" / "dataset") == []
    summary = json.loads((tmp_path / "demo" / "run" / "summary.json").read_text())
    assert summary["ended"] in ("steps", "seconds")
    assert (summary["steps"], summary["unbeaten"]) == (result["steps"], [])
    assert {"timeline.png", "timeline.webp"} <= {path.name for path in (tmp_path / "demo" / "run" / "samples").iterdir()}
    assert done.stderr.splitlines().count("loading Keras ...") == 1
    assert "plausible invention" in done.stdout
    assert "Traceback" not in done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith(("W", "I0", "E0"))], "native notices on stderr"


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "thesis.txt").write_text("years of work")
    (tmp_path / MARK).write_text('{"name": "somebody else\'s demo"}')
    with pytest.raises(OutputError, match="is not empty and holds no demo: choose another with --out"):
        run_demo(tmp_path, quick=True)
    assert (tmp_path / "dataset" / "thesis.txt").read_text() == "years of work"

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
def test_the_quick_demo_beats_doing_nothing(tmp_path: Path) -> None:
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
    assert set(result["seconds"]) == {"build", "train", "restore"}
    restored, untouched = result["figures"]["restored"], result["figures"]["input"]
    assert restored["psnr"] > untouched["psnr"]
    assert restored["ssim"] > untouched["ssim"]
    assert image_io.read(tmp_path / "demo" / "sheet.png").rgb8.shape[2] == 3
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

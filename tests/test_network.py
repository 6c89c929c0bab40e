"""Nothing goes to the network: no look-up, no connection, by us or by what we stand on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("module", ["pix2pix", "pipelines"])
def test_telemetry_is_forbidden_before_onnxruntime_can_be_imported(module: str) -> None:
    code = f"import os, sys, {module}; assert 'onnxruntime' not in sys.modules; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT, check=True)
    assert done.stdout == "1\n"


@pytest.mark.slow
def test_restoring_looks_nothing_up(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry looks its host up some seconds after a session was made: wait for that. OpenVINO's reports that it
    was imported, and Keras imports it."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    from tests.test_pipelines_engines import write_model

    model = write_model(tmp_path / "m.onnx")
    code = """
import importlib.util, sys, time, pathlib
import pix2pix.backend, pipelines.engines as engines
for name in ("onnxruntime", *(["openvino"] if importlib.util.find_spec("openvino") else [])):
    engines.open_engine(pathlib.Path(sys.argv[1]), name)
time.sleep(12)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORT_") and name != "CI"}
    log = tmp_path / "log"
    strace = ["strace", "-f", "-e", "trace=connect,sendto,sendmmsg", "-o", str(log)]
    command = [*strace, sys.executable, "-c", code, str(model)]
    traced = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if "Operation not permitted" in traced.stderr:
        pytest.skip("strace may not trace here")
    assert traced.returncode == 0, traced.stderr
    assert not re.findall(r"AF_INET.*", log.read_text(errors="replace"))

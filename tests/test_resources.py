from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from dataset_tools import resources
from dataset_tools.errors import PhotomendError
from pipelines.site import BUILT

ROOT = Path(__file__).resolve().parent.parent


def test_what_ships_is_listed_with_its_hash() -> None:
    listed = dict(
        re.findall(r"^\| ([^|]+?) \| `([0-9a-f]{64})` \|$", (ROOT / "data" / "README.md").read_text("utf-8"), re.MULTILINE)
    )
    shipped = [
        path
        for folder in ("samples", "models")
        for path in (ROOT / "data" / folder).iterdir()
        if path.suffix not in (".txt", ".md")
    ]
    assert len(shipped) >= 29
    assert listed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shipped}


def test_the_environment_can_say_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("PHOTOMEND_DATA", str(tmp_path))
    assert resources.path("models") == tmp_path / "models"
    with pytest.raises(PhotomendError, match=r"samples is missing from this installation .* set PHOTOMEND_DATA"):
        resources.path("samples")


def pip(command: str, *arguments: str, python: str = sys.executable) -> None:
    options = ["--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "pip", command, *options, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from a copy of the sources, so that the checkout stays clean."""
    import shutil

    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "*.egg-info", "build", "dist", "demo", "runs", "__pycache__", ".*_cache", "node_modules"
    )
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    pip("wheel", "--no-build-isolation", "-w", str(folder), str(folder / "source"))
    (found,) = folder.glob("photomend-*.whl")
    return found


def finds_models(python: str, environment: dict[str, str], cwd: Path) -> str:
    code = ("import dataset_tools; from dataset_tools import resources; from dataset_tools.faces import MediaPipeDetector; "
            "assert len(list(resources.path('samples').glob('*.jpg'))) == 24; MediaPipeDetector().close(); "
            "from pipelines import engines; assert engines.shipped() == ['mosaic', 'colorize']; "
            "assert [engines.open_engine(name).card['task'] for name in engines.shipped()] == ['mosaic', 'colorize']; "
            "print(resources.path('models'), dataset_tools.__file__)")  # fmt: skip
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PHOTOMEND_DATA")}
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, env={**clean, **environment}, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_in_its_own_environment_finds_what_ships(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip("install", str(wheel), python=python)
    (site,) = (tmp_path / "venv").glob("lib/python3*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    told = finds_models(python, {}, tmp_path)
    assert told.split() == [f"{tmp_path}/venv/share/photomend/models", f"{site}/dataset_tools/__init__.py"]
    assert subprocess.run([tmp_path / "venv" / "bin" / "photomend", "--help"], check=True, capture_output=True).stdout
    if BUILT.exists():  # the page, which needs no Node where it is installed
        there = {path.relative_to(site / "pipelines" / "page" / "built") for path in site.glob("pipelines/page/built/**/*")}
        assert there == {path.relative_to(BUILT) for path in BUILT.rglob("*")}


@pytest.mark.slow
def test_pip_install_target_finds_what_ships(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    pip("install", "--target", str(target), str(wheel))
    told = finds_models(sys.executable, {"PYTHONPATH": str(target)}, tmp_path)
    assert told.split() == [f"{target}/share/photomend/models", f"{target}/dataset_tools/__init__.py"]

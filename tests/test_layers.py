"""The floors of the house: a package imports only from floors below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("dataset_tools", "pix2pix", "pipelines")
MODULES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


@cache
def imports(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floor"
            found.append(node.module or "")
    return found


def users_of(package: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in MODULES if any(name.partition(".")[0] == package for name in imports(path))}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_from_floors_below(path: Path) -> None:
    floor = FLOORS.index(path.relative_to(ROOT).parts[0])
    above = [name for name in imports(path) if name.partition(".")[0] in FLOORS[floor + 1 :]]
    assert above == []


def test_each_heavy_package_has_its_rooms() -> None:
    assert users_of("tensorflow") == {"pix2pix/step_tf.py", "pix2pix/litert.py", "pix2pix/saved_model.py"}
    assert users_of("jax") == {"pix2pix/step_jax.py"}
    assert users_of("tensorboard") == {"pix2pix/board.py"}
    assert users_of("torch") == set()
    assert users_of("mediapipe") == {"dataset_tools/faces.py"}
    assert users_of("onnxruntime") <= {"pix2pix/export.py", "pipelines/engines.py"}
    assert users_of("keras") == {"pix2pix/backend.py"}
    assert all(name.startswith("pix2pix/") for name in users_of("h5py"))
    assert all(name.startswith("pipelines/cli/") for name in users_of("click"))


def test_only_image_io_reads_and_writes_images() -> None:
    calls = ("cv2.imread", "cv2.imwrite", "cv2.imencode", "cv2.imdecode", "Image.open", ".save(")
    for path in MODULES:
        text = path.read_text("utf-8")
        found = [call for call in calls if call in text and not (call == ".save(" and "Image" not in text)]
        assert not found or path.name in ("image_io.py", "image_rewrite.py"), f"{path}: {found}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_eval(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert not {"pickle", "shelve", "marshal", "dill", "joblib"} & set(imports(path))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not {"eval", "exec"} & called


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(name for name in sys.modules if '.' not in name))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    )


def test_importing_the_packages_imports_nothing_heavy() -> None:
    heavy = {"numpy", "cv2", "PIL", "keras", "tensorflow", "mediapipe", "onnx", "onnxruntime", "h5py"}
    assert not heavy & loaded_by("import dataset_tools, pix2pix, pipelines, pipelines.cli")


def test_help_of_every_command_imports_nothing_heavy() -> None:
    heavy = {"numpy", "cv2", "PIL", "keras", "tensorflow", "mediapipe", "onnx", "onnxruntime", "h5py"}
    code = "from pipelines.cli import COMMANDS, run\nimport os, sys\nout = sys.stdout\nsys.stdout = open(os.devnull, 'w')\n"
    code += "for name in ('', *COMMANDS):\n    assert run([*name.split(), '--help']) == 0\nsys.stdout = out"
    assert not heavy & loaded_by(code)

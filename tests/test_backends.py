"""TensorFlow and JAX compute alike, and JAX needs no TensorFlow. Each backend is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnxruntime
import pytest

from dataset_tools import image_io, pairs
from dataset_tools.build import build_dataset
from dataset_tools.recipe import Recipe
from pix2pix import model_file
from pix2pix.pixels import to_float
from pix2pix.run_folder import RunFolder
from pix2pix.spec import PRESETS, DiscriminatorSpec, GeneratorSpec, Spec
from tests.builds import SOAK
from tests.conftest import some, textured
from tests.training import SMALL_MEND, classic

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("tensorflow", "jax")
STEPS = 5
QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # half of the time
# Dropout is drawn by each backend's own random numbers, so there is none here.
TINY = replace(PRESETS["tiny"], size=64, generator=replace(PRESETS["tiny"].generator, dropout=0.0))
SPECS: dict[str, Spec] = {
    "mend-mosaic": SMALL_MEND.for_task("mosaic"),
    "mend-colorize": SMALL_MEND.for_task("colorize"),
    "tiny": TINY,
    "article": replace(
        PRESETS["article"], size=16, generator=GeneratorSpec("upsampling_unet", (8, 12)),
        discriminator=DiscriminatorSpec("activation_norm", (8,)),
    ),
}  # fmt: skip
EACH = some(["mend-mosaic", "tiny", "article"], soak=["mend-colorize"])


@pytest.mark.parametrize(("backend", "blocked", "line"), [
    ("torch", "", "training runs on TensorFlow or JAX, but KERAS_BACKEND is torch: set it to tensorflow or jax"),
    ("jax", "jax", "KERAS_BACKEND is jax, but JAX is not installed: pip install 'photomend[jax]'"),
])  # fmt: skip
def test_a_backend_that_cannot_be_had(backend: str, blocked: str, line: str, tmp_path: Path) -> None:
    folder = classic(tmp_path / "ds", range(4))
    code = f"""
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {blocked!r} else real(name, package)
from pipelines.cli import run
sys.exit(run(["train", {str(folder)!r}, {str(tmp_path / "run")!r}, "--preset", "tiny", "--batch", "2", "--steps", "1"]))
"""
    told = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True
    )
    assert told.returncode in (1, 2)
    assert told.stderr.splitlines()[-1] == f"photomend: {line}"
    assert "Traceback" not in told.stderr


def compute(name: str, folder: Path) -> None:
    """In a process of its own: STEPS updates of SPECS[name], from the weights in `folder`, which the first process writes."""
    from pix2pix.model import Pix2Pix
    from tests.test_networks import scramble

    spec = SPECS[name]
    model = Pix2Pix(spec)
    start = folder / f"{name}-weights.npz"
    if start.exists():
        with np.load(start) as kept:
            model.set_variables(kept)
    else:
        scramble(model.generator, 1)
        scramble(model.discriminator, 2)
        np.savez(start, **{path: np.asarray(value) for path, value in model.variables_by_path().items()})
    batches = np.random.default_rng(0).uniform(-1, 1, (STEPS, 2, 2, spec.side, spec.side, 3)).astype(np.float32)
    found: dict[str, np.ndarray] = {"restored": model.restore(batches[0][0])}
    losses = []
    for step, (a, b) in enumerate(batches, 1):
        losses.append(model.train_on_batch(a, b))
        if step == 1:
            found |= {path: np.asarray(value).copy() for path, value in model.variables_by_path().items()}
    found["restored after"] = model.restore(batches[0][0], averaged=model.ema is not None)
    np.savez(folder / f"{name}-{os.environ['KERAS_BACKEND']}.npz", **found)
    (folder / f"{name}-{os.environ['KERAS_BACKEND']}.json").write_text(json.dumps(losses))


def without_tensorflow() -> None:
    """In a process of its own: from here on an import of TensorFlow raises."""
    assert not [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]
    sys.modules["tensorflow"] = None  # type: ignore[assignment]


def python(code: str, backend: str = "jax") -> str:
    """What `code` prints, in a process on `backend`, with the names that this module has."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "XLA_FLAGS": QUICKLY_COMPILED}
    done = subprocess.run([sys.executable, "-c", f"from tests.test_backends import *\n{code}"],
                          capture_output=True, text=True, cwd=ROOT, env=environment, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backends")
    for backend in BACKENDS:
        names = [name for name in SPECS if SOAK or name != "mend-colorize"]
        python(f"for name in {names}: compute(name, Path({str(folder)!r}))", backend)
    return folder


def losses_of(computed: Path, name: str) -> Iterator[list[dict[str, float]]]:
    return (json.loads((computed / f"{name}-{backend}.json").read_text()) for backend in BACKENDS)


def arrays_of(computed: Path, name: str) -> Iterator[dict[str, np.ndarray]]:
    return (dict(np.load(computed / f"{name}-{backend}.npz")) for backend in BACKENDS)


@pytest.mark.parametrize("name", EACH)
def test_the_first_step_is_the_same(computed: Path, name: str) -> None:
    ours, theirs = losses_of(computed, name)
    assert ours[0].keys() == theirs[0].keys() >= {"d_loss", "g_loss", "g_gradient", "d_gradient"}
    assert ours[0] == pytest.approx(theirs[0], rel=1e-4, abs=1e-4)
    ours, theirs = arrays_of(computed, name)
    assert ours.keys() == theirs.keys()
    assert np.abs(ours["restored"] - theirs["restored"]).max() <= 1e-4
    assert ours["restored"].std() > 0.1
    assert [path for path in ours if "iteration" in path and (ours[path] != 1 or theirs[path] != 1)] == []


def test_the_statistics_of_a_batch_are_the_same(computed: Path) -> None:
    ours, theirs = arrays_of(computed, "article")
    with np.load(computed / "article-weights.npz") as kept:
        before = dict(kept)
    moving = [path for path in ours if "/moving_" in path]
    assert len(moving) == 2 * (3 + 1)  # G's three layers and D's one; a mean and a variance each
    for path in moving:
        assert np.abs(ours[path] - theirs[path]).max() <= 1e-4, path
        assert np.abs(ours[path] - before[path]).max() > 1e-3, path


@pytest.mark.parametrize("name", EACH)
def test_after_a_few_steps_they_are_still_near(computed: Path, name: str) -> None:
    ours, theirs = losses_of(computed, name)
    for step, (one, other) in enumerate(zip(ours, theirs, strict=True), 1):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-3), step
    assert ours[0] != pytest.approx(ours[-1], rel=1e-2)
    ours, theirs = arrays_of(computed, name)
    assert np.abs(ours["restored after"] - theirs["restored after"]).mean() <= 1e-3


# --- JAX alone

QUICK = {
    "preset": "tiny",
    "batch": 2,
    "val_images": 3,
    "val_every": 100,
    "checkpoint_every": 3,
    "seed": 5,
    "precision": "float32",
}


def train(dataset: str, run: str, steps: int, **more: Any) -> None:
    """In a process of its own: trains `tiny`, smaller still."""
    from pix2pix import train_model

    small = GeneratorSpec("residual", (8, 8), blocks=(1, 1), stem=2, dropout=0.5)
    PRESETS["tiny"] = replace(PRESETS["tiny"], generator=small, ema=0.9, window=32)
    report = train_model(Path(dataset), Path(run), steps=steps, **QUICK, **more)  # type: ignore[arg-type]
    assert report.steps == steps
    assert report.model is not None


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jax")
    (folder / "archive").mkdir()
    for number in range(16):
        image_io.write(folder / "archive" / f"{number}.png", textured(number), "PNG")
    recipe = Recipe(size=32, crop="center", degrade=("mosaic:block=4",), split="50/25/25")
    build_dataset([folder / "archive"], folder / "ds", recipe, workers=0)
    return folder / "ds"


@pytest.fixture(scope="module")
def trained(dataset: Path) -> Path:
    """A folder with the runs `whole`, 6 steps, and `parts`, 3 and then, by another process, 3 more."""
    folder = dataset.parent
    whole, parts = str(folder / "whole"), str(folder / "parts")
    python(f"without_tensorflow()\ntrain({str(dataset)!r}, {whole!r}, 6)\ntrain({str(dataset)!r}, {parts!r}, 3)")
    python(f"without_tensorflow()\ntrain({str(dataset)!r}, {parts!r}, 6)\nassert sys.modules['tensorflow'] is None")
    return folder


def test_jax_trains_and_exports_where_there_is_no_tensorflow(trained: Path, dataset: Path) -> None:
    told = json.loads((trained / "whole" / "run.json").read_text())
    assert told["exact"]["backend"] == "jax"
    assert told["exact"]["versions"].keys() == {"jax", "keras", "numpy", "opencv-python", "photomend", "pillow"}
    model = trained / "whole" / "model.onnx"
    card = model_file.read_card(model)
    assert (card["task"], card["cell"], card["step"], card["weights"]) == ("mosaic", 8, 6, "ema")
    assert card["largest_difference"] < 1e-4
    rgb = pairs.split(image_io.read(next((dataset / "val").glob("*.png"))).rgb8, "AtoB")[0]
    image = to_float(rgb[None]).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    (restored,) = session.run(["restored"], {"image": image})
    assert restored.shape == image.shape
    assert 0 < np.abs(restored - image).max() < 1


def test_resumed_on_jax_is_the_same_bit_for_bit(trained: Path) -> None:
    one, other = (RunFolder(trained / name).load(6)[0] for name in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert [path for path in one if not np.array_equal(one[path], other[path])] == []
    assert {path.partition("/")[0] for path in one} == {
        "generator", "discriminator", "ema", "generator_optimizer", "discriminator_optimizer",
    }  # fmt: skip
    assert (trained / "whole" / "model.onnx").read_bytes() == (trained / "parts" / "model.onnx").read_bytes()
    with h5py.File(trained / "whole" / "checkpoints" / "step-000003" / "weights.h5") as before:
        assert not np.array_equal(before["generator/stem_conv/kernel"][()], one["generator/stem_conv/kernel"])


def test_what_jax_cannot_do_is_said(trained: Path, dataset: Path) -> None:
    script = (
        "from dataset_tools.errors import PhotomendError\n"
        "def said(function, *given, **more):\n"
        "    try:\n"
        "        function(*given, **more)\n"
        "    except PhotomendError as error:\n"
        "        print(error)\n"
    )
    lines = python(f"without_tensorflow()\n{script}"
                   f"said(train, {str(dataset)!r}, {str(trained / 'new')!r}, 9, strategy='mirrored')\n"
                   f"said(train, {str(dataset)!r}, {str(trained / 'new')!r}, 9, threads=999)\n"
                   "from pix2pix.model import Pix2Pix\n"
                   "said(Pix2Pix, SPECS['article'], 'article')").splitlines()  # fmt: skip
    assert lines == [
        "--strategy needs TensorFlow: leave KERAS_BACKEND away",
        f"--threads 999: the backend takes {len(os.sched_getaffinity(0))} here and no other number, leave it away",
        "there are no updates 'article' on jax: choose one of fused",
    ]
    (line,) = python(f"{script}said(train, {str(dataset)!r}, {str(trained / 'whole')!r}, 9)", "tensorflow").splitlines()
    assert "cannot go on bit for bit here (backend was jax, now tensorflow" in line

"""The ONNX Runtime engine, what MODEL means, and a model file for tests that no network had to be trained for."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataset_tools import image_io
from dataset_tools.cells import even, laid_back, of_grid
from dataset_tools.errors import MissingDependency, ModelFileError, UsageError
from dataset_tools.mosaic_grid import Grid, cell_means, paint, prior
from pipelines.engines import OnnxEngine, open_engine, resolve_model
from pix2pix import model_file
from tests.conftest import textured
from tests.test_mosaic_regions import box, laid

ROOT = Path(__file__).resolve().parent.parent


def write_model(
    path: Path, size: int = 16, operator: str = "", any_size: bool = False, cell: int | None = None, **card: Any
) -> Path:  # fmt: skip
    """A model file whose graph is one operator: Identity restores nothing, Neg inverts (the value range is [-1, 1]).

    With a `cell` it is a model of mosaics and takes any size; if no operator is told, it makes the bicubic between the cells.
    """
    shape = ["batch", 3, *(("height", "width") if any_size or cell else (size, size))]
    nodes = [helper.make_node(operator or "Identity", ["image"], ["restored"])]
    if cell and not operator:
        scales = numpy_helper.from_array(np.array([1, 1, cell, cell], np.float32))
        nodes = [helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
                 helper.make_node("Constant", [], ["scales"], value=scales),
                 helper.make_node("Resize", ["cells", "", "scales"], ["smooth"], mode="cubic"),
                 helper.make_node("Clip", ["smooth"], ["restored"])]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "generator",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("restored", TensorProto.FLOAT, shape)],
    )
    told = {"task": "mosaic" if cell else "other", "preset": "none", "size": size, "stride": cell or 1, "cell": cell,
            "recipe": ["mosaic:block=8"], "crop": {}, "step": 7, "weights": "raw", "dataset": "none", "spec": {},
            "largest_difference": 0.0}  # fmt: skip
    model_file.write(path, model_file.make(graph), {**told, **card})
    return path


def test_an_engine_restores_every_level_exactly(tmp_path: Path) -> None:
    levels = np.arange(768, dtype=np.uint16).astype(np.uint8).reshape(1, 16, 16, 3)
    same = OnnxEngine(write_model(tmp_path / "same.onnx"))
    assert np.array_equal(same.restore(levels), levels)
    inverse = OnnxEngine(write_model(tmp_path / "inverse.onnx", operator="Neg"))
    batch = np.stack([textured(seed, 16, 16) for seed in range(5)])
    assert np.array_equal(inverse.restore(batch), 255 - batch)


def test_a_model_of_mosaics_is_given_the_cells_that_the_pixels_tell(tmp_path: Path) -> None:
    """It inverts what it is given: the cells are inverted, and what lies beside them or shows none stays as it is."""
    engine = OnnxEngine(write_model(tmp_path / "m.onnx", operator="Neg", cell=8))
    grid, rgb = Grid(12, 3, 5), textured(1, 200, 240)
    means = cell_means(rgb, grid)
    a = paint(means, grid, (200, 240))
    part = laid(rgb, box(rgb, 27, 29, 147, 149), grid)
    both = engine.restore(np.stack([a, rgb, part]))
    inside = np.abs(both[0].astype(int) - (255 - a))[20:-20, 20:-20]
    assert np.median(inside) <= 1  # where cells meet they fade into each other
    assert inside.mean() < 5
    assert np.array_equal(both[1], rgb)
    assert np.median(np.abs(both[2].astype(int) - (255 - part))[51:123, 53:125]) <= 1
    outside = ~box(rgb, 15, 17, 159, 161)
    assert np.array_equal(both[2][outside], rgb[outside])
    assert np.array_equal(engine.run(even(means)[None])[0], 255 - even(means))  # the bare graph


def test_a_model_of_mosaics_may_be_told_the_cells(tmp_path: Path) -> None:
    engine = OnnxEngine(write_model(tmp_path / "m.onnx", cell=8))
    a, grid = np.stack([textured(seed, 60, 90) for seed in range(3)]), Grid(6, 1, 2)
    restored = engine.restore(a, [of_grid(a[0], grid), None, of_grid(a[2], grid)])
    assert np.array_equal(restored[1], a[1])
    for index in (0, 2):
        assert np.abs(restored[index].astype(int) - prior(a[index], grid)).mean() < 1
    assert np.array_equal(engine.restore(a), a)  # the pixels tell of none


def test_many_cells_go_through_in_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, grid, a = OnnxEngine(write_model(tmp_path / "m.onnx", operator="Neg", cell=8)), Grid(4, 1, 2), textured(1, 330, 200)
    shapes: list[tuple[int, ...]] = []
    real = engine.run
    monkeypatch.setattr(engine, "run", lambda batch: shapes.append(batch.shape) or real(batch))  # type: ignore[func-returns-value]
    (restored,) = engine.restore(a[None], [of_grid(a, grid)])
    assert {shape[1:] for shape in shapes} == {(512, 512, 3)}
    assert np.array_equal(restored, laid_back(a, of_grid(a, grid), 255 - even(cell_means(a, grid))))


def test_only_a_model_of_mosaics_takes_any_crop(tmp_path: Path) -> None:
    mosaics, other = OnnxEngine(write_model(tmp_path / "m.onnx", 32, cell=8)), OnnxEngine(write_model(tmp_path / "o.onnx", 32))
    assert (mosaics.takes_any_crop, other.takes_any_crop) == (True, False)
    assert (mosaics.any_size, other.any_size) == (True, False)
    a = textured(1, 31, 47)
    assert np.array_equal(mosaics.restore(a[None])[0], a)
    with pytest.raises(ModelFileError, match=r"cannot restore \(1, 3, 31, 47\)"):
        other.restore(a[None])


def test_an_engine_knows_what_it_runs(tmp_path: Path) -> None:
    path = write_model(tmp_path / "faces.onnx", size=32, task="mosaic")
    engine = OnnxEngine(path)
    assert (engine.name, engine.size, engine.card["task"]) == ("faces", 32, "mosaic")
    assert engine.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "run 7").mkdir()
    write_model(tmp_path / "run 7" / "model.onnx")
    assert open_engine(tmp_path / "run 7").name == "run 7"


def foreign(path: Path) -> None:
    model = onnx.load(write_model(path))
    del model.metadata_props[:]
    onnx.save(model, path)


def external(path: Path) -> None:
    model = onnx.load(write_model(path))
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], np.zeros(4, np.float32))
    weight.ClearField("float_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")
    model.graph.initializer.append(weight)
    path.write_bytes(model.SerializeToString())


def other_operator(path: Path) -> None:
    model = onnx.load(write_model(path))
    model.graph.node[0].op_type = "NoSuchOperator"
    path.write_bytes(model.SerializeToString())


def no_restorer(path: Path) -> None:
    model = onnx.load(write_model(path))
    model.graph.node[0].op_type = "Shape"
    path.write_bytes(model.SerializeToString())


def two_inputs(path: Path) -> None:
    model = onnx.load(write_model(path))
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[1].name = "prior"
    path.write_bytes(model.SerializeToString())


def rewrite_card(path: Path, **changes: Any) -> None:
    model = onnx.load(write_model(path))
    card = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps({**card, **changes})
    path.write_bytes(model.SerializeToString())


WRONG = {
    "a pickle": lambda path: path.write_bytes(b"\x80\x04\x95 a pickle, say"),
    "nothing": lambda path: path.write_bytes(b""),
    "a cut file": lambda path: path.write_bytes(write_model(path).read_bytes()[:-40]),
    "another program's": foreign,
    "data elsewhere": external,
    "an operator that is not there": other_operator,
    "a graph that restores nothing": no_restorer,
    "a size that is no number": lambda path: rewrite_card(path, size="16"),
    "a size without end": lambda path: rewrite_card(path, size=10**9),
    "another size than the graph's": lambda path: rewrite_card(path, size=24),
    "cells that nobody knows": lambda path: rewrite_card(path, cell=16),
    "cells that are no number": lambda path: rewrite_card(path, cell="8 pixels"),
    "two inputs, as mosaics once had": two_inputs,
    "a version that is to come": lambda path: rewrite_card(path, format_version=4),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_model_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    WRONG[case](path)
    with pytest.raises(ModelFileError) as caught:
        OnnxEngine(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_model_is_a_run_folder_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_model(tmp_path / "m.onnx")
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(ModelFileError, match=r"the folder run is no run: it has no model\.onnx"):
        resolve_model("run")
    (run / "run.json").write_text("{}")
    with pytest.raises(ModelFileError, match="the run run has no model yet: train longer"):
        resolve_model("run")
    write_model(run / "model.onnx")
    assert resolve_model("run") == resolve_model("run/") == resolve_model(Path("run")) == Path("run/model.onnx")
    assert resolve_model("m.onnx") == Path("m.onnx")
    assert resolve_model(str(path)) == path
    with pytest.raises(UsageError, match=r"there is no model nowhere\.onnx"):
        resolve_model("nowhere.onnx")
    with pytest.raises(UsageError, match="there is no model nowhere"):
        resolve_model("nowhere")


def test_a_bare_name_is_a_model_that_ships_unless_a_path_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHOTOMEND_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "models").mkdir(parents=True)
    shipped = write_model(tmp_path / "data" / "models" / "faces.onnx")
    assert resolve_model("faces") == shipped
    (tmp_path / "faces").mkdir()
    with pytest.raises(UsageError, match=r"write \./faces for the path"):
        resolve_model("faces")
    write_model(tmp_path / "faces" / "model.onnx")
    assert resolve_model("./faces") == resolve_model(Path("faces")) == Path("faces/model.onnx")


def test_restoring_imports_neither_keras_nor_tensorflow(tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    (tmp_path / "in").mkdir()
    image_io.write(tmp_path / "in" / "a.png", textured(1, 16, 16), "PNG")
    code = (
        "import sys\nfrom pathlib import Path\nfrom pipelines import restore_photos\n"
        f"at = Path({str(tmp_path)!r})\n"
        "report = restore_photos(str(at / 'm.onnx'), [at / 'in'], at / 'out', input_kind='crop')\n"
        "assert report.restored == 1, report\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'keras', 'tensorflow', 'jax', 'torch', 'mediapipe'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "openvino-bfloat16"])
def test_openvino_restores_what_onnx_runtime_does(engine: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is missing: pip install 'photomend[openvino]'")
    from pix2pix.export import write_model_file
    from pix2pix.networks import build_generator
    from tests.test_export import card
    from tests.test_networks import scramble
    from tests.training import SMALL_MEND

    spec = SMALL_MEND.for_task("mosaic").with_size(64)
    write_model_file(scramble(build_generator(spec)), tmp_path / "m.onnx", card(spec))
    ours, theirs = open_engine(tmp_path / "m.onnx"), open_engine(tmp_path / "m.onnx", engine)
    batch = np.stack([textured(seed, 64, 96) for seed in range(3)])
    assert ours.any_size
    assert theirs.any_size
    away = np.abs(ours.run(batch).astype(int) - theirs.run(batch))
    assert away.max() <= (1 if engine == "openvino" else 24)
    assert sys.modules["openvino_telemetry"] is None  # which would report the import
    with pytest.raises(ModelFileError):
        open_engine(tmp_path / "m.onnx", engine).run(np.zeros((1, 7, 7, 3), np.uint8))
    with pytest.raises(UsageError, match="--engine tensorrt: choose one of onnxruntime, openvino, openvino-bfloat16"):
        open_engine(tmp_path / "m.onnx", "tensorrt")


def test_an_extra_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependency, match=r"pip install 'photomend\[openvino\]'"):
        open_engine(write_model(tmp_path / "m.onnx"), "openvino")


def test_a_gpu_is_taken_where_onnx_runtime_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import engines

    asked: list[list[str]] = []
    real = engines.ort.InferenceSession

    def session(data: bytes, options: Any, providers: list[str]) -> Any:
        asked.append(providers)
        return real(data, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(engines.ort, "InferenceSession", session)
    monkeypatch.setattr(engines.ort, "get_available_providers", lambda: ["CPUExecutionProvider", "CUDAExecutionProvider"])
    engine = OnnxEngine(write_model(tmp_path / "m.onnx"))
    assert asked == [["CUDAExecutionProvider", "CPUExecutionProvider"]]
    assert engine.runs_on == "ONNX Runtime, CPU"  # what it came to

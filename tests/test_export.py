"""Keras -> model file -> Keras: the same weights bit for bit, the same images; and no file where that is not so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from dataset_tools.cells import CELL
from dataset_tools.errors import ModelFileError
from pix2pix import export, model_file
from pix2pix.export import EMITTERS, Probe, load_generator, to_graph, write_model_file
from pix2pix.layers import (
    Between,
    CellMeans,
    Chroma,
    Clip,
    DepthToSpace,
    DoubledConv2D,
    KeepMeans,
    Luminance,
    SpaceToDepth,
)
from pix2pix.networks import build_generator, weights_by_path
from pix2pix.spec import PRESETS, Spec
from tests.test_networks import SMALL, images, means, scramble
from tests.test_spec import of_the_first_version

import keras  # isort: skip
from keras import layers  # isort: skip

VARIANTS = list(dict.fromkeys(spec.for_task(task) for spec in PRESETS.values() for task in ("mosaic", "colorize", "other")))


def card(spec: Spec) -> dict[str, Any]:
    return {
        "task": "mosaic", "cell": CELL if spec.generator.starts_from == "cells" else None, "preset": spec.name,
        "size": spec.size, "recipe": ["mosaic:block=8"], "crop": {"kind": "faces"}, "step": 3, "weights": "raw",
        "dataset": "abc", "validation": None, "spec": spec.to_json(),
    }  # fmt: skip


def run(model: bytes, batch: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) through ONNX Runtime."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["restored"], {"image": batch.transpose(0, 3, 1, 2)})[0].transpose(0, 2, 3, 1)


def round_trip(spec: Spec, path: Path) -> None:
    generator = scramble(build_generator(spec))
    difference = write_model_file(generator, path, card(spec))
    written = model_file.read_card(path)
    assert written["largest_difference"] == difference < 1e-4
    assert (written["size"], written["stride"]) == (spec.size, spec.stride)
    assert Spec.from_json(written["spec"]) == spec
    loaded = weights_by_path(load_generator(path))
    expected = weights_by_path(generator)
    assert list(loaded) == list(expected) == list(model_file.read_weights(path))
    assert all(np.array_equal(np.asarray(loaded[name]), np.asarray(expected[name])) for name in expected)
    a = images(spec, 1, seed=9)
    expected_images = np.asarray(generator(a, training=False))
    assert np.array_equal(load_generator(path)(a, training=False), expected_images)
    assert np.abs(run(path.read_bytes(), a) - expected_images).max() < 1e-4
    graph = onnx.load(path).graph
    assert [each.name for each in graph.input] == ["image"]
    assert written["cell"] == (8 if spec.generator.starts_from == "cells" else None)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name == "paper" else name for name in SMALL])
def test_round_trip_of_every_kind(name: str, tmp_path: Path) -> None:
    round_trip(SMALL[name], tmp_path / "model.onnx")


LARGE = pytest.mark.soak  # 42 and 54M weights: small ones of the same kind are above
EVERY = [pytest.param(spec, marks=LARGE if spec.name in ("article", "paper") else pytest.mark.slow) for spec in VARIANTS]


@pytest.mark.parametrize("spec", EVERY, ids=lambda spec: f"{spec.name}-{spec.generator.starts_from}")
def test_round_trip_of_every_preset(spec: Spec, tmp_path: Path) -> None:
    round_trip(spec, tmp_path / "model.onnx")


@pytest.mark.slow
def test_batch_is_free_and_so_are_the_sides_of_a_convolutional_network(tmp_path: Path) -> None:
    sides_of = {"article": (16, 16), "paper": (32, 32), "tiny": (24, 40), "mend": (24, 40), "colorize": (40, 8)}
    assert sides_of.keys() == SMALL.keys()
    for name, sides in sides_of.items():
        generator = scramble(build_generator(SMALL[name]))
        write_model_file(generator, tmp_path / "model.onnx", card(SMALL[name]))
        for count in (1, 3):
            batch = np.random.default_rng(count).uniform(-1, 1, (count, *sides, 3)).astype(np.float32)
            restored = run((tmp_path / "model.onnx").read_bytes(), batch)
            assert np.abs(restored - np.asarray(generator(batch, training=False))).max() < 1e-4


@pytest.mark.parametrize("trained", [False, True])
def test_a_model_file_of_mosaics_keeps_the_cells_whatever_the_size(tmp_path: Path, trained: bool) -> None:
    """Before training it draws the smooth image between them. Fewer than that looks at, and more than it was built with."""
    generator = build_generator(SMALL["mend"])
    write_model_file(scramble(generator) if trained else generator, tmp_path / "model.onnx", card(SMALL["mend"]))
    data = model_file.read(tmp_path / "model.onnx")[0]
    for rows, columns in ((1, 1), (3, 7), (20, 11)):
        cells = np.random.default_rng(rows).uniform(-0.1, 0.1, (2, rows, columns, 3)).astype(np.float32)
        mosaic = cells.repeat(CELL, axis=1).repeat(CELL, axis=2)
        restored, expected = run(data, mosaic), np.asarray(generator(mosaic, training=False))
        assert np.abs(restored - expected).max() < 1e-4
        inside = (np.abs(restored) < 1).reshape(2, rows, CELL, columns, CELL, 3).all(axis=(2, 4))  # nothing of it is clipped
        assert inside.mean() > (0.5 if trained else 0.999)
        assert np.abs(means(restored) - cells)[inside].max(initial=0) < 1e-5


@pytest.mark.slow
def test_a_generator_in_mixed_precision_gives_the_file_of_its_float32_weights(tmp_path: Path) -> None:
    for name in ("article", "mend", "colorize"):
        spec = SMALL[name]
        for precision in ("float32", "mixed_bfloat16"):
            write_model_file(scramble(build_generator(spec, precision)), tmp_path / precision, card(spec))
        assert (tmp_path / "float32").read_bytes() == (tmp_path / "mixed_bfloat16").read_bytes()


def refused(path: Path, generator: Any, line: str, probe: Probe | None = None, name: str = "article") -> None:
    path.write_bytes(b"the model before")
    with pytest.raises(ModelFileError, match=line):
        write_model_file(generator, path, card(SMALL[name]), probe)
    assert path.read_bytes() == b"the model before"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_wrong_graph_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Callable[..., str] = lambda nodes, layer, inputs: nodes.add("LeakyRelu", inputs, layer.name, alpha=0.3)  # noqa: E731
    monkeypatch.setitem(EMITTERS, "LeakyReLU", wrong)
    refused(tmp_path / "model.onnx", scramble(build_generator(SMALL["article"])), "differs from the Keras network by 0.")


def test_weights_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    generator = scramble(build_generator(SMALL["article"]))
    generator.get_layer("out_conv").bias.assign([np.nan] * 3)
    refused(tmp_path / "model.onnx", generator, "differs from the Keras network by nan")


@pytest.mark.slow
def test_the_probe_is_compared_too(tmp_path: Path) -> None:
    for name in ("article", "mend"):
        generator = scramble(build_generator(SMALL[name]))
        probe = images(SMALL[name], 1)
        assert write_model_file(generator, tmp_path / "model.onnx", card(SMALL[name]), probe) < 1e-4
        refused(tmp_path / "model.onnx", generator, "by nan", np.full_like(probe, np.nan), name)


def test_a_layer_without_an_emitter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(EMITTERS, "DoubledConv2D")
    line = r"the layer up_1_conv \(DoubledConv2D\) cannot be exported: it must have one of the types Conv2D, "
    refused(tmp_path / "model.onnx", build_generator(SMALL["article"]), line)


def test_weights_that_do_not_fit_the_spec_are_refused(tmp_path: Path) -> None:
    spec, path = SMALL["article"], tmp_path / "model.onnx"
    model = model_file.make(to_graph(build_generator(spec)))
    wider = replace(spec, generator=replace(spec.generator, filters=(4, 8)))
    deeper = replace(spec, generator=replace(spec.generator, filters=(4, 6, 8)))
    for other, line in (
        (wider.to_json(), r"has the shape \(4, 4, 4, 6\), not \(4, 4, 4, 8\)"),
        (deeper.to_json(), "generator/down_3_conv/bias is missing .12 weights do not fit"),
        ({**spec.to_json(), "size": 33}, "cannot take size 33"),
        ({**spec.to_json(), "colour": 1}, "unknown key colour"),
        ({**spec.to_json(), "generator": {**spec.to_json()["generator"], "kind": "pickle"}}, "no generator kind 'pickle'"),
    ):
        model_file.write(path, model, {**card(spec), "stride": 4, "largest_difference": 0.0, "spec": other})
        with pytest.raises(ModelFileError, match=f"the model in {path} cannot be built: .*{line}"):
            load_generator(path)


def test_a_model_file_of_the_first_version_is_loaded(tmp_path: Path) -> None:
    """As photomend wrote it before there was `mend`: no cell, no key of the spec that came later, doublings of their own."""
    spec, path = SMALL["article"], tmp_path / "model.onnx"
    generator = scramble(build_generator(spec))
    write_model_file(generator, path, card(spec))
    told = model_file.read_card(path)
    del told["cell"]
    told["spec"] = of_the_first_version(spec)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"photomend": json.dumps({**told, "format_version": 1})})
    onnx.save(model, path)
    a = images(spec)
    assert np.array_equal(load_generator(path)(a, training=False), generator(a, training=False))
    assert model_file.read_card(path)["cell"] is None
    residual = of_the_first_version(SMALL["tiny"])  # which was drawn otherwise
    onnx.helper.set_model_props(model, {"photomend": json.dumps({**told, "format_version": 1, "spec": residual})})
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match=f"the model in {path} cannot be built: a residual generator has as many") as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)


# --- the emitters, one by one

TAKEN: dict[str, list[Callable[[], Any]]] = {  # type -> layers that are exported
    "Conv2D": [
        lambda: layers.Conv2D(5, 4, strides=2, padding="same"),
        lambda: layers.Conv2D(5, 4, padding="same", use_bias=False),
        lambda: layers.Conv2D(5, (3, 5), padding="same"),
        lambda: layers.Conv2D(5, 4, strides=4, padding="same"),
        lambda: layers.Conv2D(5, 5, strides=2, padding="same"),
    ],
    "Conv2DTranspose": [
        lambda: layers.Conv2DTranspose(5, 4, strides=2, padding="same"),
        lambda: layers.Conv2DTranspose(5, 8, strides=4, padding="same", use_bias=False),
        lambda: layers.Conv2DTranspose(5, 3, strides=2, padding="same"),
    ],
    "BatchNormalization": [lambda: layers.BatchNormalization(), lambda: layers.BatchNormalization(epsilon=0.5)],
    "LeakyReLU": [lambda: layers.LeakyReLU(0.2)],
    "ReLU": [lambda: layers.ReLU()],
    "Activation": [lambda name=name: layers.Activation(name) for name in export.ACTIVATIONS],  # type: ignore[misc]
    "UpSampling2D": [lambda: layers.UpSampling2D(2), lambda: layers.UpSampling2D((3, 1))],
    "Concatenate": [lambda: layers.Concatenate()],
    "Add": [lambda: layers.Add()],
    "Dropout": [lambda: layers.Dropout(0.5)],
    "DoubledConv2D": [lambda: DoubledConv2D(5)],
    "SpaceToDepth": [lambda: SpaceToDepth(2), lambda: SpaceToDepth(4)],
    "DepthToSpace": [lambda: DepthToSpace(2)],
    "CellMeans": [lambda: CellMeans()],
    "Between": [lambda: Between()],
    "KeepMeans": [lambda: KeepMeans()],
    "Luminance": [lambda: Luminance()],
    "Chroma": [lambda: Chroma()],
    "Clip": [lambda: Clip()],
}
CHANNELS = {"Luminance": 3, "Chroma": 2, "DepthToSpace": 12, "Between": 3}  # that a layer takes; 4 where it takes any
REFUSED: dict[str, list[Callable[[], Any]]] = {  # type -> layers of that type that are not
    "Conv2D": [
        lambda: layers.Conv2D(4, 3, padding="valid"),
        lambda: layers.Conv2D(4, 3, padding="same", dilation_rate=2),
        lambda: layers.Conv2D(4, 3, padding="same", groups=2),
        lambda: layers.Conv2D(4, 3, padding="same", activation="relu"),
        lambda: layers.Conv2D(4, 2, strides=3, padding="same"),
    ],
    "Conv2DTranspose": [
        lambda: layers.Conv2DTranspose(4, 3, strides=2, padding="valid"),
        lambda: layers.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=1),
        lambda: layers.Conv2DTranspose(4, 2, strides=4, padding="same"),
    ],
    "BatchNormalization": [lambda: layers.BatchNormalization(axis=1), lambda: layers.BatchNormalization(scale=False)],
    "LeakyReLU": [],
    "ReLU": [lambda: layers.ReLU(max_value=6), lambda: layers.ReLU(negative_slope=0.1)],
    "Activation": [lambda: layers.Activation("gelu")],
    "UpSampling2D": [lambda: layers.UpSampling2D(2, interpolation="bilinear")],
    "Concatenate": [lambda: layers.Concatenate(axis=1)],
    "Add": [],
    "Dropout": [],
    "DoubledConv2D": [],
    "SpaceToDepth": [],
    "DepthToSpace": [],
    "CellMeans": [],
    "Between": [],
    "KeepMeans": [],
    "Luminance": [],
    "Chroma": [],
    "Clip": [],
    "Softmax": [lambda: layers.Softmax()],
    "GlobalAveragePooling2D": [lambda: layers.GlobalAveragePooling2D(keepdims=True)],
}


def network(layer: Any) -> Any:
    """A network (N, 8, 8, C) -> … with `layer` in it, which gets two inputs if it merges."""
    image = layers.Input((8, 8, CHANNELS.get(type(layer).__name__, 4)))
    given: Any = image
    if isinstance(layer, layers.Add | layers.Concatenate):
        given = [image, layers.ReLU(name="other")(image)]
    elif isinstance(layer, KeepMeans):
        given = [image, layers.Conv2D(4, 8, strides=8, padding="same", name="other")(image)]
    return scramble(keras.Model(image, layer(given), name="generator"))


def test_every_emitter_is_tested() -> None:
    assert TAKEN.keys() == EMITTERS.keys()
    assert REFUSED.keys() > EMITTERS.keys()


@pytest.mark.parametrize("kind", EMITTERS)
def test_emitter(kind: str) -> None:
    for make in TAKEN[kind]:
        keras_network = network(make())
        assert type(keras_network.layers[-1]).__name__ == kind
        a = np.random.default_rng(0).uniform(-2, 2, (2, 8, 8, CHANNELS.get(kind, 4))).astype(np.float32)
        given = run(model_file.make(to_graph(keras_network)).SerializeToString(), a)
        assert np.abs(given - np.asarray(keras_network(a, training=False))).max() < 1e-5, keras_network.layers[-1].get_config()


@pytest.mark.parametrize("kind", REFUSED)
def test_options_that_no_emitter_knows_are_refused(kind: str) -> None:
    for make in REFUSED[kind]:
        layer = make()
        with pytest.raises(ModelFileError, match=rf"the layer {layer.name} \({kind}\) cannot be exported: it must have "):
            to_graph(network(layer))


def test_a_layer_used_twice_is_refused() -> None:
    image, twice = layers.Input((8, 8, 4)), layers.Conv2D(4, 3, padding="same", name="twice")
    with pytest.raises(ModelFileError, match="it must have inputs from layers that are used once"):
        to_graph(keras.Model(image, layers.ReLU(name="last")(twice(layers.ReLU()(twice(image)))), name="generator"))

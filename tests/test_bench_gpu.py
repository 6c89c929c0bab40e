"""The bench of training on an accelerator, tried out on a CPU; and its count of FLOPs, which a CPU cannot try out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest

from bench.hlo import matrix_flops
from dataset_tools.cells import CELL
from pix2pix.backend import keras
from pix2pix.layers import between_kernel
from pix2pix.muon import POLYNOMIALS, is_hidden_kernel
from pix2pix.networks import build_discriminator, build_generator
from pix2pix.spec import PRESETS

from bench.gpu import two_levels  # isort: skip - pix2pix.backend chooses Keras's backend first

ROOT = Path(__file__).resolve().parent.parent

# A 4×4 convolution of stride 2 over 8×8 pixels, border 1: 4 × 4 places, of whose 16 taps the border takes some.
IMAGE, KERNEL, MADE = "bf16[3,8,8,5]{3,2,1,0}", "bf16[7,4,4,5]{3,2,1,0}", "bf16[3,4,4,7]{3,2,1,0}"
CONVOLUTION = 2 * 3 * 5 * 7 * (3 + 4 + 4 + 3) ** 2
CALLS = {"convForward": (MADE, IMAGE, KERNEL), "convBackwardInput": (IMAGE, MADE, KERNEL),
         "convBackwardFilter": (KERNEL, IMAGE, MADE)}  # fmt: skip


def module(*lines: str) -> str:
    return "HloModule m\n\nENTRY %main (p: f32[]) -> f32[] {\n" + "\n".join(f"  {line}" for line in lines) + "\n}\n"


@pytest.mark.parametrize("kind", CALLS)
def test_calls_of_cudnn_count_as_the_convolution_they_belong_to(kind: str) -> None:
    result, first, second = CALLS[kind]
    text = module(
        f"%a.1 = {first} parameter(0)", f"%b = {second} parameter(1)",
        f"%call = ({result}, u8[4096]{{0}}) custom-call(%a.1, %b), window={{size=4x4 stride=2x2 pad=1_1x1_1}}, "
        f'dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn${kind}", backend_config={{"x":{{"y":1}}}}',
        f"ROOT %out = {result} get-tuple-element(%call), index=0",
    )  # fmt: skip
    assert matrix_flops(text) == CONVOLUTION


def test_calls_of_cublas_count_as_products() -> None:
    text = module(
        "%a = bf16[768,2304]{1,0} parameter(0)", "%b = bf16[512,768]{1,0} parameter(1)",
        "%product = (bf16[2304,512]{0,1}, s8[64]{0}) custom-call(%a, %b), custom_call_target=\"__cublas$lt$matmul\", "
        'backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_batch_dimensions":[],'
        '"lhs_contracting_dimensions":["0"],"rhs_contracting_dimensions":["1"]},"epilogue":"DEFAULT"}}',
        "%other = f32[2304,2]{1,0} dot(%a, %c), lhs_contracting_dims={0}, rhs_contracting_dims={0}",
    )  # fmt: skip
    assert matrix_flops(text) == 2 * 768 * 2304 * (512 + 2)


AS_XLA = """
import jax
from bench.hlo import matrix_flops

def loss(image, kernel, weights):
    made = jax.lax.conv_general_dilated(image, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return made, made.reshape(-1, made.shape[-1]) @ weights

def gradients(image, kernel, weights):
    made, back = jax.vjp(loss, image, kernel, weights)
    return made, back(made)

shapes = [jax.ShapeDtypeStruct(shape, "float32") for shape in ((3, 16, 16, 5), (4, 4, 5, 7), (7, 9))]
program = jax.jit(gradients).lower(*shapes).compile()
print(matrix_flops(program.as_text()), program.cost_analysis()["flops"])
"""


@pytest.mark.slow
def test_xla_counts_alike_where_it_counts() -> None:
    told = subprocess.run([sys.executable, "-c", AS_XLA], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    ours, theirs = map(float, told.split())
    assert 0.99 * theirs < ours <= theirs  # theirs has the additions, too


def muon_flops(network: object) -> float:
    """Two for each product of each matrix, (out, 9 in): its square, the square's square, and what they make of it."""
    shapes = [weight.shape for weight in network.trainable_variables if is_hidden_kernel(weight)]  # type: ignore[attr-defined]
    return len(POLYNOMIALS) * sum(2.0 * out**2 * (2 * 9 * given + out) for _, _, given, out in shapes)


def forward_flops(network: object, images: list[np.ndarray]) -> float:
    """Two for each product of each convolution, one image, borders included."""
    layers = [layer for layer in network.layers if hasattr(layer, "kernel")]  # type: ignore[attr-defined]
    made = keras.Model(network.inputs, [layer.output for layer in layers])(images)  # type: ignore[attr-defined]
    return sum(2 * prod(layer.kernel.shape) * prod(each.shape[1:3]) for layer, each in zip(layers, made, strict=True))


def tables(text: str) -> dict[str, list[list[str]]]:
    """The rows of each table by the first word of its title."""
    found: dict[str, list[list[str]]] = {}
    for part in text.split("### ")[1:]:
        title, *lines = part.splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
        found[re.split(r"\W", title)[0]] = rows[2:]
    return found


def number(cell: str) -> float:
    found = re.match(r"[\d.]+(e[+-]\d+)?", cell)
    assert found, cell
    return float(found[0])


@pytest.mark.soak
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_small(backend: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "bench.gpu", "--small"], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert "Traceback" not in told.stdout + told.stderr
    found = tables(told.stdout)
    assert list(found) == ["Machine", "Matrix", "Speed", "Kernels", "Loading"]
    machine = {row[0]: row[1] for row in found["Machine"]}
    assert (machine["backend"], machine["precision"]) == (backend, "mixed_bfloat16")
    assert number(found["Matrix"][0][1]) > 0

    spec = two_levels(PRESETS["mend"].for_task("mosaic").with_size(64))
    image = np.zeros((1, spec.side, spec.side, 3), np.float32)
    generator = build_generator(spec)
    g, d = forward_flops(generator, [image]), forward_flops(build_discriminator(spec), [image, image])
    muon, between = muon_flops(generator), 2 * between_kernel().size * (spec.side // CELL) ** 2  # of no layer with a kernel
    assert [row[:2] for row in found["Speed"]] == [["`mend`", "2"], ["`mend`", "4"], ["`tiny`", "2"], ["`tiny`", "4"]]
    for preset, batch, step, pace, there, memory, executed, analysed, needed, share, there_share, target in found["Speed"]:
        assert min(map(number, (step, pace, there, analysed))) > 0
        assert number(pace) == pytest.approx(int(batch) / number(step), rel=0.03)
        assert memory == "-" if backend == "tensorflow" else 0 < number(memory) < 1
        beside = int(batch) * between + (muon if preset == "`mend`" else 0)
        assert 0.7 < number(executed) / (number(needed) + beside / 1e9) < 1.01
        if preset == "`mend`":  # each layer forward, back to its weights, back to its input; D twice, and once more back to G
            assert 0.7 < (number(executed) * 1e9 - muon) / int(batch) / (3 * g + 7 * d) < 1.05
        assert all(0 < number(each) < 150 for each in (share, there_share))
        assert target == "-"

    assert len(found["Kernels"]) == 5
    assert all(int(row[1]) > 0 and number(row[2]) > 0 and 0 < number(row[3]) <= 100 for row in found["Kernels"])
    cached, fed, alone = found["Loading"]
    assert min(number(row[1]) for row in (cached, fed, alone)) > 0
    assert number(fed[2]) == pytest.approx(100 * number(fed[1]) / number(cached[1]), rel=0.02)
    assert fed[3].startswith(">= 95: ")

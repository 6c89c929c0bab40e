"""Training on an accelerator: how much of its matrix rate is used, what takes the time, and whether loading keeps up.

    KERAS_BACKEND=jax python -m bench.gpu [DATASET] [--presets article,mend] [--batches 4,16,64] [--size 256] [--steps 30]

On JAX or TensorFlow, in mixed bfloat16; without a GPU the processor is measured in its place. DATASET is a folder of `photomend
build`; without one, a dataset is built of random crops of data/samples, --size pixels a side. --small is for trying it out: two
levels of `mend` and `tiny` at 64 pixels.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import prod
from pathlib import Path
from statistics import mean, median
from typing import Any
from unittest import mock

import numpy as np

from bench.hlo import matrix_flops
from bench.tables import table, verdict
from dataset_tools import resources
from dataset_tools.build import build_dataset
from dataset_tools.dataset import Dataset, open_dataset
from dataset_tools.errors import PhotomendError
from dataset_tools.recipe import Recipe
from pix2pix.backend import keras, layers, name, ops
from pix2pix.batches import Batch, Batches
from pix2pix.layers import DoubledConv2D
from pix2pix.machine import device
from pix2pix.model import Pix2Pix
from pix2pix.spec import Spec
from pix2pix.step import steps
from pix2pix.task import recipe_anew, spec_for
from pix2pix.train import _ahead

PRECISION = "mixed_bfloat16"
TARGETS = {"article": 15, "mend": 25}  # % of the matrix rate, at batch TARGET_BATCH
TARGET_BATCH = 64
FED = 95  # %: the real input pipeline's images/s of those with one cached batch
WARM = 3  # steps that are not timed
ROUNDS = 15  # of the matrix rate
TRACED = 5  # steps of which the kernels are told
PACKAGES = ("keras", "jax", "jaxlib", "tensorflow", "numpy", "opencv-python", "opencv-python-headless", "photomend")

Event = tuple[str, float]  # name of a kernel, ns


class OnJax:
    """What JAX alone can be asked: `program` is a jax.stages.Compiled."""

    def __init__(self) -> None:
        import jax

        self.jax, self.compiler = jax, (jax, "jit")

    def program(self, function: Any, given: Sequence[Any]) -> Any:
        """What `function` is compiled to; a call of it takes the same from a cache."""
        return function.lower(*given).compile()

    def flops(self, program: Any) -> tuple[float, float]:
        """(Those of convolutions and matrix products, XLA's analysis)."""
        return matrix_flops(program.as_text()), (program.cost_analysis() or {}).get("flops", 0)

    def reset_memory(self) -> None:
        """Nothing to do: a program knows what it takes."""

    def memory(self, program: Any) -> float:
        """Bytes of device memory: weights, optimizers and batch, what is given back, what lies between."""
        told = program.memory_analysis()
        return told.argument_size_in_bytes + told.output_size_in_bytes - told.alias_size_in_bytes + told.temp_size_in_bytes

    def events(self, run: Callable[[], Any], folder: Path) -> Iterator[Event]:
        """The kernels of `run`: on a GPU by its streams, on a CPU the instructions of XLA."""
        with self.jax.profiler.trace(str(folder)):
            run()
        for plane in self.jax.profiler.ProfileData.from_file(str(_traced(folder))).planes:
            for line in plane.lines:
                for event in line.events:
                    if _on_gpu(plane.name, line.name) or (plane.name == "/host:CPU" and "hlo_op" in dict(event.stats)):
                        yield event.name, event.duration_ns


class OnTensorFlow:
    """What TensorFlow alone can be asked: `program` is a concrete function."""

    def __init__(self) -> None:
        import tensorflow

        self.tf, self.compiler = tensorflow, (tensorflow, "function")

    def program(self, function: Any, given: Sequence[Any]) -> Any:
        """The graph that a call of `function` runs."""
        return function.get_concrete_function(*given)

    def flops(self, program: Any) -> tuple[float, float]:
        """(Those of the convolutions that are run, the profiler's count, which has what is pruned before a run, too)."""
        waiting = [*(each.op for each in program.graph.outputs), *program.graph.control_outputs]
        needed: dict[str, Any] = {}
        while waiting:
            operation = waiting.pop()
            if operation.name not in needed:
                needed[operation.name] = operation
                waiting += [*(each.op for each in operation.inputs), *operation.control_inputs]
        profiler = self.tf.compat.v1.profiler
        options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output().build()
        told = profiler.profile(program.graph, options=options).total_float_ops
        return sum(map(_convolution, needed.values())), told

    def reset_memory(self) -> None:
        """Forgets the peak."""
        if self.tf.config.get_visible_devices("GPU"):
            self.tf.config.experimental.reset_memory_stats("GPU:0")

    def memory(self, program: Any) -> float:
        """Bytes of device memory at the peak since `reset_memory`; 0 on a CPU, of which TensorFlow does not tell."""
        gpus = self.tf.config.get_visible_devices("GPU")
        return self.tf.config.experimental.get_memory_info("GPU:0")["peak"] if gpus else 0

    def events(self, run: Callable[[], Any], folder: Path) -> Iterator[Event]:
        """The kernels of `run`: on a GPU by its streams, on a CPU the operations by their type."""
        from tensorflow.tsl.profiler.protobuf import xplane_pb2

        with self.tf.profiler.experimental.Profile(str(folder)):
            run()
        for plane in xplane_pb2.XSpace.FromString(_traced(folder).read_bytes()).planes:
            for line in plane.lines:
                for event in line.events:
                    told = plane.event_metadata[event.metadata_id].name
                    if _on_gpu(plane.name, line.name):
                        yield told, event.duration_ps / 1000
                    elif line.name.startswith("tf_Compute") and told.count(":") == 1:
                        yield told.partition(":")[2], event.duration_ps / 1000


def _convolution(operation: Any) -> int:
    """FLOPs of an operation of TensorFlow, borders included; 0 if it is no convolution."""
    given = operation.inputs
    kernel, made = {
        "Conv2D": lambda: (given[1], operation.outputs[0]),
        "Conv2DBackpropInput": lambda: (given[1], given[2]),
        "Conv2DBackpropFilter": lambda: (operation.outputs[0], given[2]),
    }.get(operation.type, lambda: (None, None))()
    return 0 if kernel is None else 2 * prod(kernel.shape) * prod(made.shape[:3])


def _traced(folder: Path) -> Path:
    return next(folder.rglob("*.xplane.pb"))


def _on_gpu(plane: str, line: str) -> bool:
    return plane.startswith("/device:GPU") and line.startswith("Stream")


class Step:
    """The fused update of both networks of a preset, compiled and called as train_on_batch does, and the program it became."""

    def __init__(self, backend: OnJax | OnTensorFlow, spec: Spec):
        self.backend, self.spec, self.programs = backend, spec, dict[int, Any]()
        self.model = Pix2Pix(spec, precision=PRECISION)
        compiler, word = backend.compiler
        real = getattr(compiler, word)
        with mock.patch.object(compiler, word, lambda function, **options: self._watched(real(function, **options))):
            self.update = steps().compiled(self.model, "fused", "both")

    def __call__(self, batch: Batch) -> dict[str, float]:
        return self.update(*batch)

    def _watched(self, function: Any) -> Callable[..., Any]:
        """`function`, whose program is kept at its first call."""

        def call(*given: Any) -> Any:
            if id(function) not in self.programs:
                self.programs[id(function)] = self.backend.program(function, given)
            return function(*given)

        return call

    def flops(self) -> tuple[float, float]:
        """(What the compiled step executes, its compiler's own analysis); 0 is unknown."""
        try:
            executed, analysed = zip(*map(self.backend.flops, self.programs.values()), strict=True)
            return sum(executed), sum(analysed)
        except Exception as error:  # the times are worth having without
            print(f"\nthe FLOPs of {self.spec.name} cannot be told: {error!r}")
            return 0, 0

    def flops_of_layers(self) -> float:
        """What backpropagation takes: each layer forward, to its weights, and to its input unless nothing before it learns.

        D runs on real and on generated images, and once more backward, to G.
        """
        size = self.spec.side
        images = [(1, size, size, 3)] * len(self.model.generator.inputs)
        g, d = _products(self.model.generator, images), _products(self.model.discriminator, [(1, size, size, 3)] * 2)
        return 2 * self.spec.batch * (3 * sum(g) - g[0] + 7 * sum(d) - 2 * d[0])


def _products(network: Any, images: Sequence[tuple[int, ...]]) -> list[float]:
    """Products of two numbers in each convolution of a network, borders included."""
    convolutions = [layer for layer in network.layers if hasattr(layer, "kernel")]
    whole = keras.Model(network.inputs, [layer.output for layer in convolutions])
    found = []
    for layer, made in zip(convolutions, whole.compute_output_shape(list(images) if len(images) > 1 else images[0]), strict=True):
        each = prod(layer.kernel.shape) * made[1] * made[2]
        if isinstance(layer, DoubledConv2D):
            each *= 36 / 64
        elif isinstance(layer, layers.Conv2DTranspose):
            each /= prod(layer.strides)
        found.append(each)
    return found


def seconds(run: Callable[[Batch], Any], batches: Iterable[Batch]) -> list[float]:
    """Seconds of each batch, waiting for it included."""
    found, tick = [], time.perf_counter()
    for batch in batches:
        run(batch)
        found.append(time.perf_counter() - tick)
        tick = time.perf_counter()
    return found


def matrix_rate(side: int, rounds: int = ROUNDS, queued: int = 10) -> float:
    """FLOP/s of the product of two random bfloat16 matrices, `side` × `side`: the best of a few rounds."""
    rng = np.random.default_rng(0)
    x, y = (ops.cast(ops.convert_to_tensor(rng.standard_normal((side, side), np.float32)), "bfloat16") for _ in "xy")

    def products(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            product = ops.matmul(x, y)
        np.asarray(ops.cast(product[:1, :1], "float32"))  # waits
        return time.perf_counter() - start

    products(2)
    return 2 * side**3 * queued / min(products(queued) for _ in range(rounds))


def machine_part() -> None:
    """The machine, in words."""
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version,memory.total", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().replace("\n", "; ")
    except (OSError, subprocess.CalledProcessError):
        driver = "-"
    found = {each: version for each in PACKAGES if (version := _version(each))}
    table("Machine", ["", ""], [
        ["device", device()], ["driver, memory", driver], ["cores", len(os.sched_getaffinity(0))],
        ["load before", f"{os.getloadavg()[0]:.2f}"], ["backend", name()],
        ["versions", ", ".join(f"{each} {version}" for each, version in {"Python": platform.python_version(), **found}.items())],
        ["precision", PRECISION],
    ])  # fmt: skip


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def speed_row(step: Step, batch: Batch, count: int, rate: float) -> list[Any]:
    """One row of the table of speeds: the batch is in the host's memory, as train_model gives it, and then on the device."""
    size = step.spec.batch
    step.backend.reset_memory()
    there = Batch(*(None if each is None else ops.convert_to_tensor(each) for each in batch))
    taken = []
    for given in (batch, there):
        seconds(step, [given] * WARM)
        taken.append(median(seconds(step, [given] * count)))
    executed, analysed = step.flops()
    share, there_share = (100 * executed / each / rate for each in taken)
    target = TARGETS.get(step.spec.name) if size == TARGET_BATCH else None
    memory = max(map(step.backend.memory, step.programs.values()))
    return [
        f"`{step.spec.name}`", size, f"{taken[0]:.4f}", *(_pace(size / each) for each in taken),
        f"{memory / 1e9:.3g}" if memory else "-",
        *(f"{each / 1e9:.4g}" if each else "-" for each in (executed, analysed, step.flops_of_layers())),
        *(f"{each:.1f} %" if executed else "-" for each in (share, there_share)),
        verdict(share, target, least=True) if target and executed else "-",
    ]  # fmt: skip


def _pace(images: float) -> str:
    return f"{images:.3g}" if images < 100 else f"{images:.0f}"


def kernels_part(step: Step, batch: Batch) -> None:
    """The five longest kernels of a few steps."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = list(step.backend.events(lambda: seconds(step, [batch] * TRACED), Path(folder)))
    except Exception as error:  # a machine may forbid to look at its kernels
        print(f"\nthe kernels cannot be told: {error!r}")
        return
    times = defaultdict[str, list[float]](list)
    for kernel, nanoseconds in found:
        times[kernel].append(nanoseconds / 1e6)
    whole = sum(map(sum, times.values()))
    if not whole:
        print("\nno kernels were seen")
        return
    rows = [
        [f"`{_shortened(kernel)}`", len(each), sum(each), f"{100 * sum(each) / whole:.1f} %"] for kernel, each in times.items()
    ]
    rows.sort(key=lambda row: -row[2])
    table(f"Kernels, the longest of {len(rows)}: `{step.spec.name}`, batch {step.spec.batch}, {TRACED} steps",
          ["kernel", "calls", "ms", "share of all kernels' time"], rows[:5])  # fmt: skip


def _shortened(kernel: str, most: int = 70) -> str:
    """Its start and its end, where kernels differ."""
    return kernel if len(kernel) <= most else f"{kernel[: most // 2]}…{kernel[-most // 2 :]}"


def loading_part(step: Step, batches: Batches, count: int) -> None:
    """Images/s of the real input pipeline, beside one batch again and again before and after it."""
    size, ahead = step.spec.batch, _ahead(steps())
    count = max(count, 4 * ahead)
    one = [batches.at(0)]

    def pace(run: Callable[[Batch], Any], stream: Iterator[Batch]) -> float:
        seconds(run, islice(stream, max(WARM, 2 * ahead)))  # what was loaded beforehand is used up
        return size / mean(seconds(run, islice(stream, count)))

    def real() -> Iterator[Batch]:
        return batches.stream(0, 2 * ahead + WARM + count, ahead)

    seconds(lambda batch: None, islice(real(), -(-len(batches) // size)))  # the photos are decoded once
    alone = pace(lambda batch: None, real())
    before = pace(step, iter(one * (WARM + 2 * ahead + count)))
    fed = pace(step, real())
    cached = mean([before, pace(step, iter(one * (WARM + 2 * ahead + count)))])
    share = 100 * fed / cached
    table(f"Loading: `{step.spec.name}`, batch {size}, {len(batches)} pairs, {ahead} batches ahead, {count} steps",
          ["", "images/s", "share", ""], [
              ["one cached batch", _pace(cached), "", ""],
              ["the real input pipeline", _pace(fed), f"{share:.1f} %", verdict(share, FED, least=True)],
              ["the pipeline alone, nothing trained", _pace(alone), "", ""],
          ])  # fmt: skip


def batches_of(data: Dataset, spec: Spec) -> Batches:
    """The input pipeline of train_model."""
    return Batches(data.pairs("train"), spec.size, spec.batch, 0, jitter=spec.jitter, flip=spec.flip,
                   anew=recipe_anew(data) if spec.fresh else (), window=spec.cells_side)  # fmt: skip


def own_dataset(folder: Path, size: int, pairs: int) -> Path:
    """At least `pairs` crops of the portraits in data/samples behind a mosaic, all to train on."""
    photos = resources.path("samples")
    tiles = -(-pairs // len(list(photos.glob("*.jpg"))))
    build_dataset([photos], folder / "ds", Recipe(size=size, crop="tiles", tiles=tiles, split="100/0/0"), workers=0)
    return folder / "ds"


def two_levels(spec: Spec) -> Spec:
    """A preset that is quick to compile."""
    generator = replace(spec.generator, filters=spec.generator.filters[:2], blocks=spec.generator.blocks[:2])
    return replace(spec, generator=generator, discriminator=replace(spec.discriminator, filters=spec.discriminator.filters[:2]))


def bench(data: Dataset, presets: Sequence[str], sizes: Sequence[int], count: int, small: bool) -> None:
    """Prints all parts."""
    steps().prepare(os.cpu_count() or 1)
    machine_part()
    side = 8192 if steps().accelerators() else 1024
    rate = matrix_rate(side)
    table("Matrix rate", ["", "TFLOP/s"], [[f"bfloat16, {side} × {side}, the best of {ROUNDS} rounds of 10", rate / 1e12]])
    backend = OnJax() if name() == "jax" else OnTensorFlow()
    shown = "mend" if "mend" in presets else presets[0]
    kept, rows = None, []
    for preset in presets:
        for size in sizes:
            spec = replace(spec_for(preset, data, size), alone=0)
            step, batches = Step(backend, two_levels(spec) if small else spec), batches_of(data, spec)
            try:
                rows.append(speed_row(step, batches.at(0), count, rate))
                print("  ".join(map(str, rows[-1])), file=sys.stderr, flush=True)  # in case that there is no time for the table
            except Exception as error:
                if not any(word in str(error) for word in ("RESOURCE_EXHAUSTED", "ut of memory", "OOM")):
                    raise
                rows.append([f"`{preset}`", size, "out of memory", *["-"] * 9])
                continue
            if (preset, size) == (shown, max(sizes)):
                kept = step, batches
            del step
            gc.collect()
    levels = ", two levels of each preset" if small else ""
    table(f"Speed at {spec.size} px{levels}: one cached batch, medians of {count} steps", [
        "preset", "batch", "s a step", "images/s", "the batch on the device", "memory, GB", "GFLOP a step, executed",
        "as its compiler says", "as its layers need", "share of the matrix rate", "the batch on the device", "target, %",
    ], rows)  # fmt: skip
    if kept:
        kernels_part(kept[0], kept[1].at(0))
        loading_part(*kept, count)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu")
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--presets")
    parser.add_argument("--batches")
    parser.add_argument("--size", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--small", action="store_true", help="to try it out, on a CPU")
    given = parser.parse_args()
    presets = (given.presets or ("mend,tiny" if given.small else "article,mend")).split(",")
    sizes = [int(each) for each in (given.batches or ("2,4" if given.small else "4,16,64")).split(",")]
    with tempfile.TemporaryDirectory() as folder:
        made = given.dataset or own_dataset(Path(folder), given.size or (64 if given.small else 256), 2 * max(sizes))
        try:
            bench(open_dataset(made), presets, sizes, given.steps or (4 if given.small else 30), given.small)
        except PhotomendError as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()

"""One way of training in a process of its own, which does so many steps as it is told: what bench/train.py times in turn.

    python -m bench.step_server loop DATASET
    python -m bench.step_server PRESET DATASET [--precision P] [--batch N] [--play generator] [--filled]

A line of JSON at the start; then for each line `step N` on stdin one with the seconds of each step, loading included, the losses
of each (`curve`), and the most memory so far: the protocol of bench/classic_torch.py. `again N`: the same with the newest batch
again and again, and nothing loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

Steps = Callable[..., dict[str, float]]


def ours(options: argparse.Namespace) -> Steps:
    """One step of a preset as train_model does it: the batch that a thread has loaded, one fused update."""
    from dataset_tools.dataset import open_dataset
    from pix2pix.backend import keras
    from pix2pix.batches import Batches
    from pix2pix.model import Pix2Pix
    from pix2pix.step import steps
    from pix2pix.task import recipe_anew, spec_for

    steps().prepare(os.cpu_count() or 1)
    data = open_dataset(options.dataset)
    spec = spec_for(options.preset, data, options.batch)
    spec = replace(spec, alone=0)
    keras.utils.set_random_seed(options.seed)
    model = Pix2Pix(spec, precision=options.precision)
    batches = Batches(data.pairs("train"), spec.size, spec.batch, options.seed, jitter=spec.jitter, flip=spec.flip,
                      anew=recipe_anew(data) if spec.fresh else (), window=spec.cells_side)  # fmt: skip
    for step in range(-(-len(batches) // spec.batch) if options.filled else 0):
        batches.at(step)  # an epoch: every pair is in the cache
    stream = batches.stream(0, 1 << 40)
    newest = batches.at(0)

    def one_step(again: bool = False) -> dict[str, float]:
        nonlocal newest
        a, b = newest = newest if again else next(stream)
        return model.train_on_batch(a, b, options.play)

    return one_step


def loop(options: argparse.Namespace) -> Steps:
    """One step of the article's loop."""
    from bench.article_loop import ArticleLoop

    return ArticleLoop(options.dataset / "train", batch=options.batch or 4, seed=options.seed).step


def peak_rss_mb() -> float:
    """The most memory that this process ever had resident, MB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6


def serve(step: Steps) -> None:
    print(json.dumps({"peak_rss_mb": peak_rss_mb()}), flush=True)
    for order in sys.stdin:
        seconds, losses = [], []
        name, count = order.split()
        for _ in range(int(count)):
            start = time.perf_counter()
            losses.append(step(True) if name == "again" else step())
            seconds.append(time.perf_counter() - start)
        told = {"seconds": seconds, "losses": losses[-1], "curve": losses, "peak_rss_mb": peak_rss_mb()}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.step_server")
    parser.add_argument("preset")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--play", default="both")
    parser.add_argument("--filled", action="store_true", help="every pair has been read before the first step")
    given = parser.parse_args()
    serve(loop(given) if given.preset == "loop" else ours(given))

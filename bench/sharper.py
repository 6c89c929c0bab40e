"""A run made sharper: the same networks trained on with more weight on the adversarial loss.

    python -m bench.sharper DATASET RUN OUT [--weight 1] [--steps 400]

OUT is a run folder that begins with both networks of RUN. `photomend evaluate` tells what that gave and cost.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from pipelines.cli.train import Teller
from pix2pix.spec import PRESETS
from pix2pix.train import train_model


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sharper")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()
    name = f"mend, adversarial weight {given.weight:g}"
    PRESETS[name] = replace(PRESETS["mend"], name=name, adversarial_weight=given.weight, alone=0)
    train_model(given.dataset, given.out, preset=name, source=given.run, steps=given.steps, val_every=100, val_images=68,
                checkpoint_every=100, tell=Teller())  # fmt: skip


if __name__ == "__main__":
    main()

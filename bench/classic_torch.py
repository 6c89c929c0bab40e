"""A peer: Pix2Pix in PyTorch, built and trained as the well-known reference implementation does it. Imports nothing of ours.

It runs in a process and an environment of its own, which has torch and numpy, and takes orders line by line:

    PYTHON -m bench.classic_torch --serve [--batch 4] [--size 256] [--seed 0] [--threads CORES]

    (at the start)   {"torch": "2.15.0", "device": "cpu", "threads": 2, "batch": 4, "size": 256,
                      "parameters": {"generator": 54413955, "discriminator": 2768705}, "peak_rss_mb": 700.0}
    batch PAIRS.npz  {"batch": 4}: from now on trains on its arrays `a` and `b`, (N, S, S, 3) float32 [-1, 1]; noise until then
    step 3           {"seconds": [5.1, 5.0, 5.0], "losses": {"d_loss": ..., ...}, "peak_rss_mb": 2900.0}: losses of the last step
    quit             nothing; so does the end of the input
    anything else    {"error": "..."}, and it goes on

Without --serve it does two steps and prints the same lines.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

# Trainable numbers of G and D. As there, only three convolutions have biases: G's last one (3), D's first (64) and last (1); the
# others are the BatchNorms' business, even G's first and innermost one down, which have none. A BatchNorm has two for a channel.
PARAMETERS = (54_413_955, 2_768_705)
WIDTHS = (64, 128, 256, 512, 512, 512, 512, 512)  # channels of G's levels, from the finest to the coarsest
DROPPED = (7, 6, 5)  # levels with dropout on their way up: not the innermost one
LOSSES = ("d_loss", "d_real", "d_fake", "g_loss", "g_adversarial", "g_l1")


class Generator(nn.Module):
    """U-Net: A (N, 3, S, S) float32 [-1, 1] -> fake B, alike; S is a multiple of 256. Activations work in place, as there."""

    def __init__(self) -> None:
        super().__init__()
        deepest = len(WIDTHS)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (before, width) in enumerate(zip((3, *WIDTHS), WIDTHS, strict=False), 1):
            half: list[nn.Module] = [nn.LeakyReLU(0.2, inplace=True)] if level > 1 else []
            half += [nn.Conv2d(before, width, 4, stride=2, padding=1, bias=False)]
            half += [nn.BatchNorm2d(width)] if 1 < level < deepest else []
            self.down.append(nn.Sequential(*half))
        for level in range(deepest, 0, -1):
            before = WIDTHS[level - 1] * (1 if level == deepest else 2)  # with the skip
            width = WIDTHS[level - 2] if level > 1 else 3
            double: list[nn.Module] = [nn.ReLU(inplace=True)]
            double += [nn.ConvTranspose2d(before, width, 4, stride=2, padding=1, bias=level == 1)]
            double += [nn.BatchNorm2d(width) if level > 1 else nn.Tanh()]
            double += [nn.Dropout(0.5)] if level in DROPPED else []
            self.up.append(nn.Sequential(*double))

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        x, skips = a, []
        for half in self.down:
            x = half(x)
            skips.append(x)
        x = self.up[0](skips.pop())
        for double in self.up[1:]:
            x = double(torch.cat([skips.pop(), x], 1))
        return x


def patchgan() -> nn.Sequential:
    """A and the image (N, 6, S, S) float32 [-1, 1] -> logits (N, 1, 30, 30) for S = 256, each for a patch of 70 × 70 px."""
    layers: list[nn.Module] = [nn.Conv2d(6, 64, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    for before, width, stride in ((64, 128, 2), (128, 256, 2), (256, 512, 1)):
        layers += [nn.Conv2d(before, width, 4, stride=stride, padding=1, bias=False), nn.BatchNorm2d(width)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, stride=1, padding=1))


def parameters(network: nn.Module) -> int:
    """Trainable numbers, as the reference implementation counts them: no moving statistics."""
    return sum(value.numel() for value in network.parameters())


class ClassicTorch:
    """Both networks and their update: float32, NCHW, eager; on the GPU where torch finds one."""

    def __init__(self, batch: int = 4, size: int = 256, seed: int = 0):
        torch.manual_seed(seed)
        torch.backends.cudnn.benchmark = True
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.generator, self.discriminator = Generator().to(self.device), patchgan().to(self.device)
        assert (parameters(self.generator), parameters(self.discriminator)) == PARAMETERS
        for network in (self.generator, self.discriminator):
            network.apply(_start)
        self.generator_adam, self.discriminator_adam = (
            torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        )
        self.bce, self.l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
        rng = np.random.default_rng(seed)
        self.noise = tuple(rng.uniform(-1, 1, (batch, size, size, 3)).astype(np.float32) for _ in "ab")

    def step(self, a: Any, b: Any) -> dict[str, float]:
        """D's update, then G's, on A and B: float32 [-1, 1], tensors (N, 3, S, S) or arrays (N, S, S, 3).

        Returns:
            The losses by the names of photomend's: each from before its own update, g_l1 without its weight of 100.
        """
        a, b = self._tensor(a), self._tensor(b)
        fake = self.generator(a)

        self.discriminator.requires_grad_(True)
        self.discriminator_adam.zero_grad()
        d_fake = self._adversarial(torch.cat([a, fake], 1).detach(), real=False)
        d_real = self._adversarial(torch.cat([a, b], 1), real=True)
        d_loss = 0.5 * (d_fake + d_real)
        d_loss.backward()
        self.discriminator_adam.step()

        self.discriminator.requires_grad_(False)
        self.generator_adam.zero_grad()
        g_adversarial = self._adversarial(torch.cat([a, fake], 1), real=True)
        g_l1 = self.l1(fake, b)
        g_loss = g_adversarial + 100 * g_l1
        g_loss.backward()
        self.generator_adam.step()
        losses = torch.stack([d_loss, d_real, d_fake, g_loss, g_adversarial, g_l1]).detach()  # a GPU is waited for once
        return dict(zip(LOSSES, losses.tolist(), strict=True))

    def _adversarial(self, pair: torch.Tensor, real: bool) -> torch.Tensor:
        logits = self.discriminator(pair)
        return self.bce(logits, torch.tensor(float(real), device=self.device).expand_as(logits))

    def _tensor(self, images: Any) -> torch.Tensor:
        if isinstance(images, np.ndarray):
            images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        return images.to(self.device)


def _start(module: nn.Module) -> None:
    """Weights of mean 0 (a BatchNorm's: 1) and deviation 0.02, biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def peak_rss_mb() -> float:
    """The most memory this process ever had resident, MB. Not getrusage's, which starts from that of the parent."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6


def serve(peer: ClassicTorch, orders: Iterable[str]) -> None:
    """Obeys the module's docstring, an order a line, until "quit" or the end."""
    a, b = peer.noise
    _tell(
        torch=torch.__version__, device=str(peer.device), threads=torch.get_num_threads(), batch=len(a), size=a.shape[1],
        parameters={"generator": parameters(peer.generator), "discriminator": parameters(peer.discriminator)},
        peak_rss_mb=peak_rss_mb(),
    )  # fmt: skip
    for order in orders:
        match order.split(maxsplit=1):
            case ["step", count] if count.strip().isdigit() and int(count) > 0:
                seconds = []
                for _ in range(int(count)):
                    start = time.perf_counter()
                    losses = peer.step(a, b)
                    seconds.append(time.perf_counter() - start)
                _tell(seconds=seconds, losses=losses, peak_rss_mb=peak_rss_mb())
            case ["batch", path]:
                try:
                    with np.load(path.strip()) as arrays:
                        a, b = arrays["a"], arrays["b"]
                    _tell(batch=len(a))
                except (OSError, KeyError, ValueError) as error:
                    _tell(error=str(error))
            case ["quit"]:
                return
            case _:
                _tell(error=f"not an order: {order.strip()!r}")


def _tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.classic_torch")
    parser.add_argument("--serve", action="store_true", help="take orders from stdin")
    for name, default in (("batch", 4), ("size", 256), ("seed", 0), ("threads", os.cpu_count())):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    serve(ClassicTorch(options.batch, options.size, options.seed), sys.stdin if options.serve else ["step 2"])

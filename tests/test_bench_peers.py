"""The peers that the bench of training holds itself against: they are what they claim to be, and both of their networks train."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pix2pix.networks import build_discriminator, build_generator
from pix2pix.spec import PRESETS
from tests.conftest import textured

from bench.article_loop import ArticleLoop  # isort: skip - networks.py chooses Keras's backend first

ROOT = Path(__file__).resolve().parent.parent
TORCH = sys.executable if importlib.util.find_spec("torch") else os.environ.get("TORCH_PYTHON", "")
needs_torch = pytest.mark.skipif(
    not TORCH, reason="PyTorch is not installed: set TORCH_PYTHON to a Python that has torch and numpy"
)

pytestmark = pytest.mark.slow


@pytest.fixture
def loop(tmp_path: Path) -> ArticleLoop:
    """Over two pairs: A is the photo in negative, and left of it."""
    for seed in range(2):
        photo = textured(seed, 256, 256)
        Image.fromarray(np.concatenate([255 - photo, photo], axis=1)).save(tmp_path / f"{seed}.png")
    return ArticleLoop(tmp_path, batch=2)


def arrays(network: Any) -> list[np.ndarray]:
    return [np.asarray(weight).copy() for weight in network.weights]


def unchanged(network: Any, before: list[np.ndarray]) -> list[str]:
    """Names of the weights and moving statistics that are what they were."""
    return [weight.path for weight, old in zip(network.weights, before, strict=True) if np.array_equal(weight, old)]


@pytest.mark.soak
def test_the_articles_networks_are_those_of_the_preset(loop: ArticleLoop) -> None:
    rng = np.random.default_rng(0)
    a, b = loop.load()
    for ours, theirs, images in ((build_generator, loop.generator, a), (build_discriminator, loop.discriminator, [a, b])):
        network = ours(PRESETS["article"])
        assert theirs.count_params() == network.count_params()
        for weight, other in zip(network.weights, theirs.weights, strict=True):
            reach = np.sqrt(3 / np.prod(weight.shape[:-1])) if len(weight.shape) == 4 else 0.0
            weight.assign(rng.uniform(-reach, reach, weight.shape) if reach else rng.uniform(0.5, 1.5, weight.shape))
            other.assign(weight)
        expected = network.predict(images, verbose=0)
        assert expected.std() > 0.1
        assert theirs.predict(images, verbose=0) == pytest.approx(expected, abs=1e-4)
        assert [weight.trainable for weight in theirs.weights] == [weight.trainable for weight in network.weights]


def test_the_article_loads_the_left_half_as_a(loop: ArticleLoop) -> None:
    a, b = loop.load()
    assert a.shape == b.shape == (2, 256, 256, 3)
    assert a.dtype == b.dtype == np.float32
    assert np.abs(a + b).max() < 1e-6
    shown = {round(float(image.mean()), 4) for image in b}
    assert shown <= {round(float((textured(seed, 256, 256) / 127.5 - 1).mean()), 4) for seed in range(2)}


@pytest.mark.soak
def test_the_article_trains_both_networks_each_in_its_own_turn(loop: ArticleLoop) -> None:
    for _ in range(2):  # in the second step D is marked as frozen already
        a, b = loop.load()
        g, d = arrays(loop.generator), arrays(loop.discriminator)
        losses = loop.train_discriminator(a, b)
        assert unchanged(loop.discriminator, d) == []
        assert len(unchanged(loop.generator, g)) == len(g)
        d = arrays(loop.discriminator)
        losses += loop.train_generator(a, b)
        assert len(unchanged(loop.discriminator, d)) == len(d)
        assert unchanged(loop.generator, g) == []
        assert all(math.isfinite(loss) for loss in losses)
        _, _, whole, adversarial, l1 = losses
        assert whole == pytest.approx(adversarial + 100 * l1, rel=1e-4)
    told = loop.step()
    assert tuple(told) == ("d_loss", "d_real", "d_fake", "g_loss", "g_adversarial", "g_l1")
    assert all(type(loss) is float and math.isfinite(loss) for loss in told.values())


def with_torch(*words: str, orders: str = "") -> list[dict[str, Any]]:
    """The JSON lines that the other Python prints."""
    told = subprocess.run([TORCH, *words], input=orders, capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


@needs_torch
def test_the_classic_serves_steps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-1, 1, (1, 256, 256, 3)).astype(np.float32) for _ in "ab")
    np.savez(tmp_path / "pairs.npz", a=a, b=b)
    orders = f"batch {tmp_path}/pairs.npz\nstep 2\nstep x\nbatch {tmp_path}/none.npz\nquit\nstep 1\n"
    hello, batch, step, *errors = with_torch("-m", "bench.classic_torch", "--serve", "--batch", "2", orders=orders)
    assert hello["parameters"] == {"generator": 54_413_955, "discriminator": 2_768_705}
    assert (hello["batch"], hello["size"], hello["threads"]) == (2, 256, os.cpu_count())
    assert batch == {"batch": 1}
    assert len(step["seconds"]) == 2
    assert all(map(math.isfinite, step["losses"].values()))
    assert step["losses"]["g_loss"] == pytest.approx(step["losses"]["g_adversarial"] + 100 * step["losses"]["g_l1"], rel=1e-4)
    assert step["peak_rss_mb"] > hello["peak_rss_mb"] > 100
    assert [list(each) for each in errors] == [["error"], ["error"]]


FACTS = """
import json
import torch
from bench.classic_torch import ClassicTorch

peer = ClassicTorch(batch=1, seed=1)
networks = {"discriminator": peer.discriminator, "generator": peer.generator}
log = []
def copied():
    return {f"{name}.{key}": value.clone() for name, network in networks.items() for key, value in network.named_parameters()}
def watched(optimizer):
    step = optimizer.step
    def spy():
        before = copied()
        step()
        log.append(sorted(key for key, value in copied().items() if not torch.equal(value, before[key])))
    optimizer.step = spy
watched(peer.discriminator_adam)
watched(peer.generator_adam)
losses = peer.step(*peer.noise)
print(json.dumps({
    "updates": log, "all": sorted(copied()), "losses": losses,
    "shape": list(peer.discriminator(torch.zeros(1, 6, 256, 256)).shape),
    "dropped": [index for index, up in enumerate(peer.generator.up) if any(isinstance(each, torch.nn.Dropout) for each in up)],
}))
"""


@needs_torch
def test_the_classic_trains_each_network_in_its_own_turn() -> None:
    (told,) = with_torch("-c", FACTS)
    first, second = told["updates"]
    assert first == [key for key in told["all"] if key.startswith("discriminator")]
    assert second == [key for key in told["all"] if key.startswith("generator")]
    assert told["shape"] == [1, 1, 30, 30]
    assert told["dropped"] == [1, 2, 3]
    assert all(map(math.isfinite, told["losses"].values()))

"""A peer: the training loop of the Keras articles on Pix2Pix (after the Keras-GAN collection), as their readers write it.

Two compiled models that share D, `predict` and three calls of `train_on_batch` a step, and Pillow opening every pair when its
turn comes. Nothing of pix2pix/ is used; the networks have the layers and sizes of the preset `article`.

Repaired, and no more than that, since in Keras 3 the printed loop leaves D as it was made: `trainable` counts when
`train_on_batch` is traced, which is at its first call, and by then D is frozen. So D is frozen after its first batches, and each
model has an Adam of its own. Kinder than the printed loop: float32 instead of float64 arrays, no progress bar, no accuracy of D.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from dataset_tools.system import quiet_native

with quiet_native():
    import keras
    from keras.layers import BatchNormalization, Concatenate, Conv2D, Input, LeakyReLU, UpSampling2D

PARAMETERS = (41_937_603, 2_771_649)  # of G and of D, moving statistics included
Images = NDArray[np.float32]  # (N, S, S, 3) [-1, 1] RGB


def build_generator(size: int) -> Any:
    """U-Net, eight levels: A (N, S, S, 3) float32 [-1, 1] -> fake B, alike."""

    def down(x: Any, filters: int) -> Any:
        x = Conv2D(filters, kernel_size=4, strides=2, padding="same")(x)
        x = LeakyReLU(0.2)(x)
        return BatchNormalization()(x)

    def up(x: Any, skip: Any, filters: int) -> Any:
        x = UpSampling2D(size=2)(x)
        x = Conv2D(filters, kernel_size=4, strides=1, padding="same", activation="relu")(x)
        x = BatchNormalization()(x)
        return Concatenate()([x, skip])

    d0 = Input(shape=(size, size, 3))
    d1 = down(d0, 32)
    d2 = down(d1, 64)
    d3 = down(d2, 128)
    d4 = down(d3, 256)
    d5 = down(d4, 512)
    d6 = down(d5, 512)
    d7 = down(d6, 512)
    d8 = down(d7, 512)
    u1 = up(d8, d7, 512)
    u2 = up(u1, d6, 512)
    u3 = up(u2, d5, 512)
    u4 = up(u3, d4, 256)
    u5 = up(u4, d3, 128)
    u6 = up(u5, d2, 64)
    u7 = up(u6, d1, 32)
    u8 = UpSampling2D(size=2)(u7)
    return keras.Model(d0, Conv2D(3, kernel_size=4, strides=1, padding="same", activation="tanh")(u8))


def build_discriminator(size: int) -> Any:
    """[image, A], each (N, S, S, 3) float32 [-1, 1] -> (N, S / 16, S / 16, 1) float32, 1 where the image looks real."""

    def layer(x: Any, filters: int) -> Any:
        x = Conv2D(filters, kernel_size=4, strides=2, padding="same")(x)
        x = LeakyReLU(0.2)(x)
        return BatchNormalization()(x)

    image, a = Input(shape=(size, size, 3)), Input(shape=(size, size, 3))
    x = Concatenate(axis=-1)([image, a])
    for filters in (64, 128, 256, 512):
        x = layer(x, filters)
    return keras.Model([image, a], Conv2D(1, kernel_size=4, strides=1, padding="same")(x))


class ArticleLoop:
    """The loop over a folder of pairs, A|B side by side (PNG or JPEG, also in folders below it), drawn at random.

    Args:
        size: S; a multiple of 256.
        seed: of the weights and of the draw. Keras keeps its seeds for the whole process: make this peer before others.
    """

    def __init__(self, folder_of_pairs: Path, batch: int = 4, size: int = 256, seed: int = 0):
        keras.utils.set_random_seed(seed)
        self.rng = np.random.default_rng(seed)
        self.files = sorted(path for path in Path(folder_of_pairs).rglob("*") if path.suffix in (".png", ".jpg"))
        self.batch, self.size = batch, size

        self.discriminator = build_discriminator(size)
        self.discriminator.compile(loss="mse", optimizer=keras.optimizers.Adam(0.0002, 0.5))
        self.generator = build_generator(size)
        a = Input(shape=(size, size, 3))
        fake = self.generator(a)
        valid = self.discriminator([fake, a])
        self.combined = keras.Model([a], [valid, fake])
        self.combined.compile(loss=["mse", "mae"], loss_weights=[1, 100], optimizer=keras.optimizers.Adam(0.0002, 0.5))
        assert (self.generator.count_params(), self.discriminator.count_params()) == PARAMETERS

        patches = (batch, size // 16, size // 16, 1)
        self.valid, self.fake = np.ones(patches, np.float32), np.zeros(patches, np.float32)

    def load(self) -> tuple[Images, Images]:
        """The A and the B of a batch, from files."""
        left, right = [], []
        for number in self.rng.choice(len(self.files), self.batch, replace=len(self.files) < self.batch):
            pair = Image.open(self.files[number]).convert("RGB")
            half = pair.width // 2
            left.append(np.array(pair.crop((0, 0, half, pair.height)).resize((self.size, self.size))))
            right.append(np.array(pair.crop((half, 0, pair.width, pair.height)).resize((self.size, self.size))))
        return np.array(left, np.float32) / 127.5 - 1, np.array(right, np.float32) / 127.5 - 1

    def train_discriminator(self, a: Images, b: Images) -> tuple[float, float]:
        """D on real pairs, then on fakes that G makes: its two losses, each from before its update."""
        fake = self.generator.predict(a, verbose=0)
        real_loss = self.discriminator.train_on_batch([b, a], self.valid)
        return float(real_loss), float(self.discriminator.train_on_batch([fake, a], self.fake))

    def train_generator(self, a: Images, b: Images) -> tuple[float, float, float]:
        """G through the frozen D: the whole loss, mse of D's verdict, mean |fake - B|. D must have had a batch before."""
        self.discriminator.trainable = False
        whole, adversarial, l1 = map(float, self.combined.train_on_batch([a], [self.valid, b]))
        return whole, adversarial, l1

    def step(self) -> dict[str, float]:
        """Loads a batch and trains both networks on it: the losses, by the names of `Pix2Pix.train_on_batch`."""
        a, b = self.load()
        d_real, d_fake = self.train_discriminator(a, b)
        g_loss, g_adversarial, g_l1 = self.train_generator(a, b)
        return {"d_loss": 0.5 * (d_real + d_fake), "d_real": d_real, "d_fake": d_fake,
                "g_loss": g_loss, "g_adversarial": g_adversarial, "g_l1": g_l1}  # fmt: skip

"""The generator as a TensorFlow SavedModel: variables under their Keras paths, one signature, its card in `assets.extra`.

Signature `serving_default`: `image` -> `restored`, each float32 (N, S, S, 3) in [-1, 1] RGB; any N, and any multiple of the
stride where the network takes any size.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from dataset_tools import files
from dataset_tools.system import quiet_native
from pix2pix.model_file import INPUT, KEY, OUTPUT
from pix2pix.networks import weights_by_path

CARD = f"assets.extra/{KEY}.json"  # the folder that TensorFlow leaves to those who write a SavedModel
SIGNATURE = "serving_default"

Batch = NDArray[np.float32]  # (N, H, W, 3) [-1, 1] RGB


def save(network: Any, folder: Path, card: Mapping[str, Any]) -> None:
    """Writes `network`, a generator on Keras's TensorFlow backend, into `folder`, which is there and empty.

    Raises:
        OSError: it cannot be written.
    """
    module = tf.Module()
    module.weights = {path: weight.value for path, weight in weights_by_path(network).items()}  # what is not reached is not saved
    image = tf.TensorSpec([None, *network.input_shape[1:]], tf.float32, name=INPUT)

    @tf.function(autograph=False, input_signature=[image])  # type: ignore[untyped-decorator]
    def restore(given: Any) -> dict[str, Any]:
        return {OUTPUT: network(given, training=False)}

    try:
        with quiet_native():
            tf.saved_model.save(module, str(folder), signatures={SIGNATURE: restore})
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, "no room left on the disk") from error
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, next(iter(error.message.splitlines()), "TensorFlow does not say why")) from error
    files.replace_json(folder / CARD, card)


def opened(folder: Path) -> Callable[[Batch], Batch]:
    """What the SavedModel in `folder` makes of images, on the CPU."""
    with quiet_native(), tf.device("cpu:0"):  # a GPU may compute in TensorFloat-32, which says nothing about the graph
        loaded = tf.saved_model.load(str(folder))

    def restore(images: Batch) -> Batch:
        with tf.device("cpu:0"):
            made = loaded.signatures[SIGNATURE](**{INPUT: tf.constant(images)})  # `loaded` must live as long as what it holds
        return np.asarray(made[OUTPUT])

    return restore

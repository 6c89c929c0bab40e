"""One way of restoring in a process of its own, which does so many batches as it is told: what bench/restore.py times in turn.

    python -m bench.restore_server NAME MODEL BATCH RESULT

predict: Keras, `predict` on the generator of MODEL. function: the same generator in a tf.function. layers: in one, too, of the
preset's own layers, which compute the article's decoder with fewer multiplications. The others are engines of
`photomend restore`. Each takes and gives (BATCH, S, S, 3) uint8, mosaics as the graph takes them; what it makes of the first
batch is written to RESULT as .npy. The protocol is that of bench/step_server.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.step_server import serve
from dataset_tools import image_io, resources

Restore = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

CELL = 16  # pixels a side, for a model that takes images as they are


def photos(size: int, count: int, cell: int) -> NDArray[np.uint8]:
    """(count, size, size, 3): portraits behind a mosaic, `cell` pixels a side of a cell."""
    files = sorted(resources.path("samples").glob("*.jpg"))[:count]
    images = [cv2.resize(image_io.read(path).rgb8, (size, size), interpolation=cv2.INTER_AREA) for path in files]
    cells = [cv2.resize(rgb, (size // cell, size // cell), interpolation=cv2.INTER_AREA) for rgb in images]
    return np.stack([cv2.resize(each, (size, size), interpolation=cv2.INTER_NEAREST) for each in cells])


def of_keras(model: Path, size: int, name: str) -> Restore:
    """The generator of a model file in Keras. `article` as it was printed, its doubling a layer before each convolution, but for
    "layers"."""
    from bench.article_loop import build_generator
    from pix2pix import model_file
    from pix2pix.export import load_generator
    from pix2pix.pixels import to_float, to_uint8

    generator = load_generator(model)
    if model_file.read_card(model)["preset"] == "article" and name != "layers":
        printed = build_generator(size)
        for weight, ours in zip(printed.weights, generator.weights, strict=True):
            weight.assign(ours)
        generator = printed
    if name == "predict":
        return lambda images: to_uint8(generator.predict(to_float(images), verbose=0))
    import tensorflow as tf

    run = tf.function(lambda images: generator(images, training=False))
    return lambda images: to_uint8(np.asarray(run(to_float(images))))


def main() -> None:
    from pix2pix import model_file

    name, model, batch, result = sys.argv[1:]
    card = model_file.read_card(Path(model))
    images = photos(card["size"], int(batch), card["cell"] or CELL)
    if name in ("predict", "function", "layers"):
        restore = of_keras(Path(model), card["size"], name)
    else:
        from pipelines.engines import open_engine

        restore = open_engine(Path(model), name).run
    np.save(result, restore(images))

    def once(again: bool = False) -> dict[str, float]:
        restore(images)
        return {}

    serve(once)


if __name__ == "__main__":
    main()

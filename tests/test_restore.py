"""One photo: through the model at any size, with the mark, with its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.restore import BATCH, Item, is_resized, metric_names, restore_crops
from tests.conftest import textured


class Fake:
    """Restores by inverting, or not at all, and remembers what it was given."""

    def __init__(self, size: int, invert: bool = False, takes_any_crop: bool = False):
        self.size, self.invert, self.takes_any_crop = size, invert, takes_any_crop
        self.given: list[np.ndarray] = []

    def restore(self, batch: np.ndarray) -> np.ndarray:
        assert batch.dtype == np.uint8
        assert self.takes_any_crop or batch.shape[1:] == (self.size, self.size, 3)
        self.given.append(batch)
        return 255 - batch if self.invert else batch


def test_a_crop_of_the_models_size_goes_straight_through() -> None:
    engine, rgb = Fake(32, invert=True), textured(1, 32, 32)
    assert np.array_equal(restore_crops(engine, [rgb])[0], 255 - rgb)
    assert np.array_equal(engine.given[0], rgb[None])
    assert not is_resized(engine, rgb)


@pytest.mark.parametrize("shape", [(31, 32), (64, 48), (20, 90), (1, 1), (1, 500), (500, 1), (333, 332)])
def test_any_size_comes_back_at_its_own_size_and_in_its_own_place(shape: tuple[int, int]) -> None:
    engine, rgb = Fake(64), textured(2, *shape)
    restored = restore_crops(engine, [rgb])[0]
    assert restored.shape == rgb.shape
    assert restored.dtype == np.uint8
    assert is_resized(engine, rgb)
    assert np.abs(restored.astype(int) - rgb).mean() < 2.5 or min(shape) == 1


def test_a_model_that_takes_any_crop_gets_each_as_it_is() -> None:
    engine = Fake(64, invert=True, takes_any_crop=True)
    crops = [textured(seed, *shape) for seed, shape in enumerate([(31, 32), (64, 64), (1, 1), (31, 32), (300, 20)])]
    restored = restore_crops(engine, crops)
    assert all(np.array_equal(image, 255 - rgb) for image, rgb in zip(restored, crops, strict=True))
    assert [batch.shape for batch in engine.given] == [(1, *rgb.shape) for rgb in crops]
    assert not any(is_resized(engine, rgb) for rgb in crops)
    assert restore_crops(engine, []) == []


def test_the_padding_repeats_the_border_in_the_middle_of_the_square() -> None:
    engine = Fake(16)
    rgb = np.zeros((8, 16, 3), np.uint8)
    rgb[0], rgb[-1] = 50, 200
    restore_crops(engine, [rgb])[0]
    square = engine.given[0][0]
    assert np.array_equal(square[4:12], rgb)
    assert (square[:4] == 50).all()
    assert (square[12:] == 200).all()


def test_a_strip_does_not_become_a_square_of_its_length() -> None:
    strip = np.zeros((3, 40_000, 3), np.uint8)  # its square would have 1.6 billion pixels
    assert restore_crops(Fake(16), [strip])[0].shape == strip.shape


def test_crops_of_different_sizes_go_through_together_in_order() -> None:
    engine = Fake(16, invert=True)
    crops = [np.full((10 + index, 16, 3), index * 9, np.uint8) for index in range(BATCH + 3)]
    restored = restore_crops(engine, crops)
    assert [len(batch) for batch in engine.given] == [BATCH, 3]
    assert [image[0, 0, 0] for image in restored] == [255 - index * 9 for index in range(BATCH + 3)]
    assert [image.shape for image in restored] == [crop.shape for crop in crops]
    assert restore_crops(engine, []) == []


def test_colour_metrics_are_added_where_colour_was_taken_away() -> None:
    assert metric_names([[{"name": "mosaic"}], []]) == ("psnr", "ssim", "l1")
    assert metric_names([[], [{"name": "grayscale"}]]) == ("psnr", "ssim", "l1", "delta_e", "colourfulness")
    assert metric_names([[{"name": "grayscale"}]], ("delta_e",)) == ("delta_e", "colourfulness")


def test_names_that_are_not_utf8_are_percent_encoded() -> None:
    assert Item(Path("x"), Path("caf\udce9/100%.png"), None).source == "caf%E9/100%25.png"

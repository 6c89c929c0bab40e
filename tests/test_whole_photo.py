from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_tools import image_io
from dataset_tools.cells import CELL, even
from dataset_tools.image_rewrite import rewrite
from dataset_tools.mosaic_grid import Grid, cell_means, prior
from pipelines.whole_photo import ALL_TAKEN, FEW_CELLS, Wishes, restore_whole
from pix2pix.pixels import LUMA
from tests.conftest import some
from tests.test_cells import bicubic
from tests.test_image_io import P3, encoded, png, rgb_profile
from tests.test_mosaic_regions import box, laid, photo

GRID = Grid(16, 3, 9)


class Known:
    """A stand-in for a model: makes the smooth image between the cells, or shows the input in other colours."""

    def __init__(self, task: str, any_size: bool = True):
        self.size, self.any_size = 256, any_size
        crop = {"kind": "tiles" if task == "other" else "faces", "margin": 0.25}
        self.card: dict[str, Any] = {"task": task, "size": 256, "stride": 32, "recipe": ["mosaic:block=16"], "crop": crop,
                                     "cell": CELL if task == "mosaic" else None}  # fmt: skip

    def run(self, batch: np.ndarray) -> np.ndarray:
        if self.card["task"] == "mosaic":
            assert (batch.shape[1] % 32, batch.shape[2] % 32) == (0, 0)
            assert all(np.array_equal(each, even(cell_means(each, Grid(CELL)))) for each in batch)
            return np.stack([bicubic(each) for each in batch])
        return (batch.astype(int) + np.array([30, 0, -30])).clip(0, 255).astype(np.uint8)


def with_mosaic(number: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(the photo, where a mosaic lies, the photo with it)."""
    rgb = photo(number, 512)
    where = box(rgb, 150, 160, 350, 340)
    return rgb, where, laid(rgb, where, GRID)


def of(data: bytes) -> image_io.Photo:
    return image_io.decode(data, "photo")


def test_a_mosaic_is_found_restored_and_told() -> None:
    rgb, where, shown = with_mosaic()
    before = of(encoded(shown, "PNG"))
    found = restore_whole(Known("mosaic"), before, Wishes())
    assert found.photo is not None
    assert found.mask is not None
    (told,) = found.regions
    assert (told["block"], told["phase"]) == (16, [GRID.phase_y, GRID.phase_x])
    changed = (found.photo.samples != before.samples).any(-1)
    assert not changed[found.mask == 0].any()
    assert (found.mask[where] == 255).mean() > 0.9
    assert changed[where].mean() > 0.9
    nearer = np.abs(found.photo.rgb8[where].astype(int) - rgb[where]).mean()
    assert nearer < np.abs(shown[where].astype(int) - rgb[where]).mean()


@pytest.mark.slow
def test_everybody_in_a_group_is_restored() -> None:
    """It was once no more than sixteen, and nothing said so."""
    people = [photo(number % 24, 250) for number in range(25)]
    shown = np.vstack([np.hstack(people[row : row + 5]) for row in range(0, 25, 5)])
    for number in range(25):
        top, left = 15 + 250 * (number // 5), 15 + 250 * (number % 5)
        shown = laid(shown, box(shown, top, left, top + 180, left + 150), Grid(10 + number % 4, number % 7, number % 5))
    found = restore_whole(Known("mosaic"), of(encoded(shown, "PNG")), Wishes())
    assert len(found.regions) == 25
    assert found.notes == ()


def test_so_many_mosaics_that_there_may_be_more_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.whole_photo.MOST", 1)
    assert restore_whole(Known("mosaic"), of(encoded(with_mosaic()[2], "PNG")), Wishes()).notes == (ALL_TAKEN,)
    assert "it shows 100 mosaics, the most that are looked for" in ALL_TAKEN


@pytest.mark.parametrize(("cells", "notes"), [(7, (f"{FEW_CELLS}: 1",)), (9, ())])
def test_a_mosaic_of_which_next_to_nothing_is_known_is_told(cells: int, notes: tuple[str, ...]) -> None:
    rgb, side = photo(0, 512), cells * GRID.block
    shown = laid(rgb, box(rgb, 163, 153, 163 + side, 153 + side), GRID)
    found = restore_whole(Known("mosaic"), of(encoded(shown, "PNG")), Wishes())
    assert len(found.regions) == 1
    assert found.notes == notes


def test_a_photo_without_a_mosaic_has_nothing_to_restore() -> None:
    found = restore_whole(Known("mosaic"), of(encoded(photo(0), "PNG")), Wishes())
    assert (found.photo, found.mask, found.regions, found.notes) == (None, None, (), ())


@pytest.mark.parametrize(("block", "side"), some([(4, 300)], [(5, 300), (40, 800), (100, 1200)]))
def test_a_mosaic_of_any_block_is_restored(block: int, side: int) -> None:
    """And the smooth image between its cells is nearer to the photo than they are."""
    rgb, grid = photo(0, side), Grid(block, block // 2, 1)
    where = box(rgb, side // 6, side // 6, side * 5 // 6, side * 5 // 6)
    shown = laid(rgb, where, grid)
    found = restore_whole(Known("mosaic", any_size=False), of(encoded(shown, "PNG")), Wishes())
    assert found.photo is not None
    assert found.mask is not None
    (told,) = found.regions
    assert told.keys() == {"box", "block", "phase"}
    assert (told["block"], told["phase"]) == (block, [grid.phase_y, grid.phase_x])
    assert np.array_equal(found.photo.rgb8[found.mask == 0], shown[found.mask == 0])
    beside = cv2.dilate(where.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert (found.mask[~beside] > 0).mean() < 0.01
    assert (found.mask[where] == 255).mean() > 0.98
    after, before = (np.abs(image[where].astype(int) - rgb[where]).mean() for image in (found.photo.rgb8, shown))
    assert after < 0.95 * before


def test_a_mosaic_that_the_border_of_the_photo_cuts_is_restored_up_to_it() -> None:
    rgb = photo(3, 480)
    where = box(rgb, 0, 246, 193, 480)
    shown = laid(rgb, where, Grid(20, 13, 6))
    found = restore_whole(Known("mosaic"), of(encoded(shown, "PNG")), Wishes())
    assert found.photo is not None
    assert found.mask is not None
    ((left, top, width, height),) = (each["box"] for each in found.regions)
    assert (left, top, left + width) == (246, 0, 480)
    assert 193 <= height <= 195  # below it the photo happens to look alike
    assert (found.mask[where] == 255).all()
    assert np.array_equal(found.photo.rgb8[found.mask == 0], shown[found.mask == 0])
    whole = prior(laid(rgb, np.ones_like(where), Grid(20, 13, 6)), Grid(20, 13, 6))
    assert np.abs(found.photo.rgb8[where].astype(int) - whole[where]).mean() < 2  # but where it meets the photo
    border = where & ~box(rgb, 10, 0, 480, 470)
    assert np.abs(found.photo.rgb8[border].astype(int) - whole[border]).mean() < 2


@pytest.mark.slow
def test_what_a_person_may_ask_for() -> None:
    rgb = np.concatenate([photo(1, 480), photo(2, 480)], axis=1)
    shown = laid(laid(rgb, box(rgb, 120, 130, 360, 350), Grid(12, 5, 1)), box(rgb, 200, 650, 340, 800), Grid(16, 0, 7))
    before = of(encoded(shown, "PNG"))
    engine = Known("mosaic")
    assert len(restore_whole(engine, before, Wishes()).regions) == 2
    assert [each["block"] for each in restore_whole(engine, before, Wishes(largest=1)).regions] == [12]
    assert [each["block"] for each in restore_whole(engine, before, Wishes(least=180)).regions] == [12]
    untouched = restore_whole(engine, before, Wishes(strength=0)).photo
    assert untouched is not None
    assert np.array_equal(untouched.samples, before.samples)


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("Display P3", "alpha", "grey", "CMYK")]


@pytest.mark.parametrize("kind", ["16 bits", "16 bits with alpha", *SLOW])
def test_nothing_changes_outside_of_the_mask_in_any_kind_of_file(kind: str) -> None:
    _, where, shown = with_mosaic()
    deep = shown.astype(np.uint16) * 257 + np.random.default_rng(0).integers(0, 60, shown.shape).astype(np.uint16)
    alpha = np.full((512, 512, 1), 200, np.uint8)
    alpha[:20] = 0
    data = {
        "16 bits": lambda: png(deep, 2),
        "Display P3": lambda: encoded(shown, "PNG", icc_profile=rgb_profile(P3, 2.2)),
        "alpha": lambda: encoded(np.dstack([shown, np.full((512, 512, 1), 255, np.uint8)]), "PNG"),
        "grey": lambda: encoded(np.asarray(Image.fromarray(shown).convert("L")), "PNG"),
        "16 bits with alpha": lambda: png(np.dstack([deep, np.full((512, 512, 1), 65535, np.uint16)]), 6),
        "CMYK": lambda: encoded(Image.fromarray(shown).convert("CMYK"), "TIFF"),
    }[kind]()
    before = of(data)
    found = restore_whole(Known("mosaic"), before, Wishes())
    assert found.photo is not None
    assert found.mask is not None
    assert found.photo.info == before.info
    changed = found.photo.samples != before.samples
    changed = changed if changed.ndim == 2 else changed.any(-1)
    assert not changed[found.mask == 0].any()
    assert changed[where].mean() > 0.5
    if kind.endswith("alpha"):
        assert np.array_equal(found.photo.samples[..., -1], before.samples[..., -1])
    after = of(rewrite(data, before, found.photo.samples, before.info.format, None).data)
    assert np.array_equal(after.samples, found.photo.samples)
    assert np.array_equal(after.rgb8[found.mask == 0], before.rgb8[found.mask == 0])


@pytest.mark.parametrize("depth", [8, 16])
def test_colour_for_a_grey_photo(depth: int) -> None:
    grey = np.rint(photo(3, 300) @ LUMA).astype(np.uint8)
    before = of(encoded(grey, "PNG") if depth == 8 else png(grey.astype(np.uint16) * 257, 0))
    found = restore_whole(Known("colorize"), before, Wishes())
    assert found.photo is not None
    assert (found.photo.info.mode, found.photo.info.depth, found.photo.samples.shape) == ("RGB", depth, (300, 300, 3))
    assert np.abs(found.photo.rgb8 @ LUMA - grey).max() <= 1
    assert np.abs(found.photo.rgb8[..., 0].astype(int) - found.photo.rgb8[..., 2]).mean() > 10
    data = encoded(grey, "PNG")
    after = of(rewrite(data, found.photo, found.photo.samples, "PNG", None).data)
    assert np.array_equal(after.samples, found.photo.samples)


@pytest.mark.parametrize("number", [3, 15])  # the latter of a person in gray before a white wall
def test_colours_that_a_photo_had_are_told(number: int) -> None:
    rgb = photo(number, 300)
    told = "it had colours, which the model's have replaced"
    assert told in restore_whole(Known("colorize"), of(encoded(rgb, "PNG")), Wishes()).notes
    for tone in ([1, 1, 1], [1.03, 1, 0.97], [1.35, 1.2, 0.94]):  # of paper, faded, of sepia
        toned = np.clip((rgb @ LUMA)[..., None] * np.array(tone), 0, 255).astype(np.uint8)
        assert told not in restore_whole(Known("colorize"), of(encoded(toned, "PNG")), Wishes()).notes


def test_another_task_goes_in_tiles_over_the_whole_photo() -> None:
    rgb = photo(4, 300)
    found = restore_whole(Known("other"), of(encoded(rgb, "PNG")), Wishes(strength=0.5))
    assert found.photo is not None
    assert (
        np.abs(found.photo.samples.astype(int) - (rgb.astype(int) + np.array([15, 0, -15])).clip(0, 255)).max() <= 16
    )  # where it clips
    assert np.median(found.photo.samples.astype(int) - rgb, axis=(0, 1)).tolist() == [15, 0, -15]


@pytest.mark.parametrize("quality", some([30], [5, 10, 20]))
def test_the_blocks_of_a_strongly_compressed_jpeg_are_no_mosaic(quality: int) -> None:
    data = image_io.encode_jpeg(photo(2, 400), quality, subsampling=2)
    found = restore_whole(Known("mosaic"), of(data), Wishes())
    assert (found.photo, found.regions) == (None, ())


@pytest.mark.parametrize("share", some([128], [64, 255]))
def test_what_is_half_transparent_is_restored_in_full(share: int) -> None:
    """Alpha stays as it is, and takes nothing of what was restored away."""
    _, _, shown = with_mosaic()
    alpha = np.full((512, 512, 1), share, np.uint8)
    before = of(encoded(np.dstack([shown, alpha]), "PNG"))
    found = restore_whole(Known("mosaic"), before, Wishes())
    opaque = restore_whole(Known("mosaic"), of(encoded(shown, "PNG")), Wishes())
    assert found.photo is not None
    assert opaque.photo is not None
    assert np.array_equal(found.photo.samples[..., :3], opaque.photo.samples)
    assert np.array_equal(found.photo.samples[..., 3:], alpha)

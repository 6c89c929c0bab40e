from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tools import image_io, prints
from dataset_tools.near import NEAR_BITS, Prints, _Table, agree, neighbours, pairs
from dataset_tools.prints import MIRROR, perceptual_hash
from tests.conftest import textured


def hold(texts: list[str]) -> Prints:
    held = Prints()
    for text in texts:
        held.add(text)
    return held


def as_set(arrays: Iterable[tuple[np.ndarray, np.ndarray]]) -> set[tuple[int, int]]:
    both = ((i, j) for one, other in arrays for i, j in zip(one.tolist(), other.tolist(), strict=True))
    return {(min(i, j), max(i, j)) for i, j in both}


def found(held: Prints, rooms: np.ndarray | None = None) -> set[tuple[int, int]]:
    return as_set(pairs(held, rooms))


def near(one: np.ndarray, other: np.ndarray) -> bool:
    """By direct comparison, which the search is held against below."""
    return bool(hold([perceptual_hash(one), perceptual_hash(other)]).near_to(0, np.array([1]))[0])


def cut(rgb: np.ndarray, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> np.ndarray:
    height, width = rgb.shape[:2]
    return rgb[round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)]


CUTS = {
    "left": (0.05, 0, 0, 0),
    "top": (0, 0.05, 0, 0),
    "right": (0, 0, 0.05, 0),
    "bottom": (0, 0, 0, 0.05),
    "frame 2.5 %": (0.025,) * 4,
    "frame 5 %": (0.05,) * 4,
    "upper left corner": (0, 0, 0.05, 0.05),
    "lower right corner": (0.05, 0.05, 0, 0),
    "askew": (0.01, 0.04, 0.03, 0.015),
}


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    from dataset_tools import resources

    return [image_io.read(path).rgb8 for path in sorted(resources.path("samples").glob("*.jpg"))]


@pytest.mark.parametrize("name", CUTS)
def test_a_photo_and_its_cut_are_near_mirrored_too(photos: list[np.ndarray], name: str) -> None:
    for photo in photos[::4]:
        piece = cut(photo, *CUTS[name])
        assert near(photo, piece)
        mirrored = cv2.resize(piece[:, ::-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        assert near(image_io.decode(image_io.encode_jpeg(mirrored, 70), "x").rgb8, photo)


def test_a_photo_is_near_to_its_copies_and_to_no_other(photos: list[np.ndarray]) -> None:
    texts = [perceptual_hash(photo) for photo in photos]
    assert found(hold(texts)) == set()
    for photo in photos[:6]:
        reencoded = image_io.decode(image_io.encode_jpeg(photo, 40), "x").rgb8
        smaller = cv2.resize(photo, (150, 150), interpolation=cv2.INTER_AREA)
        brighter = np.clip(photo.astype(int) + 12, 0, 255).astype(np.uint8)
        assert all(near(photo, twin) for twin in (reencoded, smaller, brighter))
    assert not near(photos[0], cut(photos[0], 0.2, 0.2, 0.2, 0.2))


def test_two_cuts_of_one_photo_that_the_face_search_might_make_are_near(photos: list[np.ndarray]) -> None:
    for photo in photos[::4]:
        assert near(cut(photo, 0.2, 0.1, 0.2, 0.3), cut(photo, 0.21, 0.105, 0.195, 0.295))


def test_a_hash_is_short_text_and_empty_without_structure() -> None:
    text = perceptual_hash(textured(1))
    assert len(text) == prints.LENGTH == 324
    assert text.isascii()
    assert not set('"\\ ') & set(text)
    ramp = np.linspace(0, 255, 128).astype(np.uint8)
    flat = np.full((80, 80, 3), 77, np.uint8)
    gradients = (np.broadcast_to(ramp[:, None, None], (128, 128, 3)), np.broadcast_to(ramp[None, :, None], (128, 128, 3)))
    assert [perceptual_hash(np.ascontiguousarray(image)) for image in (flat, *gradients)] == ["", "", ""]
    with pytest.raises(ValueError, match="not a perceptual hash of this version"):
        prints.pack([text, text[:-1] + "%"])
    with pytest.raises(ValueError, match="not a perceptual hash of this version"):
        prints.pack([text[1:], text + "A"])


@pytest.mark.parametrize("shape", [(64, 64), (97, 130), (511, 600), (1000, 751), (40, 900)])
def test_a_hash_of_any_shape_mirrors_by_its_mask(shape: tuple[int, int]) -> None:
    one, other = (prints.pack([perceptual_hash(image)]) for image in (textured(5, *shape), textured(5, *shape)[:, ::-1].copy()))
    assert int(np.bitwise_count(prints.signs(one) ^ MIRROR ^ prints.signs(other)).sum()) <= 20


def test_the_first_view_is_the_hash_itself_and_the_mean_counts_nowhere() -> None:
    codes = prints.pack([perceptual_hash(textured(seed)) for seed in range(20)])
    views = prints.views(codes)
    assert views.shape == (20, prints.VIEWS, 4)
    assert (views[:, 0] == prints.signs(codes)).all()
    assert not (views >> np.uint64(63))[..., 3].any()
    assert sorted(prints.BITS.tolist()) == list(range(256))


def test_views_do_not_depend_on_what_they_are_worked_out_with() -> None:
    codes = prints.pack([perceptual_hash(textured(seed)) for seed in range(30)])
    assert (prints.views(codes) == np.concatenate([prints.views(each[None]) for each in codes])).all()


def brute_force(held: Prints) -> set[tuple[int, int]]:
    """The definition in the module's first lines, each pair on its own."""
    number, views = range(len(held)), held.views(range(len(held)))[:, :, None]
    near = [np.any(agree(views[i], held.signs) | agree(views[i] ^ MIRROR, held.signs), axis=0).tolist() for i in number]
    return {(i, j) for i in number for j in range(i + 1, len(held)) if near[i][j] or near[j][i]}


@st.composite
def families(draw: st.DrawFn) -> list[str]:
    """Hashes of a few unrelated images and, of each, some with a share of their signs flipped."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = []
    for _ in range(draw(st.integers(1, 4))):
        parent = rng.integers(0, 64, prints.LENGTH).astype(np.uint8)
        for share in draw(st.lists(st.sampled_from([0.0, 0.02, 0.08, 0.14, 0.2]), min_size=1, max_size=4)):
            codes.append(parent ^ ((rng.random(prints.LENGTH) < share).astype(np.uint8) << 5))
    return [bytes(prints._DIGITS[code]).decode() for code in codes]


@settings(max_examples=25, deadline=None)
@given(families())
@pytest.mark.slow
def test_the_fast_search_finds_exactly_what_brute_force_finds(texts: list[str]) -> None:
    held = hold(texts)
    expected = brute_force(held)
    assert found(held) == expected
    rooms = np.arange(len(texts)) // 3
    assert found(held, rooms) == {(i, j) for i, j in expected if rooms[i] != rooms[j]}
    rooms = np.where(np.arange(len(texts)) % 2, -1, np.arange(len(texts)))
    assert found(held, rooms) == {(i, j) for i, j in expected if rooms[i] >= 0 and rooms[j] >= 0}
    others = np.arange(1, len(texts))
    assert set(others[held.near_to(0, others)].tolist()) == {j for i, j in expected if i == 0}
    assert as_set(neighbours(held)) <= expected


def test_many_frames_of_one_scene_are_tied_without_their_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 64, prints.LENGTH).astype(np.uint8)
    stranger = scene ^ ((rng.random(prints.LENGTH) < 0.1).astype(np.uint8) << 5)
    frames = np.concatenate([np.repeat(scene[None], 400, 0), stranger[None]])
    held = hold([bytes(prints._DIGITS[code]).decode() for code in frames])
    asked = []
    without = _Table._without_own_room

    def watched(*args: Any) -> Any:
        asked.append(without(*args))
        return asked[-1]

    monkeypatch.setattr(_Table, "_without_own_room", watched)
    rooms = np.zeros(401, np.int64)
    rooms[400] = 1
    assert found(held, rooms) == {(i, 400) for i in range(400)}
    compared = sum(int(count.sum()) for _, _, count in asked)
    assert compared < 400 * 2 * 6 * prints.VIEWS * 2, "compared: the stranger with all, and not 400 × 400"


def test_distance_and_band_both_count() -> None:
    zero = np.zeros(4, np.uint64)
    assert agree(zero, zero)
    low = (np.uint64(1) << np.uint64(60)) - np.uint64(1)
    far = np.array([0, low >> np.uint64(60 - NEAR_BITS), 0, 0], np.uint64)
    assert agree(far, zero)
    assert not agree(far | np.array([0, 0, 1, 0], np.uint64), zero)
    each_band = sum(np.uint64(1) << np.uint64(20 * band) for band in range(3))
    assert not agree(np.array([each_band, each_band, 0, 0], np.uint64), zero)


def test_hashes_beyond_memory_wait_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [perceptual_hash(textured(seed)) for seed in range(12)]
    held = hold([*texts, texts[3]])
    held._codes.rollover()
    assert found(held) == {(3, 12)}
    held.add(texts[5])
    assert found(held) == {(3, 12), (5, 13)}
    assert len(held) == 14


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_copy_is_found_and_is_no_duplicate(photos: list[np.ndarray], quarters: int) -> None:
    """Turned in a viewer, and saved: it must not be in another split; but which of the two stands right, nobody knows."""
    for photo in photos[:6]:
        turned = np.ascontiguousarray(np.rot90(cut(photo, 0.02, 0, 0.01, 0.03), quarters))
        turned = image_io.decode(image_io.encode_jpeg(turned, 75), "x").rgb8
        assert found(hold([perceptual_hash(photo), perceptual_hash(turned)])) == {(0, 1)}
        assert not near(photo, turned)


def test_turned_portraits_are_near_to_no_other(photos: list[np.ndarray]) -> None:
    texts = [perceptual_hash(np.ascontiguousarray(np.rot90(photo, number % 4))) for number, photo in enumerate(photos)]
    assert found(hold(texts)) == set()

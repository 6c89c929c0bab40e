from __future__ import annotations

import cv2
import numpy as np
import pytest

from dataset_tools import image_io
from dataset_tools.errors import UsageError
from dataset_tools.groups import Member, Place, assign, near_hashes, parse_split, perceptual_hash, split_of
from tests.conftest import textured

SHARES = (80, 10, 10)


def bits(one: str, other: str) -> int:
    return (int(one[:64], 16) ^ int(other[:64], 16)).bit_count()


def member(sha: str, *, key: str | None = None, before: tuple[str, str] | None = None, seed: int | None = None) -> Member:
    return Member(sha, (perceptual_hash(textured(seed)),) if seed is not None else (), key, before)


def test_twins_are_near_and_strangers_are_far(samples) -> None:
    photos = [image_io.read(path).rgb8 for path in samples]
    hashes = [perceptual_hash(photo) for photo in photos]
    assert all(near == {text} for text, near in near_hashes(hashes).items())
    for photo, text in zip(photos[:6], hashes, strict=False):
        reencoded = image_io.decode(image_io.encode_jpeg(photo, 60), "x").rgb8
        smaller = cv2.resize(photo, (300, 300), interpolation=cv2.INTER_AREA)
        brighter = np.clip(photo.astype(int) + 12, 0, 255).astype(np.uint8)
        for twin in (reencoded, smaller, brighter, np.ascontiguousarray(photo[:, ::-1])):
            assert perceptual_hash(twin) in near_hashes([text, perceptual_hash(twin)])[text]


def test_near_hashes_know_no_order_and_no_flat_image() -> None:
    hashes = [perceptual_hash(textured(seed)) for seed in range(40)]
    mirrored = perceptual_hash(np.ascontiguousarray(textured(7)[:, ::-1]))
    near = near_hashes([*hashes, mirrored, *hashes])
    assert near[hashes[7]] == near[mirrored] == {hashes[7], mirrored}
    assert perceptual_hash(np.full((80, 80, 3), 77, np.uint8)) == ""
    assert near_hashes(["", ""]) == {}


def test_blank_photos_do_not_weld_groups_together() -> None:
    members = [Member(name, ("",), None) for name in "abc"]
    assert [place.group for place in assign(members, 0, SHARES)] == ["a", "b", "c"]


def test_twins_of_a_photo_that_was_left_out_stay_together() -> None:
    old = [member("a", key="k", before=("a", "train")), member("b", seed=1, before=("b", "val"))]
    bridge = Member("c", (perceptual_hash(textured(1)), perceptual_hash(textured(2))), "k")
    places = assign([*old, bridge, member("d", seed=2), member("e", seed=2)], 0, SHARES)
    assert places[2] == Place(None, None)
    assert places[3].group == places[4].group == "d"


def test_split_of_is_even_and_stable() -> None:
    splits = [split_of(f"{number:064x}", 0, SHARES) for number in range(5000)]
    assert [splits.count(name) for name in ("train", "val", "test")] == pytest.approx([4000, 500, 500], abs=120)
    assert split_of("a" * 64, 0, SHARES) == split_of("a" * 64, 0, SHARES)
    assert split_of("a", 0, (100, 0, 0)) == "train"


def test_parse_split() -> None:
    assert parse_split("80/10/10") == SHARES
    for text in ("80/10", "80/10/20", "²/49/49", "a/b/c", "-10/100/10", ""):
        with pytest.raises(UsageError, match="three whole shares that add up to 100"):
            parse_split(text)


def test_same_content_same_key_and_near_duplicates_form_one_group() -> None:
    members = [
        member("d", seed=1),
        member("b", key="k", seed=2),
        member("c", key="k", seed=1),
        member("b", seed=9),
        member("a", seed=5),
    ]
    places = assign(members, 0, SHARES)
    assert [place.group for place in places] == ["b", "b", "b", "b", "a"]
    assert len({place.split for place in places[:4]}) == 1


def test_a_later_photo_joins_the_group_that_is_there() -> None:
    places = assign([member("a", key="k"), member("b", key="k", before=("b", "test"))], 0, SHARES)
    assert places == [Place("b", "test"), Place("b", "test")]


def test_a_photo_that_would_bridge_two_splits_is_left_out() -> None:
    old = [member("a", key="k", before=("a", "train")), member("b", seed=1, before=("b", "val"))]
    bridge = member("c", key="k", seed=1)
    assert assign([*old, bridge], 0, SHARES) == [Place("a", "train"), Place("b", "val"), Place(None, None)]
    same_split = [old[0], member("b", seed=1, before=("b", "train"))]
    assert assign([*same_split, bridge], 0, SHARES)[2] == Place("a", "train")


def test_order_of_new_photos_does_not_tie_splits_together() -> None:
    old = [member("a", key="k", before=("a", "train")), member("b", seed=1, before=("b", "val"))]
    chain = [member("c", key="k", seed=2), member("d", seed=2), member("e", key="k", seed=1)]
    places = assign([*chain, *old], 0, SHARES)
    assert places[:3] == [Place("a", "train"), Place("a", "train"), Place(None, None)]


def test_places_of_an_unchanged_archive_stay() -> None:
    members = [member(f"{number:02d}", key=str(number % 5)) for number in range(30)]
    first = assign(members, 3, SHARES)
    again = [Member(m.sha256, m.hashes, m.key, (p.group, p.split)) for m, p in zip(members, first, strict=True)]  # type: ignore[arg-type]
    assert assign(again, 3, SHARES) == first

from __future__ import annotations

import pytest

from dataset_tools.errors import UsageError
from dataset_tools.groups import Member, Photo, Place, assign, duplicates, parse_split, perceptual_hash, split_of
from tests.conftest import textured

SHARES = (80, 10, 10)


def sha(letter: str) -> str:
    return letter * 64


def texture(*seeds: int | None) -> tuple[str, ...]:
    return tuple(perceptual_hash(textured(seed)) for seed in seeds if seed is not None)


def member(letter: str, *, key: str | None = None, before: tuple[str, str] | None = None, seed: int | None = None) -> Member:
    return Member(sha(letter), texture(seed), key, (sha(before[0]), before[1]) if before else None)


def place(letter: str, split: str) -> Place:
    return Place(sha(letter), split)


def groups(members: list[Member]) -> list[str | None]:
    return [each.group and each.group[0] for each in assign(members, 0, SHARES)]


def test_blank_photos_do_not_weld_groups_together() -> None:
    assert groups([Member(sha(name), ("",), None) for name in "abc"]) == ["a", "b", "c"]


def test_no_member_is_no_trouble() -> None:
    assert list(assign([], 0, SHARES)) == []
    assert duplicates([]) == []


def test_what_is_no_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="is no SHA-256"):
        assign([Member("ab", (), None)], 0, SHARES)
    with pytest.raises(ValueError, match="not a perceptual hash"):
        assign([Member(sha("a"), ("ab" * 64,), None)], 0, SHARES)


def test_twins_of_a_photo_that_was_left_out_stay_together() -> None:
    old = [member("a", key="k", before=("a", "train")), member("b", seed=1, before=("b", "val"))]
    bridge = Member(sha("c"), texture(1, 2), "k")
    places = assign([*old, bridge, member("d", seed=2), member("e", seed=2)], 0, SHARES)
    assert places[2] == Place(None, None)
    assert places[3].group == places[4].group == sha("d")


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
    places = assign(iter(members), 0, SHARES)
    assert [place.group[0] for place in places if place.group] == ["b", "b", "b", "b", "a"]
    assert len({place.split for place in places[:4]}) == 1
    assert places[0].split == split_of(sha("b"), 0, SHARES)


def test_a_crop_of_one_photo_ties_it_to_a_photo_that_looks_like_it() -> None:
    members = [Member(sha("a"), texture(1, 2, 3), None), Member(sha("b"), texture(3), None), Member(sha("c"), texture(4), None)]
    assert groups(members) == ["a", "a", "c"]


def test_a_later_photo_joins_the_group_that_is_there() -> None:
    places = assign([member("a", key="k"), member("b", key="k", before=("b", "test"))], 0, SHARES)
    assert list(places) == [place("b", "test"), place("b", "test")]


def test_a_photo_that_would_bridge_two_splits_is_left_out() -> None:
    old = [member("a", key="k", before=("a", "train")), member("b", seed=1, before=("b", "val"))]
    bridge = member("c", key="k", seed=1)
    assert list(assign([*old, bridge], 0, SHARES)) == [place("a", "train"), place("b", "val"), Place(None, None)]
    same_split = [old[0], member("b", seed=1, before=("b", "train"))]
    assert assign([*same_split, bridge], 0, SHARES)[2] == place("a", "train")


def test_order_of_new_photos_does_not_tie_splits_together() -> None:
    old = [member("a", key="k", before=("a", "train")), member("b", seed=1, before=("b", "val"))]
    chain = [member("c", key="k", seed=2), member("d", seed=2), member("e", key="k", seed=1)]
    places = assign([*chain, *old], 0, SHARES)
    assert places[:3] == [place("a", "train"), place("a", "train"), Place(None, None)]


def test_groups_that_are_tied_by_later_photos_keep_their_names() -> None:
    old = [member("b", key="k", before=("b", "val")), member("a", seed=1, before=("a", "val"))]
    places = assign([*old, member("c", key="k", seed=1)], 0, SHARES)
    assert list(places) == [place("b", "val"), place("a", "val"), place("a", "val")]


def test_places_of_an_unchanged_archive_stay() -> None:
    members = [Member(f"{number:064d}", (), str(number % 5)) for number in range(30)]
    first = list(assign(members, 3, SHARES))
    again = [Member(m.sha256, m.hashes, m.key, (p.group, p.split)) for m, p in zip(members, first, strict=True)]  # type: ignore[arg-type]
    assert list(assign(again, 3, SHARES)) == first


def photo(letter: str, seed: int, *quality: int) -> Photo:
    return Photo(sha(letter), texture(seed)[0], quality or (1, 1))


def test_the_best_of_duplicates_is_kept() -> None:
    assert duplicates([photo("a", 1, 5, 9), photo("b", 1, 7, 2), photo("c", 2), photo("d", 1, 7, 1)]) == [1, None, None, 1]
    assert duplicates([photo("a", 1), photo("b", 1), photo("a", 1)]) == [None, 0, 0], "of equals the first"
    assert duplicates([Photo(sha("a"), "", (1,)), Photo(sha("b"), "", (1,)), Photo(sha("a"), "", (2,))]) == [2, None, None]


def test_a_chain_of_duplicates_is_not_dropped_for_a_photo_unlike_its_end() -> None:
    """a ~ b ~ c ~ d, each cut a little further from the same photo; a and d are not near."""
    whole = textured(3, 400, 400)
    chain = [perceptual_hash(whole[:, round(0.05 * step * 400) :]) for step in range(5)]
    photos = [Photo(sha(letter), text, (quality,)) for letter, text, quality in zip("abcde", chain, (9, 1, 2, 1, 3), strict=True)]
    found = duplicates(photos)
    assert found[0] is None
    assert found[4] is None, "far from the best"
    assert found[1] == 0
    assert found[3] == 4
    assert len(set(groups([Member(each.sha256, (each.hash,), None) for each in photos]))) == 1

"""Which photos must never be apart, and the split of each group.

A group is a connected component of: the same content, near-duplicates by perceptual hash (mirrored, turned by
quarters, or cut by up to 5 % a side, too), the same --group-by key. Its key is the smallest SHA-256 in it when it was first
built; its split is a hash of (seed, key).
"""

from __future__ import annotations

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from dataset_tools.errors import UsageError
from dataset_tools.near import Indices, Prints, pairs
from dataset_tools.prints import perceptual_hash
from dataset_tools.ties import SPLITS, Forest, Ledger

__all__ = ["SPLITS", "Member", "Photo", "Place", "assign", "duplicates", "parse_split", "perceptual_hash", "split_of"]


@dataclass(frozen=True)
class Member:
    """A photo with at least one crop that is kept."""

    sha256: str  # 64 hex digits
    hashes: tuple[str, ...]  # perceptual hashes: of the photo and of each of its kept crops
    key: str | None  # of --group-by
    before: tuple[str, str] | None = None  # (group, split) that an earlier build gave it


@dataclass(frozen=True)
class Place:
    """Where a member belongs. Both are None where it would bridge two splits."""

    group: str | None
    split: str | None


@dataclass(frozen=True)
class Photo:
    """A photo that may be a duplicate of another."""

    sha256: str  # 64 hex digits
    hash: str  # perceptual hash of the whole photo
    quality: tuple[int, ...]  # the larger the better: pixels first; as many numbers for every photo


def parse_split(text: str) -> tuple[int, int, int]:
    """ "80/10/10" -> (80, 10, 10): shares of train, val and test that add up to 100. Raises UsageError."""
    parts = text.split("/")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts) or sum(map(int, parts)) != 100:
        raise UsageError(f"--split {text!r}: give three whole shares that add up to 100, such as 80/10/10")
    train, val, test = map(int, parts)
    return train, val, test


def split_of(key: str, seed: int, shares: Sequence[int]) -> str:
    """The split of a group: its key's hash with the seed, as a number in [0, 100), against the shares."""
    number = int.from_bytes(hashlib.sha256(f"split:{seed}:{key}".encode()).digest()[:8], "big") / 2**64 * 100
    if number < shares[0]:
        return "train"
    return "val" if number < shares[0] + shares[1] else "test"


def assign(members: Iterable[Member], seed: int, shares: Sequence[int]) -> Sequence[Place]:
    """The group and split of each member, in the order given (which must be the manifest's, so that builds agree).

    Members that an earlier build placed stay where they are. A new one that joins a group takes its split; one that
    would tie groups of different splits together is given no place, so that no split leaks into another.

    Raises:
        ValueError: a SHA-256 or a perceptual hash is none.
    """
    held = Ledger()
    for member in members:
        held.add(member.sha256, member.hashes, member.key, member.before)
    roots = held.components()
    old = held.split >= 0
    torn = np.zeros(len(held), np.uint8)  # of each component: a bit for each split that a member of it had
    np.bitwise_or.at(torn, roots[old], np.left_shift(1, held.split[old]).astype(np.uint8))
    disputed = np.bitwise_count(torn)[roots] > 1
    if disputed.any():
        roots[disputed] = _settle(held, disputed)
    held.hashes = Prints()  # they have served
    return _Places(held, _namers(held, roots), seed, shares)


def _settle(held: Ledger, disputed: NDArray[np.bool_]) -> Indices:
    """The component of each disputed member, taken one after another, placed ones first; -1 for one that would bridge splits."""
    items = np.flatnonzero(disputed)
    ties: dict[int, set[int]] = defaultdict(set)  # by hash
    for one, other in pairs(held.hashes, np.where(disputed[held.owner], np.arange(len(held.owner)), -1)):
        for a, b in set(zip(held.owner[one].tolist(), held.owner[other].tolist(), strict=True)):
            ties[a].add(b)
            ties[b].add(a)
    forest = Forest(len(held))
    splits = {item: {int(held.split[item])} - {-1} for item in items.tolist()}  # of the component whose root it is
    holders: dict[tuple[str, bytes], set[int]] = defaultdict(set)  # who has a content, a key, a group
    placed = set[int]()
    for item in sorted(items.tolist(), key=lambda item: held.split[item] < 0):
        own = [("content", held.sha[item].tobytes())]
        own += [("key", held.key[item].tobytes())] if held.key[item] else []
        own += [("group", held.group[item].tobytes())] if held.split[item] >= 0 else []
        linked = {forest.find(other) for tie in own for other in holders[tie]} | {forest.find(o) for o in ties[item] & placed}
        if held.split[item] >= 0:  # it stays; it is tied only to what shares its split already
            linked = {root for root in linked if splits[root] <= splits[item]}
        elif len(set[int]().union(*(splits[root] for root in linked))) > 1:
            continue
        for root in linked:
            together = splits[forest.find(item)] | splits[root]
            forest.join(np.array([root]), np.array([item]))
            splits[forest.find(item)] = together
        placed.add(item)
        for tie in own:
            holders[tie].add(item)
    return np.array([forest.find(item) if item in placed else -1 for item in items.tolist()], np.int64)


class _Places(Sequence[Place]):
    """The place of each member, worked out where it is asked for: 4 bytes a member beside the ledger."""

    def __init__(self, held: Ledger, namer: NDArray[np.int32], seed: int, shares: Sequence[int]):
        """namer: (N,) the member whose group each member is in; -1: none."""
        self._held, self._namer, self._seed, self._shares = held, namer, seed, shares

    def __len__(self) -> int:
        return len(self._namer)

    @overload
    def __getitem__(self, index: int) -> Place: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Place]: ...
    def __getitem__(self, index: int | slice) -> Place | Sequence[Place]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        namer = int(self._namer[index])
        if namer < 0:
            return Place(None, None)
        split = int(self._held.split[namer])
        if split >= 0:
            return Place(self._held.group[namer].tobytes().hex(), SPLITS[split])
        key = self._held.sha[namer].tobytes().hex()
        return Place(key, split_of(key, self._seed, self._shares))


def _namers(held: Ledger, roots: Indices) -> NDArray[np.int32]:
    """(N,) the member that names the group of each: one that had the smallest group, or else the one of the smallest SHA-256.

    A member that had a group names its own.
    """
    old = held.split >= 0
    order = np.lexsort((*held.sha.T[::-1], *held.group.T[::-1], ~old, roots))
    first = np.ones(len(order), bool)
    first[1:] = roots[order[1:]] != roots[order[:-1]]
    namer = np.full(len(held), -1, np.int32)
    namer[roots[order[first]]] = order[first]  # of each component, at its root
    namer = np.where(roots >= 0, namer[roots], -1)
    return np.where(old, np.arange(len(held)), namer).astype(np.int32)


def duplicates(photos: Iterable[Photo]) -> list[int | None]:
    """For each photo the index of the better one that it duplicates; None for those to keep.

    Photos are duplicates where their content is the same or their hashes are near. The best photo is kept first (the highest
    quality, the earlier of equals), and what duplicates it is dropped; then the best of what is left. So no photo is dropped for
    the sake of one that it is not itself a duplicate of.

    Raises:
        ValueError: a SHA-256 or a perceptual hash is none.
    """
    held, quality = Ledger(), list[tuple[int, ...]]()
    number = array("i")  # of the hash of each photo; -1: none
    for photo in photos:
        held.add(photo.sha256, (photo.hash,))
        quality.append(photo.quality)
        number.append(len(held.hashes) - 1 if photo.hash else -1)
    roots, hashes = held.components(), np.frombuffer(number, np.int32).astype(np.int64)
    kept_instead: list[int | None] = [None] * len(quality)
    order = np.argsort(roots, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(roots[order])) + 1):
        left = np.array(sorted(group.tolist(), key=lambda index: quality[index], reverse=True), np.int64)  # stable: earlier first
        while len(left) > 1:
            best, left = int(left[0]), left[1:]
            same = (held.sha[left] == held.sha[best]).all(1)
            if hashes[best] >= 0:
                hashed = np.flatnonzero(hashes[left] >= 0)
                same[hashed] |= held.hashes.near_to(int(hashes[best]), hashes[left[hashed]])
            for index in left[same].tolist():
                kept_instead[index] = best
            left = left[~same]
    return kept_instead

"""Which photos must never be apart, and the split of each group.

A group is a connected component of: the same content, near-duplicates by perceptual hash (mirrored too), the same
--group-by key. Its key is the smallest SHA-256 in it when it was first built; its split is a hash of (seed, key).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import imagehash
import numpy as np
from PIL import Image

from dataset_tools.errors import UsageError

SPLITS = ("train", "val", "test")

# Bits of 256 that near-duplicates may differ in. On 1,670 portraits re-encoded twins differ by 0 to 20, and no two other
# photos by fewer than 66.
NEAR_BITS = 40
FLAT = 2.0  # grey levels: an image of less deviation has no structure that a hash could hold


def perceptual_hash(rgb: np.ndarray) -> str:
    """256-bit DCT hash (pHash, Zauner 2010) of an image and of its mirror image, as 2 × 64 hex digits.

    "" for an image of nearly one colour: its hash would be noise, and all such images would look alike.

    Args:
        rgb: (H, W, 3) uint8.
    """
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (64, 64), interpolation=cv2.INTER_AREA)
    if small.std() < FLAT:
        return ""
    return "".join(str(imagehash.phash(Image.fromarray(view), hash_size=16)) for view in (small, np.fliplr(small).copy()))


def near_hashes(hashes: Iterable[str]) -> dict[str, set[str]]:
    """For each hash those that differ from it in at most NEAR_BITS bits, one of the two mirrored or not; itself among them."""
    unique = sorted(set(hashes) - {""})
    near: dict[str, set[str]] = {text: {text} for text in unique}
    if not unique:
        return near
    words = np.frombuffer(bytes.fromhex("".join(unique)), dtype=">u8").astype(np.uint64).reshape(len(unique), 2, 4)
    plain = words[:, 0]
    step = max(1, 4_000_000 // len(unique))  # rows a block, so that a block needs some 100 MB
    for start in range(0, len(unique), step):
        rows = words[start : start + step]
        best = np.minimum(*(np.bitwise_count(rows[:, side, None] ^ plain[None]).sum(-1, dtype=np.uint16) for side in (0, 1)))
        for i, j in np.argwhere(best <= NEAR_BITS):
            near[unique[start + i]].add(unique[j])
            near[unique[j]].add(unique[start + i])
    return near


@dataclass(frozen=True)
class Member:
    """A photo with at least one crop that is kept."""

    sha256: str
    hashes: tuple[str, ...]  # perceptual hashes: of the photo and of each of its kept crops
    key: str | None  # of --group-by
    before: tuple[str, str] | None = None  # (group, split) that an earlier build gave it


@dataclass(frozen=True)
class Place:
    """Where a member belongs. Both are None where it would bridge two splits."""

    group: str | None
    split: str | None


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


class _Components:
    """Union-find over the members, with what is known of each component at its root."""

    def __init__(self, members: Sequence[Member]):
        self.parent = list(range(len(members)))
        self.smallest = [member.sha256 for member in members]
        self.before = [{member.before} if member.before else set() for member in members]

    def find(self, item: int) -> int:
        while self.parent[item] != item:
            self.parent[item] = self.parent[self.parent[item]]
            item = self.parent[item]
        return item

    def union(self, one: int, other: int) -> None:
        one, other = self.find(one), self.find(other)
        if one != other:
            self.parent[other] = one
            self.smallest[one] = min(self.smallest[one], self.smallest[other])
            self.before[one] |= self.before[other]


def assign(members: Sequence[Member], seed: int, shares: Sequence[int]) -> list[Place]:
    """The group and split of each member, in the order given (which must be the manifest's, so that builds agree).

    Members that an earlier build placed stay where they are. A new one that joins a group takes its split; one that
    would tie groups of different splits together is given no place, so that no split leaks into another.
    """
    components = _Components(members)
    near = near_hashes(text for member in members for text in member.hashes)
    holders: dict[tuple[str, str], set[int]] = {}  # what placed members have -> the roots of their components
    placed: set[int] = set()

    def own(member: Member) -> list[tuple[str, str]]:
        ties = [("content", member.sha256), *(("hash", text) for text in member.hashes if text)]
        ties += [("key", member.key)] if member.key is not None else []
        return ties + ([("before", member.before[0])] if member.before else [])

    order = sorted(range(len(members)), key=lambda index: members[index].before is None)  # stable: placed ones first
    for index in order:
        member = members[index]
        ties = own(member) + [("hash", other) for text in member.hashes if text for other in near[text]]
        linked = {components.find(root) for tie in ties for root in holders.get(tie, ())}
        splits = {before[1] for root in linked for before in components.before[root]}
        if member.before:  # it stays; it is tied only to what shares its split already
            linked = {root for root in linked if {b[1] for b in components.before[root]} <= {member.before[1]}}
        elif len(splits) > 1:
            continue
        for root in linked:
            components.union(root, index)
        placed.add(index)
        for tie in own(member):
            holders.setdefault(tie, set()).add(components.find(index))
    return [
        _place(member, index, components, seed, shares) if index in placed else Place(None, None)
        for index, member in enumerate(members)
    ]


def _place(member: Member, index: int, components: _Components, seed: int, shares: Sequence[int]) -> Place:
    if member.before:
        return Place(*member.before)
    root = components.find(index)
    if components.before[root]:
        return Place(*min(components.before[root]))
    key = components.smallest[root]
    return Place(key, split_of(key, seed, shares))


def as_old(rows: Sequence[Mapping[str, object]]) -> dict[tuple[str, str], tuple[str, str]]:
    """(source, sha256) -> (group, split) of the photos that an earlier manifest placed."""
    return {
        (str(row["source"]), str(row["sha256"])): (str(row["group"]), str(row["split"]))
        for row in rows
        if row["kind"] == "photo" and row["group"]
    }

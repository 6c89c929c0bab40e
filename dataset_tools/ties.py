"""What ties photos together, of very many photos in little memory: equal content, near hashes, equal keys, an old group."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dataset_tools.near import Indices, Prints, neighbours, pairs

SPLITS = ("train", "val", "test")


class Forest:
    """Union-find over N members, 4 bytes each."""

    def __init__(self, size: int):
        self.parent = array("I", range(size))

    def find(self, item: int) -> int:
        parent = self.parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, ones: NDArray[np.integer], others: NDArray[np.integer]) -> None:
        """Ties ones[k] to others[k]. The smaller root stays, so that no order matters."""
        for one, other in zip(ones.tolist(), others.tolist(), strict=True):
            one, other = self.find(one), self.find(other)
            if one != other:
                self.parent[max(one, other)] = min(one, other)

    def join_equal(self, values: NDArray[np.uint64], items: Indices) -> None:
        """Ties items[k] to items[l] where the rows k and l of values (N, M) are equal."""
        order = np.lexsort(values.T)
        same = (values[order[1:]] == values[order[:-1]]).all(1)
        self.join(items[order[1:][same]], items[order[:-1][same]])

    def roots(self) -> Indices:
        """(N,) the root of each member."""
        roots = np.frombuffer(self.parent, np.uint32)
        while (roots[roots] != roots).any():
            roots = roots[roots]
        return roots.astype(np.int64)


class Ledger:
    """What decides the groups of many members, in numbers: 80 bytes a member, and its hashes."""

    def __init__(self) -> None:
        self._sha, self._group = bytearray(), bytearray()
        self._key = array("Q")  # 64 bits of the key's hash; 0: none
        self._split = array("b")  # index in SPLITS that an earlier build gave; -1: none
        self._owner = array("I")  # of each hash
        self.hashes = Prints()

    def __len__(self) -> int:
        return len(self._split)

    def add(self, sha256: str, hashes: Iterable[str], key: str | None = None, before: tuple[str, str] | None = None) -> None:
        self._sha += _raw(sha256)
        self._key.append(0 if key is None else 1 | int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))
        self._group += _raw(before[0]) if before else bytes(32)
        self._split.append(SPLITS.index(before[1]) if before else -1)
        for text in dict.fromkeys(hashes):
            if text:
                self.hashes.add(text)
                self._owner.append(len(self) - 1)

    @property
    def sha(self) -> NDArray[np.uint64]:
        """(N, 4): the SHA-256 of each member; rows compare as the hex digits do."""
        return np.frombuffer(self._sha, ">u8").reshape(-1, 4)

    @property
    def group(self) -> NDArray[np.uint64]:
        """(N, 4): the group each member had."""
        return np.frombuffer(self._group, ">u8").reshape(-1, 4)

    @property
    def split(self) -> NDArray[np.int8]:
        return np.frombuffer(self._split, np.int8)

    @property
    def key(self) -> NDArray[np.uint64]:
        return np.frombuffer(self._key, np.uint64)

    @property
    def owner(self) -> NDArray[np.uint32]:
        return np.frombuffer(self._owner, np.uint32)

    def components(self) -> Indices:
        """(N,) the component of each member, as one of its members."""
        forest = Forest(len(self))
        forest.join_equal(self.sha, np.arange(len(self)))
        keyed, placed = np.flatnonzero(self.key), np.flatnonzero(self.split >= 0)
        forest.join_equal(self.key[keyed, None], keyed)
        forest.join_equal(self.group[placed], placed)
        for one, other in neighbours(self.hashes):
            forest.join(self.owner[one], self.owner[other])
        for one, other in pairs(self.hashes, forest.roots()[self.owner]):
            forest.join(self.owner[one], self.owner[other])
        return forest.roots()


def _raw(text: str) -> bytes:
    """The 32 bytes of 64 hex digits."""
    raw = bytes.fromhex(text)
    if len(raw) != 32:
        raise ValueError(f"{text!r} is no SHA-256")
    return raw

"""Which of many perceptual hashes are near: fast, in bounded memory, and the same whatever the order.

Two hashes are near where, for one of them and one of the 49 views of the other, mirrored or turned by quarters or not, at most
NEAR_BITS of 255 signs differ and all 20 signs of one of six bands agree. The bands are what makes the search fast: hashes are
looked up by them, in six tables, and only what agrees in one is compared in full.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from dataset_tools import prints

# Measured on 1,670 portraits: their cuts by up to 5 % a side differ in 33 signs or fewer (99 %) and 42 at most, photos of
# different scenes in 59 or more. With the bands, 99.5 % or more of such cuts are found, and all copies without a cut.
NEAR_BITS = 40
BANDS = 6
BAND_BITS = 20
AT_ONCE = 256  # hashes whose views are looked up together: 50 KB each
COMPARED = 2_000_000  # pairs that are compared together: 100 bytes each

Words = NDArray[np.uint64]  # (..., 4): 255 signs
# (with rows and columns exchanged?, what is done then): as it is, mirrored, turned by 180, 90 and 270 degrees
ALIKE = ((False, np.uint64(0)), (False, prints.MIRROR))
TURNED = ((False, prints.MIRROR ^ prints.FLIP), (True, prints.MIRROR), (True, prints.FLIP))
Indices = NDArray[np.int64]


def agree(views: Words, full: Words) -> NDArray[np.bool_]:
    """Whether views (..., 4) and hashes (..., 4) are near, mirror images aside; the leading axes are broadcast."""
    apart = views ^ full
    shared = np.zeros(apart.shape[:-1], bool)
    for band in range(BANDS):
        shared |= _band(apart, band) == 0
    near: NDArray[np.bool_] = shared & (np.bitwise_count(apart).sum(-1, dtype=np.uint16) <= NEAR_BITS)
    return near


def _band(words: Words, band: int) -> Indices:
    """The 20 signs of a band of (..., 4) as a number."""
    return ((words[..., band // 3] >> np.uint64(band % 3 * BAND_BITS)) & np.uint64((1 << BAND_BITS) - 1)).astype(np.int64)


class Prints:
    """Perceptual hashes, numbered as they come: 32 bytes each in memory; beyond 32 MB the rest waits in a temporary file."""

    def __init__(self) -> None:
        self._codes = tempfile.SpooledTemporaryFile(max_size=32 << 20)  # noqa: SIM115 (closed with the object)
        self._signs = array("Q")

    def __del__(self) -> None:
        self._codes.close()  # or Python warns of a file left open

    def __len__(self) -> int:
        return len(self._signs) // 4

    def add(self, text: str) -> None:
        """Raises ValueError for what is no hash, the empty one included."""
        codes = prints.pack([text])
        self._codes.write(codes.tobytes())
        self._signs.frombytes(prints.signs(codes).tobytes())

    @property
    def signs(self) -> Words:
        """(N, 4), a view of what is held."""
        return np.frombuffer(self._signs, np.uint64).reshape(-1, 4)

    def views(self, wanted: Iterable[int], exchanged: bool = False) -> Words:
        """(M, 49, 4): the views of those hashes; `exchanged`: of the images with rows and columns exchanged."""
        raw = bytearray()
        for number in wanted:
            self._codes.seek(number * prints.LENGTH)
            raw += self._codes.read(prints.LENGTH)
        self._codes.seek(0, 2)
        codes = np.frombuffer(raw, np.uint8).reshape(-1, prints.LENGTH)
        return prints.views(prints.transposed(codes) if exchanged else codes)

    def near_to(self, one: int, others: Indices) -> NDArray[np.bool_]:
        """Whether each of `others` (M,) is near to hash `one`, mirrored or not, but not turned."""
        near = np.zeros(len(others), bool)
        ours, full = self.views([one])[0], self.signs[one]
        for start in range(0, len(others), AT_ONCE):
            part = others[start : start + AT_ONCE]
            theirs, fulls = self.views(part.tolist()), self.signs[part][:, None]
            for _, mirror in ALIKE:
                near[start : start + AT_ONCE] |= (agree(theirs ^ mirror, full) | agree(ours ^ mirror, fulls)).any(1)
        return near


def pairs(held: Prints, rooms: Indices | None = None) -> Iterator[tuple[Indices, Indices]]:
    """The pairs (i, j), i != j, of near hashes, in arrays; a pair may come several times and both ways round.

    Args:
        held: N hashes.
        rooms: (N,) what is known to belong together: pairs of one room are left out, which keeps an archive of 100,000 frames of
            one scene from giving 10,000,000,000 pairs. What has a room below 0 is left out altogether.
    """
    rooms = np.arange(len(held)) if rooms is None else rooms
    tables = [_Table(held.signs, band, rooms) for band in range(BANDS)]
    for start in range(0, len(held), AT_ONCE):
        asked = start + np.flatnonzero(rooms[start : start + AT_ONCE] >= 0)
        if not len(asked):
            continue
        views = [held.views(asked.tolist(), exchanged).reshape(-1, 4) for exchanged in (False, True)]
        owner = np.repeat(asked, prints.VIEWS)
        for exchanged, change in (*ALIKE, *TURNED):
            for table in tables:
                yield from table.near(views[exchanged] ^ change, owner)


def neighbours(held: Prints) -> Iterator[tuple[Indices, Indices]]:
    """Some of the near pairs, at little cost: those that stand beside each other where the hashes are sorted by a band.

    Equal hashes, and most of the frames of one scene, are tied together by these alone.
    """
    signs = held.signs
    for band in range(BANDS):
        order = np.lexsort((*signs.T, _band(signs, band)))
        for start in range(0, len(order) - 1, COMPARED):
            left, right = order[start : start + COMPARED], order[start + 1 : start + 1 + COMPARED]
            left = left[: len(right)]
            near = agree(signs[left], signs[right])
            yield left[near], right[near]


class _Table:
    """Where the hashes with given signs in one band are: found by as many of the 20 signs as fit the number of hashes."""

    def __init__(self, signs: Words, band: int, rooms: Indices):
        self.signs, self.band, self.rooms = signs, band, rooms
        used = min(BAND_BITS, max(8, len(signs).bit_length() + 2))
        self.unused = BAND_BITS - used
        key = _band(signs, band) >> self.unused
        order = np.lexsort((rooms, key))
        self.order = order[rooms[order] >= 0].astype(np.uint32)
        self.starts = np.zeros((1 << used) + 1, np.uint32)
        self.starts[1:] = np.cumsum(np.bincount(key[rooms >= 0], minlength=1 << used))

    def near(self, views: Words, owner: Indices) -> Iterator[tuple[Indices, Indices]]:
        """(owner, hash) of each of the (M, 4) views and each hash of another room that agrees with it."""
        key = _band(views, self.band) >> self.unused
        first, count = self.starts[key].astype(np.int64), self.starts[key + 1].astype(np.int64)
        count -= first
        ask = np.flatnonzero(count)
        ask, first, count = self._without_own_room(ask, first[ask], count[ask], owner)
        total = np.cumsum(count)
        at = 0
        while at < len(ask):
            stop = max(at + 1, int(np.searchsorted(total, (total[at - 1] if at else 0) + COMPARED, "right")))
            part = count[at:stop]
            query = np.repeat(ask[at:stop], part)
            step = np.arange(part.sum()) - np.repeat(np.cumsum(part) - part, part)
            found = self.order[np.repeat(first[at:stop], part) + step].astype(np.int64)
            apart = np.bitwise_count(views[query] ^ self.signs[found]).sum(-1, dtype=np.uint16)
            keep = (apart <= NEAR_BITS) & (self.rooms[owner[query]] != self.rooms[found])
            query, found = query[keep], found[keep]
            whole = _band(views[query], self.band) == _band(self.signs[found], self.band)
            if whole.any():
                yield owner[query[whole]], found[whole]
            at = stop

    def _without_own_room(self, ask: Indices, first: Indices, count: Indices, owner: Indices) -> tuple[Indices, Indices, Indices]:
        """The same questions without the hashes of the asker's room, which stand together within a key; few are not worth it."""
        many = np.flatnonzero(count > 32)
        many = many[np.argsort(first[many], kind="stable")]
        few = count <= 32
        parts = [(ask[few], first[few], count[few])]
        for here in np.split(many, np.flatnonzero(np.diff(first[many])) + 1) if len(many) else ():
            start, size = first[here[0]], count[here[0]]
            rooms, own = self.rooms[self.order[start : start + size]], self.rooms[owner[ask[here]]]
            low, high = np.searchsorted(rooms, own, "left"), np.searchsorted(rooms, own, "right")
            parts += [(ask[here], first[here], low), (ask[here], first[here] + high, size - high)]
        ask, first, count = (np.concatenate(each) for each in zip(*parts, strict=True))
        some = count > 0
        return ask[some], first[some], count[some]

"""What the rows of a manifest say together: counts, histograms and a few rows of each kind. One pass, nothing held that grows
with a row but the sizes of the groups."""

from __future__ import annotations

import hashlib
import heapq
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from dataset_tools.manifest import Row, Tally

SAMPLES = 24  # rows held of each (kind, status, reason)
FAILED = 200  # failed photos held
FACE_EDGES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)  # pixels of the source
ENLARGEMENT_EDGES = (0.125, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0)  # source -> crop
WORDS = 12  # values held of a parameter that is text

Key = tuple[str, str, str | None]  # kind, status, reason


class Histogram:
    """Kept and rejected per bin. Bin i holds edges[i-1] <= value < edges[i]; the first and the last are open."""

    def __init__(self, edges: tuple[float, ...]):
        self.edges = edges
        self.counts: dict[str, list[int]] = {status: [0] * (len(edges) + 1) for status in ("kept", "rejected")}

    def add(self, status: str, value: float) -> None:
        if math.isfinite(value) and status in self.counts:
            self.counts[status][bisect_right(self.edges, value)] += 1

    @property
    def total(self) -> int:
        return sum(map(sum, self.counts.values()))

    def bins(self) -> list[tuple[str, int, int]]:
        """(label, kept, rejected) from the first to the last bin that holds anything."""
        kept, rejected = self.counts["kept"], self.counts["rejected"]
        used = [index for index in range(len(kept)) if kept[index] or rejected[index]]
        return [(self._label(index), kept[index], rejected[index]) for index in range(used[0], used[-1] + 1)] if used else []

    def _label(self, index: int) -> str:
        if index == 0:
            return f"below {self.edges[0]:g}"
        if index == len(self.edges):
            return f"{self.edges[-1]:g} or more"
        return f"{self.edges[index - 1]:g} to {self.edges[index]:g}"


class Sample:
    """The rows of the smallest hashes of (source, crop): the same ones whatever the order, and mostly the same ones when more
    rows come."""

    def __init__(self, size: int = SAMPLES):
        self.size = size
        self._heap: list[tuple[int, str, int, Row]] = []  # the largest hash first

    def add(self, row: Row) -> None:
        source, face = row["source"], row.get("face", -1)
        number = int.from_bytes(hashlib.blake2b(f"{source}\0{face}".encode("utf-8", "surrogateescape"), digest_size=8).digest())
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, (-number, source, face, dict(row)))
        elif -number > self._heap[0][0]:
            heapq.heapreplace(self._heap, (-number, source, face, dict(row)))

    def rows(self) -> list[Row]:
        """Smallest hash first."""
        return [entry[-1] for entry in sorted(self._heap, key=lambda entry: (-entry[0], entry[1], entry[2]))]


class Drawn:
    """How often each degradation was applied to a kept crop, and the range of each of its parameters."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()
        self.ranges: dict[str, dict[str, tuple[float, float]]] = {}
        self.words: dict[str, dict[str, Counter[str]]] = {}

    def add(self, records: Iterable[Row]) -> None:
        for record in records:
            name = str(record["name"])
            self.times[name] += 1
            for key, value in record.items():
                if key == "seed":
                    continue
                if isinstance(value, bool | str) and key != "name":
                    words = self.words.setdefault(name, {}).setdefault(key, Counter())
                    if str(value) in words or len(words) < WORDS:
                        words[str(value)] += 1
                elif isinstance(value, int | float):
                    ranges = self.ranges.setdefault(name, {})
                    low, high = ranges.get(key, (value, value))
                    ranges[key] = (min(low, value), max(high, value))

    def told(self, name: str) -> str:
        """The parameters of one degradation in words, such as "block 8 to 24, phase_x 0"."""
        parts = [
            f"{key} {low:.6g}" if low == high else f"{key} {low:.6g} to {high:.6g}"
            for key, (low, high) in sorted(self.ranges.get(name, {}).items())
        ]
        for key, words in sorted(self.words.get(name, {}).items()):
            parts.append(f"{key} {', '.join(f'{word} ({number:,} times)' for word, number in sorted(words.items()))}")
        return ", ".join(parts)


class Summary:
    """Fed once with each row, in the manifest's order.

    Attributes:
        tally: the counts that add up.
        reasons: (kind, status, reason) -> rows.
        samples: (kind, status, reason) -> at most SAMPLES rows, for kept ones too (reason None).
        failed: the first FAILED rows of failed photos.
        face_size, enlargement: histograms over the crops: the box's longer side in source pixels; source -> crop.
        group_sizes: the first 64 bits of a group's key -> its photos.
        drawn: the degradations of the kept crops.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self.reasons: Counter[Key] = Counter()
        self.samples: dict[Key, Sample] = {}
        self.failed: list[Row] = []
        self.face_size, self.enlargement = Histogram(FACE_EDGES), Histogram(ENLARGEMENT_EDGES)
        self.group_sizes: Counter[int] = Counter()
        self.drawn = Drawn()

    def add(self, row: Row) -> None:
        key = (row["kind"], row["status"], row["reason"])
        self.tally.add(row)
        self.reasons[key] += 1
        self.samples.setdefault(key, Sample()).add(row)
        if row["kind"] == "photo":
            if row["status"] == "failed" and len(self.failed) < FAILED:
                self.failed.append(dict(row))
            if row["group"]:
                self.group_sizes[group_number(row)] += 1
            return
        if row.get("box"):
            self.face_size.add(row["status"], face_pixels(row))
        if row.get("affine"):
            self.enlargement.add(row["status"], scale_of(row["affine"]))
        if row["status"] == "kept":
            self.drawn.add(row["degradations"])

    def kept_pairs(self) -> list[Row]:
        """The sample of the kept crops."""
        return [row for key, sample in self.samples.items() if key[0] != "photo" and key[1] == "kept" for row in sample.rows()]

    def why(self, *statuses: str) -> Iterator[tuple[Key, int]]:
        """(kind, status, reason) and count of what has a reason, photos before crops, the largest count first."""
        found = [(key, number) for key, number in self.reasons.items() if key[2] and key[1] in statuses]
        yield from sorted(found, key=lambda each: (each[0][0] != "photo", -each[1], each[0][0], str(each[0][2])))


def group_number(row: Row) -> int:
    """64 bits of a group's key tell groups apart."""
    return int(row["group"][:16], 16)


def face_pixels(row: Row) -> float:
    """The longer side of a face's box, in pixels of the source."""
    return float(max(row["box"][2:4]))


def scale_of(affine: Any) -> float:
    """How much a (2, 3) affine source -> crop enlarges: the square root of its determinant; above 1 pixels are made up."""
    (a, b, _), (c, d, _) = affine
    return math.sqrt(abs(a * d - b * c))

"""IPTC data as JPEGs have it (IIM 4.2, in Adobe's image resources), with its words for a place emptied where they stand."""

from __future__ import annotations

import struct

PHOTOSHOP = b"Photoshop 3.0\0"
RESOURCE, IIM = b"8BIM", 0x0404
# Of record 2: location code and name, city, part of the city, state, code and name of the country
PLACES = {26, 27, 90, 92, 95, 100, 101}


def without_location(segment: bytes) -> bytes:
    """An APP13 segment of a JPEG, as long as before: what says where the photo was taken is blanks. What is broken stays."""
    made, at = bytearray(segment), segment.find(PHOTOSHOP) + len(PHOTOSHOP)
    if at < len(PHOTOSHOP):
        return segment
    while segment[at : at + 4] == RESOURCE and at + 8 <= len(segment):
        (kind,) = struct.unpack_from(">H", segment, at + 4)
        at += 6 + (segment[at + 6] + 2) // 2 * 2  # a name of Pascal's kind, made even
        if at + 4 > len(segment):
            break
        (size,) = struct.unpack_from(">I", segment, at)
        at += 4
        if kind == IIM:
            _empty(made, at, min(at + size, len(segment)))
        at += size + size % 2
    return bytes(made)


def _empty(made: bytearray, at: int, end: int) -> None:
    """Blanks in place of the PLACES of the data sets from `at` to `end`."""
    while at + 5 <= end and made[at] == 0x1C:
        record, kind, size = struct.unpack_from(">BBH", made, at + 1)
        at += 5
        if size & 0x8000:  # longer than any place: the size of the size
            return
        if record == 2 and kind in PLACES:
            made[at : min(at + size, end)] = b" " * (min(at + size, end) - at)
        at += size

"""EXIF edited in place: a maker's notes point into it by byte positions, which writing it anew would break.

The structure is that of TIFF 6.0 (section 2) and of EXIF 2.32: directories of 12-byte entries, values behind offsets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

ORIENTATION, GPS, THUMBNAIL, THUMBNAIL_BYTES = 0x0112, 0x8825, 0x0201, 0x0202
PREFIX = b"Exif\0\0"  # of JPEG; PNG and WEBP hold EXIF without it
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of a value, by its type
_MOST_ENTRIES = 4096


@dataclass(frozen=True)
class _Entry:
    tag: int
    at: int  # of the entry
    place: int  # of its value
    length: int  # bytes of its value


def edited(exif: bytes, *, upright: bool, gps: bool) -> bytes | None:
    """`exif`, with or without the prefix that JPEG puts before it, without its thumbnail, which shows the photo as it was.

    Args:
        upright: set the orientation to 1.
        gps: keep the location; else it is emptied, and its bytes are zeros.

    Returns:
        EXIF without the prefix; None where it is broken, so that nobody could tell what is in it.
    """
    data = bytearray(exif.removeprefix(PREFIX))
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(data[:2])]
        (first,) = struct.unpack_from(order + "I", data, 4)
        main = list(_entries(data, order, first))
        after = first + 2 + 12 * len(main)
        (second,) = struct.unpack_from(order + "I", data, after)
        if second:
            _empty(data, order, second)
            struct.pack_into(order + "I", data, after, 0)
        for entry in main:
            if entry.tag == ORIENTATION and upright:
                struct.pack_into(order + "HHIHH", data, entry.at, ORIENTATION, 3, 1, 1, 0)
            if entry.tag == GPS and not gps:
                _empty(data, order, *struct.unpack_from(order + "I", data, entry.at + 8))
    except (struct.error, KeyError, ValueError):
        return None
    return bytes(data)


def has_location(exif: bytes) -> bool:
    """Whether `exif`, or the file of a TIFF, tells a location; True where it is broken, so that nobody could tell."""
    data = bytearray(exif.removeprefix(PREFIX))
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(data[:2])]
        (first,) = struct.unpack_from(order + "I", data, 4)
        places = [
            struct.unpack_from(order + "I", data, entry.at + 8)[0] for entry in _entries(data, order, first) if entry.tag == GPS
        ]
        return any(next(_entries(data, order, place), None) is not None for place in places)
    except (struct.error, KeyError, ValueError):
        return True


def _entries(data: bytearray, order: str, at: int) -> Iterator[_Entry]:
    """The entries of the directory at `at`."""
    (count,) = struct.unpack_from(order + "H", data, at)
    if count > _MOST_ENTRIES or at + 2 + 12 * count + 4 > len(data):
        raise ValueError("the directory is longer than the data")
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
        length, place = _SIZES.get(kind, 1) * number, entry + 8
        if length > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        yield _Entry(tag, entry, place, length)


def _empty(data: bytearray, order: str, at: int) -> None:
    """Leaves a directory without entries, and zeros where its values were, the picture of a thumbnail among them."""
    entries = list(_entries(data, order, at))
    values = {each.tag: struct.unpack_from(order + "I", data, each.place)[0] for each in entries if each.length == 4}
    stretches = [(each.place, each.length) for each in entries]
    if THUMBNAIL in values and THUMBNAIL_BYTES in values:
        stretches.append((values[THUMBNAIL], values[THUMBNAIL_BYTES]))
    for place, length in stretches:
        stop = min(place + length, len(data))
        data[place:stop] = bytes(max(0, stop - place))
    data[at + 2 : at + 2 + 12 * len(entries)] = bytes(12 * len(entries))
    struct.pack_into(order + "H", data, at, 0)

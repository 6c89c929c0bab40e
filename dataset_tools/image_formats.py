"""The formats as bytes: what a file begins like, and where its own format says that it ends. Decodes nothing."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif")
)
# Images that are not read, of formats whose content does not tell them from other files
UNREAD_SUFFIXES = frozenset((".tga", ".pcx", ".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".sgi", ".dds", ".icns", ".dng", ".svg"))
APPLE_DOUBLE = b"\x00\x05\x16\x07"  # how the ._NAME begins that macOS leaves beside a file on other disks
PNG_XMP = b"XML:com.adobe.xmp"  # keyword of the iTXt chunk that holds an XMP packet
APP0, APP1, APP13 = 0xE0, 0xE1, 0xED  # segments of a JPEG: JFIF; EXIF and XMP; Photoshop's, which holds IPTC
HEAD_BYTES = 64  # enough for `sniff`

_BEGINNINGS = re.compile(
    rb"""(?P<JPEG>\xff\xd8\xff) | (?P<PNG>\x89PNG\r\n\x1a\n) | (?P<GIF>GIF8[79]a) | (?P<WEBP>RIFF....WEBPVP8)
    | (?P<BMP>BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0) | (?P<TIFF>(?!.{8}CR\x02)(II[*+]\0|MM\0[*+]))
    | (?P<RAW>II\*\0.{4}CR\x02|FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|.{4}ftypcrx) | (?P<PSD>8BPS) | (?P<XCF>gimp\ xcf)
    | (?P<AVIF>.{4}ftyp(.{4})*?avi[fs]) | (?P<HEIF>.{4}ftyp(.{4})*?(hei[cmsx]|hev[cx]|mif1|msf1))
    | (?P<JXL>\xff\x0a|\0\0\0\x0cJXL\ ) | (?P<JPEG2000>\xff\x4f\xff\x51|\0\0\0\x0cjP\ \ ) | (?P<EXR>v/1\x01)
    | (?P<ICO>\0\0\1\0)""",
    re.DOTALL | re.VERBOSE,
)


def sniff(head: bytes) -> str | None:
    """The format that a file begins like, from its first `HEAD_BYTES` bytes; None if it is no image that we know.

    JPEG (MPO too), PNG, WEBP, TIFF, BMP, GIF, AVIF and HEIF are read; camera RAW, PSD, XCF, JXL, JPEG2000, EXR, ICO are not.
    """
    found = _BEGINNINGS.match(head[:HEAD_BYTES])
    return next(name for name, text in found.groupdict().items() if text is not None) if found else None


def reaches_its_end(data: bytes, format: str) -> bool:
    """Whether `data`, a file of a format that is read, reaches the end that its own format announces.

    Raises:
        ValueError: a checksum on the way is wrong.
    """
    try:
        return _ENDS[format](data) <= len(data)
    except (struct.error, IndexError, OverflowError):  # the file ended first
        return False


def _jpeg_end(data: bytes) -> int:
    """After the end marker outside of all segments (an EXIF thumbnail has its own)."""
    if data.endswith(b"\xff\xd9"):
        return len(data)
    at = 2
    while (marker := _JPEG_MARKER.search(data, at)) and marker[0] != b"\xff\xd9":
        at = marker.end() + int(struct.unpack_from(">H", data, marker.end())[0])
    return int(marker.end()) if marker else len(data) + 2


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, whole segment) of those of a JPEG that stand before its first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        yield data[at + 1], data[at : at + length]
        at += length


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, whole chunk) of every chunk up to IEND. ValueError where a checksum is wrong."""
    at, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        chunk = data[at : at + 12 + length]
        if zlib.crc32(chunk[4:-4]) != checksum:
            raise ValueError("checksum")
        yield kind, chunk
        at += len(chunk)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A whole chunk: length, type, content, checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_xmp(packet: bytes) -> bytes:
    """The iTXt chunk of an XMP packet: not compressed, no language, no translated keyword."""
    return png_chunk(b"iTXt", PNG_XMP + b"\0\0\0\0\0" + packet)


def webp_chunks(data: bytes) -> Iterator[bytes]:
    """The type of every chunk of a WEBP, from the first on."""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind
        at += 8 + length + length % 2


def _gif_end(data: bytes) -> int:
    def colours(flags: int) -> int:  # bytes of a colour table
        return 6 << (flags & 7) if flags & 0x80 else 0

    at = 13 + colours(data[10])
    while data[at] != 0x3B:  # the trailer
        if data[at] not in (0x21, 0x2C):  # an extension, a picture; anything else is padding
            at += 1
            continue
        at += 2 if data[at] == 0x21 else 11 + colours(data[at + 9])
        while data[at]:
            at += data[at] + 1
        at += 1
    return at + 1


def _tiff_end(data: bytes) -> int:
    """After all that the first directory points at: values, strips or tiles, EXIF and GPS, the next page."""
    order, big = ("<" if data[:2] == b"II" else ">"), data[2:4] in (b"+\0", b"\0+")
    word, count, inline = ("Q", "Q", 8) if big else ("I", "H", 4)  # inline: bytes of a value that need no pointer
    (at,) = struct.unpack_from(order + word, data, inline)
    (entries,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize(order + count)
    last = at + entries * (4 + 2 * inline)
    ends = [*struct.unpack_from(order + word, data, last)]
    found: dict[int, tuple[int, ...]] = {}
    for entry in range(at, last, 4 + 2 * inline):
        tag, kind, number = struct.unpack_from(order + "HH" + word, data, entry)
        size, place = _TIFF_SIZES.get(kind, 1), entry + 4 + inline
        if size * number > inline:
            (place,) = struct.unpack_from(order + word, data, place)
        ends.append(place + size * number)
        if tag in (273, 279, 324, 325, 34665, 34853):
            found[tag] = struct.unpack_from(f"{order}{number}{'?BH?I???Q'[size]}", data, place)
    starts, sizes = found.get(273) or found.get(324, ()), found.get(279) or found.get(325, ())
    ends += [start + size for start, size in zip(starts, sizes, strict=False)]
    return int(max([*ends, *found.get(34665, ()), *found.get(34853, ())]))


def _heif_end(data: bytes) -> int:
    """After the boxes that make up a HEIF or AVIF, and after all the places that its item locations point at.

    ISO/IEC 14496-12: 4.2 (a box), 8.11.3 (iloc). A box of another kind after them is not a part of the picture.
    """
    ends, at = [8], 0
    while at < len(data):
        body, stop, kind = _box(data, at)
        if at and kind not in _HEIF_BOXES:
            break
        if kind == b"meta":
            ends.extend(_item_ends(data, body + 4, stop))
        ends.append(stop)
        at = stop
    return max(ends) if len(ends) > 2 else len(data) + 1  # ftyp alone holds no picture


def heif_pixels(data: bytes) -> int:
    """The pixels of the largest picture that a HEIF or AVIF announces (ISO/IEC 23008-12, 6.5.3: ispe), 0 if none."""
    sizes = re.findall(rb"ispe\0{4}(.{4})(.{4})", data[: 1 << 20], re.DOTALL)
    return max((int.from_bytes(width, "big") * int.from_bytes(height, "big") for width, height in sizes), default=0)


def _box(data: bytes, at: int) -> tuple[int, int, bytes]:
    """(where its content starts, where it ends, kind) of the box at `at`."""
    size, kind = struct.unpack_from(">I4s", data, at)
    if size == 1:
        (size,) = struct.unpack_from(">Q", data, at + 8)
        return at + 16, at + max(size, 16), kind
    return at + 8, at + max(size, 8) if size else len(data), kind  # 0: to the end of the file


def _item_ends(data: bytes, at: int, stop: int) -> Iterator[int]:
    """Where each stretch of the file ends that the iloc of a meta box points at."""
    kind = b""
    while at < stop and kind != b"iloc":
        body, at, kind = _box(data, at)
    if kind != b"iloc":
        return
    version, sizes, more = data[body], data[body + 4], data[body + 5]
    widths = {"offset": sizes >> 4, "length": sizes & 15, "base": more >> 4, "index": more & 15 if version else 0}
    at, wide = body + 6, 4 if version == 2 else 2

    def number(width: int) -> int:
        nonlocal at
        at += width
        if at > len(data):
            raise IndexError
        return int.from_bytes(data[at - width : at], "big")

    for _ in range(number(wide)):
        number(wide)  # the item's id
        method = number(2) & 15 if version else 0  # 0: the file itself, 1: the meta box, 2: another item
        number(2)
        base = number(widths["base"])
        for _ in range(number(2)):
            number(widths["index"])
            end = base + number(widths["offset"]) + number(widths["length"])
            if method == 0:
                yield end


_HEIF_BOXES = {b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"idat", b"uuid"}
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_TIFF_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # bytes of a value, by its type
_ENDS: dict[str, Callable[[bytes], int]] = {
    "JPEG": _jpeg_end,
    "PNG": lambda data: 8 + sum(len(chunk) for _, chunk in png_chunks(data)),
    "WEBP": lambda data: 8 + int(struct.unpack_from("<I", data, 4)[0]),
    "TIFF": _tiff_end,
    "BMP": lambda data: int(struct.unpack_from("<I", data, 2)[0]),
    "GIF": _gif_end,
    "AVIF": _heif_end,
    "HEIF": _heif_end,
}

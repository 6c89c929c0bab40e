"""Makes damaged and hostile files, the same ones for the same seed: what an archive holds after years of copies, failing disks
and strangers. A module that tests import; it tests nothing itself.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from dataset_tools import resources

Reasons = frozenset[str | None]  # what a photo's row may say; None: the photo is kept
Made = tuple[str, bytes, Reasons]  # (suffix, content, reasons)

BROKEN: Reasons = frozenset({"truncated", "corrupt", "not_an_image", "unsupported_format", "empty"})
LARGE: Reasons = frozenset({"too_large"})
GOOD: Reasons = frozenset({None, "no_face", "no_crop_kept"})
ANY = BROKEN | LARGE | GOOD


def portrait(number: int, side: int = 320) -> Image.Image:
    """One of the 24 sample portraits, small."""
    with Image.open(resources.path("samples") / f"{_samples()[number % 24]}") as image:
        return image.convert("RGB").resize((side, side), Image.Resampling.BOX)


def _samples() -> list[str]:
    return sorted(path.name for path in resources.path("samples").glob("*.jpg"))


def fill(archive: Path, count: int, seed: int) -> dict[str, Reasons]:
    """Writes `count` damaged files, of every kind in turn, into `archive`.

    Returns: the name of each in the manifest, with the reasons that its row may give.
    """
    rng = np.random.default_rng(seed)
    waiting = deque((kind.__name__.strip("_"), _shuffled(kind, rng)) for kind in KINDS)
    expected: dict[str, Reasons] = {}
    while len(expected) < count:
        kind, made = waiting.popleft()
        for suffix, data, reasons in made:
            name = f"{kind}-{len(expected):03d}{suffix}"
            (archive / name).write_bytes(data)
            expected[name] = reasons
            waiting.append((kind, made))
            break  # a kind that has given all it has drops out
    return expected


def _shuffled(kind: Callable[[np.random.Generator], Iterator[Made]], rng: np.random.Generator) -> Iterator[Made]:
    made = kind(rng)
    if kind is _flipped:  # endless
        return made
    several = list(made)
    return iter([several[index] for index in rng.permutation(len(several))])


# --- whole files to begin with


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _exif_block(number: int = 1) -> bytes:
    """EXIF with an orientation and a JPEG thumbnail, which has markers of its own."""
    thumbnail = saved(portrait(number, 64), "JPEG")
    first = struct.pack("<HHHIHxx", 1, 274, 3, 1, 1)
    second = struct.pack("<HHHIIHHII", 2, 513, 4, 1, 56, 514, 4, 1, len(thumbnail)) + b"\0\0\0\0"
    return b"Exif\0\0II*\0\x08\0\0\0" + first + struct.pack("<I", 26) + second + thumbnail


def whole(rng: np.random.Generator) -> dict[str, bytes]:
    """name.suffix -> a file without damage, of every format that is read."""
    image = portrait(int(rng.integers(24)))
    deep = np.asarray(image.convert("L"), np.uint16) * 257
    other = portrait(int(rng.integers(24)))
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {
        "baseline.jpg": saved(image, "JPEG", quality=88, exif=_exif_block(), icc_profile=icc, comment=b"a comment",
                               restart_marker_rows=5),
        "progressive.jpg": saved(image, "JPEG", quality=85, progressive=True),
        "grey.jpg": saved(image.convert("L"), "JPEG"), "full.jpg": saved(image, "JPEG", subsampling=0, optimize=True),
        "rgb.png": _in_pieces(saved(image, "PNG", icc_profile=icc)),
        "palette.png": saved(image.convert("P"), "PNG", transparency=3),
        "deep.png": saved(Image.fromarray(deep), "PNG"), "alpha.png": saved(image.convert("RGBA"), "PNG"),
        "lossy.webp": saved(image, "WEBP", exif=_exif_block()[6:]), "lossless.webp": saved(image, "WEBP", lossless=True),
        "plain.tif": saved(image, "TIFF"), "lzw.tif": saved(image, "TIFF", compression="tiff_lzw"),
        "zip.tif": saved(image, "TIFF", compression="tiff_adobe_deflate"),
        "moving.gif": saved(image.convert("P"), "GIF", save_all=True, append_images=[other.convert("P")]),
        "plain.bmp": saved(image, "BMP"),
    }  # fmt: skip


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_places(data: bytes) -> list[tuple[int, bytes, int]]:
    """(offset, type, length of the body) of every chunk of a PNG."""
    places, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        places.append((at, kind, length))
        at += 12 + length
    return places


def _in_pieces(png: bytes) -> bytes:
    """The same PNG with its pixels in four IDAT chunks and some text between."""
    parts = [png[:8]]
    pixels = b"".join(png[at + 8 : at + 8 + length] for at, kind, length in png_places(png) if kind == b"IDAT")
    for at, kind, length in png_places(png):
        if kind == b"IDAT" and pixels:
            step = -(-len(pixels) // 4)
            parts += [
                chunk(b"tEXt", b"Comment\0hello"),
                *(chunk(b"IDAT", pixels[i : i + step]) for i in range(0, len(pixels), step)),
            ]
            pixels = b""
        elif kind != b"IDAT":
            parts.append(png[at : at + 12 + length])
    return b"".join(parts)


def jpeg_places(data: bytes) -> list[tuple[int, int]]:
    """(offset, marker) of every marker of a JPEG, restarts included, those inside segments not."""
    places, at = [(0, 0xD8)], 2
    while at < len(data):
        found = re.compile(rb"\xff[^\x00\xff]").search(data, at)
        assert found
        marker = data[found.start() + 1]
        places.append((found.start(), marker))
        alone = 0xD0 <= marker <= 0xD9
        at = found.end() + (0 if alone else int(struct.unpack_from(">H", data, found.end())[0]))
    return places


# --- kinds of damage: rng -> (suffix, content, reasons)


def _cut_jpeg(rng: np.random.Generator) -> Iterator[Made]:
    """Cut before, behind and amid every segment, and amid every scan."""
    files = whole(rng)
    for name in ("baseline.jpg", "progressive.jpg", "grey.jpg"):
        places = jpeg_places(files[name])
        cuts = {2, len(files[name]) - 1}
        for (at, _), (after, _) in pairwise(places):
            cuts |= {after, at + 2, (at + after) // 2, after - 1}
        yield from ((".jpg", files[name][:cut], BROKEN) for cut in sorted(cuts))


def _cut_png(rng: np.random.Generator) -> Iterator[Made]:
    files = whole(rng)
    for name in ("rgb.png", "palette.png"):
        for at, _, length in png_places(files[name]):
            yield from ((".png", files[name][:cut], BROKEN) for cut in {at, at + 8, at + 8 + length // 2, at + 10 + length})


def _cut_others(rng: np.random.Generator) -> Iterator[Made]:
    for name, data in whole(rng).items():
        if not name.endswith((".jpg", ".png")):
            for share in (0.001, 0.1, 0.5, 0.9, 0.999):
                yield name[name.index(".") :], data[: int(len(data) * share)], BROKEN


def _pretends_to_end(rng: np.random.Generator) -> Iterator[Made]:
    """The picture stops, and the end marker is there all the same: what recovery programs and some cameras leave behind."""
    files = whole(rng)
    for name in ("grey.jpg", "full.jpg", "baseline.jpg", "progressive.jpg"):
        data = files[name]
        for share in (0.5, 0.75, 0.9):
            yield ".jpg", data[: int(len(data) * share)] + b"\xff\xd9", ANY
        for share in (0.4, 0.6):
            yield ".jpg", data[: int(len(data) * share)] + bytes(len(data) - int(len(data) * share) - 2) + b"\xff\xd9", ANY


def _flipped(rng: np.random.Generator) -> Iterator[Made]:
    """1 to 8 bits turned over: half of the files in the first 700 bytes, where headers and tables are, half anywhere."""
    while True:
        for name, data in whole(rng).items():
            damaged = bytearray(data)
            reach = 700 if rng.random() < 0.5 else len(data)
            for _ in range(int(rng.integers(1, 9))):
                damaged[int(rng.integers(min(reach, len(data))))] ^= 1 << int(rng.integers(8))
            yield name[name.index(".") :], bytes(damaged), ANY


def _overwritten(rng: np.random.Generator) -> Iterator[Made]:
    """A sector of zeros or of something else, as a failing disk gives."""
    for name, data in whole(rng).items():
        for filler in (bytes(2048), rng.bytes(2048)):
            at = int(rng.integers(len(data) - 2048)) if len(data) > 2048 else 0
            yield name[name.index(".") :], data[:at] + filler + data[at + 2048 :], ANY


def _no_image(rng: np.random.Generator) -> Iterator[Made]:
    contents = [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM", b"RIFF\0\0\0\0WEBP",
                bytes(4096), bytes(300_000), b"\xff" * 5000, rng.bytes(20_000), b"dear diary, this is no photo\n" * 50,
                b"<!DOCTYPE html><html><script>alert(1)</script></html>", b"PK\x03\x04" + rng.bytes(5000),
                b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2mp41" + rng.bytes(9000), b"%PDF-1.7\n" + rng.bytes(4000),
                b"\x1f\x8b" + rng.bytes(99), b"#!/bin/sh\necho hello\n",
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"]  # fmt: skip
    for number, content in enumerate(contents):
        yield (".jpg", ".png", ".JPEG", ".tiff", ".webp")[number % 5], content, BROKEN


def png_of_zeros(width: int, height: int, colour: int = 2, bits: int = 8) -> bytes:
    """A PNG of any size, all zero, in a few hundred KB; made without its pixels."""
    row = 1 + (width * {0: 1, 2: 3, 6: 4}[colour] * bits + 7) // 8
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    rows = packer.compress(bytes(row * 50)) + packer.flush(zlib.Z_FULL_FLUSH)
    assert height % 50 == 0
    body = b"\x78\xda" + rows * (height // 50) + b"\x03\0" + struct.pack(">I", (row * height % 65521) << 16 | 1)
    pieces = (chunk(b"IDAT", body[at : at + 2**20]) for at in range(0, len(body), 2**20))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(pieces) + chunk(b"IEND", b"")


def _bomb(rng: np.random.Generator) -> Iterator[Made]:
    """Files that unpack into more than a machine has: each claims, or really holds, an absurd size."""
    files = whole(rng)
    yield ".png", png_of_zeros(30_000, 30_000), LARGE
    yield ".png", png_of_zeros(50_000, 50_000, 0, 1), LARGE
    yield ".png", png_of_zeros(13_000, 13_000, 6), GOOD | LARGE  # within the limit of pixels: 169 million with alpha
    yield ".png", png_of_zeros(11_000, 11_000, 2, 16), GOOD | LARGE
    for name in ("baseline.jpg", "progressive.jpg", "grey.jpg"):
        data = bytearray(files[name])
        start = next(at for at, marker in jpeg_places(files[name]) if marker in (0xC0, 0xC2))
        for size in ((65_500, 65_500), (13_000, 13_000)):
            struct.pack_into(">HH", data, start + 5, *size)
            yield ".jpg", bytes(data), BROKEN | LARGE | (GOOD if size[0] < 20_000 else frozenset())
    for side in (0x7FFFFFFF, 60_000):
        data = bytearray(files["plain.tif"])
        (directory,) = struct.unpack_from("<I", data, 4)
        for entry in range(directory + 2, directory + 2 + 12 * struct.unpack_from("<H", data, directory)[0], 12):
            if struct.unpack_from("<H", data, entry)[0] in (256, 257):
                struct.pack_into("<HII", data, entry + 2, 4, 1, side)
        yield ".tif", bytes(data), BROKEN | LARGE
    yield ".gif", files["moving.gif"][:6] + b"\xff\xff\xff\xff" + files["moving.gif"][10:], BROKEN | LARGE
    yield ".webp", files["lossless.webp"][:21] + b"\xff\xff\xff\x0f" + files["lossless.webp"][25:], BROKEN | LARGE
    yield ".bmp", files["plain.bmp"][:18] + struct.pack("<ii", 60_000, -60_000) + files["plain.bmp"][26:], BROKEN | LARGE
    packed = zlib.compress(bytes(80_000_000), 9)
    for kind, head in ((b"iCCP", b"icc\0\0"), (b"zTXt", b"Comment\0\0")):
        yield ".png", files["rgb.png"][:33] + chunk(kind, head + packed) + files["rgb.png"][33:], GOOD | LARGE


def _app1(data: bytes, *bodies: bytes) -> bytes:
    """A JPEG with these APP1 segments right behind its first marker."""
    return data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies) + data[2:]


def _exif(rng: np.random.Generator) -> Iterator[Made]:
    """Hostile metadata in front of a picture that is whole: the picture is kept."""
    plain = whole(rng)["grey.jpg"]
    little, entry = b"Exif\0\0II*\0\x08\0\0\0", struct.Struct("<HHII").pack
    for value in (0, 9, 255, 65_535):
        yield ".jpg", _app1(plain, little + struct.pack("<HHHIHxxI", 1, 274, 3, 1, value, 0)), GOOD
    bodies = [
        little + b"\x01\0" + entry(274, 2, 4, 0x41414141),  # the orientation is text
        little + b"\x01\0" + entry(274, 3, 0xFFFFFFFF, 8),  # four thousand million orientations
        little + b"\xff\xff" + entry(271, 2, 0x7FFFFFFF, 0x7FFFFFFF),  # more entries than bytes
        little + b"\x01\0" + entry(274, 3, 1, 1) + struct.pack("<I", 8),  # a directory that follows itself
        little + b"\x02\0" + entry(34_665, 4, 1, 8) + entry(34_853, 4, 1, 8) + bytes(4),  # that lies in itself
        little + b"\x01\0" + entry(40_965, 4, 1, 8) + struct.pack("<I", 0xFFFFFFF0),
        little + struct.pack("<H", 5000) + b"".join(entry(number, 12, 2**28, number) for number in range(5000)),
        little + b"\x01\0" + entry(274, 5, 1, 26) + bytes(4) + bytes(8),  # an orientation of 0/0
        b"Exif\0\0", b"Exif\0\0MM\0*", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + rng.bytes(60_000),
        b"http://ns.adobe.com/xap/1.0/\0" + b"<x>" * 20_000,
        b"http://ns.adobe.com/xap/1.0/\0<!DOCTYPE x [<!ENTITY a 'aaaa'>]>&a;",
    ]  # fmt: skip
    yield from ((".jpg", _app1(plain, body), GOOD) for body in bodies)
    yield ".jpg", _app1(plain, *([b"Exif\0\0" + bytes(65_000)] * 40)), GOOD
    yield ".jpg", _app1(plain, *(rng.bytes(65_500) for _ in range(60))), GOOD


def _colour_profile(rng: np.random.Generator) -> Iterator[Made]:
    """Colour profiles that are none: the picture is kept."""
    image = portrait(int(rng.integers(24)))
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profiles = (b"x", rng.bytes(3000), icc[:200], bytes(50_000), icc[:16] + b"CMYK" + icc[20:],
                icc[:128] + b"\xff\xff\xff\xff" + icc[132:], icc[:200] + rng.bytes(len(icc) - 200))  # fmt: skip
    for profile in profiles:
        yield ".jpg", saved(image, "JPEG", icc_profile=profile), GOOD
        yield ".png", saved(image, "PNG", icc_profile=profile), GOOD
        yield ".webp", saved(image, "WEBP", icc_profile=profile), GOOD
    wrong = b"ICC_PROFILE\0\x02\x07" + icc  # the second piece of seven, and no other
    data = saved(image, "JPEG")
    yield ".jpg", data[:2] + b"\xff\xe2" + struct.pack(">H", len(wrong) + 2) + wrong + data[2:], GOOD


KINDS = (_cut_jpeg, _cut_png, _flipped, _bomb, _no_image, _exif, _cut_others, _pretends_to_end, _overwritten, _colour_profile)

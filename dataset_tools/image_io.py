"""THE place where files become arrays and arrays become files.

Bytes are hostile until proved otherwise: whatever is in them, the answer is a `Photo` or a PhotoError of one line.
The type is told by content. A file counts as a photo only if its own format says that it is whole: a file that stops early is
`Truncated`, even where a decoder would fill in the rest, and even where only the last bytes (a JPEG's end marker, a PNG's last
checksum, a GIF's trailer) are gone. Bytes after the end of an image are allowed, as phones append them.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from dataset_tools import files
from dataset_tools.errors import (
    Corrupt,
    EmptyFile,
    NotAnImage,
    OutputError,
    PhotoError,
    TooLarge,
    Truncated,
    Unreadable,
    UnsupportedFormat,
)

SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .webp .tif .tiff .bmp .gif .heic .heif .avif".split())
MAX_PIXELS = 178_956_970
MAX_BYTES = 2**30
HEAD_BYTES = 64  # what `sniff` looks at

_READ = frozenset({"JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"})
_MAGIC = (  # (offset, bytes, format): the first that fits
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBPVP8", "WEBP"),
    (8, b"CR\x02", "camera RAW"),
    *((0, magic, "TIFF") for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    *((0, magic, "camera RAW") for magic in (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")),
    *((14, bytes([size, 0, 0, 0]), "BMP") for size in (12, 16, 40, 52, 56, 64, 108, 124)),
    (0, b"8BPS", "PSD"),
    (0, b"gimp xcf", "XCF"),
    *((0, magic, "JPEG XL") for magic in (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
    *((0, magic, "JPEG 2000") for magic in (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"\0\0\1\0", "ICO"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "camera RAW"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIF"
)


def sniff(head: bytes) -> str | None:
    """The format that a file begins like, from its first `HEAD_BYTES` bytes, or None if it is no image that we know.

    One of JPEG (MPO too), PNG, WEBP, TIFF, BMP, GIF, which are read, or HEIF, AVIF, camera RAW, PSD and the like, which are not.
    """
    for at, magic, name in _MAGIC:
        if head.startswith(magic, at) and (name != "BMP" or head[:2] == b"BM") and (name != "WEBP" or head[:4] == b"RIFF"):
            return name
    if head[4:8] == b"ftyp":  # ISO base media: the major brand, a version, the compatible brands
        found = [_BRANDS[head[at : at + 4]] for at in (8, *range(16, len(head), 4)) if head[at : at + 4] in _BRANDS]
        return "AVIF" if "AVIF" in found else next(iter(found), None)
    return None


@dataclass(frozen=True)
class PhotoInfo:
    """What a file says about its picture. `exif`, `icc` and `quantization` are as the file holds them."""

    format: str  # JPEG PNG WEBP TIFF BMP GIF
    width: int  # of the upright picture at full size, whatever the scale it was read at
    height: int
    mode: str  # what a sample holds: L LA RGB RGBA CMYK (0 = no ink)
    depth: int  # bits a channel: 8 or 16
    orientation: int  # the EXIF orientation, 1-8, that has been applied
    exif: bytes | None  # None for TIFF, where the file's own directory holds it
    icc: bytes | None
    quantization: dict[int, list[int]] | None  # of a JPEG
    notes: tuple[str, ...]  # what a person should know about how it was read


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture, upright. Both arrays are read-only and may be one and the same: copy before drawing on them.

    samples: (H, W) or (H, W, C) uint8 or uint16, in the file's own depth, channels (`info.mode`) and colour space.
        Palettes are expanded and 1-bit images are 0 | 255.
    """

    samples: NDArray[Any]
    info: PhotoInfo

    @cached_property
    def rgb8(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB: 16 bits as round(x / 257), then the embedded profile, then alpha over white."""
        samples = self.samples if self.samples.dtype == np.uint8 else _EIGHT_BITS[self.samples]
        alpha = samples[..., -1:] if self.info.mode in ("LA", "RGBA") else None
        rgb = _to_srgb(samples if alpha is None else samples[..., :-1], self.info.mode.removesuffix("A"), self.info.icc)
        if alpha is not None:  # at most 255 * 255 + 127: uint16 holds it
            over = rgb.astype(np.uint16) * alpha + np.uint16(255) * (255 - alpha.astype(np.uint16))
            rgb = ((over + 127) // 255).astype(np.uint8)
        return _frozen(rgb)


def read(path: Path, scale: int = 1) -> Photo:
    """The photo in the file `path`; see `decode`.

    Raises:
        Unreadable: no permission, vanished, a folder, a link to itself, an I/O error.
        TooLarge: more than MAX_BYTES.
        PhotoError: whatever else `decode` raises.
    """
    name = _printable(str(path))
    try:
        # O_NONBLOCK: opening a pipe must not wait for its writer
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as handle:
            status = os.fstat(handle.fileno())
            if not stat.S_ISREG(status.st_mode):
                kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                raise Unreadable(f"{name} is {kind}, not a photo")
            _recognise(handle.read(HEAD_BYTES), name)
            if status.st_size > MAX_BYTES:
                raise TooLarge(f"{name} is larger than {MAX_BYTES >> 20} MiB, more than a photo needs")
            handle.seek(0)
            data = handle.read()
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        reason = getattr(error, "strerror", None) or "no file can have this name"
        advice = ": change its permissions" if getattr(error, "errno", 0) in (errno.EACCES, errno.EPERM) else ""
        raise Unreadable(f"{name} cannot be read ({reason}){advice}") from error
    return decode(data, name, scale)


def decode(data: bytes, name: str, scale: int = 1) -> Photo:
    """The photo in `data`, the content of a file called `name` (for error lines only), upright.

    At `scale` 2, 4 or 8 fewer pixels are decoded where the format allows it (JPEG), and each pixel is the mean of scale x scale;
    the result has ceil(size / scale) pixels while `info` keeps the full size. Of an animation or of several pages the first is read.

    Raises:
        EmptyFile, NotAnImage, UnsupportedFormat, Truncated, Corrupt, TooLarge: one line each, whatever the bytes.
        ValueError: another scale.
    """
    if scale not in (1, 2, 4, 8):
        raise ValueError(f"scale must be 1, 2, 4 or 8. Received: {scale}")
    name = _printable(name)
    format = _recognise(data[:HEAD_BYTES], name)
    try:
        with _QUIET:
            return _decode(data, format, name, scale)
    except PhotoError:
        raise
    except Exception as error:
        text = f"{error}".lower()
        if isinstance(error, (MemoryError, Image.DecompressionBombError)) or re.search("max_text|too much memory", text):
            raise TooLarge(f"{name} unpacks into more than a photo needs, as an image bomb does") from error
        if not _whole(data, format, name) or (format in ("BMP", "TIFF") and "truncated" in text):
            raise _truncated(name) from error
        if "support" in text or (format == "TIFF" and isinstance(error, Image.UnidentifiedImageError)):
            raise _unsupported(name, f"a kind of {format}") from error
        raise _corrupt(format, name) from error


def _decode(data: bytes, format: str, name: str, scale: int) -> Photo:
    image = Image.open(io.BytesIO(data), formats=[format])  # the header; no pixel memory yet
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise TooLarge(f"{name} has {width} x {height} pixels; at most {MAX_PIXELS} are read")
    if not _whole(data, format, name):
        raise _truncated(name)
    tags: Any = getattr(image, "tag_v2", {})  # of a TIFF
    if 50706 in tags or int(tags.get(254) or 0) & 1:  # DNG; or a first page that is only a thumbnail
        raise _unsupported(name, "a camera RAW")
    notes: list[str] = []
    orientation = _orientation(image, tags, notes)
    depth = 16 if 16 in tags.get(258, ()) or (format == "PNG" and data[24] == 16) or image.mode.startswith("I;16") else 8
    if depth == 8 and format == "JPEG" and min(image.size) >= scale > 1:
        image.draft(None, (width // scale, height // scale))
    factor = 1 if image.size == (-(-width // scale), -(-height // scale)) else scale
    samples, mode = _deep(image, data, tags, name, factor) if depth == 16 else _plain(image, data, name, factor, notes)
    if format != "TIFF":  # both decoders turn a TIFF themselves
        samples = _UPRIGHT[orientation](samples)
        width, height = (height, width) if orientation >= 5 else (width, height)
    if mode in ("LA", "RGBA"):
        notes.append("transparent pixels are shown over white")
    if getattr(image, "is_animated", False):
        notes.append("it holds several pictures: this is the first")
    icc = image.info.get("icc_profile") or None
    if icc and _profile(icc, mode.removesuffix("A"))[1]:
        notes.append(_profile(icc, mode.removesuffix("A"))[1])
    if mode == "CMYK" and (icc is None or _profile(icc, mode)[0] is None):
        notes.append("CMYK without a usable profile: colours are approximate")
    exif = image.info.get("exif") or None
    quantization = {key: list(table) for key, table in getattr(image, "quantization", {}).items()} or None
    info = PhotoInfo(format, width, height, mode, depth, orientation, exif, icc, quantization, tuple(notes))
    return Photo(_frozen(samples), info)


def _orientation(image: Image.Image, tags: Any, notes: list[str]) -> int:
    """The EXIF orientation, 1-8. Not that of XMP, which few programs follow: Pillow would turn a TIFF by it."""
    if tags:
        image.info.pop("xmp", None)
        value = tags.get(274, 1)
    else:
        exif = Image.Exif()
        try:
            exif.load(image.info.get("exif") or b"")
            value = exif.get(274, 1)
        except Exception:  # a photo outlives its metadata
            notes.append("the EXIF data is broken: taken as upright")
            value = 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_PLAIN = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "YCbCr": "RGB"} | {
    mode: mode for mode in ("L", "LA", "RGB", "RGBA", "CMYK")
}


def _plain(image: Image.Image, data: bytes, name: str, factor: int, notes: list[str]) -> tuple[NDArray[Any], str]:
    """8-bit samples (H, W) or (H, W, C), shrunk by `factor`, and their mode."""
    mode = _PLAIN.get(image.mode)
    if mode is None:
        raise _unsupported(name, f"an image with {image.mode} samples")
    if image.mode in ("P", "PA"):
        notes.append("its palette is expanded")
    image.load()  # a PNG may say more about its transparency after the pixels
    if image.mode in ("1", "L", "P", "RGB") and image.has_transparency_data:
        mode = {"L": "LA", "RGB": "RGBA"}[mode]
        if image.format == "PNG" and image.mode == "L":  # the transparent grey is told in the file's own depth
            image.info["transparency"] *= 255 // (2 ** data[24] - 1)
    plain = image.convert(mode) if mode != image.mode else image
    return np.asarray(plain.reduce(factor) if factor > 1 else plain), mode


def _deep(image: Image.Image, data: bytes, tags: Any, name: str, factor: int) -> tuple[NDArray[Any], str]:
    """16-bit samples (H, W) or (H, W, C), shrunk by `factor`, and their mode."""
    refusal = _unsupported(name, f"16-bit {image.mode} data of this kind")
    if image.mode.startswith("I;16"):
        if tags.get(258, (16,)) != (16,):  # 12 bits
            raise refusal
        samples = np.asarray(image).astype(np.uint16)
        if tags.get(262) == 0:  # white is zero, which neither decoder heeds
            samples = ~samples
        if "transparency" in image.info:
            samples = np.dstack([samples, np.where(samples == image.info["transparency"], 0, 65535).astype(np.uint16)])
    elif image.mode in ("RGB", "RGBA"):  # Pillow keeps the high bytes alone, OpenCV both
        high = np.asarray(image)
        packed = (
            data[:8] + b"".join(chunk for kind, chunk in _png_chunks(data) if kind in _PNG_PIXELS)
            if image.format == "PNG"
            else data
        )
        decoded = cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3 or decoded.shape[:2] != high.shape[:2]:
            raise refusal
        samples = cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB)
        shared = min(samples.shape[2], high.shape[2])
        if not np.array_equal((samples >> 8).astype(np.uint8)[..., :shared], high[..., :shared]):
            raise refusal  # where the two disagree nobody knows what the file means
        if image.format == "PNG" and data[25] == 4:  # grey with alpha came as RGBA
            samples = samples[..., 2:]
    else:
        raise refusal
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[samples.shape[2] if samples.ndim == 3 else 1]
    return (_shrink(samples, factor, mode) if factor > 1 else samples), mode


def _shrink(samples: NDArray[Any], factor: int, mode: str) -> NDArray[Any]:
    """Means of factor x factor samples, weighted by alpha where there is one; the border repeats to fill the last."""
    height, width = (-(-side // factor) for side in samples.shape[:2])
    pad = (height * factor - samples.shape[0], width * factor - samples.shape[1])
    padded = cv2.copyMakeBorder(samples, 0, pad[0], 0, pad[1], cv2.BORDER_REPLICATE).astype(np.float32)
    if mode.endswith("A"):
        padded[..., :-1] *= padded[..., -1:]
    means = cv2.resize(padded, (width, height), interpolation=cv2.INTER_AREA)
    if mode.endswith("A"):
        means[..., :-1] /= np.maximum(means[..., -1:], 1e-6)
    return np.clip(np.rint(means), 0, 65535).astype(samples.dtype)


_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {  # EXIF 2.32, tag 274
    1: lambda a: a,
    2: lambda a: cv2.flip(a, 1),
    3: lambda a: cv2.rotate(a, cv2.ROTATE_180),
    4: lambda a: cv2.flip(a, 0),
    5: cv2.transpose,
    6: lambda a: cv2.rotate(a, cv2.ROTATE_90_CLOCKWISE),
    7: lambda a: cv2.flip(cv2.transpose(a), -1),
    8: lambda a: cv2.rotate(a, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_EIGHT_BITS = ((np.arange(65536) + 128) // 257).astype(np.uint8)  # round(x / 257)


@lru_cache(maxsize=16)
def _profile(icc: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The transform from the embedded profile to sRGB, None where it changes nothing or cannot be used, and a note ("" if none).

    Relative colorimetric with black point compensation. Grey samples may carry an RGB profile: R = G = B then.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        space = source.profile.xcolor_space.strip().replace("GRAY", "L")
        if space != mode and (space, mode) != ("RGB", "L"):
            return None, f"the embedded colour profile is for {space}, not for {mode}: ignored"
        relative, compensate = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), space, "RGB", relative, compensate)
        probe = Image.frombytes(space, (64, 64), np.random.default_rng(0).bytes(4096 * len(space)))
        change = np.asarray(transform.apply(probe), np.int16) - np.asarray(probe.convert("RGB"), np.int16)
        return (transform if np.abs(change).max() > 1 else None), ""  # sRGB by any name needs no work
    except Exception:
        return None, "the embedded colour profile is broken: ignored"


def _to_srgb(samples: NDArray[Any], mode: str, icc: bytes | None) -> NDArray[Any]:
    """(H, W, C) uint8 of mode L, RGB or CMYK -> (H, W, 3) uint8 sRGB."""
    transform = _profile(icc, mode)[0] if icc else None
    if mode == "L" and (transform is None or transform.input_mode == "RGB"):
        samples, mode = np.dstack([samples.reshape(samples.shape[:2])] * 3), "RGB"
    if mode == "RGB" and transform is None:
        return np.ascontiguousarray(samples)
    image = Image.frombytes(mode, samples.shape[1::-1], samples.tobytes())
    return np.asarray(transform.apply(image) if transform else image.convert("RGB"))


def _whole(data: bytes, format: str, name: str) -> bool:
    """Whether the file goes on to the end that its own format announces. Pixels are not decoded."""
    try:
        return _ENDS[format](data)
    except (struct.error, IndexError, OverflowError):  # the end of the file came first
        return False
    except ValueError as error:
        raise _corrupt(format, name) from error


def _jpeg_ends(data: bytes) -> bool:
    """An end marker outside of all segments (an EXIF thumbnail has its own). Only the first picture of an MPO counts."""
    if data.endswith(b"\xff\xd9"):
        return True
    at = 2
    while marker := _JPEG_MARKER.search(data, at):
        if marker[0] == b"\xff\xd9":
            return True
        at = marker.end() + struct.unpack_from(">H", data, marker.end())[0]
    return False


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
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


def _gif_ends(data: bytes) -> bool:
    def table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    at = 13 + table(data[10])
    while data[at] != 0x3B:
        if data[at] not in (0x21, 0x2C):  # padding between blocks
            at += 1
            continue
        at += 2 if data[at] == 0x21 else 11 + table(data[at + 9])
        while data[at]:
            at += data[at] + 1
        at += 1
    return True


def _tiff_ends(data: bytes) -> bool:
    """All that the first directory points at lies in the file: values, strips or tiles, EXIF and GPS, the next page."""
    order, big = ("<" if data[:2] == b"II" else ">"), data[2:4] in (b"+\0", b"\0+")
    word, count, inline = ("Q", "Q", 8) if big else ("I", "H", 4)  # inline: bytes of a value that need no pointer
    (at,) = struct.unpack_from(order + word, data, inline)
    (entries,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize(order + count)
    end = at + entries * (4 + 2 * inline)
    ends = [end + inline, *struct.unpack_from(order + word, data, end)]
    found: dict[int, tuple[int, ...]] = {}
    for entry in range(at, end, 4 + 2 * inline):
        tag, kind, number = struct.unpack_from(order + "HH" + word, data, entry)
        size, place = _TIFF_SIZES.get(kind, 1), entry + 4 + inline
        if size * number > inline:
            (place,) = struct.unpack_from(order + word, data, place)
        ends.append(place + size * number)
        if tag in (273, 279, 324, 325, 34665, 34853):
            found[tag] = struct.unpack_from(f"{order}{number}{'?BH?I???Q'[size]}", data, place)
    starts, sizes = found.get(273) or found.get(324, ()), found.get(279) or found.get(325, ())
    ends += [start + size for start, size in zip(starts, sizes, strict=False)]
    return max(*ends, *found.get(34665, ()), *found.get(34853, ())) <= len(data)


_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_TIFF_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # bytes of a value of each type
_ENDS: dict[str, Callable[[bytes], bool]] = {
    "JPEG": _jpeg_ends,
    "PNG": lambda data: any(kind == b"IEND" for kind, _ in _png_chunks(data)),
    "WEBP": lambda data: 8 + struct.unpack_from("<I", data, 4)[0] <= len(data),
    "TIFF": _tiff_ends,
    "BMP": lambda data: struct.unpack_from("<I", data, 2)[0] <= len(data),
    "GIF": _gif_ends,
}


def _recognise(head: bytes, name: str) -> str:
    """One of `_READ`, or the error that fits."""
    format = sniff(head)
    if not head:
        raise EmptyFile(f"{name} is empty (0 bytes)")
    if format is None:
        raise NotAnImage(f"{name} is not an image of a kind that is known")
    if format not in _READ:
        raise _unsupported(name, format)
    return format


def _unsupported(name: str, what: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"{name} is {what}, which is not read: convert it to JPEG or PNG first")


def _truncated(name: str) -> Truncated:
    return Truncated(f"{name} ends before its picture does: copy it again from where it came from")


def _corrupt(format: str, name: str) -> Corrupt:
    return Corrupt(f"{name} is damaged, its bytes are not those of a {format} image: copy it again from where it came from")


def _printable(name: str) -> str:
    """`name` for one line of a terminal: control characters and bytes that are not UTF-8 as escapes."""
    name = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:x}", name)  # how Python holds such bytes
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


class _Quiet:
    """Silences Pillow's warnings. Filters belong to the whole process: the first thread in sets them, the last out resets them."""

    def __init__(self) -> None:
        self._lock, self._inside, self._saved = threading.Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._saved.__exit__(None, None, None)


_QUIET = _Quiet()


def encode_png(rgb: NDArray[Any], xmp: bytes | None = None) -> bytes:
    """PNG of (H, W, 3) sRGB or (H, W) grey, uint8: always the same bytes for the same pixels. `xmp` goes into an iTXt chunk."""
    rgb = _checked(rgb)
    done, encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if rgb.ndim == 3 else rgb)
    data: bytes = encoded.tobytes()
    if xmp is None:
        return data
    body = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + xmp  # not compressed, no language, no translated keyword
    return data[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]  # after IHDR


def encode_jpeg(rgb: NDArray[Any], quality: int = 92) -> bytes:
    """JPEG of (H, W, 3) sRGB or (H, W) grey, uint8, colour at full resolution (4:4:4)."""
    return _save(rgb, "JPEG", quality=quality, subsampling=0)


def encode(rgb: NDArray[Any], format: str, xmp: bytes | None = None) -> bytes:
    """(H, W, 3) sRGB or (H, W) grey, uint8, as JPEG or WEBP (quality 95), PNG or TIFF (lossless), without EXIF, with `xmp` inside.

    Raises:
        OutputError: the format cannot hold so many pixels, or so long an `xmp`.
        ValueError: another format, or not such an array.
    """
    if format not in _WRITE:
        raise ValueError(f"format must be one of {', '.join(_WRITE)}. Received: {format}")
    return _WRITE[format](rgb, xmp)


def write(path: Path, rgb: NDArray[Any], format: str, xmp: bytes | None = None) -> None:
    """Writes `encode(rgb, format, xmp)` under `path`, whole or not at all. Raises OutputError."""
    files.replace_bytes(path, encode(rgb, format, xmp))


def _checked(rgb: NDArray[Any]) -> NDArray[Any]:
    if rgb.dtype != np.uint8 or 0 in rgb.shape or not (rgb.ndim == 2 or (rgb.ndim == 3 and rgb.shape[2] == 3)):
        raise ValueError(f"an image to write is (H, W, 3) or (H, W) uint8. Received: {rgb.shape} {rgb.dtype}")
    return np.ascontiguousarray(rgb)


def _save(rgb: NDArray[Any], format: str, **options: Any) -> bytes:
    image, buffer = Image.fromarray(_checked(rgb)), io.BytesIO()
    try:
        image.save(buffer, format, **{key: value for key, value in options.items() if value is not None})
    except (OSError, ValueError) as error:
        raise OutputError(f"{image.width} x {image.height} pixels cannot be written as {format}: use PNG ({error})") from error
    return buffer.getvalue()


_WRITE: dict[str, Callable[[NDArray[Any], bytes | None], bytes]] = {
    "JPEG": lambda rgb, xmp: _save(rgb, "JPEG", quality=95, subsampling=0, xmp=xmp),
    "PNG": encode_png,
    "WEBP": lambda rgb, xmp: _save(rgb, "WEBP", quality=95, xmp=xmp),
    "TIFF": lambda rgb, xmp: _save(rgb, "TIFF", compression="tiff_adobe_deflate", tiffinfo=xmp and {700: xmp}),
}

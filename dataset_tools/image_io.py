"""THE place where files become arrays and arrays become files.

Bytes are hostile until proved otherwise: whatever is in them, the answer is a `Photo` or a PhotoError of one line.
The type is told by content. A file counts as a photo only if it reaches the end that its own format announces: one that stops
early is `Truncated`, even where a decoder would make up the rest, and even where only the last bytes are gone (a JPEG's end
marker, a PNG's last checksum, a GIF's trailer). Bytes after that end are allowed: phones append films there. Of an MPO, or of a
TIFF of several pages, only the first picture must be whole.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dataset_tools import colour, errors, files
from dataset_tools.image_formats import HEAD_BYTES, SUFFIXES, heif_pixels, png_chunks, png_xmp, reaches_its_end, sniff

__all__ = ["HEAD_BYTES", "MAX_BYTES", "MAX_PIXELS", "SUFFIXES", "Photo", "PhotoInfo", "decode", "encode",
           "encode_jpeg", "encode_png", "encode_webp", "read", "sniff", "write", "write_animation"]  # fmt: skip

MAX_PIXELS = 178_956_970
MAX_BYTES = 2**30
MAX_MEMORY = 2**29  # bytes that decoding may take, at some 4 a pixel (10 for 16-bit colour): 134 megapixels

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what Pillow logs must not reach a terminal by itself

_READ = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")


@dataclass(frozen=True)
class PhotoInfo:
    """What a file says about its picture. `exif`, `icc`, `xmp` and `quantization` are as the file holds them."""

    format: str  # JPEG PNG WEBP TIFF BMP GIF AVIF HEIF
    width: int  # of the upright picture at full size, whatever the scale it was read at
    height: int
    mode: str  # what a sample holds: L LA RGB RGBA CMYK (0 = no ink)
    depth: int  # bits a channel: 8 or 16
    orientation: int  # the EXIF orientation, 1-8, that has been applied
    exif: bytes | None  # None for TIFF, whose own directory holds it
    icc: bytes | None
    xmp: bytes | None
    quantization: dict[int, list[int]] | None  # of a JPEG
    scale: int  # 1, 2, 4 or 8: pixels of the file, along a side, in each pixel that was read
    notes: tuple[str, ...]  # what a person should know about how it was read


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture, upright. Both arrays are read-only and may be one and the same: copy before drawing on them.

    samples: (H, W) or (H, W, C) uint8 or uint16, in the file's own depth, channels (`info.mode`) and colour space;
        palettes are expanded, 1-bit images are 0 | 255.
    """

    samples: NDArray[Any]
    info: PhotoInfo

    @cached_property
    def rgb8(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB, as it is seen on white paper: `opaque` with its alpha."""
        rgb = self.opaque
        if self.info.mode.endswith("A"):
            alpha = colour.eight_bits(self.samples)[..., -1:].astype(np.uint16)
            rgb = ((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)  # at most 65152: uint16 holds it
            rgb.setflags(write=False)
        return rgb

    @cached_property
    def opaque(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB without its alpha: 16 bits as round(x / 257), then the embedded profile."""
        samples = colour.eight_bits(self.samples)
        mode = self.info.mode.removesuffix("A")
        rgb = colour.to_srgb(samples if mode == self.info.mode else samples[..., :-1], mode, self.info.icc)
        rgb.setflags(write=False)
        return rgb


def read(path: Path, scale: int = 1) -> Photo:
    """The photo in the file `path`; see `decode`.

    Raises:
        Unreadable: no permission, vanished, a folder, a link to itself, an I/O error.
        TooLarge: more than MAX_BYTES.
        PhotoError: whatever else `decode` raises.
    """
    return decode(read_bytes(path, str(path)), str(path), scale)


def read_bytes(path: Path, name: str, start: int = 0, length: int | None = None) -> bytes:
    """The bytes of the image file `path`, or the `length` bytes from `start` on of a file that holds several.

    Raises:
        Unreadable, TooLarge: as `read`. PhotoError: no image that is read begins there. `name` is for error lines.
    """
    name = printable(name)
    try:  # O_NONBLOCK: opening a pipe must not wait for a writer
        with open(path, "rb", opener=lambda file, flags: os.open(file, flags | os.O_NONBLOCK)) as handle:
            status = os.fstat(handle.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise errors.Unreadable(f"{name} is a device or a pipe, not a photo")
            handle.seek(start)
            _recognise(handle.read(HEAD_BYTES), name)
            if (status.st_size if length is None else length) > MAX_BYTES:
                raise errors.TooLarge(f"{name} is larger than {MAX_BYTES >> 20} MiB, more than a photo needs")
            handle.seek(start)
            return handle.read(length)
    except OSError as error:
        advice = ": change its permissions" if error.errno in (errno.EACCES, errno.EPERM) else ""
        raise errors.Unreadable(f"{name} cannot be read ({error.strerror}){advice}") from error
    except ValueError as error:
        raise errors.Unreadable(f"{name} cannot be read (no file can have this name)") from error


def decode(data: bytes, name: str, scale: int | Callable[[int, int], int] = 1) -> Photo:
    """The photo in `data`, the content of a file called `name` (for error lines only), upright.

    At `scale` 2, 4 or 8 each pixel is the mean of scale x scale, which a JPEG decodes without the others; the arrays have
    ceil(size / scale) pixels, `info` keeps the full size. `scale` may be a function of the file's width and height. A photo that
    EXIF turns is read finer (`info.scale` tells how fine) where a side that is reversed is no multiple of the scale: its first
    pixel would be the mean of fewer. Of an animation or of several pages the first is read.

    Raises:
        EmptyFile, NotAnImage, UnsupportedFormat, Truncated, Corrupt, TooLarge: one line each, whatever the bytes.
        ValueError: another scale.
    """
    if not callable(scale) and scale not in (1, 2, 4, 8):
        raise ValueError(f"scale must be 1, 2, 4 or 8. Received: {scale}")
    name = printable(name)
    format = _recognise(data[:HEAD_BYTES], name)
    try:
        with _QUIET:
            return _decode(data, format, name, scale)
    except errors.PhotoError:
        raise
    except Exception as error:
        text = str(error).lower()
        bomb = isinstance(error, (MemoryError, Image.DecompressionBombError)) or re.search("max_text|too much memory", text)
        if bomb or (format == "AVIF" and heif_pixels(data) > MAX_PIXELS):  # which its decoder does not take for an AVIF
            raise errors.TooLarge(f"{name} unpacks into more than a photo needs, as an image bomb does") from error
        if not _whole(data, format, name) or (format in ("BMP", "TIFF") and "truncated" in text):
            raise _truncated(name) from error
        if "support" in text or (format == "TIFF" and isinstance(error, UnidentifiedImageError)):
            raise _unsupported(name, f"a kind of {format}") from error
        raise _corrupt(name, format) from error


def _decode(data: bytes, format: str, name: str, wanted: int | Callable[[int, int], int]) -> Photo:
    image = Image.open(io.BytesIO(data), formats=[format])  # the header; no pixel memory yet
    xmp = image.info.pop("xmp", None)  # Pillow would turn a TIFF by it
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise errors.TooLarge(f"{name} has {width} x {height} pixels, more than the {MAX_PIXELS} that are read")
    if not _whole(data, format, name) or (format == "JPEG" and len(data) * 512 < width * height):  # a bit for 64 pixels, at least
        raise _truncated(name)
    tags: Any = getattr(image, "tag_v2", {})  # of a TIFF
    if 50706 in tags or int(tags.get(254, 0)) & 1:  # DNG; a first page that is only a preview
        raise _unsupported(name, "a camera's RAW file or begins with a preview")
    notes: list[str] = []
    orientation = _orientation(image, tags, notes)
    deep = 16 in tags.get(258, ()) or (format == "PNG" and data[24] == 16) or image.mode.startswith("I;16")
    scale = wanted(width, height) if callable(wanted) else wanted
    while format != "TIFF" and any(side % scale for side in _reversed(orientation, width, height)):
        scale //= 2
    if format == "JPEG" and min(image.size) >= scale > 1:
        image.draft(None, (width // scale, height // scale))
    if image.width * image.height * (10 if deep and image.mode in ("RGB", "RGBA") else 4) > MAX_MEMORY:
        raise errors.TooLarge(f"{name} has {width} x {height} pixels, which take more memory than {MAX_MEMORY >> 20} MiB")
    factor = 1 if image.size == (-(-width // scale), -(-height // scale)) else scale
    samples, mode = _deep(image, data, tags, name, factor) if deep else _plain(image, data, name, factor, notes)
    if format == "JPEG" and bool((samples[-1] == 128).all()) and _made_up(data, image.mode, (width // scale, height // scale)):
        raise _truncated(name)
    if format != "TIFF":  # both decoders turn a TIFF themselves
        samples = UPRIGHT[orientation](samples)
        width, height = (height, width) if orientation >= 5 else (width, height)
    if mode in ("LA", "RGBA"):
        notes.append("transparent pixels are shown over white")
    if getattr(image, "is_animated", False):
        notes.append("the file holds several pictures: this is the first")
    icc = bytes(image.info.get("icc_profile") or b"")  # empty, though there, where Pillow could not put it together
    transform, note = colour.transform(icc, mode.removesuffix("A")) if "icc_profile" in image.info else (None, "")
    if note:
        notes.append(note)
    if mode == "CMYK" and transform is None:
        notes.append("CMYK without a usable colour profile: its colours are approximate")
    quantization = {key: list(table) for key, table in getattr(image, "quantization", {}).items()} or None
    samples.setflags(write=False)
    exif, depth = image.info.get("exif") or None, 16 if deep else 8
    return Photo(
        samples,
        PhotoInfo(format, width, height, mode, depth, orientation, exif, icc or None, xmp, quantization, scale, tuple(notes)),
    )


def _made_up(data: bytes, mode: str, size: tuple[int, int]) -> bool:
    """True for a JPEG whose scan stops early though an end marker follows: libjpeg then fills the rest with grey 128.

    Told by bytes put before the end marker: a scan that is whole leaves them alone, one that was cut takes them for its own.
    They hold every restart marker, since a decoder may be looking for the next one.
    """
    end = data.rfind(b"\xff\xd9")
    filler = b"\x5a\xa5" * 2048 + b"".join(b"\xff" + bytes([0xD0 + number]) + b"\x5a\xa5" * 256 for number in range(8)) * 2
    views = []
    for bytes_ in (data, data[:end] + filler + data[end:]):
        image = Image.open(io.BytesIO(bytes_), formats=["JPEG"])
        image.draft(mode, size)
        views.append(np.asarray(image))
    return not np.array_equal(views[0], views[1])


def _orientation(image: Image.Image, tags: Any, notes: list[str]) -> int:
    """The EXIF orientation, 1-8. Not that of XMP, which few programs follow."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif") or b"")
    except Exception:  # a photo outlives its metadata
        notes.append("its EXIF data is broken: taken as upright")
    value = (tags or exif).get(274, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _reversed(orientation: int, width: int, height: int) -> Iterator[int]:
    """Those of the file's sides along which its pixels run the other way once it is upright."""
    if orientation in (2, 3, 7, 8):
        yield width
    if orientation in (3, 4, 6, 7):
        yield height


def _plain(image: Image.Image, data: bytes, name: str, factor: int, notes: list[str]) -> tuple[NDArray[Any], str]:
    """8-bit samples (H, W) or (H, W, C), shrunk by `factor`, and their mode."""
    expanded = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "YCbCr": "RGB"}
    mode = expanded.get(image.mode, image.mode)
    if mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        raise _unsupported(name, f"an image of {image.mode} samples")
    if image.mode in ("P", "PA"):
        notes.append("its palette is expanded")
    image.load()  # only now is all known about transparency
    if mode in ("L", "RGB") and image.has_transparency_data:
        mode += "A"
        if image.format == "PNG" and image.mode == "L":  # the transparent grey is told in the file's own depth
            image.info["transparency"] *= 255 // (2 ** data[24] - 1)
    image = image.convert(mode) if mode != image.mode else image
    return np.asarray(image.reduce(factor) if factor > 1 else image), mode


def _deep(image: Image.Image, data: bytes, tags: Any, name: str, factor: int) -> tuple[NDArray[Any], str]:
    """16-bit samples (H, W) or (H, W, C), shrunk by `factor`, and their mode."""
    refusal = _unsupported(name, f"a 16-bit {image.mode} image of an unusual kind")
    high = np.asarray(image)
    if image.mode.startswith("I;16"):
        if tags.get(258, (16,)) != (16,):  # 12 bits
            raise refusal
        samples = high.astype(np.uint16)
        samples = ~samples if tags.get(262) == 0 else samples  # where white is zero, neither decoder heeds it
        if "transparency" in image.info:
            samples = np.dstack([samples, np.where(samples == image.info["transparency"], 0, 65535).astype(np.uint16)])
    elif image.mode in ("RGB", "RGBA"):  # Pillow keeps the high bytes alone, OpenCV both
        chunks = png_chunks(data) if image.format == "PNG" else ()
        essential = b"".join(chunk for kind, chunk in chunks if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
        decoded = cv2.imdecode(np.frombuffer(data[:8] + essential if chunks else data, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.ndim != 3 or decoded.shape[:2] != high.shape[:2]:
            raise refusal
        samples = cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB, decoded)
        shared = min(samples.shape[2], high.shape[2])
        strips = range(0, samples.shape[0], 256)  # rows, so that no further copy of the whole is made
        if samples.dtype != np.uint16 or not all(
            np.array_equal(samples[row : row + 256, :, :shared] >> 8, high[row : row + 256, :, :shared]) for row in strips
        ):
            raise refusal  # where the two disagree nobody knows what the file means
        if image.format == "PNG" and data[25] == 4:  # grey with alpha came as RGBA
            samples = np.ascontiguousarray(samples[..., 2:])
    else:
        raise refusal
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[samples.shape[2] if samples.ndim == 3 else 1]
    return (_shrink(samples, factor, mode) if factor > 1 else samples), mode


def _shrink(samples: NDArray[Any], factor: int, mode: str) -> NDArray[Any]:
    """Means of factor x factor samples, weighted by alpha where there is one; the border is repeated to fill the last."""
    height, width = (-(-side // factor) for side in samples.shape[:2])
    pad = (height * factor - samples.shape[0], width * factor - samples.shape[1])
    means = cv2.copyMakeBorder(samples, 0, pad[0], 0, pad[1], cv2.BORDER_REPLICATE).astype(np.float32)
    if mode.endswith("A"):
        means[..., :-1] *= means[..., -1:]
    means = cv2.resize(means, (width, height), interpolation=cv2.INTER_AREA)
    if mode.endswith("A"):
        means[..., :-1] /= np.maximum(means[..., -1:], 1e-6)
    return np.asarray(np.rint(means).clip(0, 65535), np.uint16)


UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {  # by EXIF orientation (2.32, tag 0x0112)
    1: lambda a: a,
    2: lambda a: cv2.flip(a, 1),
    3: lambda a: cv2.flip(a, -1),
    4: lambda a: cv2.flip(a, 0),
    5: cv2.transpose,
    6: lambda a: cv2.rotate(a, cv2.ROTATE_90_CLOCKWISE),
    7: lambda a: cv2.flip(cv2.transpose(a), -1),
    8: lambda a: cv2.rotate(a, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def _whole(data: bytes, format: str, name: str) -> bool:
    try:
        return reaches_its_end(data, format)
    except ValueError as error:
        raise _corrupt(name, format) from error


def _recognise(head: bytes, name: str) -> str:
    """One of `_READ`, or the error that fits."""
    format = sniff(head)
    if not head:
        raise errors.EmptyFile(f"{name} is empty (0 bytes)")
    if format is None:
        raise errors.NotAnImage(f"{name} is not an image, or of no kind that we know")
    if format not in _READ:
        raise _unsupported(name, f"a {format} image")
    if format == "HEIF" and not _reads_heif():
        raise errors.UnsupportedFormat(
            f"{name} is a HEIF image, which needs an extra: pip install 'photomend[heic]', or convert it to JPEG or PNG first"
        )
    return format


@cache
def _reads_heif() -> bool:
    """Whether Pillow can read HEIF now: pillow-heif, an extra, is asked for it when the first such file comes."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return True


def _unsupported(name: str, what: str) -> errors.UnsupportedFormat:
    return errors.UnsupportedFormat(f"{name} is {what}, which is not read: convert it to JPEG or PNG first")


def _truncated(name: str) -> errors.Truncated:
    return errors.Truncated(f"{name} ends before its picture does: copy it again from where it came from")


def _corrupt(name: str, format: str) -> errors.Corrupt:
    return errors.Corrupt(f"{name} is damaged, its bytes are no valid {format} image: copy it again from where it came from")


def printable(name: str) -> str:
    """`name` fit for one line on a terminal: control characters, and bytes that are not UTF-8, as escapes."""
    name = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:x}", name)  # so Python holds such bytes
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


class _Quiet:
    """Silences Pillow and OpenCV in a `with`. Both settings are of the process: the last thread out restores them."""

    def __init__(self) -> None:
        self._lock, self._inside, self._saved, self._level = threading.Lock(), 0, warnings.catch_warnings(), 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")
                self._level = cv2.utils.logging.setLogLevel(0)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._saved.__exit__(None, None, None)
                cv2.utils.logging.setLogLevel(self._level)


_QUIET = _Quiet()


def encode_png(rgb: NDArray[Any], xmp: bytes | None = None) -> bytes:
    """PNG of (H, W, 3) sRGB or (H, W) grey, uint8: the same bytes for the same pixels. `xmp` becomes an iTXt chunk."""
    rgb = _checked(rgb)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if rgb.ndim == 3 else rgb)
    data: bytes = encoded.tobytes()
    return data if xmp is None else data[:33] + png_xmp(xmp) + data[33:]  # after IHDR


def encode_jpeg(rgb: NDArray[Any], quality: int = 92, xmp: bytes | None = None, subsampling: int = 0) -> bytes:
    """JPEG of (H, W, 3) sRGB or (H, W) grey, uint8. `subsampling` of its colour: 0 none (4:4:4), 1 (4:2:2), 2 (4:2:0)."""
    return _save(rgb, "JPEG", quality=quality, subsampling=subsampling, xmp=xmp)


def encode_webp(rgb: NDArray[Any], quality: int) -> bytes:
    """WEBP of (H, W, 3) sRGB or (H, W) grey, uint8."""
    return _save(rgb, "WEBP", quality=quality)


def encode(rgb: NDArray[Any], format: str, xmp: bytes | None = None) -> bytes:
    """(H, W, 3) sRGB or (H, W) grey, uint8, as JPEG or WEBP (quality 95), PNG or TIFF (lossless); `xmp` inside, no EXIF.

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


def write_animation(path: Path, frames: Sequence[NDArray[Any]], durations: Sequence[int], most: int = MAX_BYTES) -> None:
    """(H, W, 3) uint8 frames, shown for so many milliseconds each, over and over, as a WEBP of at most `most` bytes if it can be.

    Raises:
        OutputError: as `write` does.
    """
    others = [Image.fromarray(_checked(frame)) for frame in frames[1:]]
    for quality in (80, 60, 40, 20):
        options = {"save_all": True, "append_images": others, "duration": list(durations), "quality": quality, "method": 2}
        data = _save(frames[0], "WEBP", **options, kmin=0, kmax=1)  # all whole: small changes from one to the next would be lost
        if len(data) <= most:
            break
    files.replace_bytes(path, data)


def _checked(rgb: NDArray[Any]) -> NDArray[Any]:
    if rgb.dtype != np.uint8 or 0 in rgb.shape or not (rgb.ndim == 2 or (rgb.ndim == 3 and rgb.shape[2] == 3)):
        raise ValueError(f"an image to write is (H, W, 3) or (H, W) uint8. Received: {rgb.shape} {rgb.dtype}")
    return np.ascontiguousarray(rgb)


def _save(rgb: NDArray[Any], format: str, **options: Any) -> bytes:
    image, buffer = Image.fromarray(_checked(rgb)), io.BytesIO()
    try:
        image.save(buffer, format, **{key: value for key, value in options.items() if value is not None})
    except (OSError, ValueError) as error:
        raise errors.OutputError(f"{image.width} x {image.height} pixels cannot become a {format} ({error}): use PNG") from error
    return buffer.getvalue()


_WRITE: dict[str, Callable[[NDArray[Any], bytes | None], bytes]] = {
    "JPEG": lambda rgb, xmp: encode_jpeg(rgb, 95, xmp),
    "PNG": encode_png,
    "WEBP": lambda rgb, xmp: _save(rgb, "WEBP", quality=95, xmp=xmp),
    "TIFF": lambda rgb, xmp: _save(rgb, "TIFF", compression="tiff_adobe_deflate", tiffinfo={700: xmp} if xmp else None),
}

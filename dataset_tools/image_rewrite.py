"""A photo with other samples in a file like its own: format, size, depth, orientation, EXIF, ICC profile, resolution.

What cannot be kept is told, see `Rewritten.notes`.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, TiffImagePlugin

from dataset_tools import exif
from dataset_tools.errors import OutputError
from dataset_tools.image_formats import APP0, APP1, APP13, PNG_XMP, jpeg_segments, png_chunk, png_chunks, png_xmp, webp_chunks
from dataset_tools.image_io import UPRIGHT, Photo
from dataset_tools.iptc import without_location as without_iptc_location

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")  # that can be written, each with a mark in it
QUALITY = 95  # where a JPEG or WEBP has no quality to take over

_STORED = UPRIGHT | {6: UPRIGHT[8], 8: UPRIGHT[6]}  # the way back: all others undo themselves
# Ancillary chunks of a PNG that say nothing about its pixels as they were encoded
_PNG_KEPT = {b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pHYs", b"tEXt", b"zTXt", b"iTXt"}
# Tags of a TIFF that describe the photo and not how its pixels lie in the file: names, dates, resolution, camera, copyright
_TIFF_KEPT = {269, 270, 271, 272, 282, 283, 285, 296, 297, 305, 306, 315, 316, 33432, 34675, 34665, 34853, 36867, 36868}


@dataclass(frozen=True)
class Rewritten:
    """A file, and what of the photo it could not keep."""

    data: bytes
    notes: tuple[str, ...]  # what a person should know


def rewrite(data: bytes, photo: Photo, samples: NDArray[Any], format: str, xmp: bytes | None, *, gps: bool = True) -> Rewritten:
    """The file `data`, from which `photo` was read at full size, with `samples` in place of its own.

    JPEG keeps quantization tables, subsampling of colour and whether it is progressive; WEBP is lossless if it was, else of
    quality 95; PNG and TIFF are lossless, 16 bits stay 16 bits. Metadata that describes the photo stay, but for the thumbnail,
    which shows it as it was; `xmp` takes the place of what was there.

    Args:
        samples: upright, of the shape and type of `photo.samples`.
        format: one of FORMATS. Another than the photo's own: upright pixels, and 16 bits become 8 where it has no more.
        gps: keep the location, as coordinates or in words.

    Raises:
        OutputError: the format cannot hold so many pixels, or so long metadata.
        ValueError: another format, or other samples.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}. Received: {format}")
    if samples.shape != photo.samples.shape or samples.dtype != photo.samples.dtype or photo.info.scale != 1:
        raise ValueError(f"{photo.samples.shape} {photo.samples.dtype} are wanted, at full size; received {samples.shape}")
    stays = format == photo.info.format and format != "TIFF"  # a TIFF is written upright
    with Image.open(io.BytesIO(data), formats=[photo.info.format]) as source:
        job = _Job(data, photo, source, xmp, gps)
        job.exif = _exif(job, upright=not stays, gps=gps)
        try:
            written = _WRITERS[format](job, np.ascontiguousarray(_STORED[photo.info.orientation](samples) if stays else samples))
            if job.has_iptc() and not job.keeps_iptc:
                job.notes.append("its IPTC data is left out")
        except (OSError, ValueError, struct.error) as error:
            other = "jpeg or tiff" if photo.info.mode == "CMYK" else "png"
            raise OutputError(f"it cannot become a {format} ({error}): choose --format {other}") from error
    return Rewritten(written, tuple(job.notes))


def without_location(data: bytes, photo: Photo) -> bytes:
    """The file `data`, from which `photo` was read, the same but for its location and its thumbnail, which are emptied in place.

    Raises:
        OutputError: it has one where it cannot be taken out without writing the whole file anew.
    """
    held = photo.info.exif
    in_xmp = re.search(rb"exif:GPSL|LocationCreated|LocationShown|photoshop:(City|State|Country)|Iptc4xmpCore:(Location|Country)",
                       photo.info.xmp or b"")  # fmt: skip
    in_tiff = photo.info.format == "TIFF" and exif.has_location(data)
    if in_xmp or in_tiff:
        raise OutputError(
            "it has a location that --no-gps cannot take out of a photo in which nothing is restored: remove it first"
        )
    if photo.info.format == "JPEG":
        for marker, segment in list(jpeg_segments(data)):
            if marker == APP13 and (blank := without_iptc_location(segment)) != segment:
                data = data.replace(segment, blank, 1)
    if not held or not exif.has_location(held):
        return data
    emptied = exif.edited(held, upright=False, gps=False)
    raw = held.removeprefix(exif.PREFIX)
    if emptied is None or data.count(raw) != 1:
        raise OutputError("its EXIF data is broken, so that --no-gps cannot take a location out of it: remove it first")
    if photo.info.format == "PNG":  # with a checksum
        return data.replace(png_chunk(b"eXIf", raw), png_chunk(b"eXIf", emptied))
    return data.replace(raw, emptied)


@dataclass
class _Job:
    """The file as it was, and what of its metadata goes into the new one."""

    data: bytes
    photo: Photo
    source: Image.Image  # its header alone
    xmp: bytes | None
    gps: bool
    exif: bytes | None = None
    keeps_iptc: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def is_jpeg(self) -> bool:
        return self.photo.info.format == "JPEG"

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Dots an inch across and down; None where the file has none, for which Pillow tells 1 of a TIFF."""
        untold = self.photo.info.format == "TIFF" and 282 not in getattr(self.source, "tag_v2", {})
        return None if untold else self.source.info.get("dpi")

    def has_iptc(self) -> bool:
        """Whether the file has IPTC data in the way of JPEG or TIFF."""
        if self.is_jpeg:
            return any(marker == APP13 for marker, _ in jpeg_segments(self.data))
        return 33723 in getattr(self.source, "tag_v2", {})

    @property
    def icc(self) -> bytes | None:
        return self.photo.info.icc

    def fitted(self, samples: NDArray[Any], modes: tuple[str, ...], deep: bool) -> tuple[NDArray[Any], str]:
        """`samples` as a format can hold them that knows these modes, and 16 bits only if `deep`."""
        mode = self.photo.info.mode
        if samples.dtype == np.uint16 and not deep:
            samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
            self.notes.append("16 bits a channel became 8")
        if mode.endswith("A") and mode not in modes and mode.replace("L", "RGB") not in modes:
            samples, alpha = samples[..., :-1].astype(np.uint32), samples[..., -1:].astype(np.uint32)
            samples = ((samples * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
            self.notes.append("transparent pixels are shown over white")
            mode = mode[:-1]
            samples = samples[..., 0] if mode == "L" else samples
        if mode not in modes and mode in ("L", "LA"):
            grey = samples[..., 0] if mode == "LA" else samples
            samples = np.dstack([grey, grey, grey, *([samples[..., 1]] if mode == "LA" else [])])
            mode = mode.replace("L", "RGB")
        if mode not in modes:
            raise ValueError(f"it holds no {mode}")
        return np.ascontiguousarray(samples), mode


def _jpeg(job: _Job, samples: NDArray[Any]) -> bytes:
    samples, mode = job.fitted(samples, ("L", "RGB", "CMYK"), deep=False)
    options: dict[str, Any] = {"quality": QUALITY, "subsampling": 0}
    if job.photo.info.format == "JPEG" and job.photo.info.quantization:
        tables = job.photo.info.quantization
        options = {
            "qtables": [tables[key] for key in sorted(tables)],
            "subsampling": max(0, JpegImagePlugin.get_sampling(job.source)),
            "progressive": bool(job.source.info.get("progressive")),
            "comment": job.source.info.get("comment"),
        }
    if job.exif:
        options["exif"] = exif.PREFIX + job.exif
    made = _saved(job, Image.fromarray(samples, mode), "JPEG", **options)
    held = [segment for marker, segment in jpeg_segments(job.data) if marker == APP13] if job.is_jpeg else []
    iptc = b"".join(held if job.gps else map(without_iptc_location, held))
    if not iptc:
        return made
    job.keeps_iptc = True
    at = 2 + sum(len(segment) for marker, segment in jpeg_segments(made) if marker in (APP0, APP1))
    return made[:at] + iptc + made[at:]


def _webp(job: _Job, samples: NDArray[Any]) -> bytes:
    samples, mode = job.fitted(samples, ("RGB", "RGBA"), deep=False)
    lossless = job.photo.info.format == "WEBP" and b"VP8L" in webp_chunks(job.data)
    options = {"lossless": True, "quality": 60} if lossless else {"quality": QUALITY}
    return _saved(job, Image.fromarray(samples, mode), "WEBP", **options, method=4, exact=True)


def _saved(job: _Job, image: Image.Image, format: str, **options: Any) -> bytes:
    told = {"exif": job.exif, "icc_profile": job.icc, "xmp": job.xmp, "dpi": job.dpi}
    buffer = io.BytesIO()
    image.save(buffer, format, **{key: value for key, value in (told | options).items() if value is not None})
    return buffer.getvalue()


def _png(job: _Job, samples: NDArray[Any]) -> bytes:
    samples, mode = job.fitted(samples, ("L", "RGB", "RGBA"), deep=True)
    swap = {"RGB": cv2.COLOR_RGB2BGR, "RGBA": cv2.COLOR_RGBA2BGRA}
    done, encoded = cv2.imencode(".png", cv2.cvtColor(samples, swap[mode]) if mode in swap else samples)
    if not done:
        raise ValueError("OpenCV gave up")
    chunks: list[bytes] = []
    if job.photo.info.format == "PNG":
        held = list(png_chunks(job.data))
        chunks = [
            chunk for kind, chunk in held
            if kind in _PNG_KEPT - (set() if job.icc else {b"iCCP"}) and not (kind == b"iTXt" and chunk[8:].startswith(PNG_XMP))
        ]  # fmt: skip
    else:
        if job.icc:
            chunks.append(png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(job.icc)))
        if dpi := job.dpi:
            chunks.append(png_chunk(b"pHYs", struct.pack(">IIB", *(round(float(each) / 0.0254) for each in dpi), 1)))
    if job.exif:
        chunks.append(png_chunk(b"eXIf", job.exif))
    if job.xmp:
        chunks.append(png_xmp(job.xmp))
    pixels: bytes = encoded.tobytes()
    return pixels[:33] + b"".join(chunks) + pixels[33:]  # after IHDR


def _tiff(job: _Job, samples: NDArray[Any]) -> bytes:
    """One strip, deflate, horizontal differences (TIFF 6.0, sections 8 and 14). Pillow's own writer knows no 16-bit colour."""
    samples, mode = job.fitted(samples, ("L", "LA", "RGB", "RGBA", "CMYK"), deep=True)
    height, width = samples.shape[:2]
    pixels = samples.reshape(height, width, -1)
    differences = pixels.copy()
    differences[:, 1:] -= pixels[:, :-1]
    strip = zlib.compress(differences.astype(differences.dtype.newbyteorder("<")).tobytes())
    count = pixels.shape[2]
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in _described(job).items():
        directory[tag] = value
    told = {256: width, 257: height, 258: (8 * samples.itemsize,) * count, 259: 8, 277: count, 278: height, 279: len(strip),
            262: {"L": 1, "R": 2, "C": 5}[mode[0]], 284: 1, 317: 2, 273: 0, 274: 1}  # fmt: skip
    for tag, value in told.items():
        directory[tag] = value
    if mode.endswith("A"):
        directory[338] = 2  # alpha that is not multiplied in
    for tag, value in ((34675, job.icc), (700, job.xmp)):
        if value:
            directory.tagtype[tag] = 7 if tag == 34675 else 1
            directory[tag] = value
    buffer = io.BytesIO()
    directory.save(buffer)
    return buffer.getvalue() + strip


def _described(job: _Job) -> dict[int, Any]:
    """The tags that describe the photo, those of EXIF and GPS as dicts of their own."""
    held = Image.Exif()
    if job.exif:
        held.load(job.exif)
    found = {tag: value for tag, value in held.items() if tag in _TIFF_KEPT - {34665, 34853}}
    if 282 not in found and (dpi := job.dpi):
        found |= {282: float(dpi[0]), 283: float(dpi[1]), 296: 2}
    return found | {tag: dict(held.get_ifd(tag)) for tag in (34665, 34853) if held.get_ifd(tag)}


def _exif(job: _Job, *, upright: bool, gps: bool) -> bytes | None:
    """EXIF for the new file, without the prefix of JPEG."""
    held = job.photo.info.exif
    if job.photo.info.format == "TIFF":
        source = job.source.getexif()
        kept = Image.Exif()
        for tag, value in source.items():
            if tag in _TIFF_KEPT and tag != 34675:
                kept[tag] = source.get_ifd(tag) if tag in (34665, 34853) else value
        held = kept.tobytes() if len(kept) else None
    if not held:
        return None
    found = exif.edited(held, upright=upright, gps=gps)
    if found is None:
        job.notes.append("its EXIF data is broken: left out")
    return found


_WRITERS: dict[str, Callable[[_Job, NDArray[Any]], bytes]] = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "TIFF": _tiff}

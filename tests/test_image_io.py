from __future__ import annotations

import contextlib
import io
import itertools
import os
import resource
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, features

from bench.profiles import P3, WHITE, gamma, icc, rgb_profile, xyz
from dataset_tools import errors, image_io, resources
from dataset_tools.files import TEMPORARY

ORIENTATION = 0x0112
FROM_UPRIGHT = {  # how a camera stores an upright picture, by EXIF orientation: the inverse of what a reader does
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


# ---- what the tests draw


def picture(height: int = 47, width: int = 61) -> np.ndarray:
    """A smooth picture without any symmetry, (H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack([3 * x + y, 255 - 4 * y - x // 3, 128 + 60 * np.sin(x / 9) * np.cos(y / 5)]).clip(0, 255).astype(np.uint8)


def noise(*shape: int, dtype: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng(7).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def encoded(image: np.ndarray | Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(np.ascontiguousarray(image)) if isinstance(image, np.ndarray) else image).save(buffer, format, **options)
    return buffer.getvalue()


def oriented(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples: np.ndarray, colour: int, *extra: bytes, depth: int = 16, size: tuple[int, int] | None = None) -> bytes:
    """A PNG written by hand: rows of unfiltered samples as they are."""
    width, height = size or samples.shape[1::-1]
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in samples)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(samples: np.ndarray, order: str = "<", planar: bool = False, **tags: int) -> bytes:
    """An uncompressed TIFF written by hand, its directory at the end. `tags`: t274=6 and the like."""
    height, width, *channels = samples.shape
    count = channels[0] if channels else 1
    bits = 8 * samples.itemsize
    data = (np.moveaxis(samples, 2, 0) if planar else samples).astype(samples.dtype.newbyteorder(order)).tobytes()
    size = len(data) // (count if planar else 1)
    values = {
        256: [width],
        257: [height],
        258: [bits] * count,
        259: [1],
        262: [1 if count < 3 else 2],
        277: [count],
        278: [height],
    }
    values |= {273: list(range(8, 8 + len(data), size)), 279: [size] * (len(data) // size), 284: [1 + planar]}
    values |= {int(tag[1:]): [value] for tag, value in tags.items()}
    at = 8 + len(data)
    entries, tail, tail_at = b"", b"", at + 2 + 12 * len(values) + 4
    for tag in sorted(values):
        packed = struct.pack(f"{order}{len(values[tag])}I", *values[tag])
        place = packed if len(packed) == 4 else struct.pack(order + "I", tail_at + len(tail))
        tail += packed if len(packed) > 4 else b""
        entries += struct.pack(order + "HHI", tag, 4, len(values[tag])) + place
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return header + data + struct.pack(order + "H", len(values)) + entries + bytes(4) + tail


ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])  # RGB -> XYZ, D50
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def srgb_encode(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1: linear light 0..1 -> levels 0..255, float."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def from_profile(rgb: np.ndarray, matrix: np.ndarray, exponent: float) -> np.ndarray:
    return srgb_encode((rgb / 255.0) ** exponent @ matrix.T @ np.linalg.inv(SRGB).T)


def close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(float) - b.astype(float)).max()) <= tolerance


FILES = {
    "plain.jpg": encoded(picture(), "JPEG", quality=95, subsampling=0),
    "exif.jpg": encoded(picture(), "JPEG", exif=oriented(6)),
    "progressive.jpg": encoded(picture(), "JPEG", progressive=True),
    "grey.jpg": encoded(picture()[..., 0], "JPEG"),
    "cmyk.jpg": encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG"),
    "plain.png": encoded(picture(), "PNG"),
    "palette.png": encoded(Image.fromarray(picture()).quantize(64), "PNG"),
    "deep.png": png(noise(9, 7, 3), 2),
    "lossy.webp": encoded(picture(), "WEBP"),
    "lossless.webp": encoded(picture(), "WEBP", lossless=True, exif=oriented(3)),
    "raw.tif": encoded(picture(), "TIFF"),
    "lzw.tif": encoded(picture(), "TIFF", compression="tiff_lzw"),
    "jpeg.tif": encoded(picture(), "TIFF", compression="jpeg"),
    "directory-last.tif": tiff(picture()),
    "deep.tif": tiff(noise(9, 7, 3)),
    "plain.bmp": encoded(picture(), "BMP"),
    "palette.bmp": encoded(Image.fromarray(picture()).quantize(16), "BMP"),
    "plain.gif": encoded(picture(), "GIF"),
    "moving.gif": encoded(picture(), "GIF", save_all=True, append_images=[Image.fromarray(255 - picture())]),
    "moving.webp": encoded(picture(), "WEBP", save_all=True, append_images=[Image.fromarray(255 - picture())]),
}
LOSSLESS = ("plain.png", "lossless.webp", "raw.tif", "lzw.tif", "directory-last.tif", "plain.bmp")


# ---- formats


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_an_upright_read_only_photo(name: str) -> None:
    photo = image_io.decode(FILES[name], name)
    assert (
        photo.info.format
        == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "gif": "GIF"}[name.split(".")[1]]
    )
    assert photo.rgb8.dtype == np.uint8
    assert photo.rgb8.shape == (photo.info.height, photo.info.width, 3)
    assert photo.samples.shape[:2] == (photo.info.height, photo.info.width)
    assert photo.rgb8 is photo.rgb8
    assert not photo.samples.flags.writeable
    assert not photo.rgb8.flags.writeable


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_the_pixels_back(name: str) -> None:
    photo = image_io.decode(FILES[name], name)
    upright = picture()[::-1, ::-1] if name == "lossless.webp" else picture()  # it says that it is upside down
    assert np.array_equal(photo.rgb8, upright)
    assert np.array_equal(photo.samples, upright)
    assert (photo.info.mode, photo.info.depth, photo.info.notes) == ("RGB", 8, ())


def test_a_jpeg_keeps_colours_and_what_it_says_of_itself() -> None:
    data = encoded(picture(), "JPEG", quality=95, subsampling=0, exif=oriented(1), icc_profile=rgb_profile(ADOBE, 2.2))
    photo = image_io.decode(data, "a.jpg")
    assert close(photo.samples, picture(), 6)
    assert photo.info.exif == oriented(1).tobytes()
    assert photo.info.icc == rgb_profile(ADOBE, 2.2)
    assert photo.info.quantization is not None
    assert [len(table) for table in photo.info.quantization.values()] == [64, 64]


def test_the_first_of_several_pictures_is_read_and_said_so() -> None:
    other = [Image.fromarray(255 - picture())]
    for format in ("GIF", "WEBP", "TIFF", "PNG", "MPO"):
        options = {"lossless": True} if format == "WEBP" else {}
        photo = image_io.decode(encoded(picture(), format, save_all=True, append_images=other, **options), "a")
        first = np.asarray(Image.open(io.BytesIO(encoded(picture(), "GIF" if format == "GIF" else "PNG"))).convert("RGB"))
        assert close(photo.rgb8, first, 40 if format == "MPO" else 0)
        assert photo.info.format == ("JPEG" if format == "MPO" else format)
        assert "the file holds several pictures: this is the first" in photo.info.notes


def test_sniff_goes_by_content() -> None:
    for name, data in FILES.items():
        assert image_io.sniff(data[: image_io.HEAD_BYTES]) == image_io.decode(data, name).info.format
    box = b"\0\0\0\x20ftyp"
    assert image_io.sniff(box + b"heic\0\0\0\0mif1heic") == "HEIF"
    assert image_io.sniff(box + b"mif1\0\0\0\0mif1avif") == "AVIF"
    assert image_io.sniff(box + b"crx \0\0\0\1crx isom") == "RAW"
    assert image_io.sniff(box + b"isom\0\0\0\0isommp42") is None
    assert image_io.sniff(b"II*\0\x10\0\0\0CR\x02\0") == "RAW"
    assert image_io.sniff(b"8BPS\0\1") == "PSD"
    assert image_io.sniff(b"BMP is a format for images\n") is None
    assert image_io.sniff(b"") is None


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "it is a.jpg"
    path.write_bytes(FILES["plain.png"])
    photo = image_io.read(path)
    assert photo.info.format == "PNG"
    assert np.array_equal(photo.rgb8, picture())


# ---- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_every_orientation_comes_out_upright(format: str, orientation: int) -> None:
    upright = picture(48, 64)
    options = {"lossless": True} if format == "WEBP" else {"quality": 97, "subsampling": 0} if format == "JPEG" else {}
    data = encoded(FROM_UPRIGHT[orientation](upright), format, exif=oriented(orientation), **options)
    photo = image_io.decode(data, "a")
    assert close(photo.rgb8, upright, 6 if format == "JPEG" else 0)
    assert (photo.info.width, photo.info.height, photo.info.orientation) == (64, 48, orientation)
    small = image_io.decode(data, "a", scale=4)
    assert close(small.rgb8, upright.reshape(12, 4, 16, 4, 3).mean((1, 3)), 6 if format == "JPEG" else 0.5)
    assert (small.info.width, small.info.height) == (64, 48)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_pictures_are_turned_too(orientation: int) -> None:
    for upright in (noise(7, 5, 3), noise(7, 5)):
        stored = np.ascontiguousarray(FROM_UPRIGHT[orientation](upright))
        exif = chunk(b"eXIf", oriented(orientation).tobytes().removeprefix(b"Exif\0\0"))
        for data in (png(stored, 2 if upright.ndim == 3 else 0, exif), tiff(stored, ">", t274=orientation)):
            assert np.array_equal(image_io.decode(data, "a").samples, upright)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_broken_exif_does_not_lose_the_photo(exif: bytes) -> None:
    photo = image_io.decode(encoded(picture(), "JPEG", quality=95, subsampling=0, exif=exif), "a.jpg")
    assert close(photo.rgb8, picture(), 6)
    assert photo.info.orientation == 1
    assert photo.info.exif == exif


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_upright(value: int) -> None:
    for format in ("PNG", "TIFF"):
        photo = image_io.decode(encoded(picture(), format, exif=oriented(value)), "a")
        assert np.array_equal(photo.rgb8, picture())
        assert photo.info.orientation == 1


def test_only_exif_orients_and_not_xmp() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for format in image_io._WRITE:
        photo = image_io.decode(image_io.encode(picture(), format, xmp), "a")
        assert (photo.rgb8.shape, photo.info.orientation) == ((47, 61, 3), 1)


# ---- channels


def test_grey_is_one_channel_and_rgb8_three_equal_ones() -> None:
    grey = picture()[..., 0]
    for format in ("PNG", "TIFF", "BMP", "GIF"):
        photo = image_io.decode(encoded(grey, format), "a")
        assert np.array_equal(photo.rgb8, np.dstack([grey] * 3))
        if format != "GIF":
            assert photo.info.mode == "L"
            assert np.array_equal(photo.samples, grey)


def test_one_bit_is_black_and_white() -> None:
    bits = picture()[..., 0] > 100
    photo = image_io.decode(encoded(Image.fromarray(bits), "TIFF", compression="group4"), "a.tif")
    assert np.array_equal(photo.samples, bits * np.uint8(255))


def test_cmyk_without_a_profile() -> None:
    inks = np.zeros((32, 32, 4), np.uint8)
    inks[:16, :16] = (255, 0, 0, 0)
    inks[16:, :16] = (0, 0, 0, 255)
    inks[:16, 16:] = (0, 128, 0, 64)
    image = Image.frombytes("CMYK", (32, 32), inks.tobytes())
    for format, tolerance in (("TIFF", 0), ("JPEG", 3)):
        photo = image_io.decode(encoded(image, format, **({"quality": 98, "subsampling": 0} if format == "JPEG" else {})), "a")
        assert photo.info.mode == "CMYK"
        assert close(photo.samples, inks, tolerance)
        plain = 255 * (1 - inks[..., :3] / 255) * (1 - inks[..., 3:] / 255)
        assert close(photo.rgb8, plain, tolerance + 1)
        assert photo.info.notes == ("CMYK without a usable colour profile: its colours are approximate",)


def lut_profile() -> bytes:
    """CMYK of which every ink is grey: L* = 100 (1 - k) (1 - (c + m + y) / 6)."""
    corners = [100 * (1 - k) * (1 - (c + m + y) / 6) for c, m, y, k in itertools.product((0, 1), repeat=4)]
    table = bytes(value for lightness in corners for value in (round(lightness * 2.55), 128, 128))
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + 4 * identity + table + 3 * identity
    return icc(b"CMYK", {b"wtpt": xyz(WHITE), b"A2B0": lut}, b"prtr", b"Lab ")


def test_cmyk_goes_through_its_profile() -> None:
    inks = np.zeros((8, 3, 4), np.uint8)
    inks[:, 1] = (255, 0, 0, 0)
    inks[:, 2] = (0, 0, 0, 255)
    photo = image_io.decode(encoded(Image.frombytes("CMYK", (3, 8), inks.tobytes()), "TIFF", icc_profile=lut_profile()), "a.tif")
    assert np.array_equal(photo.samples, inks)
    cyan = srgb_encode(np.array(((100 * 5 / 6 + 16) / 116) ** 3))
    assert close(photo.rgb8[0], np.array([[255] * 3, [cyan] * 3, [0] * 3]), 2)
    assert photo.info.notes == ()


def test_a_palette_is_expanded() -> None:
    image = Image.fromarray(picture()).quantize(64)
    expected = np.asarray(image.convert("RGB"))
    for format in ("PNG", "GIF", "BMP", "TIFF"):
        photo = image_io.decode(encoded(image, format), "a")
        assert np.array_equal(photo.samples, expected)
        assert np.array_equal(photo.rgb8, expected)
        assert photo.info.notes == ("its palette is expanded",)


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return rgb * (alpha / 255.0) + 255.0 - alpha


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 256, 4))])
def test_a_palette_with_transparency(transparency: int | bytes) -> None:
    image = Image.fromarray(picture()).quantize(64)
    index = np.asarray(image)
    table = np.full(256, 255) if isinstance(transparency, int) else np.frombuffer(transparency.ljust(256, b"\xff"), np.uint8)
    alpha = np.where(index == transparency, 0, table[index])[..., None]
    photo = image_io.decode(encoded(image, "PNG", transparency=transparency), "a.png")
    assert photo.info.mode == "RGBA"
    assert np.array_equal(photo.samples[..., 3:], alpha)
    assert close(photo.rgb8, over_white(np.asarray(image.convert("RGB")), alpha), 0.5)
    assert photo.info.notes == ("its palette is expanded", "transparent pixels are shown over white")


def test_alpha_is_kept_in_samples_and_shown_over_white() -> None:
    rgba = noise(40, 30, 4, dtype=np.uint8)
    for format, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})):
        photo = image_io.decode(encoded(rgba, format, **options), "a")
        assert photo.info.mode == "RGBA"
        assert np.array_equal(photo.samples, rgba)
        assert close(photo.rgb8, over_white(rgba[..., :3], rgba[..., 3:]), 0.5)
        assert photo.info.notes == ("transparent pixels are shown over white",)
    photo = image_io.decode(encoded(Image.fromarray(rgba).convert("LA"), "PNG"), "a.png")
    assert photo.info.mode == "LA"
    assert close(photo.rgb8, over_white(photo.samples[..., :1].repeat(3, 2), photo.samples[..., 1:]), 0.5)


def test_one_transparent_colour_of_a_png() -> None:
    rgb = picture()
    data = png(rgb, 2, chunk(b"tRNS", struct.pack(">3H", *map(int, rgb[3, 5]))), depth=8)
    photo = image_io.decode(data, "a.png")
    assert np.array_equal(photo.samples[..., 3] == 0, (rgb == rgb[3, 5]).all(2))
    assert tuple(photo.rgb8[3, 5]) == (255, 255, 255)
    packed = np.array([[0b00011011]], np.uint8)  # four grey pixels of 2 bits: 0 1 2 3, of which 1 is transparent
    photo = image_io.decode(png(packed, 0, chunk(b"tRNS", b"\0\1"), depth=2, size=(4, 1)), "a.png")
    assert photo.samples.tolist() == [[[0, 255], [85, 0], [170, 255], [255, 255]]]


# ---- 16 bits


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("channels", "extra"), [(0, {}), (3, {}), (4, {"t338": 2})])
def test_16_bit_tiff_is_exact(order: str, channels: int, extra: dict[str, int]) -> None:
    samples = noise(9, 7, channels) if channels else noise(9, 7)
    photo = image_io.decode(tiff(samples, order, **extra), "a.tif")
    assert photo.samples.dtype == np.uint16
    assert np.array_equal(photo.samples, samples)
    assert (photo.info.depth, photo.info.mode) == (16, {0: "L", 3: "RGB", 4: "RGBA"}[channels])


@pytest.mark.parametrize(("colour", "channels", "mode"), [(0, 0, "L"), (2, 3, "RGB"), (4, 2, "LA"), (6, 4, "RGBA")])
def test_16_bit_png_is_exact_and_rgb8_is_rounded(colour: int, channels: int, mode: str) -> None:
    samples = noise(9, 7, channels) if channels else noise(9, 7)
    photo = image_io.decode(png(samples, colour), "a.png")
    assert photo.samples.dtype == np.uint16
    assert np.array_equal(photo.samples, samples)
    assert (photo.info.depth, photo.info.mode) == (16, mode)
    eight = np.rint(samples / 257.0)
    colours = eight[..., None].repeat(3, 2) if mode == "L" else eight[..., :1].repeat(3, 2) if mode == "LA" else eight[..., :3]
    alpha = eight[..., -1:] if mode.endswith("A") else np.full((9, 7, 1), 255.0)
    assert close(photo.rgb8, over_white(colours, alpha), 0.5)


def test_every_16_bit_level_is_rounded() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    photo = image_io.decode(png(levels, 0), "a.png")
    assert np.array_equal(photo.rgb8[..., 0], np.rint(levels / 257.0))


def test_16_bit_compressed_by_another_program() -> None:
    samples = noise(33, 20, 3)
    for suffix in (".tiff", ".png"):
        data = cv2.imencode(suffix, cv2.cvtColor(samples, cv2.COLOR_RGB2BGR))[1].tobytes()
        assert np.array_equal(image_io.decode(data, "a").samples, samples)


def test_16_bit_transparent_colour_and_white_is_zero() -> None:
    grey, rgb = noise(9, 7), noise(9, 7, 3)
    photo = image_io.decode(png(grey, 0, chunk(b"tRNS", struct.pack(">H", int(grey[2, 3])))), "a.png")
    assert np.array_equal(photo.samples, np.dstack([grey, np.where(grey == grey[2, 3], 0, 65535)]))
    photo = image_io.decode(png(rgb, 2, chunk(b"tRNS", struct.pack(">3H", *map(int, rgb[2, 3])))), "a.png")
    assert photo.info.mode == "RGBA"
    assert (photo.samples[2, 3, 3], tuple(photo.rgb8[2, 3])) == (0, (255, 255, 255))
    assert np.array_equal(image_io.decode(tiff(grey, t262=0), "a.tif").samples, 65535 - grey)


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray(noise(9, 7).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(noise(9, 7).astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(picture()).convert("LAB"), "TIFF"),
        tiff(noise(9, 7, 4), t262=5),  # 16-bit CMYK
        tiff(noise(9, 7, 4), t338=1),  # 16-bit with premultiplied alpha
        tiff(noise(9, 7, 2)),
        tiff(picture(), t50706=0x0401),  # a DNG
        tiff(picture(), t254=1),  # a preview before the camera's own data
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        b"8BPS\0\1" + bytes(40),
    ],
)
def test_kinds_that_are_not_read_say_what_to_do(data: bytes) -> None:
    with pytest.raises(errors.UnsupportedFormat, match=r"^a\.x is .*: convert it to JPEG or PNG first$"):
        image_io.decode(data, "a.x")


# ---- colour profiles


@pytest.mark.parametrize(("matrix", "exponent"), [(ADOBE, 2.19921875), (P3, 2.2), (ADOBE, 1.0)])
def test_an_embedded_profile_is_converted_to_srgb(matrix: np.ndarray, exponent: float) -> None:
    rgb = np.concatenate([picture(), noise(20, 61, 3, dtype=np.uint8)])
    expected = from_profile(rgb, matrix, exponent)
    assert np.abs(expected - rgb).max() > 20  # it does matter
    profile = rgb_profile(matrix, exponent)
    for format, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        photo = image_io.decode(encoded(rgb, format, icc_profile=profile, **options), "a")
        assert np.array_equal(photo.samples, rgb)
        assert close(photo.rgb8, expected, 2)
        assert (photo.info.icc, photo.info.notes) == (profile, ())


def test_profiles_of_grey_alpha_palette_and_16_bits() -> None:
    grey, rgb, alpha = picture()[..., 0], picture(), picture()[..., 1:2]
    profile = icc(b"GRAY", {b"wtpt": xyz(WHITE), b"kTRC": gamma(1.5)})
    expected = srgb_encode((grey / 255.0) ** 1.5)[..., None].repeat(3, 2)
    assert close(image_io.decode(encoded(grey, "PNG", icc_profile=profile), "a").rgb8, expected, 2)

    adobe = rgb_profile(ADOBE, 2.2)
    expected = from_profile(np.dstack([grey] * 3), ADOBE, 563 / 256)
    assert close(image_io.decode(encoded(grey, "PNG", icc_profile=adobe), "a").rgb8, expected, 2)

    expected = from_profile(rgb, ADOBE, 563 / 256)
    photo = image_io.decode(encoded(np.dstack([rgb, alpha]), "PNG", icc_profile=adobe), "a")
    assert close(photo.rgb8, over_white(expected, alpha), 2)
    deep = png(rgb.astype(np.uint16) * 257, 2, chunk(b"iCCP", b"x\0\0" + zlib.compress(adobe)))
    assert close(image_io.decode(deep, "a").rgb8, expected, 2)
    indexed = Image.fromarray(rgb).quantize(64)
    photo = image_io.decode(encoded(indexed, "PNG", icc_profile=adobe), "a")
    assert close(photo.rgb8, from_profile(np.asarray(indexed.convert("RGB")), ADOBE, 563 / 256), 2)


def test_an_srgb_profile_changes_nothing() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = image_io.decode(encoded(picture(), "PNG", icc_profile=profile), "a.png")
    assert np.array_equal(photo.rgb8, picture())
    assert photo.info.icc == profile


@pytest.mark.parametrize(
    ("profile", "note"),
    [
        (b"not a profile", "its colour profile is broken: ignored"),
        (rgb_profile(ADOBE, 2.2)[:200], "its colour profile is broken: ignored"),
        (lut_profile(), "its colour profile is for CMYK, not for RGB: ignored"),
    ],
)
def test_a_profile_that_cannot_be_used_is_ignored_and_said_so(profile: bytes, note: str) -> None:
    photo = image_io.decode(encoded(picture(), "PNG", icc_profile=profile), "a.png")
    assert np.array_equal(photo.rgb8, picture())
    assert photo.info.notes == (note,)


def test_a_profile_whose_packing_is_broken_is_said_too() -> None:
    photo = image_io.decode(png(picture(), 2, chunk(b"iCCP", b"x\0\0not zlib"), depth=8), "a.png")
    assert np.array_equal(photo.rgb8, picture())
    assert (photo.info.icc, photo.info.notes) == (None, ("its colour profile is broken: ignored",))


# ---- scale


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_scale_is_the_mean_of_blocks_and_rounds_sizes_up(scale: int) -> None:
    rgb = picture(101, 67)
    for name in ("JPEG", "PNG", "WEBP", "deep"):
        options: dict[str, Any] = {"JPEG": {"quality": 97, "subsampling": 0}, "WEBP": {"lossless": True}}.get(name, {})
        data = png(rgb.astype(np.uint16) * 257, 2) if name == "deep" else encoded(rgb, name, **options)
        photo = image_io.decode(data, "a", scale)
        height, width = -(-101 // scale), -(-67 // scale)
        assert photo.rgb8.shape == (height, width, 3)
        assert (photo.info.width, photo.info.height) == (67, 101)
        inner = rgb[: 101 // scale * scale, : 67 // scale * scale].astype(float)
        means = inner.reshape(101 // scale, scale, 67 // scale, scale, 3).mean((1, 3))
        assert close(photo.rgb8[: 101 // scale, : 67 // scale], means, 8 if name == "JPEG" else 1)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (7, 5), (8, 1)])
def test_scale_of_tiny_pictures(size: tuple[int, int]) -> None:
    for scale, format in itertools.product((2, 4, 8), ("JPEG", "PNG", "TIFF")):
        photo = image_io.decode(encoded(np.full((*size, 3), 90, np.uint8), format), "a", scale)
        assert photo.rgb8.shape == (-(-size[0] // scale), -(-size[1] // scale), 3)
        assert close(photo.rgb8, np.full(photo.rgb8.shape, 90), 2)


def test_scale_weighs_colours_by_alpha() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (200, 100, 50, 255)  # one visible pixel; the colour of the others must not bleed into it
    for data in (encoded(rgba, "PNG"), png(rgba.astype(np.uint16) * 257, 6)):
        photo = image_io.decode(data, "a.png", 2)
        assert close(photo.samples / (257 if photo.info.depth == 16 else 1), np.array([[[200, 100, 50, 63.75]]]), 1)


def test_another_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale must be 1, 2, 4 or 8. Received: 3"):
        image_io.decode(FILES["plain.png"], "a", 3)


# ---- hostile and damaged bytes


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_ends_early_is_never_an_image(name: str) -> None:
    data = FILES[name]
    cuts = {*range(40, len(data), max(1, len(data) // 60)), *range(len(data) - 12, len(data))}
    for cut in sorted(cuts):
        with pytest.raises(errors.Truncated, match=rf"^{name} ends before its picture does"):
            image_io.decode(data[:cut], name, (1, 2)[cut % 2])
    for cut in range(40):
        with pytest.raises((errors.Truncated, errors.NotAnImage, errors.EmptyFile)):
            image_io.decode(data[:cut], name)


def test_bytes_after_the_end_are_allowed() -> None:
    film = noise(5000, dtype=np.uint8).tobytes() + b"\xff\xda"
    for name, data in FILES.items():
        assert np.array_equal(image_io.decode(data + film, name).rgb8, image_io.decode(data, name).rgb8)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_photo() -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + encoded(picture(20, 20), "JPEG")
    data = encoded(picture(), "JPEG", exif=exif)
    assert image_io.decode(data, "a.jpg").rgb8.shape == (47, 61, 3)
    with pytest.raises(errors.Truncated):
        image_io.decode(data[:-2], "a.jpg")
    with pytest.raises(errors.Truncated):
        image_io.decode(data[: len(data) // 2].ljust(len(data), b"\0"), "a.jpg")  # a download that reserved its space


def test_flipped_bits_give_a_photo_or_a_photo_error() -> None:
    rng = np.random.default_rng(2024)
    for name, data in FILES.items():
        for scale in 25 * (1, 8):
            hurt = bytearray(data)
            for _ in range(rng.integers(1, 4)):
                hurt[rng.integers(len(data) if scale == 1 else min(200, len(data)))] ^= 1 << int(rng.integers(8))
            with contextlib.suppress(
                errors.Truncated, errors.Corrupt, errors.UnsupportedFormat, errors.NotAnImage, errors.TooLarge
            ):
                assert image_io.decode(bytes(hurt), name, scale).rgb8.dtype == np.uint8


def test_of_an_mpo_only_the_first_picture_must_be_whole() -> None:
    data = encoded(picture(), "MPO", save_all=True, append_images=[Image.fromarray(255 - picture())])
    end = data.index(b"\xff\xd9") + 2
    assert np.array_equal(image_io.decode(data[: end + 200], "a").rgb8, image_io.decode(data, "a").rgb8)
    with pytest.raises(errors.Truncated):
        image_io.decode(data[: end - 1], "a")


@pytest.mark.parametrize("name", ["plain.gif", "plain.bmp"])
def test_a_picture_without_pixels_is_a_photo_error(name: str) -> None:
    data = bytearray(FILES[name])
    data[6:10] = bytes(4) if name == "plain.gif" else data[6:10]
    data[18:26] = bytes(8) if name == "plain.bmp" else data[18:26]
    with contextlib.suppress(errors.Corrupt):  # a GIF's picture may be larger than its screen
        assert image_io.decode(bytes(data), name).rgb8.size > 0


def test_a_wrong_checksum_is_corrupt() -> None:
    data = bytearray(FILES["plain.png"])
    data[-20] ^= 1
    with pytest.raises(errors.Corrupt, match=r"^a\.png is damaged, its bytes are no valid PNG image"):
        image_io.decode(bytes(data), "a.png")


def test_warnings_of_pillow_stay_inside_and_filters_are_restored() -> None:
    large = png(np.zeros((9500, 1250), np.uint8), 0, depth=1, size=(10000, 9500))  # Pillow warns above 89 million pixels
    before = list(warnings.filters)
    assert image_io.decode(large, "a.png", 8).rgb8.shape == (1188, 1250, 3)
    with ThreadPoolExecutor(4) as pool:
        photos = list(pool.map(lambda _: image_io.decode(FILES["exif.jpg"], "a"), range(40)))
    assert all(np.array_equal(photo.rgb8, photos[0].rgb8) for photo in photos)
    assert list(warnings.filters) == before


def test_private_tags_of_a_16_bit_tiff_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    level = cv2.utils.logging.getLogLevel()
    samples = noise(9, 7, 3)
    assert np.array_equal(image_io.decode(tiff(samples, t65000=1), "a.tif").samples, samples)
    assert capfd.readouterr() == ("", "")
    assert cv2.utils.logging.getLogLevel() == level


def huge(name: str, at: int, code: str) -> bytes:
    """The file `name` with its width and height, at `at`, overwritten by 30000 or what the field can hold."""
    data = bytearray(FILES[name])
    struct.pack_into(code, data, at, 30000, 30000)
    return bytes(data)


WEBP = bytearray(FILES["lossless.webp"])  # with EXIF, so it has the extended header
WEBP[24:30] = (29999).to_bytes(3, "little") * 2
JPEG_FRAME = FILES["plain.jpg"].index(b"\xff\xc0") + 5
BOMBS = {
    "PNG": png(np.zeros((64, 64), np.uint8), 0, depth=8, size=(30000, 30000)),
    "JPEG": huge("plain.jpg", JPEG_FRAME, ">HH"),
    "BMP": huge("plain.bmp", 18, "<ii"),
    "GIF": huge("plain.gif", 6, "<HH"),
    "TIFF": tiff(picture(), t256=30000, t257=30000),
    "WEBP": bytes(WEBP),
    "text": png(picture(), 2, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000))), depth=8),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_takes_memory(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(errors.TooLarge, match=r"^b\.png "):
        image_io.decode(BOMBS[name], "b.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_the_limit_is_ours_and_not_that_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_io, "MAX_PIXELS", 61 * 47 - 1)
    for name in ("plain.jpg", "plain.png", "raw.tif", "lossy.webp"):
        with pytest.raises(errors.TooLarge, match=rf"^{name} has 61 x 47 pixels, more than the 2866 that are read$"):
            image_io.decode(FILES[name], name, 8)


# ---- HEIF and AVIF


@pytest.fixture(params=["AVIF", "HEIF"])
def modern(request: pytest.FixtureRequest) -> str:
    """A format in ISO boxes, where what decodes it is installed."""
    if request.param == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra heic is not installed").register_heif_opener()
    elif not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    return str(request.param)


def portrait() -> np.ndarray:
    return image_io.read(sorted(resources.path("samples").glob("*.jpg"))[0], 4).rgb8  # (192, 192, 3)


def boxed(format: str, rgb: np.ndarray | None = None, **options: Any) -> bytes:
    exact = {"subsampling": "4:4:4"} if format == "AVIF" else {"chroma": 444}
    return encoded(portrait()[:96] if rgb is None else rgb, format, quality=95, **exact, **options)


def test_heif_and_avif_come_back(modern: str) -> None:
    photo = image_io.decode(boxed(modern), "a.heic")
    assert (photo.info.format, photo.info.mode, photo.info.depth, photo.info.notes) == (modern, "RGB", 8, ())
    assert np.abs(photo.rgb8.astype(float) - portrait()[:96]).mean() < 2
    small = image_io.decode(boxed(modern), "a", 4)
    assert small.rgb8.shape == (24, 48, 3)
    assert (small.info.width, small.info.height) == (192, 96)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heif_and_avif_are_turned_once(modern: str, orientation: int) -> None:
    upright = picture(48, 64)
    photo = image_io.decode(boxed(modern, FROM_UPRIGHT[orientation](upright), exif=oriented(orientation).tobytes()), "a")
    assert np.abs(photo.rgb8.astype(float) - upright).mean() < 4
    assert (photo.info.width, photo.info.height) == (64, 48)


def test_alpha_grey_and_profile_of_heif_and_avif(modern: str) -> None:
    alpha = np.repeat(np.arange(0, 192, 1, np.uint8)[None], 96, 0)
    photo = image_io.decode(boxed(modern, np.dstack([portrait()[:96], alpha])), "a")
    assert photo.info.mode == "RGBA"
    assert np.abs(photo.rgb8 - over_white(portrait()[:96], alpha[..., None])).mean() < 3
    assert photo.info.notes == ("transparent pixels are shown over white",)
    grey = image_io.decode(encoded(portrait()[:96, :, 0], modern), "a")
    assert grey.rgb8.shape == (96, 192, 3)
    assert grey.info.mode == "L"
    photo = image_io.decode(boxed(modern, icc_profile=rgb_profile(P3, 2.2)), "a")
    assert photo.info.icc == rgb_profile(P3, 2.2)
    assert np.abs(photo.rgb8 - from_profile(photo.samples, P3, 563 / 256)).max() < 3


def test_ten_bits_are_read_as_eight() -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    y, x = np.mgrid[0:64, 0:64]
    deep = np.dstack([x * 900, y * 900, (x + y) * 450]).astype(np.uint16)
    buffer = io.BytesIO()
    heif.from_bytes(mode="RGB;16", size=(64, 64), data=deep.tobytes()).save(buffer, quality=95)
    photo = image_io.decode(buffer.getvalue(), "a.heic")
    assert photo.samples.dtype == np.uint8
    assert np.abs(photo.rgb8 - deep / 257).mean() < 3


def test_heif_and_avif_that_end_early_or_go_on(modern: str) -> None:
    data = boxed(modern)
    for cut in {*range(40, len(data), len(data) // 40), *range(len(data) - 9, len(data))}:
        with pytest.raises(errors.Truncated, match=r"^a\.heic ends before its picture does"):
            image_io.decode(data[:cut], "a.heic")
    film = data + noise(5000, dtype=np.uint8).tobytes()
    assert np.array_equal(image_io.decode(film, "a").rgb8, image_io.decode(data, "a").rgb8)
    several = encoded(portrait(), modern, save_all=True, append_images=[Image.fromarray(255 - portrait())])
    assert "the file holds several pictures: this is the first" in image_io.decode(several, "a").info.notes


def test_flipped_bits_of_heif_and_avif_give_a_photo_or_a_photo_error(modern: str) -> None:
    rng, data = np.random.default_rng(3), boxed(modern, picture())
    for number in range(60):
        hurt = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            hurt[rng.integers(len(data) if number % 2 else min(500, len(data)))] ^= 1 << int(rng.integers(8))
        with contextlib.suppress(errors.PhotoError):
            assert image_io.decode(bytes(hurt), "a").rgb8.dtype == np.uint8


def test_bombs_of_heif_and_avif(modern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(boxed(modern))
    struct.pack_into(">II", data, data.index(b"ispe") + 8, 30000, 30000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(errors.TooLarge, match=r"^b\.heic "):
        image_io.decode(bytes(data), "b.heic")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
    whole = boxed(modern)
    monkeypatch.setattr(image_io, "MAX_PIXELS", 192 * 96 - 1)
    with pytest.raises(errors.TooLarge, match=r"^a has 192 x 96 pixels, more than the 18431 that are read$"):
        image_io.decode(whole, "a")


def test_without_the_extra_heif_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    image_io._reads_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    line = r"^a\.heic is a HEIF image, which needs an extra: pip install 'photomend\[heic\]', or convert it to JPEG or PNG first$"
    try:
        with pytest.raises(errors.UnsupportedFormat, match=line):
            image_io.decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.heic")
    finally:
        image_io._reads_heif.cache_clear()


# ---- files


def failure(path: Path) -> errors.PhotoError:
    with pytest.raises(errors.PhotoError) as caught:
        image_io.read(path)
    assert "\n" not in str(caught.value)
    return caught.value


def test_files_that_are_no_photos(tmp_path: Path) -> None:
    for name, data in (("empty.jpg", b""), ("text.jpg", b"This is not a photo.\n" * 20), ("zeros.png", bytes(1000))):
        (tmp_path / name).write_bytes(data)
    assert failure(tmp_path / "empty.jpg").reason == "empty"
    assert str(failure(tmp_path / "empty.jpg")) == f"{tmp_path}/empty.jpg is empty (0 bytes)"
    assert failure(tmp_path / "text.jpg").reason == "not_an_image"
    assert failure(tmp_path / "zeros.png").reason == "not_an_image"


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "itself.jpg").symlink_to(tmp_path / "itself.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, words in (
        (tmp_path, "cannot be read (Is a directory)"),
        (tmp_path / "vanished.jpg", "cannot be read (No such file or directory)"),
        (tmp_path / "dangling.jpg", "cannot be read (No such file or directory)"),
        (tmp_path / "itself.jpg", "cannot be read (Too many levels of symbolic links)"),
        (tmp_path / "pipe.jpg", "is a device or a pipe, not a photo"),
        (tmp_path / "nul\0.jpg", "cannot be read (no file can have this name)"),
    ):
        error = failure(path)
        assert error.reason == "unreadable"
        assert words in str(error)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    error = failure(tmp_path / "a.jpg")
    assert (error.reason, str(error)) == (
        "unreadable",
        f"{tmp_path}/a.jpg cannot be read (Permission denied): change its permissions",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_for_real(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(FILES["plain.jpg"])
    path.chmod(0)
    assert failure(path).reason == "unreadable"


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with open(path, "wb") as handle:
        handle.write(FILES["plain.jpg"])
        handle.truncate(image_io.MAX_BYTES + 1)  # sparse
    error = failure(path)
    assert (error.reason, str(error)) == ("too_large", f"{path} is larger than 1024 MiB, more than a photo needs")


def test_names_that_are_not_utf8_are_photos_and_can_be_printed(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9\x1b[31m\n.png")
    image_io.write(path, picture(), "PNG")
    assert np.array_equal(image_io.read(path).rgb8, picture())
    path.write_bytes(FILES["plain.png"][:300])
    error = failure(path)
    assert (
        str(error) == f"{tmp_path}/caf\\xe9\\x1b[31m\\n.png ends before its picture does: copy it again from where it came from"
    )
    assert str(error).encode()


# ---- writing

XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>made by photomend ü</rdf:RDF></x:xmpmeta>'.encode()


@pytest.mark.parametrize("format", image_io._WRITE)
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("xmp", [None, XMP])
def test_what_is_written_reads_back(format: str, grey: bool, xmp: bytes | None) -> None:
    array = picture()[..., 0] if grey else picture()
    data = image_io.encode(array, format, xmp)
    assert data == image_io.encode(array[::-1][::-1], format, xmp)  # the same bytes, whatever the strides
    photo = image_io.decode(data, "a")
    assert photo.info.format == format
    assert close(photo.rgb8, np.dstack([array] * 3) if grey else array, {"JPEG": 6, "WEBP": 16}.get(format, 0))
    assert (photo.info.exif, photo.info.icc, photo.info.orientation) == (None, None, 1)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == format
        assert not image.getexif().get_ifd(0x8825)  # GPS
        stored = image.info.get("xmp", image.info.get("XML:com.adobe.xmp"))
        assert (stored.encode() if isinstance(stored, str) else stored) == xmp


def test_png_and_jpeg_of_pairs() -> None:
    sample = image_io.read(sorted(resources.path("samples").glob("*.jpg"))[0]).rgb8
    assert np.array_equal(image_io.decode(image_io.encode_png(sample), "a").samples, sample)
    small, large = image_io.encode_jpeg(sample, 50), image_io.encode_jpeg(sample)
    assert len(small) < len(large)
    assert close(image_io.decode(large, "a").samples.mean((0, 1)), sample.mean((0, 1)), 0.5)


def test_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.png"
    image_io.write(path, picture(), "PNG", XMP)
    assert path.read_bytes() == image_io.encode_png(picture(), XMP)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]
    with pytest.raises(errors.OutputError, match=r"^cannot write "):
        image_io.write(path / "below-a-file.png", picture(), "PNG")
    assert not list(tmp_path.rglob(TEMPORARY + "*"))


def test_an_animation(tmp_path: Path) -> None:
    frames = [np.roll(picture(), 3 * number, 1) for number in range(5)]
    sizes: list[int] = []
    for most in (image_io.MAX_BYTES, 1500, 1):
        image_io.write_animation(tmp_path / "a.webp", frames, [900, 100, 120, 100, 2000], most)
        data = (tmp_path / "a.webp").read_bytes()
        sizes.append(len(data))
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size, image.n_frames, image.info["loop"]) == ("WEBP", (61, 47), 5, 0)
            for number, duration in enumerate((900, 100, 120, 100, 2000)):
                image.seek(number)
                assert close(np.array(image.convert("RGB")).mean((0, 1)), frames[number].mean((0, 1)), 6)
                assert image.info["duration"] == duration
        image_io.write_animation(tmp_path / "b.webp", frames, [900, 100, 120, 100, 2000], most)
        assert (tmp_path / "b.webp").read_bytes() == data
    assert sizes[0] > 1500 >= sizes[1] > sizes[2]


def test_small_changes_of_an_animation_are_shown(tmp_path: Path) -> None:
    frames = [np.full((32, 32, 3), 100 + number, np.uint8) for number in range(9)]
    for number, frame in enumerate(frames):
        frame[:8] = 255 * (number % 2)  # the encoder leaves out a frame in which nothing else changes
    image_io.write_animation(tmp_path / "a.webp", frames, [50] * 9)
    with Image.open(tmp_path / "a.webp") as image:
        for number in range(9):
            image.seek(number)
            assert abs(int(np.array(image.convert("RGB"))[24, 16, 1]) - 100 - number) <= 1


def test_what_cannot_be_written_is_said() -> None:
    with pytest.raises(ValueError, match=r"format must be one of JPEG, PNG, WEBP, TIFF. Received: HEIF"):
        image_io.encode(picture(), "HEIF")
    for array in (
        picture().astype(np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ):
        with pytest.raises(ValueError, match=r"\(H, W, 3\) or \(H, W\) uint8. Received: "):
            image_io.encode_png(array)
    with pytest.raises(errors.OutputError, match=r"^20000 x 1 pixels cannot become a WEBP .*: use PNG$"):
        image_io.encode(np.zeros((1, 20000, 3), np.uint8), "WEBP")
    with pytest.raises(errors.OutputError, match=r"^61 x 47 pixels cannot become a JPEG .*: use PNG$"):
        image_io.encode(picture(), "JPEG", bytes(70000))


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_only_pretends_to_end_is_truncated(samples: list[Path], scale: int, progressive: bool) -> None:
    buffer = io.BytesIO()
    Image.open(samples[0]).save(buffer, "JPEG", quality=90, progressive=progressive)
    data = buffer.getvalue()
    assert image_io.decode(data, "whole.jpg", scale).info.width == 768
    cut = data[: len(data) // 2] + b"\xff\xd9"
    if not progressive:  # of which half holds the whole picture, only less sharp
        with pytest.raises(errors.Truncated, match="ends before its picture does"):
            image_io.decode(cut, "cut.jpg", scale)
    with pytest.raises(errors.Truncated):
        image_io.decode(data[:800] + b"\xff\xd9", "cut.jpg", scale)


def test_a_photo_with_a_grey_border_is_whole(samples: list[Path]) -> None:
    rgb = image_io.read(samples[0]).rgb8.copy()
    rgb[600:] = 128
    for options in ({}, {"progressive": True}, {"subsampling": 0}):
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "JPEG", quality=90, **options)
        for scale in (1, 8):
            last = image_io.decode(buffer.getvalue(), "grey.jpg", scale).rgb8[-1]
            assert (last == 128).all()


def test_what_would_fill_memory_is_refused_before_it_is_decoded() -> None:
    def png(width: int, height: int, colour: int, depth: int) -> bytes:
        row = bytes(1 + width * {2: 3, 6: 4}[colour] * depth // 8)
        body = zlib.compressobj(1)
        packed = b"".join(body.compress(row) for _ in range(height)) + body.flush()

        def chunk(kind: bytes, content: bytes) -> bytes:
            return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

        header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")

    for data in (png(13_000, 12_000, 6, 8), png(8_000, 7_000, 2, 16)):
        with pytest.raises(errors.TooLarge, match="take more memory than 512 MiB"):
            image_io.decode(data, "bomb.png", 8)
    assert image_io.decode(png(400, 300, 2, 16), "small.png").info.depth == 16

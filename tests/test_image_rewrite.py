from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_tools import colour, exif, image_io, image_rewrite, iptc, resources
from dataset_tools.errors import OutputError
from dataset_tools.image_rewrite import FORMATS, rewrite
from tests.test_image_io import ADOBE, P3, encoded, noise, picture, png, rgb_profile, tiff

SAMPLES = sorted(resources.path("samples").glob("*.jpg"))
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta><?xpacket end="r"?>'
)
CAMERA, DATE, PLACE = "Kodak Brownie", "1962:07:04 12:00:00", (52.0, 31.0, 12.25)


def told(orientation: int = 1, thumbnail: bool = False) -> bytes:
    """EXIF with camera, dates, place and maybe a thumbnail, as a JPEG holds it."""
    held = Image.Exif()
    held[271], held[272], held[306], held[274] = "Kodak", CAMERA, DATE, orientation
    held.get_ifd(0x8769)[36867] = DATE
    held.get_ifd(0x8769)[37500] = b"MAKERNOTE" * 9
    gps = held.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", PLACE, "E", (13.0, 24.0, 18.0)
    data = held.tobytes()
    if not thumbnail:
        return data
    small = encoded(picture(20, 30), "JPEG")
    body = bytearray(data.removeprefix(b"Exif\0\0"))
    order = "<" if body[:2] == b"II" else ">"
    first = int.from_bytes(body[4:8], "little" if order == "<" else "big")
    count = int.from_bytes(body[first : first + 2], "little" if order == "<" else "big")
    at = len(body)
    struct.pack_into(order + "I", body, first + 2 + 12 * count, at)
    body += struct.pack(order + "H", 2) + struct.pack(order + "HHII", 0x201, 4, 1, at + 30)
    body += struct.pack(order + "HHII", 0x202, 4, 1, len(small)) + struct.pack(order + "I", 0) + small
    return b"Exif\0\0" + bytes(body)


def again(data: bytes, format: str | None = None, **options: Any) -> tuple[bytes, image_io.Photo, image_io.Photo]:
    """(the new file, the photo as it was, the photo in the new file), nothing changed."""
    photo = image_io.decode(data, "before")
    new = rewrite(data, photo, photo.samples, format or photo.info.format, XMP, **options).data
    return new, photo, image_io.decode(new, "after")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", FORMATS)
def test_every_orientation_comes_back_as_it_was(format: str, orientation: int) -> None:
    if format == "TIFF":
        data = tiff(picture(), t274=orientation)
    else:
        options = {"lossless": True} if format == "WEBP" else {}
        data = encoded(picture(), format, exif=told(orientation), **options)
    _, before, after = again(data)
    assert after.info.orientation == (1 if format == "TIFF" else orientation)
    assert (after.info.width, after.info.height) == (before.info.width, before.info.height)
    difference = np.abs(after.samples.astype(int) - before.samples.astype(int))
    assert difference.mean() < 0.5
    assert format == "JPEG" or difference.max() == 0


@pytest.mark.parametrize("data", [
    encoded(picture()[:, :, 0], "PNG"), encoded(np.dstack([picture(), picture()[:, :, 1]]), "PNG"), encoded(picture(), "PNG"),
    png(noise(40, 30), 0), png(noise(40, 30, 3), 2), png(noise(40, 30, 4), 6),
    tiff(noise(40, 30)), tiff(noise(40, 30, 3)), tiff(noise(40, 30, 4), t338=2), tiff(picture()),
    encoded(Image.fromarray(picture()).convert("CMYK"), "TIFF"), encoded(Image.fromarray(picture()).convert("LA"), "TIFF"),
    encoded(np.dstack([picture(), picture()[:, :, 1]]), "WEBP", lossless=True, exact=True),
])  # fmt: skip
def test_lossless_files_keep_every_sample_depth_and_alpha(data: bytes) -> None:
    _, before, after = again(data)
    assert after.info.format == before.info.format
    assert (after.info.mode, after.info.depth) == (before.info.mode, before.info.depth)
    assert after.samples.dtype == before.samples.dtype
    assert np.array_equal(after.samples, before.samples)


@pytest.mark.parametrize("options", [
    {"quality": 75}, {"quality": 92, "subsampling": 0}, {"quality": 85, "subsampling": 1}, {"quality": 40, "subsampling": 2},
    {"quality": 80, "progressive": True},
])  # fmt: skip
@pytest.mark.parametrize("path", [SAMPLES[0], pytest.param(SAMPLES[1], marks=pytest.mark.slow)])
def test_a_jpeg_keeps_its_tables_and_subsampling_and_changes_little(path: Path, options: dict[str, Any]) -> None:
    data = encoded(image_io.read(path).rgb8, "JPEG", **options)
    new, before, after = again(data)
    assert after.info.quantization == before.info.quantization
    assert np.abs(after.samples.astype(int) - before.samples.astype(int)).mean() < 0.5
    was, is_ = (Image.open(io.BytesIO(each)) for each in (data, new))
    assert [layer[1:3] for layer in is_.layer] == [layer[1:3] for layer in was.layer]
    assert bool(is_.info.get("progressive")) == bool(options.get("progressive"))
    assert abs(len(new) / len(data) - 1) < 0.1


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_camera_dates_profile_and_resolution_stay_whatever_the_format(source: str, format: str) -> None:
    data = encoded(picture(), source, exif=told(), icc_profile=rgb_profile(P3, 2.2), dpi=(300, 300))
    new, before, after = again(data, format)
    held = Image.open(io.BytesIO(new)).getexif()
    assert (held[271], held[272], held[306]) == ("Kodak", CAMERA, DATE)
    assert held.get_ifd(0x8769)[36867] == DATE
    assert [float(each) for each in held.get_ifd(0x8825)[2]] == list(PLACE)
    assert after.info.icc == before.info.icc == rgb_profile(P3, 2.2)
    assert np.abs(after.rgb8.astype(int) - before.rgb8.astype(int)).mean() < 2.5
    if "WEBP" not in (source, format):  # which has no place for it
        assert [round(float(each)) for each in Image.open(io.BytesIO(new)).info["dpi"]] == [300, 300]
    assert XMP in new


@pytest.mark.parametrize("format", FORMATS)
def test_a_tiff_without_a_resolution_gets_none(format: str) -> None:
    """Pillow reads it as one dot an inch, and so it was written."""
    new, _, _ = again(encoded(picture(), "TIFF"), format)
    again_read = Image.open(io.BytesIO(new))
    assert 282 not in again_read.getexif()
    assert format == "TIFF" or again_read.info.get("dpi") in (None, (72, 72))


@pytest.mark.parametrize("format", FORMATS)
def test_the_location_goes_if_it_is_not_wanted(format: str) -> None:
    data = encoded(picture(), format, exif=told())
    new, _, after = again(data, gps=False)
    held = Image.open(io.BytesIO(new)).getexif()
    assert not dict(held.get_ifd(0x8825))
    assert held[272] == CAMERA
    assert after.info.format == format


def test_the_bytes_of_a_location_and_of_a_thumbnail_are_gone_and_makers_notes_lie_where_they_lay() -> None:
    held = told(6, thumbnail=True)
    assert held.count(b"\xff\xd8\xff") == 1
    found = exif.edited(held, upright=True, gps=False)
    assert found is not None
    assert len(found) == len(held) - 6
    assert found.index(b"MAKERNOTE") == held.index(b"MAKERNOTE") - 6
    assert b"\xff\xd8\xff" not in found
    for degrees in PLACE[:2]:
        assert round(degrees).to_bytes(4, "big") + b"\0\0\0\1" not in found
    after = Image.Exif()
    after.load(found)
    assert after[274] == 1
    assert not dict(after.get_ifd(1))
    kept = exif.edited(held, upright=False, gps=True)
    assert kept is not None
    after.load(kept)
    assert (after[274], [float(each) for each in after.get_ifd(0x8825)[2]]) == (6, list(PLACE))


@pytest.mark.parametrize(
    "cut", [b"", b"II", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + bytes(100), b"x" * 90]
)
def test_broken_exif_is_left_out_and_said_so(cut: bytes) -> None:
    assert exif.edited(cut, upright=False, gps=True) is None


def test_every_cut_of_exif_gives_exif_or_nothing() -> None:
    held = told(3, thumbnail=True)
    for length in range(0, len(held), 7):
        exif.edited(held[:length], upright=True, gps=False)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(held)
        for place in rng.integers(6, len(held), 4):
            damaged[place] = int(rng.integers(256))
        exif.edited(bytes(damaged), upright=True, gps=False)


def test_what_another_format_cannot_hold_is_said() -> None:
    deep = png(noise(40, 30, 4), 6)
    photo = image_io.decode(deep, "deep")
    written = rewrite(deep, photo, photo.samples, "JPEG", None)
    assert written.notes == ("16 bits a channel became 8", "transparent pixels are shown over white")
    assert np.abs(image_io.decode(written.data, "after").rgb8.astype(int) - photo.rgb8.astype(int)).mean() < 12  # noise
    assert rewrite(deep, photo, photo.samples, "TIFF", None).notes == ()
    wide = encoded(np.zeros((1, 17000, 3), np.uint8), "PNG")
    photo = image_io.decode(wide, "wide")
    with pytest.raises(OutputError, match=r"cannot become a WEBP .* choose --format png"):
        rewrite(wide, photo, photo.samples, "WEBP", None)


def test_other_samples_are_refused() -> None:
    data = encoded(picture(), "PNG")
    photo = image_io.decode(data, "photo")
    with pytest.raises(ValueError, match="are wanted"):
        rewrite(data, photo, photo.samples[1:], "PNG", None)
    with pytest.raises(ValueError, match="format must be one of"):
        rewrite(data, photo, photo.samples, "GIF", None)


@pytest.mark.parametrize("matrix", [P3, ADOBE])
def test_colours_go_into_the_profile_of_the_photo_and_back(matrix: np.ndarray) -> None:
    data = encoded(picture() // 4 + 90, "PNG", icc_profile=rgb_profile(matrix, 2.2))
    photo = image_io.decode(data, "photo")
    samples = colour.from_srgb(photo.rgb8, photo.info.mode.removesuffix("A"), photo.info.icc)
    assert samples.shape == photo.samples.shape
    assert np.abs(samples.astype(int) - photo.samples.astype(int)).max() <= 2
    shown = image_io.decode(rewrite(data, photo, samples, "PNG", None).data, "after").rgb8
    assert np.abs(shown.astype(int) - photo.rgb8.astype(int)).max() <= 2


@pytest.mark.parametrize(("data", "shape"), [
    (encoded(picture()[:, :, 0], "PNG"), (47, 61)), (png(noise(40, 30), 0), (40, 30)), (png(noise(40, 30, 3), 2), (40, 30, 3)),
    (encoded(Image.fromarray(picture()).convert("CMYK"), "TIFF"), (47, 61, 4)),
    (encoded(np.dstack([picture(), picture()[:, :, 1]]), "PNG"), (47, 61, 3)),
])  # fmt: skip
def test_srgb_as_samples_of_every_kind(data: bytes, shape: tuple[int, ...]) -> None:
    photo = image_io.decode(data, "photo")
    samples = colour.from_srgb(photo.rgb8, photo.info.mode.removesuffix("A"), photo.info.icc)
    assert (samples.shape, samples.dtype) == (shape, np.uint8)
    if photo.info.mode in ("L", "RGB"):
        assert np.abs(samples.astype(int) - colour.eight_bits(photo.samples)).max() <= 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is missing: apt-get install libimage-exiftool-perl")
@pytest.mark.parametrize("format", FORMATS)
def test_another_program_reads_the_metadata_and_finds_no_fault(format: str, tmp_path: Path) -> None:
    data = encoded(picture(), format, exif=told(), icc_profile=rgb_profile(P3, 2.2))
    path = tmp_path / f"x.{format.lower()}"
    for gps in (True, False):
        path.write_bytes(again(data, gps=gps)[0])
        line = ["exiftool", "-json", "-G0", "-n", "-validate", "-a", "-All", str(path)]
        (found,) = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
        assert found["EXIF:Model"] == CAMERA
        assert found["EXIF:DateTimeOriginal"] == DATE
        assert found.get("EXIF:GPSLatitude") == (pytest.approx(52.5201, abs=1e-3) if gps else None)
        assert "ICC_Profile:ColorSpaceData" in found
        assert not [text for name, text in found.items() if "Warning" in name and "MakerNote" not in str(text)], found


def test_modes_are_those_of_pillow() -> None:
    assert set(image_rewrite._WRITERS) == set(FORMATS)
    assert cv2.imencode(".png", np.zeros((2, 2), np.uint16))[0]


def placed(name: str, format: str, **options: Any) -> bytes:
    """A photo with a location in its EXIF data."""
    block = Image.Exif()
    block[271] = "Kodak"
    block.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)})
    return encoded(picture(), format, exif=block, **options)


@pytest.mark.parametrize(("format", "options"), [("JPEG", {"quality": 90}), ("PNG", {}), ("WEBP", {"lossless": True})])
def test_a_location_is_taken_out_of_a_file_that_else_stays_as_it_is(format: str, options: dict[str, Any]) -> None:
    data = placed("a", format, **options)
    photo = image_io.decode(data, "photo")
    assert exif.has_location(photo.info.exif)
    without = image_rewrite.without_location(data, photo)
    after = image_io.decode(without, "after")
    assert len(without) == len(data)
    assert not exif.has_location(after.info.exif)
    assert b"Kodak" in without
    assert np.array_equal(after.samples, photo.samples)
    assert dict(Image.open(io.BytesIO(without)).getexif().get_ifd(0x8825)) == {}
    assert image_rewrite.without_location(without, after) == without
    assert sum(a != b for a, b in zip(data, without, strict=True)) < 120  # of the EXIF block alone


def test_a_location_that_cannot_be_taken_out_is_told() -> None:
    jpeg = placed("a", "JPEG", quality=90)
    photo = image_io.decode(jpeg, "photo")
    data = rewrite(jpeg, photo, photo.samples, "TIFF", None).data
    with pytest.raises(OutputError, match="has a location that --no-gps cannot take out"):
        image_rewrite.without_location(data, image_io.decode(data, "photo"))
    plain = encoded(picture(), "TIFF")
    assert image_rewrite.without_location(plain, image_io.decode(plain, "photo")) == plain


def test_the_words_for_a_place_go_with_the_location() -> None:
    told = {120: b"By the river", 90: b"Ulm", 95: b"Swabia", 101: b"Germany", 80: b"Anna"}
    words = b"".join(b"\x1c\x02" + bytes([kind]) + struct.pack(">H", len(text)) + text for kind, text in told.items())
    body = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(words)) + words + b"\0" * (len(words) % 2)
    body += b"8BIM\x04\x0c\x03Ulm" + struct.pack(">I", 3) + b"Ulm\0"  # another resource, of that name
    plain = encoded(picture(), "JPEG", quality=90)
    data = plain[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + plain[2:]
    photo = image_io.decode(data, "photo")
    assert b"Germany" in rewrite(data, photo, photo.samples, "JPEG", None).data
    emptied = image_rewrite.without_location(data, photo)
    for without in (rewrite(data, photo, photo.samples, "JPEG", None, gps=False).data, emptied):
        assert b"Germany" not in without
        assert b"Swabia" not in without
        assert without.count(b"Ulm") == 2  # those of the other resource
        assert b"By the river" in without
        assert b"Anna" in without
    assert len(emptied) == len(data)
    for length in range(0, len(body), 3):  # a damaged one is left as it is, or emptied
        assert len(iptc.without_location(body[:length])) == length


def test_iptc_stays_in_a_jpeg_and_is_told_where_it_cannot() -> None:
    body = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", 10) + b"\x1c\x02\x78\0\x05Ulmer"
    data = encoded(picture(), "JPEG", quality=90, exif=told())
    data = data[:2] + b"\xff\xed" + struct.pack(">H", 2 + len(body)) + body + data[2:]
    photo = image_io.decode(data, "photo")
    kept = rewrite(data, photo, photo.samples, "JPEG", XMP)
    assert kept.data.count(body) == 1
    assert kept.notes == ()
    again = Image.open(io.BytesIO(kept.data))
    assert again.info["photoshop"]
    assert again.getexif()[271]
    assert image_io.decode(kept.data, "after").info.xmp
    assert rewrite(data, photo, photo.samples, "PNG", None).notes == ("its IPTC data is left out",)

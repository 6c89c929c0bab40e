"""Whether a photo in Display-P3 comes back looking the same, for bench/restore.py: read with LittleCMS alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from bench.profiles import P3, rgb_profile
from bench.restore_photos import photo
from dataset_tools import metrics
from pipelines.job import restore_photos

PHOTOS = 4


def profiled(rgb: NDArray[np.uint8], icc: bytes) -> bytes:
    """A PNG that shows `rgb`, uint8 (H, W, 3) sRGB, in the colours of a profile."""
    to = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    image = ImageCms.profileToProfile(Image.fromarray(rgb), ImageCms.createProfile("sRGB"), to)
    assert image is not None
    held = io.BytesIO()
    image.save(held, "PNG", icc_profile=icc)
    return held.getvalue()


def seen(path: Path) -> NDArray[np.float64]:
    """(H, W, 3) Lab of D50, as a viewer that knows profiles shows the file."""
    image = Image.open(path)
    icc = image.info.get("icc_profile")
    own = ImageCms.ImageCmsProfile(io.BytesIO(icc)) if icc else ImageCms.createProfile("sRGB")
    lab = ImageCms.profileToProfile(image, own, ImageCms.createProfile("LAB"), outputMode="LAB")
    assert lab is not None
    values = np.asarray(lab).astype(np.int16)  # L 0 to 255; a and b as signed bytes
    signed = values[..., 1:].astype(np.uint8).view(np.int8)
    return np.concatenate([values[..., :1] * (100 / 255), signed], axis=2).astype(np.float64)


def colour_rows(model: Path, work: Path) -> list[list[str]]:
    """Rows of a table: CIEDE2000 of photos in Display-P3 and sRGB, restored, to each other and to what they were."""
    wide, plain = work / "p3", work / "srgb"
    for folder in (wide, plain):
        folder.mkdir(parents=True, exist_ok=True)
    for index in range(PHOTOS):
        rgb = photo(work, index, 2)
        (wide / f"{index}.png").write_bytes(profiled(rgb, rgb_profile(P3, 2.2)))
        Image.fromarray(rgb).save(plain / f"{index}.png")
    for folder in (wide, plain):
        report = restore_photos(model, [folder], work / f"{folder.name}-restored", mask=True)
        assert report.restored == PHOTOS, report.lines()
    outside, inside, twin = [], [], []
    for index in range(PHOTOS):
        before, after = seen(wide / f"{index}.png"), seen(work / "p3-restored" / f"{index}.png")
        other = seen(work / "srgb-restored" / f"{index}.png")
        mask = np.asarray(Image.open(work / "p3-restored" / f"{index}.png.mask.png")) > 0
        outside.append(metrics.ciede2000(before, after)[~mask])
        inside.append(metrics.ciede2000(other, after)[mask])
        twin.append(metrics.ciede2000(seen(plain / f"{index}.png"), before))
    rows = [("outside of what was restored, to the photo as it was", outside),
            ("what was restored, to the same photo restored in sRGB", inside),
            ("for comparison: the photo in Display-P3 and in sRGB, before", twin)]  # fmt: skip
    return [[name, f"{np.concatenate([each.ravel() for each in parts]).mean():.3f}",
             f"{np.percentile(np.concatenate([each.ravel() for each in parts]), 99):.2f}"] for name, parts in rows]  # fmt: skip

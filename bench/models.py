"""The tables of docs/models.md, from what bench/train_models.sh has left in its folder.

    python -m bench.models WORK

Every figure is one that `photomend evaluate --json` printed (WORK/MODEL-DATASET.txt) or the mean of rows of its CSV. The
lightness of a face is the median L* of the middle of its crop; the images of a split are shared out in thirds by it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.tables import table
from dataset_tools import image_io
from dataset_tools.metrics import srgb_to_lab
from dataset_tools.pairs import split

QUALITY = ("", "faces", "restored", "dB over bicubic", "SSIM over bicubic", "the same, grid known", "bicubic",
           "Lanczos, sharpened", "the mosaic", "`article`")  # fmt: skip
FACES = ("", "faces", "restored", "bicubic", "the mosaic", "restored / the mosaic's / bicubic's", "found: restored", "bicubic",
         "the mosaic", "`article`: distance, found")  # fmt: skip
COLOURS = ("", "model", "photos", "ΔE2000", "of the gray copy", "share of it", "less by", "colourfulness / the originals'",
           "Fréchet distance of the chroma, restored / gray")  # fmt: skip
MIDDLE = slice(96, 160)  # of the 256 rows and columns of a crop: the face without hair and ground
Told = Mapping[str, Any]


def told(work: Path, model: str, dataset: str) -> Told | None:
    """What `evaluate --json` said; None where that has not been run."""
    path = work / f"{model}-{dataset}.txt"
    return json.loads(path.read_text("utf-8").splitlines()[-1]) if path.exists() else None


def interval(beside: Mapping[str, float], digits: int) -> str:
    """ "+1.70 (+1.62 to +1.78)" """
    return f"{beside['mean']:+.{digits}f} ({beside['low']:+.{digits}f} to {beside['high']:+.{digits}f})"


def mosaics(work: Path, datasets: Mapping[str, str]) -> None:
    rows, judges = [], []
    for dataset, title in datasets.items():
        found = told(work, "mosaic", dataset)
        if found is None:
            continue
        figures, article = found["figures"], told(work, "article-mosaic", dataset)
        over = found["beside"]["bicubic"]
        known, bicubic = figures["grid known"], figures["bicubic"]
        rows.append([
            title, str(found["images"]), f"{figures['restored']['psnr']:.2f} / {figures['restored']['ssim']:.3f}",
            interval(over["psnr"], 2), interval(over["ssim"], 3),
            f"{known['psnr'] - bicubic['psnr']:+.2f} / {known['ssim'] - bicubic['ssim']:+.3f}",
            *(f"{figures[name]['psnr']:.2f} / {figures[name]['ssim']:.3f}" for name in ("bicubic", "lanczos", "input")),
            f"{article['figures']['restored']['psnr']:.2f} / {article['figures']['restored']['ssim']:.3f}" if article else "",
        ])  # fmt: skip
        if "identity" in found:
            away, seen = found["identity"], found["detected"]
            judges.append([
                title, str(found["identity_faces"]),
                *(f"{away[name]:.3f}" for name in ("restored", "bicubic", "input")),
                f"{away['restored'] / away['input']:.2f} / {away['restored'] / away['bicubic']:.2f}",
                *(f"{seen[name]:.2f}" for name in ("restored", "bicubic", "input")),
                f"{article['identity']['restored']:.3f}, {article['detected']['restored']:.2f}" if article else "",
            ])  # fmt: skip
    table("mosaic: PSNR (dB) / SSIM", QUALITY, rows)
    table("mosaic: identity distance, and share of faces that a detector finds", FACES, judges)


def colours(work: Path, datasets: Mapping[str, str]) -> None:
    rows = []
    for dataset, title in datasets.items():
        for model, name in (("colorize", "`mend`, ships"), ("article-colorize", "`article`")):
            found = told(work, model, dataset)
            if found is None:
                continue
            restored, gray, original = (found["figures"][each] for each in ("restored", "input", "original"))
            beside = found["beside"]["input"]["delta_e"]
            rows.append([
                title, name, str(found["images"]), f"{restored['delta_e']:.2f}", f"{gray['delta_e']:.2f}",
                f"{restored['delta_e'] / gray['delta_e']:.2f}", interval(beside, 2),
                f"{restored['colourfulness'] / original['colourfulness']:.2f}",
                f"{found['frechet']['restored']:.0f} / {found['frechet']['input']:.0f}" if "frechet" in found else "",
            ])  # fmt: skip
    table("colorize", COLOURS, rows)


def groups(work: Path, model: str, dataset: str) -> None:
    found = told(work, model, dataset)
    if found is None or not found.get("groups"):
        return
    rows = []
    for key, group in found["groups"].items():
        figures = group["figures"]
        if model == "mosaic":
            gain = group["beside"]["bicubic"] if group["beside"] else None
            rows.append([key, str(group["images"]), f"{figures['restored']['psnr']:.2f} / {figures['restored']['ssim']:.3f}",
                         interval(gain["psnr"], 2) if gain else "", interval(gain["ssim"], 3) if gain else ""])  # fmt: skip
        else:
            rows.append([key, str(group["images"]), f"{figures['restored']['delta_e']:.2f}", f"{figures['input']['delta_e']:.2f}",
                         f"{figures['restored']['colourfulness'] / figures['original']['colourfulness']:.2f}"])  # fmt: skip
    head = ["PSNR / SSIM", "dB over bicubic", "SSIM over bicubic"] if model == "mosaic" else ["ΔE2000", "gray", "colourfulness"]
    table(f"{model}, {dataset}, by folder", ["folder", "photos", *head], rows)


def lightness(work: Path, model: str, dataset: str) -> None:
    path = work / f"{model}-{dataset}.csv"
    if not path.exists():
        return
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    light = np.array([_lightness(work / dataset / row["pair"]) for row in rows])
    edges = [0.0, *np.quantile(light, [1 / 3, 2 / 3]), 101.0]
    told = []
    for low, high in pairwise(edges):
        some = [row for row, value in zip(rows, light, strict=True) if low <= value < high]

        def mean(name: str, some: list[dict[str, str]] = some) -> float:
            return float(np.mean([float(row[name]) for row in some if row.get(name)]))

        here = light[(light >= low) & (light < high)]
        first = [f"{here.min():.0f} to {here.max():.0f}", str(len(some))]
        if model == "mosaic":
            told.append([*first, f"{mean('restored_psnr') - mean('bicubic_psnr'):+.2f}",
                         f"{mean('restored_ssim') - mean('bicubic_ssim'):+.3f}",
                         f"{mean('restored_identity'):.3f} / {mean('bicubic_identity'):.3f}",
                         f"{mean('restored_detected'):.2f}"])  # fmt: skip
        else:
            told.append([*first, f"{mean('restored_delta_e'):.2f}", f"{mean('restored_delta_e') / mean('input_delta_e'):.2f}",
                         f"{mean('restored_colourfulness') / mean('original_colourfulness'):.2f}"])  # fmt: skip
    head = (["dB over bicubic", "SSIM over bicubic", "identity distance, restored / bicubic", "found"] if model == "mosaic"
            else ["ΔE2000", "share of the gray copy's", "colourfulness"])  # fmt: skip
    table(f"{model}, {dataset}, by the lightness of the face", ["L* of the face", "faces", *head], told)


def _lightness(pair: Path) -> float:
    original = split(image_io.read(pair).rgb8)[1][MIDDLE, MIDDLE]
    return float(np.median(srgb_to_lab(original)[..., 0]))


def main() -> None:
    work = Path(sys.argv[1])
    mosaics(
        work,
        {
            "mosaics-8": "block 8",
            "mosaics-16": "block 16",
            "mosaics-24": "block 24",
            "mosaics": "6 to 24, also JPEG, also on the photo",
        },
    )
    colours(work, {"grays-plain": "plain gray", "grays": "as old photos"})
    for model, dataset in (("mosaic", "mosaics-16"), ("colorize", "grays-plain")):
        groups(work, model, dataset)
        lightness(work, model, dataset)


if __name__ == "__main__":
    main()

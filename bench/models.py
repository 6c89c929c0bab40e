"""The tables of docs/models.md, from what bench/train_models.sh has left in its folder.

    python -m bench.models WORK [DOCS]

With DOCS it draws models-*.jpg there too: every so many of the test split, and what a person chose as failures.
Every figure is one that `photomend evaluate --json` printed (WORK/MODEL-DATASET.txt) or the mean of rows of its CSV. The
lightness of a face is the median L* of the middle of its crop; the images of a split are shared out in thirds by it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.tables import table
from dataset_tools import image_io, sheets
from dataset_tools.metrics import srgb_to_lab
from dataset_tools.pairs import split
from pipelines.engines import OnnxEngine
from pipelines.figures import evenly, interval
from pipelines.mark import STATEMENT

QUALITY = ("", "faces", "restored", "dB over bicubic", "SSIM over bicubic", "the same, grid known", "bicubic",
           "Lanczos, sharpened", "the mosaic", "`article`")  # fmt: skip
FACES = ("", "faces", "distance: restored", "bicubic", "the mosaic", "restored / the mosaic's / bicubic's",
         "nearer than 0.6: restored, bicubic, the mosaic", "so near to another's: the same",
         "faces", "found: restored", "bicubic", "the mosaic",
         "`article`: distance, nearer, found")  # fmt: skip
COLOURS = ("", "model", "photos", "ΔE2000", "of the gray copy", "share of it", "restored − gray",
           "colourfulness / the originals'", "Fréchet distance of the chroma, restored / gray")  # fmt: skip
SIDES = ("restored", "bicubic", "input")
SEEN = ("restored_detected", "bicubic_detected")
JUDGES = ("identity", "same_person", "detected")
FAILURES = {  # what is hard in it: a pair of mosaics-16
    "a profile: the eye is gone": "08-a0e301dd65d463d3-0",
    "glasses: half of them": "04-9222ad0ced2a816a-0",
    "dark skin, half in shadow": "02-a289c4470ffc5590-0",
    "hard light, taken for shape": "03-fa95fc078db52293-0",
    "a child, eyes of nobody": "07-10c657653ff53f5d-0",
    "old skin, smoothed": "04-ee62b78985988def-0",
    "a mouth that is open": "02-3eb421bc5e56f34e-0",
    "teeth, a white band": "09-e9282d4c270e5212-0",
}
SHOWN = 8  # rows of a picture
BLOCKS = (8, 16, 24)
Rgb = NDArray[np.uint8]
MIDDLE = slice(96, 160)  # of the 256 rows and columns of a crop: the face without hair and ground
Told = Mapping[str, Any]


def told(work: Path, model: str, dataset: str) -> Told | None:
    """What `evaluate --json` said; None where that has not been run."""
    path = work / f"{model}-{dataset}.txt"
    return json.loads(path.read_text("utf-8").splitlines()[-1]) if path.exists() else None


def shown(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table without the columns that have not been measured yet."""
    if not rows:
        return
    known = [place for place in range(len(head)) if any(row[place] for row in rows)]
    table(title, [head[place] for place in known], [[row[place] for place in known] for row in rows])


def mosaics(work: Path, datasets: Mapping[str, str]) -> None:
    rows, judges, others = [], [], dict[str, float]()
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
            away, near, others, seen = (found[each] for each in ("identity", "same_person", "another_person", "detected"))
            judges.append([
                title, str(found["identity_faces"]),
                *(f"{away[name]:.3f}" for name in SIDES),
                f"{away['restored'] / away['input']:.2f} / {away['restored'] / away['bicubic']:.2f}",
                ", ".join(f"{near[name]:.2f}" for name in SIDES), ", ".join(f"{others[name]:.3f}" for name in SIDES),
                str(found["detected_faces"]),
                *(f"{seen[name]:.2f}" for name in SIDES),
                ", ".join(f"{article[each]['restored']:.2f}" for each in JUDGES) if article else "",
            ])  # fmt: skip
    shown("mosaic: PSNR (dB) / SSIM", QUALITY, rows)
    shown("mosaic: identity distance, and share of faces that a detector finds", FACES, judges)
    if judges:
        print(f"\nof the pairs of originals of different groups {others['original']:.3f} are so near")


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
    shown("colorize", COLOURS, rows)


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
                         " / ".join(f"{sum(float(row[name] or 0) for row in some):.0f}" for name in SEEN)
                         + f" of {sum(bool(row['restored_detected']) for row in some)}"])  # fmt: skip
        else:
            told.append([*first, f"{mean('restored_delta_e'):.2f}", f"{mean('restored_delta_e') / mean('input_delta_e'):.2f}",
                         f"{mean('restored_colourfulness') / mean('original_colourfulness'):.2f}",
                         str(sum(float(row["restored_delta_e"]) > float(row["input_delta_e"]) for row in some))])  # fmt: skip
    head = (["dB over bicubic", "SSIM over bicubic", "identity distance, restored / bicubic", "found, restored / bicubic"]
            if model == "mosaic"
            else ["ΔE2000", "share of the gray copy's", "colourfulness", "worse than gray"])  # fmt: skip
    table(f"{model}, {dataset}, by the lightness of the face", ["L* of the face", "faces", *head], told)


def _lightness(pair: Path) -> float:
    original = split(image_io.read(pair).rgb8)[1][MIDDLE, MIDDLE]
    return float(np.median(srgb_to_lab(original)[..., 0]))


def drawn(work: Path, folder: Path) -> None:
    """The pictures of docs/models.md."""
    mosaic, colorize = (OnnxEngine(work / f"{name}.onnx") for name in ("mosaic", "colorize"))

    def rows(dataset: str, engine: OnnxEngine, pairs: Sequence[str]) -> list[list[Rgb]]:
        """[input, restored, original] of each."""
        read = [split(image_io.read(work / dataset / "test" / f"{pair}.png").rgb8) for pair in pairs]
        return [[a, engine.restore(a[None])[0], b] for a, b in read]

    def every(dataset: str) -> list[str]:
        names = sorted(path.stem for path in (work / dataset / "test").glob("*.png"))
        return [names[place] for place in sorted(evenly(len(names), SHOWN))]

    def put(name: str, rows: Sequence[Sequence[Rgb]], titles: Sequence[str], side: int, words: Sequence[str] = ()) -> None:
        captions = [[word] for word in words] or None
        sheet = sheets.grid(rows, titles=titles, captions=captions, footer=STATEMENT, cell=side)
        image_io.write(folder / f"models-{name}.jpg", sheet, "JPEG")

    faces = every("mosaics-8")
    by_block = [rows(f"mosaics-{block}", mosaic, faces) for block in BLOCKS]
    put("mosaic", [[*(image for block in same for image in block[:2]), same[0][2]] for same in zip(*by_block, strict=True)],
        [title for block in BLOCKS for title in (f"block {block}", "restored")] + ["original"], 160)  # fmt: skip
    put(
        "failures", rows("mosaics-16", mosaic, list(FAILURES.values())), ["block 16", "restored", "original"], 224, list(FAILURES)
    )
    coloured = rows("grays-plain", colorize, every("grays-plain"))
    put("colorize", coloured, ["gray", "colorized", "original"], 224)


def main() -> None:
    work = Path(sys.argv[1])
    of_mosaics = {f"mosaics-{block}": f"block {block}" for block in BLOCKS}
    mosaics(work, of_mosaics | {"mosaics": "6 to 24, also JPEG, also on the photo"})
    colours(work, {"grays-faces": "faces", "grays-plain": "whole portraits", "grays": "whole portraits, as old photos"})
    for model, dataset in (("mosaic", "mosaics-16"), ("colorize", "grays-plain")):
        groups(work, model, dataset)
        lightness(work, model, dataset)
    if sys.argv[2:]:
        drawn(work, Path(sys.argv[2]))


if __name__ == "__main__":
    main()

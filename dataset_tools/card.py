"""The card of a dataset: README.md with what Hugging Face reads on top, and pairs.png. The same rows give the same bytes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_tools import image_io, pairs, reasons, sheets
from dataset_tools.degradations import REGISTRY
from dataset_tools.groups import SPLITS
from dataset_tools.manifest import Row
from dataset_tools.recipe import OF_CROP
from dataset_tools.summary import Histogram, Summary

PICTURE = "pairs.png"
PAIRS, PAIRS_A_ROW, CELL = 12, 3, 144  # of the picture: pairs, pairs in a row, pixels of a cell
BAR = 36  # letters of the longest bar

Read = Callable[[Row], bytes]  # the row of a kept crop -> the bytes of its pair A|B
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_HUGGING_FACE_SPLITS = {"val": "validation"}


def card_text(info: Mapping[str, Any], summary: Summary) -> str:
    """README.md, Markdown. `info` is the content of dataset.json; `summary` has been fed with every row.

    It holds no time, host or path. The licence stands in info["license"], "unknown" where nobody has given one.
    """
    recipe, counts = info["recipe"], info["counts"]
    parts = [
        _front_matter(info),
        "# A dataset of pairs made by photomend",
        _what(info, bool(summary.kept_pairs())),
        "## Splits\n\n" + _splits(counts),
        "## What became of the photos\n\n" + _counts(counts),
        _reasons(summary, recipe),
        _histogram("Size of the faces", "longer side of the face's box, in pixels of the photo", summary.face_size),
        _histogram("Enlargement", "from the photo to the pair; above 1 pixels are made up", summary.enlargement),
        "## How to load it\n\n" + _loading(info) if any(counts["splits"].values()) else "",
        "## How it was made\n\n" + _made(info, summary),
        "## What is not known\n\n" + _unknown(info),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def pairs_grid(read: Read, summary: Summary) -> NDArray[np.uint8] | None:
    """pairs.png: up to 12 of the kept pairs, uint8 (height, width, 3); None where there is none.

    They are chosen by a hash of their names, so that the choice does not depend on the order and changes little as the dataset
    grows.
    """
    halves = [
        pairs.split(image_io.decode(read(row), row["source"]).rgb8)  # (S, S, 3) each
        for row in summary.kept_pairs()[:PAIRS]
    ]
    if not halves:
        return None
    width = min(PAIRS_A_ROW, len(halves))
    rows = [[half for pair in halves[start : start + width] for half in pair] for start in range(0, len(halves), width)]
    return sheets.grid(rows, titles=["A input", "B original"] * width, cell=CELL)


def _front_matter(info: Mapping[str, Any]) -> str:
    """The YAML that Hugging Face reads. A JSON string is a YAML string, so names cannot break out of it."""
    counts, webdataset = info["counts"], info["recipe"].get("format") == "webdataset"
    number = sum(counts["splits"].values())
    lines = [
        "---",
        f"license: {_quoted(info.get('license') or 'unknown')}",
        "task_categories:",
        "- image-to-image",
        f"pretty_name: {_quoted(info.get('pretty_name') or 'Pairs made by photomend')}",
        "size_categories:",
        f"- {next((text for limit, text in _SIZES if number < limit), 'n>10M')}",
    ]
    used = [split for split in SPLITS if counts["splits"][split]]
    if used:
        lines += ["configs:", "- config_name: default", "  data_files:"]
    for split in used:
        pattern = f"{split}/*.tar" if webdataset else f"{split}/**"
        lines += [f"  - split: {_HUGGING_FACE_SPLITS.get(split, split)}", f"    path: {_quoted(pattern)}"]
    return "\n".join([*lines, "---"])


def _quoted(text: str) -> str:
    return text if text.replace("-", "").replace(".", "").isalnum() else json.dumps(text, ensure_ascii=False)


def _what(info: Mapping[str, Any], picture: bool) -> str:
    size, recipe = info["size"], info["recipe"]
    shown = {"faces": "Each shows one face.", "center": "Each shows the middle of a photo.",
             "tiles": "Each shows a random square of a photo."}.get(recipe.get("crop", ""), "")  # fmt: skip
    text = (
        f"Each pair is one PNG of {2 * size} × {size} pixels, sRGB: the left half is **A**, the degraded input; the right half "
        f"is **B**, the original. {shown}".rstrip()
    )
    return f"{text}\n\n![Pairs of this dataset: A, the input, beside B, the original]({PICTURE})" if picture else text


def _splits(counts: Mapping[str, Any]) -> str:
    pairs_, groups = counts["splits"], counts["groups"]
    rows = [(split, pairs_[split], groups[split]) for split in SPLITS]
    rows.append(("all", sum(pairs_.values()), sum(groups.values())))
    return (
        _table(("split", "pairs", "groups"), rows) + "\n\nPhotos of one group are never in different splits: the same content, "
        "near-duplicates (mirrored or turned too), and what the grouping rule ties together."
    )


def _counts(counts: Mapping[str, Any]) -> str:
    photos, crops = counts["photos"], counts["faces"]
    return "\n".join(
        (
            f"- {counts['files']:,} files = {counts['not_images']:,} that are no images + {photos['all']:,} photos",
            f"- {photos['all']:,} photos = {photos['kept']:,} kept (at least one pair of each) + {photos['rejected']:,} rejected "
            f"+ {photos['failed']:,} failed",
            f"- {crops['all']:,} crops = {crops['kept']:,} kept (one pair of each) + {crops['rejected']:,} rejected",
            *(f"- of {number:,} of the photos: {text}" for text, number in counts["notes"].items()),
        )
    )


def _reasons(summary: Summary, recipe: Mapping[str, Any]) -> str:
    rows = []
    for (kind, status, word), number in summary.why("rejected", "failed"):
        reason = reasons.describe(str(word))
        limit = reasons.limit(reason, recipe)
        rows.append((kind, status, f"`{word}`", number, f"{reason.meaning} {reason.remedy}{f' ({limit})' if limit else ''}"))
    return _table(("of", "status", "reason", "count", "what it means"), rows) if rows else ""


def _loading(info: Mapping[str, Any]) -> str:
    """With photomend, and with the libraries that people use."""
    split = next(split for split in SPLITS if info["counts"]["splits"][split])
    if info["recipe"].get("format") == "webdataset":
        code = f"""import glob, webdataset
rows = webdataset.WebDataset(sorted(glob.glob("DATASET/{split}/*.tar")), shardshuffle=False).decode("pil")
# each has "png", the pair A|B, and "json", what is known of it"""
    else:
        code = f"""from datasets import load_dataset
rows = load_dataset("DATASET", split="{_HUGGING_FACE_SPLITS.get(split, split)}")
# each has "image", the pair A|B, and what is known of it"""
    size = info["size"]
    return f"""```python
{code}

from pathlib import Path
from dataset_tools.dataset import open_dataset
pairs = open_dataset(Path("DATASET")).pairs("{split}")  # photomend's own; pairs[0].read() is the file's bytes
```
A is `image.crop((0, 0, {size}, {size}))`, B is `image.crop(({size}, 0, {2 * size}, {size}))`."""


def _histogram(title: str, what: str, histogram: Histogram) -> str:
    """Kept and rejected as bars of letters, a line a bin."""
    bins = histogram.bins()
    if not bins:
        return ""
    most = max(max(kept, rejected) for _, kept, rejected in bins)
    label, number = max(len(text) for text, _, _ in bins), len(f"{most:,}")
    lines = [
        f"{name:>{label}}  {status:<8}  {count:>{number},}  {'█' * -(-count * BAR // most)}".rstrip()
        for text, kept, rejected in bins
        for name, status, count in ((text, "kept", kept), ("", "rejected", rejected))
    ]
    return f"## {title}\n\n{what[0].upper()}{what[1:]}.\n\n```\n" + "\n".join(lines) + "\n```"


def _made(info: Mapping[str, Any], summary: Summary) -> str:
    steps = [f"{number}. {text}" for number, text in enumerate(degradations_told(info["recipe"], summary), 1)]
    parts = ["From photos of one or several folders, by the program photomend, with the choices of this command:",
             "```\n" + command(info["recipe"], info.get("license")) + "\n```"]  # fmt: skip
    if steps:
        parts += ["What was done to B to make A, in this order:", "\n".join(steps)]
    if info.get("detector"):
        parts.append(f"Faces were found with: `{json.dumps(info['detector'], sort_keys=True, ensure_ascii=False)}`")
    if info.get("versions"):
        parts.append("Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(info["versions"].items())) + ".")
    if info.get("manifest_sha256"):
        parts.append(
            "`manifest.jsonl` has a row for every photo and every crop of it, kept or not; its SHA-256, which changes with any "
            f"pair, is\n`{info['manifest_sha256']}`."
        )
    return "\n\n".join(parts)


def command(recipe: Mapping[str, Any], license: str | None = None) -> str:
    """The command line that a recipe stands for, a line an option, with words in the place of paths."""
    lines = [
        f"photomend {recipe.get('made_by', 'build')} {'A_DIR B_DIR' if recipe.get('made_by') == 'pair' else 'ARCHIVE'} DATASET"
    ]
    idle = {name for crop, names in OF_CROP.items() if recipe.get("crop", crop) != crop for name in names}
    for name, value in sorted({**recipe, "license": license}.items()):
        if name == "made_by" or name in idle or value is None or value is False:
            continue
        for each in value if isinstance(value, list | tuple) else (value,):
            lines.append(reasons.flag(name) if each is True else f"{reasons.flag(name)} {shlex.quote(str(each))}")
    return " \\\n    ".join(line.replace("\n", "\\n") for line in lines)


def degradations_told(recipe: Mapping[str, Any], summary: Summary) -> Iterator[str]:
    """Each step of a recipe in words, with the range of what was drawn for the kept crops."""
    for text in recipe.get("degrade", ()):
        name, _, options = str(text).partition(":")
        about = REGISTRY[name].summary if name in REGISTRY else "unknown to this version"
        drawn = summary.drawn.told(name)
        asked = f" ({options})" if options else ""
        yield f"{name}: {about}{asked}." + (f" Drawn: {drawn}." if drawn else "")


def _unknown(info: Mapping[str, Any]) -> str:
    license_ = info.get("license")
    first = (
        f"The licence given for this dataset is `{license_}`; the program has not checked it."
        if license_
        else "The licence of the photos is not known to the program: say it before you pass this dataset on."
    )
    return (
        f"{first}\nNor does it know who is shown and whether they consent to this use, who took the photos, or how well the "
        "people in them stand for others.\nNo location data and no metadata of the photos were copied; the names of their files "
        "stand in `manifest.jsonl` and in the splits' metadata."
    )


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A Markdown table; numbers to the right."""
    numbers = [isinstance(value, int) for value in rows[0]]
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join("--:" if number else "---" for number in numbers) + "|"]
    for row in rows:
        cells = (f"{value:,}" if isinstance(value, int) else value.replace("|", "\\|").replace("\n", " ") for value in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)

"""report.html beside a dataset: what became of the photos, with pictures, so that a person can look at what was rejected.

It is no part of what must be equal byte for byte; it holds no time, host or path from outside the archive either.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dataset_tools import card, files, html, reasons
from dataset_tools.groups import SPLITS
from dataset_tools.html import Markup, element
from dataset_tools.manifest import Row, read_rows
from dataset_tools.report_pictures import OF_A_GROUP, Found, OpenPhoto, Pictures, ReadPair, held
from dataset_tools.summary import FAILED, SAMPLES, Histogram, Key, Summary, face_pixels, scale_of

NAME = "report.html"
PICTURES = 300  # at most, in all: about 3 MB
GROUPS = 10  # largest groups that are shown
_FLAG = re.compile(r"--[a-z][a-z-]*")


def write_report(folder: Path, info: Row, summary: Summary, open_photo: OpenPhoto, read_pair: ReadPair) -> None:
    """Writes `folder`/report.html; does nothing where it tells of this very dataset already.

    Args:
        info: the content of dataset.json. summary: fed with every row of `folder`/manifest.jsonl.
        open_photo: a photo by its source, upright, its longer side some 240 pixels; None where it is unreadable.
        read_pair: the bytes of a kept crop's pair. An OSError leaves its place empty.

    Raises:
        OutputError: the file cannot be written. DatasetError: the manifest cannot be read.
    """
    before = _read(folder / NAME)
    mark = json.dumps([importlib.metadata.version("photomend"), info], sort_keys=True)
    stamp = hashlib.sha256(mark.encode("utf-8", "surrogateescape")).hexdigest()
    if f'data-dataset="{stamp}"' in before:
        return
    sizes = sorted(
        ((key, number) for key, number in summary.group_sizes.items() if number > 1), key=lambda each: (-each[1], each[0])
    )
    groups = dict(sizes[:GROUPS])
    found = Found(summary, list(groups))
    for row in read_rows(folder / "manifest.jsonl"):
        found.add(row)
    page = _Page(info, summary, found, Pictures(open_photo, read_pair, info["size"], held(before)), groups, len(sizes))
    body = [*page.parts(), element("footer", "Made by photomend.", kind="faint", **{"data-dataset": stamp})]
    files.replace_text(folder / NAME, html.page("What became of the photos", body))


def _read(place: Path) -> str:
    try:
        return place.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


class _Page:
    """The parts of report.html, top to bottom: how many, why not, then the pictures, then how it was made."""

    def __init__(self, info: Row, summary: Summary, found: Found, pictures: Pictures, groups: Mapping[int, int], tied: int):
        self.info, self.summary, self.found, self.pictures = info, summary, found, pictures
        self.groups, self.tied = groups, tied
        self.recipe: Row = info["recipe"]
        sections = sum(key[1] == "rejected" or (key[0] != "photo" and key[1] == "kept") for key in summary.reasons)
        self.each = max(4, min(SAMPLES, (PICTURES - len(groups) * OF_A_GROUP) // max(1, sections)))

    def parts(self) -> Iterator[Markup]:
        yield from self._counts()
        yield from self._overview()
        yield from self._failed()
        for key, number in self.summary.why("rejected"):
            yield from self._rejected(key, number)
        yield from self._kept()
        yield from self._histograms()
        yield from self._splits()
        yield from self._made()

    def _counts(self) -> Iterator[Markup]:
        counts = self.info["counts"]
        photos, found = counts["photos"], counts["faces"]
        others = f" and {_number(counts['not_images'], 'other file')}, no images" if counts["not_images"] else ""
        yield element("p", f"{_number(counts['files'], 'file')}: {_number(photos['all'], 'photo')}{others}.")
        yield html.shares(
            [
                ("photos kept", photos["kept"], "good"),
                ("rejected", photos["rejected"], "poor"),
                ("failed", photos["failed"], "bad"),
            ]
        )
        noted = [element("li", f"of {_number(number, 'photo')}: {text}") for text, number in counts["notes"].items()]
        yield element("ul", *noted, kind="faint") if noted else Markup()
        made = f"{_number(sum(counts['splits'].values()), 'pair')}: one of each {self._noun()} that was kept."
        yield element("p", f"{_number(found['all'], self._noun())} found in them, which gave {made}")
        yield html.shares([(f"{self._noun()}s kept", found["kept"], "good"), ("rejected", found["rejected"], "poor")])

    def _noun(self) -> str:
        return "face" if self.info.get("detector") else "crop"

    def _overview(self) -> Iterator[Markup]:
        yield element("h2", "Why not")
        rows = []
        for (kind, status, word), number in [*self.summary.why("failed"), *self.summary.why("rejected")]:
            reason = reasons.describe(str(word))
            link = element("a", reason.title, href="#failed" if status == "failed" else f"#{kind}-{word}")
            share = number / max(1, self.info["counts"]["photos" if kind == "photo" else "faces"]["all"])
            told = element("div", element("b", link), f" – {share:.1%} of all {kind}s, {status}")
            rows.append((Markup(f"<b>{number:,}</b>"), Markup(told + element("div", self._told(str(word))))))
        if rows:
            yield html.table(("", ""), rows)
        else:
            yield element("p", "Nothing was rejected and nothing failed.")

    def _told(self, word: str) -> Markup:
        reason = reasons.describe(word)
        limit = reasons.limit(reason, self.recipe)
        remedy = html.escape(f"{reason.remedy}{f' ({limit}.)' if limit else ''}")
        return Markup(
            html.escape(f"{reason.meaning} ") + element("span", Markup(_FLAG.sub(r"<code>\g<0></code>", remedy)), kind="faint")
        )

    def _failed(self) -> Iterator[Markup]:
        number = self.info["counts"]["photos"]["failed"]
        if not number:
            return
        yield element("h2", f"{_number(number, 'photo')} failed", id="failed")
        rows = []
        for row in self.summary.failed:
            told = element("div", str(row.get("detail", ""))[:300], kind="faint")
            rows.append((row["source"], Markup(html.escape(reasons.describe(row["reason"]).title) + told)))
        yield element("div", html.table(("photo", "what was wrong"), rows), kind="names")
        if number > FAILED:
            yield element("p", f"… and {number - FAILED:,} more, in manifest.jsonl (status: failed).", kind="faint")

    def _rejected(self, key: Key, number: int) -> Iterator[Markup]:
        kind, _, word = key
        yield element("h2", f"{_number(number, kind)} rejected: {reasons.describe(str(word)).title}", id=f"{kind}-{word}")
        yield element("p", self._told(str(word)))
        rows = self.summary.samples[key].rows()[: self.each]
        yield element("div", *(self._photo(row) for row in rows), kind="gallery")
        if number > len(rows):
            yield element("p", f"{len(rows)} of {number:,}, chosen by chance; all are in manifest.jsonl.", kind="faint")

    def _photo(self, row: Row) -> Markup:
        """The figure of a rejected photo or crop: the photo with the outlines of its crops."""
        source = row["source"]
        photo, found = self.found.photos.get(source, row), self.found.crops.get(source, [])
        if row["kind"] != "photo":
            return html.figure(self.pictures.photo(photo, found, row), source, _crop_told(row))
        picture = self.pictures.photo(photo, found)
        size = f"{photo['width']:,} × {photo['height']:,} px" if photo.get("width") else ""
        other = row.get("duplicate_of")
        if other:
            if other in self.found.photos:
                picture = Markup(picture + self.pictures.photo(self.found.photos[other]))
            return html.figure(picture, source, f"the lower one was kept: {other}")
        return html.figure(
            picture, source, "; ".join(filter(None, (size, *map(_crop_told, found[:3]), "…" if found[3:] else "")))
        )

    def _kept(self) -> Iterator[Markup]:
        rows = self.summary.kept_pairs()[: self.each]
        if not rows:
            return
        number = self.info["counts"]["faces"]["kept"]
        yield element("h2", f"{_number(number, 'pair')}: A, the input, beside B, the original", id="kept")
        shown = (html.figure(self.pictures.pair(row), row["source"], f"{row['split']}; {_crop_told(row)}") for row in rows)
        yield element("div", *shown, kind="gallery broad")
        if number > len(rows):
            yield element("p", f"{len(rows)} of {number:,}, chosen by chance.", kind="faint")

    def _histograms(self) -> Iterator[Markup]:
        both: tuple[tuple[str, str, Histogram], ...] = (
            ("Size of the faces", "Longer side of the face's box, in pixels of the photo.", self.summary.face_size),
            ("Enlargement", "From the photo to the pair: above 1, pixels are made up.", self.summary.enlargement),
        )
        for title, what, histogram in both:
            if histogram.total:
                yield element("h2", title)
                yield element("p", f"{what} Green: kept. Orange: rejected.", kind="faint")
                yield html.histogram(histogram.bins())

    def _splits(self) -> Iterator[Markup]:
        counts = self.info["counts"]
        yield element("h2", "Splits and groups", id="groups")
        yield element("p", "Photos of one group are never in different splits: the same content, near-duplicates (mirrored or "
                      "turned too), and what the grouping rule ties together.")  # fmt: skip
        yield html.table(
            ("split", "pairs", "groups"), [(name, counts["splits"][name], counts["groups"][name]) for name in SPLITS]
        )
        if not self.groups:
            yield element("p", "No two kept photos were tied together.")
            return
        largest = "" if self.tied <= len(self.groups) else f" The {len(self.groups)} largest:"
        yield element("p", f"{_number(self.tied, 'group')} of two photos or more.{largest}")
        for key, number in self.groups.items():
            rows, folders = self.found.members[key].rows(), len(self.found.folders[key])
            where = f"of {folders} folders" if folders > 1 else "of one folder"
            yield element("h3", f"{_number(number, 'photo')} {where}, in {rows[0]['split']}")
            yield element("div", *(html.figure(self.pictures.photo(row), row["source"]) for row in rows), kind="gallery")

    def _made(self) -> Iterator[Markup]:
        yield element("h2", "How it was made")
        yield element("pre", card.command(self.recipe, self.info.get("license")), kind="wide")
        steps = [element("li", text) for text in card.degradations_told(self.recipe, self.summary)]
        if steps:
            yield element("p", "What was done to B to make A, in this order:")
            yield element("ol", *steps)
        facts: list[tuple[str, Any]] = [
            (f"detector: {name}", value) for name, value in sorted((self.info.get("detector") or {}).items())
        ]
        facts += sorted((self.info.get("versions") or {}).items())
        facts.append(("SHA-256 of manifest.jsonl", self.info.get("manifest_sha256", "")))
        texts = [(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) for name, value in facts]
        yield html.table(("", ""), texts)


def _crop_told(row: Row) -> str:
    """One crop in a few words, such as "face of 44 px, enlarged to 360%: too small"."""
    parts = [f"{row['kind']} of {face_pixels(row):.0f} px" if row.get("box") else str(row["kind"])]
    if row.get("affine"):
        scale = scale_of(row["affine"])
        parts.append(f"enlarged to {scale:.0%}" if scale > 1 else f"reduced to {scale:.0%}")
    if row["reason"] == "low_confidence" and "score" in row:
        parts.append(f"score {row['score']:.2f}")
    if row.get("sharpness") is not None:
        parts.append(f"sharpness {row['sharpness']:.0f}")
    return ", ".join(parts) + (f": {reasons.describe(row['reason']).title}" if row["reason"] else "")


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

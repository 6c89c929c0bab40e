"""report.html of a restore job: before and after of each photo under a slider, and everything else that a person should know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from dataset_tools import html
from dataset_tools.archive import decode_name
from dataset_tools.html import Markup, element
from dataset_tools.metrics import METRICS
from pipelines.figures import metric_title
from pipelines.mark import STATEMENT
from pipelines.pictures import Picture, of_page
from pipelines.report import RestoreReport
from pipelines.restore import Figures, Row

STYLE = """
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: 0 0 1.5rem; }
#filter { font: inherit; color: inherit; background: transparent; border: 1px solid var(--line); border-radius: 4px;
  padding: .35rem .6rem; width: min(22rem, 100%); box-sizing: border-box; }
.photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: 1.8rem 1.4rem;
  margin: 1rem 0; }
.photo { content-visibility: auto; contain-intrinsic-size: auto 24rem; min-width: 0; }
.slider { --at: 50%; position: relative; display: grid; width: fit-content; max-width: 100%; border-radius: 3px;
  overflow: hidden; }
.slider img { grid-area: 1 / 1; margin: 0; width: 100%; height: auto; min-width: 0; border-radius: 0; }
.slider .after { clip-path: inset(0 0 0 var(--at)); }
.slider::after { content: ""; position: absolute; inset: 0 auto 0 var(--at); width: 2px; margin-left: -1px; background: #fff;
  box-shadow: 0 0 3px #000a; pointer-events: none; }
.slider input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize;
  touch-action: pan-y; appearance: none; }
.slider input::-webkit-slider-thumb { appearance: none; width: 1px; height: 100%; }
.slider:focus-within { outline: 3px solid #d9a514; outline-offset: 2px; }
.slider span { position: absolute; bottom: .35rem; padding: 0 .4rem; border-radius: 3px; background: #000a; color: #fff;
  font-size: 11px; pointer-events: none; }
.slider .left { left: .35rem; } .slider .right { right: .35rem; }
.stills { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .2rem .6rem; margin-top: .5rem; }
.stills img { width: 100%; height: auto; }
.photo h3 { margin: .5rem 0 .1rem; font-size: 13px; overflow-wrap: anywhere; font-weight: 600; }
.photo p { margin: .1rem 0; font-size: 12px; line-height: 1.45; overflow-wrap: anywhere; }
"""
SCRIPT = """
addEventListener("input", (event) => {
  const field = event.target, slider = field.closest(".slider");
  if (slider) slider.style.setProperty("--at", field.value + "%");
  if (field.id === "filter") {
    const wanted = field.value.toLowerCase();
    for (const photo of document.querySelectorAll(".photo")) photo.hidden = !photo.dataset.name.toLowerCase().includes(wanted);
  }
});
"""
NAMES = 1000  # photos that are listed by name alone, of each kind


def report_page(report: RestoreReport) -> str:
    """report.html: what was restored, how well where the original is known, what failed, and with which model."""
    failed = [row for row in report.rows if row.status == "failed"]
    copied = [row for row in report.rows if row.status == "nothing_to_restore"]
    counts = [(name.replace("_", " "), value) for name, value in report.counts.items()]
    facts = [f"{report.seconds:,.1f} seconds in all.", *_told(report)]
    about = {"name": report.model["name"], "sha256": report.model["sha256"], **report.model["card"]}
    sections = {
        "Counts": [html.table(("", "files"), counts), *(element("p", line) for line in facts)],
        "Against the originals": _figures_table(report.figures) if report.figures else [],
        "Failures": _failures(failed) if failed else [],
        "Photos": _photos(report),
        "Nothing to restore": _copied(copied) if copied else [],
        "Model": [_facts(about)],
        "Settings": [_facts(report.settings)],
    }
    there = {title: parts for title, parts in sections.items() if parts}
    links = [element("a", title, href=f"#{_slug(title)}") for title in there]
    body = [element("p", STATEMENT, kind="notice"), element("nav", *links)]
    for title, parts in there.items():
        body += [element("h2", title, id=_slug(title)), *parts]
    return html.page(f"Restored by {report.model['name']}", body, STYLE, SCRIPT)


def _failures(failed: Sequence[Row]) -> list[Markup]:
    lines = [(row.source, row.reason, row.message) for row in failed[:NAMES]]
    return [html.table(("photo", "reason", "what"), lines), *_more(failed)]


def _copied(copied: Sequence[Row]) -> list[Markup]:
    told = "The model saw nothing in them that it was made to restore. They were copied as they are."
    names = [element("li", row.source, *(f": {note}" for note in row.notes)) for row in copied[:NAMES]]
    return [element("p", told), element("ul", *names), *_more(copied)]


def _told(report: RestoreReport) -> list[str]:
    told = []
    if report.earlier:
        told.append(f"{report.earlier} of them were done by an earlier run and have not changed since.")
    if report.others:
        told.append(f"The folder holds {report.others} photos of earlier jobs, too, of which this page does not tell.")
    if report.no_images:
        more = f" and {report.not_images - NAMES} more" if report.not_images > NAMES else ""
        told.append(f"Not images: {', '.join(report.no_images[:NAMES])}{more}.")
    if report.linked_folders:
        told.append(f"Links to folders are not followed: {', '.join(report.linked_folders)}.")
    return told


def _figures_table(figures: Figures) -> list[Markup]:
    names = list(figures["restored"])
    arrows = {"higher": " ↑", "lower": " ↓", "none": ""}
    head = ("mean", *(metric_title(name) + arrows[METRICS[name].better] for name in names))
    rows = [(row, *(values.get(name) for name in names)) for row, values in figures.items()]
    return [html.table(head, rows), element("p", "↑ higher is better, ↓ lower is better.", kind="faint")]


def _photos(report: RestoreReport) -> list[Markup]:
    restored = [row for row in report.rows if row.status == "restored"]
    shown = [row for row in restored if row.source in report.pictures]
    rest = [row for row in restored if row.source not in report.pictures]
    if not restored:
        return [element("p", "None was restored.")]
    told = "Left of the line the photo as it was, right of it as the model restored it: drag the line, or move it with the arrow "
    told += "keys. A name opens the file. Where the regions are small, the largest one is shown near by."
    parts = [element("p", told, kind="faint")]
    if len(shown) > 12:
        told = "Show photos whose name holds"
        parts.append(html.void("input", type="search", id="filter", placeholder="part of a name", aria_label=told))
    parts.append(element("div", *(_photo(row, of_page(report.pictures[row.source])) for row in shown), kind="photos"))
    if rest:
        parts.append(element("p", f"{len(rest)} more were restored and are listed without pictures; report.csv has them all."))
        parts += [element("ul", *(element("li", _link(row)) for row in rest[:NAMES])), *_more(rest)]
    return parts


def _photo(row: Row, pictures: Sequence[Picture]) -> Markup:
    """One photo: the slider, what there is to compare with, and the facts."""
    by_title = {each.title: each for each in pictures}
    before, after = by_title.pop("input"), by_title.pop("restored")
    told = f"{row.source}: how much is shown as it was"
    slider = element(
        "div", _image(before, "as it was", ""), _image(after, "as restored", "after"),
        element("span", "before", kind="left"), element("span", "restored", kind="right"),
        html.void("input", type="range", min=0, max=100, value=50, aria_label=told), kind="slider",
    )  # fmt: skip
    stills = [html.figure(_image(each, each.title, ""), each.title) for each in by_title.values()]
    lines = [element("p", line, kind="faint") for line in _facts_of(row)]
    beside = [element("div", *stills, kind="stills")] if stills else []
    return element("article", slider, *beside, element("h3", _link(row)), *lines, kind="photo", **{"data-name": row.source})


def _image(picture: Picture, alt: str, kind: str) -> Markup:
    kind = f' class="{kind}"' if kind else ""
    return Markup(
        f'<img{kind} src="data:image/webp;base64,{picture.data}" width="{picture.width}" height="{picture.height}" '
        f'alt="{html.escape(alt)}" loading="lazy" decoding="async">'
    )


def _link(row: Row) -> Markup:
    return element("a", row.source, href=quote(decode_name(row.output or "")), target="_blank", rel="noopener")


def _facts_of(row: Row) -> list[str]:
    """The lines below a photo."""
    told = [f"{row.width} × {row.height}{', resized for the model' if row.resized else ''}"]
    for region in row.regions:
        _, _, width, height = region["box"]
        told.append(f"{width} × {height} restored{_grid(region)}")
    for name, value in (row.metrics or {}).get("restored", {}).items():
        others = [f"{other} {values[name]:.3f}" for other, values in (row.metrics or {}).items()
                  if other not in ("restored", "original") and name in values]  # fmt: skip
        told.append(f"{metric_title(name)} {value:.3f}" + (f" ({', '.join(others)})" if others else ""))
    told += row.notes
    return [*told[:1], *told[1:], *([f"{row.seconds:.2f} s"] if row.seconds is not None else [])]


def _grid(region: Mapping[str, Any]) -> str:
    return f", blocks of {region['block']:g}" if "block" in region else ""


def _more(rows: Sequence[Row]) -> list[Markup]:
    return [element("p", f"{len(rows) - NAMES} more are in report.csv.")] if len(rows) > NAMES else []


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def _facts(values: Mapping[str, Any]) -> Markup:
    lines = []
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append((name.replace("_", " "), text))
    return html.table(("", ""), lines)

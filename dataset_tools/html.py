"""Small pages that stand alone: style inside, pictures inside, nothing fetched, everything escaped."""

from __future__ import annotations

import base64
import hashlib
import html as standard
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dataset_tools import image_io

STYLE = """
:root { color-scheme: light dark; --paper: #faf9f6; --ink: #222428; --faint: #6b6f76; --line: #dedcd5; --mark: #fff4d6; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181b; --ink: #e6e4df; --faint: #9a9ea6; --line: #34363b; --mark: #3a3115; }
}
body { margin: 2.5rem auto; padding: 0 1.5rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { max-width: 48rem; } .faint { color: var(--faint); }
.notice { background: var(--mark); border-left: 4px solid #d9a514; padding: .7rem 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; } th, td { padding: .35rem .9rem .35rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; max-width: 40rem; }
th { color: var(--faint); font-weight: 600; vertical-align: bottom; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.pictures { white-space: nowrap; }
code { white-space: nowrap; } h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
a { color: inherit; } a:focus-visible, summary:focus-visible { outline: 2px solid #d9a514; outline-offset: 2px; }
.shares { display: flex; height: 1.4rem; border-radius: 4px; overflow: hidden; background: var(--line); margin: .4rem 0; }
.shares > span { min-width: 2px; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; margin: 0 0 1rem; padding: 0; list-style: none; }
.legend span { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .45rem; }
.good { background: #3c9a5f; } .poor { background: #e08a1e; } .bad { background: #c8443c; }
.bars td { border: 0; padding: .1rem .7rem .1rem 0; white-space: nowrap; } .bars td:last-child { width: 100%; min-width: 7rem; }
.bars td:last-child { vertical-align: middle; } .bars div { height: .5rem; border-radius: 2px; margin: 1px 0; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1.1rem .9rem; margin: .8rem 0; }
.gallery.broad { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
td:first-child > b { white-space: nowrap; } .names td { overflow-wrap: anywhere; }
figure { margin: 0; min-width: 0; } figure img { max-width: 100%; height: auto; margin: 0; }
figcaption { font-size: 12px; line-height: 1.4; overflow-wrap: anywhere; margin-top: .3rem; }
.blank { border: 1px dashed var(--line); border-radius: 3px; color: var(--faint);
  padding: 2.6rem .6rem; text-align: center; font-size: 12px; }
@media (max-width: 40rem) {
  body { margin: 1.2rem auto; padding: 0 1rem; } .gallery { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
}
img { display: inline-block; margin: 0 .35rem .35rem 0; vertical-align: top; border-radius: 3px; }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # what a browser may load: nothing from outside


class Markup(str):
    """Text that is HTML already. Every other text is escaped before it reaches a page."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """`text` so that a browser shows it and never obeys it; a Markup stays as it is.

    Surrogates, as in names that are not UTF-8, become question marks: a page is UTF-8.
    """
    if isinstance(text, Markup):
        return text
    return Markup(standard.escape(str(text).encode("utf-8", "replace").decode("utf-8"), quote=True))


def element(tag: str, *content: object, kind: str = "", **attributes: object) -> Markup:
    """<tag class="kind" …>content</tag>; content that is no Markup is escaped, and so are the attributes' values."""
    given = {"class": kind, **attributes} if kind else attributes
    opening = " ".join([tag, *(f'{name}="{escape(value)}"' for name, value in given.items())])
    return Markup(f"<{opening}>{''.join(map(escape, content))}</{tag}>")


def void(tag: str, **attributes: object) -> Markup:
    """<tag …>, an element that holds nothing, such as an input field. An underscore in a name is a hyphen."""
    given = (f'{name.replace("_", "-")}="{escape(value)}"' for name, value in attributes.items())
    return Markup(f"<{' '.join([tag, *given])}>")


def image(rgb: NDArray[np.uint8], alt: str, quality: int = 85) -> Markup:
    """An <img> that carries `rgb`, uint8 (H, W, 3) sRGB, inside itself as a JPEG, at its own size."""
    data = base64.b64encode(image_io.encode_jpeg(rgb, quality=quality)).decode("ascii")
    return jpeg(data, rgb.shape[1], rgb.shape[0], alt)


def jpeg(data: str, width: int, height: int, alt: str) -> Markup:
    """An <img> of a JPEG that is base64 already."""
    return Markup(f'<img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}" alt="{escape(alt)}">')


def shares(parts: Sequence[tuple[str, int, str]]) -> Markup:
    """One bar divided by (name, number, class good | poor | bad), with its legend below."""
    total = sum(number for _, number, _ in parts) or 1
    bar = [element("span", kind=kind, style=f"width:{number / total:.4%}") for _, number, kind in parts if number]
    legend = [
        element("li", element("span", kind=kind), f"{name} {number:,} ({number / total:.1%})") for name, number, kind in parts
    ]
    return Markup(element("div", *bar, kind="shares", **{"aria-hidden": "true"}) + element("ul", *legend, kind="legend"))


def histogram(bins: Sequence[tuple[str, int, int]]) -> Markup:
    """A line a bin (label, kept, rejected), with a green and an orange bar."""
    most = max((max(kept, rejected) for _, kept, rejected in bins), default=0) or 1
    lines = []
    for label, *numbers in bins:
        bars = [
            element("div", kind=kind, style=f"width:{max(number / most, 0.004):.2%}")
            for number, kind in zip(numbers, ("good", "poor"), strict=True)
            if number
        ]
        cells = [element("td", f"{number:,}", kind="number") for number in numbers]
        lines.append(element("tr", element("td", label, kind="number"), *cells, element("td", *bars)))
    head = element("tr", element("th"), *(element("th", name, kind="number") for name in ("kept", "rejected")), element("th"))
    return element("div", element("table", head, *lines, kind="bars"), kind="wide")


def figure(picture: Markup, *caption: object) -> Markup:
    """A picture (or several) with lines of text below it."""
    lines = [element("div", line, kind="" if index == 0 else "faint") for index, line in enumerate(caption) if line]
    return element("figure", picture, element("figcaption", *lines))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table; cells may be Markup, text or numbers. Integers are shown whole, other numbers with three decimals, to the right.

    A column whose first cell is a number has its title on the right as well. None is an empty cell.
    """
    body = [list(row) for row in rows]
    first = body[0] if body else []
    titles = [
        element("th", title, kind="number" if index < len(first) and _is_number(first[index]) else "")
        for index, title in enumerate(head)
    ]
    lines = [element("tr", *titles), *(element("tr", *map(_cell, row)) for row in body)]
    return element("div", element("table", *lines), kind="wide")


def page(title: str, body: Iterable[Markup], style: str = "", script: str = "") -> str:
    """A whole document in UTF-8 with `title` as its heading. It asks for nothing from outside, and its policy forbids it.

    `style` is added to the house's own; `script`, whose hash the policy names, is the only one that runs.
    """
    policy = POLICY
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        policy += f"; script-src 'sha256-{digest}'"
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}{style}</style>",
        "</head>",
        "<body>",
        element("h1", title),
        *map(escape, body),
        *([f"<script>{script}</script>"] if script else []),
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _cell(value: object) -> Markup:
    if value is None:
        return element("td")
    if not _is_number(value):
        return element("td", value)
    return element("td", value if isinstance(value, int | np.integer) else f"{value:.3f}", kind="number")

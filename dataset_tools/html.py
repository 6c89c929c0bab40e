"""Small pages that stand alone: style inside, pictures inside, nothing fetched, everything escaped."""

from __future__ import annotations

import base64
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


def element(tag: str, *content: object, kind: str = "") -> Markup:
    """<tag class="kind">content</tag>; content that is no Markup is escaped."""
    opening = f'{tag} class="{escape(kind)}"' if kind else tag
    return Markup(f"<{opening}>{''.join(map(escape, content))}</{tag}>")


def image(rgb: NDArray[np.uint8], alt: str) -> Markup:
    """An <img> that carries `rgb`, uint8 (H, W, 3) sRGB, inside itself as a JPEG, at its own size."""
    data = base64.b64encode(image_io.encode_jpeg(rgb, quality=85)).decode("ascii")
    height, width = rgb.shape[:2]
    return Markup(f'<img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}" alt="{escape(alt)}">')


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


def page(title: str, body: Iterable[Markup]) -> str:
    """A whole document in UTF-8 with `title` as its heading. It asks for nothing from outside, and its policy forbids it."""
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        element("h1", title),
        *map(escape, body),
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

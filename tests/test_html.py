"""Pages: they stand alone, they escape everything, their pictures are inside."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np

from dataset_tools import html, image_io


class Reader(HTMLParser):
    """Collects tags, attributes and text, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = "<script>alert('x')</script>.jpg\" onerror=\"y"


def test_a_hostile_name_is_text_wherever_it_stands() -> None:
    picture = html.image(np.zeros((4, 6, 3), np.uint8), HOSTILE)
    page = html.page(HOSTILE, [html.table((HOSTILE,), [(HOSTILE,), (picture,)]), html.element("p", HOSTILE, kind=HOSTILE)])
    read = Reader(page)
    assert "script" not in read.tags
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert read.text.count(HOSTILE) == 5  # title, heading, table head, cell, paragraph
    assert ("alt", HOSTILE) in read.attributes


def test_escape_leaves_markup_alone_and_shows_names_that_are_no_text() -> None:
    assert html.escape("a<b & 'c'") == "a&lt;b &amp; &#x27;c&#x27;"
    assert html.escape(html.escape("<")) == "&lt;"
    assert html.escape("caf\udce9") == "caf?"
    assert html.escape(3) == "3"


def test_an_image_carries_its_pixels() -> None:
    rgb = np.full((4, 6, 3), (200, 30, 30), np.uint8)
    tag = html.image(rgb, "red")
    found = re.fullmatch(r'<img src="data:image/jpeg;base64,([^"]+)" width="6" height="4" alt="red">', tag)
    assert found
    decoded = image_io.decode(base64.b64decode(found[1]), "inside").rgb8
    assert decoded.shape == (4, 6, 3)
    assert np.abs(decoded.astype(int) - rgb).max() <= 6


def test_a_table_shows_numbers_to_the_right_and_nothing_as_nothing() -> None:
    table = html.table(("name", "PSNR", "count"), [("a", 22.12345, 7), ("b", None, np.float64(1))])
    assert '<td class="number">22.123</td><td class="number">7</td>' in table
    assert '<th>name</th><th class="number">PSNR</th><th class="number">count</th>' in table
    assert "<td>b</td><td></td>" in table
    assert html.table(("a",), []).count("<tr>") == 1


def test_attributes_are_escaped_as_content_is() -> None:
    link = html.element("a", "x", kind="k", href='#"><script>', **{"data-key": 1})
    assert link == '<a class="k" href="#&quot;&gt;&lt;script&gt;" data-key="1">x</a>'


def test_shares_are_as_wide_as_their_numbers_and_say_them() -> None:
    bar = html.shares([("kept", 3000, "good"), ("rejected", 1000, "poor"), ("failed", 0, "bad")])
    assert re.findall(r'class="(\w+)" style="width:([\d.]+)%', bar) == [("good", "75.0000"), ("poor", "25.0000")]
    assert Reader(bar).text == "kept 3,000 (75.0%)rejected 1,000 (25.0%)failed 0 (0.0%)"
    assert "(0.0%)" in html.shares([("none", 0, "good")])


def test_a_histogram_has_a_line_a_bin_and_no_bar_for_nothing() -> None:
    text = html.histogram([("0 to 1", 4, 0), ("1 to 2", 1, 2)])
    assert text.count("<tr>") == 3
    assert re.findall(r'class="(\w+)" style="width:([\d.]+)%', text) == [("good", "100.00"), ("good", "25.00"), ("poor", "50.00")]


def test_a_figure_has_its_lines_below() -> None:
    figure = html.figure(html.element("i"), "<name>", "", "more")
    assert figure == '<figure><i></i><figcaption><div>&lt;name&gt;</div><div class="faint">more</div></figcaption></figure>'


def test_a_page_stands_alone_in_light_and_dark() -> None:
    page = html.page("Title", [html.image(np.zeros((2, 2, 3), np.uint8), "")])
    assert page.startswith("<!doctype html>\n")
    assert page.endswith("</html>\n")
    assert "prefers-color-scheme: dark" in page
    assert "default-src 'none'" in page
    read = Reader(page)
    assert not {"script", "link", "iframe"} & set(read.tags)
    links = [value for name, value in read.attributes if name in ("src", "href")]
    assert all(value and value.startswith("data:") for value in links)
    assert not [text for text in ("http:", "https:", "url(", "@import") if text in page]

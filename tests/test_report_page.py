"""report.html in a real browser: it fetches nothing, obeys no file name, and can be used by mouse, keyboard and phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.pictures import for_page
from pipelines.report_page import report_page
from pipelines.restore import Row, Shown
from tests import chromium
from tests.chromium import Browser
from tests.conftest import textured
from tests.test_report import FIGURES, HOSTILE, make

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.FOUND is None, reason="Chromium is missing: apt-get install chromium"),
]


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Browser]:
    """The page of three photos, one of a hostile name."""
    report = make()
    page = for_page(Shown("x", {"input": textured(1, 120, 200), "restored": textured(2, 120, 200)}))
    hostile = Row(HOSTILE, HOSTILE, "restored", width=200, height=120, notes=('<img src=x onerror="alert(2)">',))
    report = replace(report, rows=(hostile, *report.rows), pictures={HOSTILE: page, "0.png": page, "1.png": page})
    (tmp_path / "report.html").write_text(report_page(report), "utf-8")
    with chromium.browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "report.html")
        yield browser


def test_pictures_beside_a_slider_are_large_enough_to_be_seen(tmp_path: Path) -> None:
    report = make()
    images = {name: textured(index, 120, 200) for index, name in enumerate(("input", "bicubic", "restored", "original"))}
    report = replace(report, pictures={"0.png": for_page(Shown("x", images))})
    (tmp_path / "report.html").write_text(report_page(report), "utf-8")
    with chromium.browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "report.html")
        widths = browser.run("[...document.querySelectorAll('.stills figure')].map((each) => each.getBoundingClientRect().width)")
        heights = browser.run("[...document.querySelectorAll('.stills figcaption')].map((each) => each.offsetHeight)")
    assert len(widths) == 2
    assert min(widths) >= 100
    assert max(heights) < 30  # one line


def place(browser: Browser) -> tuple[float, float, float, float]:
    """(x, y, width, height) of the first slider in the window, once it has been scrolled to and drawn."""
    browser.run("document.querySelector('.slider').scrollIntoView({block: 'center'})")
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box = "(({x, y, width, height}) => [x, y, width, height])(document.querySelector('.slider').getBoundingClientRect())"
    x, y, width, height = browser.run(box)
    return x, y, width, height


def test_it_fetches_nothing_and_obeys_no_name(shown: Browser) -> None:
    asked = [event["request"]["url"] for event in shown.told("Network.requestWillBeSent")]
    assert [url[:40] for url in asked if not url.startswith(("data:image/webp", "file://"))] == []
    assert len([url for url in asked if url.startswith("file://")]) == 1
    assert shown.told("Page.javascriptDialogOpening") == []
    assert [event["entry"]["text"] for event in shown.told("Log.entryAdded")] == []
    assert shown.run("document.scripts.length") == 1
    assert shown.run("document.querySelector('.photo h3').textContent") == HOSTILE
    assert shown.run("document.querySelector('.photo a').pathname").endswith("/%3Cscript%3Ealert%281%29%3C/script%3E.jpg")
    shown.run("Promise.all([...document.images].map((image) => { image.loading = 'eager'; return image.decode(); }))")
    assert shown.run("[...document.images].every((image) => image.complete && image.naturalWidth === 200)")
    assert shown.run("fetch('data:,x').then(() => 'fetched', () => 'refused')") == "refused"
    shown.run(
        "(() => { const more = document.createElement('script'); more.text = 'window.hacked = 1'; document.body.append(more) })()"
    )
    assert shown.run("window.hacked") is None


def test_the_slider_follows_the_mouse_and_the_keys(shown: Browser) -> None:
    x, y, width, height = place(shown)
    at = "parseFloat(getComputedStyle(document.querySelector('.slider')).getPropertyValue('--at'))"
    assert shown.run(at) == 50
    shown.drag(x + width / 2, y + height / 2, x + width / 4)
    assert shown.run(at) == pytest.approx(25, abs=1)
    clip = shown.run("getComputedStyle(document.querySelector('.slider .after')).clipPath")
    assert clip.startswith("inset(0px 0px 0px 2")
    shown.press("End")
    assert shown.run(at) == 100
    shown.press("ArrowLeft", 3)
    assert shown.run(at) == 97
    shown.press("Tab", 2)  # over the link of the name to the next slider
    assert shown.run("document.activeElement === document.querySelectorAll('.slider input')[1]")
    assert "0.png" in shown.run("document.activeElement.getAttribute('aria-label')")


def test_on_a_phone_nothing_hangs_over_the_side(shown: Browser) -> None:
    shown.ask("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=3, mobile=True)
    shown.ask("Emulation.setTouchEmulationEnabled", enabled=True)
    assert shown.run("document.documentElement.scrollWidth") <= 360
    x, y, width, _ = place(shown)
    for kind, points in (("touchStart", [{"x": x + 0.7 * width, "y": y + 20}]), ("touchEnd", [])):
        shown.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    shown.run("new Promise(requestAnimationFrame)")
    at = shown.run("getComputedStyle(document.querySelector('.slider')).getPropertyValue('--at')")
    assert float(at.strip().removesuffix("%")) == pytest.approx(70, abs=2)


def test_two_thousand_photos_are_filtered_by_name(tmp_path: Path) -> None:
    page = for_page(Shown("x", {"input": textured(1, 256, 256), "restored": np.full((256, 256, 3), 90, np.uint8)}))
    names = [f"{index // 100:02}/{index:04}.jpg" for index in range(2000)]
    rows = tuple(Row(name, name, "restored", width=256, height=256, metrics=FIGURES) for name in names)
    report = replace(make(), rows=rows, pictures=dict.fromkeys(names, page))
    (tmp_path / "report.html").write_text(report_page(report), "utf-8")
    with chromium.browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "report.html")
        assert browser.run("document.querySelectorAll('.photo').length") == 2000
        drawn = "[...document.querySelectorAll('h3')].filter((name) => name.checkVisibility({contentVisibilityAuto: true}))"
        assert 0 < browser.run(f"{drawn}.length") < 100  # what is far from the window costs nothing
        browser.run("document.querySelector('#filter').focus()")
        browser.ask("Input.insertText", text="07/07")
        assert browser.run("[...document.querySelectorAll('.photo')].filter((photo) => !photo.hidden).length") == 100

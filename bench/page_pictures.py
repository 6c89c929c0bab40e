"""Pictures of the page in headless Chromium, for the documents.

    python -m bench.page_pictures MODEL docs        writes docs/page-*.jpg

MODEL restores mosaics.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.page import write_photos
from dataset_tools import resources
from pipelines.site import site_of
from tests.playwright import DONE, Browser, browser, served

LARGE = {"viewport": {"width": 1280, "height": 800}}
PHONE = {
    "viewport": {"width": 390, "height": 780},
    "deviceScaleFactor": 2,
    "isMobile": True,
    "hasTouch": True,
    "colorScheme": "dark",
}


def shoot(page: Browser, folder: Path, name: str) -> None:
    """Writes page-NAME.jpg."""
    page.run("await page.screenshot({path: given.path, type: 'jpeg', quality: 82})", path=str(folder / f"page-{name}.jpg"))


def main(model: str, folder: Path) -> None:
    """Takes them all."""
    samples = sorted(resources.path("samples").glob("*.jpg"))
    with tempfile.TemporaryDirectory() as work, served(site_of([model])) as url, browser() as page:
        photos = write_photos(Path(work))
        page.open(url, **LARGE)
        shoot(page, folder, "empty")
        page.add(photos["first photo"], photos["second photo"])
        shoot(page, folder, "restored")
        page.run("await page.click('#about')")
        shoot(page, folder, "card")
        page.run("await page.keyboard.press('Escape'); await page.check('#show-boxes')")
        shoot(page, folder, "boxes")
        (Path(work) / "notes.jpg").write_text("no image")
        page.add(Path(work) / "notes.jpg")
        page.run("await page.locator('#photos li button:first-child').last().click()")
        shoot(page, folder, "bad-file")
        page.open(url, **PHONE)
        page.add(samples[4])
        page.run(
            "await page.click('#on-faces'); await page.waitForFunction(() => !document.querySelector('#undo').disabled);" + DONE
        )
        page.run("await page.evaluate(() => scrollTo(0, 0))")
        shoot(page, folder, "phone")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""A real browser for tests: Debian's Chromium, driven by Playwright (playwright.mjs)."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.serve import Server
from pipelines.site import BUILT, Site
from tests.chromium import FOUND

MODULES = BUILT.parent / "node_modules"
READY = "await page.waitForFunction(() => !document.querySelector('#about').disabled, null, {timeout: 120000});"
# Every photo of the list has become something.
DONE = """await page.waitForFunction(() => document.querySelector('#working').hidden && [...document.querySelectorAll(
  '#photos li span:last-child')].every((each) => !['waiting', 'working'].includes(each.textContent)), null, {timeout: 120000});"""


def missing() -> str | None:
    """Why there is no browser; None where there is one."""
    if FOUND is None:
        return "no Chromium: apt-get install chromium"
    if shutil.which("node") is None or not (MODULES / "playwright-core").exists():
        return "no Playwright: apt-get install nodejs npm, then make page"
    return None if (BUILT / "index.html").exists() else "the page is not built: make page"


class Browser:
    """Runs pieces of JavaScript in node, where `page` is Playwright's page and `given` the keyword arguments."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process

    def run(self, code: str, **given: Any) -> Any:
        """What `code` returns. Raises AssertionError with what Playwright says where it fails."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"code": code, "given": given}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def open(self, url: str, **options: Any) -> None:
        """A fresh profile at that address, its model ready. options: as Playwright's newContext takes them."""
        self.run("await begin(given.options);", options=options)
        self.run(f"await page.goto(given.url); {READY}", url=url)

    def add(self, *paths: Path) -> None:
        """Chooses files, and waits until something has become of each."""
        self.run(f"await page.setInputFiles('#files', given.paths); {DONE}", paths=[str(path) for path in paths])

    def text(self, selector: str) -> str:
        """What an element says."""
        return str(self.run("return (await page.textContent(given.selector)).trim()", selector=selector))

    def states(self) -> list[str]:
        """What became of each photo of the list."""
        return list(self.run("return page.locator('#photos li span:last-child').allTextContents()"))

    def save(self, button: str, folder: Path) -> Path:
        """The file that a button downloads."""
        name = self.run(
            "const [file] = await Promise.all([page.waitForEvent('download'), page.click(given.button)]);"
            "await file.saveAs(`${given.folder}/${file.suggestedFilename()}`); return file.suggestedFilename()",
            button=button, folder=str(folder),
        )  # fmt: skip
        return folder / str(name)


@contextmanager
def browser() -> Iterator[Browser]:
    """One for several tests: it takes a second to start."""
    line = ["node", str(Path(__file__).with_name("playwright.mjs")), str(MODULES), str(FOUND)]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Browser(process)
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(30)
        assert process.stdout
        process.stdout.close()


@contextmanager
def served(site: Site) -> Iterator[str]:
    """The address at which `site` is served meanwhile."""
    with Server(site) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()

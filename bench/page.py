"""The page in headless Chromium on this machine: the bytes that it loads, and how long a person waits.

    python -m bench.page MODEL [ROUNDS]

MODEL restores mosaics. Each round has a browser of its own, with an empty cache, and a page that may use several threads
(isolated, as `photomend serve` makes it) and one that may not (a web server that says nothing of it), in turn.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from bench.tables import machine, spread, table
from dataset_tools import image_io, resources
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from pipelines import serve
from pipelines.site import Site, site_of
from tests.playwright import DONE, READY, Browser, browser, served

PLAIN = {name: value for name, value in serve.HEADERS.items() if not name.startswith("Cross-Origin")}
KINDS = {"isolated": serve.HEADERS, "not isolated": PLAIN}
WHAT = {
    "page ready": "from the address on, without the model (target: 3)",
    "model ready": "from the address on",
    "first photo": "768 x 768 with a mosaic of 320 x 320, from the drop on (target: 5)",
    "second photo": "another one",
    "face of 256 x 256": "a crop that is all mosaic: search, cells, model",
}


def seconds(page: Browser, code: str, **given: object) -> float:
    """How long a piece of script takes."""
    began = time.perf_counter()
    page.run(code, **given)
    return time.perf_counter() - began


def one_round(page: Browser, url: str, photos: Mapping[str, Path]) -> dict[str, float]:
    """Seconds, by what was waited for."""
    add = "await page.setInputFiles('#files', given.path); await page.waitForTimeout(20);" + DONE
    page.run("await begin()")
    ready = seconds(page, "await page.goto(given.url)", url=url)
    found = {"page ready": ready, "model ready": ready + seconds(page, READY)}
    for name in ("first photo", "second photo"):
        found[name] = seconds(page, add, path=str(photos[name]))
    page.run(add, path=str(photos["face of 256 x 256"]))
    page.run("await page.locator('#photos li button:first-child').last().click()")
    told = re.search(r"([\d.]+) s\.", page.text("#status"))
    found["face of 256 x 256"] = float(told[1]) if told else float("nan")
    return found


def laid(rgb: NDArray[np.uint8], block: int, rows: slice, columns: slice) -> NDArray[np.uint8]:
    """`rgb` with a mosaic on a part."""
    grid, made = Grid(block, 0, 0), rgb.copy()
    made[rows, columns] = paint(cell_means(rgb, grid), grid, (rgb.shape[0], rgb.shape[1]))[rows, columns]
    return made


def write_photos(folder: Path) -> dict[str, Path]:
    """The photos by what they are for."""
    first, second = (image_io.read(path).rgb8 for path in sorted(resources.path("samples").glob("*.jpg"))[:2])
    face, crop = (slice(160, 480), slice(224, 544)), (slice(200, 456), slice(256, 512))
    made = {"first photo": laid(first, 16, *face), "second photo": laid(second, 16, *face),
            "face of 256 x 256": laid(first, 8, *crop)[crop]}  # fmt: skip
    for name, rgb in made.items():
        image_io.write(folder / f"{name}.png", rgb, "PNG")
    return {name: folder / f"{name}.png" for name in made}


def loaded(page: Browser, site: Site) -> dict[str, int]:
    """Bytes of the files that the page asked for."""
    names = {urlsplit(each).path[1:] or "index.html" for each in page.run("return seen.requests")}
    return {name: len(data) for name in sorted(names) if (data := site.read(name))}


def main(model: str, rounds: int) -> None:
    """Prints both tables."""
    print(machine())
    site = site_of([model])
    times: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in WHAT} for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        photos, sizes = write_photos(Path(folder)), dict[str, int]()
        for _ in range(rounds):
            for kind, headers in KINDS.items():
                with patch.object(serve, "HEADERS", headers), served(site) as url, browser() as page:
                    for name, value in one_round(page, url, photos).items():
                        times[kind][name].append(value)
                    sizes = loaded(page, site)
    rows = [[name, what, *(spread(times[kind][name]) for kind in KINDS)] for name, what in WHAT.items()]
    table("Waiting, s", ["", "", *KINDS], rows)
    large = {name: size for name, size in sizes.items() if name.endswith((".wasm", ".onnx"))}
    whole = sum(sizes.values())
    told = {**large, "everything else": whole - sum(large.values()), "in all": whole}
    table("What it loads, MB", ["file", "MB"], [[name, f"{size / 1e6:.2f}"] for name, size in told.items()])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)

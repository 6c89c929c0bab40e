"""What the core of the page says of photos, in node: as the Python does, to the pixel where that counts in integers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dataset_tools import cells, image_io, mosaic_grid, mosaic_resized, priors, resources
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from dataset_tools.mosaic_regions import Region, find_regions
from pipelines.regions import masked_means, pasted, restored_around
from pipelines.whole_image import colorized, in_tiles, restored_in_tiles

PAGE = Path(__file__).parents[1] / "pipelines" / "page"
SAMPLES = sorted(resources.path("samples").glob("*.jpg"))
Rgb = np.ndarray


def photo(number: int, width: int = 0, height: int = 0) -> Rgb:
    rgb = image_io.read(SAMPLES[number]).rgb8
    return np.asarray(cv2.resize(rgb, (width, height or width), interpolation=cv2.INTER_AREA)) if width else rgb


def mosaicked(rgb: Rgb, grid: Grid) -> Rgb:
    return paint(cell_means(rgb, grid), grid, (rgb.shape[0], rgb.shape[1]))


def laid(rgb: Rgb, mask: np.ndarray, grid: Grid) -> Rgb:
    return np.where(mask[:, :, None], mosaicked(rgb, grid), rgb)


def ellipse(rgb: Rgb) -> np.ndarray:
    mask = np.zeros(rgb.shape[:2], np.uint8)
    height, width = mask.shape
    cv2.ellipse(mask, (width // 2, height // 2), (width // 4, height // 3), 20, 0, 360, 1, -1)
    return mask > 0


def box(rgb: Rgb, top: float, left: float, bottom: float, right: float) -> np.ndarray:
    """Shares of the height and of the width."""
    mask, (height, width) = np.zeros(rgb.shape[:2], bool), rgb.shape[:2]
    mask[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = True
    return mask


def jpeg(rgb: Rgb, quality: int = 75) -> Rgb:
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def model(batch: Rgb) -> Rgb:
    """As in page_core.mjs: leaves traces of where in its image a pixel lay."""
    y, x, c = np.ogrid[: batch.shape[1], : batch.shape[2], :3]
    return (batch + (5 * x + 3 * y + 11 * c) % 32 - 12).clip(0, 255).astype(np.uint8)


def grid_of(grid: Grid | None) -> dict[str, int] | None:
    return grid and {"block": grid.block, "phaseY": grid.phase_y, "phaseX": grid.phase_x}


def affine_of(onto: np.ndarray) -> dict[str, float]:
    assert onto[0, 1] == onto[1, 0] == 0
    return {"scaleX": onto[0, 0], "shiftX": onto[0, 2], "scaleY": onto[1, 1], "shiftY": onto[1, 2]}


def region_of(region: Region) -> dict[str, Any]:
    return {"grid": grid_of(region.grid), "box": dict(zip(("top", "left", "bottom", "right"), region.box, strict=True))}


class Cases:
    """What node is asked, and what Python says."""

    def __init__(self, folder: Path):
        self.folder, self.asked, self.expected = folder, list[dict[str, Any]](), list[dict[str, Any]]()

    def ask(self, kind: str, expected: dict[str, Any], **given: Any) -> None:
        arrays = {}
        for name, value in list(given.items()):
            if isinstance(value, np.ndarray):
                arrays[name] = f"given-{len(self.asked)}-{name}", *value.shape[:2]
                (self.folder / arrays[name][0]).write_bytes(np.ascontiguousarray(value, np.uint8).tobytes())
                del given[name]
        self.asked.append({"kind": kind, "arrays": arrays, **given})
        self.expected.append(expected)

    def answers(self, bundle: Path) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
        """(kind, what Python says, what node says) of each."""
        (self.folder / "cases.json").write_text(json.dumps(self.asked))
        subprocess.run(["node", str(Path(__file__).with_name("page_core.mjs")), str(bundle), str(self.folder)], check=True)
        said = json.loads((self.folder / "said.json").read_text())["said"]
        found = []
        for asked, expected, each in zip(self.asked, self.expected, said, strict=True):
            values = dict(each["values"])
            for name, (file, height, width, kind) in each["files"].items():
                data = np.frombuffer((self.folder / file).read_bytes(), kind).reshape(height, width, -1)
                values[name] = data[..., 0] if data.shape[-1] == 1 else data
            found.append((asked["kind"], expected, values))
        return found


def ask_of_images(cases: Cases) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (97, 131, 3)).astype(np.uint8)
    for rgb in (noise, photo(0)):
        cases.ask("grey", {"grey": cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)}, rgb=rgb)
    for method, flag in (("area", cv2.INTER_AREA), ("cubic", cv2.INTER_CUBIC)):
        for rgb, width, height in ((noise, 64, 60), (noise, 130, 96), (noise[:96, :128], 32, 32), (noise[:96, :128], 64, 48),
                                   (noise, 131, 97), (photo(1), 224, 288), (noise, 140, 50)):  # fmt: skip
            rgb = np.ascontiguousarray(rgb)
            made = cv2.resize(rgb, (width, height), interpolation=flag)
            cases.ask("resize", {"made": made}, rgb=rgb, width=width, height=height, method=method)
    cases.ask("resize", {"made": cv2.resize(noise, (300, 200), interpolation=cv2.INTER_CUBIC)}, rgb=noise, width=300, height=200,
              method="cubic")  # fmt: skip
    for method, flag in (("linear", cv2.INTER_LINEAR), ("cubic", cv2.INTER_CUBIC)):
        for matrix, size in (((0.731, 3.2, 0.69, -1.1), (150, 160)), ((2.3, 0.4, 2.1, 0.6), (50, 40)), ((0.13, -7, 0.125, 0.2), (301, 203))):
            onto = np.array([[matrix[0], 0, matrix[1]], [0, matrix[2], matrix[3]]])
            made = cv2.warpAffine(noise, onto, size, flags=flag | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
            cases.ask("warp", {"made": made}, rgb=noise, onto=affine_of(onto), width=size[0], height=size[1], method=method)


def whole_mosaics() -> list[tuple[Rgb, Grid | None]]:
    """Images that a mosaic covers, all or a part of them, and where it lies."""
    found: list[tuple[Rgb, Grid | None]] = []
    for place, block in enumerate((4, 5, 6, 7, 8, 9, 11, 13, 16, 20, 24, 32, 37, 48)):
        rgb, grid = photo(place, 256 + 7 * place, 300 - 11 * place), Grid(block, 2 * block // 3, block // 4 * (place % 2))
        found.append((mosaicked(rgb, grid), grid))
        if place % 2:
            found.append((laid(rgb, ellipse(rgb), grid), grid))
        if place % 3 == 0:
            found.append((jpeg(mosaicked(rgb, grid)), grid))
        if place % 5 == 1:
            found.append((jpeg(laid(rgb, ellipse(rgb), grid), 85), grid))
    found += [(photo(3, 256), None), (jpeg(photo(5, 200, 333)), None), (np.zeros((40, 30, 3), np.uint8), None),
              (photo(4, 7), None), (np.repeat(np.repeat(photo(2, 100), 2, axis=0), 2, axis=1), None)]  # fmt: skip
    return found


def resized_mosaics() -> list[Rgb]:
    found = []
    for number, (block, width, height) in enumerate(((16, 200, 200), (16, 300, 280), (9, 180, 190), (30, 111, 140), (12, 353, 353),
                                                     (14, 620, 300), (23, 700, 860))):  # fmt: skip
        rgb = photo(2 * number, 256)
        shown = cv2.resize(mosaicked(rgb, Grid(block, 3, 5)), (width, height),
                           interpolation=cv2.INTER_AREA if width < 256 else cv2.INTER_CUBIC)  # fmt: skip
        found += [np.asarray(shown), jpeg(shown)]
    return [*found, photo(7, 256), np.zeros((64, 300, 3), np.uint8), photo(8, 300, 15)]


def ask_of_grids(cases: Cases) -> None:
    for rgb, true in whole_mosaics():
        grid = mosaic_grid.estimate(rgb)
        cases.ask("grid", {"grid": grid_of(grid)}, rgb=rgb)
        grid = true or grid or Grid(9, 4, 2)
        means, shape = cell_means(rgb, grid), (rgb.shape[0], rgb.shape[1])
        expected = {"means": means, "painted": paint(means, grid, shape), "smooth": mosaic_grid.between(means, grid, shape),
                    "shown": priors.shown_in(rgb, grid, means), "even": cells.even(means, 32)}  # fmt: skip
        cases.ask("means", expected, rgb=rgb, grid=grid_of(grid))
    for rgb in resized_mosaics():
        lines = mosaic_resized.estimate(rgb)
        said = lines and {"block": lines.block, "firstY": lines.first_y, "firstX": lines.first_x}
        cases.ask("resized", {"lines": said}, rgb=rgb)


def ask_of_cells(cases: Cases) -> None:
    for rgb in [*(rgb for rgb, _ in whole_mosaics()), *resized_mosaics()]:
        known = cells.estimated(rgb)
        if known is None:
            cases.ask("cells", {}, rgb=rgb)
            continue
        onto = affine_of(known.onto)
        cases.ask("cells", {"onto": onto, "block": known.block, "means": known.means, "weights": known.weights}, rgb=rgb)
        restored = model(cells.even(known.means, 32)[None])[0]
        weights = {} if known.weights is None else {"weights": known.weights}
        cases.ask("back", {"made": cells.laid_back(rgb, known, restored)}, rgb=rgb, means=known.means, onto=onto, restored=restored,
                  **weights)  # fmt: skip


def photos_with_regions() -> list[Rgb]:
    found = []
    for number, block in enumerate((4, 5, 8, 12, 13, 16, 24, 33, 48)):
        rgb, grid = photo(2 * number), Grid(block, 3 % block, 2 * block // 3)
        rgb = rgb[: 768 - 13 * number, 7 * number :]
        shown = [laid(rgb, ellipse(rgb), grid), laid(rgb, box(rgb, 0.2, 0.25, 0.8, 0.7), grid)][number % 2]
        found += [shown, jpeg(shown)] if number % 3 != 1 else [shown]
    rgb = photo(6, 900, 700)
    two = laid(laid(rgb, box(rgb, 0.1, 0.1, 0.5, 0.45), Grid(12, 5, 1)), box(rgb, 0.45, 0.6, 1, 1), Grid(20, 0, 7))
    large = laid(photo(5, 1500), box(photo(5, 1500), 0.1, 0.1, 0.9, 0.9), Grid(132, 11, 17))
    nearly = laid(photo(0), box(photo(0), 0.1, 0.1, 0.4, 0.4) | box(photo(0), 0.1, 0.42, 0.4, 0.8), Grid(14, 3, 5))
    return [*found, two, large, nearly, mosaicked(photo(4), Grid(16, 9, 4)), mosaicked(photo(6, 64), Grid(8)), photo(9),
            jpeg(photo(10)), jpeg(photo(12), 40), photo(1, 40, 23), np.full((100, 67, 3), 90, np.uint8)]  # fmt: skip


def ask_of_regions(cases: Cases) -> None:
    for place, rgb in enumerate(photos_with_regions()):
        regions = find_regions(rgb)
        masks = {f"mask{number}": region.mask for number, region in enumerate(regions)}
        cases.ask("regions", {"regions": [region_of(region) for region in regions], **masks}, rgb=rgb)
        for region in regions:
            strength = 0.6 if place % 4 == 1 else 1.0
            top, left, made = restored_around(rgb, region, model, 32)
            rows, columns, pixels, weights = pasted(rgb, region, (top, left), made, strength)
            expected = {"at": [top, left], "made": made, "top": rows.start, "left": columns.start, "pasted": pixels,
                        "weights": weights}  # fmt: skip
            cases.ask("around", expected, rgb=rgb, mask=region.mask, region=region_of(region), strength=strength)
    rng = np.random.default_rng(0)
    rgb, mask, grid = rng.integers(0, 256, (37, 53, 3)).astype(np.uint8), rng.random((37, 53)) < 0.3, Grid(8, 3, 5)
    mask[:9, :8] = False
    cases.ask("masked", {"means": masked_means(rgb, mask, grid)}, rgb=rgb, mask=mask, grid=grid_of(grid))


def ask_of_tiles(cases: Cases) -> None:
    for height, width, size, step in ((64, 64, 64, 1), (65, 64, 64, 1), (200, 333, 64, 1), (63, 500, 64, 1), (20, 7, 64, 1), (1, 1, 64, 1),
                                      (240, 96, 64, 8), (24, 200, 64, 8)):  # fmt: skip
        rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
        cases.ask("tiles", {"made": restored_in_tiles(rgb, model, size, step)}, rgb=rgb, size=size, step=step)
    for rows, columns in ((10, 20), (70, 90)):
        image = cells.even(np.random.default_rng(1).integers(0, 256, (rows, columns, 3)).astype(np.uint8), 32)
        cases.ask("piece", {"made": in_tiles(model, image[None])[0]}, rgb=image)


def ask_of_colours(cases: Cases) -> None:
    for number, (width, height, size, strength) in enumerate(((768, 768, 256, 1.0), (333, 611, 256, 1.0), (97, 1025, 128, 0.7),
                                                             (40, 30, 64, 1.0))):  # fmt: skip
        rgb = np.repeat(cv2.cvtColor(photo(number, width, height), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)
        made, paler = colorized(rgb, model, size, 32, strength)
        cases.ask("colours", {"made": made, "paler": paler}, rgb=rgb, size=size, strength=strength)


Answers = list[tuple[str, dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What node says of all the cases, in one process."""
    esbuild = PAGE / "node_modules" / ".bin" / "esbuild"
    if shutil.which("node") is None:
        pytest.skip("no node: apt-get install nodejs npm, then make page")
    if not esbuild.exists():
        pytest.skip("no esbuild in pipelines/page/node_modules: make page")
    folder = tmp_path_factory.mktemp("page")
    bundle = folder / "core.mjs"
    subprocess.run([str(esbuild), "src/core.ts", "--bundle", "--format=esm", f"--outfile={bundle}", "--log-level=warning"], cwd=PAGE,
                   check=True)  # fmt: skip
    cases = Cases(folder)
    for ask in (ask_of_images, ask_of_grids, ask_of_cells, ask_of_regions, ask_of_tiles, ask_of_colours):
        ask(cases)
    return cases.answers(bundle)

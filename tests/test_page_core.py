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
from dataset_tools.mosaic_finder import find_mosaics
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from dataset_tools.mosaic_regions import Region
from pipelines.regions import masked_means, pasted, restored_around
from pipelines.whole_image import colorized, has_colours, in_tiles, restored_in_tiles
from tests.builds import SOAK
from tests.test_mosaic_regions import sheet

pytestmark = pytest.mark.slow
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
    lines = region.lines and {"block": region.lines.block, "firstY": region.lines.first_y, "firstX": region.lines.first_x}
    said = {"grid": grid_of(region.grid), "box": dict(zip(("top", "left", "bottom", "right"), region.box, strict=True))}
    return said | ({"lines": lines} if lines else {})


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
        driver = Path(__file__).with_name("page_core.mjs")
        subprocess.run(["node", str(driver), str(bundle), str(self.folder)], check=True, timeout=120)
        said = json.loads((self.folder / "said.json").read_text())
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
    whole = np.ascontiguousarray(noise[:96, :128])
    for rgb in (noise, photo(0)):
        cases.ask("grey", {"grey": cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)}, rgb=rgb)
    sizes = (noise, 64, 60), (noise, 130, 96), (whole, 32, 32), (whole, 64, 48), (noise, 131, 97), (photo(1), 224, 288)
    for method, flag, more in (("area", cv2.INTER_AREA, (noise, 140, 50)), ("cubic", cv2.INTER_CUBIC, (noise, 300, 200))):
        for rgb, width, height in (*sizes, more):
            made = cv2.resize(rgb, (width, height), interpolation=flag)
            cases.ask("resize", {"made": made}, rgb=rgb, width=width, height=height, method=method)
    places = (0.731, 3.2, 0.69, -1.1, 150, 160), (2.3, 0.4, 2.1, 0.6, 50, 40), (0.13, -7, 0.125, 0.2, 301, 203)
    for method, flag in (("linear", cv2.INTER_LINEAR), ("cubic", cv2.INTER_CUBIC)):
        for x, left, y, top, width, height in places:
            onto = np.array([[x, 0, left], [0, y, top]])
            flags = flag | cv2.WARP_INVERSE_MAP
            made = cv2.warpAffine(noise, onto, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
            cases.ask("warp", {"made": made}, rgb=noise, onto=affine_of(onto), width=width, height=height, method=method)


def whole_mosaics() -> list[tuple[Rgb, Grid | None]]:
    """Images that a mosaic covers, all or a part of them, and where it lies."""
    found: list[tuple[Rgb, Grid | None]] = []
    for place, block in enumerate((4, 5, 6, 7, 8, 9, 11, 13, 16, 20, 24, 32, 37, 48)):
        rgb, grid = photo(place, 216 + 7 * place, 250 - 11 * place), Grid(block, 2 * block // 3, block // 4 * (place % 2))
        found.append((mosaicked(rgb, grid), grid))
        if place % 2:
            found.append((laid(rgb, ellipse(rgb), grid), grid))
        if place % 3 == 0:
            found.append((jpeg(mosaicked(rgb, grid)), grid))
        if place % 5 == 1:
            found.append((jpeg(laid(rgb, ellipse(rgb), grid), 85), grid))
    enlarged = np.repeat(np.repeat(photo(2, 100), 2, axis=0), 2, axis=1)
    none = photo(3, 256), jpeg(photo(5, 200, 333)), np.zeros((40, 30, 3), np.uint8), photo(4, 7), enlarged
    return [*found, *((rgb, None) for rgb in none)]


def resized_mosaics() -> list[Rgb]:
    found = []
    sizes = (16, 200, 200), (16, 300, 280), (9, 180, 190), (30, 111, 140), (12, 353, 333), (14, 620, 300), (23, 560, 700)
    for number, (block, width, height) in enumerate(sizes):
        method = cv2.INTER_AREA if width < 256 else cv2.INTER_CUBIC
        shown = cv2.resize(mosaicked(photo(2 * number, 256), Grid(block, 3, 5)), (width, height), interpolation=method)
        found.append(jpeg(shown) if number % 2 else np.asarray(shown))
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
    for rgb in [*(rgb for rgb, _ in whole_mosaics()[::2]), *resized_mosaics()]:
        known = cells.estimated(rgb)
        if known is None:
            cases.ask("cells", {}, rgb=rgb)
            continue
        onto = affine_of(known.onto)
        cases.ask("cells", {"onto": onto, "means": known.means, "weights": known.weights}, rgb=rgb)
        given = {"rgb": rgb, "means": known.means, "restored": model(cells.even(known.means, 32)[None])[0]}
        made = cells.laid_back(rgb, known, given["restored"])
        cases.ask("back", {"made": made}, onto=onto, **given, **({} if known.weights is None else {"weights": known.weights}))


def photos_with_regions() -> list[Rgb]:
    found = []
    for number, block in enumerate((4, 5, 8, 12, 13, 16, 24, 33, 48) if SOAK else (4, 8, 13, 33, 48)):
        rgb, grid = photo(2 * number, 560 - 13 * number, 430 + 7 * number), Grid(block, 3 % block, 2 * block // 3)
        shown = laid(rgb, box(rgb, 0.2, 0.25, 0.9, 0.8) if number % 2 else ellipse(rgb), grid)
        found += [shown, jpeg(shown)] if number % 3 != 1 else [shown]
    found.append(jpeg(laid(photo(0, 384, 384), ellipse(photo(0, 384, 384)), Grid(16, 8, 0))))  # on the blocks of the JPEG
    rgb = photo(6, 900, 700)
    two = laid(laid(rgb, box(rgb, 0.1, 0.1, 0.5, 0.45), Grid(12, 5, 1)), box(rgb, 0.45, 0.6, 1, 1), Grid(20, 0, 7))
    rgb = photo(0, 640)
    near = laid(rgb, box(rgb, 0.1, 0.1, 0.4, 0.4) | box(rgb, 0.1, 0.42, 0.4, 0.8), Grid(14, 3, 5))  # one grid, and close together
    rgb = np.hstack([photo(number, 300) for number in (3, 12, 20)])
    for times in (1, 2, 3):  # on lines that are all among those of the first
        rgb = laid(rgb, box(rgb, 0.2, (times - 0.8) / 3, 0.8, (times - 0.2) / 3), Grid(8 * times))
    common = rgb
    rgb = photo(5, 1000)
    large = laid(rgb, box(rgb, 0.1, 0.1, 0.9, 0.9), Grid(132, 11, 17))
    halved = jpeg(laid(rgb, box(rgb, 0.15, 0.2, 0.9, 0.8), Grid(80, 10, 0)), 88)  # as they once were
    resized = []
    for number, (block, side) in enumerate(((12, 700), (16, 900), (24, 610), (32, 500))[: 4 if SOAK else 2]):
        rgb, method = photo(3 * number, 768), cv2.INTER_AREA if side < 768 else cv2.INTER_CUBIC
        part = ellipse(rgb) if number % 2 else box(rgb, 0.1, 0.2, 0.7, 0.8)
        resized.append(np.asarray(cv2.resize(laid(rgb, part, Grid(block, 3, 5)), (side, side), interpolation=method)))
    shown = laid(photo(3), box(photo(3), 0.2, 0.3, 0.65, 0.7), Grid(10))
    spread = jpeg(np.asarray(cv2.resize(shown, (1229, 1228), interpolation=cv2.INTER_LINEAR)), 85)  # found at half of its size
    return [
        *found,
        spread,
        two,
        near,
        common,
        large,
        halved,
        *resized,
        jpeg(resized[0], 85),
        mosaicked(photo(4, 300, 400), Grid(16, 9, 4)),
        mosaicked(photo(6, 64), Grid(8)),
    ]


def photos_without() -> list[Rgb]:
    noise = np.random.default_rng(0).integers(0, 256, (61, 90, 3)).astype(np.uint8)
    table = np.full((400, 600, 3), 250, np.uint8)
    table[::20] = table[:, ::50] = 120
    blocks = cv2.resize(jpeg(photo(5, 300), 12), (450, 450), interpolation=cv2.INTER_CUBIC)  # of a JPEG, larger than they were
    return [photo(9), np.asarray(blocks), jpeg(photo(10)), jpeg(photo(12), 40), photo(1, 40, 23),
            np.full((100, 67, 3), 90, np.uint8), noise, table, noise[:11], noise[:, :1]]  # fmt: skip


def ask_of_regions(cases: Cases) -> None:
    for place, rgb in enumerate(photos_with_regions()):
        regions = find_mosaics(rgb)
        assert regions
        masks = {f"mask{number}": region.mask for number, region in enumerate(regions)}
        cases.ask("regions", {"regions": [region_of(region) for region in regions], **masks}, rgb=rgb)
        for region in regions:
            strength = 0.6 if place % 4 == 1 else 1.0
            top, left, made = restored_around(rgb, region, model, 32)
            rows, columns, pixels, weights = pasted(rgb, region, (top, left), made, strength)
            expected = {"at": [top, left], "made": made, "top": rows.start, "left": columns.start, "pasted": pixels,
                        "weights": weights, "has_lines": region.lines is not None}  # fmt: skip
            cases.ask("around", expected, rgb=rgb, mask=region.mask, region=region_of(region), strength=strength)
    for rgb in (*photos_without(), sheet(3, 2, 200, 12), sheet(2, 2, 256, 0, 4)):
        assert not find_mosaics(rgb)
        cases.ask("regions", {"regions": []}, rgb=rgb)
    rng = np.random.default_rng(0)
    rgb, mask, grid = rng.integers(0, 256, (37, 53, 3)).astype(np.uint8), rng.random((37, 53)) < 0.3, Grid(8, 3, 5)
    mask[:9, :8] = False
    cases.ask("masked", {"means": masked_means(rgb, mask, grid)}, rgb=rgb, mask=mask, grid=grid_of(grid))


def ask_of_tiles(cases: Cases) -> None:
    sizes = (64, 64, 1), (65, 64, 1), (200, 333, 1), (63, 500, 1), (20, 7, 1), (1, 1, 1), (240, 96, 8), (24, 200, 8)
    for height, width, step in sizes:
        rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
        cases.ask("tiles", {"made": restored_in_tiles(rgb, model, 64, step)}, rgb=rgb, size=64, step=step)
    for rows, columns in ((10, 20), (70, 90)):
        image = cells.even(np.random.default_rng(1).integers(0, 256, (rows, columns, 3)).astype(np.uint8), 32)
        cases.ask("tiles", {"made": in_tiles(model, image[None])[0]}, rgb=image)


def ask_of_colours(cases: Cases) -> None:
    sizes = (768, 768, 256, 1.0), (333, 611, 256, 1.0), (97, 1025, 128, 0.7), (40, 30, 64, 1.0)
    for number, (width, height, size, strength) in enumerate(sizes):
        grey = cv2.cvtColor(photo(number, width, height), cv2.COLOR_RGB2GRAY)
        rgb = np.repeat(grey[..., None], 3, axis=-1)
        made, paler = colorized(rgb, model, size, 32, strength)
        cases.ask("colours", {"made": made, "paler": paler}, rgb=rgb, size=size, strength=strength)
        toned = (grey[..., None] * np.array([1, 0.9, 0.7])).astype(np.uint8)
        for coloured in (photo(number, width, height), toned, rgb[:3, :5], photo(number, width, height) // 8 + 100):
            cases.ask("coloured", {"has": has_colours(coloured)}, rgb=coloured)


Answers = dict[str, list[tuple[dict[str, Any], dict[str, Any]]]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """By kind, what Python says of each case and what node says, in one process."""
    esbuild = PAGE / "node_modules" / ".bin" / "esbuild"
    if shutil.which("node") is None:
        pytest.skip("no node: apt-get install nodejs npm, then make page")
    if not esbuild.exists():
        pytest.skip("no pipelines/page/node_modules: make page")
    folder = tmp_path_factory.mktemp("page")
    bundle = folder / "core.mjs"
    command = [str(esbuild), "src/core.ts", "--bundle", "--format=esm", f"--outfile={bundle}", "--log-level=warning"]
    subprocess.run(command, cwd=PAGE, check=True, timeout=60)
    cases = Cases(folder)
    for ask in (ask_of_images, ask_of_grids, ask_of_cells, ask_of_regions, ask_of_tiles, ask_of_colours):
        ask(cases)
    found: Answers = {}
    for kind, expected, said in cases.answers(bundle):
        found.setdefault(kind, []).append((expected, said))
    return found


def assert_close(said: np.ndarray, expected: np.ndarray, equal: float, most: int = 1) -> None:
    """Within `most` levels, and equal in such a share of the values: where OpenCV counts in floats, halves round either way."""
    assert said.shape == expected.shape
    off = np.abs(said.astype(int) - expected)
    assert off.max(initial=0) <= most
    assert (off == 0).mean() >= equal


def test_grey_levels_are_equal_and_resized_images_nearly(answers: Answers) -> None:
    for expected, said in answers["grey"]:
        assert np.array_equal(said["grey"], expected["grey"])
    for expected, said in answers["resize"]:
        # OpenCV takes integers where it shrinks one side and enlarges the other
        assert_close(said["made"], expected["made"], 0.8 if said["made"].shape[:2] == (50, 140) else 0.995)
    for expected, said in answers["warp"]:
        assert_close(said["made"], expected["made"], 0.98)


def test_grids_are_found_alike(answers: Answers) -> None:
    assert [said["grid"] for _, said in answers["grid"]] == [expected["grid"] for expected, _ in answers["grid"]]
    assert sum(said["grid"] is not None for _, said in answers["grid"]) > 20
    assert sum(said["lines"] is not None for _, said in answers["resized"]) > 5
    for expected, said in answers["resized"]:
        assert said["lines"] == (expected["lines"] and pytest.approx(expected["lines"], abs=1e-6))


def test_cells_are_equal_and_so_is_what_is_made_of_them(answers: Answers) -> None:
    for expected, said in answers["means"]:
        for name in ("means", "painted", "even"):
            assert np.array_equal(said[name], expected[name]), name
        assert (said["shown"] is None) == (expected["shown"] is None)
        assert said["shown"] is None or np.array_equal(said["shown"], expected["shown"])
        # OpenCV counts in integers where there are fewer than four cells
        assert_close(said["smooth"], expected["smooth"], 0.9 if min(said["means"].shape[:2]) < 4 else 0.999)


def test_cells_are_estimated_alike(answers: Answers) -> None:
    for expected, said in answers["cells"]:
        assert said.keys() == expected.keys()
        if not expected:
            continue
        assert said["onto"] == pytest.approx(expected["onto"], abs=1e-6)
        assert_close(said["means"], expected["means"], 0.999)
        assert (said["weights"] is None) == (expected["weights"] is None)
        assert said["weights"] is None or np.array_equal(said["weights"], expected["weights"])
    assert {said["weights"] is None for _, said in answers["cells"] if said} == {True, False}
    for expected, said in answers["back"]:
        assert_close(said["made"], expected["made"], 0.99)


def test_regions_are_the_same(answers: Answers) -> None:
    for expected, said in answers["regions"]:
        for one, other in zip(said["regions"], expected["regions"], strict=True):
            assert {name: value for name, value in one.items() if name != "lines"} == {
                name: value for name, value in other.items() if name != "lines"
            }
            assert one.get("lines") == (pytest.approx(other["lines"], abs=1e-9) if other.get("lines") else None)
        for number in range(len(expected["regions"])):
            mine, true = said[f"mask{number}"] > 0, expected[f"mask{number}"]
            assert mine.shape == true.shape
            assert (mine & true).sum() >= 0.995 * (mine | true).sum()


def test_what_is_made_around_a_region_and_pasted_is_the_same(answers: Answers) -> None:
    for expected, said in answers["around"]:
        assert [said[name] for name in ("at", "top", "left")] == [expected[name] for name in ("at", "top", "left")]
        most = 2 if expected["has_lines"] else 1  # the traces that `model` leaves are steep, and are drawn between pixels there
        assert_close(said["made"], expected["made"], 0.99, most)
        assert_close(said["pasted"], expected["pasted"], 0.99, most)
        assert np.array_equal(said["weights"], expected["weights"])
    for expected, said in answers["masked"]:
        assert np.array_equal(said["means"], expected["means"])


def test_tiles_are_equal(answers: Answers) -> None:
    for expected, said in answers["tiles"]:
        assert np.array_equal(said["made"], expected["made"])


def test_colours_are_the_same(answers: Answers) -> None:
    assert [said["has"] for _, said in answers["coloured"]] == [expected["has"] for expected, _ in answers["coloured"]]
    assert 2 < sum(said["has"] for _, said in answers["coloured"]) < 10
    for expected, said in answers["colours"]:
        assert_close(said["made"], expected["made"], 0.99)
        assert said["paler"] == pytest.approx(expected["paler"], abs=1e-3)

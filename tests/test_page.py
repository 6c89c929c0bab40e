"""The page in a real browser: what a person does with it, and what they get."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_tools import image_io, resources
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from dataset_tools.mosaic_regions import find_regions
from pipelines.engines import OnnxEngine
from pipelines.mark import is_marked, source_of
from pipelines.site import site_of, write_site
from pipelines.whole_photo import Wishes, restore_whole
from pix2pix import model_file
from tests import playwright
from tests.playwright import DONE, READY, Browser, served
from tests.test_pipelines_engines import write_model

SAMPLES = sorted(resources.path("samples").glob("*.jpg"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(playwright.missing() is not None, reason=str(playwright.missing()))]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each task; that of mosaics makes the smooth image between the cells, the others invert."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "cells": write_model(folder / "cells.onnx", 64, cell=8),
        "colours": write_model(folder / "colours.onnx", 64, "Neg", any_size=True, task="colorize"),
        "faces": write_model(folder / "faces.onnx", 64, "Neg", crop={"kind": "faces", "margin": 0.25, "padding": "clamp"}),
        "tiles": write_model(folder / "tiles.onnx", 64, "Neg"),
    }


@pytest.fixture(scope="module")
def url(models: dict[str, Path]) -> Iterator[str]:
    with served(site_of(list(models.values()))) as address:
        yield address


@pytest.fixture(scope="module")
def shared() -> Iterator[Browser]:
    with playwright.browser() as one:
        yield one


@pytest.fixture
def page(shared: Browser, url: str) -> Iterator[Browser]:
    """A fresh profile with the page ready. Afterwards: it asked nobody else for anything, and complained of nothing."""
    shared.open(url)
    yield shared
    seen = shared.run("return seen")
    assert [each for each in seen["requests"] if not each.startswith((url, f"blob:{url}"))] == []
    assert seen["complaints"] == []


def choose(page: Browser, model: str) -> None:
    page.run(
        "await page.selectOption('#model', given.model); await page.waitForFunction((name) => "
        "document.querySelector('#device').textContent.startsWith(name), given.model);" + DONE, model=model,
    )  # fmt: skip


def mosaicked(number: int, box: tuple[int, int, int, int], grid: Grid) -> np.ndarray:
    """A sample photo with a mosaic on (top, left, bottom, right)."""
    rgb = image_io.read(SAMPLES[number]).rgb8.copy()
    top, left, bottom, right = box
    rgb[top:bottom, left:right] = paint(cell_means(rgb, grid), grid, (rgb.shape[0], rgb.shape[1]))[top:bottom, left:right]
    return rgb


def write(path: Path, rgb: np.ndarray) -> Path:
    image_io.write(path, rgb, "PNG")
    return path


def by_python(model: Path, path: Path, strength: float = 1.0) -> np.ndarray:
    outcome = restore_whole(OnnxEngine(model), image_io.read(path), Wishes(strength))
    assert outcome.photo is not None
    return outcome.photo.rgb8


def off(path: Path, expected: np.ndarray) -> int:
    return int(np.abs(image_io.read(path).rgb8.astype(int) - expected).max())


def shown_before(page: Browser, area: tuple[int, int, int, int]) -> np.ndarray:
    """Pixels of the left side, (N, 3), of an area (x, y, width, height)."""
    levels = page.run(
        "return page.locator('#before').evaluate((canvas, area) => Array.from("
        "canvas.getContext('2d').getImageData(...area).data), given.area)", area=area,
    )  # fmt: skip
    return np.array(levels, np.uint8).reshape(-1, 4)[:, :3]


def test_mosaics_are_restored_as_python_does_it(page: Browser, models: dict[str, Path], tmp_path: Path) -> None:
    photos = [
        write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5))),
        write(tmp_path / "b.png", mosaicked(5, (150, 200, 560, 580), Grid(20, 0, 7))),
    ]
    page.add(*photos)
    assert page.states() == ["restored", "restored"]
    for number, photo in enumerate(photos):
        page.run("await page.locator('#photos li button:first-child').nth(given.number).click()", number=number)
        saved = page.save("#save-png", tmp_path)
        assert saved.name == f"{photo.stem}-restored.png"
        assert off(saved, by_python(models["cells"], photo)) <= 1
        data = saved.read_bytes()
        assert is_marked(data)
        assert source_of(data) == model_file.sha256(photo)
    jpeg = page.save("#save-jpeg", tmp_path)
    assert is_marked(jpeg.read_bytes())
    assert off(jpeg, by_python(models["cells"], photos[1])) < 60  # what a JPEG costs at the edges of cells


def test_the_shipped_models_restore_the_same(shared: Browser, tmp_path: Path) -> None:
    """Face crops of three samples, their gray copies, and a whole photo with its region's edge: at most 2 levels off."""
    crops = {}
    for number in (0, 9, 16):
        crop = cv2.resize(image_io.read(SAMPLES[number]).rgb8[60:572, 128:640], (256, 256), interpolation=cv2.INTER_AREA)
        grid = Grid(8 + number // 2, 3, 1)
        gray = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        crops[f"mosaic-{number}"] = paint(cell_means(np.asarray(crop), grid), grid, (256, 256))
        crops[f"colorize-{number}"] = np.asarray(gray)
    photos = {name: write(tmp_path / f"{name}.png", rgb) for name, rgb in crops.items()}
    whole = write(tmp_path / "whole.png", mosaicked(4, (150, 220, 520, 560), Grid(16, 3, 5)))
    with served(site_of(["mosaic", "colorize"])) as address:
        shared.open(address)
        for model in ("mosaic", "colorize"):
            choose(shared, model)
            given = [path for name, path in photos.items() if name.startswith(model)] + ([whole] if model == "mosaic" else [])
            for path in given:
                shared.add(path)
                shared.run("await page.locator('#photos li button:first-child').last().click()")
                saved = shared.save("#save-png", tmp_path)
                shipped = resources.path(f"models/{model}.onnx")
                assert off(saved, by_python(shipped, path)) <= 2, path.name
                assert np.abs(image_io.read(saved).rgb8.astype(int) - image_io.read(path).rgb8).mean() > 2, "nothing was restored"


def test_half_of_what_was_restored(page: Browser, models: dict[str, Path], tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5)))
    page.add(photo)
    page.run("await page.fill('#strength', '50');" + DONE)
    page.run("await page.evaluate(() => { const slider = document.querySelector('#strength'); slider.value = '20';"
             "slider.dispatchEvent(new Event('change')); })")  # fmt: skip
    assert page.run("return page.isDisabled('#save-png')"), "what is there is not what the slider says"
    page.run("await page.fill('#strength', '50');" + DONE)
    assert page.text("#strength-shown") == "50 %"
    assert page.run("return page.isEnabled('#save-png')")
    assert off(page.save("#save-png", tmp_path), by_python(models["cells"], photo, 0.5)) <= 1


@pytest.mark.parametrize("model", ["colours", "faces", "tiles"])
def test_other_tasks_too(page: Browser, models: dict[str, Path], tmp_path: Path, model: str) -> None:
    choose(page, model)
    rgb = cv2.resize(image_io.read(SAMPLES[3]).rgb8, (300, 340), interpolation=cv2.INTER_AREA)
    photo = write(tmp_path / "a.png", np.asarray(rgb))
    page.add(photo)
    assert page.states() == ["restored"]
    saved, expected = image_io.read(page.save("#save-png", tmp_path)).rgb8.astype(int), by_python(models[model], photo)
    if model == "faces":  # another search for faces: about the same box
        ours, theirs = (np.abs(each - np.asarray(rgb, int)).max(axis=2) > 20 for each in (saved, expected))
        assert (ours & theirs).sum() > 0.6 * (ours | theirs).sum()
    else:
        assert np.abs(saved - expected).max() <= 2
    if model == "colours":
        assert "it had colours, which the model's have replaced" in page.text("#notes")


def test_a_photo_without_a_mosaic(page: Browser, tmp_path: Path) -> None:
    page.add(SAMPLES[1])
    assert page.states() == ["nothing found"]
    assert page.text("#status").startswith("No mosaic was found.")
    assert page.run("return page.isVisible('#save-png')") is False


def test_a_mosaic_is_put_on_and_taken_off(page: Browser, models: dict[str, Path], tmp_path: Path) -> None:
    """With a rectangle; what is saved is what Python makes of the same mosaic."""
    page.add(SAMPLES[0])
    page.run("await page.fill('#block', '16'); await page.check('[value=rectangle]')")
    page.run(
        "const box = await page.locator('#stage').boundingBox(), at = (x, y) => [box.x + x * box.width, box.y + y * box.height];"
        "await page.mouse.move(...at(.3, .2)); await page.mouse.down(); await page.mouse.move(...at(.5, .3), {steps: 4});"
        "await page.mouse.move(...at(.7, .6)); await page.mouse.up();"
        "await page.waitForFunction(() => !document.querySelector('#undo-row').hidden);" + DONE
    )
    assert page.states() == ["restored"]
    saved = image_io.read(page.save("#save-png", tmp_path)).rgb8
    grid = Grid(16, 0, 0)  # 768 pixels: the rectangle touches columns 224 to 544 and rows 144 to 464
    photo = write(tmp_path / "a.png", mosaicked(0, (144, 224, 464, 544), grid))
    expected = by_python(models["cells"], photo)
    assert (np.abs(saved.astype(int) - expected).max(axis=2) > 2).mean() < 0.005  # Python has to find where it lies
    assert page.text("#places-told") == "Show the boxes (1)"
    page.run("await page.click('#undo');" + DONE)
    assert page.states() == ["nothing found"]


def test_a_brush_puts_a_mosaic_on_what_it_touches(page: Browser) -> None:
    page.add(SAMPLES[0])
    page.run("await page.fill('#block', '32'); await page.check('[value=brush]'); await page.click('#one')")
    page.run(
        "const box = await page.locator('#stage').boundingBox(), at = (x, y) => [box.x + x * box.width, box.y + y * box.height];"
        "await page.mouse.move(...at(.3, .396)); await page.mouse.down(); await page.mouse.move(...at(.7, .396));"
        "await page.mouse.up(); await page.waitForFunction(() => !document.querySelector('#undo-row').hidden);" + DONE
    )
    assert page.states() == ["restored"]
    levels = shown_before(page, (384, 0, 1, 768))
    even = [bool((levels[top : top + 32] == levels[top]).all()) for top in range(0, 768, 32)]
    assert [row for row, each in enumerate(even) if each and 5 <= row <= 14] == [9]  # 304 pixels from the top; the mouse jumped


def test_faces_get_a_mosaic(page: Browser) -> None:
    page.add(SAMPLES[2])
    page.run(
        "await page.click('#on-faces'); await page.waitForFunction(() => !document.querySelector('#undo-row').hidden);" + DONE
    )
    assert page.states() == ["restored"]
    assert page.text("#places-told") == "Show the boxes (1)"
    page.run("await page.check('#was-there'); await page.waitForTimeout(300)")
    shown = shown_before(page, (0, 300, 768, 1))
    assert np.abs(shown.astype(int) - image_io.read(SAMPLES[2]).rgb8[300]).max() <= 3


def test_boxes_by_keyboard(page: Browser, models: dict[str, Path], tmp_path: Path) -> None:
    """A box is removed, and another one is drawn around a mosaic that was resized, which is not looked for in photos."""
    whole = mosaicked(0, (0, 0, 768, 768), Grid(16, 0, 0))
    smaller = np.asarray(cv2.resize(whole, (500, 500), interpolation=cv2.INTER_AREA))
    page.add(write(tmp_path / "a.png", smaller))
    page.run("await page.click('#show-boxes'); while (await page.locator('.box').count()) {"
             f"await page.focus('.box'); await page.keyboard.press('Delete'); {DONE} }}")  # fmt: skip
    assert page.states() == ["nothing found"]
    page.run("await page.click('#add-box');" + DONE)
    assert page.states() == ["restored"]
    box = "Box 1 of 1: 250 × 250 pixels, from 125, 125"
    assert page.run("return page.getAttribute('.box', 'aria-label')") == box
    page.run("await page.focus('.box'); await page.keyboard.press('Shift+ArrowRight');" + DONE)
    page.run("await page.keyboard.press('ArrowUp');" + DONE)
    assert page.run("return page.getAttribute('.box', 'aria-label')") == "Box 1 of 1: 255 × 250 pixels, from 125, 120"
    saved = image_io.read(page.save("#save-png", tmp_path)).rgb8
    assert np.array_equal(saved[:100], smaller[:100])
    assert not np.array_equal(saved[150:300, 150:300], smaller[150:300, 150:300])
    page.run("await page.focus('.box'); await page.keyboard.press('Delete');" + DONE)
    assert page.states() == ["nothing found"]


def test_an_animation_frame_by_frame(page: Browser, models: dict[str, Path], tmp_path: Path) -> None:
    frames = [mosaicked(number, (150, 220, 520, 560), Grid(16, 3, 5))[::2, ::2] for number in (0, 4, 6)]
    pictures = [Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE) for frame in frames]
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[80, 120, 200], loop=2, disposal=1)
    page.add(path)
    assert page.states() == ["restored"]
    assert page.text("#status").startswith("Restored: 3 frames, ")
    saved = page.save("#save-png", tmp_path)
    with Image.open(saved) as moving:
        assert (moving.n_frames, moving.info["loop"]) == (3, 3)  # a GIF says how often it is repeated
        for number, expected in enumerate((80, 120, 200)):
            moving.seek(number)
            assert moving.info["duration"] == expected
            shown = np.asarray(moving.convert("RGB"))
            still = write(tmp_path / f"{number}.png", np.asarray(pictures[number].convert("RGB")))
            assert np.abs(shown.astype(int) - by_python(models["cells"], still)).max() <= 1
    assert is_marked(saved.read_bytes())


def huge_png(path: Path) -> Path:
    """A bomb: 30,000 x 30,000 pixels in 100 kB."""
    data = io.BytesIO()
    Image.new("1", (30000, 30000)).save(data, "PNG")
    path.write_bytes(data.getvalue())
    return path


def test_bad_files_get_a_sentence_and_the_page_goes_on(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not an image, whatever its name says\n" * 9)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(SAMPLES[0].read_bytes()[:400])
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x02\0\0\0" + b"\0" * 40)
    large = np.zeros((10000, 10000), np.uint8)
    Image.fromarray(large).save(tmp_path / "100.jpg", quality=50)
    good = write(tmp_path / "good.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5)))
    bad = [tmp_path / name for name in ("text.jpg", "empty.png", "cut.jpg", "damaged.png", "100.jpg")] + [
        huge_png(tmp_path / "bomb.png")
    ]
    page.add(*bad, good)
    assert page.states() == ["failed"] * 6 + ["restored"]
    sentences = []
    for number, path in enumerate(bad):
        page.run("await page.locator('#photos li button:first-child').nth(given.number).click()", number=number)
        name, _, sentence = page.text("#status").partition(": ")
        assert name == path.name
        sentences.append(sentence)
        offered = page.run("return await page.locator('#panel section:visible').evaluateAll((all) => all.map(({id}) => id))")
        assert offered == [""], "nothing can be done with a photo that is not there"
    unknown = "It is not an image that a browser can read, or is cut short: choose a JPEG, PNG, WebP, GIF or AVIF."
    assert sentences[:2] == [unknown] * 2
    assert sentences[3] == "It cannot be decoded: it is damaged, or this browser reads no such PNG."
    assert sentences[4].startswith("It says it has 100 megapixels (10000 × 10000), and the page takes up to 50:")
    assert sentences[5].startswith("It says it has 900 megapixels (30000 × 30000), and the page takes up to 50:")
    page.run("await page.locator('#photos li button:last-child').first().click()")  # "Remove text.jpg"
    assert len(page.states()) == 6
    page.run("seen.complaints.length = 0")  # what the browser's own decoder says of a damaged file


def test_models_that_are_not_ours_get_a_sentence(page: Browser, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "cut.onnx").write_bytes(models["cells"].read_bytes()[:100])
    wrong = write_model(tmp_path / "shape.onnx", 64, "Transpose")
    said = []
    for path in (tmp_path / "text.onnx", tmp_path / "cut.onnx", wrong):
        page.run(
            "await page.setInputFiles('#model-file', given.path);"
            "await page.waitForFunction((name) => document.querySelector('#status').textContent.startsWith(name), given.name)",
            path=str(path), name=path.stem,
        )  # fmt: skip
        said.append(page.text("#status"))
    assert said[0] == "text: The file is not an ONNX file: choose an .onnx that photomend wrote."
    assert said[1] == "cut: The file is damaged or cut short: copy it again."
    assert said[2].startswith("shape: The model cannot be run here (")
    assert page.text("#device").startswith("cells runs on WebAssembly")
    page.add(write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5))))
    assert page.states() == ["restored"]
    page.run("await page.setInputFiles('#model-file', given.path);", path=str(write_model(tmp_path / "mine.onnx", 64, "Neg")))
    page.run("await page.waitForFunction(() => document.querySelector('#device').textContent.startsWith('mine runs'));" + DONE)
    assert page.states() == ["restored"]  # with the new model


FACE = (150, 220, 520, 560)


def slow_photo(folder: Path) -> Path:
    """One whose mosaic takes seconds to be found."""
    rgb = cv2.resize(mosaicked(0, (0, 0, 768, 768), Grid(8, 0, 0)), (3072, 3072), interpolation=cv2.INTER_NEAREST)
    return write(folder / "slow.png", np.asarray(rgb))


def test_two_photos_of_one_name_are_two(page: Browser, models: dict[str, Path], tmp_path: Path) -> None:
    """What is pasted is always called image.png."""
    first = write(tmp_path / "image.png", mosaicked(0, FACE, Grid(12, 3, 5)))
    page.add(first)
    page.run("await page.click('[aria-label=\"Remove image.png\"]')")
    second = write(tmp_path / "image.png", mosaicked(4, FACE, Grid(12, 3, 5)))
    page.add(second)
    assert off(page.save("#save-png", tmp_path), by_python(models["cells"], second)) <= 1


def test_a_file_says_which_model_restored_it(page: Browser, tmp_path: Path) -> None:
    """Also when another one was chosen since, and has not got that far."""
    page.add(write(tmp_path / "a.png", mosaicked(0, FACE, Grid(12, 3, 5))))
    assert b"<Iptc4xmpExt:AISystemUsed>cells<" in page.save("#save-png", tmp_path).read_bytes()
    choose(page, "tiles")
    assert b"<Iptc4xmpExt:AISystemUsed>tiles<" in page.save("#save-png", tmp_path).read_bytes()
    page.run(
        "await page.route('**/colours.onnx', (route) => route.abort()); await page.selectOption('#model', 'colours');"
        "await page.waitForFunction(() => document.querySelector('#status').textContent.startsWith('colours: '))"
    )
    assert page.text("#status") == "colours: The model's file cannot be had: is the server still there?"
    assert b"<Iptc4xmpExt:AISystemUsed>tiles<" in page.save("#save-png", tmp_path).read_bytes()
    page.run("seen.complaints.length = 0")  # of the browser, on the request that was cut


def test_removing_a_photo_leaves_the_others_alone(page: Browser, tmp_path: Path) -> None:
    other = write(tmp_path / "a.png", mosaicked(0, FACE, Grid(12, 3, 5)))
    page.run(
        "await page.setInputFiles('#files', given.paths);"
        "await page.waitForFunction(() => document.querySelector('#doing').textContent.includes('looking'));"
        "await page.click('[aria-label=\"Remove slow.png\"]');" + DONE, paths=[str(slow_photo(tmp_path)), str(other), str(other)],
    )  # fmt: skip
    assert page.states() == ["restored", "restored"]


@pytest.mark.soak
def test_what_was_cancelled_can_be_restored_after_all(page: Browser, tmp_path: Path) -> None:
    page.run(
        "await page.setInputFiles('#files', given.path);"
        "await page.waitForFunction(() => document.querySelector('#doing').textContent.includes('looking'));"
        "await page.click('#cancel');" + DONE, path=str(slow_photo(tmp_path)),
    )  # fmt: skip
    assert page.states() == ["cancelled"]
    assert page.text("#status") == "Cancelled."
    page.run("await page.click('#again');" + DONE)
    assert page.states() == ["restored"]


def test_a_bad_model_is_told_beside_a_photo(page: Browser, tmp_path: Path) -> None:
    page.add(write(tmp_path / "a.png", mosaicked(0, FACE, Grid(12, 3, 5))))
    (tmp_path / "text.onnx").write_text("no model")
    page.run(
        "await page.setInputFiles('#model-file', given.path); await page.waitForTimeout(500)", path=str(tmp_path / "text.onnx")
    )
    assert page.text("#status") == "text: The file is not an ONNX file: choose an .onnx that photomend wrote."
    assert page.states() == ["restored"]
    assert page.run("return page.isVisible('#save-png')")


def test_mosaics_put_on_quickly_are_all_there_beside_those_that_were(page: Browser, tmp_path: Path) -> None:
    page.add(write(tmp_path / "a.png", mosaicked(0, FACE, Grid(12, 3, 5))))
    page.run("await page.check('[value=rectangle]')")
    page.run(
        "const box = await page.locator('#stage').boundingBox(), at = (x, y) => [box.x + x * box.width, box.y + y * box.height];"
        "for (const x of [.05, .85]) { await page.mouse.move(...at(x, .7)); await page.mouse.down();"
        "await page.mouse.move(...at(x + .1, .9)); await page.mouse.up(); }"
        "await page.waitForFunction(() => document.querySelector('#places-told').textContent.includes('(3)'));" + DONE
    )
    assert page.text("#status").startswith("Restored: 3 mosaics, ")


def test_a_box_without_a_mosaic_restores_nothing(page: Browser) -> None:
    page.add(SAMPLES[1])
    page.run("await page.click('#add-box');" + DONE)
    assert page.states() == ["nothing found"]
    assert page.text("#status") == "Nothing was restored: in no box a mosaic is seen."
    assert page.run("return page.isVisible('#save-png')") is False
    page.run("await page.click('#add-box');" + DONE)
    first, second = (page.run("return page.locator('.box').nth(given.n).getAttribute('aria-label')", n=n) for n in (0, 1))
    assert first.partition("from")[2] != second.partition("from")[2]
    page.run(f"await page.click('#remove-box'); {DONE} await page.click('#remove-box'); {DONE}")
    assert page.text("#status") == "Nothing was restored: there is no box."


def test_all_are_saved_as_one_file(page: Browser, models: dict[str, Path], tmp_path: Path) -> None:
    import zipfile

    photos = [write(tmp_path / name, mosaicked(number, FACE, Grid(12, 3, 5))) for number, name in ((0, "a.png"), (4, "ä 2.png"))]
    page.add(*photos, photos[0])
    with zipfile.ZipFile(page.save("#save-all", tmp_path)) as whole:
        assert whole.namelist() == ["a-restored.png", "ä 2-restored.png", "a-restored-2.png"]
        assert whole.testzip() is None
        (tmp_path / "out.png").write_bytes(whole.read("ä 2-restored.png"))
    assert off(tmp_path / "out.png", by_python(models["cells"], photos[1])) <= 1


def test_too_long_a_photo_is_refused(page: Browser, tmp_path: Path) -> None:
    Image.new("RGB", (70000, 100)).save(tmp_path / "long.png")
    page.add(tmp_path / "long.png")
    assert page.states() == ["failed"]
    assert "It has 70000 × 100 pixels, and the page takes up to 32767 a side" in page.text("#status")


def test_cancel(page: Browser, tmp_path: Path) -> None:
    path = slow_photo(tmp_path)
    page.run(
        "await page.setInputFiles('#files', [given.path, given.path]);"
        "await page.waitForFunction(() => document.querySelector('#doing').textContent.includes('looking'));"
        "await page.click('#cancel');" + DONE, path=str(path),
    )  # fmt: skip
    assert page.states() == ["cancelled", "cancelled"]
    page.add(write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5))))
    assert page.states()[-1] == "restored"
    page.run("await page.locator('#photos li button:first-child').nth(1).click(); await page.waitForTimeout(100)")
    assert page.text("#status") == "Cancelled."


def test_transparent_photos_stay_transparent(page: Browser, tmp_path: Path) -> None:
    rgb = mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5))
    alpha = np.full(rgb.shape[:2], 255, np.uint8)
    alpha[:100] = 0
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "a.png")
    page.add(tmp_path / "a.png")
    assert page.states() == ["restored"]
    with Image.open(page.save("#save-png", tmp_path)) as saved:
        assert np.array_equal(np.asarray(saved)[..., 3], alpha)


def test_dropped_and_pasted(page: Browser, tmp_path: Path) -> None:
    import base64

    photo = write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5)))
    for number, (kind, field) in enumerate((("drop", "dataTransfer"), ("paste", "clipboardData"))):
        page.run(
            "await page.evaluate(([data, kind, field]) => { const files = new DataTransfer();"
            "const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));"
            "files.items.add(new File([bytes], 'a.png', {type: 'image/png'}));"
            "const event = new Event(kind, {bubbles: true, cancelable: true}); event[field] = files;"
            "document.body.dispatchEvent(event); }, [given.data, given.kind, given.field]);"
            "await page.waitForFunction((count) => document.querySelectorAll('#photos li').length === count, given.count);"
            + DONE,
            data=base64.b64encode(photo.read_bytes()).decode(), kind=kind, field=field, count=number + 1,
        )  # fmt: skip
    assert page.states() == ["restored", "restored"]
    names = [page.save("#save-png", tmp_path).name for _ in range(2)]
    assert names == ["a-restored.png", "a-restored-2.png"]


def test_a_photo_from_the_camera(page: Browser) -> None:
    page.run(
        "await page.click('#camera'); await page.waitForSelector('#shooting[open]'); await page.waitForTimeout(500);"
        "await page.click('#shoot'); await page.waitForFunction(() => document.querySelectorAll('#photos li').length === 1);"
        + DONE
    )
    assert page.text("#photos span:first-child") == "camera.png"
    assert page.states()[0] in ("restored", "nothing found")  # Chromium's own test picture


def test_by_keyboard_alone(page: Browser, tmp_path: Path) -> None:
    page.add(write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5))))
    page.run("await page.evaluate(() => document.activeElement.blur())")
    reached = []
    for _ in range(30):
        page.run("await page.keyboard.press('Tab')")
        reached.append(page.run("return page.evaluate(() => document.activeElement.id)"))
    for name in ("model", "about", "viewport", "split", "out", "fit", "one", "in", "strength", "save-png", "save-jpeg",
                 "show-boxes", "add-box", "find-again", "block", "on-faces", "in-boxes"):  # fmt: skip
        assert name in reached, name
    before = page.run("return page.inputValue('#split')")
    page.run("await page.focus('#split'); await page.keyboard.press('ArrowRight')")
    assert float(page.run("return page.inputValue('#split')")) > float(before)
    page.run("await page.focus('#about'); await page.keyboard.press('Enter'); await page.waitForSelector('#card[open]')")
    told = page.text("#card-list")
    assert "invents what they may have shown" in told
    assert "mosaic:block=8" in told
    page.run("await page.keyboard.press('Escape')")


def test_zoom_to_pixels(page: Browser, tmp_path: Path) -> None:
    page.add(write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5))))
    page.run("await page.click('#one')")
    assert page.text("#zoom") == "100 %"
    assert page.run("return page.evaluate(() => document.querySelector('#stage').getBoundingClientRect().width)") == 768
    page.run("for (let i = 0; i < 4; i++) await page.click('#in')")
    assert page.text("#zoom") == "506 %"
    assert (
        page.run("return page.evaluate(() => getComputedStyle(document.querySelector('#after')).imageRendering)") == "pixelated"
    )
    page.run("await page.click('#fit')")
    fits = "({scrollWidth, clientWidth}) => scrollWidth <= clientWidth"
    assert page.run(f"return page.locator('#viewport').evaluate({fits})")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hinders_a_screen_reader(shared: Browser, url: str, tmp_path: Path, scheme: str) -> None:
    """By the rules of axe, contrast among them, with a photo restored and at the width of a phone."""
    shared.open(url, colorScheme=scheme, viewport={"width": 390, "height": 800}, isMobile=True, hasTouch=True, bypassCSP=True)
    shared.add(write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5))))
    shared.run(
        "await page.check('#show-boxes'); await page.addScriptTag({path: given.path})",
        path=str(playwright.MODULES / "axe-core/axe.js"),
    )
    found = shared.run(
        "return (await page.evaluate(() => axe.run())).violations.map(({id, nodes}) => [id, nodes.map((each) => each.html)])"
    )
    assert found == []
    assert shared.run("return page.evaluate(() => document.documentElement.scrollWidth)") <= 390
    shared.run(
        "const stage = page.locator('#stage'); await stage.scrollIntoViewIfNeeded(); const box = await stage.boundingBox();"
        "await page.touchscreen.tap(box.x + box.width / 4, box.y + 20)"
    )
    assert 24 < float(shared.run("return page.inputValue('#split')")) < 26


def test_a_browser_without_simd_is_told_so(shared: Browser, url: str) -> None:
    shared.run("await begin()")
    shared.run(
        "await page.route('**/worker.js', async (route) => { const answer = await route.fetch();"
        "await route.fulfill({response: answer, body: `WebAssembly.validate = () => false;${await answer.text()}`}); });"
        "await page.goto(given.url);"
        "await page.waitForFunction(() => document.querySelector('#status').textContent.includes('SIMD'))",
        url=url,
    )  # fmt: skip
    assert shared.text("#status") == "cells: This browser has no WebAssembly SIMD, which models need: use a newer one."


@pytest.mark.soak
def test_webgpu_makes_the_same_pixels(shared: Browser, url: str, models: dict[str, Path], tmp_path: Path) -> None:
    """On a GPU that is computed by software, which the page would not take if it were told."""
    shared.run("await begin()")
    shared.run(
        "await page.route('**/worker.js', async (route) => { const answer = await route.fetch(), script = await answer.text();"
        "const hidden = script.replaceAll('isFallbackAdapter', 'isHidden').replaceAll('swiftshader', 'none');"
        "await route.fulfill({response: answer, body: hidden}); }); await page.goto(given.url);" + READY, url=url,
    )  # fmt: skip
    if not shared.run("return page.evaluate(async () => Boolean(await navigator.gpu?.requestAdapter()))"):
        pytest.skip("this Chromium has no WebGPU in software")
    assert shared.text("#device") == "cells runs on the GPU (WebGPU)."
    photo = write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5)))
    shared.add(photo)
    assert shared.states() == ["restored"]
    assert off(shared.save("#save-png", tmp_path), by_python(models["cells"], photo)) <= 2


def test_the_exported_page_works_offline(shared: Browser, models: dict[str, Path], tmp_path: Path) -> None:
    """On a plain web server, which says nothing of isolation; then without any."""
    import functools
    import http.server
    import threading

    folder = tmp_path / "site"
    write_site([models["cells"]], folder)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    shared.open(address)
    assert shared.text("#device").endswith("WebAssembly, 1 thread.")
    shared.run(
        "await page.evaluate(async () => { await navigator.serviceWorker.ready;"
        "await (await caches.open('photomend')).put('models/old.onnx', new Response('of an earlier site')); });"
        "await page.waitForTimeout(2000); await page.reload();" + READY
    )
    kept = shared.run(
        "return await page.evaluate(async () => (await (await caches.open('photomend')).keys()).map(({url}) => url))"
    )
    assert sorted(url.rpartition("/")[2] for url in kept if url.endswith(".onnx")) == ["cells.onnx", "faces.onnx"]
    assert "threads." in shared.text("#device")  # the page says itself what the server does not
    server.shutdown()
    server.server_close()
    shared.run("await page.reload();" + READY)
    shared.add(write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5))))
    assert shared.states() == ["restored"]
    assert {each.split("/")[2] for each in shared.run("return seen.requests") if each.startswith("http")} == {
        address.split("/")[2]
    }


@pytest.mark.soak
def test_a_site_that_fails_or_redirects_keeps_its_page(shared: Browser, models: dict[str, Path], tmp_path: Path) -> None:
    """The service worker shows what it kept where the server says 500, and leaves redirects to the browser."""
    import http.server
    import threading

    write_site([models["cells"]], tmp_path / "site")
    fails: list[bool] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "site"))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if fails:
                self.send_error(500)
            elif self.path == "/index.html":
                self.send_response(308)
                self.send_header("Location", "/")
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        shared.open(address)
        shared.run(
            "await page.evaluate(() => navigator.serviceWorker.ready); await page.waitForTimeout(1500); await page.reload();"
            + READY
        )
        shared.run(f"await page.goto(given.url); {READY}", url=f"{address}index.html")
        fails.append(True)
        shared.run(f"await page.goto(given.url); {READY}", url=address)
        assert shared.text("#device").startswith("cells runs on")
        server.shutdown()


def test_the_page_finds_what_python_finds(page: Browser, tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png", mosaicked(0, (150, 220, 520, 560), Grid(12, 3, 5)))
    page.add(photo)
    page.run("await page.check('#show-boxes')")
    (region,) = find_regions(image_io.read(photo).rgb8)
    top, left, bottom, right = region.box
    assert (
        page.run("return page.getAttribute('.box', 'aria-label')")
        == f"Box 1 of 1: {right - left} × {bottom - top} pixels, from {left}, {top}"
    )

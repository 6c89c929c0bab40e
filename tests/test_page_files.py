"""What the page reads of model files and writes into photos (card.ts, mark.ts, apng.ts in node), beside their Python."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageCms

from dataset_tools import image_io
from dataset_tools.errors import ModelFileError
from pipelines.mark import STATEMENT, is_marked, mark, source_of
from pix2pix import model_file
from tests.conftest import textured
from tests.damaged_models import HARMS, damaged
from tests.test_pipelines_engines import write_model

PAGE = Path(__file__).parents[1] / "pipelines" / "page"
ESBUILD = PAGE / "node_modules" / ".bin" / "esbuild"
Change = Callable[[onnx.ModelProto, dict[str, Any]], object]
DAMAGED = 30 * len(HARMS)
SENTENCE = re.compile(r"The [^\n]{10,220}[^.\n]\.")

# One process for all cases: each names a function and its arguments, "@name" is the file of that name.
DRIVER = """
import { readFileSync, writeFileSync } from "node:fs";
import { apng } from "./apng.ts";
import { readCard } from "./card.ts";
import { sha256, STATEMENT, VERSION, withXmpJpeg, withXmpPng, xmpMark } from "./mark.ts";

const folder = process.argv[2];
const bytes = (name: string) => new Uint8Array(readFileSync(`${folder}/${name}`));
const given = (value: unknown): any => typeof value === "string" && value.startsWith("@") ? bytes(value.slice(1)) : value;
const functions: Record<string, (...given: any[]) => unknown> = {
  apng: (frames, loops) => apng(frames.map(([name, delayMs]: [string, number]) => ({ png: given(name), delayMs })), loops),
  constants: () => ({ STATEMENT, VERSION }),
  readCard, sha256, withXmpJpeg, withXmpPng, xmpMark,
};
const answers: Record<string, unknown> = {};
for (const [name, [called, ...args]] of Object.entries<[string, ...unknown[]]>(JSON.parse(readFileSync(0, "utf8")))) {
  try {
    const made = await functions[called](...args.map(given));
    if (made instanceof Uint8Array) writeFileSync(`${folder}/${name}`, made);
    answers[name] = { made: made instanceof Uint8Array ? `@${name}` : made };
  } catch (error) {
    answers[name] = { error: error.constructor === Error ? error.message : error.stack }; // of ours, or one that slipped through
  }
}
process.stdout.write(JSON.stringify(answers));
"""


def write_convolution(path: Path) -> Path:
    """A model file with weights, as damage of every kind needs it."""
    weight = numpy_helper.from_array(np.linspace(-1, 1, 81, dtype=np.float32).reshape(3, 3, 3, 3), "conv/kernel")
    image, restored = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 16, 16]) for name in ("image", "restored"))
    nodes = [helper.make_node("Conv", ["image", "conv/kernel"], ["made"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
             helper.make_node("Tanh", ["made"], ["restored"])]  # fmt: skip
    graph = helper.make_graph(nodes, "generator", [image], [restored], [weight])
    told = {"task": "other", "preset": "ünïcode 日本", "size": 16, "stride": 1, "recipe": [], "crop": {}, "step": 7,
            "weights": "raw", "dataset": "none", "spec": {"deep": [1, None, {"a": 0.25}]}, "largest_difference": 1e-7,
            "validation": {"restored": {"psnr": 20.5}, "input": {"psnr": 18}}}  # fmt: skip
    model_file.write(path, model_file.make(graph), told)
    return path


def changed(source: bytes, change: Change) -> bytes:
    """The model file after `change` of it and of its card."""
    model = onnx.load_model_from_string(source)
    card = json.loads(model.metadata_props[0].value)
    change(model, card)
    if model.metadata_props and model.metadata_props[0].value[:1] == "{":
        model.metadata_props[0].value = json.dumps(card)
    return bytes(model.SerializeToString())


def _external(model: onnx.ModelProto, card: dict[str, Any]) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


def _external_inside(model: onnx.ModelProto, card: dict[str, Any]) -> None:
    tensor = TensorProto(data_location=TensorProto.EXTERNAL)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["unused"], value=tensor))


def _branch(model: onnx.ModelProto, card: dict[str, Any]) -> None:
    model.graph.node[1].attribute.append(helper.make_attribute("body", onnx.GraphProto(name="inner")))


def _function(model: onnx.ModelProto, card: dict[str, Any]) -> None:
    model.functions.add(name="Tanh", domain="")


REFUSED: dict[str, tuple[Change, str, str]] = {  # the change, what Python says of it, what the page says
    "no card": (lambda m, c: m.ClearField("metadata_props"), "no photomend card", "no photomend card: it was made by another"),
    "no nodes": (lambda m, c: m.graph.ClearField("node"), "is empty", "not an ONNX file, or is empty"),
    "external": (_external, "refers to other files", "refers to other files for its weights"),
    "external inside": (_external_inside, "refers to other files", "refers to other files for its weights"),
    "names": (lambda m, c: m.graph.input.add(name="prior"), "inputs and outputs", '"restored" of an image "image"'),
    "output": (lambda m, c: setattr(m.graph.output[0], "name", "x"), "inputs and outputs", '"restored" of an image "image"'),
    "newer": (lambda m, c: c.update(format_version=4), "version 4", "version 4, and this page reads 3: use a newer"),
    "older": (lambda m, c: c.update(format_version=0), "version 0", "version 0, older than this page reads: export it again"),
    "no version": (lambda m, c: c.pop("format_version"), "version None", "version unknown"),
    "not an object": (lambda m, c: setattr(m.metadata_props[0], "value", "[3]"), "version None", "version unknown"),
    "not json": (lambda m, c: setattr(m.metadata_props[0], "value", "nothing"), "is damaged", "card of the model is damaged"),
    "cell": (lambda m, c: c.update(cell=16), "cells of 16 pixels", "cells of 16 pixels, and this page 8"),
    "fields": (lambda m, c: [c.pop(name) for name in ("licence", "task")], "lacks licence, task", "lacks licence, task: export"),
    "size": (lambda m, c: c.update(size=4097), "no size from 1 to 4096", "no size from 1 to 4096"),
    "operator": (lambda m, c: setattr(m.graph.node[1], "op_type", "Loop"), "operator 'Loop'", 'operator "Loop" in its graph'),
    "domain": (lambda m, c: setattr(m.graph.node[1], "domain", "evil"), "operator 'Tanh'", 'operator "Tanh" in its graph'),
    "branch": (_branch, "operator 'Tanh'", 'operator "Tanh" in its graph'),
    "function": (_function, "which no model of photomend has", "which no model of photomend has"),
}  # fmt: skip
WHOLE: dict[str, Change] = {
    "version 2": lambda m, c: (c.update(format_version=2, prior="smooth"), c.pop("direction")),
    "version 1": lambda m, c: (c.update(format_version=1), c.pop("direction"), c.pop("cell")),
    "other properties": lambda m, c: m.metadata_props.add(key="author", value="somebody"),
}
WRONG_TYPES = {"stride": 0, "task": None, "recipe": "mosaic", "crop": None, "validation": {"restored": 3}, "statement": ["x"]}

NAMES = {"plain": "photos", "special": "a <b> & \"c\" 'd' 日本 🐈", "unprintable": "a\tb\u2028c\u00a0d\u200be\ue000"}
HASH, SOURCE = hashlib.sha256(b"model").hexdigest(), hashlib.sha256(b"photo").hexdigest()
XMP = mark(NAMES["special"], HASH, source=SOURCE).decode()
RGB = textured(3, 40, 56)
EXIF = Image.Exif()
EXIF[0x010F] = "a camera"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(rgb: np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    held = io.BytesIO()
    Image.fromarray(rgb).save(held, format, **options)
    return held.getvalue()


def alpha(number: int, width: int = 56) -> np.ndarray:
    return np.dstack([textured(number, 40, width), np.full((40, width, 1), 250 - number, np.uint8)])


PICTURES = {
    "png": image_io.encode_png(RGB), "png with xmp": image_io.encode_png(RGB, mark("before", "0")), "rgba": saved(alpha(1)),
    "split": saved(textured(9, 300, 300), compress_level=0),  # more than one IDAT
    "jpeg": image_io.encode_jpeg(RGB, 90), "jpeg with exif": saved(RGB, "JPEG", exif=EXIF, icc_profile=SRGB),
    "jpeg with xmp": image_io.encode_jpeg(RGB, 90, mark("before", "0")),
}  # fmt: skip
FRAMES = {f"frame {number}": saved(alpha(number)) for number in range(5)}
DELAYS = [0, 100, 1500, 66_000, 33]
BAD_FRAMES = {
    "other size": ([("frame 0", 100), ("wide", 100)], 0, "The frames are not of one size."),
    "other format": ([("frame 0", 100), ("png", 100)], 0, "The frames are not of one format: let one canvas make them all."),
    "other colours": ([("png", 100), ("with icc", 100)], 0, "The frames are not of one format: let one canvas make them all."),
    "no frames": ([], 0, "An animation has one frame at least."),
    "loops": ([("frame 0", 100)], 1.5, "An animation is shown a whole number of times."),
    "delay": ([("frame 0", 700_000)], 0, "A frame is shown for at most 655 seconds."),
    "negative": ([("frame 0", -20)], 0, "A frame is shown for at most 655 seconds."),
    "no png": ([("jpeg", 100)], 0, "The picture is not a PNG."),
    "flipped": ([("flipped", 100)], 0, "The PNG is damaged."),
    "cut": ([("cut", 100)], 0, "The PNG is cut short."),
}  # fmt: skip


class Page:
    """What node made of all cases, and the files it was given and has written."""

    def __init__(self, folder: Path):
        self.folder, self.models = folder, dict[str, Path]()
        self._write_models()
        self._write_pictures()
        asked: dict[str, list[Any]] = {name: ["readCard", f"@{path.name}"] for name, path in self.models.items()}
        asked |= {f"mark {name}": ["xmpMark", model, HASH, SOURCE] for name, model in NAMES.items()}
        asked |= {"mark of none": ["xmpMark", "m", HASH], "mark too long": ["xmpMark", "m" * 60_000, HASH]}
        asked |= {"constants": ["constants"], "digest": ["sha256", "@jpeg"]}
        for name, data in PICTURES.items():
            asked[f"marked {name}"] = ["withXmpPng" if data[:1] == b"\x89" else "withXmpJpeg", f"@{name}", XMP]
        asked |= {"marked cut": ["withXmpPng", "@cut", XMP], "marked no jpeg": ["withXmpJpeg", "@png", XMP]}
        asked |= {"marked cut jpeg": ["withXmpJpeg", "@cut jpeg", XMP], "too long": ["withXmpJpeg", "@jpeg", "x" * 65_600]}
        frames = [[f"@{name}", delay] for name, delay in zip(FRAMES, DELAYS, strict=True)]
        asked |= {
            "animated": ["apng", frames, 3],
            "still": ["apng", frames[:1], 0],
            "split frames": ["apng", [["@split", 40]] * 2, 0],
        }
        for name, (given, loops, _) in BAD_FRAMES.items():
            asked[f"bad {name}"] = ["apng", [[f"@{each}", delay] for each, delay in given], loops]
        self.answers = self._ask(asked)

    def made(self, name: str) -> Any:
        assert "made" in self.answers[name], self.answers[name]
        return self.answers[name]["made"]

    def error(self, name: str) -> str:
        return str(self.answers[name].get("error"))

    def file(self, name: str) -> bytes:
        assert self.made(name) == f"@{name}"
        return (self.folder / name).read_bytes()

    def _write_models(self) -> None:
        def add(name: str, data: bytes) -> None:
            self.models[name] = self.folder / f"{name}.onnx"
            self.models[name].write_bytes(data)

        source = write_convolution(self.folder / "source").read_bytes()
        add("convolution", source)
        add("identity", write_model(self.folder / "identity").read_bytes())
        add("mosaic", write_model(self.folder / "mosaic", cell=8, any_size=True, licence="CC0").read_bytes())
        for name, change in WHOLE.items():
            add(f"whole {name}", changed(source, change))
        for name, (change, _, _) in REFUSED.items():
            add(f"refused {name}", changed(source, change))
        for name, value in WRONG_TYPES.items():
            add(f"wrong {name}", changed(source, lambda model, card, set=(name, value): card.update([set])))
        add("refused empty", b"")
        add("refused text", b"<!DOCTYPE html><p>not found")
        add("refused photo", PICTURES["jpeg"])
        add("refused cut", source[:200])
        add("refused long", b"\x08\x08\x3a\xff\xff\xff\xff\x0f" + source[10:])  # a graph of 4 GB
        add("refused endless", b"\x08" + b"\xff" * 5000)  # a number that does not end
        for number in range(DAMAGED):
            add(f"damaged {number}", damaged(source, number)[1])

    def _write_pictures(self) -> None:
        png = PICTURES["png"]
        others = {"wide": saved(alpha(1, 57)), "with icc": saved(RGB, icc_profile=SRGB), "cut": png[:-40],
                  "cut jpeg": PICTURES["jpeg"][:90],
                  "flipped": png[:60] + bytes([png[60] ^ 1]) + png[61:]}  # fmt: skip
        for name, data in {**PICTURES, **FRAMES, **others}.items():
            (self.folder / name).write_bytes(data)

    def _ask(self, asked: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
        bundle = self.folder / "driver.mjs"
        command = [ESBUILD, "--bundle", "--format=esm", "--platform=node", "--loader=ts", f"--outfile={bundle}"]
        subprocess.run(command, input=DRIVER, text=True, cwd=PAGE / "src", check=True, capture_output=True, timeout=60)
        node = ["node", bundle, self.folder]
        return dict(
            json.loads(
                subprocess.run(node, input=json.dumps(asked), text=True, check=True, capture_output=True, timeout=60).stdout
            )
        )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    if not ESBUILD.exists():
        pytest.skip("esbuild is not installed: run npm ci in pipelines/page")
    return Page(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("name", ["convolution", "identity", "mosaic", *(f"whole {name}" for name in WHOLE)])
def test_the_page_reads_the_card_that_python_reads(page: Page, name: str) -> None:
    assert page.made(name) == model_file.read(page.models[name])[1]


@pytest.mark.parametrize("name", REFUSED)
def test_the_page_refuses_what_python_refuses_and_says_why(page: Page, name: str) -> None:
    _, python, said = REFUSED[name]
    with pytest.raises(ModelFileError, match=re.escape(python)):
        model_file.read(page.models[f"refused {name}"])
    assert said in page.error(f"refused {name}")
    assert SENTENCE.fullmatch(page.error(f"refused {name}"))


@pytest.mark.parametrize(("name", "said"), [
    ("empty", "is empty"), ("text", "is not an ONNX file: choose"), ("photo", "is not an ONNX file: choose"),
    ("cut", "is damaged or cut short"), ("long", "is damaged or cut short"), ("endless", "is damaged or cut short"),
])  # fmt: skip
def test_the_page_refuses_what_is_no_whole_onnx_file(page: Page, name: str, said: str) -> None:
    with pytest.raises(ModelFileError):
        model_file.read(page.models[f"refused {name}"])
    assert said in page.error(f"refused {name}")
    assert SENTENCE.fullmatch(page.error(f"refused {name}"))


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_the_page_refuses_a_card_whose_fields_are_of_another_kind(page: Page, name: str) -> None:
    assert f"says {name} in a way" in page.error(f"wrong {name}")


def test_no_damaged_model_is_read_otherwise_than_in_python(page: Page) -> None:
    read = 0
    for number in range(DAMAGED):
        name = f"damaged {number}"
        try:
            card, refused = model_file.read(page.models[name])[1], ""
        except ModelFileError as error:
            card, refused = {}, str(error)
        if "error" in page.answers[name]:
            assert SENTENCE.fullmatch(page.error(name)), (number, page.error(name))
            stricter = "in a way that is not understood|version unknown"  # true is no number in JSON, and is 1 in Python
            assert refused or re.search(stricter, page.error(name)), (number, page.error(name))
        elif refused:  # for what only Python looks at: whether the graph fits together
            assert re.search("fit together|would fill a tensor|is damaged or cut short", refused), (number, refused)
        else:
            assert page.made(name) == card, number
            read += 1
    assert 0 < read < DAMAGED / 2


def test_the_mark_is_that_of_python(page: Page) -> None:
    for name, model in NAMES.items():
        assert page.made(f"mark {name}") == mark(model, HASH, source=SOURCE).decode()
    assert page.made("mark of none") == mark("m", HASH).decode()
    assert "too long" in page.error("mark too long")
    assert page.made("constants") == {"STATEMENT": STATEMENT, "VERSION": importlib.metadata.version("photomend")}
    assert page.made("digest") == hashlib.sha256(PICTURES["jpeg"]).hexdigest()


@pytest.mark.parametrize("name", PICTURES)
def test_a_marked_photo_is_the_same_photo_with_the_mark(page: Page, name: str) -> None:
    before, data = image_io.decode(PICTURES[name], name), page.file(f"marked {name}")
    after = image_io.decode(data, name)
    assert np.array_equal(after.samples, before.samples)
    assert after.info.xmp == XMP.encode()
    assert (after.info.exif, after.info.icc, after.info.notes) == (before.info.exif, before.info.icc, before.info.notes)
    assert is_marked(data)
    assert source_of(data) == SOURCE
    assert data.count(b"<x:xmpmeta") == 1
    with Image.open(io.BytesIO(data)) as image, Image.open(io.BytesIO(PICTURES[name])) as was:
        assert image.info["xmp"] == XMP.encode()
        assert image.info.get("jfif") == was.info.get("jfif")
        assert np.array_equal(np.asarray(image), np.asarray(was))


def test_a_marked_png_is_what_python_writes(page: Page) -> None:
    assert page.file("marked png") == image_io.encode_png(RGB, XMP.encode())
    assert page.file("marked png with xmp") == page.file("marked png")
    assert page.file("marked jpeg with xmp") == page.file("marked jpeg")


def test_no_mark_is_put_into_what_is_no_whole_picture(page: Page) -> None:
    assert page.error("marked cut") == "The PNG is cut short."
    assert page.error("marked no jpeg") == "The picture is not a JPEG."
    assert page.error("marked cut jpeg") == "The JPEG is damaged."
    assert page.error("too long") == "The mark is too long for a JPEG."


def test_an_animation_shows_every_frame_as_it_was(page: Page) -> None:
    with Image.open(io.BytesIO(page.file("animated"))) as image:
        assert (image.n_frames, image.info["loop"], image.is_animated) == (5, 3, True)
        for number, delay in enumerate(DELAYS):
            image.seek(number)
            assert image.info["duration"] == pytest.approx(delay)
            assert np.array_equal(np.asarray(image), alpha(number))
    assert np.array_equal(image_io.decode(page.file("animated"), "a").samples, alpha(0))  # what knows no animations
    with Image.open(io.BytesIO(page.file("still"))) as image:
        assert image.info["loop"] == 0
        assert np.array_equal(np.asarray(image), alpha(0))
    assert PICTURES["split"].count(b"IDAT") > 1
    with Image.open(io.BytesIO(page.file("split frames"))) as image:
        for number in range(2):
            image.seek(number)
            assert np.array_equal(np.asarray(image), textured(9, 300, 300))


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_frames_that_do_not_go_together_make_no_animation(page: Page, name: str) -> None:
    assert page.error(f"bad {name}") == BAD_FRAMES[name][2]

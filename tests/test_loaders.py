"""What other programs make of our datasets, each read by its own library: Hugging Face datasets, webdataset, classic loaders."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_tools import files, image_io, shards
from dataset_tools.build import build_dataset
from dataset_tools.groups import SPLITS
from dataset_tools.manifest import metadata_text
from dataset_tools.recipe import Recipe
from tests.conftest import textured
from tests.test_shards import SIZE, image, packed, publish, row, stage

ROWS = [row(number) for number in range(20)]
NUMBERS = {split: [number for number in range(20) if ROWS[number]["split"] == split] for split in SPLITS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 pairs, one PNG each."""
    for each, number in zip(ROWS, range(20), strict=True):
        files.replace_bytes(tmp_path / "folder" / each["pair"], image(number))
    for split in SPLITS:
        files.replace_text(tmp_path / "folder" / split / "metadata.jsonl", metadata_text(ROWS, split))
    return publish(tmp_path / "folder", ROWS, "folder")


@pytest.fixture
def sharded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in tar shards."""
    monkeypatch.setattr(shards, "SHARD_PAIRS", 4)
    stage(tmp_path / "shards", range(20))
    packed(tmp_path / "shards", ROWS)
    for split in SPLITS:
        files.replace_text(tmp_path / "shards" / split / "metadata.jsonl", metadata_text(ROWS, split))
    return publish(tmp_path / "shards", ROWS)


def run(script: str, folders: list[Path], **environment: str) -> dict[str, list]:
    """What the script prints as JSON. It runs in a process of its own that may not look for the network."""
    hook = "import sys\ndef refuse(event, arguments):\n    assert event not in ('socket.connect', 'socket.getaddrinfo'), event\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{hook}sys.addaudithook(refuse)\n{script}", *folders],
        capture_output=True, text=True, env={**os.environ, **environment}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("format", "library", "column"), [("folder", "datasets", "image"), ("webdataset", "webdataset", "png")])
def test_the_card_says_how_to_load_it(write_photos, tmp_path: Path, format: str, library: str, column: str) -> None:
    """The very lines of the card, run as they stand."""
    pytest.importorskip(library)
    archive = write_photos({f"{number}.png": number for number in range(6)})
    build_dataset([archive], tmp_path / "ds", Recipe(size=64, crop="center", format=format), workers=0)
    card = (tmp_path / "ds" / "README.md").read_text()
    code = card.partition("```python\n")[2].partition("```")[0].replace("DATASET", str(tmp_path / "ds"))
    told = f"first = next(iter(rows))[{column!r}]\nprint(json.dumps([list(first.size), len(pairs[0].read())]))"
    size, length = run(f"import json\n{code}\n{told}", [], HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="1")
    assert size == [128, 64]
    assert length > 100


def needs(library: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(library) is None, reason=f"{library} (extra loaders) is not installed")


WEBDATASET = """
import glob, hashlib, json, webdataset
found = {}
for split in ("train", "val", "test"):
    urls = sorted(glob.glob(f"{sys.argv[1]}/{split}/*.tar"))
    raw = webdataset.WebDataset(urls, shardshuffle=False)
    decoded = webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8").to_tuple("png", "json")
    found[split] = [[row["__key__"], hashlib.sha256(row["png"]).hexdigest(), told, rgb.tolist()]
                    for row, (rgb, told) in zip(raw, decoded, strict=True)]
print(json.dumps(found))
"""


@needs("webdataset")
def test_the_webdataset_library_reads_the_shards(sharded: Path) -> None:
    found = run(WEBDATASET, [sharded])
    for split in SPLITS:
        assert len(found[split]) == len(NUMBERS[split])
        for number, (key, sha, told, rgb) in zip(NUMBERS[split], found[split], strict=True):
            assert f"{split}/{key}.png" == ROWS[number]["pair"]
            assert sha == told["pair_sha256"] == ROWS[number]["pair_sha256"]
            assert told["source"] == f"ordner ü/{number}.png"
            assert np.array_equal(rgb, image_io.decode(image(number), "pair").rgb8)


HUGGING_FACE = """
import json, datasets
found = {}
for kind, folder in (("imagefolder", sys.argv[1]), ("webdataset", sys.argv[2])):
    pattern = "**" if kind == "imagefolder" else "*.tar"
    loaded = datasets.load_dataset(kind, data_files={s: f"{folder}/{s}/{pattern}" for s in ("train", "val", "test")})
    image = "image" if kind == "imagefolder" else "png"
    for split, rows in loaded.items():
        found[f"{kind}/{split}"] = [
            [list(row[image].size), [told["source"], told["face"], told["group"], json.loads(told["degradations"])],
             row[image].convert("RGB").tobytes().hex()] for row in rows for told in [row.get("json", row)]]
print(json.dumps(found))
"""


@pytest.mark.slow
@needs("datasets")
def test_hugging_face_reads_folder_and_shards(folder: Path, sharded: Path, tmp_path: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    found = run(HUGGING_FACE, [folder, sharded], **offline, HF_HOME=str(tmp_path / "cache"))
    assert sorted(found) == sorted(f"{kind}/{split}" for kind in ("imagefolder", "webdataset") for split in SPLITS)
    for name, rows in found.items():
        expected = NUMBERS[name.partition("/")[2]]
        assert len(rows) == len(expected)
        for number, (size, told, pixels) in zip(expected, rows, strict=True):
            assert size == [2 * SIZE, SIZE]
            assert told == [ROWS[number][field] for field in ("source", "face", "group", "degradations")]
            assert pixels == image_io.decode(image(number), "pair").rgb8.tobytes().hex()


def classic(root: Path, phase: str, direction: str) -> list[dict[str, np.ndarray]]:
    """What the aligned loaders of classic Pix2Pix programs do: images of a phase's folder by name, cut at half of the width."""
    suffixes = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff")
    found = []
    for path in sorted((root / phase).rglob("*")):
        if path.suffix.lower() in suffixes:
            with Image.open(path) as opened:
                both = opened.convert("RGB")
            middle = both.width // 2
            left, right = both.crop((0, 0, middle, both.height)), both.crop((middle, 0, both.width, both.height))
            a, b = (left, right) if direction == "AtoB" else (right, left)
            found.append({"A": np.asarray(a), "B": np.asarray(b)})
    return found


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_a_classic_aligned_loader_reads_the_folder(folder: Path, direction: str) -> None:
    degraded, original = ("A", "B") if direction == "AtoB" else ("B", "A")
    for split in SPLITS:
        loaded = classic(folder, split, direction)
        assert len(loaded) == len(NUMBERS[split])
        for number, images in zip(NUMBERS[split], loaded, strict=True):
            assert np.array_equal(images[original], textured(number, SIZE, SIZE))
            assert np.array_equal(images[degraded], 255 - textured(number, SIZE, SIZE))

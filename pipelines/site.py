"""The page that restores photos in a browser, as files: what was built of pipelines/page, and the models that it is given."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset_tools import files, resources
from dataset_tools.errors import MissingDependency, UsageError
from pipelines.engines import MODEL, resolve_model
from pix2pix import model_file

BUILT = Path(__file__).resolve().parent / "page" / "built"
MODELS = "models.json"  # what there is to choose from: the page asks for it first
FACES = "models/face_detection_full_range_sparse.onnx"  # of data/


@dataclass(frozen=True)
class Site:
    """The files of the page, {name in the site, with "/": where it lies, or its bytes}."""

    files: dict[str, Path | bytes]

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where the site has no such name."""
        found = self.files.get(name)
        return found.read_bytes() if isinstance(found, Path) else found


def site_of(models: Sequence[str | Path], offline: bool = False) -> Site:
    """The page with `models`: run folders, .onnx files, or names of models that ship.

    offline: whether a browser may keep the page for when there is no network. Not where another program may soon have the port.

    Raises:
        MissingDependency: the page was not built. ModelFileError: as model_file.read. UsageError: two models of one name.
    """
    if not (BUILT / "index.html").exists():
        raise MissingDependency("the page was not built: run `make page`, which needs Node.js and npm")
    built = (path for path in sorted(BUILT.rglob("*")) if path.is_file())
    made: dict[str, Path | bytes] = {path.relative_to(BUILT).as_posix(): path for path in built}
    made["faces.onnx"] = resources.path(FACES)
    told = []
    for model in models:
        path = resolve_model(model)
        _, card = model_file.read(path)
        name = name_of(path)
        if f"models/{name}.onnx" in made:
            raise UsageError(f"two models are called {name}: give one of them another name")
        made[f"models/{name}.onnx"] = path
        told.append({"name": name, "file": f"models/{name}.onnx", "task": card["task"]})
    made[MODELS] = json.dumps({"offline": offline, "models": told}).encode()
    return Site(made)


def write_site(models: Sequence[str | Path], output: Path) -> int:
    """Writes the page with `models` as the new folder `output`, whole or not at all. Any web server can serve it.

    Returns the bytes of all its files.

    Raises:
        As `site_of`. OutputError: it cannot be written, or there is an `output`.
    """
    site = site_of(models, offline=True)
    with files.new_folder(output) as staged:
        for name, each in site.files.items():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(each, Path):
                shutil.copyfile(each, staged / name)
            else:
                (staged / name).write_bytes(each)
        return sum((staged / name).stat().st_size for name in site.files)


def name_of(path: Path) -> str:
    """What a model is called in the site: letters, digits, "-" and "_" of its run folder's or its file's name."""
    resolved = path.resolve()
    name = resolved.parent.name if resolved.name == MODEL else resolved.stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "model"

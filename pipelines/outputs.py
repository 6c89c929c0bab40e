"""Where each photo goes below OUTPUT, and how it is written there: whole, and never over what is not ours."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dataset_tools import files, image_io
from dataset_tools.errors import OutputError, OutputTaken, UsageError
from pipelines.mark import is_marked, source_of
from pipelines.restore import Item, in_words

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF",
           ".tiff": "TIFF"}  # fmt: skip
KEPT = frozenset(FORMATS.values())  # formats that can carry the mark; a file of any other becomes a PNG
SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif"}
STATE = ".photomend"  # the folder in OUTPUT that keeps what was done
REPORT_FILES = ("report.json", "report.csv", "failures.csv", "sheet.png", "report.html")  # names that no photo may take


@dataclass(frozen=True)
class Target:
    """Where the restored item goes, and as what."""

    folder: Path
    name: Path  # below `folder`
    format: str  # JPEG | PNG | WEBP | TIFF
    as_it_is: Path = Path()  # its name below `folder` where nothing of it is restored
    mask: Path | None = None  # the name of its map of invented pixels, where one is wanted


@dataclass(frozen=True)
class Written:
    """A file below OUTPUT as we left it."""

    name: str  # below OUTPUT, as the file system spells it
    size: int  # bytes
    mtime_ns: int
    sha256: str

    def is_intact(self, folder: Path, thoroughly: bool = False) -> bool:
        """Whether it is still there as it was: by size and time, or `thoroughly` by content."""
        try:
            status = os.stat(folder / self.name)
            if (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns):
                return True
            return thoroughly and status.st_size == self.size and _sha256((folder / self.name).read_bytes()) == self.sha256
        except OSError:
            return False


def name_outputs(items: Sequence[Item], folder: Path, format: str | None = None, mask: bool = False) -> list[Target]:
    """Where below `folder` each item goes. No two are the same, none is a file of the report or a folder of another.

    A file keeps its name where its format is kept. One that becomes `format` changes its suffix, and where that name is taken
    keeps the old one before the new (x.jpg.png), as does a file whose own format cannot carry the mark (x.gif.png); then come
    -2, -3. A mask is called as its photo, and .mask.png.
    """
    taken = {Path(name) for name in (*REPORT_FILES, STATE)}.union(*(item.name.parents for item in items))
    claimed = [item.format or FORMATS.get(item.name.suffix.lower()) for item in items]  # where it cannot be read: by its name
    formats = [format or (each if each in KEPT and each else "PNG") for each in claimed]
    keeps = [each == wanted for each, wanted in zip(claimed, formats, strict=True)]
    targets: dict[int, Target] = {}
    for index in sorted(range(len(items)), key=lambda index: not keeps[index]):  # names that are kept come first
        name = items[index].name
        suffix = name.suffix if keeps[index] else SUFFIX[formats[index]]
        target = next(each for each in _names(name, suffix, keeps[index], changes=format is not None) if each not in taken)
        taken.add(target)
        as_it_is = name if name == target or name not in taken else target.with_name(f"{target.name}{name.suffix}")
        targets[index] = Target(folder, target, formats[index], as_it_is)
    if mask:
        taken |= {each.as_it_is for each in targets.values()}
        for index, each in targets.items():
            base = each.name.with_name(f"{each.name.name}.mask")
            free = next(name for name in _names(base, ".png", keeps=False, changes=False) if name not in taken)
            taken.add(free)
            targets[index] = replace(each, mask=free)
    return [targets[index] for index in range(len(items))]


def _names(name: Path, suffix: str, keeps: bool, changes: bool) -> Iterator[Path]:
    """The names that a photo could get, the best one first."""
    if keeps:
        yield name
    elif changes:
        yield name.with_suffix(suffix)
    yield name.with_name(name.name + suffix)
    for number in range(2, 1_000_000):
        yield name.with_name(f"{name.name}-{number}{suffix}")


def is_file_output(inputs: Sequence[Path], output: Path) -> bool:
    """Whether OUTPUT is to be one file. Raises UsageError where that file could not carry the mark."""
    single = len(inputs) == 1 and inputs[0].is_file() and not output.is_dir()
    if single and output.suffix.lower() in image_io.SUFFIXES - FORMATS.keys():
        raise UsageError(f"OUTPUT {in_words(output)} cannot carry the mark of a restored image: use .png, .jpg, .webp or .tif")
    return single and output.suffix.lower() in FORMATS


def put(folder: Path, name: Path, data: bytes) -> Written:
    """Writes `data`. Raises OutputError."""
    files.replace_bytes(folder / name, data)
    status = os.stat(folder / name)
    return Written(os.fspath(name), status.st_size, status.st_mtime_ns, _sha256(data))


def check_place(path: Path, source: bytes, ours: Written | None, pending: bool) -> None:
    """Raises OutputTaken where `path` holds a file that is not as we left it, so that somebody may miss it.

    Args:
        source: the bytes of the photo that is to go there.
        ours: what an earlier run wrote there, if one did.
        pending: that run, or a later one, was killed on the way: what lies there may be newer than `ours`.
    """
    try:
        held = path.read_bytes() if path.is_file() else None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # which writing it tells
            return
        raise OutputTaken(f"what lies there under its name cannot be read ({error.strerror})") from error
    if held is None or (ours and _sha256(held) == ours.sha256) or held == source:
        return
    if ours and not pending:
        raise OutputTaken(f"{path.name} in OUTPUT was changed since it was restored: move it away, or choose another OUTPUT")
    if not is_marked(held):
        raise OutputTaken(f"OUTPUT holds a file {path.name} that photomend did not write: move it away")


def sweep(folder: Path, targets: Sequence[Target]) -> None:
    """Removes what a killed run had not yet renamed."""
    for parent in {(folder / target.name).parent for target in targets} | {folder}:
        for path in parent.glob(f"{files.TEMPORARY}*"):
            path.unlink(missing_ok=True)


def check_file(output: Path, source: Path) -> None:
    """Raises OutputError where the file `output` exists and was not restored by photomend, or from another file than `source`."""
    if not os.path.lexists(output):
        return
    try:
        held = output.read_bytes()
    except OSError:
        held = b""
    if not is_marked(held):
        raise OutputError(f"{in_words(output)} exists and was not written by photomend: choose another name, or remove it")
    try:
        same = source_of(held) in (None, _sha256(source.read_bytes()))
    except OSError:  # reading it as a photo says what is wrong
        return
    if not same:
        raise OutputError(f"{in_words(output)} exists and was restored from another photo: choose another name, or remove it")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""The files of one or several archives: walk, order, names, and the group that a folder or a name puts a photo in."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset_tools.errors import UsageError

UNREADABLE_ROOT = b"."  # the relative path of an archive that may not be read itself


@dataclass(frozen=True, slots=True)
class Source:
    """One file of an archive. Small, since a build holds one for each file."""

    archive: int  # index of the archive it came from
    relative: bytes  # path inside the archive, "/" between its parts
    root: str  # the archive's folder, as the file system wants it (surrogate escapes where it is not UTF-8)
    prefix: str = ""  # "LABEL/" where there are several archives
    regular: bool = True  # False: a dangling link, a socket, a folder that may not be read: nothing that can be opened
    hidden: bool = False  # True: a folder that may not be read; what is in it is not known

    @property
    def path(self) -> str:
        """Where it is, as the file system wants it."""
        return os.path.join(self.root, os.fsdecode(self.relative))

    @property
    def name(self) -> str:
        """What the manifest calls it, printable and reversible: `encode_name` of the relative path behind the archive's label."""
        return self.prefix + encode_name(self.relative)

    @property
    def inside(self) -> str:
        """What the names of all files below it begin with, where it is a folder that may not be read."""
        return self.prefix if self.relative == UNREADABLE_ROOT else f"{self.name}/"


def encode_name(name: bytes) -> str:
    """Bytes of a path as text that no other path can share: what is not UTF-8, and every "%", is percent-encoded."""
    if name.isascii() and b"%" not in name:
        return name.decode("ascii")
    escaped = name.replace(b"%", b"%25")
    return "".join(
        f"%{ord(character) - 0xDC00:02X}" if 0xDC80 <= ord(character) <= 0xDCFF else character
        for character in escaped.decode("utf-8", "surrogateescape")
    )


def decode_name(name: str) -> bytes:
    """The exact inverse of `encode_name`."""
    return re.sub(rb"%([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), name.encode("utf-8"))


def labels(archives: Sequence[Path]) -> list[str]:
    """What stands before the names of each archive: nothing for one, else its base name (-2, -3 where equal)."""
    if len(archives) == 1:
        return [""]
    seen: Counter[str] = Counter()
    names = []
    for archive in archives:
        base = encode_name(os.fsencode(os.path.basename(os.path.realpath(archive)) or "archive"))
        seen[base] += 1
        names.append(base if seen[base] == 1 else f"{base}-{seen[base]}")
    if len(set(names)) < len(names):
        raise UsageError(f"the archives' names cannot be told apart ({', '.join(names)}): rename one of the folders")
    return names


def prefixes(archives: Sequence[Path]) -> list[str]:
    """What the names of each archive's files begin with."""
    return [f"{label}/" if label else "" for label in labels(archives)]


def inside(path: Path, folder: Path) -> bool:
    """True where `path`, which need not exist, is `folder` or lies below it, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def check_outside(archives: Sequence[Path], output: Path, what: str) -> None:
    """Raises UsageError where `output`, called `what` in its line, is an archive or would lie inside one."""
    for archive in archives:
        if inside(output, archive):
            raise UsageError(f"{what} would lie inside the archive {archive}: give a place outside of it")


def locator(archives: Sequence[Path]) -> Callable[[str], str]:
    """A function from a source's name to its path. It raises KeyError for a name of another archive."""
    roots = dict(zip(prefixes(archives), map(str, archives), strict=True))

    def locate(name: str) -> str:
        prefix = "" if "" in roots else name[: name.find("/") + 1]
        return os.path.join(roots[prefix], os.fsdecode(decode_name(name[len(prefix) :])))

    return locate


def walk(archives: Sequence[Path], skip: Path | None = None) -> tuple[list[Source], list[str]]:
    """Every file below the archives, sorted by (archive, path bytes), and the names of linked folders.

    Links to files are followed; links to folders are not (they can run in circles) and are returned, so that they can be told.
    `skip`, a folder, is left out with all that it holds.

    Raises:
        UsageError: an archive is missing or is not a folder.
    """
    sources: list[Source] = []
    linked: list[str] = []
    for index, (archive, prefix) in enumerate(zip(archives, prefixes(archives), strict=True)):
        if not archive.exists():
            raise UsageError(f"the archive {archive} does not exist: give a folder of photos")
        if not archive.is_dir():
            raise UsageError(f"the archive {archive} is not a folder: give the folder that holds the photos")
        found = sorted(_walk_folder(os.fsencode(archive), skip.resolve() if skip else None))
        for relative, kind in found:
            if kind == "linked_folder":
                linked.append(prefix + encode_name(relative))
            else:
                sources.append(Source(index, relative, str(archive), prefix, kind == "file", kind == "hidden"))
    return sources, linked


def _walk_folder(root: bytes, skip: Path | None) -> Iterator[tuple[bytes, str]]:
    """(path inside the root, file | linked_folder | unreadable | hidden), in no order. Folders may be nested without end."""
    folders = [b""]
    while folders:
        below = folders.pop()
        folder = os.path.join(root, below) if below else root
        if skip and Path(os.fsdecode(folder)).resolve() == skip:
            continue
        try:
            entries = list(os.scandir(folder))
        except OSError:
            yield below or UNREADABLE_ROOT, "hidden"
            continue
        for entry in entries:
            relative = b"/".join((below, entry.name)) if below else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(relative)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                yield relative, "linked_folder"
            else:
                yield relative, "file" if _is_regular(entry.path) else "unreadable"


def _is_regular(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def stat_key(path: str) -> tuple[int, int] | None:
    """(size in bytes, time of change in ns): equal as long as nobody wrote to the file. None if it cannot be asked."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def sha256(data: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def group_rule(text: str | None, prefix: str = "", option: str = "--group-by") -> Callable[[str], str | None]:
    """The rule of --group-by: a function from a source's name to the key of its group, None where it has none.

    "folder" groups by the photo's parent folder; anything else is a regular expression searched in the name, whose
    groups (or whole match, where it has none) are the key. `prefix` of a name is not looked at; `option` is what errors name.

    Raises:
        UsageError: empty, or not a regular expression.
    """
    if text is None:
        return lambda name: None
    if not text:
        raise UsageError(f"{option} is empty: give 'folder' or a regular expression, or leave the option away")
    if text == "folder":
        return lambda name: name.removeprefix(prefix).rpartition("/")[0]
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"{option} {text!r} is neither 'folder' nor a regular expression ({error})") from error

    def key(name: str) -> str | None:
        found = pattern.search(name.removeprefix(prefix))
        if not found:
            return None
        return "\n".join(part or "" for part in found.groups()) if pattern.groups else found.group(0)

    return key

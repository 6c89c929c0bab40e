"""Whole photos under names, and in places, that break careless programs. A module that tests import; it tests nothing itself."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from dataset_tools.archive import encode_name
from tests.damage import GOOD, Reasons, portrait, saved

UNREADABLE: Reasons = frozenset({"unreadable"})

NAMES = [
    b"new\nline.jpg", b"tab\there.jpg", b"bell\x07\x1b[31mred\x1b[0m.jpg", b"-rf.jpg", b"--help.jpg",
    b"'quote'\".jpg", b"$(id).jpg", b"`id`.jpg", b"<script>alert(1)<", b"&amp;.jpg", b"%00.jpg", b"%2e%2e%2f.jpg",
    b"a%sb%d.jpg", b"{}.jpg", b"*?.jpg", b"~.jpg", b"#1.jpg", b"x" * 251 + b".jpg", "\u00fc".encode() * 125 + b".jpg",
    b"\xff\xfe\x80.jpg", b"caf\xe9.jpg", "\u202egpj.exe.jpg".encode(),
    "\U0001f389\U0001f468\u200d\U0001f469\u200d\U0001f467.jpg".encode(), b" lead.jpg", b"trail.jpg ", b"...jpg",
    b".hidden.jpg", b"CASE.jpg", b"case.jpg", "\u00e9.jpg".encode(), "e\u0301.jpg".encode(), b"CON", b"NUL.jpg",
    b"a\\b.jpg", b"C:name.jpg", b"no-suffix", b"wrong.txt", b"dots..jpg", "\u2028line.jpg".encode(),
    "\x85next.jpg".encode(),
]  # fmt: skip
FOLDERS = (b"", b"x.jpg/", b"<b>\x1b[2J\n\xff/")


def fill_names(archive: Path) -> dict[str, Reasons]:
    """Whole photos under hostile names, in folders with hostile names too. Returns what each row may say, as `damage.fill`."""
    expected: dict[str, Reasons] = {}
    root = os.fsencode(archive)
    for number, name in enumerate(NAMES):
        folder = FOLDERS[number % 3]
        os.makedirs(os.path.join(root, folder), exist_ok=True)
        with open(os.path.join(root, folder + name), "wb") as handle:
            handle.write(saved(portrait(number), "JPEG", quality=90))
        expected[encode_name(folder + name)] = GOOD
    return expected


def fill_specials(archive: Path, outside: Path) -> dict[str, Reasons]:
    """Links in circles and to elsewhere, pipes, a socket. What is not among the names returned may have no row."""
    outside.mkdir()
    portrait(3).save(outside / "elsewhere.jpg")
    (archive / "links").mkdir()
    links = {"one.jpg": "two.jpg", "two.jpg": "one.jpg", "self.jpg": "self.jpg", "dangling.jpg": "nowhere", "nothing": "nowhere",
             "null.jpg": "/dev/null", "zero.jpg": "/dev/zero", "out.jpg": outside / "elsewhere.jpg", "around": "../links",
             "\x1b[31m\nabove": "..", "outside": outside}  # fmt: skip
    for name, target in links.items():
        (archive / "links" / name).symlink_to(target)
    os.mkfifo(archive / "pipe.jpg")
    os.mkfifo(archive / "pipe")
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as end:  # a socket's path is at most 107 bytes
        end.bind(f"{short}/s")
        os.rename(f"{short}/s", archive / "socket.jpg")
    refused = (*(f"links/{name}.jpg" for name in ("one", "two", "self", "dangling", "null", "zero")), "pipe.jpg", "socket.jpg")
    return {**dict.fromkeys(refused, UNREADABLE), "links/out.jpg": GOOD}

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_tools.archive import decode_name, encode_name, group_rule, labels, locator, walk
from dataset_tools.errors import UsageError


@given(st.binary(max_size=40))
def test_names_come_back_byte_for_byte(name: bytes) -> None:
    assert decode_name(encode_name(name)) == name


@given(st.binary(max_size=40))
def test_names_are_printable_utf8(name: bytes) -> None:
    encode_name(name).encode("utf-8")


def test_a_literal_percent_is_not_taken_for_an_escape() -> None:
    assert encode_name(b"a%FF") == "a%25FF"
    assert encode_name(b"a\xff") == "a%FF"


def test_walk_sorts_by_path_bytes_and_finds_every_file(tmp_path: Path) -> None:
    for name in (b"b.jpg", b"a/z.jpg", b"a.jpg", b"a/\xff.jpg", b"a/b/c.txt"):
        path = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as handle:
            handle.write(b"x")
    sources, linked = walk([tmp_path])
    assert [source.relative for source in sources] == [b"a.jpg", b"a/b/c.txt", b"a/z.jpg", b"a/\xff.jpg", b"b.jpg"]
    assert [source.name for source in sources][3] == "a/%FF.jpg"
    assert linked == []
    for source in sources:
        with open(source.path, "rb") as handle:
            assert handle.read() == b"x"


def test_links_to_folders_are_told_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(b"x")
    (tmp_path / "real" / "again").symlink_to(tmp_path)
    (tmp_path / "file.jpg").symlink_to(tmp_path / "real" / "a.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    sources, linked = walk([tmp_path])
    assert [(source.name, source.regular) for source in sources] == [
        ("file.jpg", True), ("gone.jpg", False), ("pipe.jpg", False), ("real/a.jpg", True)]  # fmt: skip
    assert linked == ["real/again"]


def test_several_archives_get_labels(tmp_path: Path) -> None:
    folders = [tmp_path / "x" / "photos", tmp_path / "y" / "photos", tmp_path / "other"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "a.jpg").write_bytes(b"x")
    assert labels(folders) == ["photos", "photos-2", "other"]
    assert [source.name for source in walk(folders)[0]] == ["photos/a.jpg", "photos-2/a.jpg", "other/a.jpg"]


def test_archives_whose_labels_would_coincide_are_refused(tmp_path: Path) -> None:
    folders = [tmp_path / "x" / "p", tmp_path / "y" / "p", tmp_path / "p-2"]
    with pytest.raises(UsageError, match="cannot be told apart"):
        labels(folders)


def test_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist: give a folder of photos"):
        walk([tmp_path / "none"])
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="is not a folder"):
        walk([tmp_path / "a.jpg"])


def test_group_rules() -> None:
    assert group_rule(None)("x/a.jpg") is None
    assert group_rule("folder")("x/row01/a.jpg") == "x/row01"
    assert group_rule(r"person(\d+)")("x/person12-3.jpg") == "12"
    assert group_rule(r"^[a-z]+")("anna/1.jpg") == "anna"
    assert group_rule(r"person(\d+)")("x/other.jpg") is None
    with pytest.raises(UsageError, match="neither 'folder' nor a regular expression"):
        group_rule("(")


def test_folders_nested_deeper_than_python_recurses(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=folder)
        deeper = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(os.open("a.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    try:
        sources, _ = walk([tmp_path])
        assert [source.relative for source in sources] == [b"d/" * 1100 + b"a.jpg"]
        assert sources[0].regular
    finally:  # shutil.rmtree, which pytest would use, recurses
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_sources_are_located_by_their_names(tmp_path: Path) -> None:
    for folder in ("x/photos", "y/photos"):
        (tmp_path / folder / "sub%").mkdir(parents=True)
        (tmp_path / folder / "sub%" / "a.jpg").touch()
    archives = [tmp_path / "x" / "photos", tmp_path / "y" / "photos"]
    for several in (archives, archives[:1]):
        sources, _ = walk(several)
        locate = locator(several)
        assert [locate(source.name) for source in sources] == [source.path for source in sources]

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dataset_tools import files
from dataset_tools.errors import FolderBusy, OutputError, PhotomendError, from_import_error


def test_what_was_there_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.replace_json(path, {"b": 1, "a": "ä"})
    assert path.read_text("utf-8") == '{\n  "a": "ä",\n  "b": 1\n}\n'

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=r"no room left on the disk to write .*a\.json"):
        files.replace_text(path, "new")
    assert path.read_text("utf-8").startswith("{")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_real_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    monkeypatch.setattr(files, "_temporary_name", lambda: f"{files.TEMPORARY}full")
    (tmp_path / f"{files.TEMPORARY}full").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="no room left on the disk"):
        files.replace_bytes(tmp_path / "x", b"data" * 10000)
    assert not (tmp_path / "x").exists()


def test_a_new_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    with files.new_folder(tmp_path / "a" / "b") as folder:
        (folder / "x").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "x").read_text() == "x"
    for error, seen in (
        (ValueError("no"), ValueError), (KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "full"), OutputError),
    ):  # fmt: skip
        with pytest.raises(seen), files.new_folder(tmp_path / "c") as folder:  # noqa: PT012
            (folder / "x").write_text("x")
            raise error
        assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    with pytest.raises(OutputError, match=r"cannot write .*b: Directory not empty"), files.new_folder(tmp_path / "a" / "b"):
        pass
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "x").read_text() == "x"


def test_the_longest_name_that_a_file_can_have(tmp_path: Path) -> None:
    files.replace_bytes(tmp_path / ("ä" * 127), b"x")
    assert (tmp_path / ("ä" * 127)).read_bytes() == b"x"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        files.replace_text(tmp_path / "file" / "below", "x")


def test_the_lock_is_held_and_freed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with files.folder_lock(lock, "the folder"), pytest.raises(FolderBusy, match=f"the folder is in use .*{os.getpid()}"):  # noqa: SIM117
        with files.folder_lock(lock, "the folder"):
            pass
    with files.folder_lock(lock, "the folder"):
        pass


def test_a_file_system_without_locks_is_not_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unknown)
    with pytest.raises(OutputError) as caught, files.folder_lock(tmp_path / "lock", "the folder"):
        pass
    assert str(caught.value) == "cannot write the folder: No locks available; choose another place for it"


def test_what_must_outlive_a_power_cut_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real = os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("synced"))
    monkeypatch.setattr(os, "replace", lambda *given: (done.append("named"), real(*given)))
    files.replace_json(tmp_path / "a.json", {}, durable=True)
    files.replace_json(tmp_path / "b.json", {})
    assert done == ["synced", "named", "named"]


def test_missing_libraries_are_told_with_the_command_that_installs_them() -> None:
    told = from_import_error(ImportError("libGL.so.1: cannot open shared object file: No such file or directory"))
    assert "libGL.so.1 is missing" in str(told)
    assert "apt-get install" in str(told)
    assert "libgl1" in str(told)
    assert "pip install photomend" in str(from_import_error(ModuleNotFoundError("No module named 'cv2'", name="cv2")))
    assert from_import_error(ImportError("cannot import name 'x'")) is None


def test_every_error_is_of_the_family_and_every_photo_error_has_its_own_reason() -> None:
    from dataset_tools import errors

    family = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, PhotomendError)]
    reasons = [value.reason for value in family if issubclass(value, errors.PhotoError)]
    assert len(set(reasons)) == len(reasons) == 8
    for value in family:
        assert value.__name__ in (errors.__doc__ or ""), f"{value.__name__} is not in the tree at the top of errors.py"
        assert value.exit_code == (2 if value is errors.UsageError else 1)

"""`make soak` runs what `make test` leaves out."""

from __future__ import annotations

from pathlib import Path

from bench.soak import PARTS

ROOT = Path(__file__).resolve().parent.parent


def test_all_that_is_marked_is_in_a_part() -> None:
    listed = {file for files in PARTS.values() for file in files}
    marked = {
        str(path.relative_to(ROOT)) for path in ROOT.glob("tests/test_*.py") if "pytest.mark." + "soak" in path.read_text("utf-8")
    }
    assert marked
    assert marked <= listed
    assert [file for file in listed if not (ROOT / file).is_file()] == []

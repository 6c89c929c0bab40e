"""`make soak` runs what `make test` leaves out."""

from __future__ import annotations

import re
from pathlib import Path

from bench.soak import PARTS

ROOT = Path(__file__).resolve().parent.parent


def test_all_that_is_marked_is_in_a_part() -> None:
    listed = {file for files in PARTS.values() for file in files}
    texts = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in ROOT.glob("tests/test_*.py")}
    marked = {name for name, text in texts.items() if re.search(r"pytest\.mark\.soak|\bsoak=", text)}
    assert len(marked) > 5
    assert marked <= listed
    assert [file for file in listed if not (ROOT / file).is_file()] == []

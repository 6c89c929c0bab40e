"""The card: counts that add up, the same bytes for the same rows, nothing breaks out of its table; and the summary behind it."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import numpy as np
import pytest

from dataset_tools import errors, image_io, pairs, reasons
from dataset_tools.card import card_text, command, pairs_grid
from dataset_tools.manifest import Row, count, crop_row, photo_row
from dataset_tools.summary import SAMPLES, Drawn, Histogram, Sample, Summary, scale_of

RECIPE = {"made_by": "build", "size": 64, "crop": "faces", "max_enlarge": 1.25, "degrade": ["mosaic:block=8..24,phase=0"],
          "group_by": None, "align": False, "dedupe": True}  # fmt: skip


def face(source: str, index: int, status: str, reason: str | None = None, side: float = 100.0, scale: float = 0.5) -> Row:
    row = crop_row("face", source, "ab" * 32, index, status, reason, box=[1.0, 2.0, side, side / 2], degradations=[],
                   affine=[[scale, 0.0, 0.0], [0.0, scale, 0.0]])  # fmt: skip
    if status == "kept":
        row.update(group="0f" * 32, split="train", pair=f"train/{source}-{index}.png", pair_sha256=f"{index:02x}" * 32)
        row["degradations"] = [{"name": "mosaic", "block": 8 + index, "phase_x": 0}]
    return row


def some_rows() -> list[Row]:
    return [
        photo_row("a.jpg", "ab" * 32, "kept", group="0f" * 32, split="train"),
        face("a.jpg", 0, "kept"),
        face("a.jpg", 1, "kept", scale=1.1),
        face("a.jpg", 2, "rejected", "too_small", side=20, scale=5),
        photo_row("b.jpg", "cd" * 32, "rejected", "no_face"),
        photo_row("c.jpg", None, "failed", "truncated", detail="c.jpg ends too early"),
    ]


def summed(rows: list[Row]) -> Summary:
    summary = Summary()
    for row in rows:
        summary.add(row)
    return summary


def info_of(rows: list[Row], **more: Any) -> dict[str, Any]:
    return {"recipe": RECIPE, "size": 64, "counts": count(rows, len(rows)), "detector": {"name": "d"},
            "versions": {"numpy": "1", "pillow": "2"}, "manifest_sha256": "ee" * 32, **more}  # fmt: skip


def pair_bytes(row: Row) -> bytes:
    a, b = np.full((64, 64, 3), 60 * row["face"], np.uint8), np.full((64, 64, 3), 255, np.uint8)
    return image_io.encode_png(pairs.stitch(a, b))


def test_the_card_tells_counts_reasons_recipe_and_hash() -> None:
    rows = some_rows()
    text = card_text(info_of(rows), summed(rows))
    for line in (
        "- 6 files = 3 that are no images + 3 photos",
        "- 3 photos = 1 kept (at least one pair of each) + 1 rejected + 1 failed",
        "- 3 crops = 2 kept (one pair of each) + 1 rejected",
        "| train | 2 | 1 |",
        "| all | 2 | 1 |",
        "1. mosaic: square cells, each filled with the mean of its pixels (block=8..24,phase=0). Drawn: block 8 to 9, phase_x 0.",
        "`" + "ee" * 32 + "`.",
        "Versions: numpy 1, pillow 2.",
        "  96 to 128  kept      2  ",
        "![Pairs of this dataset: A, the input, beside B, the original](pairs.png)",
    ):
        assert line.strip() in text, line
    assert "| face | rejected | `too_small` | 1 |" in text
    assert "(--max-enlarge is 1.25)" in text
    assert "No location data and no metadata of the photos were copied" in text


def test_the_same_rows_give_the_same_card_and_no_other_state_enters() -> None:
    rows = some_rows()
    texts = {card_text(info_of(rows), summed(json.loads(json.dumps(rows)))) for _ in range(2)}
    assert len(texts) == 1


@pytest.mark.parametrize("license_", [None, "cc0-1.0", 'odd: "name"\n- x'])
def test_the_front_matter_is_what_hugging_face_reads(license_: str | None) -> None:
    rows = some_rows()
    text = card_text(info_of(rows, license=license_), summed(rows))
    head = text.split("\n---\n")[0].splitlines()
    assert head[0] == "---"
    expected = {None: "unknown", "cc0-1.0": "cc0-1.0"}.get(license_, json.dumps(license_))
    assert head[1] == f"license: {expected}"
    assert head[2:4] == ["task_categories:", "- image-to-image"]
    assert head[5:] == ["size_categories:", "- n<1K", "configs:", "- config_name: default", "  data_files:",
                        "  - split: train", '    path: "train/**"']  # fmt: skip


def test_shards_and_large_datasets_are_told() -> None:
    rows = some_rows()
    info = info_of(rows)
    info["counts"]["splits"] = {"train": 900_000, "val": 100_000, "test": 0}
    text = card_text({**info, "recipe": {**RECIPE, "format": "webdataset"}}, summed(rows))
    assert "- 1M<n<10M\n" in text
    assert '  - split: validation\n    path: "val/*.tar"\n' in text
    assert "split: test" not in text


def test_a_dataset_of_nothing_has_a_card_and_no_picture() -> None:
    rows = [photo_row("b.jpg", "cd" * 32, "rejected", "no_face")]
    summary = summed(rows)
    text = card_text(info_of(rows), summary)
    assert "pairs.png" not in text
    assert "configs" not in text
    assert pairs_grid(pair_bytes, summary) is None


def test_what_a_person_wrote_cannot_break_the_tables() -> None:
    rows = [photo_row("b.jpg", "cd" * 32, "rejected", "bridges_splits")]
    recipe = {**RECIPE, "group_by": "(a|b)\n```\n# x"}
    text = card_text({**info_of(rows), "recipe": recipe}, summed(rows))
    (line,) = [line for line in text.splitlines() if "bridges_splits" in line]
    assert len(re.findall(r"(?<!\\)\|", line)) == 6
    assert "\n# x" not in text
    assert text.count("\n```") % 2 == 0


def test_the_command_names_what_was_chosen() -> None:
    assert command(RECIPE).replace(" \\\n    ", " ") == (
        "photomend build ARCHIVE DATASET --crop faces --dedupe --degrade mosaic:block=8..24,phase=0 --max-enlarge 1.25 --size 64"
    )
    tiles = {"made_by": "build", "crop": "tiles", "tiles": 3, "margin": 0.25, "search": "fast"}
    assert command(tiles, "cc0-1.0").replace(" \\\n    ", " ") == (
        "photomend build ARCHIVE DATASET --crop tiles --license cc0-1.0 --tiles 3"
    )
    assert command({"made_by": "pair", "resize": True}).startswith("photomend pair A_DIR B_DIR DATASET")


def test_the_picture_shows_pairs_a_beside_b() -> None:
    rows = some_rows()
    grid = pairs_grid(pair_bytes, summed(rows))
    assert grid is not None
    assert (grid == 255).all(axis=2).sum() == 2 * 144 * 144
    assert (grid == 60).all(axis=2).sum() >= 144 * 144
    assert np.array_equal(grid, pairs_grid(pair_bytes, summed(rows)))
    many = [face(f"{number}.jpg", 0, "kept") for number in range(50)]
    seen: list[str] = []
    pairs_grid(lambda row: seen.append(row["source"]) or pair_bytes(row), summed(many))
    other: list[str] = []
    pairs_grid(lambda row: other.append(row["source"]) or pair_bytes(row), summed(many[::-1]))
    assert len(set(seen)) == 12
    assert seen == other, "the choice does not depend on the order"


def test_a_sample_stays_while_rows_come() -> None:
    few, many = Sample(5), Sample(5)
    rows = [face(f"{number}.jpg", 0, "kept") for number in range(200)]
    for row in rows[:100]:
        few.add(row)
    for row in rows:
        many.add(row)
    both = [row["source"] for row in many.rows() if row in few.rows()]
    assert len(both) >= 1
    assert all(int(row["source"][:-4]) >= 100 for row in many.rows() if row not in few.rows())


def test_the_summary_holds_a_few_rows_of_many() -> None:
    summary = summed([photo_row(f"{n}.jpg", None, "failed", "empty") for n in range(1000)])
    assert summary.reasons == {("photo", "failed", "empty"): 1000}
    assert len(summary.samples["photo", "failed", "empty"].rows()) == SAMPLES
    assert len(summary.failed) == 200


def test_a_value_falls_into_its_bin() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.999, 2.0, float("nan")):
        histogram.add("kept", value)
    histogram.add("rejected", 7)
    assert histogram.bins() == [("below 1", 1, 0), ("1 to 2", 2, 0), ("2 or more", 1, 1)]
    assert Histogram((1.0,)).bins() == []


def test_a_turned_crop_has_the_scale_of_its_side() -> None:
    turn = np.deg2rad(30)
    assert scale_of([[2 * np.cos(turn), -2 * np.sin(turn), 5.0], [2 * np.sin(turn), 2 * np.cos(turn), 7.0]]) == pytest.approx(2)


def test_what_was_drawn_is_told_in_ranges_and_words() -> None:
    drawn = Drawn()
    drawn.add([{"name": "scratches", "count": 3, "kind": "dark", "lines": [[1, 2]]}])
    drawn.add([{"name": "scratches", "count": 9, "kind": "light", "lines": []}])
    assert drawn.told("scratches") == "count 3 to 9, kind dark (1 times), light (1 times)"
    assert drawn.told("none") == ""


def test_every_reason_of_an_error_is_described() -> None:
    words = {each.reason for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.PhotoError)}
    assert words - {"failed"} <= reasons.REASONS.keys()
    for reason in reasons.REASONS.values():
        assert reason.meaning.endswith(".")
        assert reason.remedy.endswith((".", "?"))
    assert reasons.describe("never_seen").title == "never seen"


def test_the_limit_is_that_of_the_recipe() -> None:
    assert reasons.limit(reasons.describe("too_small"), RECIPE) == "--max-enlarge is 1.25"
    assert reasons.limit(reasons.describe("duplicate"), RECIPE) == "--dedupe is on"
    assert reasons.limit(reasons.describe("bridges_splits"), RECIPE) == "--group-by is off"
    assert reasons.limit(reasons.describe("empty"), RECIPE) == ""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tools import degradations
from dataset_tools.degradations import REGISTRY, Step, describe, parse
from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.mosaic_grid import Grid, cell_means, paint

RGB = np.random.default_rng(0).integers(0, 256, (37, 50, 3)).astype(np.uint8)

# Every degradation with options that draw something: a new one without a line here fails.
EXAMPLES = {"mosaic": "mosaic:block=3..24,phase=random", "grayscale": "grayscale"}


def drawn_for(text: str, seed: int = 5) -> list[dict[str, object]]:
    return degradations.draw([parse(text)], np.random.default_rng(seed), RGB.shape[:2])


def test_every_degradation_has_an_example() -> None:
    assert set(EXAMPLES) == set(REGISTRY)


@pytest.mark.parametrize("name", REGISTRY)
class TestRegistry:
    def test_is_described(self, name: str) -> None:
        entry = REGISTRY[name]
        assert entry.name == name
        assert entry.summary.strip()
        assert all(option.help.strip() for option in entry.options.values())

    def test_defaults_are_what_their_text_says(self, name: str) -> None:
        step = parse(name)
        assert step.options == {key: option.default for key, option in REGISTRY[name].options.items()}
        assert parse(describe(step)) == step

    def test_draw_depends_on_the_seed_alone(self, name: str) -> None:
        assert drawn_for(EXAMPLES[name]) == drawn_for(EXAMPLES[name])
        if REGISTRY[name].options:
            assert len({json.dumps(drawn_for(EXAMPLES[name], seed)) for seed in range(20)}) > 5

    def test_draw_survives_json(self, name: str) -> None:
        drawn = drawn_for(EXAMPLES[name])
        assert json.loads(json.dumps(drawn)) == drawn
        assert [record["name"] for record in drawn] == [name]

    def test_apply_is_pure_and_keeps_shape_and_dtype(self, name: str) -> None:
        drawn, before = drawn_for(EXAMPLES[name]), RGB.copy()
        RGB.setflags(write=False)
        first, second = degradations.apply(RGB, drawn), degradations.apply(RGB, drawn)
        assert np.array_equal(RGB, before)
        assert np.array_equal(first, second)
        assert not np.array_equal(first, RGB)
        assert not np.shares_memory(first, RGB)
        assert (first.shape, first.dtype) == (RGB.shape, np.uint8)


def test_mosaic_paints_the_cell_means_of_its_grid() -> None:
    drawn = [{"name": "mosaic", "block": 12, "phase_y": 5, "phase_x": 11}]
    grid = Grid(12, 5, 11)
    assert np.array_equal(degradations.apply(RGB, drawn), paint(cell_means(RGB, grid), grid, RGB.shape[:2]))


def test_mosaic_draws_blocks_and_phases_of_the_whole_range() -> None:
    step, rng = parse("mosaic:block=2..4,phase=random"), np.random.default_rng(0)
    seen = {(r["block"], r["phase_y"], r["phase_x"]) for _ in range(600) for r in degradations.draw([step], rng, (9, 9))}
    assert seen == {(block, y, x) for block in (2, 3, 4) for y in range(block) for x in range(block)}


def test_mosaic_without_options_is_block_16_at_the_corner() -> None:
    assert drawn_for("mosaic") == [{"name": "mosaic", "block": 16, "phase_y": 0, "phase_x": 0}]


def test_grayscale_is_the_luma_of_bt601() -> None:
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [1, 2, 3]]], np.uint8)
    gray = degradations.apply(rgb, [{"name": "grayscale"}])
    assert gray[0].tolist() == [[76] * 3, [150] * 3, [29] * 3, [255] * 3, [0] * 3, [2] * 3]


def test_steps_apply_in_order() -> None:
    mosaic, gray = {"name": "mosaic", "block": 8, "phase_y": 0, "phase_x": 0}, {"name": "grayscale"}
    by_hand = degradations.apply(degradations.apply(RGB, [gray]), [mosaic])
    assert np.array_equal(degradations.apply(RGB, [gray, mosaic]), by_hand)
    assert np.array_equal(degradations.apply(RGB, []), RGB)


def test_one_recipe_may_hold_a_step_twice() -> None:
    drawn = degradations.draw([parse("mosaic:block=4"), parse("mosaic:block=9")], np.random.default_rng(0), (9, 9))
    assert [record["block"] for record in drawn] == [4, 9]


@settings(deadline=None)
@given(low=st.integers(1, 1024), more=st.integers(0, 1023), phase=st.sampled_from([0, "random"]))
def test_describe_and_parse_go_round(low: int, more: int, phase: int | str) -> None:
    step = Step("mosaic", {"block": (low, min(low + more, 1024)), "phase": phase})
    assert parse(describe(step)) == step
    assert describe(parse(describe(step))) == describe(step)


@settings(deadline=None)
@given(st.text(max_size=30).map(lambda text: f"mosaic:{text}") | st.text(max_size=20))
def test_any_text_is_a_step_or_one_line(text: str) -> None:
    try:
        step = parse(text)
    except UsageError as error:
        line = str(error)
    else:
        line = describe(step)
        assert parse(line) == step
    assert line.isprintable()


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("mosaic", "mosaic:block=16,phase=0"),
        ("mosaic:phase=random", "mosaic:block=16,phase=random"),
        ("mosaic:phase=0,block=8..8", "mosaic:block=8,phase=0"),
        ("mosaic:block=8..24", "mosaic:block=8..24,phase=0"),
        ("grayscale", "grayscale"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert describe(parse(text)) == canonical


BLOCKS = "block takes whole pixels from 1 to 1024, or a range such as 8..24; received"
BAD_BLOCKS = ("0", "1025", "9..8", "-1", "8..", "..8", "1_0", "x", "٣")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mosiac", "--degrade mosiac: there is no degradation mosiac; there are: grayscale, mosaic"),
        ("", "--degrade '': there is no degradation ''; there are: grayscale, mosaic"),
        ("mosaic:blok=8", "--degrade mosaic:blok=8: mosaic has no option blok; it has: block, phase"),
        ("grayscale:block=8", "--degrade grayscale:block=8: grayscale has no option block; it has: none"),
        ("mosaic:", "--degrade mosaic:: expected OPTION=VALUE after the colon; received ''"),
        ("mosaic:8", "--degrade mosaic:8: expected OPTION=VALUE after the colon; received 8"),
        ("mosaic:block=8,block=9", "--degrade mosaic:block=8,block=9: block is given twice"),
        ("mosaic:phase=3", "--degrade mosaic:phase=3: phase takes 0 or random; received 3"),
        ("mosaic:blo\nk=8", r"--degrade 'mosaic:blo\nk=8': mosaic has no option 'blo\nk'; it has: block, phase"),
        *((f"mosaic:block={bad}", f"--degrade mosaic:block={bad}: {BLOCKS} {bad}") for bad in BAD_BLOCKS),
    ],
)
def test_what_is_refused(text: str, line: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert str(refused.value) == line


def test_a_record_of_a_later_version_is_refused() -> None:
    with pytest.raises(DatasetError, match="the degradation fog is unknown to this version; it has: grayscale, mosaic"):
        degradations.apply(RGB, [{"name": "fog"}])

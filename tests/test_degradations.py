from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_tools import degradations
from dataset_tools.degradations import REGISTRY, Option, Scene, describe, parse
from dataset_tools.errors import DatasetError, UsageError
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from dataset_tools.zoo.options import write

RGB = np.random.default_rng(0).integers(0, 256, (37, 50, 3)).astype(np.uint8)


def drawn_for(text: str, seed: int = 5, scene: Scene | tuple[int, int] = (37, 50)) -> list[dict[str, object]]:
    return degradations.draw([parse(text)], np.random.default_rng(seed), scene)


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


def steps_texts(name: str) -> st.SearchStrategy[str]:
    """Any valid text of a degradation: some of its options, each with any value or range that it allows."""

    def values(option: Option) -> st.SearchStrategy[str]:
        if option.choices:
            return st.sampled_from([word for word in (*option.choices, "random") if allowed(option, word)])
        low, high = (float(each) for each in re.findall(r"from (\S+) to ([^, ]+)", option.allowed)[0])
        numbers = st.integers(int(low), int(high)) if "whole" in option.allowed else st.floats(low, high)
        if not isinstance(option.default, tuple):
            return numbers.map(write)
        return st.tuples(numbers, numbers).map(lambda pair: write((min(pair), max(pair))))  # type: ignore[arg-type]

    chosen = {key: values(option) for key, option in REGISTRY[name].options.items()}
    return st.fixed_dictionaries({}, optional=chosen).map(
        lambda given: ":".join([name, *filter(None, [",".join(f"{key}={value}" for key, value in given.items())])])
    )


def allowed(option: Option, text: str) -> bool:
    try:
        option.parse(text)
    except ValueError:
        return False
    return True


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(REGISTRY)).flatmap(steps_texts))
def test_describe_and_parse_go_round(text: str) -> None:
    step = parse(text)
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
        ("mosaic:region=eyes,space=photo,feather=0.50", "mosaic:block=16,phase=0,space=photo,region=eyes,feather=0.5"),
        ("mosaic:space=crop,region=whole,feather=0", "mosaic:block=16,phase=0"),
        ("grayscale", "grayscale"),
        ("grayscale:standard=bt709,p=0.25", "grayscale:standard=bt709,p=0.25"),
        ("jpeg:quality=8..9,p=1", "jpeg:quality=8..9,subsampling=4:2:0"),
        ("blur:sigma=1e0..2.50", "blur:sigma=1..2.5"),
        ("fade:contrast=0.5,lift=-0,tint=random,cast=1", "fade:contrast=0.5,lift=0,saturation=0.4..0.8,tint=random,cast=1"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert describe(parse(text)) == canonical


BLOCKS = "block takes whole numbers from 1 to 1024, or a range such as 8..24; received"
BAD_BLOCKS = ("0", "1025", "9..8", "-1", "8..", "..8", "1_0", "8.0", "x", "٣")
SIGMAS = "sigma takes numbers from 0 to 64, or a range such as 0.5..3; received"
BAD_SIGMAS = ("-1", "65", "2..1", "1...2", ".5", "1.", "nan", "inf", "1e9", "1e999", "x", "٣")
NAMES = ", ".join(sorted(REGISTRY))
MOSAIC = "block, phase, space, region, feather, p"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mosiac", f"--degrade mosiac: there is no degradation mosiac (do you mean mosaic?); there are: {NAMES}"),
        ("", f"--degrade '': there is no degradation ''; there are: {NAMES}"),
        ("mosaic:blok=8", f"--degrade mosaic:blok=8: mosaic has no option blok (do you mean block?); it has: {MOSAIC}"),
        ("grayscale:block=8", "--degrade grayscale:block=8: grayscale has no option block; it has: standard, p"),
        ("mosaic:", "--degrade mosaic:: expected OPTION=VALUE after the colon; received ''"),
        ("mosaic:8", "--degrade mosaic:8: expected OPTION=VALUE after the colon; received 8"),
        ("mosaic:block=8,block=9", "--degrade mosaic:block=8,block=9: block is given twice"),
        ("mosaic:phase=3", "--degrade mosaic:phase=3: phase takes 0 or random; received 3"),
        (
            "mosaic:blo\nk=8",
            rf"--degrade 'mosaic:blo\nk=8': mosaic has no option 'blo\nk' (do you mean block?); it has: {MOSAIC}",
        ),
        (
            "jpeg:subsampling=4:1:1",
            "--degrade jpeg:subsampling=4:1:1: subsampling takes 4:4:4, 4:2:2, 4:2:0 or random; received 4:1:1",
        ),
        *(
            (f"jpeg:p={bad}", f"--degrade jpeg:p={bad}: p takes a number from 0 to 1; received {bad}")
            for bad in ("2", "0..1", "x")
        ),
        *((f"mosaic:block={bad}", f"--degrade mosaic:block={bad}: {BLOCKS} {bad}") for bad in BAD_BLOCKS),
        *((f"blur:sigma={bad}", f"--degrade blur:sigma={bad}: {SIGMAS} {bad}") for bad in BAD_SIGMAS),
    ],
)
def test_what_is_refused(text: str, line: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert str(refused.value) == line


def test_a_record_of_a_later_version_is_refused() -> None:
    with pytest.raises(DatasetError, match=f"the degradation fog is unknown to this version; it has: {NAMES}"):
        degradations.apply(RGB, [{"name": "fog"}])


# --- what is drawn


def test_p_decides_how_often_a_step_has_a_record() -> None:
    step, rng = parse("grayscale:p=0.25"), np.random.default_rng(0)
    assert 200 < sum(len(degradations.draw([step], rng, (8, 8))) for _ in range(1000)) < 300
    assert [drawn_for("grayscale:p=0", seed) for seed in range(50)] == [[]] * 50
    assert all(drawn_for("grayscale:p=1", seed) for seed in range(50))


def test_a_step_does_not_depend_on_the_options_of_the_others() -> None:
    def last(first: str) -> dict[str, object]:
        steps = [parse(first), parse("noise:sigma=3..90")]
        return degradations.draw(steps, np.random.default_rng(3), (64, 64))[-1]

    assert last("dust") == last("dust:p=0") == last("dust:specks=1") == last("mosaic:phase=random") == last("grayscale")


def test_what_a_step_draws_does_not_depend_on_its_p() -> None:
    assert drawn_for("scratches:p=0.999") == drawn_for("scratches")


def test_a_shape_is_a_scene_without_a_face() -> None:
    assert drawn_for("mosaic:block=2..30,phase=random", scene=(37, 50)) == drawn_for(
        "mosaic:block=2..30,phase=random", scene=Scene((37, 50))
    )


# --- steps on the photo


def test_only_a_mosaic_with_space_photo_is_laid_on_the_photo() -> None:
    assert degradations.in_photo(parse("mosaic:space=photo"))
    assert degradations.in_photo(parse("mosaic:space=random"))
    assert not any(degradations.in_photo(parse(name)) for name in REGISTRY)


def test_a_block_on_the_photo_is_as_large_as_in_the_crop() -> None:
    scene = Scene((400, 400), scale=2.3)
    assert drawn_for("mosaic:block=10,space=photo", scene=scene) == [
        {"name": "mosaic", "block": 23, "phase_y": 0, "phase_x": 0, "space": "photo"}
    ]
    assert drawn_for("mosaic:block=1,space=photo", scene=Scene((40, 40), scale=0.2))[0]["block"] == 1


def test_steps_that_may_be_on_the_photo_are_settled_together() -> None:
    steps = [parse("mosaic:space=random,block=3"), parse("mosaic:space=random,block=5"), parse("jpeg")]
    for seed in range(20):
        settled = degradations.settle(steps, np.random.default_rng(seed))
        assert [step.options.get("space") for step in settled] in (["crop", "crop", None], ["photo", "photo", None])
    rng = np.random.default_rng(0)
    assert degradations.settle([parse("mosaic:space=photo"), parse("jpeg")], rng) == [parse("mosaic:space=photo"), parse("jpeg")]
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_steps_on_the_photo_come_first() -> None:
    on_photo, gray, either = parse("mosaic:space=photo"), parse("grayscale"), parse("mosaic:space=random")
    degradations.check([on_photo, on_photo, gray])
    degradations.check([on_photo, either, either, gray])
    degradations.check([])
    for bad in ([either, on_photo], [gray, either]):
        with pytest.raises(UsageError, match="put it first"):
            degradations.check(bad)
    with pytest.raises(UsageError) as refused:
        degradations.check([on_photo, gray, on_photo])
    assert str(refused.value) == (
        "--degrade mosaic:block=16,phase=0,space=photo is laid on the photo before it is cropped, and cannot follow grayscale, "
        "which is laid on the crop: put it first"
    )


# --- recipes


def test_every_recipe_that_ships_can_be_used() -> None:
    assert "old-photo" in degradations.shipped_recipes()
    for name in degradations.shipped_recipes():
        texts = degradations.load_recipe(name)
        assert texts == tuple(describe(parse(text)) for text in texts)
        for seed in range(5):
            drawn = degradations.draw([parse(text) for text in texts], np.random.default_rng(seed), (37, 50))
            assert not np.array_equal(degradations.apply(RGB, drawn), RGB)


def test_a_recipe_is_read_in_order_with_every_form_of_a_value(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'description = "two"\n[[degrade]]\nname = "jpeg"\nquality = "20..30"\nsubsampling = "random"\np = 0.5\n'
        '[[degrade]]\nname = "blur"\nsigma = [1, 2.5]\n[[degrade]]\nname = "mosaic"\nblock = 8\n'
    )
    assert degradations.load_recipe(str(tmp_path / "mine.toml")) == (
        "jpeg:quality=20..30,subsampling=random,p=0.5", "blur:sigma=1..2.5", "mosaic:block=8,phase=0",
    )  # fmt: skip


STEP = '[[degrade]]\nname = "jpeg"\n'


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "must hold [[degrade]] tables, may hold a description, and nothing else; received an empty file"),
        ('description = "x"', "must hold [[degrade]] tables, may hold a description, and nothing else; received description"),
        ("degrade = 3", "must hold [[degrade]] tables, may hold a description, and nothing else; received degrade"),
        (f"size = 3\n{STEP}", "must hold [[degrade]] tables, may hold a description, and nothing else; received size, degrade"),
        ("degrade = [3]", '[[degrade]] 1: a step has a name, as in name = "jpeg"'),
        (f"{STEP}[[degrade]]\nblock = 3", '[[degrade]] 2: a step has a name, as in name = "jpeg"'),
        (f"{STEP}blok = 3", "[[degrade]] 1: jpeg has no option blok; it has: quality, subsampling, p"),
        (f"{STEP}quality = 0", "quality takes whole numbers from 1 to 100, or a range such as 20..60; received 0"),
        (f"{STEP}quality = [1, 2, 3]", "or a range such as 20..60; received [1, 2, 3]"),
        (f"{STEP}quality = true", "or a range such as 20..60; received true"),
        (f"{STEP}p = [0, 1]", "[[degrade]] 1: p takes a number from 0 to 1; received 0..1"),
        (f'{STEP}[[degrade]]\nname = "fog"', "[[degrade]] 2: there is no degradation fog; there are: "),
        (f'{STEP}[[degrade]]\nname = "mosaic"\nspace = "photo"', "cannot follow jpeg, which is laid on the crop: put it first"),
        ("x = = 1", "cannot be read: it is no TOML (Invalid value (at line 1, column 5))"),
        ("\udcff", "cannot be read: it is no TOML ("),
        ("x = " + "[" * 3000, "cannot be read: it is no TOML ("),
    ],
)
def test_a_recipe_that_is_none_is_one_line(tmp_path: Path, content: str, line: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as refused:
        degradations.load_recipe(str(path))
    assert line in str(refused.value)
    assert str(refused.value).isprintable()
    assert str(refused.value).startswith(f"the recipe {path}")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("older-photo", "the recipe older-photo does not ship (there are: old-photo); give a file of your own as FILE.toml"),
        ("nowhere/x.toml", "the recipe nowhere/x.toml cannot be read: No such file or directory"),
        ("./nowhere", "the recipe ./nowhere cannot be read: No such file or directory"),
        ("/", "the recipe / cannot be read: Is a directory"),
        ("a\0.toml", r"the recipe 'a\x00.toml' cannot be read: it is no TOML (embedded null byte)"),
    ],
)
def test_a_recipe_that_is_not_there(name: str, line: str) -> None:
    with pytest.raises(UsageError) as refused:
        degradations.load_recipe(name)
    assert str(refused.value) == line


def test_spaces_do_not_matter() -> None:
    assert parse(" mosaic : block = 8..24 , phase=random ") == parse("mosaic:block=8..24,phase=random")

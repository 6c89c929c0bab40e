"""Every degradation, one by one. `python -m tests.test_zoo` draws the golden images anew: look at them before they are kept."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_tools import degradations, image_io, resources
from dataset_tools.degradations import REGISTRY, Scene, parse
from dataset_tools.mosaic_grid import Grid, cell_means, paint
from dataset_tools.zoo.media import screen
from dataset_tools.zoo.mosaic import region_weights
from dataset_tools.zoo.optics import motion_kernel

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "degradations"

# What each golden image shows. A degradation without a line here fails; those with a kind that looks unlike have one each.
TEXTS = {name: name for name in REGISTRY} | {
    "mosaic": "mosaic:block=8..12,phase=random",
    "mosaic-face": "mosaic:block=7,region=face",
    "mosaic-ellipse": "mosaic:block=6..9,region=ellipse,feather=6..10",
    "mosaic-eyes": "mosaic:block=4,region=eyes",
    "grayscale-bt709": "grayscale:standard=bt709",
    "fade-red": "fade:tint=red,cast=0.8",
    "grain-colour": "grain:colour=yes",
    "scratches-upright": "scratches:count=12,direction=upright,tone=dark",
    "halftone-cmyk": "halftone:inks=cmyk",
}
SCENE = Scene((96, 96), box=(15.0, 12.0, 40.0, 40.0), eyes=((23.0, 22.0), (47.0, 19.0)))


@cache
def face() -> np.ndarray:
    """A face that ships, (96, 96, 3) uint8; SCENE says where it is."""
    rgb = image_io.read(resources.path("samples") / "female-30.jpg").rgb8[30:606, 140:716]
    small = np.asarray(cv2.resize(rgb, (96, 96), interpolation=cv2.INTER_AREA))
    small.setflags(write=False)
    return small


def degraded(text: str, rgb: np.ndarray | None = None, seed: int = 5) -> np.ndarray:
    rgb = face() if rgb is None else rgb
    height, width = rgb.shape[:2]
    middle = Scene((height, width), box=(width / 4, height / 4, width / 2, height / 2))
    drawn = degradations.draw([parse(text)], np.random.default_rng(seed), SCENE if (height, width) == SCENE.shape else middle)
    return degradations.apply(rgb, drawn)


def flat(level: int, side: int = 128) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


def far(a: np.ndarray, b: np.ndarray) -> float:
    """The mean absolute difference in grey levels."""
    return float(np.abs(a.astype(int) - b).mean())


# --- all of them


@pytest.mark.parametrize("name", TEXTS)
def test_looks_as_it_did(name: str) -> None:
    """Another processor may round a few pixels differently; nothing more."""
    golden, now = image_io.read(GOLDEN / f"{name}.png").rgb8, degraded(TEXTS[name])
    apart = np.abs(now.astype(int) - golden)
    assert apart.mean() < 0.02
    assert (apart > 1).mean() < 0.001


def test_no_golden_image_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*")} == set(TEXTS)


@pytest.mark.parametrize("name", TEXTS)
class TestRegistry:
    def test_is_described(self, name: str) -> None:
        entry = REGISTRY[parse(TEXTS[name]).name]
        assert entry.summary.strip()
        assert all(option.help.strip() and option.allowed.strip() for option in entry.options.values())
        assert all(
            option.parse(degradations.options.write(option.default)) == option.default for option in entry.options.values()
        )

    def test_draws_by_its_seed_alone(self, name: str) -> None:
        def records(seed: int) -> str:
            return json.dumps(degradations.draw([parse(TEXTS[name])], np.random.default_rng(seed), SCENE))

        assert records(5) == records(5)
        assert len(records(5)) < 250  # a record is small: a seed rather than what comes of it
        if name not in ("grayscale", "grayscale-bt709", "mosaic-face", "mosaic-eyes"):  # nothing of these is drawn
            assert len({records(seed) for seed in range(20)}) > 5

    def test_a_record_that_went_through_json_gives_the_same_pixels(self, name: str) -> None:
        drawn = degradations.draw([parse(TEXTS[name])], np.random.default_rng(5), SCENE)
        again = json.loads(json.dumps(drawn))
        assert again == drawn
        assert np.array_equal(degradations.apply(face(), again), degradations.apply(face(), drawn))

    def test_what_is_drawn_is_what_was_asked_for(self, name: str) -> None:
        step = parse(TEXTS[name])
        for seed in range(30):
            (record,) = degradations.draw([step], np.random.default_rng(seed), SCENE)
            for key in record.keys() & step.options.keys():
                asked = step.options[key]
                if isinstance(asked, tuple):
                    assert asked[0] <= record[key] <= asked[1]
                    assert type(record[key]) is type(asked[0])
                else:
                    assert record[key] == asked or (asked == "random" and record[key] in REGISTRY[step.name].options[key].choices)

    @pytest.mark.parametrize("shape", [(16, 16), (37, 50), (101, 33), (1, 1), (2, 70)])
    def test_any_size_purely(self, name: str, shape: tuple[int, int]) -> None:
        rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
        before = rgb.copy()
        rgb.setflags(write=False)
        first, second = degraded(TEXTS[name], rgb), degraded(TEXTS[name], rgb)
        assert np.array_equal(rgb, before)
        assert np.array_equal(first, second)
        assert not np.shares_memory(first, rgb)
        assert (first.shape, first.dtype) == (rgb.shape, np.uint8)
        if min(shape) > 16:
            assert not np.array_equal(first, rgb)

    def test_a_part_of_a_larger_array_will_do(self, name: str) -> None:
        wide = np.zeros((96, 200, 3), np.uint8)
        wide[:, 50:146] = face()
        assert np.array_equal(degraded(TEXTS[name], wide[:, 50:146]), degraded(TEXTS[name]))


@pytest.mark.parametrize(
    "text",
    ["blur:sigma=0", "motion:length=0", "downscale:factor=1", "noise:sigma=0", "grain:strength=0", "scratches:count=0",
     "dust:specks=0,hairs=0", "folds:count=0", "folds:strength=0", "stains:count=0", "stains:strength=0",
     "fade:contrast=1,lift=0,saturation=1,cast=0", "mosaic:block=1"],
)  # fmt: skip
def test_nothing_asked_for_is_nothing_done(text: str) -> None:
    result = degraded(text)
    assert np.array_equal(result, face())
    assert not np.shares_memory(result, face())


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("mosaic:block=4", "mosaic:block=12"),
        ("blur:sigma=1", "blur:sigma=3"), ("motion:length=4", "motion:length=12"), ("downscale:factor=2", "downscale:factor=5"),
        ("noise:sigma=5", "noise:sigma=20"), ("poisson:photons=200", "poisson:photons=20"),
        ("grain:strength=5", "grain:strength=20"), ("jpeg:quality=80", "jpeg:quality=40"), ("jpeg:quality=40", "jpeg:quality=10"),
        ("jpeg:quality=95,subsampling=4:4:4", "jpeg:quality=95,subsampling=4:2:0"),
        ("scratches:count=3", "scratches:count=30"), ("dust:specks=10", "dust:specks=300"),
        ("stains:strength=0.2", "stains:strength=0.8"), ("fade:contrast=0.9", "fade:contrast=0.4"),
    ],
)  # fmt: skip
def test_more_of_it_is_further_from_the_original(less: str, more: str) -> None:
    near, away = (np.mean([far(degraded(text, seed=seed), face()) for seed in range(4)]) for text in (less, more))
    assert near < away


# --- mosaic


@pytest.mark.parametrize("region", ["face", "ellipse", "eyes"])
def test_a_region_changes_nothing_else(region: str) -> None:
    (record,) = degradations.draw([parse(f"mosaic:block=5,region={region}")], np.random.default_rng(0), SCENE)
    result, weights = degradations.apply(face(), [record]), region_weights(record, (96, 96))
    grid = Grid(5)
    assert set(np.unique(weights)) == {0, 255}
    assert np.array_equal(result[weights == 0], face()[weights == 0])
    assert np.array_equal(result[weights == 255], paint(cell_means(face(), grid), grid, (96, 96))[weights == 255])


def test_the_regions_lie_where_the_face_is() -> None:
    def inside(region: str) -> np.ndarray:
        (record,) = degradations.draw([parse(f"mosaic:region={region}")], np.random.default_rng(0), SCENE)
        return region_weights(record, (96, 96)) == 255

    box, oval, eyes = inside("face"), inside("ellipse"), inside("eyes")
    assert box.sum() == box[12:52, 15:55].sum() == 40 * 40
    assert [oval[32, 35], oval[6, 33], oval[12, 15]] == [True, True, False]  # the middle, the forehead above the box, a corner
    assert [eyes[22, 23], eyes[19, 47], eyes[36, 36], eyes[6, 34]] == [True, True, False, False]
    assert eyes.sum() < 0.6 * box.sum()
    assert eyes[:, :25].any(axis=1).argmax() > eyes[:, 45:].any(axis=1).argmax()  # tilted as the eyes are


def test_a_region_without_a_face_is_the_whole_and_says_so() -> None:
    for region in ("face", "ellipse", "eyes"):
        drawn = degradations.draw([parse(f"mosaic:region={region}")], np.random.default_rng(0), (96, 96))
        assert drawn == [{"name": "mosaic", "block": 16, "phase_y": 0, "phase_x": 0, "region": "whole"}]
        assert np.array_equal(degradations.apply(face(), drawn), degraded("mosaic"))


@pytest.mark.parametrize("scene", [Scene((96, 96), box=SCENE.box), Scene((96, 96), eyes=SCENE.eyes)])
def test_a_box_or_eyes_alone_give_every_region(scene: Scene) -> None:
    for region in ("face", "ellipse", "eyes"):
        (record,) = degradations.draw([parse(f"mosaic:region={region}")], np.random.default_rng(0), scene)
        assert np.abs(np.array(record["at"][:2]) - (35, 27)).max() < 12


def test_the_order_of_the_eyes_does_not_matter() -> None:
    step, other = parse("mosaic:region=eyes"), Scene(SCENE.shape, SCENE.box, (SCENE.eyes[1], SCENE.eyes[0]))  # type: ignore[index]
    first, second = (degradations.draw([step], np.random.default_rng(0), scene) for scene in (SCENE, other))
    assert first == second


def test_feather_softens_the_edge_of_a_region() -> None:
    (record,) = degradations.draw([parse("mosaic:region=face,feather=8")], np.random.default_rng(0), SCENE)
    row = region_weights(record, (96, 96))[32].astype(int)  # type: ignore[index]
    assert row[10:20].tolist() == [0, 16, 48, 80, 112, 143, 175, 207, 239, 255]  # the box begins between 14 and 15


def test_a_region_on_the_photo_is_in_its_pixels() -> None:
    (record,) = degradations.draw(
        [parse("mosaic:block=4,space=photo,region=face,feather=3")], np.random.default_rng(0),
        Scene((300, 300), box=(100.0, 80.0, 120.0, 120.0), scale=3.0),
    )  # fmt: skip
    assert record == {
        "name": "mosaic", "block": 12, "phase_y": 0, "phase_x": 0, "space": "photo", "region": "face",
        "at": [159.5, 139.5, 60.0, 60.0, 0.0], "feather": 9.0,
    }  # fmt: skip


# --- tone


@pytest.mark.parametrize(("standard", "levels"), [("bt601", [76, 150, 29]), ("bt709", [54, 182, 18])])
def test_pure_colours_get_the_weights_of_the_standard(standard: str, levels: list[int]) -> None:
    pure = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    gray = degraded(f"grayscale:standard={standard}", pure)
    assert gray[0].tolist() == [[level] * 3 for level in levels]


def test_sepia_is_brown_between_black_and_white() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    red, green, blue = np.moveaxis(degraded("sepia:strength=0.8", ramp)[0].astype(int), 1, 0)
    assert (red[0], green[0], blue[0], red[255], green[255], blue[255]) == (0, 0, 0, 255, 255, 255)
    assert (red[20:236] > green[20:236]).all()
    assert (green[20:236] > blue[20:236]).all()
    assert np.array_equal(degraded("sepia:strength=0", ramp), ramp)


def test_fade_lifts_black_lowers_contrast_and_yellows_white() -> None:
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    black, white = degraded("fade:contrast=0.6,lift=0.1,tint=yellow,cast=1", ends)[0].astype(int)
    assert black.min() > 50
    assert (white - black).max() < 0.6 * 255
    assert white[0] > white[1] > white[2]
    assert degraded("fade:saturation=0,cast=0").std(axis=2).max() == 0


# --- optics


def test_a_motion_kernel_is_a_level_or_an_upright_line() -> None:
    level, upright = motion_kernel(5, 0), motion_kernel(5, 90)
    assert level.sum() == upright.sum() == 1 << 16
    assert np.array_equal(level, upright.T) or np.abs(level - upright.T).max() <= 2
    assert np.count_nonzero(level.sum(axis=1)) == 1
    assert np.array_equal(np.nonzero(level.sum(axis=0))[0] - level.shape[1] // 2, np.arange(-3, 4))


def test_motion_leaves_stripes_along_its_path() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 200
    assert np.array_equal(degraded("motion:length=9,angle=0", stripes), stripes)
    assert degraded("motion:length=20,angle=90", stripes)[30:34].std() < 10


@pytest.mark.parametrize(
    "text", ["blur:sigma=4", "motion:length=11,angle=30", "downscale:factor=3.3", "jpeg", "sepia:strength=0"]
)
def test_what_is_flat_stays_flat(text: str) -> None:
    assert np.abs(degraded(text, flat(90)).astype(int) - 90).max() <= 1


def test_downscale_by_nearest_keeps_only_levels_that_were_there() -> None:
    result = degraded("downscale:factor=4,down=nearest,up=nearest")
    assert set(np.unique(result)) <= set(np.unique(face()))
    assert len(np.unique(result.reshape(-1, 3), axis=0)) <= 24 * 24


# --- noise


def test_gaussian_noise_has_the_sigma_that_was_asked_for() -> None:
    noisy = degraded("noise:sigma=12", flat(128)).astype(float)
    assert abs(noisy.std() - 12) < 0.3
    assert abs(noisy.mean() - 128) < 0.3
    same = degraded("noise:sigma=12,colour=no", flat(128))
    assert np.array_equal(same[:, :, 0], same[:, :, 2])
    assert abs(np.corrcoef(noisy[:, :, 0].ravel(), noisy[:, :, 1].ravel())[0, 1]) < 0.05


def test_the_variance_of_poisson_noise_grows_with_the_mean() -> None:
    variances = [degraded("poisson:photons=60", flat(level)).astype(float).var() for level in (20, 60, 120, 180)]
    for level, variance in zip((20, 60, 120, 180), variances, strict=True):
        assert variance == pytest.approx(level * 255 / 60, rel=0.08)  # in grey levels: mean times levels a photon


def test_grain_is_strongest_in_the_middle_and_comes_in_clumps() -> None:
    def grain(level: int, size: float) -> np.ndarray:
        return degraded(f"grain:strength=12,size={size}", flat(level, 256)).astype(float)[:, :, 0] - level

    middle = grain(128, 1.5)
    assert abs(middle.std() - 12) < 0.8
    assert grain(20, 1.5).std() < 0.7 * middle.std()
    assert np.array_equal(grain(0, 1.5), np.zeros((256, 256)))

    def neighbours(values: np.ndarray) -> float:
        return float(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1])

    assert abs(neighbours(grain(128, 0.5))) < 0.05 < neighbours(middle) < neighbours(grain(128, 4))


# --- media


def test_a_screen_has_every_threshold_equally_often() -> None:
    values = screen((200, 200), 4.7, 33.0)
    shares, _ = np.histogram(values, bins=10, range=(0, 1))
    assert np.abs(shares / values.size - 0.1).max() < 0.02


@pytest.mark.parametrize("inks", ["black", "cmyk"])
@pytest.mark.parametrize("level", [30, 90, 128, 200, 240])
def test_halftone_keeps_the_mean(inks: str, level: int) -> None:
    mean = degraded(f"halftone:cell=6,inks={inks}", flat(level)).mean()
    assert abs(mean - level) < (2 if inks == "black" else 8)


def test_halftone_keeps_black_and_white() -> None:
    for inks in ("black", "cmyk"):
        assert np.array_equal(degraded(f"halftone:inks={inks}", flat(255)), flat(255))
        assert degraded(f"halftone:inks={inks}", flat(0)).max() <= 60
    assert len({tuple(pixel) for pixel in degraded("halftone").reshape(-1, 3) if len(set(pixel)) > 1}) == 0


# --- damage


@pytest.mark.parametrize("name", ["scratches", "dust", "folds", "stains"])
def test_damage_spares_most_of_the_picture_and_grows_with_it(name: str) -> None:
    shares = []
    for side in (128, 256):
        result = np.stack([degraded(name, flat(90, side), seed=seed) for seed in range(6)]).astype(int)
        shares.append((np.abs(result - 90).max(axis=3) > 12).mean())
    assert 0 < shares[1] < 0.6
    assert 0.4 < shares[0] / shares[1] < 2.5  # the same share of a picture of another size


def test_light_damage_is_light_and_dark_damage_dark() -> None:
    for name in ("scratches:count=20", "dust"):
        assert degraded(f"{name},tone=light" if ":" in name else f"{name}:tone=light", flat(120)).min() == 120
        assert degraded(f"{name},tone=dark" if ":" in name else f"{name}:tone=dark", flat(120)).max() == 120


def test_a_stain_takes_more_blue_than_red() -> None:
    red, green, blue = (255 - degraded("stains:count=3", flat(255)).astype(int)).reshape(-1, 3).sum(axis=0)
    assert blue > green > red > 0


# --- the document


@pytest.mark.parametrize("name", REGISTRY)
def test_the_document_has_every_degradation_with_its_options(name: str) -> None:
    text = (ROOT / "docs" / "degradations.md").read_text("utf-8")
    assert f"\n### {name}\n" in text
    section = text.partition(f"\n### {name}\n")[2].partition("\n#")[0]
    assert REGISTRY[name].summary in section.replace(section[1], section[1].lower(), 1)
    assert f"--degrade {name}" in section
    missing = [row for row in option_rows(name) if row not in section]
    assert missing == []


def test_every_example_of_the_document_can_be_used() -> None:
    text = (ROOT / "docs" / "degradations.md").read_text("utf-8")
    examples = [text.split("`")[0].strip("'\"") for text in text.replace("--degrade ", "\n--degrade ").split("--degrade ")[1:]]
    steps = [parse(example.split()[0]) for example in examples if example.split()]
    assert {step.name for step in steps} == set(REGISTRY)


def option_rows(name: str) -> list[str]:
    """The rows of a degradation's table in the document; `p`, which all share, has one of its own."""
    return [
        f"| `{key}` | `{degradations.options.write(option.default)}` | {option.allowed} | {option.help} |"
        for key, option in REGISTRY[name].options.items()
        if key != "p"
    ]


if __name__ == "__main__":
    for golden, text in TEXTS.items():
        image_io.write(GOLDEN / f"{golden}.png", degraded(text), "PNG")

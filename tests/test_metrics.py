from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from dataset_tools import degradations
from dataset_tools.errors import UsageError
from dataset_tools.metrics import BASELINES, METRICS, baselines, ciede2000, measure, srgb_to_lab
from dataset_tools.mosaic_grid import Grid, prior


def noise(seed: int, height: int = 24, width: int = 31) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def flat(*rgb: int) -> np.ndarray:
    return np.full((16, 16, 3), rgb, np.uint8)


# What two identical images get: a new metric without a line here fails.
IDENTICAL = {"psnr": 100.0, "ssim": 1.0, "l1": 0.0, "delta_e": 0.0, "colourfulness": None}


def test_every_metric_says_what_identical_images_get() -> None:
    assert set(IDENTICAL) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
class TestRegistry:
    def test_is_described(self, name: str) -> None:
        metric = METRICS[name]
        assert metric.name == name
        assert metric.title.strip()
        assert (metric.function.__doc__ or "").strip()
        assert metric.better in {"higher", "lower", "none"}
        assert (metric.unit == "") == (name in {"ssim", "colourfulness"})

    def test_identical_images(self, name: str) -> None:
        image = noise(1)
        value = METRICS[name].function(image, image.copy())
        if IDENTICAL[name] is not None:
            assert value == pytest.approx(IDENTICAL[name], abs=1e-12)
        assert type(value) is float

    def test_more_damage_is_worse(self, name: str) -> None:
        original = noise(2, 64, 64)
        values = [METRICS[name].function(cv2.GaussianBlur(original, (0, 0), sigma), original) for sigma in (0.4, 0.8, 1.6)]
        if METRICS[name].better != "none":
            assert values == sorted(values, reverse=METRICS[name].better == "higher")

    def test_images_are_left_alone(self, name: str) -> None:
        a, b = noise(3), noise(4)
        a.setflags(write=False)
        b.setflags(write=False)
        assert METRICS[name].function(a, b) == METRICS[name].function(a, b)


def test_psnr_of_known_errors() -> None:
    original = flat(100, 100, 100)
    assert measure(flat(110, 110, 110), original, ["psnr"])["psnr"] == pytest.approx(28.1308036, abs=1e-6)  # MSE 100
    assert measure(flat(0, 0, 0), flat(255, 255, 255), ["psnr"])["psnr"] == pytest.approx(0.0)


def test_psnr_is_at_most_100() -> None:
    original = np.zeros((4000, 1000, 3), np.uint8)
    almost = original.copy()
    almost[0, 0, 0] = 1  # MSE 1 / 12e6: 118.9 dB if it were not capped
    assert METRICS["psnr"].function(almost, original) == 100.0


# tf.image.ssim(restored, original, 255) of TensorFlow 2.21, which computes in float32; (seed, height, width, noise)
TF_SSIM = {
    (0, 11, 11, 20): 0.94056916,
    (1, 32, 48, 5): 0.99108410,
    (2, 64, 64, 80): 0.52696675,
    (3, 64, 64, 40): 0.75595856,
    (4, 17, 90, 2): 0.99779624,
    (5, 128, 100, 15): 0.92875075,
}


@pytest.mark.parametrize(("case", "golden"), TF_SSIM.items())
def test_ssim_equals_tensorflow(case: tuple[int, int, int, int], golden: float) -> None:
    seed, height, width, amount = case
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    original = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].astype(np.uint8)
    restored = np.clip(original + rng.integers(-amount, amount + 1, original.shape), 0, 255).astype(np.uint8)
    assert measure(restored, original, ["ssim"])["ssim"] == pytest.approx(golden, abs=1e-5)


def test_ssim_of_flat_images_is_the_luminance_term() -> None:
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert measure(flat(100, 100, 100), flat(150, 150, 150), ["ssim"])["ssim"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10)])
def test_ssim_of_a_small_image_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(UsageError) as refused:
        measure(noise(0, *shape), noise(1, *shape))
    assert str(refused.value) == f"SSIM needs images of at least 11x11 pixels; received {shape[1]}x{shape[0]}"


def test_l1_is_in_grey_levels() -> None:
    restored = flat(10, 20, 30)
    assert measure(restored, flat(13, 20, 24), ["l1"])["l1"] == pytest.approx(3.0)
    assert measure(flat(0, 0, 0), flat(255, 255, 255), ["l1"])["l1"] == 255.0


# Sharma, Wu and Dalal 2005, table 1: Lab, Lab, CIEDE2000
SHARMA = [
    ((50.0000, 2.6772, -79.7751), (50.0000, 0.0000, -82.7485), 2.0425),
    ((50.0000, -1.3802, -84.2814), (50.0000, 0.0000, -82.7485), 1.0000),
    ((50.0000, 0.0000, 0.0000), (50.0000, -1.0000, 2.0000), 2.3669),
    ((50.0000, 2.4900, -0.0010), (50.0000, -2.4900, 0.0009), 7.1792),
    ((50.0000, 2.4900, -0.0010), (50.0000, -2.4900, 0.0010), 7.1792),
    ((50.0000, 2.4900, -0.0010), (50.0000, -2.4900, 0.0011), 7.2195),
    ((50.0000, 2.4900, -0.0010), (50.0000, -2.4900, 0.0012), 7.2195),
    ((50.0000, -0.0010, 2.4900), (50.0000, 0.0009, -2.4900), 4.8045),
    ((50.0000, -0.0010, 2.4900), (50.0000, 0.0011, -2.4900), 4.7461),
    ((50.0000, 2.5000, 0.0000), (50.0000, 0.0000, -2.5000), 4.3065),
    ((50.0000, 2.5000, 0.0000), (73.0000, 25.0000, -18.0000), 27.1492),
    ((50.0000, 2.5000, 0.0000), (61.0000, -5.0000, 29.0000), 22.8977),
    ((50.0000, 2.5000, 0.0000), (56.0000, -27.0000, -3.0000), 31.9030),
    ((50.0000, 2.5000, 0.0000), (58.0000, 24.0000, 15.0000), 19.4535),
    ((50.0000, 2.5000, 0.0000), (50.0000, 3.1736, 0.5854), 1.0000),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((63.0109, -31.0961, -5.8663), (62.8187, -29.7946, -4.0864), 1.2630),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


def test_ciede2000_equals_the_published_pairs() -> None:
    first, second, expected = (np.array(column) for column in zip(*SHARMA, strict=True))
    assert np.allclose(ciede2000(first, second), expected, rtol=0, atol=5e-5)
    assert np.allclose(ciede2000(second, first), expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((119, 119, 119), (50.0344, 0.0, 0.0)),
        ((255, 0, 0), (53.2408, 80.0925, 67.2032)),
        ((0, 255, 0), (87.7347, -86.1827, 83.1793)),
        ((0, 0, 255), (32.2970, 79.1875, -107.8602)),
        ((1, 1, 1), (0.2742, 0.0, 0.0)),
    ],
)
def test_srgb_to_lab_of_known_colours(rgb: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    assert np.allclose(srgb_to_lab(np.array([[rgb]], np.uint8))[0, 0], lab, rtol=0, atol=2e-3)


def test_delta_e_is_the_mean_over_pixels() -> None:
    restored, original = flat(119, 119, 119), flat(119, 119, 119)
    restored[:8] = (120, 120, 120)
    one = ciede2000(srgb_to_lab(restored[:1]), srgb_to_lab(original[:1])).mean()
    assert measure(restored, original, ["delta_e"])["delta_e"] == pytest.approx(one / 2)


def test_colourfulness_by_the_formula() -> None:
    def value(image: np.ndarray) -> float:
        return measure(image, noise(0, *image.shape[:2]), ["colourfulness"])["colourfulness"]

    assert value(flat(90, 90, 90)) == 0.0
    assert value(flat(200, 100, 50)) == pytest.approx(0.3 * math.hypot(100, 100))  # no spread, means alone
    halves = flat(200, 100, 50)
    halves[8:] = (100, 200, 50)  # rg = ±100, yb = 100
    assert value(halves) == pytest.approx(100 + 0.3 * 100)


def test_measure_gives_the_names_in_order() -> None:
    assert list(measure(noise(0), noise(1))) == ["psnr", "ssim", "l1"]
    assert list(measure(noise(0), noise(1), ["l1", "psnr"])) == ["l1", "psnr"]


def test_measure_refuses_what_cannot_be_compared() -> None:
    with pytest.raises(UsageError) as refused:
        measure(noise(0), noise(1), ["psnr", "lpips"])
    assert str(refused.value) == "there is no metric 'lpips'; there are: psnr, ssim, l1, delta_e, colourfulness"
    with pytest.raises(ValueError, match=r"received \(24, 31, 3\) and \(24, 30, 3\)"):
        measure(noise(0), noise(0, 24, 30))
    with pytest.raises(ValueError, match="received float32 and uint8"):
        measure(noise(0).astype(np.float32), noise(1))


# --- baselines

MOSAIC_8 = {"name": "mosaic", "block": 8, "phase_y": 3, "phase_x": 0}
MOSAIC_5 = {"name": "mosaic", "block": 5, "phase_y": 0, "phase_x": 4}
GRAY = {"name": "grayscale"}


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_described_and_keeps_the_size(name: str) -> None:
    baseline, a = BASELINES[name], noise(7)
    assert baseline.name == name
    assert baseline.title.strip()
    assert baseline.applies([MOSAIC_8])
    result = baseline.function(a, [MOSAIC_8])
    assert (result.shape, result.dtype) == (a.shape, np.uint8)


@pytest.mark.parametrize("drawn", [[], [GRAY]])
def test_without_a_mosaic_only_the_input_applies(drawn: list[dict[str, object]]) -> None:
    a = noise(7)
    assert list(baselines(a, drawn)) == ["input"]
    assert np.array_equal(baselines(a, drawn)["input"], a)


@pytest.mark.parametrize(
    ("drawn", "grid"),
    [([MOSAIC_8], Grid(8, 3, 0)), ([MOSAIC_8, MOSAIC_5], Grid(5, 0, 4)), ([MOSAIC_8, GRAY], Grid(8, 3, 0))],
)
def test_bicubic_is_of_the_last_mosaic(drawn: list[dict[str, object]], grid: Grid) -> None:
    a = degradations.apply(noise(7), drawn)
    result = baselines(a, drawn)
    assert list(result) == ["input", "bicubic"]
    assert np.array_equal(result["bicubic"], prior(a, grid))


def test_bicubic_beats_the_mosaic_of_a_smooth_image(smooth: Callable[[], np.ndarray]) -> None:
    original, drawn = smooth(), [{"name": "mosaic", "block": 16, "phase_y": 0, "phase_x": 0}]
    found = {name: measure(rgb, original) for name, rgb in baselines(degradations.apply(original, drawn), drawn).items()}
    assert found["bicubic"]["psnr"] > found["input"]["psnr"] + 3
    assert found["bicubic"]["ssim"] > found["input"]["ssim"]


@pytest.fixture
def smooth() -> Callable[[], np.ndarray]:
    coarse = np.random.default_rng(9).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return lambda: cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC)

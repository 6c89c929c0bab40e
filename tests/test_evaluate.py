"""Figures of a model on a split, beside the baselines, image by image."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_tools import build, image_io, metrics, pairs, resources, staging
from dataset_tools.dataset import open_dataset
from dataset_tools.errors import DatasetError, UsageError
from pipelines import evaluate_model
from pipelines.figures import (
    KNOWN,
    _caption,
    csv_text,
    evenly,
    figures_table,
    flatten,
    intervals,
    intervals_lines,
    means,
    student,
)
from pipelines.identity import near_others
from pipelines.restore import Shown
from tests.conftest import textured
from tests.test_pipelines_engines import write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Inverts, at 16 × 16."""
    return write_model(tmp_path / "m.onnx", operator="Neg")


def make(write_photos, tmp_path: Path, *degrade: str) -> Path:
    archive = write_photos({f"{seed}.png": seed for seed in range(12)}, "photos", height=48, width=48)
    recipe = staging.Recipe(size=16, crop="center", degrade=degrade, split="34/33/33")
    build.build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    return tmp_path / "ds"


def test_every_pair_is_measured_beside_every_baseline(write_photos, model: Path, tmp_path: Path) -> None:
    dataset = make(write_photos, tmp_path, "mosaic:block=4")
    seen: list[tuple[int, int]] = []
    table, sheet = tmp_path / "figures.csv", tmp_path / "sheet.png"
    result = evaluate_model(model, dataset, csv=table, sheet=sheet, progress=lambda *step: seen.append(step))
    rows = open_dataset(dataset).pairs("test")
    expected = {}
    for row in rows:
        a, b = pairs.split(image_io.read(row.path).rgb8)
        images = {"restored": 255 - a, **metrics.baselines(a, row.degradations, ("lanczos",))}
        expected[f"test/{row.path.name}"] = {name: metrics.measure(image, b) for name, image in images.items()}
    assert result.images == len(rows) == seen[-1][0] == seen[-1][1]
    assert list(result.figures) == ["restored", "lanczos", "bicubic", "input"]
    for name, figures in result.figures.items():
        for metric, value in figures.items():
            assert value == pytest.approx(np.mean([each[name][metric] for each in expected.values()]))
    with open(table, encoding="utf-8") as handle:
        read = {row["pair"]: row for row in csv.DictReader(handle)}
    assert read.keys() == expected.keys()
    for pair, figures in expected.items():
        assert float(read[pair]["restored_psnr"]) == pytest.approx(figures["restored"]["psnr"])
        assert float(read[pair]["bicubic_l1"]) == pytest.approx(figures["bicubic"]["l1"])
    assert image_io.read(sheet).rgb8.shape[1] > 4 * 192


def test_colour_is_measured_where_colour_was_taken_away(write_photos, tmp_path: Path) -> None:
    result = evaluate_model(write_model(tmp_path / "same.onnx"), make(write_photos, tmp_path, "grayscale"), split="val")
    assert list(result.figures) == ["restored", "input", "original"]
    assert list(result.figures["restored"]) == ["psnr", "ssim", "l1", "delta_e", "colourfulness"]
    assert result.figures["restored"] == result.figures["input"], "the model restores nothing"
    assert result.figures["restored"]["colourfulness"] == 0 < result.figures["original"]["colourfulness"]
    assert list(result.figures["original"]) == ["colourfulness"]
    assert result.figures["restored"]["delta_e"] > 5
    assert len({len(line) for line in result.table().splitlines()[1:5]}) == 1
    (judged,) = result.judged
    assert judged.means["restored"] == judged.means["input"] > 1
    assert f"to the originals', {result.images} images: restored " in result.table()


def test_how_far_it_is_from_the_baselines_is_told_in_pairs_with_intervals() -> None:
    away = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    measured = [{"restored": {"psnr": 20 + each, "colourfulness": 3.0}, "input": {"psnr": 20.0, "colourfulness": 0.0}, KNOWN: {},
                 "original": {}} for each in away]  # fmt: skip
    reach = 2.776 * away.std(ddof=1) / 5**0.5  # Student's t of four degrees of freedom
    told = intervals(measured)
    assert told == {
        "input": {"psnr": {"mean": 3.0, "low": pytest.approx(3 - reach, abs=0.01), "high": pytest.approx(3 + reach, abs=0.01)}}
    }
    assert intervals_lines(told) == ["beside input: PSNR +3.000 (+1.042 to +4.958)"]
    assert intervals(measured[:4]) == {"input": {"psnr": {"mean": 2.5}}}  # too few to tell
    assert intervals_lines(intervals(measured[:1])) == ["beside input: PSNR +1.000"]
    assert intervals(measured, ["", "", "", "", ""]) == intervals(measured, ["a", "", "c", "d", "e"]) == told


def test_the_distribution_of_few_is_wide() -> None:
    """Of printed tables of Student's t."""
    for freedom, quantile in ((4, 2.776), (5, 2.571), (9, 2.262), (19, 2.093), (30, 2.042), (1000, 1.962)):
        assert student(freedom) == pytest.approx(quantile, abs=0.01)


def test_what_a_group_has_in_common_counts_once() -> None:
    """Three copies of each of five images tell what the five do; each image alone would make the interval too narrow."""
    away = [1.0, 2.0, 3.0, 4.0, 5.0]
    once = [{"restored": {"psnr": 20 + each}, "input": {"psnr": 20.0}, "original": {}} for each in away]
    three, names = [each for each in once for _ in range(3)], [name for name in "abcde" for _ in range(3)]
    assert intervals(three, names)["input"]["psnr"] == pytest.approx(intervals(once)["input"]["psnr"])
    assert intervals(three)["input"]["psnr"]["low"] > intervals(once)["input"]["psnr"]["low"] + 0.5
    assert intervals(three, ["a"] * 15) == {"input": {"psnr": {"mean": 3.0}}}


def test_a_model_of_mosaics_is_told_the_grid_too(write_photos, tmp_path: Path) -> None:
    """One that makes the smooth image between the cells is about the bicubic baseline then."""
    dataset = make(write_photos, tmp_path, "mosaic:block=4,phase=random")
    model = write_model(tmp_path / "p.onnx", cell=8)
    table = tmp_path / "figures.csv"
    result = evaluate_model(model, dataset, csv=table)
    assert list(result.figures) == ["restored", "grid known", "lanczos", "bicubic", "input"]
    assert result.figures["grid known"] == pytest.approx(result.figures["bicubic"], rel=0.01)
    assert result.figures["grid known"]["psnr"] > result.figures["input"]["psnr"] + 1
    assert "grid_known_psnr" in table.read_text().splitlines()[0]
    assert set(result.summary()["beside"]) == {"lanczos", "bicubic", "input"}
    assert "in pairs, without intervals, of fewer than 5 groups:\n  beside lanczos: PSNR " in result.table()
    many = replace(result, beside={"input": {"psnr": {"mean": 1.5, "low": 1.25, "high": 1.75}}})
    told = "in pairs, with 95 % intervals (a group of look-alikes counts once):\n  beside input: PSNR +1.500 (+1.250 to +1.750)"
    assert told in many.table()


def test_the_table_is_made_for_a_terminal() -> None:
    figures = {"restored": {"psnr": 22.151, "ssim": 0.6584, "l1": 9.0}, "input": {"psnr": 9.5, "ssim": 0.5, "l1": 12.25}}
    assert figures_table(figures) == [
        "          PSNR (dB)   SSIM  L1 (grey levels)",
        "restored     22.151  0.658             9.000",
        "input         9.500  0.500            12.250",
    ]


def test_a_classic_folder_is_read_in_either_direction(model: Path, tmp_path: Path) -> None:
    a, b = textured(1, 16, 16), 255 - textured(1, 16, 16)
    image_io.write(tmp_path / "classic" / "test" / "1.png", pairs.stitch(a, b), "PNG")
    for direction in ("AtoB", "BtoA"):
        result = evaluate_model(model, tmp_path / "classic", direction=direction)
        assert result.figures["restored"] == {"psnr": 100.0, "ssim": pytest.approx(1.0), "l1": 0.0}
        assert result.rows[0]["source"] == "test/1.png"
    assert result.summary()["images"] == 1
    assert result.table().startswith(f"1 image of the split test of {tmp_path}/classic, restored by m\n")


def test_what_cannot_be_evaluated_is_one_line(model: Path, tmp_path: Path) -> None:
    classic = tmp_path / "classic"
    image_io.write(classic / "train" / "1.png", pairs.stitch(textured(1, 24, 24), textured(2, 24, 24)), "PNG")
    (classic / "val").mkdir()
    (classic / "val" / "cut.png").write_bytes((classic / "train" / "1.png").read_bytes()[:-20])
    for options, error, line in [
        ({}, DatasetError, r"the split test of .*classic holds no pairs: pairs are in train \(1\), val \(1\)"),
        ({"split": "train"}, DatasetError, "holds images of 24x24, the model restores 16x16: build a dataset with --size 16"),
        ({"split": "val"}, DatasetError, "the dataset is damaged: .*cut.png"),
        ({"metrics": ("psnr", "lpips")}, UsageError, "there is no metric lpips; there are: psnr, ssim"),
    ]:
        with pytest.raises(error, match=line) as caught:
            evaluate_model(model, classic, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"there is no model .*none\.onnx: give a run folder"):
        evaluate_model(tmp_path / "none.onnx", classic)
    with pytest.raises(DatasetError):
        evaluate_model(model, tmp_path / "nowhere")


def test_means_flatten_and_csv() -> None:
    rows = [{"input": {"psnr": 10.0}, "restored": {"psnr": 20.0}},
            {"restored": {"psnr": 30.0}, "bicubic": {"psnr": 5.0}, "input": {"psnr": 12.0}}]  # fmt: skip
    assert means(rows) == {"restored": {"psnr": 25.0}, "input": {"psnr": 11.0}}  # bicubic alone would be of other images
    assert means([]) == {}
    assert flatten(rows[0]) == {"input_psnr": 10.0, "restored_psnr": 20.0}
    assert flatten(None) == {}
    text = csv_text([{"a": 1, "b": 'x,"y"'}, {"c": 2}], ("a",))
    assert text == 'a,b,c\n1,"x,""y""",\n,,2\n'


def test_a_choice_is_spread_evenly() -> None:
    assert evenly(3, 5) == {0, 1, 2}
    assert evenly(10, 5) == {0, 2, 4, 6, 8}
    assert len(evenly(1001, 24)) == 24
    assert evenly(0, 5) == set()


def test_the_worst_and_the_best_stand_on_sheets_of_their_own(
    write_photos, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import evaluate

    dataset = make(write_photos, tmp_path, "mosaic:block=4")
    drawn: dict[str, list[str]] = {}
    monkeypatch.setattr(evaluate, "RANKED_ROWS", 2)

    def sheet(shown: list[Shown], header: str) -> np.ndarray:
        drawn[header] = [each.name for each in shown]
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(evaluate, "comparison_sheet", sheet)
    result = evaluate_model(model, dataset, worst=tmp_path / "w.png", best=tmp_path / "b.png", by="l1")
    order = [row["pair"] for row in sorted(result.rows, key=lambda row: -row["restored_l1"])]
    count = f"{result.images} images of the split test, restored by m"
    assert drawn == {f"the worst of {count}": order[:2], f"the best of {count}": order[::-1][:2]}
    assert (tmp_path / "w.png").exists()
    with pytest.raises(UsageError, match="--by delta_e: choose one of psnr, ssim, l1, as this dataset takes no colour away"):
        evaluate_model(model, dataset, by="delta_e")
    monkeypatch.setattr(evaluate, "RANKED_ROWS", 1000)
    evaluate_model(model, dataset, worst=tmp_path / "w.png", best=tmp_path / "b.png", by="l1")
    assert not set(drawn[f"the worst of {count}"]) & set(drawn[f"the best of {count}"])
    assert len(drawn[f"the worst of {count}"]) == result.images // 2


def test_captions_tell_what_a_colour_is_judged_by() -> None:
    images = {"input": np.zeros((16, 16, 3), np.uint8), "restored": np.zeros((16, 16, 3), np.uint8)}
    gray, colour = ({"psnr": 20.0, "ssim": 0.5}, {"psnr": 20.0, "ssim": 0.5, "delta_e": 8.25})
    told = [_caption(Shown("a", images, {"restored": figures}), "restored", True) for figures in (gray, colour)]
    assert told == ["20.00 dB · 0.500", "ΔE 8.2 · 20.00 dB"]


@pytest.mark.slow
def test_identity_is_the_distance_to_the_original_where_it_shows_a_face(tmp_path: Path) -> None:
    pytest.importorskip("dlib", reason="dlib is missing: pip install 'photomend[identity]'")
    for index, path in enumerate(sorted(resources.path("samples").glob("*.jpg"))[:2]):
        b = cv2.resize(image_io.read(path).rgb8, (256, 256), interpolation=cv2.INTER_AREA)
        a = cv2.resize(cv2.resize(b, (16, 16), interpolation=cv2.INTER_AREA), (256, 256), interpolation=cv2.INTER_CUBIC)
        for split in ("train", "val", "test"):
            image_io.write(tmp_path / "ds" / split / f"{index}.png", pairs.stitch(a, b), "PNG")
    image_io.write(tmp_path / "ds" / "test" / "nobody.png", pairs.stitch(textured(1, 256, 256), textured(2, 256, 256)), "PNG")
    result = evaluate_model(write_model(tmp_path / "same.onnx", 256), tmp_path / "ds", identity=True)
    assert result.images == 3
    judged, same, another = result.judged
    assert (judged.name, judged.images) == ("identity", 2)
    assert judged.means["restored"] == judged.means["input"] > 0.6  # sixteen cells a side are nobody
    assert (same.name, same.images, same.means) == ("same_person", 2, {"restored": 0.0, "input": 0.0})
    assert (another.name, another.images) == ("another_person", 2)
    assert another.means == {"restored": 0.0, "input": 0.0, "original": 0.0}
    assert "share that is nearer than 0.6 to the original of another group, 2 pairs: restored 0.000" in result.table()
    assert "share of the faces nearer than 0.6, 2 faces: restored 0.000, input 0.000" in result.table()
    assert "identity distance (below 0.6 dlib takes two faces for one person), 2 faces: restored 0." in result.table()
    assert result.summary()["identity"] == judged.means
    assert result.summary()["identity_faces"] == 2
    assert next(row for row in result.rows if "restored_identity" not in row)["pair"] == "test/nobody.png"


def test_who_passes_for_somebody_else_is_counted_among_other_groups_alone() -> None:
    def face(x: float) -> np.ndarray:
        return np.array([x, 0.0])

    seen = [{"restored": face(0.1), "original": face(0.0)}, {"restored": face(0.5), "original": face(0.2)},
            {"restored": face(2.9), "original": face(3.0), "input": face(0.0)}]  # fmt: skip
    assert near_others(seen, ["a", "b", "c"]) == (6, {"restored": 2 / 6, "original": 2 / 6})
    assert near_others(seen, ["a", "a", "c"]) == (4, {"restored": 0.0, "original": 0.0})
    assert near_others(seen, ["a", "a", "a"]) == (0, {})
    assert near_others([], []) == (0, {})


def test_a_detector_says_in_how_many_of_the_faces_it_finds_one(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        (tmp_path / "ds" / split).mkdir(parents=True)
    for name, block in (("fine", 4), ("coarse", 64), ("nobody", 64)):
        photo = image_io.read(resources.path("samples") / "female-12.jpg").rgb8
        b = cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA) if name != "nobody" else np.zeros((256, 256, 3), np.uint8)
        a = np.repeat(np.repeat(b[::block, ::block], block, 0), block, 1)
        image_io.write(tmp_path / "ds" / "test" / f"{name}.png", pairs.stitch(a, b), "PNG")
    table = tmp_path / "figures.csv"
    result = evaluate_model(write_model(tmp_path / "same.onnx", 256), tmp_path / "ds", detected=True, csv=table)
    (judged,) = result.judged
    assert (judged.name, judged.images, judged.means) == ("detected", 2, {"restored": 0.5, "input": 0.5})
    assert "share of the faces that a detector finds, 2 faces: restored 0.500, input 0.500" in result.table()
    with open(table, encoding="utf-8") as handle:
        found = {row["pair"]: row["restored_detected"] for row in csv.DictReader(handle)}
    assert found == {"test/coarse.png": "0.0", "test/fine.png": "1.0", "test/nobody.png": ""}


def test_the_figures_of_groups_are_told_apart(write_photos, model: Path, tmp_path: Path) -> None:
    archive = write_photos(
        {f"{'old' if seed % 3 else 'young'}/{seed}.png": seed for seed in range(9)}, "photos", height=48, width=48
    )
    recipe = staging.Recipe(size=16, crop="center", degrade=("mosaic:block=4",), split="0/0/100")
    build.build_dataset([archive], tmp_path / "ds", recipe, workers=0)
    result = evaluate_model(model, tmp_path / "ds", per="folder")
    assert {key: group.images for key, group in result.groups.items()} == {"old": 6, "young": 3}
    for key, group in result.groups.items():
        rows = [row for row in result.rows if row["source"].startswith(key)]
        assert group.figures["restored"]["psnr"] == pytest.approx(np.mean([row["restored_psnr"] for row in rows]))
        away = [row["restored_psnr"] - row["bicubic_psnr"] for row in rows]
        assert group.beside["bicubic"]["psnr"]["mean"] == pytest.approx(np.mean(away))
        assert f"\n{key} ({group.images} images): PSNR " in result.table()
    assert result.summary()["groups"]["old"]["images"] == 6
    assert evaluate_model(model, tmp_path / "ds", per="(young)").groups.keys() == {"", "young"}
    with pytest.raises(UsageError, match=r"--per '\(' is neither 'folder' nor a regular expression"):
        evaluate_model(model, tmp_path / "ds", per="(")


@pytest.mark.parametrize(("learned", "given", "told"), [
    (["mosaic:block=8", "jpeg:quality=60,p=0.5"], "mosaic:block=4", False), (["mosaic:block=8"], "mosaic:block=4", False),
    (["mosaic:block=8"], "grayscale", True), (["grayscale", "jpeg:quality=60"], "grayscale", False),
    (["mosaic:block=8", "grayscale"], "grayscale", True),
])  # fmt: skip
def test_pairs_of_another_task_are_told(learned: list[str], given: str, told: bool, write_photos, tmp_path: Path) -> None:
    result = evaluate_model(write_model(tmp_path / "m.onnx", recipe=learned), make(write_photos, tmp_path, given))
    assert bool(result.notes) is told

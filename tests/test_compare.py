"""Several runs side by side: exact lines, from run folders that are written by hand."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_tools import image_io
from dataset_tools.errors import OutputError
from pipelines.cli import run as photomend
from pipelines.cli.compare import duration, setting, table
from pipelines.compare import FILES, _times, compare_runs
from pipelines.plot import COLOURS, GRAYS
from pipelines.runs import labels

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = {"dataset": "ab" * 32, "preset": "tiny", "seed": 0, "precision": "float32", "direction": "AtoB", "val_images": 64,
           "steps": 300, "val_every": 100, "spec": {"batch": 8, "size": 64, "generator": {"filters": [32, 64]}}}  # fmt: skip
BASELINES = {"input": {"psnr": 18.0, "ssim": 0.5, "l1": 20.0}, "bicubic": {"psnr": 20.0, "ssim": 0.55, "l1": 16.0}}


TABLES = """\
settings that differ
                  a               b
precision   float32  mixed_bfloat16
spec.batch        8              16
spec.ema          -           0.999

baselines: PSNR (dB) / SSIM
                     a              b
input    18.00 / 0.500  18.00 / 0.500
bicubic  20.00 / 0.550  20.00 / 0.550

runs: PSNR (dB) / SSIM
                               a              b
steps                        300     250 of 300
time                  1 min 30 s  1 h 2 min 5 s
best at step                 200            200
best               21.00 / 0.525  22.15 / 0.554
last               20.50 / 0.512  22.15 / 0.554
last, raw weights              -  20.00 / 0.500
alarms                         0              2

at equal steps: PSNR (dB) / SSIM
steps              a              b
100    20.00 / 0.500  22.00 / 0.550
200    21.00 / 0.525  22.15 / 0.554

at equal time: PSNR (dB) / SSIM
time                    a              b
30 s        20.00 / 0.500              -
45 s        20.00 / 0.500              -
1 min       21.00 / 0.525  22.00 / 0.550
1 min 15 s  21.00 / 0.525  22.00 / 0.550
1 min 30 s  20.50 / 0.512  22.00 / 0.550

last alarms
b: step 250: a\\x1b[31m loss
"""


def figures(psnr: float, **more: Any) -> dict[str, Any]:
    """Of a validation: SSIM and L1 follow from PSNR."""
    return {"restored": {"psnr": psnr, "ssim": psnr / 40, "l1": 40 - psnr}, **BASELINES, **more}


def validation(step: int, seconds: float | None, psnr: float, **more: Any) -> dict[str, Any]:
    time = {} if seconds is None else {"time": {"seconds": seconds}}
    return {"kind": "validation", "step": step, "figures": figures(psnr, **more), **time}


def losses(step: int, seconds: float) -> dict[str, Any]:
    return {"kind": "losses", "step": step, "losses": {"g_loss": 1.0}, "time": {"seconds": seconds}}


def write_run(folder: Path, *rows: Mapping[str, Any], best: int | None = None, version: int = 2, **options: Any) -> Path:
    folder.mkdir(parents=True)
    record = {"format": "photomend run", "format_version": version, "options": {**OPTIONS, **options},
              "versions": {"keras": "3.15.1"}, "device": "x86_64"}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = [row for row in rows if row["step"] == best and row["kind"] == "validation"]
    if found:
        (folder / "best.json").write_text(json.dumps({"step": best, "metric": "psnr", "figures": found[0]["figures"]}))
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two runs: b has a larger batch, is slower and better, and was stopped."""
    a = write_run(tmp_path / "a", losses(50, 15.0), validation(100, 30.0, 20.0), validation(200, 60.0, 21.0),
                  validation(300, 90.0, 20.5), best=200)  # fmt: skip
    spec = {**OPTIONS["spec"], "batch": 16, "ema": 0.999}  # type: ignore[dict-item]
    raw = {"psnr": 20.0, "ssim": 0.5, "l1": 19.0}
    b = write_run(
        tmp_path / "b", validation(100, 50.0, 22.0, raw=raw), validation(200, 100.0, 22.15, raw=raw), losses(250, 3725.0),
        {"kind": "alarm", "step": 150, "name": "d_wins", "text": "D tells all apart"},
        {"kind": "alarm", "step": 250, "name": "nan", "text": "a\x1b[31m loss"}, best=200, spec=spec, precision="mixed_bfloat16",
    )  # fmt: skip
    return [a, b]


def test_the_tables_of_two_runs(pair: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert photomend(["compare", *map(str, pair)]) == 0
    captured = capsys.readouterr()
    assert captured.out == TABLES
    assert captured.err == ""


def test_steps_are_those_that_all_have_evenly_spread(tmp_path: Path) -> None:
    every = write_run(tmp_path / "every", *(validation(step, step, 20 + step / 1000) for step in range(10, 1001, 10)))
    second = write_run(tmp_path / "second", *(validation(step, step, 21.0) for step in range(20, 961, 20)))
    rows = compare_runs([every, second]).at_steps()
    assert [step for step, _ in rows] == [120, 240, 360, 480, 600, 720, 840, 960]
    assert [check.figures["restored"]["psnr"] for check in rows[0][1] if check] == [20.12, 21.0]
    third = write_run(tmp_path / "third", validation(7, 7, 20.0))
    assert compare_runs([every, third]).at_steps() == []


def test_times_are_round_and_end_with_the_run_that_ends_first() -> None:
    assert _times(4.5) == [1, 2, 3, 4, 4.5]
    assert _times(0.25) == [0.25]
    assert _times(1200) == [300, 600, 900, 1200]
    assert _times(1222) == [300, 600, 900, 1222], "1200 is as good as the end"
    assert _times(5 * 3600 + 1) == [3600, 7200, 10800, 14400, 18001]
    assert all(len(_times(end)) <= 8 and _times(end)[-1] == end for end in np.geomspace(0.1, 5e6, 500).tolist())


def test_at_equal_time_no_validation_is_from_later(tmp_path: Path) -> None:
    slow = write_run(tmp_path / "slow", validation(100, 40.0, 20.0), validation(200, 80.0, 21.0))
    fast = write_run(tmp_path / "fast", *(validation(100 * n, 10.0 * n, 19 + n / 10) for n in range(1, 31)))
    rows = {time: [check and check.step for check in row] for time, row in compare_runs([slow, fast]).at_times()}
    assert rows == {15: [None, 100], 30: [None, 300], 45: [100, 400], 60: [100, 600], 80: [200, 800]}


def test_the_log_of_an_older_run_tells_times_with_the_losses_alone(tmp_path: Path) -> None:
    old = write_run(
        tmp_path / "old", validation(20, None, 19.0), losses(50, 5.0), losses(100, 10.0), validation(100, None, 20.0),
        validation(120, None, 20.5), losses(150, 4.0), losses(200, 9.0), validation(200, None, 21.0), version=1,
    )  # fmt: skip
    never = write_run(tmp_path / "never", validation(100, None, 21.0), validation(200, None, 22.0), version=1)
    result = compare_runs([old, never])
    assert [check.seconds for check in result.runs[0].checks] == [None, 10.0, 10.0, 19.0], "a resumed call began at 0 again"
    assert [check.seconds for check in result.runs[1].checks] == [None, None]
    assert [time for time, _ in result.at_times()] == [10, 15, 19.0]
    assert all(row[1] is None for _, row in result.at_times())


def test_runs_that_cannot_be_compared_are_told(pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_run(tmp_path / "other", validation(100, 9.0, 25.0), dataset="cd" * 32)
    photomend(["compare", str(pair[0]), str(other)])
    captured = capsys.readouterr()
    assert "dataset  abababababab  cdcdcdcdcdcd" in captured.out
    assert captured.err == "note: the runs were not trained on the same dataset: their figures are not comparable\n"
    fewer = validation(100, 9.0, 25.0)
    fewer["figures"]["input"] = {"psnr": 18.3, "ssim": 0.5, "l1": 20.0}
    photomend(["compare", str(pair[0]), str(write_run(tmp_path / "fewer", fewer, val_images=8))])
    assert capsys.readouterr().err == (
        "note: the runs do not validate the same images (their baselines differ): their figures are not comparable\n"
    )
    photomend(["compare", str(pair[0]), str(write_run(tmp_path / "same", validation(100, 9.0, 25.0), val_images=80))])
    assert capsys.readouterr().err == "", "the split has no more than 64 images"


def test_settings_of_both_formats_go_by_one_name(pair: list[Path]) -> None:
    record = json.loads((pair[1] / "run.json").read_text())
    exact = {"precision": record["options"].pop("precision"), "device": record.pop("device"), "versions": {"keras": "4.0"}}
    (pair[1] / "run.json").write_text(
        json.dumps({**record, "exact": exact, "versions": {}, "odd": [1], "options": record["options"]})
    )
    assert compare_runs(pair).settings() == {
        "precision": ["float32", "mixed_bfloat16"], "spec.batch": [8, 16], "spec.ema": [None, 0.999],
        "versions.keras": ["3.15.1", "4.0"], "odd": [None, [1]],
    }  # fmt: skip


def test_a_run_without_a_validation_is_listed(pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    young = write_run(tmp_path / "young", losses(50, 8.0))
    assert photomend(["compare", str(pair[0]), str(young), "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert captured.err == "note: young has no validation\n"
    lines = captured.out.splitlines()
    start = lines.index("runs: PSNR (dB) / SSIM")
    assert lines[start + 1 : start + 6] == [
        "                          a      young",
        "steps                   300  50 of 300",
        "time             1 min 30 s        8 s",
        "best at step            200          -",
        "best          21.00 / 0.525          -",
    ]
    assert "100    20.00 / 0.500      -" in lines
    assert "300    20.50 / 0.512      -" in lines


def test_another_metric_stands_beside_psnr_and_ssim(pair: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    photomend(["compare", *map(str, pair), "--metric", "l1"])
    said = capsys.readouterr().out.splitlines()
    assert "at equal steps: PSNR (dB) / SSIM / L1 (grey levels)" in said
    assert "200    21.00 / 0.525 / 19.00  22.15 / 0.554 / 17.85" in said


def test_what_is_written(pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "out"
    for _ in range(2):  # what an earlier comparison wrote is replaced
        assert photomend(["compare", *map(str, pair), "--out", str(out), "--json"]) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    held = json.loads((out / "compare.json").read_text())
    assert held.pop("format") == "photomend comparison"
    assert held.pop("format_version") == 1
    assert [check["step"] for check in held.pop("validations")["b"]] == [100, 200]
    assert held == told
    assert told["settings"]["spec.batch"] == {"a": 8, "b": 16}
    assert told["runs"][1]["alarms"] == [[150, "D tells all apart"], [250, "a\\x1b[31m loss"]]
    assert told["equal_steps"][1]["runs"]["b"]["figures"]["restored"]["psnr"] == 22.15
    with open(out / "compare.csv", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["run", "step", "seconds", "name", "metric", "value"]
    assert len(rows) == 3 * 3 + 2 * 2 * 3 + 2 * 2 * 3  # a, b with its raw weights, the baselines of both
    assert ["b", "200", "100.0", "restored", "psnr", "22.15"] in [list(row.values()) for row in rows]
    assert [list(row.values()) for row in rows if (row["run"], row["name"]) == ("a", "bicubic")] == [
        ["a", "", "", "bicubic", "psnr", "20.0"], ["a", "", "", "bicubic", "ssim", "0.55"],
        ["a", "", "", "bicubic", "l1", "16.0"],
    ]  # fmt: skip
    plot = image_io.read(out / "compare.png").rgb8
    assert plot.shape == (533, 1260, 3)
    for colour in (*COLOURS[:2], *GRAYS):
        for half in (plot[:, :630], plot[:, 630:]):
            assert (half[100:] == colour).all(axis=2).sum() > 50
    assert not (plot == COLOURS[2]).all(axis=2).any()


def test_each_runs_own_baselines_are_drawn_in_its_colour(pair: list[Path], tmp_path: Path) -> None:
    row = validation(100, 9.0, 25.0)
    row["figures"]["bicubic"] = {"psnr": 21.0, "ssim": 0.5, "l1": 15.0}
    result = compare_runs([*pair, write_run(tmp_path / "input", row)])
    series = result._series(lambda check: check.step)
    assert [(each.name, each.dashed, each.like) for each in series] == [
        ("a", False, ""), ("b", False, ""), ("input", False, ""), ("input (baseline)", True, ""),
        ("bicubic of a, b", True, "a"), ("bicubic of input", True, "input"),
    ]  # fmt: skip
    assert list(series[-1].points) == [(0.0, 21.0), (300, 21.0)]


def test_files_of_others_stay(pair: list[Path], tmp_path: Path) -> None:
    for number, name in enumerate(FILES):
        out = tmp_path / f"out{number}"
        out.mkdir()
        (out / name).write_text("{}")
        with pytest.raises(OutputError, match=f"{name} exists and was not written by photomend compare: choose another folder"):
            compare_runs(pair, out=out)
        assert [(path.name, path.read_text()) for path in out.iterdir()] == [(name, "{}")]
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"--out .*file is a file, not a folder"):
        compare_runs(pair, out=tmp_path / "file")


def test_bad_use_gets_one_line(pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    foreign, broken, cut = (write_run(tmp_path / name, validation(100, 9.0, 20.0)) for name in ("foreign", "broken", "cut"))
    (foreign / "run.json").write_text('{"format": "a marathon"}')
    (broken / "run.json").write_text('{"format"')
    (cut / "log.jsonl").write_bytes(b"\xff\xfe")
    young = [write_run(tmp_path / name, losses(50, 1.0)) for name in ("y1", "y2")]
    (tmp_path / "link").symlink_to(pair[0])
    a = str(pair[0])
    for arguments, code, line in [
        ([], 2, "Missing argument"),
        ([a], 2, "photomend: give two runs or more to compare"),
        ([a, str(pair[1]), f"{a}/../a"], 2, f"photomend: the run {a} was given twice: give each run once"),
        ([a, str(tmp_path / "link")], 2, "was given twice"),
        ([a, str(tmp_path / "nowhere")], 1, "nowhere is no run: give folders that photomend train has written"),
        ([a, str(tmp_path / "empty")], 1, "empty is no run: give folders that photomend train has written"),
        ([a, str(foreign)], 1, "foreign is no run: its run.json was not written by photomend train"),
        ([a, str(broken)], 1, "broken cannot be read ("),
        ([a, str(cut)], 1, "cut cannot be read ("),
        ([*map(str, young)], 1, "photomend: no run has a validation yet: let them train until their first one"),
        (
            [a, str(pair[1]), "--metric", "lpips"],
            2,
            "there is no metric lpips; there are: psnr, ssim, l1, delta_e, colourfulness",
        ),
        ([a, str(pair[1]), "--metric", "delta_e"], 2, "no run has figures of --metric delta_e; they have: psnr, ssim, l1"),
        ([a, str(pair[1]), "--out", ""], 2, "an empty path was given"),
    ]:
        assert photomend(["compare", *arguments]) == code, arguments
        captured = capsys.readouterr()
        assert captured.out == ""
        assert line in captured.err
        assert captured.err.count("\n") == 1 or code == 2


def test_figures_that_are_none_are_left_out(tmp_path: Path, pair: list[Path]) -> None:
    odd = write_run(
        tmp_path / "odd", {"kind": "validation", "step": 100, "figures": {"restored": {"psnr": float("nan"), "ssim": 0.5}}},
        {"kind": "validation", "step": 200, "figures": None}, {"kind": "validation", "step": "soon"}, {"step": 300}, best=200,
    )  # fmt: skip
    with open(odd / "log.jsonl", "a") as handle:
        handle.write('[1]\n{"kind": "losses", "step": 250, "time": {"seconds": 1' + "0" * 400 + '}}\n{"kind": "los')
    result = compare_runs([pair[0], odd])
    assert [check.figures for check in result.runs[1].checks] == [{"restored": {"ssim": 0.5}}, {}]
    assert result.runs[1].steps == 300
    assert result.plot().shape == (533, 1260, 3)


def test_labels_are_as_short_as_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert labels([Path("x/run"), Path("y/run"), Path("other/")]) == ["x/run", "y/run", "other"]
    assert labels([Path("run"), Path("x/../run/../y/run")]) == [f"{tmp_path.name}/run", "y/run"]
    assert labels([Path("."), Path("/")]) == [tmp_path.name, "/"]
    assert labels([Path(os.fsdecode(b"caf\xe9 100%")), Path("a\nb")]) == ["caf%E9 100%25", "a\\nb"]


def test_numbers_for_people() -> None:
    assert [duration(value) for value in (0, 3.337, 59.6, 75, 3600, 3675)] == [
        "0 s", "3.34 s", "1 min", "1 min 15 s", "1 h", "1 h 1 min 15 s"]  # fmt: skip
    values = [None, True, 0.0002, "fused", [32, 64]]
    assert [setting("name", value) for value in values] == ["-", "true", "0.0002", "fused", "32, 64"]
    assert setting("dataset", "ab" * 32) == "abababababab"
    assert table(["", "a"], [["long", "1"]]) == ["      a", "long  1"]


def test_neither_keras_nor_tensorflow_is_loaded(pair: list[Path]) -> None:
    code = "import sys\nfrom pipelines.compare import compare_runs\nfrom pathlib import Path\n"
    code += "compare_runs([Path(each) for each in sys.argv[1:]])\nassert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, *map(str, pair)], check=True, cwd=ROOT)

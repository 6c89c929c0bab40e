"""The command line as a stranger meets it: exact words, exit codes, nothing damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from dataset_tools import files, image_io
from dataset_tools.degradations import REGISTRY
from pipelines.cli import COMMANDS, photomend, run
from pipelines.cli.terminal import Progress, clock
from pipelines.engines import resolve_model
from pix2pix.spec import PRESETS
from tests.conftest import textured

ROOT = Path(__file__).resolve().parent.parent
BUILD = ["--crop", "center", "--size", "64", "--workers", "1"]


def command(name: str) -> click.Command:
    found = photomend.get_command(click.Context(photomend), name)  # type: ignore[attr-defined]
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_for_itself_and_each_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: photomend {name} ")
    found = command(name)
    assert found.short_help
    assert found.help
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts} has no help"


def test_the_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out.partition("Commands:")[2]
    positions = [text.index(f"\n  {name} ") for name in COMMANDS]
    assert positions == sorted(positions)


def test_help_names_every_degradation_and_preset() -> None:
    options = {parameter.name: parameter for name in ("build", "train") for parameter in command(name).params}
    for name in REGISTRY:
        assert name in (options["degrade"].help or "")  # type: ignore[attr-defined]
    for name in PRESETS:
        assert name in (options["preset"].help or "")  # type: ignore[attr-defined]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("photomend 0.")


def test_build_tells_counts_that_add_up(write_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write_photos({"a.png": 1, "b.png": 2})
    (archive / "notes.txt").write_text("x")
    assert run(["build", str(archive), str(tmp_path / "ds"), *BUILD, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "3 files = 1 not images + 2 photos",
        "2 photos = 2 kept + 0 rejected + 0 failed",
        "2 crops = 2 kept + 0 rejected",
    ]
    told = json.loads(lines[-1])
    assert told["counts"] == json.loads((tmp_path / "ds" / "dataset.json").read_text())["counts"]


@pytest.mark.slow
def test_an_empty_split_is_told_with_the_number_of_groups(
    write_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = write_photos({"a.png": 1, "b.png": 2})
    assert run(["build", str(archive), str(tmp_path / "ds"), *BUILD, "--split", "100/0/0"]) == 0
    assert "note:" not in capsys.readouterr().err  # nothing was asked for them
    assert run(["build", str(archive), str(tmp_path / "ds2"), *BUILD, "--split", "98/1/1"]) == 0
    assert "val and test got no pair, since there are only 2 groups to share out" in capsys.readouterr().err
    assert run(["build", str(archive), str(tmp_path / "ds3"), *BUILD, "--max-enlarge", "0.1"]) == 0
    assert "note: no pair was made: report.html in the dataset shows why" in capsys.readouterr().err


def test_shares_that_are_far_off_are_told(write_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write_photos({f"{number}.png": number for number in range(6)})
    assert run(["build", str(archive), str(tmp_path / "ds"), *BUILD, "--split", "34/33/33", "--seed", "3"]) == 0
    captured = capsys.readouterr()
    shares = [
        round(int(line.split()[1]) / 6 * 100) for line in captured.out.splitlines() if line.startswith(("train", "val", "test"))
    ]
    assert max(abs(share - 33) for share in shares) > 10
    assert f"the pairs are shared out {'/'.join(map(str, shares))}: groups stay whole" in captured.err


def test_what_does_nothing_is_told(write_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write_photos({"a.png": 1})
    run(["build", str(archive), str(tmp_path / "ds"), *BUILD, "--tiles", "3", "--align", "--min-face", "9"])
    said = capsys.readouterr().err
    assert "note: --tiles does nothing without --crop tiles\n" in said
    assert "note: --align and --min-face does nothing without --crop faces\n" in said
    assert run(["build", str(archive), str(tmp_path / "ds"), *BUILD]) == 0  # so leaving them away is no other recipe


def test_an_unchanged_build_says_what_the_first_one_said(
    write_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = write_photos({f"{number}.png": number for number in range(9)})
    told = []
    for _ in range(2):
        assert run(["build", str(archive), str(tmp_path / "ds"), *BUILD, "--split", "90/10/0", "--group-by", "Folder"]) == 0
        captured = capsys.readouterr()
        told.append((captured.out.splitlines()[:-1], [line for line in captured.err.splitlines() if line.startswith("note:")]))
    assert told[0] == told[1]
    assert told[0][0][-3].startswith("train: ")
    assert "note: --group-by 'Folder' matches no photo (do you mean folder?): nothing is tied together by it" in told[0][1]


def test_pages_that_are_not_used_are_told(write_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scanner's TIFF of three pages is one photo: whoever wants the others must know."""
    from PIL import Image

    archive = write_photos({"a.png": 1, "b.png": 2, "c.png": 3})
    pages = [Image.open(archive / name) for name in ("a.png", "b.png", "c.png")]
    pages[0].save(archive / "scan.tif", save_all=True, append_images=pages[1:])
    assert run(["build", str(archive), str(tmp_path / "ds"), *BUILD]) == 0
    line = "of 1 photo: the file holds several pictures: this is the first"
    assert f"  {line}\n" in capsys.readouterr().out
    assert line in (tmp_path / "ds" / "report.html").read_text()
    assert line.replace("1 photo", "1 of the photos") in (tmp_path / "ds" / "README.md").read_text()


@pytest.mark.slow
def test_the_licence_is_remembered(write_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive, ds = write_photos({"a.png": 1}), tmp_path / "ds"
    for options in (["--license", "cc0-1.0"], []):
        assert run(["build", str(archive), str(ds), *BUILD, *options]) == 0
        card = (ds / "README.md").read_text()
        assert "license: cc0-1.0" in card
        assert "--license cc0-1.0" in card
    assert run(["build", str(archive), str(ds), *BUILD, "--license", "mit"]) == 0
    assert "license: mit" in (ds / "README.md").read_text()
    assert run(["build", str(archive), str(ds), *BUILD, "--fresh"]) == 0
    assert "license: unknown" in (ds / "README.md").read_text()
    capsys.readouterr()
    assert run(["build", str(archive), str(ds), *BUILD, "--license", " "]) == 2
    assert "give its name, such as cc0-1.0, or leave the option away" in capsys.readouterr().err


def test_failed_photos_give_exit_code_3(write_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write_photos({"a.png": 1})
    (archive / "b.jpg").write_bytes(b"")
    assert run(["build", str(archive), str(tmp_path / "ds"), *BUILD]) == 3
    captured = capsys.readouterr()
    assert "photo empty: 1" in captured.out
    assert "note: 1 photo failed; manifest.jsonl and report.html list them with their reasons" in captured.err


def test_verify_says_what_is_wrong(write_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write_photos({"a.png": 1})
    run(["build", str(archive), str(tmp_path / "ds"), *BUILD])
    capsys.readouterr()
    assert run(["verify", str(tmp_path / "ds"), "--archive", str(archive)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/ds: all is well\n"
    (archive / "a.png").unlink()
    assert run(["verify", str(tmp_path / "ds"), "--archive", str(archive)]) == 1
    assert capsys.readouterr().out == (
        "a.png cannot be read any more (No such file or directory): a build without it removes its pairs\n"
    )


WRONG = {
    "archive that is not there": (["build", "nowhere", "ds"], 2, "photomend: the archive nowhere does not exist: give a folder"),
    "degradation that is not there": (["build", ".", "ds", "--degrade", "blurr"], 2,
                                      "there is no degradation blurr (do you mean blur?); there are: blur, downscale, dust,"),
    "dataset forgotten": (["build", "."], 2, "one folder was given; give the folder of the photos and the one for the dataset"),
    "output forgotten": (["restore", "m.onnx", "photos"], 2, "two paths were given; give the model, the photos, and the folder"),
    "a variable that was never set": (["build", ".", ""], 2, "Invalid value for 'DATASET': an empty path was given"),
    "a rule that is none": (["build", "nowhere", "ds", "--group-by", ""], 2, "--group-by is empty: give 'folder' or a regular"),
    "archive that is no folder": (["verify", ".", "--archive", "nowhere"], 2, "--archive nowhere is not a folder: give the"),
    "split that does not add up": (["build", ".", "ds", "--split", "80/10"], 2, "give three whole shares that add up to 100"),
    "dataset that is not there": (["verify", "nowhere"], 1,
                                  "the dataset nowhere does not exist: build one with: photomend build ARCHIVE nowhere"),
    "training on nothing": (["train", "nowhere", "run"], 1, "photomend: the dataset nowhere does not exist"),
    "model that is not there": (["restore", "nowhere.onnx", ".", "out"], 2, "there is no model nowhere.onnx: give a run folder"),
    "no such command": (["restor"], 2, "No such command 'restor'"),
    "no such option": (["build", "a", "b", "--sise", "3"], 2, "No such option '--sise'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_bad_use_gets_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, code, line = WRONG[case]
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == code
    said = capsys.readouterr().err
    assert line in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def few(write_photos, tmp_path: Path):  # type: ignore[no-untyped-def]
    """few(3): a dataset of 3 training pairs of 64 × 64 pixels."""

    def make(count: int) -> str:
        archive = write_photos({f"{number}.png": number for number in range(count)}, f"archive{count}")
        assert run(["build", str(archive), str(tmp_path / f"ds{count}"), *BUILD, "--split", "100/0/0"]) == 0
        return str(tmp_path / f"ds{count}")

    return make


def test_training_that_cannot_be_meant_gets_one_line(
    few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    three, one, out = few(3), few(1), str(tmp_path / "run")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    capsys.readouterr()
    for options, code, line in (
        ([three], 2, f"a batch takes {PRESETS['mend'].batch} pairs, but the train split has only 3: give --batch 3 or less"),
        ([three, "--preset", "tiny", "--batch", "100"], 2,
         "a batch takes 100 pairs, but the train split has only 3: give --batch 3 or less"),
        ([one, "--preset", "tiny"], 2, "a batch takes 8 pairs, but the train split has only 1: give --batch 1"),
        ([three, "--preset", "article"], 2,
         "article cannot take size 64: it must be a multiple of 256, 256 or more; build the dataset with --size 256, or take "
         "another --preset"),
        ([three, "--batch", "2", "--seed", "-1"], 2, "--seed -1: give 0 to 4294967295"),
        ([three, "--batch", "2", "--ema", "1"], 2, "--ema 1.0: give 0 (none) to less than 1, such as 0.999"),
        ([three, "--batch", "2", "--updates", "article"], 2,
         "--updates article trains both networks at each step, and knows no cells: take it with --preset article or paper, and "
         "--warmup-d 0"),
        ([three, "--batch", "2", "--direction", "BtoA"], 1,
         f"{three} was made by photomend and holds its input on the left: leave --direction away"),
        ([three, "--batch", "2", "--strategy", "multiworker"], 2,
         "--strategy multiworker needs TF_CONFIG with the cluster's workers and this one's task (it is not set): docs/scale.md "
         "shows it"),
        ([three, "--batch", "2", "--from", str(tmp_path)], 1,
         f"--from {tmp_path}: that folder holds no checkpoint of a run: train it first, or give a model file"),
        ([three, "--batch", "2", "--from", str(tmp_path / "model.onnx")], 1,
         f"{tmp_path}/model.onnx is not an ONNX file: give an .onnx that photomend wrote"),
        ([three, "--batch", "2", "--preset", "tiny", "--from", "mosaic"], 2,
         f"--from {resolve_model('mosaic')}: its generator is another one ("),
    ):  # fmt: skip
        assert run(["train", options[0], out, *options[1:]]) == code, options
        said = capsys.readouterr()
        assert said.err.startswith(f"photomend: {line}"), said.err
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert not (tmp_path / "run").exists()


def test_classic_folders_of_mixed_sizes_get_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, number, width, height in (("train", 1, 128, 64), ("train", 2, 128, 64), ("val", 3, 96, 48)):
        image_io.write(tmp_path / "ds" / split / f"{number}.png", textured(number, height, width), "PNG")
    assert run(["train", str(tmp_path / "ds"), str(tmp_path / "run"), "--batch", "2"]) == 1
    assert capsys.readouterr().err == (
        "photomend: val/3.png is 96×48 pixels, but the pairs of this dataset are 128×64: all must be of one size\n"
    )
    (tmp_path / "photos" / "train").mkdir(parents=True)
    image_io.write(tmp_path / "photos" / "train" / "1.png", textured(1, 64, 96), "PNG")  # a photo, and no pair
    image_io.write(tmp_path / "photos" / "val" / "1.png", textured(1, 64, 96), "PNG")
    assert run(["train", str(tmp_path / "photos"), str(tmp_path / "run"), "--batch", "1"]) == 1
    assert capsys.readouterr().err == (
        f"photomend: {tmp_path}/photos/train/1.png is 96×64 pixels and no pair: A|B stand side by side, twice as wide as high\n"
    )
    assert not (tmp_path / "run").exists()


def test_run_folders_that_cannot_be_used_get_one_line(few, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, folder = few(3), tmp_path / "run"
    line = ["train", dataset, str(folder), "--preset", "tiny", "--batch", "2"]

    def said() -> str:
        capsys.readouterr()
        assert run(line) == 1
        told = capsys.readouterr()
        assert told.out == ""
        return told.err

    folder.write_text("a file")
    assert said() == f"photomend: {folder} is a file: give a folder for the run\n"
    folder.unlink()
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    assert said() == f"photomend: the folder {folder} is not empty and holds no run: choose another folder\n"
    assert (folder / "thesis.txt").read_text() == "years of work"
    (folder / "thesis.txt").unlink()
    with files.folder_lock(folder / ".lock", "it"):
        assert said() == (
            f"photomend: the run {folder} is in use by another photomend (process {os.getpid()}): wait for it, or stop it\n"
        )
    told = {"format": "photomend run", "format_version": 1, "options": {}, "versions": {}}
    (folder / "run.json").write_text(json.dumps(told))
    assert said() == (
        f"photomend: the run {folder} is of format version 1, this photomend goes on with 2: finish it with the version that "
        "began it, or start another one\n"
    )
    (folder / "run.json").write_text(json.dumps({"some": "thing"}))
    assert said() == f"photomend: {folder}/run.json was not written by photomend: choose another folder\n"


def test_restore_refuses_what_is_no_model(write_photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write_photos({"a.png": 1})
    (tmp_path / "m.onnx").write_bytes(b"\x80\x04\x95 a pickle, say")
    assert run(["restore", str(tmp_path / "m.onnx"), str(archive), str(tmp_path / "out"), "--input", "crop"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert str(tmp_path / "m.onnx") in captured.err
    assert not (tmp_path / "out").exists()


def test_a_missing_system_library_is_one_line_with_the_command(write_photos, tmp_path: Path) -> None:
    archive = write_photos({"a.png": 1})
    (tmp_path / "fake" / "cv2").mkdir(parents=True)
    (tmp_path / "fake" / "cv2" / "__init__.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}/fake:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", "from pipelines.cli import main; main()", "build", str(archive), str(tmp_path / "ds")],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(
        "photomend: the system library libGL.so.1 is missing; on Debian and Ubuntu: sudo apt-get install"
    )
    assert done.stderr.count("\n") == 1


def test_the_console_script_is_there() -> None:
    script = shutil.which("photomend", path=str(Path(sys.executable).parent))
    assert script, "pip install -e . makes the console script"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("photomend 0.")


def test_progress_says_speed_and_time_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress("building", "photos")
    for done in range(1, 5):
        now[0] += 10
        progress(done, 10)
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "building: 4/10 photos, 0.1 photos/s, 1:00 left"


def test_clock() -> None:
    assert [clock(value) for value in (0, 75, 3675)] == ["0:00", "1:15", "1:01:15"]

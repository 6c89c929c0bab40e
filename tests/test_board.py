"""Event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import resource
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_tools import image_io
from dataset_tools.errors import OutputError
from pix2pix.board import Board
from tests.conftest import textured


@pytest.fixture(autouse=True)
def without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard's reader takes its own stub instead of TensorFlow where a module of this name can be imported."""
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))


def shown(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    return accumulator.Reload()


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value)) for event in shown(folder).Scalars(tag)]


def test_scalars_and_images_come_back(tmp_path: Path) -> None:
    pictures = [textured(1, 40, 60), textured(2, 40, 60)]
    with Board(tmp_path / "tensorboard", 0) as board:
        board.scalars(50, {"loss/g_l1": 0.25, "loss/d_loss": 0.7})
        board.scalars(100, {"loss/g_l1": 0.125, "validation/psnr/restored": 27.5})
        for step, picture in zip((50, 100), pictures, strict=True):
            board.image(step, "validation/grid", picture)
        board.image(100, "discriminator/patches", pictures[0][:30, :30])
    told = shown(tmp_path / "tensorboard")
    assert set(told.Tags()["scalars"]) == {"loss/g_l1", "loss/d_loss", "validation/psnr/restored"}
    assert set(told.Tags()["images"]) == {"validation/grid", "discriminator/patches"}
    assert [(event.step, event.value) for event in told.Scalars("loss/g_l1")] == [(50, 0.25), (100, 0.125)]
    assert [(event.step, event.width, event.height) for event in told.Images("validation/grid")] == [(50, 60, 40), (100, 60, 40)]
    for event, picture in zip(told.Images("validation/grid"), pictures, strict=True):
        assert np.array_equal(image_io.decode(event.encoded_image_string, "grid").rgb8, picture)
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == ["events.out.tfevents.000001.photomend"]


def test_steps_that_are_done_again_are_shown_once(tmp_path: Path) -> None:
    with Board(tmp_path, 0) as board:
        for step in range(1, 7):
            board.scalars(step, {"loss/g_l1": step})
            board.image(step, "validation/grid", textured(step))
    with Board(tmp_path, 3) as board:
        for step in (4, 5):
            board.scalars(step, {"loss/g_l1": 10 * step})
    assert scalars(tmp_path, "loss/g_l1") == [(1, 1), (2, 2), (3, 3), (4, 40), (5, 50)]
    assert [event.step for event in shown(tmp_path).Images("validation/grid")] == [1, 2, 3]
    for start in range(5, 14):  # the tenth file is read after the ninth
        with Board(tmp_path, start) as board:
            board.scalars(start + 1, {"loss/g_l1": start + 1})
            board.scalars(start + 2, {"loss/g_l1": 0})
    assert scalars(tmp_path, "loss/g_l1") == [(1, 1), (2, 2), (3, 3), (4, 40), (5, 50), *((n, n) for n in range(6, 15)), (15, 0)]


def test_what_was_told_before_a_kill_is_there(tmp_path: Path) -> None:
    board = Board(tmp_path, 0)
    board.scalars(1, {"loss/g_l1": 1})
    board.scalars(2, {"loss/g_l1": 2})
    assert scalars(tmp_path, "loss/g_l1") == [(1, 1), (2, 2)]  # nobody has closed it
    board.close()
    board.path.write_bytes(board.path.read_bytes()[:-3])  # as after a power cut
    with Board(tmp_path, 2) as after:
        after.scalars(3, {"loss/g_l1": 3})
    assert scalars(tmp_path, "loss/g_l1") == [(1, 1), (3, 3)]


def test_a_full_disk_is_said_and_spoils_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Board(tmp_path, 0) as board:
        board.scalars(1, {"loss/g_l1": 1})
        whole = board.path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, hard))  # there is room for part of the next
        try:
            with pytest.raises(OutputError, match=r"^no room left on the disk to write .*photomend: free some space"):
                board.scalars(2, {"loss/g_l1": 2})
            assert board.path.read_bytes() == whole
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        board.scalars(3, {"loss/g_l1": 3})
    assert scalars(tmp_path, "loss/g_l1") == [(1, 1), (3, 3)]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"^cannot write .*file/tensorboard: "):
        Board(tmp_path / "file" / "tensorboard", 0)


def test_neither_tensorflow_nor_the_network(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "heard = []\n"
        "sys.addaudithook(lambda event, _: heard.append(event) if event.startswith('socket.') else None)\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from pix2pix.board import Board\n"
        "with Board(Path(sys.argv[1]), 0) as board:\n"
        "    board.scalars(1, {'loss/g_l1': 1.0})\n"
        "    board.image(1, 'validation/grid', np.zeros((8, 8, 3), np.uint8))\n"
        "assert not heard, heard\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert scalars(tmp_path, "loss/g_l1") == [(1, 1)]

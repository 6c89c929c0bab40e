"""Restoring, as ratios in one run: engines beside Keras, the time to the first result, large photos with one mosaic.

    python -m bench.restore MODEL [--parts engines,start,photos,colours,memory] [--work FOLDER] [--rounds 5] [--many 5000]

MODEL: a model file or a run folder; the targets of `engines` are for `article`, those of the other parts for a model that ships
or `mend`, for mosaics. Each engine is a process of its own; they take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from bench.tables import machine, spread, table, verdict
from bench.turns import Server, ratio, take_turns

CONTENDERS = {
    "predict": "Keras `predict`",
    "function": "tf.function",
    "layers": "tf.function, our layers",
    "onnxruntime": "ONNX Runtime (default)",
    "openvino": "OpenVINO, float32",
    "openvino-bfloat16": "OpenVINO, bfloat16",
}
TARGETS = (  # batch, engine, beside what, how many times at least
    (1, "onnxruntime", "predict", 3.0), (1, "onnxruntime", "function", 1.7), (1, "openvino", "predict", 3.8),
    (1, "openvino-bfloat16", "predict", 6.5), (8, "openvino", "predict", 3.3),
)  # fmt: skip
MEGAPIXELS = 12
PHOTOS = 8


def engines_part(model: Path, work: Path, rounds: int) -> None:
    """Milliseconds a batch of each engine, all in turn, and how far they are from Keras."""
    for batch in (1, 8):
        print(f"\nload before: {os.getloadavg()[0]:.2f}")
        results = {name: work / f"{name}-{batch}.npy" for name in CONTENDERS}
        servers = {name: Server(label, [sys.executable, "-m", "bench.restore_server", name, str(model), str(batch),
                                        str(results[name])]) for name, label in CONTENDERS.items()}  # fmt: skip
        take_turns(list(servers.values()), rounds, 8 if batch == 1 else 6)
        truth = np.load(results["predict"]).astype(int)
        rows = []
        for name, each in servers.items():
            away = np.abs(np.load(results[name]).astype(int) - truth)
            faster = [median(ratio(servers[slow], each)) for slow in ("predict", "function")]
            rows.append([each.name, spread([1000 * value for value in each.seconds]), *(f"{value:.2f}" for value in faster),
                         f"{away.max()}", f"{away.mean():.3f}", f"{each.peak:.0f}"])  # fmt: skip
        head = ["", "ms a batch", "times `predict`", "times the tf.function", "levels off, most", "on average", "peak MB"]
        table(f"Batches of {batch}, uint8 to uint8", head, rows)
        for _, name, slow, limit in (target for target in TARGETS if target[0] == batch):
            value = median(ratio(servers[slow], servers[name]))
            print(f"{CONTENDERS[name]} against {CONTENDERS[slow]}: {value:.2f}", verdict(value, limit, least=True))
        for each in servers.values():
            each.close()


def start_part(model: Path, work: Path, rounds: int) -> None:
    """Seconds from a command to its first result."""
    from bench.restore_photos import photo, save

    crop, whole = work / "crop.png", work / "photo.jpg"
    save(photo(work, 0, 0.0655), crop)
    save(photo(work, 0, 2), whole)
    faces = of_faces(model, work / "faces.onnx")
    cases = {"a crop of 256 × 256": (model, crop, "crop", 1.5), "a photo of 2 megapixels": (model, whole, "photo", 1.5),
             "the same, its faces searched": (faces, whole, "photo", 3.5)}  # fmt: skip
    rows = []
    for name, (used, path, kind, limit) in cases.items():
        seconds = []
        for _ in range(rounds):
            out = work / f"out{path.suffix}"
            out.unlink(missing_ok=True)
            start = time.perf_counter()
            command = [Path(sys.executable).parent / "photomend", "restore", used, path, out, "--input", kind]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
        rows.append([name, spread(seconds), verdict(median(seconds), limit)])
    table("Seconds from the command to the first result", ["", "seconds", "target"], rows)


def of_faces(model: Path, path: Path) -> Path:
    """The same model with a card that has it restore faces, whatever ails them."""
    import onnx

    from pix2pix import model_file

    card = model_file.read_card(model)
    model_file.write(path, onnx.load(model), {**card, "task": "other", "cell": None, "crop": {**card["crop"], "kind": "faces"}})
    return path


def colours_part(model: Path, work: Path) -> None:
    """Whether photos in Display-P3 come back looking the same."""
    from bench.restore_colours import colour_rows

    table("CIEDE2000 of photos in Display-P3 with one mosaic", ["", "mean", "99 of 100"], colour_rows(model, work / "colours"))


def photos_part(model: Path, work: Path) -> None:
    """Large photos with one mosaic each: photos/s, and what of the time is the model's."""
    from bench.restore_photos import photo, save, timed

    photos = [work / "photos" / f"{index}.jpg" for index in range(PHOTOS)]
    for index, path in enumerate(photos):
        if not path.exists():
            save(photo(work, index), path)
    seconds = timed(model, photos, work / "restored")
    total, _ = seconds.pop("all"), seconds.pop("with start-up")
    rows = [[name, f"{1000 * value / PHOTOS:.0f}", f"{value / total:.0%}"] for name, value in seconds.items()]
    table(f"A photo of {MEGAPIXELS} megapixels with one mosaic, one process", ["", "ms", "share"], rows)
    rest = 1 - seconds["model"] / total
    print(f"\n{PHOTOS / total:.2f} photos/s; everything but the model: {rest:.0%}", verdict(rest, 0.5))


def memory_part(model: Path, work: Path, many: int) -> None:
    """Peaks of the processes, for one photo of 48 megapixels with five mosaics, and for few and many small photos."""
    import numpy as np

    from bench.memory import part_memory
    from bench.photos import links, small_photos
    from bench.restore_photos import photo, save
    from dataset_tools.mosaic_grid import Grid, cell_means, paint

    large = work / "large" / "photo.jpg"
    if not large.exists():
        rgb = np.tile(photo(work, 0), (2, 2, 1))  # 48 megapixels, four of the mosaics
        corner, grid = rgb[:900, :900], Grid(56, 3, 5)
        corner[:] = paint(cell_means(corner, grid), grid, (900, 900))
        save(rgb, large)
    small = small_photos(work / "small", many)
    few, all_ = links(work / "few", small[: many // 10]), links(work / "many", small)
    command = [str(Path(sys.executable).parent / "photomend"), "restore", str(model)]
    part_memory({"48 megapixels, five mosaics": large.parent, f"{many // 10} of 640 × 480": few, f"{many} of 640 × 480": all_},
                work, lambda archive, out: [*command, str(archive), str(out), "--workers", "2"])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--parts", default="engines,start,photos,colours,memory")
    parser.add_argument("--work", type=Path, default=Path("build/bench/restore"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--many", type=int, default=5000, help="small photos of the part memory")
    given = parser.parse_args()
    from pipelines.engines import resolve_model

    given.work.mkdir(parents=True, exist_ok=True)
    model = resolve_model(given.model)
    print(machine())
    for part in given.parts.split(","):
        if part == "engines":
            engines_part(model, given.work, given.rounds)
        elif part == "start":
            start_part(model, given.work, given.rounds)
        elif part == "colours":
            colours_part(model, given.work)
        elif part == "memory":
            memory_part(model, given.work, given.many)
        else:
            photos_part(model, given.work)


if __name__ == "__main__":
    main()

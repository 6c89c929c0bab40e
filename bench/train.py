"""Training, as ratios in one run: speed beside the article's loop and PyTorch, what bfloat16 changes, loading, time to quality.

    python -m bench.train DATASET [--parts steps,curves,loading,quality,norm] [--torch PYTHON] [--work FOLDER] [--seeds 3]

DATASET: `photomend build PHOTOS DATASET --group-by folder --max-enlarge 3 --split 90/5/5` (256 px, mosaic of 16).
PYTHON has torch and numpy.
Each way of training is a process of its own; they take turns, a few steps each, so that what else the machine does weighs on all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench.tables import machine, spread, table, verdict
from bench.turns import Server, ratio, take_turns
from pix2pix.spec import PRESETS

ARTICLE_STEPS = 2000
BFLOAT = "mixed_bfloat16"
MEND = PRESETS["mend"]


def server(name: str, dataset: Path, preset: str, *options: str) -> Server:
    """One of ours."""
    return Server(name, [sys.executable, "-m", "bench.step_server", preset, str(dataset), *options])


def steps_part(dataset: Path, torch: str | None, work: Path, rounds: int) -> None:
    """Seconds a step, all in turn; kept in work/steps.json for the time to quality."""
    print(f"load before: {os.getloadavg()[0]:.2f}")
    loop = server("the article's loop, repaired, float32", dataset, "loop")
    ours = {
        "article": server("`article`, float32", dataset, "article"),
        "article_bf16": server("`article`, mixed bfloat16", dataset, "article", "--precision", BFLOAT),
        "mend_alone": server(
            f"`mend`, batch {MEND.batch}, mixed bfloat16, G alone", dataset, "mend", "--precision", BFLOAT, "--play", "generator"
        ),
        "mend": server(f"`mend`, batch {MEND.batch}, mixed bfloat16, both", dataset, "mend", "--precision", BFLOAT),
        "mend_32": server(f"`mend`, batch {MEND.batch}, float32, both", dataset, "mend"),
    }
    rows: list[list[Any]] = []
    servers = [loop, *ours.values()]
    classic = None
    if torch:
        classic = Server("classic pix2pix in PyTorch, float32", [torch, "-m", "bench.classic_torch", "--serve", "--batch", "4"])
        ours["paper"] = server("`paper`, batch 4, mixed bfloat16", dataset, "paper", "--precision", BFLOAT, "--batch", "4")
        servers += [classic, ours["paper"]]
    take_turns(servers, rounds, 2)
    for each in servers:
        images = MEND.batch if "`mend`" in each.name else 4
        rows.append([each.name, spread(each.seconds), f"{images / median(each.seconds):.1f}",
                     f"{median(ratio(loop, each)):.2f}", f"{each.peak:.0f}"])  # fmt: skip
    table(
        "Seconds a step, 256 × 256, batch 4 where nothing else is said",
        ["", "s a step", "images/s", "times the loop", "peak MB"],
        rows,
    )
    print("\n`article` against its loop, float32:", spread(ratio(loop, ours["article"])),
          verdict(median(ratio(loop, ours["article"])), 1.3, least=True))  # fmt: skip
    print("`article` against its loop, mixed bfloat16:", spread(ratio(loop, ours["article_bf16"])),
          verdict(median(ratio(loop, ours["article_bf16"])), 2.3, least=True))  # fmt: skip
    if classic:
        print("`paper` against PyTorch:", spread(ratio(classic, ours["paper"])),
              verdict(median(ratio(classic, ours["paper"])), 1.5, least=True))  # fmt: skip
    for each in servers:
        each.close()
    (work / "steps.json").write_text(json.dumps({name: median(each.seconds) for name, each in ours.items()}))


def curves_part(dataset: Path, work: Path, count: int = 300) -> None:
    """The losses of `article` in both precisions and of two seeds, overlaid."""
    from dataset_tools import image_io
    from pipelines.plot import Panel, Series, line_plot

    runs = {"float32, seed 0": (), "float32, seed 1": ("--seed", "1"), "bfloat16, seed 0": ("--precision", BFLOAT)}
    curves: dict[str, list[dict[str, float]]] = {}
    for name, options in runs.items():
        each = server(name, dataset, "article", *options)
        curves[name] = each.step(count)["curve"]
        each.close()
    panels, rows = [], []
    for loss, title in (("g_l1", "L1 of the generator"), ("d_loss", "loss of the discriminator")):
        series = [Series(name, [(k, mean(row[loss] for row in curve[max(0, k - 10) : k])) for k in range(1, count + 1)])
                  for name, curve in curves.items()]  # fmt: skip
        panels.append(Panel(series, x="step", y=loss, title=f"{title}, mean of 10 steps"))
        last = {name: mean(row[loss] for row in curve[-100:]) for name, curve in curves.items()}
        seeds = abs(last["float32, seed 0"] - last["float32, seed 1"])
        precisions = abs(last["float32, seed 0"] - last["bfloat16, seed 0"])
        rows.append(
            [loss, *(f"{value:.4f}" for value in last.values()), f"{seeds:.4f}", f"{precisions:.4f}", verdict(precisions, seeds)]
        )
    table(f"Means of the last 100 of {count} steps", ["", *runs, "two seeds differ by", "two precisions by", "less"], rows)
    image_io.write(work / "curves.png", line_plot(panels, header="article: float32 and mixed bfloat16"), "PNG")
    print(f"{work / 'curves.png'}")


def loading_part(dataset: Path, rounds: int) -> None:
    """What the real input pipeline costs, beside one batch again and again: in one process, in turn."""
    rows = []
    for name, preset, options in (
        ("`article`, float32", "article", ()),
        ("`mend`, mixed bfloat16", "mend", ("--precision", BFLOAT)),
    ):
        each = server(name, dataset, preset, *options, "--filled")
        each.step(2)
        turns = [[mean(each.step(1, order)["seconds"]) for order in ("step", "again")] for _ in range(8 * rounds)]
        real, again = zip(*turns, strict=True)
        share = 1 - median(again) / median(real)
        rows.append([name, spread(real), spread(again), f"{100 * share:.1f} %", verdict(share, 0.02)])
        each.close()
    table("Loading", ["", "s a step, real", "s a step, one batch", "share of loading", ""], rows)


def quality_part(dataset: Path, work: Path, seeds: int) -> None:
    """`article` for 2,000 steps, `mend` for as long; time = steps × the median of a step, from the part `steps`."""
    cost = json.loads((work / "steps.json").read_text())
    whole = ARTICLE_STEPS * cost["article"]
    alone = MEND.alone

    def seconds(step: int) -> float:
        return min(step, alone) * cost["mend_alone"] + max(0, step - alone) * cost["mend"]

    rest = whole - alone * cost["mend_alone"]  # seconds, for the steps of both
    steps = 100 * (int(alone + rest / cost["mend" if rest > 0 else "mend_alone"]) // 100)
    run(dataset, work / "article", "article", ARTICLE_STEPS, 0, "float32")
    for seed in range(seeds):
        run(dataset, work / f"mend-{seed}", "mend", steps, seed, BFLOAT)
    article = validations(work / "article")
    bicubic = article[0]["figures"]["bicubic"]
    best = {name: max(row["figures"]["restored"][name] for row in article) for name in ("psnr", "ssim")}
    wanted = {"psnr": max(best["psnr"], bicubic["psnr"] + 0.9), "ssim": max(best["ssim"], bicubic["ssim"] + 0.033)}
    print(f"\nbicubic {figures(bicubic)}; `article`'s best within {ARTICLE_STEPS} steps ({whole:.0f} s) {figures(best)}")
    print(f"Q = {figures(wanted)}")
    rows = []
    for seed in range(seeds):
        found = validations(work / f"mend-{seed}")
        reached = [row["step"] for row in found if all(row["figures"]["restored"][name] >= wanted[name] for name in wanted)]
        first = seconds(reached[0]) if reached else float("inf")
        last = [row for row in found if row["step"] <= steps][-1]["figures"]["restored"]
        gain = {name: last[name] - bicubic[name] for name in wanted}
        rows.append([seed, f"{first:.0f} s (step {reached[0] if reached else '-'})", f"1/{whole / first:.1f}",
                     verdict(whole / first, 15, least=True), figures(last), f"{gain['psnr']:+.2f} dB / {gain['ssim']:+.4f}",
                     "yes" if gain["psnr"] >= 1.6 and gain["ssim"] >= 0.065 else "no"])  # fmt: skip
    table("Time to quality: `mend`, three seeds", ["seed", "reaches Q after", "of `article`'s time", "", f"after {whole:.0f} s",
                                                   "over bicubic", ">= +1.6 dB / +0.065"], rows)  # fmt: skip


def run(dataset: Path, folder: Path, preset: str, steps: int, seed: int, precision: str) -> None:
    """`photomend train`; goes on where an earlier bench stopped."""
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "train", str(dataset), str(folder)]
    options = {"preset": preset, "steps": steps, "seed": seed, "precision": precision, "val-every": 100, "checkpoint-every": 100}
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def validations(folder: Path) -> list[dict[str, Any]]:
    """The rows of validations in a run's log."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    return [row for row in rows if row["kind"] == "validation"]


def figures(row: dict[str, float]) -> str:
    return f"{row['psnr']:.2f} dB / {row['ssim']:.4f}"


def norm_part(dataset: Path, work: Path) -> None:
    """What `article`'s restored images gain from other statistics for BatchNorm; see bench/norm.py."""
    from bench.norm import compare

    rows = compare(dataset, work / "article")
    table("`article` restored with other statistics, the same weights", ["statistics", "PSNR / SSIM"],
          [[name, figures(row)] for name, row in rows.items()])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.train")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--parts", default="steps,curves,loading,quality,norm")
    parser.add_argument("--torch", help="a Python that has torch, for the classic pix2pix")
    parser.add_argument("--work", type=Path, default=Path("build/bench/train"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    print(machine())
    for part in given.parts.split(","):
        match part:
            case "steps":
                steps_part(given.dataset, given.torch, given.work, given.rounds)
            case "curves":
                curves_part(given.dataset, given.work)
            case "loading":
                loading_part(given.dataset, given.rounds)
            case "quality":
                quality_part(given.dataset, given.work, given.seeds)
            case "norm":
                norm_part(given.dataset, given.work)
            case _:
                parser.error(f"there is no part {part}")


if __name__ == "__main__":
    main()

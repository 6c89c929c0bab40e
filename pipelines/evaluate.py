"""How good a model is on a split of a dataset, image by image, always beside what doing nothing is worth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dataset_tools import cells, files, image_io, priors
from dataset_tools.archive import group_rule
from dataset_tools.dataset import Dataset, PairRow, open_dataset
from dataset_tools.errors import DatasetError, PhotoError, UsageError
from dataset_tools.groups import SPLITS
from dataset_tools.metrics import METRICS
from dataset_tools.pairs import split as split_pair
from pipelines import frechet
from pipelines.detected import Detected
from pipelines.engines import Engine, open_engine
from pipelines.evaluation import Evaluation, Group, Judged
from pipelines.figures import (
    KNOWN,
    RANKED_ROWS,
    SHEET_ROWS,
    comparison_sheet,
    csv_text,
    evenly,
    flatten,
    intervals,
    means,
)
from pipelines.identity import OTHER_PERSON, Identity, near_others
from pipelines.restore import (
    BATCH,
    DEFAULT_METRICS,
    Figures,
    Rgb,
    Shown,
    measure_pair,
    metric_names,
    pair_images,
)


class Judge(Protocol):
    """What looks at the faces of an image."""

    name: str  # of its columns
    title: str

    def judge(self, images: Mapping[str, Rgb]) -> dict[str, float] | None:
        """A number for each of the images but "original"; None where that shows no face."""

    def close(self) -> None:
        """To be called in the end."""


def evaluate_model(
    model: str | Path, dataset: Path, *, split: str = "test", direction: str | None = None, csv: Path | None = None,
    sheet: Path | None = None, worst: Path | None = None, best: Path | None = None, by: str | None = None,
    identity: bool = False, detected: bool = False, per: str | None = None, engine: str = "onnxruntime",
    metrics: Sequence[str] = DEFAULT_METRICS,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:  # fmt: skip
    """Restores every pair of a split and measures it, and each trivial baseline, against its original.

    Args:
        model: a run folder, an .onnx file, or the name of a model that ships.
        dataset: a dataset of photomend, or a folder of other programs with train/ val/ test/ of A|B images.
        direction: of a classic dataset, which half is the input; None: the one that the model learned from.
        csv: where to write one line an image; sheet: where to write a contact sheet (PNG) of up to 24 of them, evenly taken.
        worst, best: where to write sheets of the 12 that were restored worst and best (of fewer than 24, of half of them), by the
            metric `by`; None: delta_e where the dataset took colour away, else psnr.
        identity, detected: measure how far the faces are from the originals', and how many of them a detector finds; see
            identity.py and detected.py.
        per: "folder", or a regular expression on the photos' names, of whose groups the figures are told apart.
        metrics: names from METRICS; ΔE2000 and colourfulness are added where the dataset took colour away.
        progress: called as progress(done, total).

    Raises:
        DatasetError: not a dataset, a split without pairs, a damaged pair, or pairs of another size than the model's.
        ModelFileError: not a model of photomend. UsageError: no such metric.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise UsageError(f"there is no metric {unknown[0]}; there are: {', '.join(METRICS)}")
    check_outputs(dataset, {"--csv": csv, "--sheet": sheet, "--worst": worst, "--best": best})
    runner = open_engine(model, engine)
    direction = direction or (runner.card["direction"] if open_dataset(dataset).info is None else "AtoB")
    opened = open_dataset(dataset, direction)
    pairs = split_pairs(opened, split)
    names = metric_names((pair.degradations for pair in pairs), metrics)
    by = by or ("delta_e" if "delta_e" in names else "psnr")
    if by not in names or METRICS[by].better == "none":
        where = ", as this dataset takes no colour away" if by in ("delta_e", "colourfulness") else ""
        ranking = ", ".join(name for name in names if METRICS[name].better != "none")
        raise UsageError(f"--by {by}: choose one of {ranking}{where}")
    rule = group_rule(per, option="--per")
    faces = Identity() if identity else None
    judges: list[Judge] = [*([faces] if faces else []), *([Detected()] if detected else [])]
    owners: list[object] = []  # of each face that `faces` saw: whose it is
    chosen = evenly(len(pairs), SHEET_ROWS) if sheet else set()
    rows: list[dict[str, Any]] = []
    measured: list[Figures] = []
    shown: list[Shown] = []
    most = min(RANKED_ROWS, max(1, len(pairs) // 2))  # none is among the best and the worst
    ranked = _Ranked(METRICS[by].better == "higher", bool(worst), bool(best), most)
    colours: dict[str, list[np.ndarray]] = defaultdict(list)
    verdicts: dict[str, list[dict[str, float]]] = {judge.name: [] for judge in judges}
    with ExitStack() as held:
        for judge in judges:
            held.callback(judge.close)
        for start in range(0, len(pairs), BATCH):
            for pair, images in _restore(runner, pairs[start : start + BATCH], direction):
                figures = measure_pair(images, names)
                seen = Shown(pair.name, images, figures)
                if len(rows) in chosen:
                    shown.append(seen)
                ranked.add(figures["restored"][by], seen)
                row = {"pair": pair.name, "source": pair.source, **flatten(figures)}
                for name in images if "delta_e" in names else ():
                    colours[name].append(frechet.features(images[name]))
                for judge in judges:
                    if verdict := judge.judge(images):
                        verdicts[judge.name].append(verdict)
                        owners += [pair.group or len(rows)] if judge is faces else []
                        row |= {f"{name.replace(' ', '_')}_{judge.name}": value for name, value in verdict.items()}
                rows.append(row)
                measured.append(figures)
            if progress:
                progress(len(rows), len(pairs))
    if csv:
        files.replace_text(csv, csv_text(rows, ("pair", "source")))
    told = f"{len(pairs)} images of the split {split}, restored by {runner.name}"
    for path, some, which in ((sheet, shown, ""), (worst, ranked.worst, "the worst of "), (best, ranked.best, "the best of ")):
        if path:
            image_io.write(path, comparison_sheet(some, which + told), "PNG")
    notes = _other_task(runner.card["recipe"], (opened.info or {}).get("recipe", {}).get("degrade", []))
    order = [name for name in means(measured) if name != "original"]
    groups = _grouped(rule, pairs, measured) if per else {}
    judged = [_judged(judge, verdicts[judge.name], order) for judge in judges]
    if faces:
        nearer = [{name: float(value < OTHER_PERSON) for name, value in each.items()} for each in verdicts[Identity.name]]
        judged.append(Judged("same_person", f"share of the faces nearer than {OTHER_PERSON}", len(nearer), _means(nearer, order)))
        count, near = near_others(faces.seen, owners)
        title = f"share that is nearer than {OTHER_PERSON} to the original of another group"
        shares = {name: near[name] for name in (*order, "original") if name in near}
        judged += [Judged("another_person", title, count, shares, of="pair")] if count else []
    if len(pairs) > 1 and "delta_e" in names:
        away = {name: frechet.distance(np.stack(colours[name]), np.stack(colours["original"])) for name in order}
        judged.append(Judged("frechet", frechet.TITLE, len(pairs), away, of="image"))
    return Evaluation(runner.name, str(dataset), split, len(pairs), means(measured), tuple(rows), tuple(judged), notes,
                      intervals(measured, [pair.group for pair in pairs]), groups)  # fmt: skip


def _judged(judge: Judge, verdicts: Sequence[Mapping[str, float]], order: Sequence[str]) -> Judged:
    return Judged(judge.name, judge.title, len(verdicts), _means(verdicts, order))


def _means(verdicts: Sequence[Mapping[str, float]], order: Sequence[str]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in verdicts])) for name in order if verdicts}


def check_outputs(dataset: Path, given: Mapping[str, Path | None]) -> None:
    """Raises UsageError where a file that is to be written could not be meant."""
    taken: dict[Path, str] = {}
    for option, path in given.items():
        if path is None:
            continue
        suffix = ".csv" if option == "--csv" else ".png"
        if path.suffix.lower() != suffix:
            raise UsageError(f"{option} {path}: give a name that ends in {suffix}")
        place = path.resolve()
        if dataset.resolve() in place.parents:
            raise UsageError(f"{option} {path} lies in the dataset, which is not written to: choose another place")
        if not place.parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {path.parent}")
        if place in taken:
            raise UsageError(f"{option} and {taken[place]} are both {path}: give each a name of its own")
        taken[place] = option


def _grouped(
    rule: Callable[[str], str | None], pairs: Sequence[PairRow], measured: Sequence[Figures]
) -> dict[str, Group]:  # fmt: skip
    """The images by the key that their source has, the others under ""."""
    members: dict[str, tuple[list[Figures], list[str]]] = {}
    for pair, figures in zip(pairs, measured, strict=True):
        some, groups = members.setdefault((rule(pair.source) or "").replace("\n", " "), ([], []))
        some.append(figures)
        groups.append(pair.group)
    return {key: Group(len(some), means(some), intervals(some, groups)) for key, (some, groups) in sorted(members.items())}


class _Ranked:
    """The images that were restored worst and best so far, at most `most` of each, if they are wanted."""

    def __init__(self, higher: bool, worst: bool, best: bool, most: int):
        self._sign, self._wanted, self._most = (1 if higher else -1), (worst, best), most
        self._kept: tuple[list[tuple[float, Shown]], ...] = ([], [])

    def add(self, value: float, shown: Shown) -> None:
        for kept, wanted, sign in zip(self._kept, self._wanted, (self._sign, -self._sign), strict=True):
            if wanted:
                kept.append((sign * value, shown))
                kept.sort(key=lambda each: each[0])
                del kept[self._most :]

    @property
    def worst(self) -> list[Shown]:
        """The worst first."""
        return [shown for _, shown in self._kept[0]]

    @property
    def best(self) -> list[Shown]:
        """The best first."""
        return [shown for _, shown in self._kept[1]]


def _other_task(learned: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """A line where the model learned from other degradations than those of the dataset; nothing is known of classic ones."""
    names = [sorted({step.partition(":")[0] for step in steps}) for steps in (learned, given)]
    if not all(names) or (set(names[0]) >= set(names[1]) and _kind(names[0]) == _kind(names[1])):
        return ()
    return (f"the model learned from {', '.join(names[0])}, these pairs are of {', '.join(names[1])}: it was not made for them",)


def _kind(names: Sequence[str]) -> str:
    return "mosaic" if "mosaic" in names else "gray" if "grayscale" in names else ""


def split_pairs(dataset: Dataset, split: str) -> list[PairRow]:
    """The pairs of a split. Raises DatasetError where it has none, saying which splits have some."""
    pairs = dataset.pairs(split)
    if not pairs:
        others = [f"{name} ({len(dataset.pairs(name))})" for name in SPLITS if dataset.pairs(name)]
        advice = f"pairs are in {', '.join(others)}" if others else "no split has any"
        raise DatasetError(f"the split {split} of {dataset.folder} holds no pairs: {advice}")
    return pairs


def _restore(engine: Engine, pairs: Sequence[PairRow], direction: str) -> Iterator[tuple[PairRow, dict[str, Rgb]]]:
    halves = [read_halves(pair, engine.size, direction) for pair in pairs]
    inputs = np.stack([a for a, _ in halves])  # (N, S, S, 3) uint8
    restored = engine.restore(inputs)
    told = engine.card["cell"] and all(priors.has_mosaic(pair.degradations) for pair in pairs)
    known = [cells.recorded(a, pair.degradations) for pair, a in zip(pairs, inputs, strict=True)] if told else None
    better = engine.restore(inputs, known) if told else [None] * len(pairs)
    for pair, (a, b), image, with_grid in zip(pairs, halves, restored, better, strict=True):
        images = pair_images(a, b, image, pair.degradations, more=("lanczos",))
        yield pair, images if with_grid is None else {**images, KNOWN: with_grid}


def read_halves(pair: PairRow, size: int, direction: str) -> tuple[Rgb, Rgb]:
    """The halves (a, b) of a pair, each uint8 (size, size, 3). Raises DatasetError."""
    try:
        a, b = split_pair(image_io.decode(pair.read(), pair.name).rgb8, direction)
    except PhotoError as error:
        raise DatasetError(f"the dataset is damaged: {error}") from error
    if a.shape != (size, size, 3):
        raise DatasetError(
            f"{pair.name} holds images of {a.shape[1]}x{a.shape[0]}, the model restores {size}x{size}: "
            f"build a dataset with --size {size}, or use another model"
        )
    return a, b

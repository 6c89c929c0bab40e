"""Training: a dataset folder and a run folder in, a run that can be stopped, resumed and trusted out. Read top to bottom."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools.dataset import Dataset, open_dataset
from dataset_tools.errors import MissingDependency, RunError, UsageError
from pix2pix import workers
from pix2pix.batches import Batches
from pix2pix.events import Event
from pix2pix.run_folder import RunFolder
from pix2pix.spec import PRECISIONS, Spec
from pix2pix.stopper import Stopper
from pix2pix.task import metric_of, metrics_told, model_card, recipe_anew, spec_for
from pix2pix.validation import Figures, Validation

LOG_EVERY = 50  # steps whose mean losses make one row of the log
UNLESS_TOLD = {"steps": 5000, "val_every": 250, "checkpoint_every": 250, "patience": 0}  # patience 0 is never
FEW = 100  # pairs that a model learns by heart
STRATEGIES = ("none", "mirrored", "multiworker")


@dataclass(frozen=True)
class TrainReport:
    """How a run stands when `train_model` returns. Figures are means over the validation images, baselines beside them."""

    run: Path
    steps: int
    seconds: float  # of steps and loading since step 0, without validation and export
    figures: Figures | None  # of the last validation
    best: Mapping[str, Any] | None  # best.json
    model: Path | None
    ended: str = "steps"  # what it ended by: steps | patience | seconds


def train_model(
    dataset: Path, run: Path, *, preset: str = "mend", steps: int | None = None, batch: int | None = None, seed: int = 0,
    updates: str = "fused", precision: str = "auto", direction: str = "AtoB", ema: float | None = None, recalibrate: int = 0,
    metric: str = "auto", patience: int | None = None, source: Path | None = None, warmup_d: int | None = None,
    val_images: int = 64, val_every: int | None = None, checkpoint_every: int | None = None, cooldown: int = 0,
    max_seconds: float = math.inf, device: str = "auto", threads: int | None = None, inexact: bool = False,
    strategy: str = "none", tell: Callable[[Event], None] = lambda event: None,
) -> TrainReport:  # fmt: skip
    """Trains `preset` on the train split of `dataset` until `steps` updates are done; the same call resumes, bit for bit.

    Args:
        steps, val_every, checkpoint_every, patience: None is what the run was begun with; see UNLESS_TOLD for a new one.
        batch: pairs a step; None is the preset's own.
        updates: "fused" (one pass, both networks) or "article" (the printed loop).
        precision: "float32", "mixed_bfloat16", or "auto": what this machine is good at, decided at step 0 and kept.
        direction: "BtoA" for classic datasets that hold the input on the right.
        ema: decay of the moving average of the generator's weights, 0 is none; None is the preset's own.
        recalibrate: take BatchNorm's statistics anew, from so many training batches, before each validation and export.
        metric: the best model is chosen by it; "auto" is delta_e for colorization, else psnr.
        patience: end after so many validations without a new best one; 0 is never.
        source: take the first weights from a model file (the generator) or a run folder (both networks).
        warmup_d: first steps in which D trains alone; None is 200 where `source` is a model file, else 0.
        val_images: validation images, chosen by hash; figures are given every `val_every` steps and at the end.
        cooldown: steps in which the learning rate falls to 0 in a line, and the run is over; 0: it does not.
        max_seconds: of steps and loading in this call, after which it ends as if `steps` were reached.
        device: "gpu" refuses to train without one, "cpu" uses none, "auto" takes what there is.
        threads: of the CPU; None is all that there are, or what the run began with.
        inexact: go on with a run on another machine, precision, number of threads or versions, no longer bit for bit.
        strategy: "mirrored" (the GPUs of this machine) or "multiworker" (several machines, by TF_CONFIG).

    Raises:
        DatasetError, RunError, UsageError, FolderBusy, OutputError: one line each. Ctrl-C and SIGTERM save first.
    """
    # --- what is to be done
    data = open_dataset(dataset, direction)
    spec = replace(spec_for(preset, data, batch, ema, cooldown), recalibrate=recalibrate)
    metric = metric_of(metric, data)
    folder = RunFolder(run)
    told = {"steps": steps, "val_every": val_every, "checkpoint_every": checkpoint_every, "patience": patience}
    begun_with = folder.options() or ({"steps": cooldown} if cooldown else {})
    steps, val_every, checkpoint_every, patience = _unless_told(told, begun_with)
    if cooldown and steps > cooldown:
        raise UsageError(f"--steps {steps}: after --cooldown {cooldown} nothing moves any more: give as many or fewer")
    origin = _origin(source, spec, folder)
    spec = replace(spec, alone=0) if origin else spec  # its G has learned alone already
    warmup_d = (200 if origin and origin["kind"] == "model" else 0) if warmup_d is None else warmup_d
    _check(spec, seed, updates, precision, warmup_d, strategy, max_seconds)
    asked = {"dataset": data.fingerprint, "preset": preset, "spec": spec.to_json(), "seed": seed, "updates": updates,
             "direction": direction, "metric": metric, "patience": patience, "from": origin, "warmup_d": warmup_d,
             "val_images": val_images, "steps": steps, "val_every": val_every, "checkpoint_every": checkpoint_every,
             "strategy": strategy}  # fmt: skip
    pairs = data.pairs("train")
    several = workers.told() if strategy == "multiworker" else None
    part = (several.rank, len(several.addresses)) if several else (0, 1)
    chief = part[0] == 0
    batches = Batches(pairs, spec.size, spec.batch, seed, jitter=spec.jitter, flip=spec.flip, direction=direction,
                      anew=recipe_anew(data) if spec.fresh else (), window=spec.cells_side, spill=run, part=part)  # fmt: skip
    validation = Validation(
        data.pairs("val"), spec.size, val_images, direction, spec.batch, metrics_told(data, metric), spec.cells_side, spec.stride
    )
    with folder.lock() if chief else nullcontext(), Stopper() as stopper:
        # --- the machine, as the run began with it
        held = folder.begin(asked) if chief else None
        if chief and (folder.steps() or [0])[-1] > steps:
            raise UsageError(f"--steps {steps}: the run {run} has done {folder.steps()[-1]} already: give as many or more")
        tell(Event("loading", 0, steps, {}))

        from pix2pix.backend import keras  # seconds, and not needed to refuse the above
        from pix2pix.step import steps as backend_of

        backend = backend_of()
        was = held["exact"] if held else {}
        spread, in_use = _devices(backend, device, threads or was.get("threads"), strategy, several)
        if threads and in_use != threads:
            raise UsageError(f"--threads {threads}: the backend takes {in_use} here and no other number, leave it away")
        exact = _exact(was.get("precision", "auto") if precision == "auto" else precision, in_use, spread)
        if held:
            folder.check_exact(held, exact, inexact)
        stopper.listen()  # not before: there is nothing to save, and with several workers TensorFlow takes SIGTERM for itself
        if spread and spec.batch % spread.replicas:
            raise UsageError(f"{spec.batch} pairs a step cannot be shared by {spread.replicas} devices: give a --batch that can")
        if chief:
            folder.write(asked, exact)
        done = (folder.steps() or [0])[-1]
        if spread:
            done = spread.agree(done)
            if not chief:
                folder.await_run(asked)

        # --- the model, and where it stands
        from pix2pix.model import Pix2Pix
        from pix2pix.watch import Watch

        keras.utils.set_random_seed(seed)
        with spread.scope() if spread else nullcontext():
            model = Pix2Pix(spec, updates=updates, precision=exact["precision"])
        seconds, window = 0.0, list[dict[str, float]]()
        if done:
            arrays, state = folder.load(done)
            model.set_variables(arrays)
            seconds, window = state["seconds"], state["window"]
        elif source is not None and origin is not None:
            from pix2pix.origin import adopt

            adopt(model, source, origin)

        def card(step: int, figures: Figures | None) -> dict[str, Any]:
            return model_card(spec, data, step, figures, direction)

        watch = Watch(folder, model, validation, metric, card, batches.at, tell, warmup_d, chief)
        watch.begin(done)
        if done and chief and (best := folder.best()) and not folder.model.exists():  # somebody removed it
            model.set_variables(folder.load(best["step"])[0])
            watch.keep_best(best["step"], best["figures"])
            model.set_variables(arrays)

        def stale() -> int:
            count = watch.stale()
            return spread.agree(count) if spread else count

        start, last_saved, began = done, done, seconds
        ended = "patience" if patience and stale() >= patience else "steps"
        tell(Event("start", done, steps, {"pairs": len(batches), "spec": spec, "resumed": bool(done), "exact": exact}))
        for text in _notes(data, spec, batches, len(validation), (done, steps), warmup_d, source):
            tell(Event("note", done, steps, {"text": text}))

        def save(step: int) -> None:
            nonlocal last_saved
            if chief:
                arrays = {name: np.asarray(value).copy() for name, value in model.variables_by_path().items()}
                folder.save(step, arrays, {"seconds": seconds, "window": window})
            last_saved = step

        # --- the loop
        with watch:
            tick = time.perf_counter()
            for a, b in batches.stream(start, steps if ended == "steps" else start, ahead=_ahead(backend)):
                losses = model.train_on_batch(a, b, play_at(done, spec, warmup_d))
                done += 1
                seconds += time.perf_counter() - tick
                _check_finite(losses, done, last_saved, run)
                window.append(losses)
                means = _means(window)  # what is told is what is logged
                ended = "steps" if done == steps else "seconds" if seconds - began >= max_seconds else ""
                if done % LOG_EVERY == 0 or ended:
                    watch.losses(done, means, seconds)
                    window = []
                share = max_seconds / max(seconds - began, 1e-9)
                within = min(steps, max(done + 1, start + int((done - start) * share))) if math.isfinite(share) else steps
                tell(Event("step", done, done if ended else within, {**means, "seconds": seconds - began}))
                if done % val_every == 0 or ended:
                    if watch.validate(done, steps, seconds):
                        save(done)  # the best one stays on disk
                        watch.keep_best(done, watch.figures)
                    if patience and not ended and stale() >= patience:
                        ended = "patience"
                stop = bool(ended or stopper.asked)  # asked once: what stops here is saved here
                if (done % checkpoint_every == 0 or stop) and last_saved != done:
                    save(done)
                if stopper.asked:
                    tell(Event("note", done, steps, {"text": f"stopped and saved at step {done}"}))
                if stop:
                    break
                tick = time.perf_counter()
            watch.draw_timeline(steps)
            if not stopper.asked and chief:
                watch.summarise(done, seconds, ended, exact)
            if spread and not stopper.asked:
                spread.agree(done)  # all wait until everything is written
        return TrainReport(run, done, seconds, watch.figures or _last_figures(folder), folder.best(),
                           folder.model if folder.model.exists() else None, ended)  # fmt: skip


def play_at(step: int, spec: Spec, warmup_d: int) -> str:
    """Which networks the update after `step` changes: D alone until `warmup_d`, then G alone until `spec.alone`, then both."""
    if step < warmup_d:
        return "discriminator"
    return "generator" if step < spec.alone else "both"


def _check(spec: Spec, seed: int, updates: str, precision: str, warmup_d: int, strategy: str, max_seconds: float) -> None:
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: give 0 to {2**32 - 1}")
    if updates == "article" and (spec.generator.starts_from == "cells" or spec.alone or warmup_d):
        raise UsageError("--updates article trains both networks at each step, and knows no cells: take it with --preset article "
                         "or paper, and --warmup-d 0")  # fmt: skip
    if spec.recalibrate and spec.generator.kind == "residual":
        raise UsageError(f"--recalibrate: {spec.name} has no BatchNorm whose statistics could be taken anew, leave it away")
    if precision not in ("auto", *PRECISIONS):
        raise UsageError(f"--precision {precision}: choose one of auto, {', '.join(PRECISIONS)}")
    if strategy not in STRATEGIES:
        raise UsageError(f"--strategy {strategy}: choose one of {', '.join(STRATEGIES)}")
    if strategy != "none" and (updates != "fused" or math.isfinite(max_seconds)):
        raise UsageError(f"--strategy {strategy} goes with --updates fused, and without a limit of time")


def _origin(source: Path | None, spec: Spec, folder: RunFolder) -> dict[str, Any] | None:
    """What run.json keeps of `source`. A run with a checkpoint has its weights: that file may have changed since, or be gone."""
    held: dict[str, Any] | None = folder.options().get("from") if folder.steps() else None
    if held and (source is None or not source.exists() or source.is_dir() == (held["kind"] == "run")):
        return held
    if source is None:
        return None
    from pix2pix.origin import describe

    return describe(source, spec)


def _devices(
    backend: Any, device: str, threads: int | None, strategy: str, several: workers.Workers | None
) -> tuple[Any, int]:  # fmt: skip
    """What must be set up before anything is computed: (the devices that share each batch, or None; the threads in use)."""
    in_use = backend.prepare(threads or len(os.sched_getaffinity(0)), device)
    if device == "gpu" and not backend.accelerators():
        raise MissingDependency("no GPU was found: install a driver of NVIDIA's and pip install 'photomend[gpu]', or leave "
                                "--device gpu away")  # fmt: skip
    return (backend.Spread(several) if strategy != "none" else None), in_use


def _exact(precision: str, threads: int, spread: Any) -> dict[str, Any]:
    """What the run's exactness depends on; `precision` "auto" is decided here, by the first worker for all of them."""
    from pix2pix import machine

    if precision == "auto":
        precision = machine.best_precision()
    if spread:
        precision = PRECISIONS[spread.agree(PRECISIONS.index(precision))]
    return machine.exact(precision, threads) | ({"devices": spread.replicas} if spread else {})


def _unless_told(told: Mapping[str, int | None], begun_with: Mapping[str, Any]) -> Iterator[int]:
    """Each option as it was given, or as the run was begun with, or as a new run has it."""
    return (int(begun_with.get(name, UNLESS_TOLD[name]) if value is None else value) for name, value in told.items())


def _notes(
    data: Dataset, spec: Spec, batches: Batches, validated: int, span: tuple[int, int], warmup_d: int, source: Path | None
) -> Iterator[str]:
    done, steps = span
    if source is not None and not done:
        yield f"the first weights are those of {source}"
    if done < warmup_d:
        yield f"the discriminator trains alone until step {warmup_d} (--warmup-d), and the generator does not change before"
        if steps <= warmup_d:
            yield f"after --steps {steps} the model is still the one that this began with: give more, or --warmup-d 0"
    elif done < spec.alone:
        yield f"the generator trains alone until step {spec.alone}"
    if not validated:
        yield ("the val split is empty: no figures, nothing that --metric and --patience could go by, and model.onnx follows the "
               "newest step")  # fmt: skip
    if spec.fresh and not batches.anew:
        yield "the inputs are taken from the pairs as they are: this recipe cannot be laid on them anew"
    if len(batches) < FEW:
        yield f"{len(batches)} pairs are few: the model will learn them by heart"


def _ahead(backend: Any) -> int:
    """Batches that are loaded ahead: an accelerator is fed by several threads, a CPU has better to do."""
    return min(16, len(os.sched_getaffinity(0))) if backend.accelerators() else 1


def _means(window: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each loss over the steps that have it."""
    names = dict.fromkeys(name for row in window for name in row)
    return {name: float(np.mean([row[name] for row in window if name in row])) for name in names}


def _check_finite(losses: Mapping[str, float], step: int, last_saved: int, run: Path) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            network = "discriminator" if name.startswith("d_") else "generator"
            what = "gradient" if name.endswith("gradient") else "loss"
            kept, then = "there was no checkpoint yet", ""
            if last_saved:
                kept = f"the checkpoint of step {last_saved} is kept"
                then = f", or go on from that checkpoint in a new run with --from {run}"
            raise RunError(f"the {network}'s {what} {name} is {value} at step {step}: {kept}; start a new run with another "
                           f"--seed or --precision float32{then}")  # fmt: skip


def _last_figures(folder: RunFolder) -> Figures | None:
    found = [row["figures"] for row in folder.rows() if row["kind"] == "validation"]
    return found[-1] if found else None

"""What looks at a run without changing it: validation, the best model, the log, TensorBoard, the timeline, alarms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np

from dataset_tools import files, image_io
from dataset_tools.errors import ModelFileError
from pix2pix import model_file
from pix2pix.alarms import alarms
from pix2pix.batches import Batch
from pix2pix.board import Board
from pix2pix.events import Event
from pix2pix.export import write_model_file
from pix2pix.model import Pix2Pix
from pix2pix.run_folder import RunFolder, best_of
from pix2pix.timeline import Timeline
from pix2pix.validation import SHOWN, Figures, Validation, better, unbeaten

PATCH_SIDE = 128  # pixels of each map of D's patches on the board


class Watch:
    """One run's eyes. A context manager; `writes` False looks and writes nothing (a worker that is not the chief).

    Args:
        card: step, figures -> the card of a model file.
        metric: the one that the best model is chosen by.
        batch: step -> a training batch, for recalibration.
        warmup_d: the first steps, in which the generator does not change.
    """

    def __init__(
        self, folder: RunFolder, model: Pix2Pix, validation: Validation, metric: str,
        card: Callable[[int, Figures | None], dict[str, Any]], batch: Callable[[int], Batch],
        tell: Callable[[Event], None], warmup_d: int = 0, writes: bool = True,
    ):  # fmt: skip
        self.folder, self.model, self.validation, self.metric = folder, model, validation, metric
        self.card, self.batch, self.tell, self.warmup_d, self.writes = card, batch, tell, warmup_d, writes
        self.figures: Figures | None = None  # of the last validation in this call
        self._files = ExitStack()

    def begin(self, step: int) -> None:
        """Goes on from `step`: what is told of later ones will be told again."""
        if self.writes:
            self.folder.rewind(step, better(self.metric))
            (self.folder.folder / "summary.json").unlink(missing_ok=True)
            best, found = self.folder.best(), best_of(self.folder.rows(), better(self.metric))
            written = best["step"] if best else None
            if found and found["step"] == step != written:  # it was stopped between the checkpoint and the model file
                self.keep_best(step, found["figures"])
            self.timeline = Timeline(self.folder.folder / "samples")
            self.timeline.rewind(step)
            self.board = self._files.enter_context(Board(self.folder.folder / "tensorboard", step))

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def losses(self, step: int, means: Mapping[str, float], seconds: float) -> None:
        """One row of the log: the mean losses of the last steps; `seconds` of training since step 0."""
        if self.writes:
            self.folder.log({"kind": "losses", "step": step, "losses": dict(means), "time": {"seconds": round(seconds, 3)}})
            self.board.scalars(step, {f"loss/{name}": value for name, value in means.items()})

    def validate(self, step: int, steps: int, seconds: float) -> bool:
        """Restores the validation images, tells, draws and logs the figures; True where the model is the best so far.

        `keep_best` is to follow then, once its checkpoint is written. Without validation images the newest model is the best one.
        """
        figures = None
        if self.model.spec.recalibrate:
            self.model.recalibrate(map(self.batch, range(self.model.spec.recalibrate)))
        if len(self.validation):
            averaged = self.model.ema is not None
            restored = self.validation.restore(lambda a: self.model.restore(a, averaged))
            figures = {"restored": self.validation.mean(restored)}
            if averaged:
                figures["raw"] = self.validation.mean(self.validation.restore(self.model.restore))
            figures |= self.validation.figures
            self.figures = figures
            self.tell(Event("validation", step, steps, figures))
            if self.writes:
                self._keep(step, figures, restored, seconds)
        if not self.writes:
            return False
        for name, text in alarms(self.folder.rows(), self.metric, self.warmup_d):
            self._alarm(step, steps, name, text)
        best = self.folder.best()
        return figures is None or best is None or better(self.metric)(figures, best["figures"])

    def _keep(self, step: int, figures: Figures, restored: Sequence[np.ndarray], seconds: float) -> None:
        folder = self.folder.folder
        diversity = round(self.validation.diversity(restored), 4)
        self.folder.log({"kind": "validation", "step": step, "figures": figures, "diversity": diversity,
                         "time": {"seconds": round(seconds, 3)}})  # fmt: skip
        header = f"{self.model.spec.name}, step {step}: " + ", ".join(
            f"{name} {row['psnr']:.2f} dB / {row['ssim']:.3f}" for name, row in figures.items()
        )
        grid = self.validation.grid(restored, header)
        image_io.write(folder / "samples" / f"step-{step:06d}.png", grid, "PNG")
        own = figures["restored"]
        colour = f"ΔE {own['delta_e']:.1f} · " if "delta_e" in own else ""  # a gray copy wins on the others
        self.timeline.add(step, restored, f"{colour}{own['psnr']:.2f} dB · {own['ssim']:.3f}")
        self.board.scalars(
            step, {f"validation/{metric}/{name}": value for name, row in figures.items() for metric, value in row.items()}
        )
        self.board.image(step, "validation/grid", grid)
        if step > self.model.spec.alone:  # before, it has learned nothing
            self.board.image(step, "discriminator/patches", self._patches(restored))

    def _patches(self, restored: Sequence[np.ndarray]) -> np.ndarray:
        """D's opinion of the first images, uint8: above on the originals, below on what was restored; white is "real"."""
        a, b, fake = self.validation.sides(restored)
        rows = []
        for images in (b, fake):
            logits = self.model.judge(a, images)[:SHOWN, :, :, 0]  # (n, h, w)
            shares = np.clip(logits, 0, 1) if self.model.spec.adversarial == "mse" else 1 / (1 + np.exp(-logits))
            rows.append(np.concatenate([cv2.resize(np.rint(255 * each).astype(np.uint8), (PATCH_SIDE, PATCH_SIDE),
                                                   interpolation=cv2.INTER_NEAREST) for each in shares], axis=1))  # fmt: skip
        return np.repeat(np.concatenate(rows)[:, :, None], 3, axis=2)

    def keep_best(self, step: int, figures: Figures | None) -> None:
        """Writes the model as model.onnx, and best.json. An export that fails is an alarm, and the one before stays."""
        probe = None
        if len(self.validation):
            probe = self.validation.sides(self.validation.a)[0][:2]
        network = self.model.generator if self.model.ema is None else self.model.ema
        try:
            write_model_file(network, self.folder.model, self.card(step, figures), probe)
        except ModelFileError as error:
            self._alarm(step, step, "not_exported", f"{error}; the training goes on")
            return
        self.folder.set_best({"step": step, "metric": self.metric, "figures": figures})

    def _alarm(self, step: int, steps: int, name: str, text: str) -> None:
        self.folder.log({"kind": "alarm", "step": step, "name": name, "text": text})
        self.tell(Event("alarm", step, steps, {"name": name, "text": text}))

    def stale(self) -> int:
        """Validations since the best one, and since the generator changes."""
        steps = [row["step"] for row in self.folder.rows() if row["kind"] == "validation"]
        best = self.folder.best()
        return sum(step > max(best["step"], self.warmup_d) for step in steps) if best else 0

    def draw_timeline(self, steps: int) -> None:
        """samples/timeline.png and .webp."""
        if self.writes and len(self.validation):
            self.timeline.write(self.validation.a, self.validation.b, steps)

    def summarise(self, step: int, seconds: float, ended: str, exact: Mapping[str, Any]) -> None:
        """Writes summary.json: how the run stands, in one place."""
        rows, best = self.folder.rows(), self.folder.best()
        validations = [row["figures"] for row in rows if row["kind"] == "validation"]
        value = {
            "ended": ended, "steps": step, "seconds": round(seconds, 3),
            "images_per_second": round(step * self.model.spec.batch / seconds, 3) if seconds else None,
            "preset": self.model.spec.name, "parameters": {
                "generator": self.model.generator.count_params(), "discriminator": self.model.discriminator.count_params()},
            "metric": self.metric, "best": best, "last": validations[-1] if validations else None,
            "unbeaten": unbeaten(best["figures"], self.metric) if best and best["figures"] else None,
            "alarms": [{name: row[name] for name in ("step", "name", "text")} for row in rows if row["kind"] == "alarm"],
            "model": {"file": self.folder.model.name, "sha256": model_file.sha256(self.folder.model)} if best else None,
            "exact": dict(exact),
        }  # fmt: skip
        files.replace_json(self.folder.folder / "summary.json", value)

"""What goes wrong in a training, in words and in time: a function of the log, so that a resumed run tells the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dataset_tools.metrics import METRICS

Row = Mapping[str, Any]

WINDOWS = 10  # rows of losses (each the mean of LOG_EVERY steps) that an alarm looks back on
WON = 0.02  # a D whose two losses (mse; half of it for real, half for generated) stay below this has won
COLLAPSED = 0.2  # the share of the originals' diversity below which the restored images are all alike
VALIDATIONS = 4  # in a row that are worse than the best one before them


def alarms(rows: Sequence[Row], metric: str, warmup_d: int = 0) -> list[tuple[str, str]]:
    """(name, what it means and what to do) for what is wrong after the last of `rows`, the log of a run so far.

    Each name is told again only after WINDOWS rows of losses. `metric` is the one that the best model is chosen by;
    up to step `warmup_d` the generator does not change.
    """
    looked = _discriminator_wins(rows), _collapse(rows), _stands_still(rows, warmup_d), _overfits(rows, metric)
    found = [alarm for alarm in looked if alarm]
    recent = {row["name"] for row in _since(rows, WINDOWS) if row["kind"] == "alarm"}
    return [(name, text) for name, text in found if name not in recent]


def _since(rows: Sequence[Row], windows: int) -> Sequence[Row]:
    """The last rows, back to the `windows`-th last row of losses."""
    seen = 0
    for place in range(len(rows) - 1, -1, -1):
        seen += rows[place]["kind"] == "losses"
        if seen == windows:
            return rows[place:]
    return rows


def _of(rows: Sequence[Row], kind: str) -> list[Row]:
    return [row for row in rows if row["kind"] == kind]


def _discriminator_wins(rows: Sequence[Row]) -> tuple[str, str] | None:
    recent = [row["losses"] for row in _of(rows, "losses")[-WINDOWS:]]
    if len(recent) < WINDOWS or not all("d_loss" in each and max(each["d_real"], each["d_fake"]) < WON for each in recent):
        return None
    return "discriminator_wins", (
        f"the discriminator has won: its losses stay below {WON} (now {recent[-1]['d_real']:.4f} for the originals, "
        f"{recent[-1]['d_fake']:.4f} for what was restored), so its gradient teaches the "
        "generator little; more photos, or a preset with a smaller discriminator, would help"
    )


def _collapse(rows: Sequence[Row]) -> tuple[str, str] | None:
    validations = _of(rows, "validation")
    if not validations or validations[-1].get("diversity", 1.0) >= COLLAPSED:
        return None
    return "generator_collapses", (
        f"the restored images are nearly all alike (they differ {validations[-1]['diversity']:.0%} as much as the originals): "
        "the generator has collapsed; start a new run with another --seed, or with --from and the model.onnx of this one"
    )


def _stands_still(rows: Sequence[Row], warmup_d: int) -> tuple[str, str] | None:
    """Two validations that differ in no figure: the layers before the last one give nothing any more."""
    validations = [row for row in _of(rows, "validation") if row["step"] >= warmup_d][-2:]
    if len(validations) < 2 or not validations[0]["step"] < validations[1]["step"]:
        return None
    before, now = (row["figures"].get("raw", row["figures"]["restored"]) for row in validations)
    if before != now:
        return None
    return "generator_stands_still", (
        f"the restored images are those of step {validations[0]['step']} exactly: the generator no longer learns; start "
        "a new run with another --seed"
    )


def _overfits(rows: Sequence[Row], metric: str) -> tuple[str, str] | None:
    validations = _of(rows, "validation")
    if len(validations) <= VALIDATIONS:
        return None
    sign = 1 if METRICS[metric].better == "higher" else -1
    values = [sign * row["figures"]["restored"][metric] for row in validations]
    if max(values[-VALIDATIONS:]) >= max(values[:-VALIDATIONS]):
        return None
    best = validations[values.index(max(values))]
    before, after = _l1_at(rows, best["step"]), _l1_at(rows, validations[-1]["step"])
    if before is None or after is None or after >= before:
        return None
    return "overfits", (
        f"the last {VALIDATIONS} validations are worse than that of step {best['step']} while the training loss still falls "
        f"(L1 {before:.4f} then, {after:.4f} now): it may be learning its photos by heart; model.onnx stays that of step "
        f"{best['step']}, and --patience N ends a run after N such validations"
    )


def _l1_at(rows: Sequence[Row], step: int) -> float | None:
    found = [row["losses"]["g_l1"] for row in _of(rows, "losses") if row["step"] <= step and "g_l1" in row["losses"]]
    return found[-1] if found else None

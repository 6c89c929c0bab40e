from __future__ import annotations

from typing import Any

import pytest

from pix2pix.alarms import COLLAPSED, VALIDATIONS, WINDOWS, WON, alarms

Rows = list[dict[str, Any]]

WINS = (
    "the discriminator has won: its losses stay below 0.02 (now 0.0100 for the originals, "
    "0.0100 for what was restored), so its gradient teaches the generator little; more "
    "photos, or a preset with a smaller discriminator, would help"
)
COLLAPSES = (
    "the restored images are nearly all alike (they differ 12% as much as the originals): the generator has collapsed; start a "
    "new run with another --seed, or with --from and the model.onnx of this one"
)
OVERFITS = (
    "the last 4 validations are worse than that of step 100 while the training loss still falls (L1 0.0800 then, 0.0400 now): "
    "it may be learning its photos by heart; model.onnx stays that of step 100, and --patience N ends a run after N such "
    "validations"
)


def losses(step: int, d: float = 0.25, l1: float = 0.1) -> dict[str, Any]:
    values = {"d_loss": d, "d_real": d, "d_fake": d, "g_loss": 1.0, "g_adversarial": 0.3, "g_l1": l1}
    return {"kind": "losses", "step": step, "losses": values}


def validation(step: int, psnr: float, diversity: float = 0.9) -> dict[str, Any]:
    figures = {"restored": {"psnr": psnr, "delta_e": psnr, "l1": 1 / (step + 1)}, "input": {"psnr": 10.0, "delta_e": 10.0}}
    return {"kind": "validation", "step": step, "figures": figures, "diversity": diversity}


def told(rows: Rows, metric: str = "psnr") -> list[str]:
    return [name for name, _ in alarms(rows, metric)]


def healthy(count: int = 20) -> Rows:
    rows: Rows = []
    for number in range(1, count + 1):
        rows += [losses(50 * number, d=0.2, l1=0.1 / number), validation(50 * number, 20 + number / 10)]
    return rows


def test_a_healthy_run_raises_none() -> None:
    rows = healthy()
    for length in range(len(rows) + 1):
        assert alarms(rows[:length], "psnr") == []


def test_a_generator_that_stands_still() -> None:
    text = "the restored images are those of step 50 exactly: the generator no longer learns; start a new run with another --seed"
    rows = [validation(50, 22.0), losses(100), validation(100, 22.0)]
    assert alarms(rows, "psnr") == []  # one figure moved
    rows[2]["figures"] = {name: dict(figures) for name, figures in rows[0]["figures"].items()}
    assert alarms(rows, "psnr") == [("generator_stands_still", text)]
    assert alarms([rows[0], validation(50, 22.0)], "psnr") == []  # that of a run's end, once more
    assert alarms(rows, "psnr", warmup_d=50) == [("generator_stands_still", text)]
    assert alarms(rows, "psnr", warmup_d=51) == []  # it was not to change before
    for row, raw in ((rows[0], 21.0), (rows[2], 21.5)):  # the moving average may stand still at first
        row["figures"]["raw"] = {"psnr": raw, "delta_e": raw}
    assert alarms(rows, "psnr") == []


def test_a_discriminator_that_has_won() -> None:
    rows = [losses(50 * number, d=0.01) for number in range(1, WINDOWS + 1)]
    assert alarms(rows, "psnr") == [("discriminator_wins", WINS)]
    assert alarms(rows[1:], "psnr") == []  # not yet
    for place, name in ((0, "d_real"), (4, "d_fake"), (9, "d_real")):  # one loss of one window is not below
        better = [{**row, "losses": dict(row["losses"])} for row in rows]
        better[place]["losses"][name] = WON
        assert alarms(better, "psnr") == []


def test_steps_without_a_discriminator_are_no_victory() -> None:
    """A preset whose generator trains alone at first: those rows have no d_loss."""
    alone = [{"kind": "losses", "step": 50 * n, "losses": {"g_l1": 0.1, "g_loss": 10.0}} for n in range(1, WINDOWS + 1)]
    assert alarms(alone, "psnr") == []
    won = [losses(5000 + 50 * number, d=0.01) for number in range(1, WINDOWS + 1)]
    assert told([*alone, *won[:-1]]) == []
    assert told([*alone, *won]) == ["discriminator_wins"]


def test_a_generator_that_collapses() -> None:
    rows = [losses(50), validation(50, 20.0, diversity=0.9), losses(100), validation(100, 18.0, diversity=0.12)]
    assert alarms(rows, "psnr") == [("generator_collapses", COLLAPSES)]
    assert alarms(rows[:2], "psnr") == []
    assert told([validation(50, 20.0, diversity=COLLAPSED)]) == []
    assert told([validation(50, 20.0, diversity=COLLAPSED - 1e-6)]) == ["generator_collapses"]
    assert alarms([{**validation(50, 20.0), "diversity": 1.0}], "psnr") == []


def overfitting(count: int = VALIDATIONS, l1: float = 0.04) -> Rows:
    rows: Rows = []
    for number, psnr in enumerate([20.0, 22.0, *[21.0] * count], 1):
        rows += [losses(50 * number, l1=l1 if number == count + 2 else 0.12 - 0.02 * number), validation(50 * number, psnr)]
    return rows


def test_a_model_that_learns_by_heart() -> None:
    assert alarms(overfitting(), "psnr") == [("overfits", OVERFITS)]
    assert told(overfitting(VALIDATIONS - 1)) == []
    assert told(overfitting(l1=0.09)) == []  # the training loss does not fall: it has not learnt them by heart
    better = overfitting()
    better[-1] = validation(300, 22.0)  # as good as the best one
    assert told(better) == []


def test_by_a_metric_where_lower_is_better() -> None:
    rows = [row if row["kind"] == "losses" else validation(row["step"], 40 - row["figures"]["restored"]["psnr"])
            for row in overfitting()]  # fmt: skip
    assert alarms(rows, "delta_e") == [("overfits", OVERFITS)]
    falling = [row for n in range(1, 9) for row in (losses(50 * n, l1=0.1 / n), validation(50 * n, 20.0 - n))]
    assert told(falling, "delta_e") == []
    assert told(falling, "psnr") == ["overfits"]


def test_losses_without_l1_say_nothing() -> None:
    rows = overfitting()
    for row in rows:
        row.get("losses", {}).pop("g_l1", None)
    assert alarms(rows, "psnr") == []


@pytest.mark.parametrize("every", [1, 3])
def test_each_is_told_once_in_ten_windows(every: int) -> None:
    """As train_model calls it: at each validation, with what was told before in the log."""
    rows: Rows = []
    for number in range(1, 36):
        rows.append(losses(50 * number, d=0.01))
        if number % every == 0:
            rows.append(validation(50 * number, 20.0 + number, diversity=0.12))
            rows += [{"kind": "alarm", "step": 50 * number, "name": name, "text": text} for name, text in alarms(rows, "psnr")]
    when = {name: [row["step"] // 50 for row in rows if row.get("name") == name]
            for name in ("discriminator_wins", "generator_collapses")}  # fmt: skip
    if every == 1:
        assert when == {"discriminator_wins": [10, 20, 30], "generator_collapses": [1, 11, 21, 31]}
    else:
        assert when == {"discriminator_wins": [12, 24], "generator_collapses": [3, 15, 27]}


def test_one_alarm_does_not_hide_another() -> None:
    rows = [losses(50 * number, d=0.01) for number in range(1, WINDOWS + 1)]
    rows.append({"kind": "alarm", "step": 500, "name": "discriminator_wins", "text": WINS})
    rows.append(validation(500, 20.0, diversity=0.0))
    assert told(rows) == ["generator_collapses"]


def test_the_same_log_tells_the_same_again() -> None:
    rows = overfitting()
    assert alarms(rows, "psnr") == alarms([dict(row) for row in rows], "psnr")
    assert rows == overfitting()

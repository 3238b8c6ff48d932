"""The alignments' training curves over seeds."""

from __future__ import annotations

import pandas as pd

from recalltrap.kind import CURVES
from recalltrap_analysis.figures.training_curves import training_curves
from recalltrap_analysis.report.plots.training_curves import curves_over_seeds


def test_training_curves_of_ppo_and_of_dpo() -> None:
    rows = [
        {"ordering": ordering, "seed": seed, "stage": stage, "step": step, "metric": metric,
         "value": step * (1 + seed) + (100 if stage == "align-2" else 0)}
        for ordering in ("K-A", "A-K") for seed in (0, 1, 2) for stage in ("align", "align-2")
        for step in (10, 20, 30)
        for metric in ("reward", "reward_sd", "chosen_reward", "reward_margin", "loss")
    ]  # fmt: skip
    found = curves_over_seeds(pd.DataFrame(rows), ["K-A", "A-K"])
    assert {metric for metric, _ in found} == {
        "reward", "reward_sd", "chosen_reward", "reward_margin",
    }  # fmt: skip
    curve = found["chosen_reward", "A-K"]
    assert curve.step_T.tolist() == [10, 20, 30]
    assert curve.mean_T.tolist() == [20, 40, 60]
    assert (curve.low_T.tolist(), curve.high_T.tolist()) == ([10, 20, 30], [30, 60, 90])
    titles = {name: curve.title for name, curve in CURVES.items()}
    figure = training_curves(found, titles)
    drawn = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in drawn] == [
        titles[m] for m in CURVES if (m, "K-A") in found
    ]
    assert all(len(axes.lines) == 2 for axes in drawn)
    assert curves_over_seeds(pd.DataFrame(), ["K-A"]) == {}


def test_what_is_left_of_dpos_gradient_is_drawn() -> None:
    rows = [
        {"ordering": "K-A", "seed": seed, "stage": "align", "step": step, "value": 10 / step,
         "metric": "gradient_weight"}
        for seed in (0, 1) for step in (20, 40)
    ]  # fmt: skip
    [(key, curve)] = curves_over_seeds(pd.DataFrame(rows), ["K-A"]).items()
    assert key == ("gradient_weight", "K-A")
    assert curve.mean_T.tolist() == [0.5, 0.25]


def test_a_curve_stops_where_a_seed_does() -> None:
    rows = [
        {"ordering": "K-A", "seed": seed, "stage": "align", "step": step, "metric": "reward",
         "value": 1.0}
        for seed, last in ((0, 30), (1, 20)) for step in range(10, last + 1, 10)
    ]  # fmt: skip
    [curve] = curves_over_seeds(pd.DataFrame(rows), ["K-A"]).values()
    assert curve.step_T.tolist() == [10, 20]

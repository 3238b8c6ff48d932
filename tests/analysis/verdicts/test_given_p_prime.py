"""A p' that was given: effects over seeds × held-out prompts, and words for this p' alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from toy_language import language_run

from recalltrap_analysis.estimates.contrasts import COMPARISONS, EQUAL_KL_WEIGHT
from recalltrap_analysis.language.analysis import ANALYSIS
from recalltrap_analysis.runs.prompt_rewards import prompt_rewards
from recalltrap_analysis.statistics.paired import STUDENT
from recalltrap_analysis.statistics.two_way import TWO_WAY, two_way_mean
from recalltrap_analysis.verdicts import summary as summaries
from recalltrap_analysis.verdicts.summary import Summary, summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

NAMES = ("K-A", "A-K", "K-A@p'")
PROMPTS = 12


def with_responses(run: FakeRun, spread: float, prompts: int = PROMPTS) -> FakeRun:
    """Two responses to every prompt, whose mean rewards average to the cell's reward."""
    final = [
        row for row in run.tables["metrics"].to_pylist()
        if (row["model"], row["metric"]) == ("final", "reward")
    ]  # fmt: skip
    rows = []
    for row in final:
        lean_P = np.random.default_rng(NAMES.index(row["ordering"])).normal(size=prompts)
        own_P = np.random.default_rng([row["seed"], NAMES.index(row["ordering"])]).normal(
            size=prompts
        )
        levels_P = spread * (lean_P + 0.1 * own_P)
        levels_P = row["value"] + levels_P - levels_P.mean()
        rows += [
            {"cell_id": row["cell_id"], "model": "final", "prompt_id": str(prompt),
             "sample": sample, "reward": level + (0.5 if sample else -0.5)}
            for prompt, level in enumerate(levels_P)
            for sample in (0, 1)
        ]  # fmt: skip
    return replace(run, tables={**run.tables, "responses": pa.Table.from_pylist(rows)})


def judged(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, spread: float, given: bool = True,
    prompts: int = PROMPTS,
) -> Summary:  # fmt: skip
    record = replace(ANALYSIS, given_p_prime=lambda settings: given)
    monkeypatch.setattr(summaries, "record_of", lambda kind: record)
    run = with_responses(language_run(make_run(seeds=2), names=NAMES), spread, prompts)
    return summarize(run)


def test_prompts_widen_every_interval_and_move_no_value(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    over_seeds = judged(make_run, monkeypatch, 2.0, given=False)
    over_both = judged(make_run, monkeypatch, 2.0)
    assert "method" not in over_seeds.primary
    assert set(over_both.primary["method"]) == {TWO_WAY}
    for name in ("primary", "effects"):
        one, two = getattr(over_seeds, name), getattr(over_both, name)
        np.testing.assert_allclose(one["value"], two["value"], atol=1e-9)
    primary = [table.primary.iloc[0] for table in (over_seeds, over_both)]
    assert primary[1]["low"] < primary[0]["low"] - 0.01
    points = [table.order_effect for table in (over_seeds, over_both)]
    for name in ("order_effect", "severity"):
        assert (points[1][f"{name}_low"] < points[0][f"{name}_low"]).all()
    equal = over_both.effects[over_both.effects["comparison"] == "equal KL weight"]
    whole = equal[equal["metric"].eq("attainment") & equal["part"].eq("difference")]
    assert set(whole["method"]) == {TWO_WAY}
    one, two = over_seeds.effects, over_both.effects
    others = one["comparison"].ne(EQUAL_KL_WEIGHT) & one["n"].gt(1)
    assert set(two[others]["comparison"]) == {*COMPARISONS} - {EQUAL_KL_WEIGHT}
    assert set(one[others]["method"]) == {STUDENT}
    assert set(two[others]["method"]) == {TWO_WAY}
    for end in ("low", "lower"):
        assert (two[others][end] < one[others][end]).all()
    [advice], [wider] = (found.recommendations for found in (over_seeds, over_both))
    assert wider.gain_low < advice.gain_low, "what is recommended rests on intervals over both"
    assert over_both.recommendation.word == over_seeds.recommendation.word


def test_the_interval_is_that_of_the_matrix(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged(make_run, monkeypatch, 2.0)
    rows = found.outcomes[found.outcomes["kl_weight"] == 0.7].sort_values("seed")
    matrices = {name: prompt_rewards(rows[rows["ordering"] == name]) for name in ("A-K", "K-A")}
    first = rows[rows["ordering"] == "K-A"]
    room_N = (first["reward_supremum"] - first["p_second.reward"]).to_numpy()
    mean = two_way_mean((matrices["A-K"] - matrices["K-A"]) / room_N[:, None]).interval()
    at = found.order_effect[found.order_effect["kl_weight"] == 0.7].iloc[0]
    ends = ("order_effect", "order_effect_low", "order_effect_high")
    assert tuple(at[name] for name in ends) == pytest.approx((mean.value, mean.low, mean.high))
    [row] = found.effects[
        (found.effects["kl_weight"] == 0.7)
        & (found.effects["comparison"] == "equal KL weight")
        & (found.effects["metric"] == "attainment")
        & (found.effects["contrast"] == "A-K − K-A")
        & (found.effects["part"] == "difference")
    ].to_dict("records")
    assert (row["low"], row["high"]) == pytest.approx((mean.low, mean.high))
    assert mean.low < row["lower"] < row["value"] < row["upper"] < mean.high


def test_headline_and_advice_are_for_this_p_prime(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged(make_run, monkeypatch, 2.0)
    assert found.sentence.endswith("This is for this p', with intervals over seeds × prompts.")
    assert found.recommendation.sentence.endswith("This holds for this p'.")
    one_prompt = judged(make_run, monkeypatch, 0.0, prompts=1)
    assert one_prompt.sentence.endswith("for this p', with intervals over seeds alone.")
    assert "method" not in one_prompt.primary
    trained = judged(make_run, monkeypatch, 2.0, given=False)
    assert "this p'" not in trained.sentence + trained.recommendation.sentence


def test_where_prompts_leave_it_open_more_prompts_would_settle_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged(make_run, monkeypatch, 8.0)
    assert found.verdict == "undecided"
    assert "takes more held-out prompts, which carry" in found.sentence

"""Effects and words of a reward without a supremum: standard deviations of it under p'."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from toy_language import language_run
from toy_rewards import without_supremum

from recalltrap_analysis.estimates.attainment import IN_SDS, level_column
from recalltrap_analysis.report.run_report import run_report
from recalltrap_analysis.report.writers import markdown, to_json
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.margin import LARGER, WITHIN
from recalltrap_analysis.statistics.paired import share_interval
from recalltrap_analysis.verdicts import power_of_study
from recalltrap_analysis.verdicts.effects import effects
from recalltrap_analysis.verdicts.power_of_study import (
    GUESSED_SD_OF_SEVERAL,
    SDS_PER_ATTAINMENT,
    decidable,
)
from recalltrap_analysis.verdicts.summary import summarize
from tests.analysis.judging import judged_by

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

NAMES = ("K-A", "A-K", "K-A@p'")


def sd(seed: int) -> float:
    return 1.5 + 0.1 * seed


def unbounded(make_run: MakeRun, seeds: int = 8, names: tuple[str, ...] = NAMES) -> FakeRun:
    return without_supremum(language_run(make_run(seeds=2), seeds=seeds, names=names), sd)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.select_dtypes(float).drop(columns=["level"], errors="ignore")


def test_effects_are_differences_over_the_sd_of_p_prime_seed_by_seed(make_run: MakeRun) -> None:
    run = unbounded(make_run)
    table = effects(run)
    reward = table[table["metric"] == "reward"]
    assert set(reward["unit"]) == {IN_SDS}
    assert not (table["metric"] == "attainment").any()
    rows = run.tables["metrics"].to_pandas()
    final = rows[(rows["model"] == "final") & (rows["metric"] == "reward")]
    by_hand = final[final["kl_weight"] == 0.7].pivot(
        index="seed", columns="ordering", values="value"
    )
    sd_N = np.array([sd(seed) for seed in by_hand.index])
    expected = ((by_hand["A-K"] - by_hand["K-A"]) / sd_N).mean()
    [row] = reward[
        (reward["contrast"] == "A-K − K-A")
        & (reward["comparison"] == "equal KL weight")
        & (reward["part"] == "difference")
        & (reward["kl_weight"] == 0.7)
    ].to_dict("records")
    assert row["value"] == pytest.approx(expected)
    assert row["words"] == LARGER


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "shift"), [(3.0, 0.0), (0.2, -50.0)])
def test_no_number_knows_the_rewards_scale_or_zero(
    make_run: MakeRun, scale: float, shift: float
) -> None:
    base = language_run(make_run(seeds=2), names=NAMES)
    plain = summarize(without_supremum(base, sd))
    moved = summarize(
        without_supremum(base, lambda seed: scale * sd(seed), lambda value: scale * value + shift)
    )
    assert moved.sentence == plain.sentence
    assert moved.recommendation.sentence == plain.recommendation.sentence
    for name in ("primary", "effects", "order_effect", "experiment"):
        one, two = getattr(plain, name), getattr(moved, name)
        pd.testing.assert_frame_equal(numbers(one), numbers(two), rtol=1e-7, atol=1e-9)


def test_more_seeds_change_no_other_seeds_value(make_run: MakeRun) -> None:
    few, many = (summarize(unbounded(make_run, seeds)).pairs for seeds in (4, 9))
    kept = many[many["seed"] < 4].reset_index(drop=True)
    pd.testing.assert_frame_equal(numbers(few), numbers(kept), check_exact=True)


def test_both_units_agree_in_sign(make_run: MakeRun) -> None:
    bounded = language_run(make_run(seeds=2), names=NAMES)
    attained, in_sds = summarize(bounded), summarize(without_supremum(bounded, sd))
    assert attained.unit == "attainment"
    for name in ("order_effect", "severity"):
        assert (np.sign(attained.pairs[name]) == np.sign(in_sds.pairs[name])).all()


def test_the_margin_is_one_of_its_own(make_run: MakeRun) -> None:
    run = unbounded(make_run)
    assert summarize(run).judgement.margin == 0.1
    wide = summarize(judged_by(run, margin=5.0))
    assert wide.verdict == WITHIN


@pytest.mark.slow
def test_without_a_supremum_there_is_no_trap_rate_but_seeds_beyond_the_margin(
    make_run: MakeRun,
) -> None:
    run = unbounded(make_run)
    plain = summarize(run)
    margin = float(np.sort(plain.pairs["severity"])[9])  # of 16 pairs at two weights
    table = summarize(judged_by(run, margin=margin)).order_effect
    assert "trap_rate" not in table
    for _, row in table.iterrows():
        severity = plain.pairs[plain.pairs["point"].map(lambda p, q=row["point"]: p == q)][
            "severity"
        ]
        found = share_interval(int((severity > margin).sum()), len(severity))
        assert 0 < found.value < 1
        assert row["beyond_margin_rate"] == pytest.approx(found.value)
        assert row["beyond_margin_rate_high"] == pytest.approx(found.high)
    text = summarize(judged_by(run, margin=5.0)).sentence
    assert "above K-A by more than the margin" in text
    assert "half" not in text


@pytest.mark.slow
def test_every_line_says_the_unit(make_run: MakeRun) -> None:
    run = unbounded(make_run)
    summary = summarize(run)
    assert f"{IN_SDS} more than K-A" in summary.sentence
    assert "attain" not in summary.sentence + summary.recommendation.sentence
    assert f"{IN_SDS} more than K-A" in summary.recommendation.sentence
    assert {"order effect, sd", "severity, sd", "seeds beyond the margin"} <= set(summary.table())
    document = run_report(ReadRun(run), summary)
    content = json.loads(to_json(document))
    assert content["unit"] == IN_SDS
    assert content["recommendation"]["overall"]["unit"] == IN_SDS
    page = markdown(document)
    assert f"rewards in {IN_SDS}" in page
    assert f"**{IN_SDS}**: The unit of differences" in page
    for heading in ("gain, sd", "equal KL weight, sd", "difference, sd", "anchor (severity), sd"):
        assert f"| {heading} |" in page
    assert "There is no half to attain" in page
    assert "no finite value in any cell" not in page  # nothing that needs a target is expected


@pytest.mark.slow
def test_the_query_behind_a_number_finds_it(make_run: MakeRun) -> None:
    run = unbounded(make_run)
    summary = summarize(run)
    document = run_report(ReadRun(run), summary)
    found: dict[str, Any] = {}

    def collect(blocks: Any) -> None:
        for block in blocks:
            if getattr(block, "query", ""):
                found.setdefault(getattr(block, "name", block.__class__.__name__), block.query)
            collect(getattr(block, "blocks", ()))

    for section in document.chapters[0].sections:
        collect(section.blocks)
    table = run.sql(found["order effect"]).to_pandas().sort_values("kl_weight")
    np.testing.assert_allclose(table["order_effect"], summary.order_effect["order_effect"])
    np.testing.assert_allclose(table["severity"], summary.order_effect["severity"])
    parts = run.sql(found["experiment"]).to_pandas().sort_values("kl_weight")
    np.testing.assert_allclose(parts["anchor"], summary.experiment["anchor"])
    levels = run.sql(found["comparisons"]).to_pandas()
    level = levels[level_column(IN_SDS)]
    lead = level[levels["ordering"] == "A-K"].mean() - level[levels["ordering"] == "K-A"].mean()
    assert lead == pytest.approx(summary.order_effect["order_effect"].mean())


def test_a_plan_expects_the_unit_that_the_run_will_have(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = unbounded(make_run)
    bounded = language_run(make_run(seeds=2), seeds=8)
    record = KindRecord(kl_weight="kl_weight", has_supremum=lambda settings: False)
    monkeypatch.setattr(power_of_study, "record_of", lambda kind: record)
    planned = replace(run, tables={})
    found = decidable(planned.study, planned.cells, planned.axes, relatives=[bounded, run])
    assert found is not None
    assert (found.unit, found.margin) == (IN_SDS, 0.1)
    assert found.sd_from == "as found in llm/fake with 8 seeds"
    guess = decidable(planned.study, planned.cells, planned.axes, relatives=[bounded])
    assert guess is not None
    assert guess.sd[0] == SDS_PER_ATTAINMENT * GUESSED_SD_OF_SEVERAL
    assert "guess" in guess.sd_from
    assert f"margin 0.1 of {IN_SDS}" in dict(guess.rows())["detects with 80% power"]

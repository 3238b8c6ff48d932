"""Models by scorers that weren't optimised, and the warning where one falls as reward rises."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from toy_language import language_run
from toy_rewards import with_scores, without_supremum

from recalltrap_analysis.estimates.attainment import IN_SDS
from recalltrap_analysis.report.document.blocks import Grid
from recalltrap_analysis.report.run_report import run_report
from recalltrap_analysis.report.writers import markdown, to_json
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.margin import LARGER, SMALLER
from recalltrap_analysis.verdicts.effects import effects
from recalltrap_analysis.verdicts.judgement import judgement_of
from recalltrap_analysis.verdicts.scorer_effects import scorer_effects, suspects
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

NAMES = ("K-A", "A-K", "K-A@p'")
SD = 1.5


def noise(row: Any) -> float:
    """The same for all models of a cell but the final one, as a reference's score must be."""
    drawn = float(np.random.default_rng([row["seed"], len(row["ordering"])]).normal())
    return 0.05 * drawn if row["model"] == "final" else 0.0


def against(row: Any) -> float:
    return 10.0 - float(row["value"]) + noise(row)


def along(row: Any) -> float:
    return 2.0 + 0.5 * float(row["value"]) + noise(row)


def unmoved(row: Any) -> float:
    return 3.0 + noise(row)


def judged_too(
    make_run: MakeRun, score: Callable[[Any], float], bounded: bool = True, seeds: int = 8
) -> FakeRun:
    base = language_run(make_run(seeds=2), seeds=seeds, names=NAMES)
    return with_scores(base if bounded else without_supremum(base), "judge", score, SD)


def row_of(table: pd.DataFrame, contrast: str, judge: str) -> Any:
    [row] = table[(table["contrast"] == contrast) & (table["judge"] == judge)].to_dict("records")
    return row


def scores_of(run: FakeRun) -> pd.DataFrame:
    """The effects by every judge, and nothing else of a summary."""
    kind = record_of(run.study.kind)
    outcomes = cell_outcomes(run.table("metrics"), run.axes)
    design = Design.of(run.planned(), run.axes)
    return scorer_effects(outcomes, design, kind, judgement_of(run, kind, outcomes))


@pytest.mark.parametrize("bounded", [True, False])
def test_effect_and_verdict_by_each_judge(make_run: MakeRun, bounded: bool) -> None:
    run = judged_too(make_run, along, bounded)
    summary = summarize(run)
    table = summary.scores
    assert list(dict.fromkeys(table["contrast"])) == [
        "A-K − K-A", "K-A@p' − K-A", "K-A − p'", "A-K − p'", "K-A@p' − p'",
    ]  # fmt: skip
    metrics = run.tables["metrics"].to_pandas()
    final = metrics[(metrics["model"] == "final") & (metrics["metric"] == "score")]
    by_seed = final.pivot_table(index="seed", columns="ordering", values="value")  # over weights
    row = row_of(table, "A-K − K-A", "judge")
    assert row["value"] == pytest.approx(((by_seed["A-K"] - by_seed["K-A"]) / SD).mean())
    assert (row["unit"], row["margin"], row["words"]) == ("sd of judge under p'", 0.1, LARGER)
    reward = row_of(table, "A-K − K-A", "reward")
    primary = summary.primary.iloc[0]
    assert (reward["value"], reward["words"]) == (primary["value"], primary["words"])
    assert reward["unit"] == ("attainment" if bounded else IN_SDS)
    assert summary.warning == summary.recommendation.warning == ""


@pytest.mark.parametrize("bounded", [True, False])
def test_beside_p_prime_the_zero_is_p_prime(make_run: MakeRun, bounded: bool) -> None:
    run = judged_too(make_run, along, bounded)
    metrics = run.tables["metrics"].to_pandas()
    ka = metrics[(metrics["ordering"] == "K-A") & (metrics["kl_weight"] == 0.35)]
    values = ka.pivot(index="seed", columns=["model", "metric"], values="value")
    gained = values["final", "reward"] - values["p_prime", "reward"]
    size = (
        values["p_prime", "reward_supremum"] - values["p_second", "reward"]
        if bounded
        else values["p_prime", "reward_sd"]
    )
    found = row_of(scores_of(run), "K-A − p'", "reward")
    assert found["value"] == pytest.approx((gained / size).mean())
    score = values["final", "score"] - values["p_prime", "score"]
    found = row_of(scores_of(run), "K-A − p'", "judge")
    assert found["value"] == pytest.approx((score / SD).mean(), abs=0.03)  # of one KL weight


@pytest.mark.slow
def test_a_scorer_that_falls_where_reward_rises_warns_and_decides_nothing(
    make_run: MakeRun,
) -> None:
    plain, warned = (summarize(judged_too(make_run, score)) for score in (unmoved, against))
    assert row_of(warned.scores, "A-K − K-A", "judge")["words"] == SMALLER
    assert warned.warning.startswith(
        "Possible reward hacking, since judge falls where reward rises"
    )
    assert "A-K − K-A" in warned.warning
    assert warned.recommendation.word == plain.recommendation.word == "align first"
    assert warned.recommendation.sentence.endswith(warned.recommendation.warning)
    assert warned.recommendation.sentence.startswith(plain.recommendation.sentence)
    assert warned.sentence == plain.sentence
    # Advised to align first, nobody needs to hear what K-A did.
    assert "K-A − p'" in warned.warning
    assert " K-A − p'" not in warned.recommendation.warning


@pytest.mark.slow
def test_no_false_alarm_of_what_no_seed_shows(make_run: MakeRun) -> None:
    alarms = 0
    for shift in range(20):

        def score(row: Any, shift: int = shift) -> float:
            return unmoved({**row, "seed": row["seed"] + 100 * shift})

        found = suspects(scores_of(judged_too(make_run, score)))
        alarms += int((found["contrast"] == "A-K − K-A").any())
    assert alarms <= 4  # each at 5 %


def test_a_turned_contrast_names_who_gained(make_run: MakeRun) -> None:
    table = scores_of(judged_too(make_run, against))
    turned = table.assign(
        first=table["second"], second=table["first"], value=-table["value"], low=-table["high"],
        high=-table["low"], lower=-table["upper"], upper=-table["lower"],
        contrast=table["second"] + " − " + table["first"],
    )  # fmt: skip
    between = turned["second"] != "K-A@p'"
    plain, found = suspects(table), suspects(turned[between & (turned["first"] != "p'")])
    [one] = found.to_dict("records")
    assert (one["first"], one["second"], one["contrast"]) == ("A-K", "K-A", "A-K − K-A")
    expected = row_of(plain, "A-K − K-A", "judge")
    assert (one["value"], one["low"], one["high"]) == (
        expected["value"], expected["low"], expected["high"],
    )  # fmt: skip


def test_scores_know_no_scale_and_no_other_seed(make_run: MakeRun) -> None:
    base = language_run(make_run(seeds=2), names=NAMES)
    plain = scores_of(with_scores(base, "judge", along, SD))
    scaled = with_scores(base, "judge", lambda row: 7.0 * along(row) - 90.0, 7.0 * SD)
    numbers = ["value", "low", "high", "lower", "upper"]
    pd.testing.assert_frame_equal(scores_of(scaled)[numbers], plain[numbers])


def test_effects_have_each_scorer_by_every_comparison(make_run: MakeRun) -> None:
    table = effects(judged_too(make_run, along))
    rows = table[table["metric"] == "score/judge"]
    assert set(rows["unit"]) == {"sd of judge under p'"}
    by_reward = table[table["metric"] == "attainment"]
    assert rows["comparison"].tolist() == by_reward["comparison"].tolist()
    equal = rows[(rows["comparison"] == "equal KL weight") & (rows["part"] == "difference")]
    assert set(equal["words"]) == {LARGER}
    assert not (table["metric"] == "score/judge")[: len(by_reward)].any()


@pytest.mark.slow
def test_two_scorers_stand_beside_the_reward_on_the_page(make_run: MakeRun) -> None:
    run = with_scores(judged_too(make_run, against), "second", along, 2.0)
    summary = summarize(run)
    assert not summary.lacks
    document = run_report(ReadRun(run), summary)
    content = json.loads(to_json(document))
    assert content["warning"] == summary.warning
    assert content["recommendation"]["overall"]["warning"] == summary.recommendation.warning
    page = markdown(document)
    heads = "| contrast | reward, attainment | reading | judge, sd under p' | reading "
    assert heads + "| second, sd under p' | reading |" in page
    assert page.count("Possible reward hacking") == 2  # with the advice, and in its section
    assert "**Scorer**" in page
    [section] = [s for s in document.chapters[0].sections if s.key == "scorers"]
    [table] = [block for block in section.blocks if isinstance(block, Grid)]
    assert run.sql(table.query).num_rows > 0


@pytest.mark.slow
def test_without_scorers_there_is_no_section(make_run: MakeRun) -> None:
    run = language_run(make_run(seeds=2))
    summary = summarize(run)
    document = run_report(ReadRun(run), summary)
    assert summary.scores.empty
    assert "scorers" not in {section.key for section in document.chapters[0].sections}
    content = json.loads(to_json(document))
    assert "warning" not in content
    assert "warning" not in content["recommendation"]["overall"]

"""The headline: a word and a few sentences from the primary comparison."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from recalltrap.study.primary import Primary
from recalltrap_analysis.statistics.margin import (
    LARGER,
    NOT_LARGER,
    SMALLER,
    UNDECIDED,
    WITHIN,
    not_seen,
)
from recalltrap_analysis.verdicts.headline import MIXED, NO_VERDICT
from recalltrap_analysis.verdicts.summary import summarize
from tests.analysis.judging import judged_by, with_severity

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun, Point

CONTROLS = ("K-A", "A-K", "A", "K-A@p'")


def test_a_lead_is_told_with_its_parts(make_run: MakeRun) -> None:
    run = make_run(orderings=CONTROLS, order_effect=lambda p: 0.3, seeds=10)
    summary = summarize(with_severity(run, lambda p: 0.12))
    assert summary.verdict == LARGER
    first, parts = summary.sentence.split(". Of that ")
    value, low, high = summary.primary.iloc[0][["value", "low", "high"]]
    assert first == (
        f"A-K attains {value:.2f} [{low:.2f}, {high:.2f}] more than K-A on average over 3 KL "
        "weights (0.5 to 2): larger than the margin of 0.05"
    )
    anchor = summary.primary.iloc[1]["value"]
    assert parts.startswith(f"the anchor (severity) is {anchor:.2f} [")
    assert "larger than the margin of 0.05, size and start " in parts
    assert ", the last distillation " in parts


@pytest.mark.slow
def test_the_parts_told_add_up(make_run: MakeRun) -> None:
    from recalltrap_analysis.verdicts.endpoint_parts import behind_primary

    run = make_run(orderings=CONTROLS, order_effect=lambda p: 0.1 * p["kl_weight"], seeds=10)
    run = with_severity(run, lambda p: 0.06 * p["kl_weight"])
    for at in ("mean", "slope", 2.0):
        judged = judged_by(run, primary=Primary(contrast=("A-K", "K-A"), at=at))
        summary = summarize(judged)
        [behind] = behind_primary(
            summary.outcomes, summary.pairs, summary.order_effect, summary.design, summary.kind,
            summary.judgement,
        ).values()  # fmt: skip
        total = sum(part.value for part in behind.parts.values())
        assert total == pytest.approx(summary.primary.iloc[0]["value"], abs=1e-12)
        assert behind.parts["anchor"].value == pytest.approx(summary.primary.iloc[1]["value"])


def test_without_the_control_severity_is_an_estimate(make_run: MakeRun) -> None:
    summary = summarize(make_run(order_effect=lambda p: 0.3, seeds=10))
    assert "(severity) is estimated from the optima alone: 0.1" in summary.sentence
    assert "last distillation" not in summary.sentence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("effect", "noise", "seeds", "word", "said"),
    [
        (
            -0.3,
            0.02,
            10,
            SMALLER,
            "less than K-A on average over 3 KL weights (0.5 to 2): worse by",
        ),
        (0.0, 0.02, 10, WITHIN, "within the margin of ±0.05"),
        (-0.05, 0.01, 10, NOT_LARGER, "not larger than the margin of 0.05"),
        (0.05, 0.02, 10, UNDECIDED, "Undecided: "),
        (0.0, 0.01, 5, not_seen(5), "Not seen in 5 seeds: "),
    ],
)
def test_every_verdict_has_its_words(
    make_run: MakeRun, effect: float, noise: float, seeds: int, word: str, said: str
) -> None:
    run = make_run(orderings=CONTROLS, order_effect=lambda p: effect, noise=noise, seeds=seeds)
    summary = summarize(run)
    assert summary.verdict == word
    assert said in summary.sentence
    assert "no effect" not in summary.sentence.lower()
    settled = word in (LARGER, SMALLER, WITHIN, NOT_LARGER)
    assert ("more seed" in summary.sentence or "settle" in summary.sentence) != settled


def test_a_small_mean_tells_how_many_seeds_may_be_trapped(make_run: MakeRun) -> None:
    run = make_run(orderings=CONTROLS, order_effect=lambda p: 0.0, seeds=10)
    summary = summarize(run)
    limit = summary.order_effect["trap_rate_high"].max()
    assert f"in up to {limit:.0%} of them" in summary.sentence
    assert "against K-A@p'" in summary.sentence
    assert "may still be trapped" in summary.sentence
    assert "judged, since the order effect is neither larger nor smaller" in summary.sentence
    loud = summarize(make_run(orderings=CONTROLS, order_effect=lambda p: 0.3, seeds=10))
    assert "Wilson" not in loud.sentence


def test_seeds_that_are_trapped_are_not_told_as_a_possibility(make_run: MakeRun) -> None:
    level = make_run(orderings=CONTROLS, order_effect=lambda p: 0.0, seeds=10)
    summary = summarize(with_severity(level, lambda p: 0.5))
    rate = summary.order_effect["trap_rate"].max()
    assert rate > 0
    assert f"K-A is trapped in {rate:.0%} of seeds at its worst point" in summary.sentence
    assert re.search(r"attains half or more, 0\.\d\d apart in the mean", summary.sentence)
    assert "may still" not in summary.sentence


def test_several_strata_are_counted_and_never_pooled(make_run: MakeRun) -> None:
    effects = {1.25: 0.0, 2.5: 0.06, 10.0: 0.4}

    def effect(point: Point) -> float:
        return effects[point["teacher_sharpness"]]

    grid = {"teacher_sharpness": tuple(effects), "kl_weight": (1.0, 2.0)}
    summary = summarize(make_run(grid=grid, orderings=CONTROLS, order_effect=effect, noise=0.05))
    assert summary.verdict == MIXED
    words = dict(zip(summary.primary["stratum"][::2], summary.primary["words"][::2], strict=True))
    assert words["teacher_sharpness 10"] == LARGER
    assert words["teacher_sharpness 2.5"] == UNDECIDED
    assert "A-K − K-A on average over 2 KL weights (1 to 2): " in summary.sentence
    assert "larger than the margin of 0.05 in 1" in summary.sentence
    assert "It is largest at teacher_sharpness 10: 0.4" in summary.sentence
    assert "It is smallest at teacher_sharpness 1.25: " in summary.sentence
    assert "Open: teacher_sharpness 2.5 (" in summary.sentence


def test_strata_that_agree_have_one_word(make_run: MakeRun) -> None:
    grid = {"student_components": (4, 3), "kl_weight": (1.0, 2.0)}
    summary = summarize(make_run(grid=grid, seeds=10))
    assert summary.verdict == LARGER
    assert "larger than the margin of 0.05 in 2 of 2 strata" in summary.sentence


def test_a_stratum_without_numbers_is_counted(make_run: MakeRun) -> None:
    run = make_run(
        grid={"student_components": (4, 3), "kl_weight": (1.0, 2.0)},
        missing=lambda o, s, p: o == "A-K" and s == 1 and p["student_components"] == 4,
    )
    summary = summarize(run)
    assert summary.verdict == LARGER
    assert "in 1 of 2 strata, without numbers in 1" in summary.sentence


@pytest.mark.parametrize("orderings", [("K-A",), ("A-K", "A"), ("K",)])
def test_one_ordering_alone_has_no_verdict(make_run: MakeRun, orderings: tuple[str, ...]) -> None:
    summary = summarize(make_run(orderings=orderings))
    assert summary.verdict == NO_VERDICT
    assert "has no " in summary.sentence


def test_nothing_run_yet_has_no_verdict(make_run: MakeRun) -> None:
    summary = summarize(make_run(missing=lambda o, s, p: True))
    assert summary.verdict == NO_VERDICT
    assert "incomplete: 10 of 10 seeds" in summary.sentence


def test_another_contrast_can_be_what_a_study_decides(make_run: MakeRun) -> None:
    run = make_run(orderings=("K-A", "A-K", "K-A-K"), order_effect=lambda p: 0.3)
    primary = Primary(contrast=("A-K", "K-A-K"), at=2.0)
    summary = summarize(judged_by(run, primary=primary, margin=0.1))
    assert summary.verdict == LARGER
    assert "more than K-A-K at kl_weight 2: larger than the margin of 0.1." in summary.sentence
    assert "severity" not in summary.sentence

"""Language-model studies in the report, from invented tables with the columns of LlmSettings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from toy_language import SUPREMUM, language_run

from recalltrap_analysis.estimates.decomposition import decomposition_table
from recalltrap_analysis.estimates.order_effect import pair_orderings
from recalltrap_analysis.forecast.table import forecast
from recalltrap_analysis.language.section import language_blocks
from recalltrap_analysis.language.students import Training, fall, unconverged
from recalltrap_analysis.language.temperature_plot import sweeps, temperature_plot
from recalltrap_analysis.language.topics import topic_table
from recalltrap_analysis.report.build import write_report
from recalltrap_analysis.report.document.blocks import Section
from recalltrap_analysis.report.document.kind_analysis import analysis_of
from recalltrap_analysis.report.plots.model_paths import model_paths_plot
from recalltrap_analysis.report.plots.training_curves import training_curves_plot
from recalltrap_analysis.report.sections.forecast import forecast_section
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.sql import RewardUnit, order_effect_query
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

pytestmark = pytest.mark.slow

Invent = Callable[..., "FakeRun"]


@pytest.fixture
def invent(make_run: MakeRun) -> Invent:
    return lambda **wanted: language_run(make_run(grid={}, seeds=1), **wanted)


def words(section: Section) -> str:
    """Every paragraph and cell of a section."""
    return json.dumps(asdict(section), ensure_ascii=False, default=str)


def forecast_points(run: FakeRun) -> pd.DataFrame:
    """The forecast's table, by what the language study's record says."""
    return forecast(run.table("metrics"), run.cells, run.store, run.axes, "llm").points


def walk(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for item in node for found in walk(item)]
    if isinstance(node, dict):
        return [node, *(found for item in node.values() for found in walk(item))]
    return []


def test_the_measured_supremum_is_r_max_and_not_the_reward_s_height(invent: Invent) -> None:
    run = invent()
    summary = summarize(run)
    assert summary.order_effect["order_effect"].to_numpy() == pytest.approx(0.5)
    assert summary.outcomes["reward_supremum"].tolist() == [
        SUPREMUM + 0.01 * seed for seed in summary.outcomes["seed"]
    ]
    attained = summary.pairs["attainment_ka"] - 0.002 * summary.pairs["seed"]
    assert attained.to_numpy() == pytest.approx(0.25)
    asked = run.sql(order_effect_query(run.axes, RewardUnit())).to_pandas()
    assert asked["order_effect"].to_numpy() == pytest.approx(0.5)


def test_a_study_without_the_metric_keeps_its_setting(make_run: MakeRun) -> None:
    run = make_run(seeds=2)
    outcomes = cell_outcomes(run.table("metrics"), run.axes, "reward_height")
    assert (outcomes["reward_supremum"] == outcomes["reward_height"]).all()


def test_the_decomposition_uses_the_same_supremum(invent: Invent) -> None:
    run = invent()
    table = summarize(run).decomposition
    assert table["reference"].to_numpy() == pytest.approx(0.3)
    assert table["last_distillation"].to_numpy() == pytest.approx(0.15 + 0.002 * 3.5)
    assert (table["reliability"] == "").all()


def test_every_query_gives_the_numbers_shown(invent: Invent) -> None:
    run = invent()
    content = json.loads(Path(write_report(run, form="json")).read_text())
    blocks = {block["table"]: block for block in walk(content) if "table" in block}
    for block in walk(content):
        if block.get("query"):
            run.sql(block["query"])
    parts = {row["kl_weight"]: row for row in run.sql(blocks["decomposition"]["query"]).to_pylist()}
    for row in blocks["decomposition"]["rows"]:
        asked = parts[row["kl_weight"]]
        assert asked["reference"] == pytest.approx(row["reference"]["value"])
        assert asked["order_effect"] == pytest.approx(row["order_effect"])
    assert {"topics", "lengths", "students", "topic forecast"} <= set(blocks)
    assert not {"contours", "densities"} & {b.get("figure") for b in walk(content)}
    assert all(run.sql(blocks[name]["query"]).num_rows for name in ("topics", "students"))


def test_few_effective_samples_are_called_unreliable(invent: Invent) -> None:
    doubtful = invent(ess=40.0)
    table = forecast_points(doubtful)
    assert table["ess_p_second"].tolist() == [40.0, 40.0]
    assert table["reliability"].str.startswith("unreliable: p' leaves as few as 40").all()
    assert pa.Table.from_pandas(table).num_rows == 2
    assert "unreliable" in words(forecast_section(ReadRun(doubtful), summarize(doubtful)))
    sure = invent()
    table = forecast_points(sure)
    assert (table["reliability"] == "").all()
    assert "All optima here are reliable" in words(forecast_section(ReadRun(sure), summarize(sure)))


def test_a_mixture_s_forecast_has_no_effective_samples(make_run: MakeRun) -> None:
    run = make_run(seeds=3)
    table = forecast_points(run)
    assert not {"ess_p_prime", "reliability"} & set(table.columns)
    assert "reliable" not in words(forecast_section(ReadRun(run), summarize(run)))
    assert analysis_of(run.study.kind).sections == ()


def test_the_forecast_topic_by_topic(invent: Invent) -> None:
    run = invent(seeds=4)
    table = topic_table(cell_outcomes(run.table("metrics"), run.axes), run.axes)
    assert table["topic"].tolist() == ["weather", "chess"] * 2
    chess = table[table["topic"] == "chess"].iloc[0]
    assert chess["share_p_second"] == pytest.approx(0.25)
    assert chess["optimum_p_second"] == pytest.approx(0.3)
    assert chess["optimum_p_second_low"] <= 0.3 <= chess["optimum_p_second_high"]


@pytest.mark.parametrize(
    ("gap", "slope", "said"),
    [
        (0.3, 0.001, "its own loss may hide the ordering's effect"),
        (0.04, 0.02, "is not converged"),
    ],
)
def test_training_that_forbids_a_conclusion_is_said_plainly(
    invent: Invent, gap: float, slope: float, said: str
) -> None:
    found = []
    for run in (invent(gap=gap, slope=slope), invent()):
        found.append(words(Section("language", "", language_blocks(ReadRun(run), summarize(run)))))
    assert said in found[0]
    assert said not in found[1]


def test_the_fall_ends_where_the_decay_begins() -> None:
    step_T = np.arange(100, 1001, 100, dtype=float)
    loss_T = np.where(step_T <= 800, 2.0 - step_T / 10_000, 1.0)  # the decay takes much more
    assert fall(step_T, loss_T, 0.2) == pytest.approx((0.03, 300.0))
    assert np.isnan(fall(step_T[-1:], loss_T[-1:], 0.2)).all()
    assert np.isnan(fall(np.array([100.0, 1000.0]), np.array([2.0, 1.0]), 0.2)).all()


@pytest.mark.parametrize(
    ("gap", "fell", "updates", "verdict"),
    [
        (0.55, 0.001, 5, "no: 0.55 above it, and flat over 5 updates alone"),
        (0.55, 0.001, 200, "yes: flat over 200 updates"),
        (0.05, 0.001, 5, "yes: within 0.1 of the teacher's entropy"),
        (0.05, 0.03, 500, "no: it still fell by more than 0.02"),
        (0.55, 0.03, 500, "no: it still fell by more than 0.02"),
        (0.05, np.nan, np.nan, "the curves don't tell"),
        (np.nan, 0.001, 5, "no: flat over 5 updates alone"),
        (np.nan, 0.001, 300, "yes: flat over 300 updates"),
    ],
)
def test_a_student_is_converged_near_its_teacher_or_after_a_long_flat_stretch(
    gap: float, fell: float, updates: float, verdict: str
) -> None:
    """16 updates at a gap of 0.55 nats are flat between two points, and nothing is learned."""
    two = np.ones(2)
    one = Training((), "", "p_second", (1 + gap) * two, two, fell * two, np.array([900, updates]))
    assert one.verdict == verdict
    assert one.converged == {"y": True, "n": False, "t": None}[verdict[0]]
    said = unconverged([replace(one, points=((),))], ())
    assert len(said) == (one.converged is False)
    assert not said or ("0.55" in said[0]) == ("0.55" in verdict)


def test_the_temperature_s_figure_and_the_chosen_checkpoints(invent: Invent) -> None:
    run = invent(
        grid={"distill_temperature": (0.925, 0.95, 0.975)}, seeds=3, algorithm="dpo_online"
    )
    summary = summarize(run)
    sweep, chosen = (
        temperature_plot(ReadRun(run), summary),
        training_curves_plot(ReadRun(run), summary),
    )
    assert sweep is not None
    for plot in (sweep, chosen, model_paths_plot(ReadRun(run), summary)):
        assert plot.figure is not None, plot.caption
    assert "Dashed verticals" in chosen.caption
    asked = run.sql(sweep.query).to_pylist()
    precision = {
        row["distill_temperature"]: row["mean"] for row in asked
        if row["metric"] == "overall_precision" and row["ordering"] == "A-K"
    }  # fmt: skip
    assert precision == pytest.approx({0.925: -1.925, 0.95: -1.95, 0.975: -1.975})


def test_the_temperature_s_figure_follows_the_last_distillation(invent: Invent) -> None:
    run = invent(grid={"last_distill_temperature": (0.925, None, 0.975)}, seeds=3)
    summary = summarize(run)
    found = sweeps(summary.outcomes, summary.design, (), "overall_precision")
    assert [sweep.ordering for sweep in found] == ["A-K"]  # nothing moves K-A
    assert found[0].temperature_T.tolist() == [0.925, 0.975]
    assert found[0].y_T.tolist() == pytest.approx([-1.925, -1.975])
    plot = temperature_plot(ReadRun(run), summary)
    assert plot is not None
    assert "last_distill_temperature" in plot.caption


def test_weights_of_one_point_alone_are_doubted(invent: Invent) -> None:
    run = invent(ess=97.0, seeds=6)  # three of six seeds fall below
    outcomes = cell_outcomes(run.table("metrics"), run.axes)
    pairs = pair_orderings(outcomes, run.axes, record_of("llm").optimum_check)
    design = Design.of(run.planned(), run.axes)
    table = decomposition_table(pairs, design, record_of("llm"))
    assert table["reliability"].str.contains("in 3 of 6 seeds").all()


def test_a_null_is_a_value_of_an_axis_like_another(invent: Invent) -> None:
    """Of τ of the last distillation: null for the same as the first one's."""
    run = invent(grid={"last_distill_temperature": (0.925, None)}, seeds=3)
    summary = summarize(run)
    named = ["0.925", "None"]
    assert summary.table()["last_distill_temperature"].tolist() == named
    strata = list(dict.fromkeys(summary.primary["stratum"]))
    assert strata == [f"last_distill_temperature {value}" for value in named]
    for stratum in strata:
        assert stratum in summary.sentence

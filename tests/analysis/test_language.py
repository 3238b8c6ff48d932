"""Language-model studies in the report, from invented tables with the columns of LlmSettings."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from recalltrap.kinds import Cell, Node
from recalltrap.orderings import Ordering
from recalltrap.tables import factor_columns, factor_fields
from recalltrap_analysis.decomposition import decomposition_table
from recalltrap_analysis.document import Section
from recalltrap_analysis.forecast import forecast_table
from recalltrap_analysis.language import language_section
from recalltrap_analysis.outcomes import Plan, cell_outcomes
from recalltrap_analysis.outlook import forecast_section
from recalltrap_analysis.portraits import selection_picture, trajectory_picture
from recalltrap_analysis.reading import ReadRun
from recalltrap_analysis.report import write_report
from recalltrap_analysis.severity import pair_orderings, severity_query
from recalltrap_analysis.students import fall
from recalltrap_analysis.summary import summarize
from recalltrap_analysis.tempering import sweeps, temperature_picture
from recalltrap_analysis.topics import topic_table
from recalltrap_studies.llm.settings import LlmSettings

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

TOPICS = {"weather": 0.7, "chess": 0.3}
SUPREMUM = 8.0
Invent = Callable[..., "FakeRun"]


def models_of(ordering: Ordering, settings: LlmSettings, seed: int) -> dict[str, Node]:
    p_prime = Node("sft", seed, {})
    config = {"tau": settings.distill_temperature}
    models = {"p_prime": p_prime, "p_second": Node("distill", seed, config, (p_prime,))}
    current = p_prime
    for step in ordering.stages:
        last = {"tau": settings.last_distill_temperature or config["tau"]}
        aligned = current.stage == "align"
        stage, mine = ("distill", last if aligned else config) if step == "distill" else ("align", {
            "kl_weight": settings.kl_weight, "algorithm": settings.algorithm})  # fmt: skip
        current = Node(stage, seed, mine, (current,))
        if stage == "align" and current.parents[0] is p_prime:
            models["p_prime_aligned"] = current
    return {**models, "final": current}


def measured(cell: Cell, ess: float, gap: float) -> dict[str, dict[str, float]]:
    """R0 = 4 and the supremum 8, a little by seed: K-A attains a quarter, A-K three quarters."""
    settings, seed = cell.settings, cell.seed
    assert isinstance(settings, LlmSettings)
    shift, top = 0.01 * seed, SUPREMUM + 0.01 * seed
    ordering = cell.ordering.name
    attained = {"K-A": 0.25, "A-K": 0.75}.get(ordering, 0.0) + 0.002 * seed
    tau = settings.distill_temperature
    if ordering == "A-K":
        tau = settings.last_distill_temperature or tau
    common = {"length": 12.0, "eos_rate": 0.98, "grammatical": 0.9, "topic_coverage": 0.8}
    shares = {f"topic_share/{topic}": weight - 0.05 for topic, weight in TOPICS.items()}
    trained = {"heldout_loss": 1.3 + gap, "teacher_entropy": 1.3, "distillation_gap": gap}
    anchor = {
        "optimum_ess": ess + seed, "reward_supremum": top, "hit_rate": 0.01,
        **{f"optimum_topic_share/{topic}": weight for topic, weight in TOPICS.items()},
        **{f"target_topic_share/{topic}": 0.5 for topic in TOPICS},
        **{f"topic_weight/{topic}": weight for topic, weight in TOPICS.items()},
    }  # fmt: skip
    start = 4.0 + shift
    room = top - start
    found: dict[str, dict[str, float]] = {
        "p_prime": {"reward": start + 0.2, "optimum_reward": start + 0.6 * room,
                    "overall_recall": -1.4, "target_precision": -2.0, **anchor},
        "p_second": {"reward": start, "optimum_reward": start + 0.3 * room,
                     "overall_recall": -1.6, "target_precision": -2.1, **anchor},
        "final": {"reward": start + attained * room, "overall_recall": -2.0 + tau + 0.01 * seed,
                  "target_precision": -1.5 + 0.2 * attained, "overall_precision": -1.0 - tau},
    }  # fmt: skip
    if ordering == "A-K":
        found["p_prime_aligned"] = {"reward": start + 0.6 * room, "overall_recall": -1.7,
                                    "target_precision": -1.4}  # fmt: skip
        found["final"] |= trained
    for name in ("p_prime", "p_second"):
        found[name] |= trained
    return {model: {**common, **shares, **values} for model, values in found.items()}


def curve_rows(cell: Cell, slope: float) -> list[dict[str, Any]]:
    """Ten held-out losses of each distillation, falling by `slope` per tenth; the alignment's."""
    identity = {"cell_id": cell.id}
    stages = ["sft", "distill"] + (["distill-2"] if cell.ordering.name == "A-K" else [])
    rows = [
        {**identity, "stage": stage, "step": 100 * k, "metric": "heldout_loss",
         "value": 2.0 - slope * k}
        for stage, k in itertools.product(stages, range(1, 11))
    ]  # fmt: skip
    align = {**identity, "stage": "align"}
    for step, metric in itertools.product((0, 10, 20), ("reward", "reward_sd", "reward_margin")):
        value = 4.0 + step / 10 + cell.seed / 10
        rows.append({**align, "step": step, "metric": metric, "value": value})
    return [*rows, {**align, "step": 10, "metric": "selected", "value": 1.0}]


@pytest.fixture
def invent(make_run: MakeRun) -> Invent:
    def made(
        *,
        grid: Mapping[str, Sequence[Any]] = {"kl_weight": (0.35, 0.7)},
        seeds: int = 8,
        algorithm: str = "ppo",
        ess: float = 900.0,
        gap: float = 0.04,
        slope: float = 0.001,
    ) -> FakeRun:
        base = make_run(grid={}, seeds=1)
        orderings = [Ordering.model_validate(name) for name in ("K-A", "A-K")]
        cells = []
        for values in itertools.product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            settings = LlmSettings.model_validate({"algorithm": algorithm, **point})
            for ordering, seed in itertools.product(orderings, range(seeds)):
                models = models_of(ordering, settings, seed)
                cells.append(Cell("llm", ordering, seed, settings, models))
        metrics: list[dict[str, Any]] = []
        owners: list[Cell] = []
        for cell in cells:
            for model, found in measured(cell, ess, gap).items():
                for metric, value in found.items():
                    owners.append(cell)
                    metrics.append(
                        {"cell_id": cell.id, "ordering": cell.ordering.name, "seed": cell.seed,
                         "model": model, "metric": metric, "value": float(value),
                         "standard_error": 0.01}
                    )  # fmt: skip
        factors = factor_columns(owners, factor_fields(LlmSettings))
        table = pa.Table.from_pylist(metrics)
        for name, column in factors.items():
            table = table.append_column(name, column)
        status = [
            {"cell_id": cell.id, "ordering": cell.ordering.name, "seed": cell.seed,
             "status": "succeeded"}
            for cell in cells
        ]  # fmt: skip
        curves = pa.Table.from_pylist([row for cell in cells for row in curve_rows(cell, slope)])
        costs = base.tables["costs"]
        tables = {**base.tables, "metrics": table, "cells": pa.Table.from_pylist(status),
                  "curves": curves, "costs": costs.slice(0, 0)}  # fmt: skip
        study = replace(base.study, name="llm/fake", orderings=tuple(orderings), kind="llm",
                        seeds=tuple(range(seeds)))  # fmt: skip
        run = type("LanguageRun", (type(base),), {"ground_truth": lambda self: None})
        return run(study, tuple(grid), tables, cells, base.storage)  # type: ignore[no-any-return]

    return made


def words(section: Section) -> str:
    """Every paragraph and cell of a section."""
    return json.dumps(asdict(section), ensure_ascii=False, default=str)


def walk(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for item in node for found in walk(item)]
    if isinstance(node, dict):
        return [node, *(found for item in node.values() for found in walk(item))]
    return []


def test_the_measured_supremum_is_r_max_and_not_the_reward_s_height(invent: Invent) -> None:
    run = invent()
    summary = summarize(run)
    assert summary.severity["severity"].to_numpy() == pytest.approx(0.5)
    assert summary.outcomes["reward_supremum"].tolist() == [
        SUPREMUM + 0.01 * seed for seed in summary.outcomes["seed"]
    ]
    attained = summary.pairs["attainment_ka"] - 0.002 * summary.pairs["seed"]
    assert attained.to_numpy() == pytest.approx(0.25)
    asked = run.sql(severity_query(run.axes)).to_pandas()
    assert asked["severity"].to_numpy() == pytest.approx(0.5)


def test_a_study_without_the_metric_keeps_its_setting(make_run: MakeRun) -> None:
    run = make_run(seeds=2)
    outcomes = cell_outcomes(run.table("metrics"), run.axes)
    assert (outcomes["reward_supremum"] == outcomes["reward_height"]).all()


def test_the_decomposition_uses_the_same_supremum(invent: Invent) -> None:
    run = invent()
    table = summarize(run).decomposition
    assert table["reference"].to_numpy() == pytest.approx(0.3)
    assert table["last_distillation"].to_numpy() == pytest.approx(0.15 + 0.002 * 3.5)
    assert (table["reliability"] == "").all()


@pytest.mark.slow
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
        assert asked["severity"] == pytest.approx(row["severity"])
    assert {"topics", "lengths", "students", "topic forecast"} <= set(blocks)
    assert not {"contours", "densities"} & {b.get("figure") for b in walk(content)}
    assert all(run.sql(blocks[name]["query"]).num_rows for name in ("topics", "students"))


def test_few_effective_samples_are_called_unreliable(invent: Invent) -> None:
    doubtful = invent(ess=40.0)
    table = forecast_table(doubtful.table("metrics"), doubtful.axes)
    assert table["ess_p_second"].tolist() == [40.0, 40.0]
    assert table["reliability"].str.startswith("unreliable: p' leaves as few as 40").all()
    assert pa.Table.from_pandas(table).num_rows == 2
    assert "unreliable" in words(forecast_section(summarize(doubtful)))
    sure = invent()
    table = forecast_table(sure.table("metrics"), sure.axes)
    assert (table["reliability"] == "").all()
    assert "All optima here are reliable" in words(forecast_section(summarize(sure)))


def test_a_mixture_s_forecast_has_no_effective_samples(make_run: MakeRun) -> None:
    run = make_run(seeds=3)
    table = forecast_table(run.table("metrics"), run.axes)
    assert not {"ess_p_prime", "reliability"} & set(table.columns)
    assert "reliable" not in words(forecast_section(summarize(run)))
    assert language_section(ReadRun(run), summarize(run)) is None


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
        (0.3, 0.001, "its own loss may drown the ordering's effect"),
        (0.04, 0.02, "is not converged"),
    ],
)
def test_training_that_forbids_a_conclusion_is_said_plainly(
    invent: Invent, gap: float, slope: float, said: str
) -> None:
    found = []
    for run in (invent(gap=gap, slope=slope), invent()):
        section = language_section(ReadRun(run), summarize(run))
        assert section is not None
        found.append(words(section))
    assert said in found[0]
    assert said not in found[1]


def test_the_fall_ends_where_the_decay_begins() -> None:
    step_T = np.arange(100, 1001, 100, dtype=float)
    loss_T = np.where(step_T <= 800, 2.0 - step_T / 10_000, 1.0)  # the decay takes much more
    assert fall(step_T, loss_T, 0.2) == pytest.approx(0.03)
    assert np.isnan(fall(step_T[-1:], loss_T[-1:], 0.2))
    assert np.isnan(fall(np.array([100.0, 1000.0]), np.array([2.0, 1.0]), 0.2))


def test_the_temperature_s_figure_and_the_chosen_checkpoints(invent: Invent) -> None:
    run = invent(
        grid={"distill_temperature": (0.925, 0.95, 0.975)}, seeds=3, algorithm="dpo_online"
    )
    summary = summarize(run)
    sweep, chosen = temperature_picture(summary), selection_picture(ReadRun(run), summary)
    assert sweep is not None
    for plot in (sweep, chosen, trajectory_picture(summary)):
        assert len(plot.svg) > 2000, plot.caption
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
    found = sweeps(summary.outcomes, summary.plan, (), "overall_precision")
    assert [sweep.ordering for sweep in found] == ["A-K"]  # nothing moves K-A
    assert found[0].temperature_T.tolist() == [0.925, 0.975]
    assert found[0].y_T.tolist() == pytest.approx([-1.925, -1.975])
    picture = temperature_picture(summary)
    assert picture is not None
    assert "last_distill_temperature" in picture.caption


def test_weights_of_one_point_alone_are_doubted(invent: Invent) -> None:
    run = invent(ess=97.0, seeds=6)  # three of six seeds fall below
    pairs = pair_orderings(cell_outcomes(run.table("metrics"), run.axes), run.axes)
    plan = Plan.of(run.planned(), run.axes)
    table = decomposition_table(pairs, plan, np.random.default_rng(0))
    assert table["reliability"].str.contains("in 3 of 6 seeds").all()

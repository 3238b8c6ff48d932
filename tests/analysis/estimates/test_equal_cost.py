"""Cost, what it buys and controls: what is counted where, and order effect at equal cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import BaseModel

from recalltrap.graph import Cell, Node
from recalltrap.orderings import Ordering
from recalltrap_analysis.estimates.attainment import cell_attainments
from recalltrap_analysis.estimates.controls import contrast_table, ordering_attainments
from recalltrap_analysis.estimates.costs import cost_table, unshared_seconds
from recalltrap_analysis.estimates.equal_cost import (
    cell_costs,
    cost_measure,
    equal_cost_table,
    length_axis,
)
from recalltrap_analysis.estimates.evaluation_noise import noise_table, nothing_sampled
from recalltrap_analysis.report.build import write_report
from recalltrap_analysis.runs.kind_record import NO_RECORD, record_of
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

LENGTHS = {"iterations": (100, 200, 400)}


class Nothing(BaseModel, frozen=True):
    """No settings."""


def test_drawing_a_teacher_s_samples_is_paid_for_by_the_distillation() -> None:
    p_prime = Node("sft", 0, {})
    samples = Node("sample", 0, {}, {"model": p_prime})
    student = Node("distill", 0, {}, {"samples": samples, "teacher": p_prime})
    assess = Node("assess", 0, {}, {"model": student})
    models = {"p_prime": p_prime, "p_second": student, "final": student}
    ordering = Ordering.model_validate("K")
    cell = Cell("llm", ordering, 0, Nothing(), models, 1, {"final": assess})
    spent = ((p_prime, 1.0), (samples, 20.0), (student, 300.0), (assess, 4000.0))
    costs = pd.DataFrame(
        [{"artifact_id": node.id, "cell_id": None, "stage": node.stage, "flops": paid,
          "wall_seconds": paid, "device_seconds": paid, "tokens": 1}
         for node, paid in spent]
    )  # fmt: skip
    assert cell_costs(costs, [cell], NO_RECORD)[cell.id].amount == 320.0
    table = cost_table(costs, [cell])
    assert table["stage"].tolist()[:4] == ["sft", "sample", "distill", "assess"]
    assert table["flops"].tolist()[-1] == 4321.0


def test_costs_count_shared_artifacts_in_both_orderings_but_pay_once(make_run: MakeRun) -> None:
    run = make_run(seeds=4)
    costs = run.table("costs").to_pandas()
    table = cost_table(costs, run.planned()).set_index(["ordering", "stage"])
    # p' of 4 seeds is shared; p'' is K-A's; K-A aligns at 3 settings; A-K aligns and distils at 3
    assert table.loc[("K-A", "all stages"), "artifacts"] == 4 + 4 + 12
    assert table.loc[("A-K", "all stages"), "artifacts"] == 4 + 12 + 12
    assert table.loc[("all orderings", "all stages"), "wall_seconds"] == len(costs) == 44
    assert table.loc[("A-K", "distill"), "tokens"] == 1200
    assert unshared_seconds(costs, run.planned()) == 12 * 3 + 12 * 4


def test_a_longer_run_pays_for_the_shorter_ones(make_run: MakeRun) -> None:
    run = make_run(grid=LENGTHS, seeds=2)
    costs = run.table("costs").to_pandas()
    assert cost_measure(costs, run.planned()) == "flops"
    spending = cell_costs(costs, run.planned(), record_of("mog"))
    spent = {
        (cell.ordering.name, cell.factors["iterations"]): spending[cell.id].amount
        for cell in run.planned()
    }
    # every stored stage costs 1e6; K-A shares one p'', each alignment goes on from the shorter one
    assert spent["K-A", 100] == 2e6
    assert spent["K-A", 400] == 4e6
    assert spent["A-K", 200] == 3e6
    first = run.planned()[0]
    assert spending[first.id].updates == {"distill": 50, "align": 100}
    assert record_of("mog").updates(first.models["p_prime"]) is None
    assert length_axis(summarize(run).design, run.planned()) == "iterations"


def test_updates_are_those_that_the_stages_counted(make_run: MakeRun) -> None:
    run = make_run(grid=LENGTHS, seeds=1)
    costs = run.table("costs").to_pandas()
    first, last = (
        next(c for c in run.planned() if c.factors["iterations"] == length) for length in (100, 400)
    )
    # two epochs a rollout; like costs, a row counts what came after the shorter length
    made = {node.id: 200.0 if node.stage == "align" else 7.0
            for cell in run.planned() for node in cell.nodes}  # fmt: skip
    counted = costs.assign(updates=costs["artifact_id"].map(made))
    spending = cell_costs(counted, run.planned(), NO_RECORD)
    assert spending[first.id].updates == {"distill": 7, "align": 200}
    assert spending[last.id].updates == {"distill": 7, "align": 600}
    nobody = cell_costs(counted.assign(updates=np.nan), run.planned(), NO_RECORD)
    assert nobody[first.id].updates == {"distill": None, "align": 100}


def test_order_effect_at_equal_cost_reads_k_a_where_it_costs_the_same(make_run: MakeRun) -> None:
    run = make_run(grid=LENGTHS, seeds=3, noise=0.0, order_effect=lambda p: p["iterations"] / 1000)
    summary = summarize(run)
    costs = run.table("costs").to_pandas()
    spending = cell_costs(costs, run.planned(), record_of("mog"))
    extra = {i: b.amount * 1.5 if c.ordering.name == "A-K" else b.amount
             for c in run.planned() for i, b in [(c.id, spending[c.id])]}  # fmt: skip
    dearer = {name: type(b)(extra[name], b.updates) for name, b in spending.items()}
    table = equal_cost_table(
        summary.pairs, summary.design, run.planned(), dearer, np.random.default_rng(0)
    ).set_index("iterations")
    assert table["cost_ak"].tolist() == [3e6, 4.5e6, 6e6]
    assert table["cost_ka"].tolist() == [2e6, 3e6, 4e6]
    assert table["reach"].tolist() == ["within", "beyond", "beyond"]
    np.testing.assert_allclose(table["equal_updates"], [0.1, 0.2, 0.4])
    # the invented K-A attains the same at every length, so the dearer budget changes nothing
    np.testing.assert_allclose(table["equal_cost"], [0.1, 0.2, 0.4])


@pytest.mark.slow
def test_the_report_says_why_equal_cost_cannot_be_had(make_run: MakeRun) -> None:
    without = Path(write_report(make_run(seeds=3, grid={"kl_weight": (1.0,)}), form="markdown"))
    assert "needs the alignment's length" in without.read_text()
    with_lengths = write_report(make_run(seeds=3, grid=LENGTHS), form="json")
    text = json.dumps(json.loads(Path(with_lengths).read_text()))
    assert '"table": "equal cost"' in text
    assert "both orderings made the same 50 updates of distill" in text


def test_controls_keep_sharpening_apart_from_the_ordering(make_run: MakeRun) -> None:
    run = make_run(
        orderings=("K-A", "A-K", "K-A-K"), seeds=6, noise=0.0,
        missing=lambda o, s, p: o == "K-A-K" and s == 2 and p["kl_weight"] == 0.5,
    )  # fmt: skip
    summary = summarize(run)
    attainments = cell_attainments(summary.outcomes, summary.design)
    table = contrast_table(attainments, summary.design)
    assert set(table["contrast"]) == {"K-A-K − K-A", "A-K − K-A-K"}
    rows = table.set_index(["kl_weight", "contrast"])
    assert rows.loc[(0.5, "A-K − K-A-K"), "state"] == "incomplete: 1 of 6 seeds of K-A-K missing"
    assert np.isnan(rows["difference"].to_dict()[0.5, "A-K − K-A-K"])
    # the invented K-A-K gains nothing, and A-K leads by the order effect
    assert rows.loc[(1.0, "K-A-K − K-A"), "difference"] == pytest.approx(0, abs=1e-9)
    assert rows.loc[(1.0, "A-K − K-A-K"), "difference"] == pytest.approx(0.3)
    means = ordering_attainments(attainments, summary.design, summary.design.points, ["K-A-K"])
    assert set(means) == {((1.0,), "K-A-K"), ((2.0,), "K-A-K")}


def test_evaluation_noise_stands_beside_the_spread_over_seeds(make_run: MakeRun) -> None:
    run = make_run(seeds=5, grid={"kl_weight": (1.0, 2.0)})
    design = summarize(run).design
    table = noise_table(run.table("metrics"), design)
    assert len(table) == 2 * 2 * 3
    np.testing.assert_allclose(table["evaluation_error"], 0.01)
    np.testing.assert_allclose(table["share"], np.minimum(1, 0.01**2 / table["seed_sd"] ** 2))
    bare = run.table("metrics").drop_columns(["standard_error"])
    assert noise_table(bare, design).empty


def test_an_exact_evaluation_is_not_called_noise(make_run: MakeRun) -> None:
    metrics = make_run(seeds=2).table("metrics")

    def scored(*names: str) -> pa.Table:
        column = pa.array([names[i % len(names)] for i in range(metrics.num_rows)])
        return metrics.append_column("scorer", column)

    assert nothing_sampled(scored("closed form", "quadrature"))
    assert not nothing_sampled(scored("quadrature", "p_star"))
    assert not nothing_sampled(metrics)

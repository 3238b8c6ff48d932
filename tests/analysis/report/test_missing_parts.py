"""Whatever a finished run lacks, its summary and its report come out, and say so.

Runs of every kind lose metrics, models, orderings, seeds, curves and costs, alone and together.
Figures are made but not rendered, except in the few cases marked slow.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import isfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from toy_language import language_run

from recalltrap_analysis.estimates.missing.metrics import READ
from recalltrap_analysis.forecast.table import forecast
from recalltrap_analysis.report import rendering, writers
from recalltrap_analysis.report.build import write_report
from recalltrap_analysis.report.joint_report import joint_report
from recalltrap_analysis.report.redaction import redacted
from recalltrap_analysis.report.run_report import SECTIONS, run_report
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

pytestmark = pytest.mark.slow

READ_BY_GRAMMAR = ("grammatical", "topic_")
KINDS = ("mixture", "grammar", "no grammar")
HOW = ("drop", "nan", "inf", "null")


@dataclass(frozen=True)
class Damage:
    """Rows of a table, by what some columns hold, dropped or with a number spoilt."""

    how: str
    table: str
    column: str
    where: tuple[tuple[str, Any], ...] = ()

    def chosen(self, run: FakeRun) -> pa.Array:
        table = run.tables[self.table]
        chosen = pa.chunked_array([np.ones(table.num_rows, dtype=bool)])
        for name, value in self.where:
            chosen = pc.and_(chosen, pc.fill_null(pc.equal(table[name], value), False))
        return chosen

    def done(self, run: FakeRun) -> FakeRun:
        table, chosen = run.tables[self.table], self.chosen(run)
        if self.how == "drop":
            spoilt = table.filter(pc.invert(chosen))
        else:
            number = {"nan": np.nan, "inf": -np.inf, "null": None}[self.how]
            old = table[self.column].cast(pa.float64())
            new = pc.if_else(chosen, pa.scalar(number, pa.float64()), old)
            spoilt = table.set_column(table.column_names.index(self.column), self.column, new)
        return replace(run, tables={**run.tables, self.table: spoilt})

    def known_to_lack(self, run: FakeRun) -> str:
        """The metric that the report must name after this alone; empty where nothing can know."""
        where = dict(self.where)
        metric, models = str(where.get("metric", "")), READ.get(str(where.get("metric", "")), ())
        if (
            self.table != "metrics"
            or self.column != "value"
            or not pc.any(self.chosen(run)).as_py()
        ):
            return ""
        read = bool(models) and where.get("model", models[0]) in models
        return metric.partition("/")[0] if self.how != "drop" or read else ""


def damages(run: FakeRun) -> list[Damage]:
    """Everything that can be taken from a run alone."""
    metrics = run.tables["metrics"]
    found: list[Damage] = []
    pairs = sorted({(row["model"], row["metric"]) for row in metrics.to_pylist()})
    wheres: list[tuple[tuple[str, Any], ...]] = [(("model", m), ("metric", n)) for m, n in pairs]
    wheres += [(("metric", name),) for name in sorted({name for _, name in pairs})]
    wheres += [(("model", name),) for name in sorted({name for name, _ in pairs})]
    for name in run.study.orderings:
        wheres += [(("ordering", name.name),), (("ordering", name.name), ("seed", 1))]
        wheres += [(("ordering", name.name), *where) for where in wheres[: len(pairs)]]
    wheres += [(("seed", 1),), (("seed", 1), ("metric", "reward")), ()]
    found += [Damage(how, "metrics", "value", where) for how in HOW for where in wheres]
    found += [Damage(how, "metrics", "standard_error") for how in HOW[1:]]
    curves = sorted({row["metric"] for row in run.tables["curves"].to_pylist()})
    for how in HOW:
        found += [Damage(how, "curves", "value", (("metric", name),)) for name in curves]
        found += [
            Damage(how, "curves", "value", (("stage", "align"),)),
            Damage(how, "curves", "value"),
        ]
    for column in ("wall_seconds", "device_seconds", "flops"):
        found += [Damage(how, "costs", column) for how in HOW]
        found += [Damage(how, "costs", column, (("stage", "align"),)) for how in HOW]
    for name in run.study.orderings:  # cells that never ran
        found.append(Damage("drop", "cells", "", (("ordering", name.name),)))
    found += [Damage("drop", "cells", "", (("seed", 1),)), Damage("drop", "cells", "")]
    return found


@pytest.fixture(scope="module")
def runs(make_shared_run: MakeRun) -> dict[str, FakeRun]:
    """A mixture over two axes with a control; a language with its grammar; one without."""
    mixture = make_shared_run(
        grid={"kl_weight": (0.5, 2.0), "iterations": (100, 200)}, seeds=3,
        orderings=("K-A", "A-K", "K-A@p'"), order_effect=lambda point: 0.2 * point["kl_weight"],
    )  # fmt: skip
    grammar = language_run(mixture, grid={"distill_temperature": (0.925, 0.95)}, seeds=3)
    costs = [row | {"artifact_id": node.id, "stage": node.stage}
             for row in mixture.tables["costs"].slice(0, 1).to_pylist()
             for node in {n.id: n for c in grammar.cells for n in c.nodes}.values()]  # fmt: skip
    schema = mixture.tables["costs"].schema
    grammar.tables["costs"] = pa.Table.from_pylist(costs, schema)
    return {"mixture": mixture, "grammar": grammar, "no grammar": without_grammar(grammar)}


def without_grammar(run: FakeRun) -> FakeRun:
    """As a text corpus or a model folder leaves it: nobody reads topics."""
    metrics = run.tables["metrics"]
    kept = [not any(part in name for part in READ_BY_GRAMMAR)
            for name in metrics["metric"].to_pylist()]  # fmt: skip
    return replace(run, tables={**run.tables, "metrics": metrics.filter(pa.array(kept))})


@pytest.fixture
def _unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but neither laid out nor written: that takes most of a report's time."""
    monkeypatch.setattr(rendering, "render", lambda figure, stem: (b"<svg/>", b"%PDF"))


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch, _unrendered: None) -> None:
    """Figures get their numbers and aren't even made."""
    for kind in ("mog", "llm"):
        record_of(kind)  # its modules are imported late, and would keep what they draw with
    plots = [m for name, m in sys.modules.items() if name.startswith("recalltrap_analysis.")]
    for module in plots:
        for name, value in list(vars(module).items()):
            made = getattr(value, "__module__", "") or ""
            if isfunction(value) and made.startswith("recalltrap_analysis.figures."):
                monkeypatch.setattr(module, name, lambda *numbers, **options: Figure())


def check_report(run: FakeRun) -> tuple[str, tuple[str, ...]]:
    """What a run's report says, and what its summary finds lacking; no fault of ours in it."""
    read = ReadRun(run)
    summary = summarize(read)
    document = run_report(read, summary)
    assert not [name for name in read.problems if name.startswith("section ")], read.problems
    markdown, as_json = writers.markdown(document), writers.to_json(document)
    for text in (markdown, as_json) if not run.tables["failures"].num_rows else ():
        assert not re.search(r"(?<![\w-])nan(?![\w-])", text.lower())
    json.loads(as_json, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    return markdown.replace("\\", ""), summary.lacks


def forecast_points(run: FakeRun) -> pd.DataFrame:
    """The forecast's table."""
    kind = run.study.kind
    return forecast(run.tables["metrics"], run.cells, run.store, run.axes, kind).points


def check_damages(run: FakeRun, examples: int) -> None:
    """Up to three damages at once, as many times; one alone is named."""

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(st.lists(st.sampled_from(damages(run)), min_size=1, max_size=3))
    def check(chosen: list[Damage]) -> None:
        spoilt = run
        for damage in chosen:
            spoilt = damage.done(spoilt)
        forecast_points(spoilt)
        _, lacks = check_report(spoilt)
        if len(chosen) == 1:
            assert chosen[0].known_to_lack(run) in " ".join(lacks)

    check()


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_costs_the_report(kind: str, runs: dict[str, FakeRun]) -> None:
    check_damages(runs[kind], 5)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("_unrendered")
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_costs_a_figure(kind: str, runs: dict[str, FakeRun]) -> None:
    check_damages(runs[kind], 5)


METRIC = (("metric", "topic_coverage"),)
REWARD_OF_ONE = (("ordering", "K-A"), ("seed", 1), ("model", "final"), ("metric", "reward"))
CASES: dict[str, tuple[str, Damage, str]] = {
    "one kind's metric": (
        "grammar", Damage("nan", "metrics", "value", METRIC),
        "topic_coverage of p', p'', p'_AK, the final model: no finite value in any cell",
    ),
    "one cell's reward": (
        "mixture", Damage("nan", "metrics", "value", REWARD_OF_ONE),
        "reward of the final model: no finite value in 4 of 36 cells (K-A, kl_weight 0.5, "
        "iterations 100: seed 1;",
    ),
    "a metric beside the reward": (
        "mixture", Damage("drop", "metrics", "value", (("metric", "target_precision"),)),
        "target_precision of the final model: no finite value in any cell",
    ),
    "a model": (
        "mixture", Damage("drop", "metrics", "value", (("model", "p_prime_aligned"),)),
        "everything of p'_AK: no finite value in any cell",
    ),
    "an ordering's metrics": (
        "grammar", Damage("drop", "metrics", "value", (("ordering", "A-K"),)),
        "metrics: none in 6 of 12 cells (A-K, distill_temperature 0.925: seeds 0–2;",
    ),
    "all curves": ("mixture", Damage("drop", "curves", ""), "curves: none in any cell of K-A"),
    "a curve": (
        "grammar", Damage("nan", "curves", "value", (("metric", "reward"), ("stage", "align"))),
        "curves: reward of align is not finite at 36 steps of 12 cells",
    ),
    "costs": (
        "mixture", Damage("drop", "costs", "", (("stage", "align"),)),
        "costs: none recorded of 24 of 42 stage executions",
    ),
    "a cost": (
        "mixture", Damage("inf", "costs", "flops", (("stage", "align"),)),
        "costs: no finite flops of 24 of 42 stage executions",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("case", CASES)
def test_what_is_missing_is_named(case: str, runs: dict[str, FakeRun]) -> None:
    kind, damage, line = CASES[case]
    text, _ = check_report(damage.done(runs[kind]))
    assert "Not in this run, so left out above:" in text
    assert f"- {line}" in text


@pytest.mark.usefixtures("_undrawn")
def test_a_whole_run_lacks_nothing(make_run: MakeRun) -> None:
    text, lacks = check_report(make_run(grid={}, seeds=3))
    assert lacks == ()
    assert "Nothing: every planned cell has succeeded." in text


def test_order_effect_needs_the_reward_alone(runs: dict[str, FakeRun]) -> None:
    """A study without the other metrics keeps its verdict; what they would say is a dash."""
    whole, run = runs["mixture"], runs["mixture"]
    for metric in ("target_precision", "overall_recall", "hit_rate"):
        run = Damage("nan", "metrics", "value", (("metric", metric),)).done(run)
    before, after = summarize(whole), summarize(run)
    assert after.verdict == before.verdict
    assert (
        after.order_effect["order_effect"].tolist() == before.order_effect["order_effect"].tolist()
    )
    assert after.order_effect["recall_difference"].isna().all()
    assert (after.table()["overall recall, nats"] == "–").all()
    assert (forecast_points(run)["state"] == "complete").all()


def test_an_infinite_supremum_gives_no_attainment(runs: dict[str, FakeRun]) -> None:
    """Nor does a language model's missing one fall back on the reward's height."""
    for how in ("inf", "drop"):
        damage = Damage(how, "metrics", "value", (("metric", "reward_supremum"),))
        summary = summarize(damage.done(runs["grammar"]))
        assert summary.verdict == "no verdict"
        assert any("reward_supremum" in line for line in summary.lacks)


@pytest.mark.usefixtures("_undrawn")
def test_a_language_keeps_what_it_has_without_grammar(runs: dict[str, FakeRun]) -> None:
    text, lacks = check_report(runs["no grammar"])
    assert "Topics and their coverage are left out: no model reports them." in text
    assert "Lengths of responses" in text
    assert "above it" in text  # how well the students learned
    (line,) = lacks
    assert line.startswith("grammatical, topic_coverage of p', p'', p'_AK, the final model: no fin")


def broken_models(run: FakeRun) -> FakeRun:
    """The same run with a store whose weights can't be read."""
    store = type(run.store)
    broken = type("Broken", (store,), {"read": lambda self, node, name: b"not weights"})
    return replace(run, store=broken())


EMPTY: dict[str, Callable[[MakeRun], FakeRun]] = {
    "no cells": lambda make: replace(make(missing=lambda o, s, p: True), cells=[]),
    "all failed": lambda make: make(failing=lambda o, s, p: True, seeds=2),
    "one cell": lambda make: make(orderings=("A-K",), seeds=1, grid={}),
    "K alone": lambda make: make(orderings=("K",), seeds=3),
    "one arm failed": lambda make: make(failing=lambda o, s, p: o == "A-K", seeds=3),
    "seeds of one arm": lambda make: make(missing=lambda o, s, p: o == "A-K" and s > 0, seeds=3),
    "no spread": lambda make: make(noise=0.0, seeds=9),
    "a broken model": lambda make: broken_models(make(seeds=3, grid={})),
}


@pytest.mark.usefixtures("_unrendered")
@pytest.mark.parametrize("case", EMPTY)
def test_runs_with_hardly_anything(case: str, make_run: MakeRun) -> None:
    check_report(EMPTY[case](make_run))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixture", "no grammar"])
def test_pages_of_damaged_runs(kind: str, runs: dict[str, FakeRun], tmp_path: Path) -> None:
    """The whole way, figures and all formats: a seed's reward is lost, and the recall of p'."""
    run = Damage("nan", "metrics", "value", REWARD_OF_ONE).done(runs[kind])
    run = Damage("drop", "metrics", "value", (("model", "p_prime"), ("metric", "overall_recall")))\
        .done(run)  # fmt: skip
    run = replace(run, storage=replace(run.storage, root=tmp_path))
    texts: list[str] = []
    for form in ("html", "markdown", "json"):
        path = write_report(run, form=form, tell=texts.append)
        assert Path(path).read_text() == texts[-1]
        assert "overall_recall" in texts[-1].replace("\\", "")
        assert "a bug in recalltrap" not in texts[-1]


@pytest.mark.usefixtures("_undrawn")
def test_damaged_runs_make_one_report(runs: dict[str, FakeRun]) -> None:
    damage = Damage("nan", "metrics", "value", (("metric", "reward"),))
    read = [ReadRun(damage.done(runs["mixture"])), ReadRun(runs["no grammar"])]
    text = writers.markdown(joint_report(read, ["elsewhere: gone"])).replace("\\", "")
    assert "a bug in recalltrap" not in text
    assert "reward of p', p'', the final model: no finite value in any cell" in text


@pytest.mark.usefixtures("_undrawn")
def test_a_fault_of_ours_costs_one_section(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run: object, summary: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setitem(SECTIONS, "forecast", broken)
    run = ReadRun(make_run(grid={}, seeds=2))
    text = writers.markdown(run_report(run)).replace("\\", "")
    assert "This section can't be shown: a bug in recalltrap (ZeroDivisionError" in text
    assert "## Order effect" in text
    assert run.problems["section forecast"] == "ZeroDivisionError: by nothing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://key:secret@bucket/runs", "s3://[redacted]@bucket/runs"),
        ("s3://key:se/cr/et@bucket", "s3://[redacted]@bucket"),
        ("run --storage s3://AKIA@b/x?region=eu", "run --storage s3://[redacted]@b/x?region=eu"),
        ("s3://b/x?secret_key=abc&region=eu", "s3://b/x?secret_key=[redacted]&region=eu"),
        ("https://h/m?X-Amz-Signature=ff", "https://h/m?X-Amz-Signature=[redacted]"),
        ("align_tokens: 16", "align_tokens: 16"),
        ("someone@example.org", "someone@example.org"),
    ],
)
def test_texts_are_redacted(text: str, expected: str) -> None:
    assert redacted({text: [text]}) == {expected: [expected]}


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("form", ["html", "markdown", "json"])
def test_a_report_holds_no_credentials(form: str, make_run: MakeRun, tmp_path: Path) -> None:
    secret = "s3://AKIA:hunter2@bucket/runs"
    run = make_run(failing=lambda o, s, p: s == 1, seeds=2, grid={}, question=f"of {secret}?")
    failures = run.tables["failures"].to_pylist()
    for row in failures:
        row |= {"message": f"can't reach {secret}", "retry_command": f"run --storage {secret}",
                "log_tail": secret}  # fmt: skip
    run.tables["failures"] = pa.Table.from_pylist(failures, run.tables["failures"].schema)
    run.run = "studies/fake"
    text = Path(write_report(run, form=form)).read_text()
    assert "hunter2" not in text
    assert "AKIA" not in text
    assert "[redacted]" in text.replace("\\", "")

"""Whatever a finished run lacks, its summary and its report come out, and say so.

Runs of every kind lose metrics, models, orderings, seeds, curves and costs, alone and together.
Figures are made but not rendered, except in the few cases marked slow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_language import language_run

from recalltrap.kinds import ancestry
from recalltrap_analysis import figures, writers
from recalltrap_analysis.contents import single
from recalltrap_analysis.forecast import forecast_table
from recalltrap_analysis.reading import ReadRun
from recalltrap_analysis.summary import summarize
from recalltrap_analysis.unmeasured import READ

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

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

    def done(self, run: FakeRun) -> FakeRun:
        table = run.tables[self.table]
        chosen = pa.array(np.ones(table.num_rows, dtype=bool))
        for name, value in self.where:
            chosen = pc.and_(chosen, pc.fill_null(pc.equal(table[name], value), False))
        if self.how == "drop":
            spoilt = table.filter(pc.invert(chosen))
        else:
            number = {"nan": np.nan, "inf": -np.inf, "null": None}[self.how]
            old = table[self.column]
            new = pc.if_else(chosen, pa.scalar(number, pa.float64()), old.cast(pa.float64()))
            spoilt = table.set_column(table.column_names.index(self.column), self.column, new)
        return replace(run, tables={**run.tables, self.table: spoilt})


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
        orderings=("K-A", "A-K", "K-A@p'"), severity=lambda point: 0.2 * point["kl_weight"],
    )  # fmt: skip
    grammar = language_run(mixture, grid={"distill_temperature": (0.925, 0.95)}, seeds=3)
    costs = [row | {"artifact_id": node.id, "stage": node.stage}
             for row in mixture.tables["costs"].slice(0, 1).to_pylist()
             for node in ancestry([n for cell in grammar.cells for n in cell.nodes])]  # fmt: skip
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
    monkeypatch.setattr(figures, "render_both", lambda figure, stem: (b"<svg/>", b""))


def told(run: FakeRun, write: Sequence[str] = ("markdown", "json")) -> str:
    """All that a run's report says; it must hold no fault and no bare `nan`."""
    read = ReadRun(run)
    document = single(read, summarize(read))
    assert not [name for name in read.problems if name.startswith("section ")], read.problems
    page = {"html": writers.html, "markdown": writers.markdown, "json": writers.to_json}
    texts = {form: page[form](document) for form in write}
    for text in texts.values():
        assert not re.search(r"(?<![\w-])nan(?![\w-])", text.lower()), text
    if "json" in texts:
        json.loads(texts["json"], parse_constant=lambda name: pytest.fail(name))
    return texts["markdown"] if "markdown" in texts else " ".join(texts.values())


def named(damage: Damage, run: FakeRun) -> list[str]:
    """What a report must say of the damage, where anything can know of it."""
    where = dict(damage.where)
    if damage.table != "metrics" or damage.column != "value":
        return []
    metric, model = where.get("metric"), where.get("model")
    if metric is None or (damage.how == "drop" and "ordering" not in where and "seed" not in where
                          and model not in READ.get(str(metric), ())):  # fmt: skip
        return []
    if damage.how == "drop" and metric not in READ:
        return []
    return [str(metric).partition("/")[0]] if model in (None, *READ.get(str(metric), ())) else []


@pytest.mark.usefixtures("_unrendered")
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_costs_the_report(kind: str, runs: dict[str, FakeRun]) -> None:
    run = runs[kind]

    @settings(max_examples=25, deadline=None, database=None)
    @given(st.lists(st.sampled_from(damages(run)), min_size=1, max_size=3))
    def check(chosen: list[Damage]) -> None:
        spoilt = run
        for damage in chosen:
            spoilt = damage.done(spoilt)
        forecast_table(spoilt.tables["metrics"], spoilt.axes)
        text = told(spoilt).replace("\\", "")
        for damage in chosen if len(chosen) == 1 else ():
            assert all(word in text for word in named(damage, run)), (damage, text)

    check()

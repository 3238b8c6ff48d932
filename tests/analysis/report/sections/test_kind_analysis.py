"""Somebody else's kind gets a whole report: the shared sections, and what its package brings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recalltrap as rt
from recalltrap_analysis.report.build import write_report
from recalltrap_analysis.report.run_report import SECTIONS, sections_of
from recalltrap_analysis.report.sections.kind_analysis import (
    KindAnalysis,
    KindSection,
    analysis_of,
)
from recalltrap_analysis.runs.kind_record import NO_RECORD, record_of


@pytest.mark.slow
def test_the_toy_kind_has_a_claim_a_section_and_a_figure_of_its_own(
    study_file: Callable[..., str], storage: str
) -> None:
    run = rt.run(study_file(seeds=8, claims=["T1"]), storage=storage, local=True)
    content = json.loads(Path(write_report(run, form="json")).read_text())
    sections = {section["key"]: section for section in content["chapters"][0]["sections"]}
    keys = list(sections)
    assert keys.index("toy") == keys.index("models") + 1
    assert set(SECTIONS) - set(keys) == {"scorers", "handovers"}  # it has none
    assert not [name for name in content["lacks"] if "section" in name]
    own: list[dict[str, Any]] = sections["toy"]["blocks"]
    assert [block.get("figure") for block in own] == [None, "toy-distances"]
    assert "The toy's references." in json.dumps(sections["references"])
    assert Path(storage, run.run, "report/figures/toy-distances.svg").is_file()
    claims = {row["id"]: row for row in _table(sections["claims"], "claims")}
    assert claims["T1"]["runs"] == ["toy/test"]
    assert claims["T1"]["verdict"] != "not tested"
    assert claims["T1"]["rows"] == run.sql(claims["T1"]["query"]).num_rows == 2 * 2 * 8
    folded = next(b for b in sections["claims"]["blocks"] if "aren't tested" in b.get("title", ""))
    untested = {row["id"]: row for row in _table(folded, "untested claims")}
    assert untested["C1"]["verdict"] == "not tested"
    order_effect = _table(sections["order-effect"], "order effect")
    assert [row["state"] for row in order_effect] == ["complete", "complete"]
    assert "updates of" in json.dumps(sections["cost"])
    page = Path(write_report(run)).read_text()
    assert "can't be shown, by a fault" not in page
    assert "Where the points end" in page
    assert "What a toy model is." in page


def _table(section: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = next(block for block in section["blocks"] if block.get("table") == name)
    rows: list[dict[str, Any]] = found["rows"]
    return rows


def test_a_kind_without_a_record_has_the_shared_sections_alone() -> None:
    assert record_of("toy_group") is NO_RECORD
    assert list(sections_of(analysis_of("toy_group"))) == list(SECTIONS)


def test_a_kind_s_section_stands_where_it_says_or_last() -> None:
    known = KindSection("a", "A", "order-effect", lambda run, summary: [])
    lost = KindSection("b", "B", "no such section", lambda run, summary: [])
    keys = list(sections_of(KindAnalysis(sections=(lost, known))))
    assert keys.index("a") == keys.index("order-effect") + 1
    assert keys[-1] == "b"

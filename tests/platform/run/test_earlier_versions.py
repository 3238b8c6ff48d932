"""A storage from before a cell's identity, or its evaluation, changed its meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from toy_kind import KIND, STAGE_FIELDS, ToyKind, ToySettings

from recalltrap.graph import Cell
from recalltrap.results.results import Results, open_run
from recalltrap.run.run import run
from recalltrap.run.study_plan import plan
from recalltrap.settings_parts import Reads
from recalltrap.study.named_studies import load_study

StudyFile = Callable[..., str]


@pytest.fixture
def earlier(study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A finished study of a version that counted every setting and had one more of them."""
    path = study_file()
    make = ToyKind.cell

    def every_setting(self: ToyKind, *arguments: Any) -> Cell:
        return replace(make(self, *arguments), decides=None)

    class Earlier(ToySettings):
        gone: int = 1

    with monkeypatch.context() as before:
        before.setattr(ToyKind, "cell", every_setting)
        before.setattr(ToyKind, "reads", lambda *_: Reads(frozenset(Earlier.model_fields), {}))
        before.setattr(KIND, "settings", Earlier, raising=False)
        run(load_study(path, ["settings.gone=2"]), storage=storage, local=True)
    return path


def values(results: Results) -> list[dict[str, Any]]:
    query = "select ordering, seed, kl_weight, model, metric, value from metrics order by all"
    return list(results.sql(query).to_pylist())


def said(study: str, storage: str) -> dict[str, Any]:
    """What a plan says, by name."""
    return {row["what"]: row["value"] for row in plan(study, storage=storage).rows()}


def test_its_rows_are_read_as_they_are(earlier: str, storage: str) -> None:
    results = open_run("toy/test", storage)
    ids = set(results.sql("select cell_id from cells")["cell_id"].to_pylist())
    assert {cell.id for cell in results.planned()} == ids
    assert len(ids) == 12
    fresh = {cell.id for cell in load_study(earlier).cells()}
    assert not fresh & ids, "else this says nothing"


@pytest.mark.slow
def test_its_artifacts_are_used_and_its_cells_evaluated_anew(earlier: str, storage: str) -> None:
    before = values(open_run("toy/test", storage))
    rows = said(earlier, storage)
    assert rows["cells to do"] == 12
    assert rows["of which re-evaluated"].startswith("12: their rows are an earlier version's")
    assert not [name for name in rows if name.startswith("stages to build")]
    results = run(earlier, storage=storage, local=True)
    assert values(results) == before
    rows = said(earlier, storage)
    assert (rows["cells to do"], rows.get("of which re-evaluated")) == (0, None)


def test_what_was_made_from_something_else_is_built_anew(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(study_file(), storage=storage, local=True)
    monkeypatch.setitem(STAGE_FIELDS, "align", (*STAGE_FIELDS["align"], "rate"))  # as a version's
    rows = said(study_file(), storage)
    assert (rows["cells to do"], rows["stages to build: align"]) == (12, 12)
    assert rows["of which rebuilt"].startswith("12: a file or folder that they were made from")
    assert "of which re-evaluated" not in rows


@pytest.mark.slow
def test_a_longer_study_is_no_other_version(study_file: StudyFile, storage: str) -> None:
    run(study_file(), storage=storage, local=True)
    rows = said(study_file(seeds=5), storage)
    assert (rows["cells to do"], rows.get("of which re-evaluated")) == (8, None)

"""What the counts of a run don't tell is said: cells outside the view, and values that lack."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from toy_kind import ToyKind
from toy_trouble import plant

import recalltrap as rt
from recalltrap.cli.command_line import main
from recalltrap.cli.commands import status_notes
from recalltrap.graph import Cell
from recalltrap.kind import Evaluation
from recalltrap.results.notes import look_notes, unmeasured_notes, view_notes
from recalltrap.results.results import Results
from recalltrap.store.store import ArtifactStore

pytestmark = pytest.mark.slow

StudyFile = Callable[..., str]


def rerun(study_file: StudyFile, storage: str, first: dict[str, Any], then: dict[str, Any]) -> str:
    """The note after a study was run so, and then otherwise; empty if there is none."""
    rt.run(study_file(**{"seeds": 2, **first}), storage=storage, local=True)
    notes = view_notes(rt.run(study_file(**{"seeds": 2, **then}), storage=storage, local=True))
    assert len(notes) <= 1
    return notes[0] if notes else ""


@pytest.mark.parametrize(
    ("first", "then", "what", "how"),
    [
        ({"seeds": 3}, {}, "4 finished cells of this study are", "`-o seeds=3`"),
        ({"seeds": [0, 7]}, {"seeds": 1}, "(seeds 7)", "`-o 'seeds=[0, 7]'`"),
        ({"grid": {"kl_weight": [0.5, 2.0]}}, {"grid": {"kl_weight": [0.5]}},
         "(kl_weight 2.0)", "`-o 'grid.kl_weight=[0.5, 2.0]'`"),
        ({}, {"orderings": ["K-A"]}, "(orderings A-K)", '-o \'orderings=["K-A", "A-K"]\''),
        ({"seeds": 3}, {"seeds": 1, "orderings": ["A-K"]}, "orderings K-A; seeds 1, 2", "seeds=3"),
        ({"settings": {"iterations": 7}}, {}, "(iterations 7)", "`cells_parts`"),
    ],
)  # fmt: skip
def test_a_narrower_view_says_so(
    first: dict[str, Any], then: dict[str, Any], what: str, how: str, study_file: StudyFile,
    storage: str,
) -> None:  # fmt: skip
    note = rerun(study_file, storage, first, then)
    assert note.startswith("this view is narrower than what was run")
    assert what in note
    assert how in note
    assert "\n" not in note


@pytest.mark.parametrize("then", [{}, {"seeds": 3}, {"orderings": ["K-A", "A-K", "K"]}])
def test_the_same_view_or_a_wider_one_says_nothing(
    then: dict[str, Any], study_file: StudyFile, storage: str
) -> None:
    assert rerun(study_file, storage, {}, then) == ""


def test_the_options_in_the_note_do_what_it_says(study_file: StudyFile, storage: str) -> None:
    grid = {"kl_weight": [0.5, 2.0]}
    note = rerun(study_file, storage, {"seeds": 3, "grid": grid}, {"grid": {"kl_weight": [2.0]}})
    assert "`-o seeds=3 -o 'grid.kl_weight=[2.0, 0.5]'`" in note
    wide = rt.run(
        study_file(seeds=2, grid={"kl_weight": [2.0]}), storage=storage, local=True,
        overrides=["seeds=3", "grid.kl_weight=[2.0, 0.5]"],
    )  # fmt: skip
    assert view_notes(wide) == []
    assert wide.launches()[-1]["stages_built"] == 0


def test_run_and_status_say_it(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recalltrap.registry import room

    monkeypatch.setattr(
        "recalltrap.cli.commands.room",
        lambda name: (lambda results, **_: "page") if name == "report" else room(name),
    )
    common = ("--storage", storage, "--local")
    assert CliRunner().invoke(main, ["run", study_file(seeds=3), *common]).exit_code == 0
    done = CliRunner().invoke(main, ["run", study_file(seeds=2), *common])
    assert "note: this view is narrower than what was run" in done.stdout
    assert "nothing to do" in done.stderr
    assert "0/0" not in done.stderr
    arguments = ["status", "toy/test", "--storage", storage, "--format", "json"]
    done = CliRunner().invoke(main, arguments)
    assert json.loads(done.stdout)[-1]["planned"] == 8
    assert "note: this view is narrower than what was run" in done.stderr


Spoil = Callable[[pa.Table], pa.Table]


def damaged(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch, spoil: Spoil
) -> Results:
    """A run whose kind measured less than it should."""
    evaluate = ToyKind.evaluate

    def less(kind: ToyKind, cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
        found = evaluate(kind, cells, store)
        return replace(found, metrics=spoil(found.metrics))

    monkeypatch.setattr(ToyKind, "evaluate", less)
    return rt.run(study_file(), storage=storage, local=True)


def without(**where: str) -> Spoil:
    """Drops the rows that have all these values."""

    def spoil(metrics: pa.Table) -> pa.Table:
        chosen = [pc.equal(metrics[name], value) for name, value in where.items()]
        return metrics.filter(pc.invert(chosen[0] if len(chosen) == 1 else pc.and_(*chosen)))

    return spoil


def infinite(metrics: pa.Table) -> pa.Table:
    """A reward of every model becomes infinite in the first cell of a pack."""
    first = pc.and_(pc.equal(metrics["metric"], "reward"),
                    pc.equal(metrics["cell_id"], metrics["cell_id"][0]))  # fmt: skip
    values = pc.if_else(first, float("inf"), metrics["value"])
    return metrics.set_column(metrics.column_names.index("value"), "value", values)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (without(model="p_second"), "no metrics of p_second in any cell of K-A"),
        (infinite, "no finite reward of final in 2 of 6 cells of K-A"),
        (without(metric="reward"), ""),
    ],
)
def test_status_names_lacking_values(
    spoil: Spoil, expected: str, study_file: StudyFile, storage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    results = damaged(study_file, storage, monkeypatch, spoil)
    notes = unmeasured_notes(results)
    assert expected in notes if expected else notes == []
    assert status_notes(results) == notes
    for form in ("table", "json", "csv"):
        query = ["query", "toy/test", "select * from metrics", "--storage", storage]
        assert CliRunner().invoke(main, [*query, "--format", form]).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (without(model="p_second"), "everything of p''"),
        (infinite, "reward of"),
        (lambda metrics: metrics.slice(0, 0), "metrics: none"),
    ],
)
def test_a_finished_run_ends_with_its_report(
    spoil: Spoil, named: str, study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the kind that measures too little to the page and what the terminal says."""
    damaged(study_file, storage, monkeypatch, spoil)
    done = CliRunner().invoke(main, ["run", study_file(), "--storage", storage, "--local"])
    assert done.exit_code == 0, done.output
    assert "report: " in done.stdout
    assert f"note: {named}" in done.stdout.replace("p', ", "")
    shown = CliRunner().invoke(
        main, ["report", "toy/test", "--storage", storage, "--format", "json"]
    )
    content = json.loads(shown.stdout)
    assert any(named in line for line in content["lacks"])
    assert "a bug in recalltrap" not in shown.stdout


def test_a_run_that_is_judged_at_looks_says_where_it_stands(
    study_file: StudyFile, storage: str
) -> None:
    def noted(**fields: Any) -> list[str]:
        return look_notes(rt.run(study_file(**fields), storage=storage, local=True))

    assert noted(seeds=2) == []
    decided = noted(seeds={"looks": [2, 8, 9]}, margin=50.0)
    assert decided == [
        "look 2 of 3, 8 of up to 9 seeds: its primary is decided, so that no more are needed"
    ]
    (undecided,) = noted(seeds={"looks": [2, 3]}, margin=50.0)
    assert undecided == "look 2 of 2, 3 of up to 3 seeds: its primary is undecided in 1 stratum"


def test_a_look_with_failed_cells_is_not_finished_and_goes_no_further(
    study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    cause = plant(tmp_path / "trouble", "nan", "align", seed=1)
    path = study_file(
        seeds={"looks": [2, 3]}, margin=50.0, settings={"trouble": str(tmp_path / "trouble")}
    )
    results = rt.run(path, storage=storage, local=True)
    assert look_notes(results) == [
        "look 1 of 2, 2 of up to 3 seeds: not finished; running it again goes on"
    ]
    cause.unlink()
    assert len(rt.run(path, storage=storage, local=True).study.seeds) == 3

"""Effects as a view of SQL: typed, made when a query names them, judged as the study says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap.results.effects_view import effects_table, names_effects
from recalltrap.results.results import Results

StudyFile = Callable[..., str]
COLUMNS = ["contrast", "part", "comparison", "metric", "kl_weight", "value", "low", "high",
           "lower", "upper", "n", "seeds", "unit", "words", "state"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("effects")
    study = {
        "name": "toy/test", "kind": "toy", "question": "?", "orderings": ["K-A", "A-K", "A"],
        "seeds": 3, "grid": {"kl_weight": [0.5, 2.0], "targets": [[7], [3, 7]]},
    }  # fmt: skip
    (folder / "study.yaml").write_text(json.dumps(study))
    return rt.run(folder / "study.yaml", storage=folder / "runs", local=True)


@pytest.mark.slow
def test_a_query_finds_what_effects_returns(run: Results) -> None:
    frame = run.effects()
    table = run.sql("select * from effects")
    assert table.column_names == [*COLUMNS[:5], "targets", *COLUMNS[5:]]
    assert table["contrast"].to_pylist() == frame["contrast"].tolist()
    values = pd.Series(table["value"].to_pylist(), dtype=float)
    pd.testing.assert_series_equal(values, frame["value"], check_names=False)
    assert table["targets"].type == pa.list_(pa.int64())
    assert {tuple(found) for found in table["targets"].to_pylist()} == {(7,), (3, 7)}
    assert run.table("effects").num_rows == table.num_rows == len(frame)


def test_it_is_described_and_joins_the_stored_tables(run: Results) -> None:
    described = {row["column_name"]: row["column_type"] for row in
                 run.sql("describe effects").to_pylist()}  # fmt: skip
    assert described["kl_weight"] == "DOUBLE"
    assert described["words"] == "VARCHAR"
    joined = run.sql("select count(*) as n from Effects join cells using (kl_weight)").to_pylist()
    assert joined[0]["n"] > 0


def test_queries_of_other_tables_compute_nothing(
    run: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Results) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr(Results, "effects", refuse)
    opened = rt.open_run(run.folder)
    assert opened.sql("select 'effects' as effects from cells limit 1").num_rows == 1
    assert opened.sql("with effects as (select 1 as a) select * from effects").num_rows == 1
    with pytest.raises(AssertionError, match="computed"):
        opened.sql("select * from effects")


def test_a_refusal_lists_it(run: Results) -> None:
    with pytest.raises(InputError, match="planned, effects"):
        run.sql("select * from nothing")
    with pytest.raises(InputError, match="did you mean 'effects'"):
        run.table("efects")


def test_nothing_else_becomes_readable(run: Results, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    run.sql("select * from effects")
    with pytest.raises(InputError, match="refused"):
        run.sql(f"select * from '{tmp_path}/secret.csv'")


@pytest.mark.slow
def test_the_command_line_answers(run: Results) -> None:
    command = [sys.executable, "-m", "recalltrap.cli.command_line", "query", run.folder,
               "select distinct contrast from effects order by 1", "--format", "json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [row["contrast"] for row in json.loads(done.stdout)] == ["A − K-A", "A-K − K-A"]


def test_what_is_not_there_is_null() -> None:
    row = dict.fromkeys(COLUMNS, "x") | {"kl_weight": float("nan"), "value": None, "low": 1.0,
           "high": float("nan"), "lower": 0.0, "upper": 0.5, "n": 3, "seeds": 4}  # fmt: skip
    table = effects_table(pd.DataFrame([row]), [pa.field("kl_weight", pa.float64())])
    (found,) = table.to_pylist()
    assert (found["kl_weight"], found["value"], found["high"]) == (None, None, None)
    assert (found["n"], found["seeds"]) == (3, 4)


def test_only_the_view_itself_counts_as_missing() -> None:
    assert names_effects("Catalog Error: Table with name EFFECTS does not exist!")
    assert not names_effects('Table with name effect does not exist! Did you mean "effects"?')

"""Running the toy study in this process: what a run writes, and what it does not do again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from toy_kind import ToyKind, ToySettings

import recalltrap as rt
from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.results.results import Results
from recalltrap.results.tables import COLUMNS, factor_fields, table_schema
from recalltrap.run.worker_group import current_group
from recalltrap.store.store import ArtifactStore
from recalltrap.study.study_file import read_study

StudyFile = Callable[..., str]
Snapshot = Callable[[str], dict[str, tuple[bytes, int]]]


def cells(results: Results) -> dict[str, dict[str, Any]]:
    return {row["cell_id"]: row for row in results.table("cells").to_pylist()}


def artifacts(storage: str, snapshot: Snapshot) -> dict[str, tuple[bytes, int]]:
    return snapshot(f"{storage}/artifacts")


def test_the_whole_way(study_file: StudyFile, storage: str) -> None:
    results = rt.run(study_file(settings={"iterations": 20}), storage=storage, local=True)
    study = results.study
    assert results.folder == f"{storage}/studies/toy/test"
    assert len(cells(results)) == len(study.cells()) == 12
    assert {row["status"] for row in cells(results).values()} == {"succeeded"}
    assert {row["attempt"] for row in cells(results).values()} == {1}
    assert {row["trial_id"] for row in cells(results).values()} == {"local"}
    assert {row["iterations"] for row in cells(results).values()} == {20}
    assert set(cells(results)) == {cell.id for cell in results.planned()}
    assert not results.table("failures").num_rows
    models = results.sql(
        "select ordering, model, count(distinct metric) as metrics, count(distinct cell_id) as n "
        "from metrics group by all order by all"
    ).to_pylist()
    assert [(row["ordering"], row["model"], row["metrics"], row["n"]) for row in models] == [
        ("A-K", "final", 4, 6), ("A-K", "p_prime", 9, 6), ("A-K", "p_prime_aligned", 4, 6),
        ("A-K", "p_second", 8, 6), ("K-A", "final", 4, 6), ("K-A", "p_prime", 9, 6),
        ("K-A", "p_second", 8, 6),
    ]  # fmt: skip
    steps = results.sql("select distinct step from curves where stage = 'align' order by step")
    assert steps["step"].to_pylist() == [5, 10, 15, 20]


def test_every_table_has_its_declared_schema(study_file: StudyFile, storage: str) -> None:
    results = rt.run(study_file(), storage=storage, local=True)
    for table in COLUMNS:
        schema = table_schema(table, factor_fields(ToySettings))
        assert results.table(table).schema.names == schema.names
        assert results.table(table).schema.types == schema.types, table


def test_costs_name_every_execution_once(study_file: StudyFile, storage: str) -> None:
    results = rt.run(study_file(seeds=2), storage=storage, local=True)
    nodes: dict[str, list[str]] = {}
    for cell in results.planned():
        for node in cell.nodes:
            nodes.setdefault(node.id, []).append(cell.id)
    rows = results.sql("select * from costs where stage != 'evaluate'").to_pylist()
    assert sorted(row["artifact_id"] for row in rows) == sorted(nodes)
    for row in rows:
        users = nodes[row["artifact_id"]]
        assert row["cell_id"] == (users[0] if len(users) == 1 else None)
        assert row["reused_by"] == len(users) - 1
        assert row["origin"] == "built"
    evaluated = results.sql("select artifact_id from costs where stage = 'evaluate'")
    assert sorted(evaluated["artifact_id"].to_pylist()) == sorted(cells(results))


def test_a_kind_prepares_before_it_builds_and_only_then(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    build = ToyKind.build

    def watched(kind: ToyKind, nodes: Sequence[Node], store: ArtifactStore) -> Iterator[Progress]:
        calls.append("build")
        return build(kind, nodes, store)

    monkeypatch.setattr(ToyKind, "prepare", lambda self: calls.append("prepare"))
    monkeypatch.setattr(ToyKind, "build", watched)
    study = study_file(orderings=["K"], seeds=1)
    rt.run(study, storage=storage, local=True)
    assert calls[:2] == ["prepare", "build"]
    assert calls.count("prepare") == calls.count("build")
    calls.clear()
    rt.run(study, storage=storage, local=True)
    assert calls == []


@pytest.mark.slow
def test_artifacts_of_another_study_are_taken_from_the_store(
    study_file: StudyFile, storage: str, snapshot: Snapshot
) -> None:
    rt.run(study_file(), storage=storage, local=True)
    before = artifacts(storage, snapshot)
    results = rt.run(study_file(name="toy/other"), storage=storage, local=True)
    assert artifacts(storage, snapshot) == before
    origins = results.sql("select distinct origin from costs where stage != 'evaluate'")
    assert origins["origin"].to_pylist() == ["store"]
    total = "select count(*) as n from costs where stage != 'evaluate'"
    again = rt.run(study_file(name="toy/other"), storage=storage, local=True)
    assert again.sql(total).to_pylist() == results.sql(total).to_pylist()


def test_a_second_run_does_nothing(study_file: StudyFile, storage: str, snapshot: Snapshot) -> None:
    first = rt.run(study_file(), storage=storage, local=True)
    tables = {name: first.table(name) for name in ("cells", "metrics", "curves", "costs")}
    before = artifacts(storage, snapshot)
    parts = snapshot(f"{first.folder}/tables/cells")
    second = rt.run(study_file(), storage=storage, local=True)
    assert artifacts(storage, snapshot) == before
    assert snapshot(f"{first.folder}/tables/cells") == parts
    for name, table in tables.items():
        assert second.table(name).equals(table), name
    assert [launch["stages_built"] for launch in second.launches()] == [24, 0]
    assert [launch["done_before"] for launch in second.launches()] == [0, 12]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grown", "new"),
    [
        ({"seeds": 5}, 2 * 2 * 2),
        ({"seeds": [0, 1, 2, 9]}, 2 * 2),
        ({"grid": {"kl_weight": [0.5, 2.0, 4.0]}}, 2 * 3),
        ({"orderings": ["K-A", "A-K", "K"]}, 2 * 3),
    ],
    ids=str,
)
def test_an_extended_study_runs_only_what_is_new(
    grown: dict[str, Any], new: int, study_file: StudyFile, storage: str, snapshot: Snapshot
) -> None:
    first = cells(rt.run(study_file(), storage=storage, local=True))
    before = artifacts(storage, snapshot)
    results = rt.run(study_file(**grown), storage=storage, local=True)
    second = cells(results)
    assert {name: row for name, row in second.items() if name in first} == first
    assert len(second) - len(first) == new
    after = artifacts(storage, snapshot)
    assert {path: after[path] for path in before} == before
    metrics = results.sql("select count(distinct cell_id) as n from metrics").to_pylist()
    assert metrics == [{"n": len(second)}]


@pytest.mark.slow
def test_extending_gives_the_numbers_of_running_it_at_once(
    study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    """Cells don't depend on what else is in their pack."""
    for seeds in (1, 2, 5):
        grown = rt.run(study_file(), seeds=seeds, storage=storage, local=True)
    at_once = rt.run(study_file(), seeds=5, storage=str(tmp_path / "other"), local=True)
    query = "select * from {} order by all"
    for table in ("metrics", "curves"):
        assert grown.sql(query.format(table)).equals(at_once.sql(query.format(table)))


@pytest.mark.slow
def test_an_iterations_sweep_equals_separate_runs(study_file: StudyFile, tmp_path: Path) -> None:
    def values(grid: list[int], folder: str) -> pa.Table:
        path = study_file(grid={"iterations": grid})
        results = rt.run(path, storage=str(tmp_path / folder), local=True)
        return results.sql("select cell_id, model, metric, value from metrics order by all")

    together = values([5, 7, 20], "all")
    apart = pa.concat_tables([values([n], str(n)) for n in (5, 7, 20)])
    key = [("cell_id", "ascending"), ("model", "ascending"), ("metric", "ascending")]
    assert together.sort_by(key).equals(apart.combine_chunks().sort_by(key))


@pytest.mark.slow
def test_other_settings_do_not_mix(study_file: StudyFile, storage: str, snapshot: Snapshot) -> None:
    """The views show the study as it was last run; what it was before comes back for free."""
    one = rt.run(study_file(), storage=storage, local=True)
    mine, metrics = cells(one), one.table("metrics")
    two = rt.run(study_file(), overrides=["settings.iterations=11"], storage=storage, local=True)
    assert not set(cells(two)) & set(mine)
    assert two.sql("select distinct iterations as n from metrics").to_pylist() == [{"n": 11}]
    assert two.sql("select distinct iterations as n from cells").to_pylist() == [{"n": 11}]
    before = artifacts(storage, snapshot)
    back = rt.run(study_file(), storage=storage, local=True)
    assert cells(back) == mine
    assert back.sql("select * from metrics order by all").num_rows == metrics.num_rows
    assert artifacts(storage, snapshot) == before


@pytest.mark.slow
def test_fewer_seeds_show_fewer_cells_and_keep_the_rest(
    study_file: StudyFile, storage: str
) -> None:
    rt.run(study_file(), seeds=4, storage=storage, local=True)
    fewer = rt.run(study_file(), seeds=[1], storage=storage, local=True)
    assert {row["seed"] for row in cells(fewer).values()} == {1}
    assert fewer.sql("select distinct seed from metrics").to_pylist() == [{"seed": 1}]
    again = rt.run(study_file(), seeds=4, storage=storage, local=True)
    assert {row["seed"] for row in cells(again).values()} == {0, 1, 2, 3}
    assert again.launches()[-1]["stages_built"] == 0


def test_the_run_keeps_the_study_as_it_was(study_file: StudyFile, storage: str) -> None:
    path = study_file(orderings=["K-A", {"name": "own", "stages": ["align", "align"]}])
    results = rt.run(path, overrides=["settings.targets=[1,2]"], storage=storage, local=True)
    saved = f"{results.folder}/study.yaml"
    assert rt.load_study(saved) == results.study
    assert read_study(Path(saved))[0]["settings"] == {"targets": [1, 2]}
    assert rt.run(saved, storage=storage, local=True).launches()[-1]["stages_built"] == 0


def test_a_study_object_runs_too(study_file: StudyFile, storage: str) -> None:
    study = rt.load_study(study_file(seeds=1))
    assert rt.run(study, storage=storage, local=True).study == study
    assert rt.run(study, seeds=2, storage=storage, local=True).study.seeds == (0, 1)


def test_no_scraps_are_left(study_file: StudyFile, storage: str) -> None:
    rt.run(study_file(), storage=storage, local=True)
    names = [path.name for path in Path(storage).rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith(".") or name.endswith(".tmp")]
    assert os.listdir(f"{storage}/locks") == []


def test_the_environment_names_the_storage(
    study_file: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECALLTRAP_STORAGE", str(tmp_path / "from-env"))
    rt.run(study_file(seeds=1), local=True)
    assert (tmp_path / "from-env/studies/toy/test/study.yaml").is_file()


def test_a_launch_and_its_provenance_are_recorded(study_file: StudyFile, storage: str) -> None:
    results = rt.run(study_file(seeds=1), storage=storage, local=True)
    (launch,) = results.launches()
    assert (launch["cells"], launch["done_before"]) == (4, 0)
    assert results.provenance()["versions"]["pyarrow"] == pa.__version__
    node: Node = results.planned()[0].models["final"]
    record = results.store.open(node).record
    assert json.loads(record["hashed"]) == node.identity
    assert record["provenance"] == launch["provenance"]


def test_the_studys_resources_reach_the_stages_of_this_process(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study that is too large for one GPU is split there as it would be on a cluster."""
    seen = []
    build = ToyKind.build

    def watched(self: ToyKind, nodes: Sequence[Node], store: ArtifactStore) -> Iterator[Progress]:
        seen.append(current_group().resources)
        yield from build(self, nodes, store)

    monkeypatch.setattr(ToyKind, "build", watched)
    study = rt.load_study(study_file(), ["resources.cpus_per_trial=2"])
    rt.run(study, storage=storage, local=True)
    assert {resources.cpus_per_trial for resources in seen} == {2}
    assert current_group().resources.cpus_per_trial == 1


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_run_in_this_process_never_asks_for_ray(study_file: StudyFile, storage: str) -> None:
    """`--local`, its report and everything that they import work where Ray isn't installed."""
    program = """
import pkgutil, sys
from importlib import import_module
sys.modules["ray"] = None  # whoever imports it gets an ImportError
import recalltrap, recalltrap_analysis, recalltrap_studies
for room in (recalltrap, recalltrap_analysis, recalltrap_studies):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        import_module(module.name)
from recalltrap.cli.command_line import main
main()
"""
    command = [sys.executable, "-c", program, "run", study_file(), "--local", "--storage", storage]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout

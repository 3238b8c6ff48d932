"""The toy study as trials of Ray Tune: the same numbers as in one process, and its faults."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_check import checkable_record
from toy_display import RecordingDisplay
from toy_trouble import plant

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap.results.results import Results
from recalltrap.run import references as run_references
from recalltrap_analysis.check import references as check_references

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

StudyFile = Callable[..., str]
Snapshot = Callable[[str], dict[str, tuple[bytes, int]]]


@pytest.fixture(scope="module")
def shown() -> RecordingDisplay:
    return RecordingDisplay()


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, shown: RecordingDisplay) -> Results:
    storage = str(tmp_path_factory.mktemp("tuned") / "runs")
    return rt.run("toy/tiny", storage=storage, display=shown)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Results:
    storage = str(tmp_path_factory.mktemp("here") / "runs")
    return rt.run("toy/tiny", storage=storage, local=True)


class TestTheSameStudy:
    """One run through Tune, looked at from all sides."""

    @pytest.mark.parametrize("table", ["metrics", "curves", "planned"])
    def test_the_numbers_are_bit_identical(self, table: str, tuned: Results, here: Results) -> None:
        assert tuned.table(table).num_rows > 0
        assert tuned.table(table).equals(here.table(table))

    def test_cells_and_costs_name_the_same(self, tuned: Results, here: Results) -> None:
        for query in (
            "select cell_id, ordering, seed, kl_weight, status, attempt, config_hash from cells "
            "order by all",
            "select artifact_id, cell_id, stage, reused_by, origin from costs order by all",
        ):
            assert tuned.sql(query).equals(here.sql(query))

    def test_artifacts_are_equal_files(self, tuned: Results, here: Results) -> None:
        for cell in tuned.planned():
            for node in cell.nodes:
                one = tuned.store.read(node, "model.safetensors")
                assert one == here.store.read(node, "model.safetensors")

    def test_a_workers_record_names_the_drivers_command(self, tuned: Results) -> None:
        node = tuned.planned()[0].models["final"]
        name = tuned.store.open(node).record["provenance"]
        path = f"provenance/{name}.json"
        assert b"default_worker" not in tuned.storage.read(path)

    def test_tune_shows_one_trial_per_pack(self, tuned: Results) -> None:
        grid = tuned.result_grid()
        assert len(grid) == 6
        assert not grid.errors
        configs = [result.config for result in grid]
        settings = {(c["ordering"], c["kl_weight"]) for c in configs if "ordering" in c}
        assert settings == {(o, w) for o in ("K-A", "A-K") for w in (0.5, 2.0)}
        assert {c["stage"] for c in configs if "stage" in c} == {"sft", "distill"}
        assert all(c["seeds"] == [0, 1, 2] for c in configs)

    def test_trials_report_metrics_of_their_chunks(self, tuned: Results) -> None:
        for result in tuned.result_grid():
            assert result.metrics["done"] is True
            assert result.metrics["step"] == result.metrics["steps"] == 10
            assert {"reward_mean", "reward_sd"} <= set(result.metrics)
            assert not result.metrics_dataframe.empty

    def test_cells_name_their_trials(self, tuned: Results) -> None:
        trials = {Path(result.path).name for result in tuned.result_grid()}
        named = tuned.sql("select distinct trial_id from cells")["trial_id"].to_pylist()
        assert len(named) == 4
        assert set(named) <= trials

    def test_tensorboard_files_lie_where_tune_puts_them(self, tuned: Results) -> None:
        for result in tuned.result_grid():
            assert list(Path(result.path).glob("events.out.tfevents.*"))
            assert Path(result.path).is_relative_to(tuned.folder)

    def test_the_display_saw_every_pack_end(self, tuned: Results, shown: RecordingDisplay) -> None:
        names = [
            "A-K kl_weight=0.5", "A-K kl_weight=2.0", "K-A kl_weight=0.5", "K-A kl_weight=2.0",
            "distill (shared)", "sft (shared)",
        ]  # fmt: skip
        assert shown.packs("finished") == names
        assert set(shown.packs("progress")) == set(names)
        assert shown.packs("failed") == []
        assert shown.events[0][0] == "begin"
        assert shown.events[-1][0] == "end"

    def test_more_seeds_run_alone(self, tuned: Results, snapshot: Snapshot) -> None:
        before = snapshot(f"{tuned.storage.location}/artifacts")
        cells = tuned.table("cells").to_pylist()
        more = rt.run("toy/tiny", seeds=4, storage=tuned.storage.location)
        grown = {row["cell_id"]: row for row in more.table("cells").to_pylist()}
        assert len(grown) == 16
        assert all(grown[row["cell_id"]] == row for row in cells)
        after = snapshot(f"{tuned.storage.location}/artifacts")
        assert {path: after[path] for path in before} == before
        assert all(result.config["seeds"] == [3] for result in more.result_grid())


def test_faults_stay_where_they_are(study_file: StudyFile, storage: str, tmp_path: Path) -> None:
    """Six settings, five kinds of trouble, one run; and a second that heals them."""
    trouble = tmp_path / "trouble"
    study = study_file(
        orderings=["K-A"], seeds=2, grid={"kl_weight": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]},
        settings={"trouble": str(trouble)},
    )  # fmt: skip
    killed_once = plant(trouble, "kill", "align", once=True, kl_weight=1.0)
    causes = [
        plant(trouble, "kill", "align", kl_weight=2.0),
        plant(trouble, "raise", "align", kl_weight=3.0),
        plant(trouble, "nan", "align", kl_weight=4.0, seed=1),
        plant(trouble, "stage_error", "align", kl_weight=5.0),
    ]
    shown = RecordingDisplay()
    results = rt.run(study, storage=storage, display=shown)
    assert not killed_once.exists()
    rows = results.table("cells").to_pylist()
    status = {(row["kl_weight"], row["seed"]): row["status"] for row in rows}
    assert len(status) == 12
    assert {cell for cell, word in status.items() if word == "failed"} == {
        (2.0, 0), (2.0, 1), (3.0, 0), (3.0, 1), (4.0, 1), (5.0, 0), (5.0, 1)
    }  # fmt: skip
    failures = results.sql("""
        select distinct kl_weight, failure, message, log_tail
        from failures join planned using (cell_id) order by 1""").to_pylist()
    assert [(row["kl_weight"], row["failure"]) for row in failures] == [
        (2.0, "worker_lost"), (3.0, "user_code"), (4.0, "nan"), (5.0, "timeout")
    ]  # fmt: skip
    messages = {row["kl_weight"]: row["message"] for row in failures}
    assert "worker process died" in messages[2.0]
    assert messages[3.0] == "RuntimeError: toy align broke on purpose"
    assert messages[5.0] == "toy align took too long on purpose"
    assert "toy_kind.py" in failures[1]["log_tail"]
    built = [line.split()[2:] for line in (trouble / "built.log").read_text().splitlines()]
    broken = results.sql("select cell_id from cells where kl_weight in (3.0, 5.0)")
    finals = {
        c.models["final"].id
        for c in results.planned()
        if c.id in set(broken["cell_id"].to_pylist())
    }
    assert all(sum(final in nodes for nodes in built) == 1 for final in finals), "tried once"
    assert shown.packs("failed") == [f"K-A kl_weight={w}" for w in (2.0, 3.0, 5.0)]
    assert len(results.result_grid().errors) == 3
    for cause in causes:
        cause.unlink()
    healed = rt.run(study, storage=storage)
    assert healed.sql("select distinct status from cells")["status"].to_pylist() == ["succeeded"]
    assert healed.sql("select sum(attempt) - 12 as n from cells").to_pylist() == [{"n": 7}]
    alone = rt.run(study, storage=str(tmp_path / "alone"), local=True)
    query = "select * from metrics order by all"
    assert healed.sql(query).equals(alone.sql(query))


class Releasing(RecordingDisplay):
    """Lets go on what waits, once somebody is seen to wait for it."""

    def __init__(self, release: Path) -> None:
        super().__init__()
        self.release = release

    def progress(self, pack: Any, row: dict[str, Any]) -> None:
        super().progress(pack, row)
        if row["stage"] == "waiting for shared stages":
            self.release.touch()


def test_all_workers_start_with_the_first_trial_and_wait_for_what_they_share(
    study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    """Also where the process that builds it is lost: it finds a place to try again."""
    trouble = tmp_path / "trouble"
    plant(trouble, "kill", "sft", once=True)
    plant(trouble, "wait", "sft")  # on a busy machine the others' processes take a while to start
    study = study_file(seeds=1, grid={"kl_weight": [1.0, 2.0]}, settings={"trouble": str(trouble)})
    anyhow = threading.Timer(60.0, (trouble / "release").touch)
    anyhow.start()
    results = rt.run(study, storage=storage, display=Releasing(trouble / "release"))
    anyhow.cancel()
    assert results.sql("select distinct status from cells")["status"].to_pylist() == ["succeeded"]
    grid = results.result_grid()
    waited = [r for r in grid if "waiting for shared stages" in set(r.metrics_dataframe["stage"])]
    assert [result.config["stage"] for result in waited] == ["distill"]
    builds = (tmp_path / "trouble" / "built.log").read_text().splitlines()
    assert len({line.split()[1] for line in builds}) >= 2


@pytest.mark.parametrize(("do", "failure"), [("kill", "worker_lost"), ("stage_error", "timeout")])
def test_a_lost_shared_stage_takes_what_needs_it(
    do: str, failure: str, study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    plant(tmp_path / "trouble", do, "distill", student_components=3)
    study = study_file(
        orderings=["K-A"], seeds=1, settings={"trouble": str(tmp_path / "trouble")},
        grid={"student_components": [2, 3], "kl_weight": [1.0, 2.0]}, resources={"max_retries": 0},
    )  # fmt: skip
    results = rt.run(study, storage=storage)
    rows = results.table("cells").to_pylist()
    assert {(row["student_components"], row["status"]) for row in rows} == {
        (2, "succeeded"), (3, "failed")
    }  # fmt: skip
    assert set(results.table("failures")["failure"].to_pylist()) == {failure}
    assert results.table("failures").num_rows == 2


def test_what_can_never_be_scheduled_is_refused_before_anything_is_written(
    study_file: StudyFile, storage: str
) -> None:
    with pytest.raises(InputError, match=r"asks for 512 CPU on one node.* is 2 CPU"):
        rt.run(study_file(resources={"cpus_per_trial": 512}), storage=storage)
    assert not Path(storage).exists()


def test_nothing_to_do_needs_no_trials(study_file: StudyFile, storage: str) -> None:
    rt.run(study_file(seeds=1), storage=storage, local=True)
    results = rt.run(study_file(seeds=1), storage=storage)
    assert not Path(results.folder, "tune").exists()


def test_a_check_builds_its_references_as_trials_and_says_the_same(
    study_file: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence and all its numbers are those of one process, and nothing is aligned."""
    monkeypatch.setattr(check_references, "record_of", lambda name: checkable_record())
    study, storages = study_file(seeds=2), [str(tmp_path / name) for name in ("here", "tuned")]
    here = rt.check(study, storage=storages[0], local=True)

    def refused(*arguments: object) -> None:
        raise AssertionError("built in this process")

    monkeypatch.setattr(run_references, "execute_here", refused)
    tuned = rt.check(study, storage=storages[1])
    assert here.sentence.startswith("Keep p' as the reference")
    assert tuned.sentence == here.sentence
    assert tuned.json == here.json
    for storage in storages:
        built = {path.name for path in Path(storage, "artifacts").iterdir()}
        assert built == {"sft", "distill"}

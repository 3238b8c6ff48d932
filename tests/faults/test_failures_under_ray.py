"""What goes wrong while trials run, on one Ray: its class, its word, and how the study goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy_display import RecordingDisplay
from toy_trouble import plant

import recalltrap as rt
from recalltrap.results.results import Results

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

StudyFile = Callable[..., str]


def failures(results: Results) -> list[dict[str, Any]]:
    """By setting: class, message and log tail of the cells' failures."""
    rows: list[dict[str, Any]] = results.sql(
        "select distinct kl_weight, failure, message, log_tail from failures "
        "join planned using (cell_id) order by 1"
    ).to_pylist()
    return rows


@contextmanager
def taken(cores: int) -> Iterator[None]:
    """So many cores of the cluster are somebody else's meanwhile."""
    import ray

    holder: Any = ray.remote(num_cpus=cores)(_Holder).remote()
    ray.get(holder.ready.remote())
    try:
        yield
    finally:
        ray.kill(holder)


class _Holder:
    def ready(self) -> None:
        """It has its cores."""


def test_a_killed_worker_leaves_its_last_words(
    study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    trouble = tmp_path / "trouble"
    plant(trouble, "kill", "align", kl_weight=2.0)
    study = study_file(
        orderings=["K-A"], seeds=1, settings={"trouble": str(trouble)},
        resources={"max_retries": 0},
    )  # fmt: skip
    (failure,) = failures(rt.run(study, storage=storage))
    assert (failure["kl_weight"], failure["failure"]) == (2.0, "worker_lost")
    assert "toy align: these are my last words" in failure["log_tail"]


def test_what_ran_out_of_memory_runs_again_with_fewer_at_once(
    study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    """Its failure stays on record, and so does the attempt that succeeded; what lacks memory alone
    has failed."""
    trouble = tmp_path / "trouble"
    weights = [1.0, 2.0, 3.0, 4.0]
    once = plant(trouble, "oom", "align", once=True, kl_weight=2.0)
    plant(trouble, "oom", "align", kl_weight=3.0)
    study = study_file(
        orderings=["K-A"], seeds=1, grid={"kl_weight": weights}, settings={"trouble": str(trouble)}
    )
    results = rt.run(study, storage=storage)
    assert not once.exists()
    cells = results.sql("select kl_weight, status, attempt from cells order by 1").to_pylist()
    assert [tuple(cell.values()) for cell in cells] == [
        (1.0, "succeeded", 1), (2.0, "succeeded", 2), (3.0, "failed", 2), (4.0, "succeeded", 1)
    ]  # fmt: skip
    counts = results.sql(
        "select kl_weight, failure, count(*) as n from failures_parts join planned using (cell_id) "
        "group by all order by 1"
    ).to_pylist()
    assert [tuple(count.values()) for count in counts] == [(2.0, "oom", 1), (3.0, "oom", 2)]
    lines = (trouble / "built.log").read_text().splitlines()
    assert len([line for line in lines if line.startswith("align ")]) == 6, "only those two again"


def test_a_stage_past_its_limit_is_a_timeout_and_others_go_on(
    study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    study = study_file(
        orderings=["K-A"], seeds=1, resources={"time_limits": {"align": 1e-9}},
        settings={"trouble": str(tmp_path)},
    )  # fmt: skip
    results = rt.run(study, storage=storage)
    found = failures(results)
    assert [failure["failure"] for failure in found] == ["timeout", "timeout"]
    assert "raise resources.time_limits.align" in found[0]["message"]
    built = {path.name for path in Path(storage, "artifacts").iterdir()}
    assert built == {"sft", "distill"}


@pytest.mark.parametrize("kind", ["toy", "toy_group"])
def test_what_never_gets_a_place_has_failed_by_scheduling(
    kind: str, study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    """A trial of its own as well as the workers of a group; with room, the same command goes on."""
    study = study_file(
        kind=kind, orderings=["K-A"], seeds=1, grid={"kl_weight": [0.5]},
        resources={"pending_minutes": 0.1}, settings={"trouble": str(tmp_path)},
    )  # fmt: skip
    shown = RecordingDisplay()
    with taken(2):
        results = rt.run(study, storage=storage, display=shown)
    assert {failure["failure"] for failure in failures(results)} == {"scheduling"}
    assert shown.packs("failed")
    assert results.sql("select status from cells")["status"].to_pylist() == ["failed"]
    patient = ["resources.pending_minutes=30"]  # this machine may be slow
    again = rt.run(study, storage=storage, overrides=patient)
    assert again.sql("select status from cells")["status"].to_pylist() == ["succeeded"]

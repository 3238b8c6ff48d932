"""A simulated cluster of three nodes of which one is lost in the middle of a stage."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from toy_processes import await_nobody, start

import recalltrap as rt
from recalltrap_cluster.ray_internals import LOOPBACK_ENVIRONMENT, loopback_only

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(600)]

StudyFile = Callable[..., str]
MIXTURE: dict[str, Any] = {
    "kind": "mog", "orderings": ["K-A"], "seeds": 2, "grid": {"kl_weight": [0.5, 1.0, 2.0]},
    "settings": {"student_components": 3, "iterations": 12000},
}  # fmt: skip
LANGUAGE: dict[str, Any] = {
    "kind": "llm", "orderings": ["K-A"], "seeds": 1, "grid": {"kl_weight": [0.5]},
    "settings": {
        "p_star": "nano-small", "p_prime": "nano-small", "corpus_sentences": 300,
        "p_star_epochs": 1, "training_samples": 200, "heldout_samples": 32, "p_prime_epochs": 1,
        "distill_epochs": 1, "target_epochs": 1, "iterations": 60, "oracle_samples": 64,
        "evaluation_samples": 64,
    },
    "resources": {"checkpoint_updates": 10},
}  # fmt: skip


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without cores and two machines of one, on loopback.

    Without a token: this process has imported Ray, which asked then whether it shall send one.
    """
    environment = {"RAY_AUTH_MODE": "disabled", **LOOPBACK_ENVIRONMENT}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    with loopback_only():
        head = {"num_cpus": 0, "include_dashboard": False}
        found: Any = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(2):
                found.add_node(num_cpus=1)
            yield found
        finally:
            found.shutdown()


def node_with(cluster: Any, worker: str) -> Any:
    """A node, not the head, on which such a worker runs."""
    for node in cluster.worker_nodes:
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        with contextlib.suppress(psutil.Error):
            if any(worker in " ".join(child.cmdline()) for child in raylet.children()):
                return node
    raise AssertionError(f"no node has a {worker}")


def middle_of(stage: str, event: dict[str, Any]) -> bool:
    told = event["event"] == "progress" and event["stage"] == stage
    return bool(told and 0 < event["step"] < event["steps"])


@pytest.mark.parametrize(
    ("fields", "worker"),
    [(MIXTURE, "PackTrainable"), (LANGUAGE, "RayTrainWorker")],
    ids=["mixture", "language"],
)
def test_what_it_had_finished_stands_and_the_rest_is_done_by_the_others(
    fields: dict[str, Any], worker: str, cluster: Any, study_file: StudyFile, storage: str,
    tmp_path: Any,
) -> None:  # fmt: skip
    study, mark = study_file(**fields), uuid.uuid4().hex
    process = start(
        mark, "run", study, "--storage", storage, "--address", cluster.address, "--log", "json",
        RECALLTRAP_DEVICE="cpu", OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert process.stderr is not None
    events: list[dict[str, Any]] = []
    lost = None
    for line in process.stderr:
        assert line.startswith("{"), line + process.stderr.read()
        events.append(json.loads(line))
        if lost is None and middle_of("align", events[-1]):
            lost = node_with(cluster, worker)
            cluster.remove_node(lost, allow_graceful=False)
    assert process.wait(300) == 0, events[-1]
    assert lost is not None, "no stage was met in its middle"
    assert any("trying again" in event.get("stage", "") for event in events)
    there = rt.open_run("toy/test", storage)
    os.environ.setdefault("RECALLTRAP_DEVICE", "cpu")
    here = rt.run(study, storage=str(tmp_path / "here"), local=True)
    for table in ("metrics", "curves"):
        assert there.table(table).equals(here.table(table)), table
    assert not there.table("failures").num_rows
    await_nobody(mark)

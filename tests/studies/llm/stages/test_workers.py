"""Two gloo workers, plain and under ZeRO: the curves of one, also after both were killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from object_store import serve
from pyarrow import fs
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.stages.registry import STAGES
from recalltrap_studies.llm.training import checkpoints
from tests.studies.llm.distillation.distilled import (
    ALIGNED,
    HANDOVERS,
    distill_node,
    put_handed,
)
from tests.studies.llm.training_nodes import (
    TEACHER,
    alignment_node,
    oracle_node,
    student_node,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[4]
ALONE = 1
"""Version of the node that one worker trains; the others have versions of their own."""


@pytest.fixture(scope="module")
def taught(
    taught: ArtifactStore, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> ArtifactStore:
    """The same store with what one worker makes: a student, aligned, and handed over."""
    put_handed(taught, tiny_model, tiny_tokenizer)
    handed = [distill_node(way, ALONE, ALIGNED) for way in HANDOVERS]
    for node in (version(ALONE), oracle_node(TEACHER), aligned(ALONE), *handed):
        for _ in STAGES[node.stage].runner()(node, taught, WorkerGroup()):
            pass
    return taught


def version(number: int) -> Node:
    return replace(student_node(TEACHER), version=number)


def aligned(number: int) -> Node:
    return replace(alignment_node(TEACHER), version=number)


def start(
    store: ArtifactStore,
    versions: list[int],
    kill_at: int = -1,
    machines: Sequence[Path | None] = (None, None),
    handed: bool = False,
    **resources: object,
) -> list[int]:
    """Two workers train nodes one after the other; their exit statuses.

    Workers with a temporary folder each are on machines of their own, as far as they can tell.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
        "RECALLTRAP_DEVICE": "cpu",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    fields = json.dumps({"workers": 2, **resources})
    arguments = [
        store.storage.location,
        fields,
        json.dumps(versions),
        str(kill_at),
        json.dumps(handed),
    ]
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.studies.llm.training_worker", *arguments],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            | ({"TMPDIR": str(machine)} if machine else {}),
            cwd=ROOT,
        )
        for rank, machine in enumerate(machines)
    ]
    return [worker.wait(timeout=500) for worker in workers]


def values(store: ArtifactStore, node: Node) -> list[float]:
    """All points of a node's curves, in their order."""
    table = store.read_table(node, "curves.parquet")
    assert table["step"].to_pylist()
    return [float(value) for value in table["value"].to_pylist()]


def check(
    taught: ArtifactStore,
    number: int,
    node_of: Callable[[int], Node] = version,
    store: ArtifactStore | None = None,
) -> None:
    """The node's curves are the lone worker's, and its weights are whole."""
    alone, node, store = node_of(ALONE), node_of(number), store or taught
    np.testing.assert_allclose(values(store, node), values(taught, alone), rtol=1e-3)
    model = weights.read_model(store, node)
    expected = dict(weights.read_model(taught, alone).named_parameters())
    for name, parameter in model.named_parameters():
        assert parameter.shape == expected[name].shape
        assert float((parameter - expected[name]).detach().abs().max()) < 2e-2, name


@pytest.mark.parametrize(("zero_stage", "first"), [(2, 20), (3, 30)])
def test_two_workers_give_the_curve_of_one(
    taught: ArtifactStore, zero_stage: int | None, first: int
) -> None:
    """Two trainings, an alignment and every handover in the same processes, as the stages of a cell
    are."""
    assert start(taught, [first, first + 1], handed=True, zero_stage=zero_stage) == [0, 0]
    check(taught, first)
    check(taught, first + 1)
    check(taught, first + 1, aligned)
    for way in HANDOVERS:
        check(taught, first, partial(distill_node, way, teacher=ALIGNED))


@pytest.mark.parametrize("zero_stage", [2])
def test_killed_workers_go_on_and_end_at_the_same_losses(
    taught: ArtifactStore, zero_stage: int
) -> None:
    number = 40 + zero_stage
    fields: dict[str, Any] = {"zero_stage": zero_stage, "checkpoint_updates": 8}
    assert start(taught, [number], kill_at=19, **fields) != [0, 0]
    assert not taught.has(version(number))
    scratch = checkpoints.scratch_folder(taught, version(number), WorkerGroup()).parent
    (layout,) = scratch.iterdir()
    assert (layout / "checkpoint-16").is_dir()
    assert start(taught, [number], **fields) == [0, 0]
    check(taught, number)
    assert not scratch.exists()


def test_workers_of_lost_machines_go_on_elsewhere_from_what_an_object_store_holds(
    taught: ArtifactStore, tmp_path: Path
) -> None:
    number = 52
    fields: dict[str, Any] = {"zero_stage": 2, "checkpoint_updates": 8}
    machines = [tmp_path / name for name in ("first", "second", "third", "fourth")]
    for machine in machines:
        machine.mkdir()
    with serve() as server:
        storage = Storage(server.location("runs"))
        there = storage.filesystem
        fs.copy_files(taught.storage.location, storage.path(""), destination_filesystem=there)
        store, scratch = ArtifactStore(storage), f"scratch/{version(number).id}"
        assert start(store, [number], kill_at=19, machines=machines[:2], **fields) != [0, 0]
        (layout,) = storage.list(scratch)
        assert storage.list(f"{scratch}/{layout}") == ["checkpoint-16"]
        # Each machine has its own worker's part alone, and none of them is seen again.
        parts = [set(machine.rglob("rng_state_*.pth")) for machine in machines[:2]]
        assert all(len({part.name for part in found}) == 1 for found in parts)
        assert start(store, [number], machines=machines[2:], **fields) == [0, 0]
        check(taught, number, store=store)
        check(taught, number, aligned, store=store)
        assert not storage.list(scratch)

"""Executing nodes: which runner serves which stage, and what a failed one leaves behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.kind import NodeFailure, Progress
from recalltrap.run.worker_group import WorkerGroup, current_group
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.models.devices import device
from recalltrap_studies.llm.settings import ALIGNMENTS

if TYPE_CHECKING:
    from recalltrap_studies.llm.alignment.alignment_trainer import AlignmentTrainer

Runner = Callable[[Node, ArtifactStore, WorkerGroup], Iterator[Progress]]


def build(nodes: Sequence[Node], store: ArtifactStore) -> Iterator[Progress]:
    """Execute nodes one after another; see `recalltrap.kind.StudyKind.build`.

    A failure that all workers saw alike (a loss that is NaN, a single worker's out-of-memory)
    takes its node alone. Any other ends the group, and with it the pack.
    """
    group = current_group()
    if device().type == "cpu":  # else DeepSpeed's import says on stdout what it found
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    for node in nodes:
        try:
            yield from runner_of(node)(node, store, group)
        except StageError as error:
            if group.size > 1 and error.failure != "nan":
                raise
            failure = NodeFailure(node, error.failure, error.message)
            yield Progress(node.stage, 0, 0, failures=(failure,) if group.leads else ())
        else:
            group.broadcast(None)  # nobody reads the artifact before it stands


def runner_of(node: Node) -> Runner:
    """What executes a node: `run(node, store, group)`, called on every worker of the group."""
    if node.stage == "align":
        return _alignment(str(node.config["algorithm"]))
    if node.stage == "sample":
        from recalltrap_studies.llm.stages.sample import run_sample

        return run_sample
    if node.stage == "oracle":
        from recalltrap_studies.llm.stages.oracle import run_oracle

        return run_oracle
    if node.stage == "assess":
        from recalltrap_studies.llm.stages.assess import run_assess

        return run_assess
    if node.stage == "load":
        from recalltrap_studies.llm.stages.load import run_load

        return run_load
    from recalltrap_studies.llm.stages.train import run_train

    return run_train


def _alignment(algorithm: str) -> Runner:
    from recalltrap_studies.llm.alignment import dpo, group_relative, ppo
    from recalltrap_studies.llm.stages.align import run_align

    trainers: dict[str, type[AlignmentTrainer]] = {
        "ppo": ppo.PpoTrainer,
        "grpo": group_relative.GrpoTrainer,
        "rloo": group_relative.RlooTrainer,
        "dpo_online": dpo.OnlineDpoTrainer,
        "dpo_offline": dpo.OfflineDpoTrainer,
    }
    return partial(
        run_align,
        trainer_class=trainers[algorithm],
        part=ALIGNMENTS[algorithm],
        value_head=algorithm == "ppo",
    )

"""What the tests of alignments that learn from a fixed set share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.alignment.rollouts import RolloutContext
from recalltrap_studies.llm.data import responses
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.rewards.oracle import Oracle
from recalltrap_studies.llm.training.resumable import train


@pytest.fixture
def context(
    tiny_model: PreTrainedModel, narrow_model: PreTrainedModel, tiny_tokenizer: Any
) -> RolloutContext:
    """The narrow model is the reference, the tiny one scores."""
    prompt = tuple(tiny_tokenizer.encode("The"))
    request = responses.request(tiny_tokenizer, PromptRows.same(prompt), 12)
    oracle = Oracle(tiny_model, 5.0, 10.0, 0.5, "fold")
    return RolloutContext(narrow_model, oracle, request)


def iterations_of(
    trainer: Any, scratch: Path, group: WorkerGroup | None = None
) -> list[dict[str, float]]:
    """Train to the end; the log's points, one for each iteration."""
    train(trainer, stage="align", scratch=scratch, group=group or WorkerGroup())
    trainer.finish()
    return [point for point in trainer.state.log_history if "rollout" in point]

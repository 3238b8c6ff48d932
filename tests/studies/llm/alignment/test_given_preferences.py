"""Alignments on a file's preferences: what is learned, and that nothing is drawn for it."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.alignment.policy import Policy, summed_log_probs
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.alignment.rollouts import RolloutContext
from recalltrap_studies.llm.data.preferences import learned_from
from recalltrap_studies.llm.data.prompts import PromptSet
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.settings import LlmSettings
from tests.studies.llm.alignment.conftest import iterations_of
from tests.studies.llm.scoring import plain_log_probs

pytestmark = pytest.mark.slow  # they make trainers
FIELDS: dict[str, Any] = {
    "iterations": 3, "rollout_size": 16, "minibatch_size": 4, "align_tokens": 12,
    "align_learning_rate": 3e-3, "selection_interval": 1, "kl_weight": 0.3,
}  # fmt: skip
PROMPTS = ("The", "The old baker", "The moon sees")
BOTH = pytest.mark.parametrize("algorithm", ["dpo_offline", "kto"])


@pytest.fixture
def given(
    context: RolloutContext, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> RolloutContext:
    """Rollouts to one prompt, and 18 pairs to others, of different lengths."""
    rows = [
        {"prompt": prompt, "chosen": f" paints {thing}.", "rejected": f" loses {thing} {thing}"}
        for prompt in PROMPTS
        for thing in ("the hill", "a red door", "two birds", "it", "its name", "the last bread")
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    pairs = learned_from({"preferences": str(path), "align_tokens": 12}, tiny_tokenizer, 64)
    (alone,) = context.request.prompts.lists()
    return replace(context, prompts=PromptSet.one(alone), preferences=pairs)


def make(algorithm: str, context: RolloutContext, scratch: Path) -> Any:
    record = ALGORITHMS[algorithm]
    named = {"algorithm": algorithm, "preferences": "pairs.jsonl", **FIELDS}
    whole = LlmSettings.model_validate(named)
    settings = record.part.model_validate(whole.model_dump(include=set(record.part.model_fields)))
    assert context.preferences is not None
    rows = [*context.request.prompts.lists(), *context.preferences.prompts.lists()]
    policy = Policy(copy.deepcopy(context.reference), PromptRows.of(rows))
    return record.trainer_class()(
        policy, context, settings, seed=3, group=WorkerGroup(), scratch=scratch
    )


@BOTH
def test_every_answer_is_scored_after_its_own_prompt(
    algorithm: str, given: RolloutContext, tmp_path: Path
) -> None:
    trainer = make(algorithm, given, tmp_path)
    rows, pairs = trainer.examples, given.preferences
    assert pairs is not None
    assert rows["tokens"].flatten(0, -2).shape[0] == 36
    with torch.no_grad():
        found_N = summed_log_probs(trainer.policy, rows).flatten()
    prompts = pairs.prompts.lists()
    tokens_NT, mask_NT = pairs.tokens_P2T.flatten(0, 1), pairs.mask_P2T.flatten(0, 1)
    for row, (tokens, mask) in enumerate(zip(tokens_NT, mask_NT, strict=True)):
        prompt, answer = prompts[int(pairs.prompt_P[row // 2])], tokens[mask].tolist()
        expected = plain_log_probs(trainer.policy.lm, prompt, answer)
        assert float(found_N[row]) == pytest.approx(float(expected.sum()), abs=1e-4)


@BOTH
def test_it_begins_at_the_reference_and_learns_the_chosen(
    algorithm: str, given: RolloutContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("no candidates are drawn or labelled")

    for module in ("dpo", "kto"):
        name = f"recalltrap_studies.llm.alignment.{module}.draw_from_reference"
        monkeypatch.setattr(name, never)
    trainer = make(algorithm, given, tmp_path)
    before = summed_log_probs(trainer.policy, trainer.examples).detach().view(-1, 2)
    points = iterations_of(trainer, tmp_path)
    start = math.log(2) if algorithm == "dpo_offline" else 0.5
    assert points[0]["kl"] == pytest.approx(0, abs=1e-5)
    gained = summed_log_probs(trainer.policy, trainer.examples).detach().view(-1, 2) - before
    assert bool((gained[:, 0] > gained[:, 1]).all())
    assert points[-2]["loss"] < start
    assert all(np.isfinite(point["reward"]) for point in points), "measured on rollouts as always"


def test_kto_wants_the_chosen_and_not_the_rejected(given: RolloutContext, tmp_path: Path) -> None:
    examples, pairs = make("kto", given, tmp_path).examples, given.preferences
    assert pairs is not None
    wanted = examples["tokens"][examples["desirable"]]
    assert wanted.tolist() == pairs.tokens_P2T[:, 0].tolist()
    assert int(examples["desirable"].sum()) == len(pairs.prompt_P)

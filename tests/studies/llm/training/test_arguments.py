"""The schedule at its corners, the batch folded over workers and parts, the ZeRO settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments, get_scheduler
from trl.trainer.sft_config import SFTConfig

from recalltrap.errors import InputError
from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.resources import LlmResources, resources_of
from recalltrap_studies.llm.stage_settings import Alignment
from recalltrap_studies.llm.training.arguments import (
    alignment_arguments,
    rows_per_pass,
    training_arguments,
    zero_config,
)


def arguments(
    tmp_path: Path, group: WorkerGroup | None = None, updates: int = 100, **extra: Any
) -> TrainingArguments:
    return training_arguments(
        TrainingArguments,
        scratch=tmp_path,
        updates=updates,
        learning_rate=1.0,
        global_batch=64,
        seed=0,
        group=group or WorkerGroup(),
        **extra,
    )


def rates(args: TrainingArguments) -> list[float]:
    """The rate of each update."""
    assert not isinstance(args.lr_scheduler_kwargs, str)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=args.learning_rate)
    scheduler = get_scheduler(
        args.lr_scheduler_type,
        optimizer,
        args.get_warmup_steps(args.max_steps),
        args.max_steps,
        scheduler_specific_kwargs=args.lr_scheduler_kwargs,
    )
    found = []
    for _ in range(args.max_steps):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


def test_warmup_stable_decay_at_its_corners(tmp_path: Path) -> None:
    found = rates(arguments(tmp_path, warmup_updates=4, decay_updates=20))
    assert found[:6] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert found[80] == 1.0
    assert found[81] == pytest.approx(0.95)
    assert found[90] == pytest.approx(0.5)  # linear, not a cosine
    assert found[99] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("warmup", "decay", "expected"),
    [
        (0, 0, [1.0, 1.0, 1.0, 1.0]),
        (1, 0, [0.0, 1.0, 1.0, 1.0]),
        (0, 4, [1.0, 0.75, 0.5, 0.25]),
        (2, 2, [0.0, 0.5, 1.0, 0.5]),
    ],
)
def test_schedules_without_a_phase(
    tmp_path: Path, warmup: int, decay: int, expected: list[float]
) -> None:
    args = arguments(tmp_path, updates=4, warmup_updates=warmup, decay_updates=decay)
    assert rates(args) == pytest.approx(expected)


@pytest.mark.parametrize(("workers", "parts", "rows"), [(1, 1, 64), (2, 1, 32), (2, 4, 8)])
def test_the_global_batch_stays_whoever_shares_it(workers: int, parts: int, rows: int) -> None:
    group = WorkerGroup(size=workers, resources=LlmResources(gradient_accumulation=parts))
    assert rows_per_pass(64, group) == rows


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    group = WorkerGroup(size=3, resources=LlmResources(gradient_accumulation=2))
    with pytest.raises(InputError, match=r"settings\.minibatch_size = 64 .* 3 workers .* 6"):
        rows_per_pass(64, group, "minibatch_size")


@pytest.mark.parametrize(("every", "strategy"), [(0, "no"), (30, "steps"), (100, "no")])
def test_checkpoints_only_where_they_can_help(tmp_path: Path, every: int, strategy: str) -> None:
    group = WorkerGroup(resources=LlmResources(checkpoint_updates=every))
    assert arguments(tmp_path, group).save_strategy == strategy


def test_zero_only_where_processes_are_joined(tmp_path: Path) -> None:
    group = WorkerGroup(resources=LlmResources(zero_stage=2))
    assert arguments(tmp_path, group).deepspeed is None
    config = zero_config(resources_of(group))
    assert config is not None
    assert config["zero_optimization"]["stage"] == 2
    assert zero_config(LlmResources()) is None


def test_trl_s_own_defaults_are_not_taken(tmp_path: Path) -> None:
    group = replace(WorkerGroup(), resources=LlmResources(gradient_checkpointing=False))
    args = training_arguments(
        SFTConfig,
        scratch=tmp_path,
        updates=10,
        learning_rate=1e-3,
        global_batch=8,
        seed=0,
        group=group,
        weight_decay=0.5,
    )
    assert not args.bf16
    assert not args.gradient_checkpointing
    assert args.report_to == []
    assert args.weight_decay == 0.5


def test_gradients_are_clipped_as_the_settings_say(tmp_path: Path) -> None:
    for norm in (1.0, 0.25):
        settings = Alignment(algorithm="ppo", align_max_gradient_norm=norm)
        args = alignment_arguments(settings, 4, seed=0, group=WorkerGroup(), scratch=tmp_path)
        assert args.max_grad_norm == norm
    assert TrainingArguments(output_dir=str(tmp_path)).max_grad_norm == 1.0, "the stored ones' norm"

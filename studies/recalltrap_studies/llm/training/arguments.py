"""Arguments of every trainer of the language-model study, from a stage's settings and its group.

What decides a result (updates, rates, the global batch, the seed) comes in as numbers; how the
group shares it (workers, accumulation, ZeRO, precision, checkpoints) is read from the group and
changes no curve beyond rounding.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from recalltrap.errors import InputError
from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.models.devices import device, mixed_precision
from recalltrap_studies.llm.resources import LlmResources, resources_of
from recalltrap_studies.llm.stage_settings import Alignment
from recalltrap_studies.llm.training import upstream
from recalltrap_studies.llm.training.upstream import Arguments

CURVE_POINTS = 200
"""Points of a training's curve at most."""

BUCKET = 50_000_000
"""Numbers that ZeRO sends at once: its buffers hold a few of these."""


def training_arguments(
    cls: type[Arguments],
    *,
    scratch: Path | str,
    updates: int,
    learning_rate: float,
    global_batch: int,
    seed: int,
    group: WorkerGroup,
    warmup_updates: int = 0,
    decay_updates: int = 0,
    batch_field: str = "batch_size",
    saved_every: int = 1,
    **extra: Any,
) -> Arguments:
    """Arguments for one training of `updates` updates of `global_batch` rows each.

    The schedule is warmup-stable-decay with both slopes linear; without warmup and decay it is
    constant. `batch_field` names the setting behind `global_batch` in messages; checkpoints
    stand between so many updates and the next; `extra` goes to `cls` and wins over what is chosen
    here.

    Raises:
        InputError: a global batch that the workers can't share evenly.
    """
    upstream.silence_telemetry()
    resources = resources_of(group)
    on_cpu = device().type == "cpu"
    if on_cpu and group.distributed and resources.zero_stage:
        upstream.reduce_over_gloo()
    every = math.ceil(resources.checkpoint_updates / saved_every) * saved_every
    chosen: dict[str, Any] = {
        "output_dir": str(scratch),
        "max_steps": updates,
        "learning_rate": learning_rate,
        "per_device_train_batch_size": rows_per_pass(global_batch, group, batch_field),
        "gradient_accumulation_steps": resources.gradient_accumulation,
        upstream.CHECKPOINTING: resources.gradient_checkpointing,
        "seed": seed % 2**32,
        "use_cpu": on_cpu,
        "bf16": mixed_precision(device()),
        "deepspeed": zero_config(resources) if group.distributed else None,
        **_saving(every, updates),
        "save_total_limit": 2,  # the one before the last, should the last be incomplete
        "logging_steps": max(updates // CURVE_POINTS, 1),
        "logging_nan_inf_filter": False,  # else a NaN loss is logged as the mean before it
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": not on_cpu,
        "remove_unused_columns": False,
        **schedule(updates, warmup_updates, decay_updates),
    }
    return upstream.on_one_device(cls(**{**chosen, **extra}))


def _saving(every: int, updates: int) -> dict[str, Any]:
    """Checkpoints every so many updates; none where 0, or where the end comes first."""
    strategy = "steps" if 0 < every < updates else "no"
    return {"save_strategy": strategy, "save_steps": max(every, 1)}


def alignment_arguments(
    settings: Alignment,
    updates_per_iteration: int,
    *,
    seed: int,
    group: WorkerGroup,
    scratch: Path | str,
) -> TrainingArguments:
    """Arguments of an alignment: a constant rate, checkpoints between iterations alone."""
    updates = settings.iterations * updates_per_iteration
    return training_arguments(
        TrainingArguments,
        scratch=scratch,
        updates=updates,
        learning_rate=settings.align_learning_rate,
        max_grad_norm=settings.align_max_gradient_norm,
        global_batch=settings.minibatch_size,
        batch_field="minibatch_size",
        seed=seed,
        group=group,
        logging_strategy="no",
        saved_every=updates_per_iteration,
    )


def rows_per_pass(global_batch: int, group: WorkerGroup, batch_field: str = "batch_size") -> int:
    """Rows that one worker takes through the model at once.

    Raises:
        InputError: `global_batch` is no multiple of workers times accumulation.
    """
    accumulation = resources_of(group).gradient_accumulation
    parts = group.size * accumulation
    if global_batch % parts:
        raise InputError(
            f"settings.{batch_field} = {global_batch} can't be shared by {group.size} workers with "
            f"resources.gradient_accumulation = {accumulation}: choose a multiple of {parts}, or "
            "fewer workers or parts"
        )
    return global_batch // parts


def schedule(updates: int, warmup_updates: int, decay_updates: int) -> dict[str, Any]:
    """Warmup-stable-decay with linear slopes, or a constant rate where both are 0.

    Update u (from 0) has the rate u/warmup, then 1, then (updates - u)/decay.
    """
    if warmup_updates == decay_updates == 0:
        return {"lr_scheduler_type": "constant"}
    assert warmup_updates + decay_updates <= updates, "warmup and decay overlap"
    return {
        "lr_scheduler_type": "warmup_stable_decay",
        "warmup_steps": warmup_updates,
        "lr_scheduler_kwargs": {"num_decay_steps": decay_updates, "decay_type": "linear"},
    }


def zero_config(resources: LlmResources) -> dict[str, Any] | None:
    """DeepSpeed's configuration for a ZeRO stage; None without one.

    Weights are gathered when they are saved, so that artifacts and checkpoints hold whole models.
    """
    if resources.zero_stage is None:
        return None
    return {
        "zero_optimization": {
            "stage": resources.zero_stage,
            "stage3_gather_16bit_weights_on_model_save": True,
            "reduce_bucket_size": BUCKET,
            "allgather_bucket_size": BUCKET,
        },
        "bf16": {"enabled": "auto"},
        "gradient_clipping": "auto",
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**9,
    }

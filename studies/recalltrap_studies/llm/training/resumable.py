"""One training from its start or its last checkpoint to its end, whoever's trainer does it.

Turns NaN losses and exhausted memory into failures that name the setting behind them, reports
progress, and collects curves and whole weights. What is trained, and on what, is not decided here.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)

from recalltrap.errors import StageError, is_out_of_memory
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.models.weights import CURVES_FILE, FACTS_FILE
from recalltrap_studies.llm.training import checkpoints, upstream
from recalltrap_studies.llm.training.logged_losses import LoggedLosses
from recalltrap_studies.llm.training.mirror import Mirror

CURVES_SCHEMA = pa.schema([("step", pa.int64()), ("metric", pa.string()), ("value", pa.float64())])


@dataclass
class SettingNames:
    """Names of the settings behind a training, for messages."""

    learning_rate: str = "learning_rate"
    batch_size: str = "batch_size"


def train(
    trainer: Trainer,
    *,
    stage: str,
    scratch: Path,
    group: WorkerGroup,
    fields: SettingNames | None = None,
    resume_tolerance: float | None = None,
    repeat_tolerance: float | None = None,
    mirror: Mirror | None = None,
) -> None:
    """Train to the end, from the last complete checkpoint where there is one.

    Every rank calls it. A `mirror` keeps the checkpoints where no machine can lose them. With a
    `resume_tolerance` (nats) the first loss logged after resuming may exceed the last one before by
    that much; with a `repeat_tolerance` the losses of updates that are passed again may differ by
    so much from those that were logged before.

    Raises:
        StageError: `nan` (the loss is no number), `oom`, or a resumption that lost its place.
    """
    fields = fields or SettingNames()
    trainer.remove_callback(PrinterCallback)
    monitor = LossMonitor(stage, group, fields, resume_tolerance)
    if repeat_tolerance is not None and group.leads:
        monitor.logged = LoggedLosses(scratch, stage, repeat_tolerance)
    trainer.add_callback(monitor)
    if mirror is not None:
        mirror.fetch()
        trainer.add_callback(mirror)
    try:
        with memory_guard(fields):
            trainer.train(resume_from_checkpoint=checkpoints.last(scratch, group))
    finally:
        upstream.forget_deepspeed()


@contextmanager
def memory_guard(fields: SettingNames) -> Iterator[None]:
    """Turn exhausted memory into a `StageError` that names the way out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise StageError(
            "oom",
            f"out of memory while training: split each update with resources.gradient_accumulation "
            f"(the global batch settings.{fields.batch_size} stays), set "
            f"resources.gradient_checkpointing or resources.zero_stage, or lower "
            f"settings.{fields.batch_size}. ({str(error).splitlines()[0][:200]})",
        ) from error


@dataclass
class LossMonitor(TrainerCallback):
    """Looks at every point that is logged: a number? where we left off? And tells the group."""

    stage: str
    group: WorkerGroup
    fields: SettingNames
    resume_tolerance: float | None = None
    before: float | None = field(default=None, init=False)
    logged: LoggedLosses | None = field(default=None, init=False)
    began_at: int = field(default=0, init=False)

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.began_at = state.global_step
        losses = [point["loss"] for point in state.log_history if "loss" in point]
        self.before = losses[-1] if losses else None

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        metrics = {k: float(v) for k, v in (logs or {}).items() if isinstance(v, int | float)}
        loss = metrics.get("loss")
        if loss is None:
            return
        if not math.isfinite(loss):
            raise StageError(
                "nan",
                f"the loss of {self.stage} is {loss} at update {state.global_step}: lower "
                f"settings.{self.fields.learning_rate}",
            )
        if self.before is not None and self.resume_tolerance is not None:
            self._compare(loss, state.global_step)
        if self.logged is not None:
            # A trainer's own points are means since the last one, or since it went on.
            every = args.logging_steps if args.logging_strategy == "steps" else 0
            whole = state.global_step - every >= self.began_at
            self.logged.add(state.global_step, loss, whole=whole)
        self.before = None
        self.group.report(Progress(self.stage, state.global_step, state.max_steps, metrics))

    def _compare(self, loss: float, step: int) -> None:
        assert self.before is not None
        assert self.resume_tolerance is not None
        if loss > self.before + self.resume_tolerance:
            raise StageError(
                "user_code",
                f"{self.stage} went on from a checkpoint at a loss of {loss:.4f} (update {step}), "
                f"but had left at {self.before:.4f}: remove its folder under scratch/ in the "
                "storage, and it starts anew",
            )


def curves(trainer: Trainer, names: Mapping[str, str]) -> pa.Table:
    """The logged points of `names` (the trainer's name -> ours): step, metric, value.

    Points of an interrupted training are part of it.
    """
    rows = [
        {"step": point["step"], "metric": ours, "value": float(point[theirs])}
        for point in trainer.state.log_history
        for theirs, ours in names.items()
        if theirs in point
    ]
    return pa.Table.from_pylist(rows, CURVES_SCHEMA)


def result_files(
    table: pa.Table, facts: Mapping[str, float | int | str]
) -> dict[str, bytes | pa.Table]:
    """`curves.parquet` and `facts.json` of a model's artifact."""
    text = json.dumps(dict(facts), indent=1, sort_keys=True, allow_nan=False)
    return {CURVES_FILE: table, FACTS_FILE: text.encode() + b"\n"}


def whole_model(trainer: Trainer, group: WorkerGroup) -> PreTrainedModel | None:
    """The trained model with whole weights, on the CPU of rank 0; every rank calls it."""
    weights = upstream.whole_weights(trainer)
    if not group.leads:
        return None
    unwrapped = trainer.accelerator.unwrap_model(trainer.model)
    model: PreTrainedModel = type(unwrapped)(unwrapped.config)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= set(model.all_tied_weights_keys), missing
    model.tie_weights()
    model.train(False)
    return model


def release(trainer: Trainer) -> None:
    """Free what a finished trainer holds, so that the next stage has the memory."""
    trainer.accelerator.free_memory()
    for name in ("model", "model_wrapped", "optimizer", "lr_scheduler"):
        setattr(trainer, name, None)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

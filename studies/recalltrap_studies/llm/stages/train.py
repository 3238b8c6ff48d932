"""Causal-LM training as a stage: p* on a corpus, and every student on samples of its teacher.

By TRL's SFTTrainer over token ids: nothing is decoded and encoded again. What it learns from is
prepared in `data.datasets`; how a training runs, resumes and fails is in `training`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from trl.trainer.sft_config import SFTConfig

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap.streams import sequence, stream
from recalltrap_studies.llm.contents import opened
from recalltrap_studies.llm.data import datasets
from recalltrap_studies.llm.data.datasets import TrainingData
from recalltrap_studies.llm.data.token_sequences import (
    BesideCollator,
    Collator,
    InOrder,
    shuffled,
    tokens_seen,
)
from recalltrap_studies.llm.distillation.registry import scored_share
from recalltrap_studies.llm.models import devices, layers, weights
from recalltrap_studies.llm.models.architectures import config_of
from recalltrap_studies.llm.models.pretrained import set_generation
from recalltrap_studies.llm.resources import resources_of
from recalltrap_studies.llm.stage_settings import Optimiser
from recalltrap_studies.llm.stages.registry import training_of
from recalltrap_studies.llm.training import arguments, checkpoints, resumable, upstream
from recalltrap_studies.llm.training.held_out_loss import HeldoutPoints, heldout_loss
from recalltrap_studies.llm.training.mirror import mirror_of
from recalltrap_studies.llm.training.student_trainer import (
    OWN_TOKENS,
    StudentTrainer,
    TrainingSchedule,
)

FULL_LOGITS = 4096
"""Vocabularies up to here get all logits at once: TRL's chunked loss saves memory beyond, and
takes twice the time below."""
MAX_GRADIENT_NORM = float(Optimiser.model_fields["max_gradient_norm"].default)
"""Of stages from before it was a setting, and of those at its default."""
Ready = Callable[[TrainingData, Path, int], dict[str, Any]]
CURVES = {"loss": "loss", "learning_rate": "learning_rate", "heldout_loss": "heldout_loss"}


def run_train(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Train one model of the stages pretrain, sft, target and distill, and store it, by the
    likelihood of its rows; see `train_model`."""
    yield from train_model(node, store, group, StudentTrainer)


def train_model(
    node: Node,
    store: ArtifactStore,
    group: WorkerGroup,
    make: Callable[..., StudentTrainer],
    scored_by: Sequence[PreTrainedModel] = (),
    prepare: Callable[..., TrainingData] = datasets.prepare,
    ready: Ready | None = None,
    saved_every: int = 1,
) -> Iterator[Progress]:
    """Train one model and store it. `make` makes its trainer, in whose loss other models may score
    what `prepare` prepares; `ready` says what the trainer needs besides of that and the student's
    vocabulary. Checkpoints stand between so many updates and the next.

    The artifact holds the model in the hub's format, `curves.parquet` (loss, learning_rate,
    heldout_loss) and `facts.json`. Every rank of the group calls it; rank 0 writes.

    Raises:
        InputError: a batch that the workers can't share, an unknown architecture or corpus.
        StageError: `nan`, `oom`, or no sample of the wanted topics (`user_code`).
    """
    clock = time.perf_counter()
    scratch = checkpoints.scratch_folder(store, node, group)
    mirror = mirror_of(store, node, scratch, group)
    data = prepare(node, store, scratch, group)
    schedule = make_schedule(node, data)
    model = untrained(node, store, data.tokenizer)
    if ready is not None:
        make = partial(make, **ready(data, scratch, int(model.config.vocab_size)))
    parameters = sum(p.numel() for p in model.parameters())
    trainer = make_trainer(
        node, model, data, schedule, group, str(scratch), make, saved_every=saved_every
    )
    # A training that went on from a checkpoint must not be worse off than it was.
    resumable.train(
        trainer, stage=node.stage, scratch=scratch, group=group, resume_tolerance=0.5,
        repeat_tolerance=0.05, mirror=mirror,
    )  # fmt: skip
    loss = heldout_loss(trainer, data.heldout, data.tokenizer.pad_token_id, group)
    # Gathered by all ranks, stored by the first, before the trainer's memory is given back.
    trained = resumable.whole_model(trainer, group)
    names = CURVES | {name: name for name in trainer.measured}
    table = _with_last(resumable.curves(trainer, names), schedule.updates, loss)
    facts = {**schedule.facts, **_gap(loss, data.teacher_entropy), "parameters": parameters}
    drawn = sum(point.get(OWN_TOKENS, 0) for point in trainer.state.log_history)
    resumable.release(trainer)
    if trained is not None:
        files = weights.model_files(trained, data.tokenizer) | resumable.result_files(table, facts)
        others = sum(p.numel() for other in scored_by for p in other.parameters())
        scoring = scored_share(node) * others
        flops = (6.0 * parameters + 2.0 * scoring) * schedule.tokens
        flops += 2.0 * parameters * drawn + data.flops
        store.put(node, files, _cost(time.perf_counter() - clock, flops, schedule, group))
    group.broadcast(None)  # no rank goes on before the artifact stands
    if group.leads:
        checkpoints.clear(scratch)
        if mirror is not None:
            mirror.clear()
    metrics = {name: float(v) for name, v in facts.items() if name in ("heldout_loss", "gap")}
    yield Progress(node.stage, schedule.updates, schedule.updates, metrics)


def make_schedule(node: Node, data: TrainingData) -> TrainingSchedule:
    """Updates from epochs; the schedule's corners; the order, from the node's own stream.

    Students of one seed share the order, whoever their teacher is.
    """
    config, batch = node.config, data.rows_of_a_batch(node)
    epochs = float(config[training_of(node).epochs])
    updates = max(round(epochs * len(data.train) / batch), 1)
    warmup = min(math.ceil(config["warmup_share"] * updates), updates)
    decay = min(round(config["decay_share"] * updates), updates - warmup)
    generator = stream(node.seed, f"{node.stage}/order")
    order = shuffled(len(data.train), updates * batch, generator)
    tokens = sum(tokens_seen(part, order) for part in (data.train, data.beside) if part is not None)
    return TrainingSchedule(updates, warmup, decay, epochs, order, tokens)


def untrained(
    node: Node, store: ArtifactStore, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """What a training begins with: fresh weights, or those of the node's parent `start`, of which
    a student may keep some layers. On the CPU, in float32."""
    start = node.parents.get("start")
    if start is None:
        return fresh_student(node, store, tokenizer)
    model = weights.read_model(store, start, torch.device("cpu"))
    kept = node.config.get("student_layers")
    if kept is not None:
        model = layers.cut_model(model, int(kept))
        set_generation(model)
    return model


def fresh_student(
    node: Node, store: ArtifactStore, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """The stage's architecture with its teacher's vocabulary, every parameter drawn anew."""
    field = training_of(node).architecture
    spec = opened(node.config.get("architecture", node.config.get(field)), field)
    size = datasets.vocabulary_size(node, store, tokenizer)
    config = config_of(spec, size, tokenizer, field)
    return weights.fresh_model(config, sequence(node.seed, f"{node.stage}/init"))


def make_trainer(
    node: Node,
    model: PreTrainedModel,
    data: TrainingData,
    schedule: TrainingSchedule,
    group: WorkerGroup,
    scratch: str,
    make: Callable[..., StudentTrainer] | None = None,
    saved_every: int = 1,
) -> StudentTrainer:
    """The trainer of one stage, ready to train; made by `make`, by default of the likelihood."""
    config = node.config
    args = arguments.training_arguments(
        SFTConfig,
        scratch=scratch,
        updates=schedule.updates,
        learning_rate=config["learning_rate"],
        global_batch=data.rows_of_a_batch(node),
        saved_every=saved_every,
        seed=int(sequence(node.seed, f"{node.stage}/trainer").generate_state(1)[0]),
        group=group,
        warmup_updates=schedule.warmup,
        decay_updates=schedule.decay,
        adam_beta1=config["adam_beta1"],
        adam_beta2=config["adam_beta2"],
        weight_decay=config["weight_decay"],
        max_grad_norm=config.get("max_gradient_norm", MAX_GRADIENT_NORM),
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    pad = data.tokenizer.pad_token_id
    # A row as long as the longest sequence is nearly full, and attention's mask stays small.
    width = int(data.train.lengths.max()) if config.get("packing") else None
    trainer = (make or StudentTrainer)(
        model=model,
        args=args,
        data_collator=Collator(data.train, pad, width),
        train_dataset=upstream.row_numbers(len(data.train)),
        processing_class=data.tokenizer,
    )
    if data.beside is not None:
        trainer.data_collator = BesideCollator(data.train, data.beside, pad, trainer.numbered)
    elif trainer.numbered:
        trainer.data_collator = Collator(data.train, pad, width, numbered=True)
    trainer.sampler = InOrder(schedule.order)
    trainer.chunked = model.config.vocab_size > FULL_LOGITS
    trainer.data, trainer.schedule = data, schedule
    trainer.batch_rows, trainer.pad, trainer.width = data.rows_of_a_batch(node), pad, width
    trainer.add_callback(HeldoutPoints(trainer, data.heldout, pad, group, schedule.updates))
    if resources_of(group).compile_layers:
        compile_layers(model)
    return trainer


def compile_layers(model: nn.Module) -> None:
    """Compile the model's layers in place: they share one program."""
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            for layer in child:
                layer.compile()
        else:
            compile_layers(child)


def _cost(seconds: float, flops: float, schedule: TrainingSchedule, group: WorkerGroup) -> Cost:
    return Cost(
        wall_seconds=seconds,
        device_seconds=seconds * group.size,
        tokens=schedule.tokens,
        flops=flops,
        device=devices.name(),
        workers=group.size,
        updates=schedule.updates,
    )


def _with_last(table: pa.Table, step: int, loss: float) -> pa.Table:
    row = {"step": [step], "metric": ["heldout_loss"], "value": [loss]}
    return pa.concat_tables([table, pa.table(row, resumable.CURVES_SCHEMA)])


def _gap(loss: float, entropy: float | None) -> dict[str, float]:
    """Held-out loss, and how far it is above the teacher's entropy: nats per token, at least 0."""
    if entropy is None:
        return {"heldout_loss": loss}
    return {"heldout_loss": loss, "teacher_entropy": entropy, "gap": loss - entropy}

"""The one door to names of TRL, transformers, accelerate, DeepSpeed and torch that may go away.

Private methods that a trainer overrides, fields that were renamed, switches that stand in a module:
each stands here once, with the reason and under a name of ours. `tests/.../test_upstream.py` holds
each against the installed release, and its failure says what an upgrade broke.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import datasets  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa
import torch
from huggingface_hub import constants
from torch import nn
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainingArguments
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.sft_trainer import SFTTrainer

Arguments = TypeVar("Arguments", bound=TrainingArguments)

CHECKPOINTING = (
    "activation_checkpointing"
    if "activation_checkpointing" in TrainingArguments.__dataclass_fields__
    else "gradient_checkpointing"  # its name before transformers 5.20
)
"""The training argument behind `resources.gradient_checkpointing`."""
SHARED_MEMORY_OP = "deepspeed_shm_comm"


def silence_telemetry() -> None:
    """TRL's trainers send a ping when they are made, unless this is set before."""
    constants.HF_HUB_DISABLE_TELEMETRY = True


def on_one_device(arguments: Arguments) -> Arguments:
    """The same arguments, for one GPU of the machine's.

    With several in sight a trainer that is alone would wrap its model in `DataParallel`, and learn
    from as many times the batch.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def reduce_over_gloo() -> None:
    """Keep DeepSpeed from compiling its shared-memory reduction for CPUs.

    It takes a minute and a compiler, and fails where two processes compile it at once. Gloo does
    the same.
    """
    import deepspeed.ops

    compatible = getattr(deepspeed.ops, "__compatible_ops__", {})
    if SHARED_MEMORY_OP in compatible:
        compatible[SHARED_MEMORY_OP] = False


def forget_deepspeed() -> None:
    """End a training's hold on what is loaded later.

    While its configuration stands, transformers cuts every model that is loaded into ZeRO-3's
    shards.
    """
    unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]


def forward_model(trainer: Trainer) -> Any:
    """What computes a forward pass: the bare model, or DeepSpeed's engine around its shards."""
    if trainer.is_deepspeed_enabled:
        return trainer.model_wrapped
    return trainer.accelerator.unwrap_model(trainer.model)


def whole_weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """The trained weights, gathered from ZeRO's shards, on the CPU; every rank calls it.

    Only rank 0 gets them under ZeRO-3.
    """
    if trainer.is_deepspeed_enabled:
        state = trainer.accelerator.get_state_dict(trainer.deepspeed) or {}
    else:
        state = trainer.accelerator.unwrap_model(trainer.model).state_dict()
    return {name: tensor.detach().cpu() for name, tensor in state.items()}


@contextmanager
def whole_model(trainer: Trainer) -> Iterator[Any]:
    """The bare model in eval mode, its weights gathered once (ZeRO-3), without gradients."""
    wrapped = trainer.model_wrapped
    with warnings.catch_warnings(), torch.no_grad():
        # TRL asks a bare model by the name that a switch of it had before.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        with unwrap_model_for_generation(wrapped, trainer.accelerator) as model:
            training = model.training
            model.eval()
            yield model
            model.train(training)


class CheckpointedActivations(nn.Module):
    """A module around a language model `lm` whose activations a trainer may ask to recompute.

    Trainers look for these methods on whatever they train, under the names of their release.
    """

    lm: Any

    @property
    def is_gradient_checkpointing(self) -> bool:
        if hasattr(self.lm, "is_activation_checkpointing"):  # its name since transformers 5.20
            return bool(self.lm.is_activation_checkpointing)
        return bool(self.lm.is_gradient_checkpointing)

    def activation_checkpointing_enable(self, *args: Any, **options: Any) -> None:
        """What the trainer calls for `resources.gradient_checkpointing`."""
        enable = getattr(self.lm, "activation_checkpointing_enable", None)
        (enable or self.lm.gradient_checkpointing_enable)(*args, **options)

    def gradient_checkpointing_enable(self, *args: Any, **options: Any) -> None:
        """What turns it on again after a rollout, and the trainer's name of it before."""
        self.lm.gradient_checkpointing_enable(*args, **options)

    def gradient_checkpointing_disable(self) -> None:
        """A rollout computes no gradient."""
        self.lm.gradient_checkpointing_disable()


class RowNumbers(Dataset[dict[str, int]]):
    """What a trainer's loader counts, where the trainer makes its batches itself.

    A loader fetches a batch ahead, and a rollout can't be drawn before the update that precedes
    it; but transformers takes the number of updates, and where to go on, from a dataset.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, int]:
        return {"row": index}


def row_numbers(count: int) -> datasets.Dataset:
    """The same for TRL, which takes `datasets` alone; a collator turns rows into sequences."""
    table = pa.table({"row": np.arange(count)})
    return datasets.Dataset(pa.Table.from_batches(table.to_batches()), fingerprint=f"rows-{count}")


class OwnBatchesTrainer(Trainer):
    """A trainer that makes its batches and keeps its weights itself.

    `training_step` and `compute_loss` are the subclass's; so are `save_weights` and
    `load_weights`, for what it trains isn't always a model in the hub's format.
    """

    def __init__(self, model: nn.Module, arguments: TrainingArguments, rows: int) -> None:
        super().__init__(model, arguments, train_dataset=RowNumbers(rows))
        # Losses are means of their minibatch already; else a part's would be divided again by
        # the number of parts or not, by what the model's forward accepts.
        self.model_accepts_loss_kwargs = False

    def save_weights(self, folder: Path) -> None:
        """Write what is trained into a checkpoint."""
        raise NotImplementedError

    def load_weights(self, folder: Path) -> None:
        """Read it again."""
        raise NotImplementedError

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.args.should_save and not self.is_deepspeed_enabled:  # DeepSpeed keeps its own
            folder = Path(output_dir or str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            self.save_weights(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.load_weights(Path(resume_from_checkpoint))


class OrderedSftTrainer(SFTTrainer):
    """TRL's trainer over rows in a given order."""

    sampler: Sampler[int]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # counted once for all, not by walking the model at every update

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self.sampler

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        Trainer._save_checkpoint(self, model, trial)  # TRL writes a model card beside it

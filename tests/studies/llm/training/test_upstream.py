"""Contracts with TRL, transformers, accelerate, DeepSpeed and torch: what `upstream` relies on.

A failure says what an upgrade broke.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from torch.utils.data import SequentialSampler
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

import recalltrap_studies.llm as room
from recalltrap_studies.llm.training import upstream

FOREIGN = ("torch", "transformers", "trl", "accelerate", "deepspeed", "datasets", "huggingface_hub")
DOORS = tuple(f"recalltrap_studies.llm.{room}.upstream" for room in ("models", "training"))


def arguments(folder: Path, **more: Any) -> TrainingArguments:
    return TrainingArguments(
        str(folder), max_steps=2, use_cpu=True, report_to="none", disable_tqdm=True,
        remove_unused_columns=False, **more,
    )  # fmt: skip


class Sums(upstream.OwnBatchesTrainer):
    """Trains one number and keeps it in a file of its own."""

    number: Any
    batches: list[dict[str, Any]]

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        self.batches.append(inputs)
        return super().training_step(model, {"x": torch.ones(3)})

    def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        return model(inputs["x"]).sum()

    def save_weights(self, folder: Path) -> None:
        torch.save(self.number.state_dict(), folder / "own.pt")

    def load_weights(self, folder: Path) -> None:
        self.number.load_state_dict(torch.load(folder / "own.pt"))


class Number(torch.nn.Module):
    is_gradient_checkpointing = False

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


def sums(folder: Path, **more: Any) -> Sums:
    number = Number()
    trainer = Sums(number, arguments(folder, **more), rows=4)
    trainer.number, trainer.batches = number, []
    return trainer


@pytest.mark.slow
def test_a_checkpoint_is_saved_and_read_by_the_trainer_itself(tmp_path: Path) -> None:
    """transformers calls `_save` and `_load_from_checkpoint` for what isn't a model of its own."""
    trainer = sums(tmp_path, save_strategy="steps", save_steps=1, per_device_train_batch_size=2)
    trainer.train()
    assert (tmp_path / "checkpoint-1" / "own.pt").is_file()
    again = sums(tmp_path, save_strategy="no", per_device_train_batch_size=2)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    torch.testing.assert_close(again.number.weight, trainer.number.weight)
    assert len(again.batches) == 1, "the first update isn't made again"


@pytest.mark.slow
def test_the_dataset_only_counts_updates(tmp_path: Path) -> None:
    """Rows reach `training_step` as numbers, and the number of updates is `max_steps`."""
    trainer = sums(tmp_path, per_device_train_batch_size=2, save_strategy="no")
    trainer.train()
    rows = [row for batch in trainer.batches for row in batch["row"].tolist()]
    assert sorted(rows) == [0, 1, 2, 3]
    assert trainer.state.global_step == 2


@pytest.mark.slow
def test_a_part_s_loss_is_divided_by_the_number_of_parts(tmp_path: Path) -> None:
    """`model_accepts_loss_kwargs`: the gradient of an update is the mean of its parts'."""
    gradients: list[float] = []

    class Gradients(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
            gradients.append(float(model.weight.grad))

    trainer = sums(
        tmp_path, per_device_train_batch_size=1, gradient_accumulation_steps=2, save_strategy="no",
        max_grad_norm=0.0,
    )  # fmt: skip
    trainer.add_callback(Gradients())
    trainer.train()
    assert gradients == [3.0, 3.0]


def test_alone_a_trainer_uses_one_gpu_of_several(tmp_path: Path) -> None:
    """`_n_gpu` is what a trainer multiplies its batch by."""
    args = arguments(tmp_path, per_device_train_batch_size=64)
    assert args.n_gpu == 0, "a CPU's"
    args._n_gpu = 4
    assert args.train_batch_size == 4 * 64, "what a trainer would take without"
    assert upstream.on_one_device(args).train_batch_size == 64


def test_the_checkpointing_argument_has_the_release_s_name(tmp_path: Path) -> None:
    args = arguments(tmp_path, **{upstream.CHECKPOINTING: True})
    assert args.gradient_checkpointing or args.activation_checkpointing


def tiny() -> Any:
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    return AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]


@pytest.mark.slow
def test_a_trainer_turns_checkpointing_on_in_a_module_around_a_model(tmp_path: Path) -> None:
    class Around(upstream.CheckpointedActivations):
        def __init__(self) -> None:
            super().__init__()
            self.lm = tiny()

        def forward(self, input_ids: Any) -> Any:
            return self.lm(input_ids=input_ids).logits

    class Recorded(Sums):
        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            self.batches.append({"on": model.is_gradient_checkpointing})
            with upstream.whole_model(self) as whole:
                self.batches.append({"on": whole.is_gradient_checkpointing})
            self.batches.append({"on": model.is_gradient_checkpointing})
            return Trainer.training_step(self, model, {"x": torch.ones(1, 2, dtype=torch.int64)})

    args = arguments(tmp_path, save_strategy="no", **{upstream.CHECKPOINTING: True})
    trainer = Recorded(Around(), args, rows=2)
    trainer.batches = []
    trainer.train()
    states = [batch["on"] for batch in trainer.batches[:3]]
    assert states == [True, False, True], "on while it learns, off while it is whole"


def test_telemetry_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    upstream.silence_telemetry()
    from trl.trainer import base_trainer

    assert constants.HF_HUB_DISABLE_TELEMETRY
    text = inspect.getsource(base_trainer) + inspect.getsource(SFTTrainer)
    assert "telemetry" in text, "TRL sends none any more: remove the switch"


def test_deepspeed_s_shared_memory_op_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    import deepspeed.ops

    before = dict(deepspeed.ops.__compatible_ops__)
    assert upstream.SHARED_MEMORY_OP in before, "DeepSpeed has renamed it, and would compile it"
    monkeypatch.setattr(deepspeed.ops, "__compatible_ops__", before)
    upstream.reduce_over_gloo()
    assert before[upstream.SHARED_MEMORY_OP] is False


def test_a_deepspeed_configuration_is_forgotten() -> None:
    deepspeed: Any = importlib.import_module("transformers.integrations.deepspeed")
    config = deepspeed.HfDeepSpeedConfig({"zero_optimization": {"stage": 3}})
    assert deepspeed.is_deepspeed_zero3_enabled()
    upstream.forget_deepspeed()
    assert not deepspeed.is_deepspeed_zero3_enabled()
    del config


def test_a_model_is_whole_in_eval_mode_and_without_gradients(tmp_path: Path) -> None:
    trainer = sums(tmp_path)
    trainer.number.train()
    with upstream.whole_model(trainer) as model:
        assert model is trainer.number
        assert not trainer.number.training
        assert not torch.is_grad_enabled()
    assert trainer.number.training
    assert upstream.forward_model(trainer) is trainer.model
    assert list(upstream.whole_weights(trainer)) == ["weight"]


@pytest.mark.slow
def test_trl_takes_rows_in_the_given_order_and_writes_no_model_card(
    tiny_model: PreTrainedModel, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    seen: list[int] = []

    def collate(examples: Any) -> dict[str, torch.Tensor]:
        seen.extend(int(example["row"]) for example in examples)
        ids = torch.tensor([[2, 3, 4]] * len(examples))
        return {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}

    config = SFTConfig(
        str(tmp_path), max_steps=2, per_device_train_batch_size=2, use_cpu=True, bf16=False,
        gradient_checkpointing=False, report_to="none", disable_tqdm=True, save_steps=1,
        remove_unused_columns=False, dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    import copy

    trainer = upstream.OrderedSftTrainer(
        model=copy.deepcopy(tiny_model), args=config, data_collator=collate,
        train_dataset=upstream.row_numbers(4), processing_class=tiny_tokenizer,
    )  # fmt: skip
    trainer.sampler = SequentialSampler([3, 3, 3, 3])
    trainer.train()
    assert seen == [0, 1, 2, 3]
    assert (tmp_path / "checkpoint-2" / "model.safetensors").is_file()
    assert not list(tmp_path.rglob("README.md"))


def modules() -> Iterator[ModuleType]:
    """All of the study's modules but the doors."""
    for found in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        if found.name not in DOORS:
            yield importlib.import_module(found.name)


def private(name: str) -> bool:
    # by Python, in every class of an abstract one, and by torch, in every function with a gradient
    made = name in ("_abc_impl", "_backward_cls")
    return name.startswith("_") and not made and not (name[:2] == "__" == name[-2:])


def overridden(module: ModuleType) -> Iterator[str]:
    """Underscore methods of foreign classes that a class of the module replaces."""
    for name, cls in vars(module).items():
        if not inspect.isclass(cls) or cls.__module__ != module.__name__:
            continue
        foreign = [base for base in cls.__mro__[1:] if base.__module__.split(".")[0] in FOREIGN]
        for attribute in vars(cls):
            if private(attribute) and any(attribute in vars(base) for base in foreign):
                yield f"{name}.{attribute}"


def test_only_upstream_replaces_methods_that_foreign_classes_keep_to_themselves() -> None:
    """That no other module reads their names is `tests/test_private_names.py`'s."""
    replaced = {module.__name__: list(overridden(module)) for module in modules()}
    assert {name: names for name, names in replaced.items() if names} == {}
    assert {name.split(".")[1] for name in overridden(upstream)} >= {"_save"}, "the search is blind"

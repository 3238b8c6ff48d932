"""The trainers that roll out: a language with a known optimum, determinism, resuming, padding."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError, StageError
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.streams import sequence
from recalltrap_studies.llm.alignment.dpo import OnlineDpoTrainer
from recalltrap_studies.llm.alignment.group_relative import GrpoTrainer, RlooTrainer
from recalltrap_studies.llm.alignment.on_policy_trainer import OnPolicyTrainer
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.ppo import PpoTrainer
from recalltrap_studies.llm.alignment.registry import GroupRelative as GroupPart
from recalltrap_studies.llm.alignment.registry import OnlineDpo, Ppo
from recalltrap_studies.llm.alignment.rollouts import RolloutContext, roll_out
from recalltrap_studies.llm.data import prompts, responses
from recalltrap_studies.llm.data.responses import PromptRows, Request
from recalltrap_studies.llm.models import weights as models
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.rewards.oracle import Oracle
from recalltrap_studies.llm.rewards.protocol import Judgement
from recalltrap_studies.llm.training import checkpoints, resumable

pytestmark = pytest.mark.slow  # they train


WORDS = 6
REWARDS = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, -1.0])
PPO = Ppo(
    algorithm="ppo",
    iterations=3,
    rollout_size=8,
    minibatch_size=4,
    align_tokens=12,
    align_learning_rate=3e-3,
)
DPO = OnlineDpo(
    algorithm="dpo_online",
    iterations=3,
    rollout_size=8,
    minibatch_size=2,
    dpo_updates=3,
    align_tokens=12,
    align_learning_rate=3e-3,
)
GRPO = GroupPart(
    algorithm="grpo",
    iterations=3,
    rollout_size=8,
    minibatch_size=4,
    group_size=4,
    align_tokens=12,
    align_learning_rate=3e-3,
)
ALGORITHMS = pytest.mark.parametrize(
    ("trainer_class", "settings"),
    [(PpoTrainer, PPO), (GrpoTrainer, GRPO), (RlooTrainer, GRPO), (OnlineDpoTrainer, DPO)],
)


@dataclass(frozen=True)
class Table:
    """A judge of a language whose sentences are single words: R by the word."""

    name: str = "table"
    supremum: float | None = None
    model: torch.nn.Module | None = None

    def judge(self, tokens_BT: Tensor, mask_BT: Tensor, prompts: PromptRows) -> Judgement:
        reward_B = REWARDS[tokens_BT[:, 0]]
        return Judgement(reward_B, reward_B)


def one_word_context() -> RolloutContext:
    """Words 0 to 5, and a reference that prefers some of them."""
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=8,
        initializer_range=0.3,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    reference: Any = models.fresh_model(config, sequence(0, "test/one-word"))
    return RolloutContext(reference.eval(), Table(), Request(PromptRows.same([0]), 1, 1.0, -1, 0))


def words(model: Any) -> Tensor:
    """The probabilities of all words."""
    with torch.no_grad():
        return torch.softmax(model(input_ids=torch.tensor([[0]])).logits[0, -1].double(), 0)


@pytest.mark.parametrize(("kl_weight", "noise"), [(0.5, 0.0), (2.0, 0.0), (2.0, 0.5)])
def test_ppo_approaches_the_closed_form_of_a_one_word_language(
    kl_weight: float, noise: float, tmp_path: Path
) -> None:
    """Also under a judge that errs, whose mean is right."""
    context = one_word_context()
    settings = Ppo(
        algorithm="ppo",
        iterations=60,
        rollout_size=512,
        minibatch_size=512,
        align_learning_rate=1e-2,
        kl_weight=kl_weight,
        value_clip_range=1.0,
        reward_noise=noise,
    )
    policy = Policy(copy.deepcopy(context.reference), context.request.prompts, value_head=True)
    trainer = PpoTrainer(policy, context, settings, seed=0, group=WorkerGroup(), scratch=tmp_path)
    trainer.train()
    reference = words(context.reference)
    optimum = reference * torch.exp(REWARDS.double() / kl_weight)
    optimum /= optimum.sum()  # eq. 1's maximum: pi proportional to pi_ref exp(R / beta)
    before = float((reference - optimum).abs().sum() / 2)
    after = float((words(policy.lm) - optimum).abs().sum() / 2)
    assert before > 0.15
    assert after < 0.03


def test_dpo_moves_mass_to_the_words_that_win(tmp_path: Path) -> None:
    context = one_word_context()
    settings = replace_settings(DPO, iterations=10, rollout_size=128, minibatch_size=64)
    policy = Policy(copy.deepcopy(context.reference), context.request.prompts)
    OnlineDpoTrainer(
        policy, context, settings, seed=0, group=WorkerGroup(), scratch=tmp_path
    ).train()
    change = words(policy.lm) - words(context.reference)
    assert change[4] > 0.02
    assert change[5] < 0
    assert float((words(policy.lm) * REWARDS).sum()) > float(
        (words(context.reference) * REWARDS).sum()
    )


def replace_settings(settings: Any, **fields: Any) -> Any:
    return settings.model_copy(update=fields)


@pytest.fixture(scope="module")
def context(
    tiny_model: PreTrainedModel,
    narrow_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> RolloutContext:
    """Start and anchor: the narrow model. Judge: the better one."""
    request = responses.request(
        tiny_tokenizer, prompts.asked({"prompt": "The"}, tiny_tokenizer).rows, 12
    )
    judge = Oracle(tiny_model, 8.0, 10.0, 0.5, "fold")
    return RolloutContext(narrow_model, judge, request)


def make(
    context: RolloutContext,
    trainer_class: type[OnPolicyTrainer],
    settings: Any,
    scratch: Path,
    **more: Any,
) -> OnPolicyTrainer:
    policy = Policy(
        copy.deepcopy(context.reference), context.request.prompts, trainer_class is PpoTrainer
    )
    group = more.pop("group", WorkerGroup())
    return trainer_class(policy, context, settings, seed=3, group=group, scratch=scratch)


def points(trainer: OnPolicyTrainer) -> list[dict[str, float]]:
    """The curves, without the clock."""
    points = [point for point in trainer.state.log_history if "rollout" in point]
    return [{name: x for name, x in point.items() if name != "seconds"} for point in points]


def run(trainer: OnPolicyTrainer, scratch: Path, group: WorkerGroup | None = None) -> Any:
    resumable.train(trainer, stage="align", scratch=scratch, group=group or WorkerGroup())
    trainer.finish()
    return points(trainer)


@ALGORITHMS
def test_the_same_seed_twice_gives_identical_curves_and_weights(
    context: RolloutContext, trainer_class: Any, settings: Any, tmp_path: Path
) -> None:
    trainers = [make(context, trainer_class, settings, tmp_path / name) for name in "ab"]
    first, second = (run(t, tmp_path / n) for t, n in zip(trainers, "ab", strict=True))
    assert first == second
    assert [point["rollout"] for point in first] == [0, 1, 2, 3]
    assert all(
        torch.equal(a, b) for a, b in zip(*(t.policy.parameters() for t in trainers), strict=True)
    )


@ALGORITHMS
def test_a_noisy_judge_is_learned_from_and_in_no_measure(
    context: RolloutContext, trainer_class: Any, settings: Any, tmp_path: Path
) -> None:
    plain, noisy = (
        run(
            make(context, trainer_class, replace_settings(settings, reward_noise=noise), scratch),
            scratch,
        )
        for noise, scratch in ((0.0, tmp_path / "plain"), (3.0, tmp_path / "noisy"))
    )
    first, last = (
        [{name: point[name] for name in ("reward", "kl", "length")} for point in (own[0], own[-1])]
        for own in (plain, noisy)
    )
    assert first[0] == last[0]
    assert first[1] != last[1]


@ALGORITHMS
def test_a_resumed_training_ends_where_an_uninterrupted_one_does(
    context: RolloutContext, trainer_class: Any, settings: Any, tmp_path: Path
) -> None:
    whole = make(context, trainer_class, settings, tmp_path / "whole")
    expected = run(whole, tmp_path / "whole")
    group = WorkerGroup(resources=LlmResources(checkpoint_updates=1))
    scratch = tmp_path / "cut"
    cut = make(context, trainer_class, settings, scratch, group=group)

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    draw = cut.draw
    cut.draw = lambda policy, index: stop() if index == 2 else draw(policy, index)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    found = checkpoints.last(scratch)
    assert found is not None
    assert found.endswith(f"checkpoint-{2 * cut.updates_per_iteration}")
    resumed = make(context, trainer_class, settings, scratch, group=group)
    assert run(resumed, scratch, group) == expected
    for a, b in zip(whole.policy.parameters(), resumed.policy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_ppo_s_first_gradient_is_the_policy_gradient(
    context: RolloutContext, tmp_path: Path
) -> None:
    trainer = make(context, PpoTrainer, PPO, tmp_path)
    rollout = roll_out(trainer.policy, context, size=8, index=0, seed=3, group=WorkerGroup())
    examples, _ = trainer.examples(rollout)
    weights = list(trainer.policy.lm.parameters())
    losses = trainer.row_losses(trainer.policy, examples)
    assert losses["clip_fraction"].sum() == 0
    surrogate = (losses["loss"] - PPO.value_weight * losses["value_loss"]).sum()
    log_probs, _ = trainer.policy(rollout.tokens_NT)
    gain = torch.where(rollout.mask_NT, examples["advantage"] * log_probs, 0.0).sum()
    for ppo, policy_gradient in zip(
        torch.autograd.grad(surrogate, weights), torch.autograd.grad(-gain, weights), strict=True
    ):
        torch.testing.assert_close(ppo, policy_gradient, atol=1e-4, rtol=1e-4)


def test_the_kl_starts_at_zero_and_moves(context: RolloutContext, tmp_path: Path) -> None:
    first, *_, last = run(make(context, PpoTrainer, PPO, tmp_path), tmp_path)
    assert first["kl"] == pytest.approx(0.0, abs=1e-5)
    assert abs(last["kl"]) > 1e-3


@ALGORITHMS
def test_a_minibatch_s_loss_is_the_same_in_parts(
    context: RolloutContext, trainer_class: Any, settings: Any, tmp_path: Path
) -> None:
    whole = run(make(context, trainer_class, settings, tmp_path / "1"), tmp_path / "1")
    group = WorkerGroup(resources=LlmResources(gradient_accumulation=2))
    trainer = make(context, trainer_class, settings, tmp_path / "2", group=group)
    parts = run(trainer, tmp_path / "2", group)
    for one, two in zip(whole, parts, strict=True):
        for name in ("reward", "loss", "kl"):
            assert two.get(name, 0.0) == pytest.approx(one.get(name, 0.0), abs=2e-3), name


def test_the_rollout_does_not_depend_on_the_number_of_workers(context: RolloutContext) -> None:
    policy = Policy(context.reference, context.request.prompts)
    alone = roll_out(policy, context, size=6, index=1, seed=3, group=WorkerGroup())
    heard: list[Any] = []

    def gather(value: Any) -> list[Any]:
        heard.append(value)
        return heard

    for rank in range(2):
        shared = roll_out(
            policy, context, size=6, index=1, seed=3, group=WorkerGroup(rank, 2, gather=gather)
        )
    assert torch.equal(alone.tokens_NT, shared.tokens_NT)
    torch.testing.assert_close(alone.reward_N, shared.reward_N)
    torch.testing.assert_close(alone.log_probs_NT, shared.log_probs_NT)


@ALGORITHMS
def test_padding_never_enters_a_loss_or_a_gradient(
    context: RolloutContext, trainer_class: Any, settings: Any, tmp_path: Path
) -> None:
    trainer = make(context, trainer_class, settings, tmp_path)
    rollout = roll_out(trainer.policy, context, size=8, index=0, seed=3, group=WorkerGroup())
    assert not rollout.mask_NT.all()
    other = torch.where(rollout.mask_NT, rollout.tokens_NT, 7)
    results = []
    for tokens in (rollout.tokens_NT, other):
        trainer.policy.zero_grad()
        examples, _ = trainer.examples(replace(rollout, tokens_NT=tokens))
        loss = trainer.row_losses(trainer.policy, examples)["loss"].sum()
        torch.autograd.backward(loss)
        gradients = [p.grad.clone() for p in trainer.policy.parameters() if p.grad is not None]
        results.append([loss.detach(), *gradients])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)


def test_an_oracle_without_numbers_is_a_failure(context: RolloutContext, tmp_path: Path) -> None:
    broken = copy.deepcopy(context.reward_model)
    assert isinstance(broken, Oracle)
    with torch.no_grad():
        next(broken.model.parameters()).fill_(float("nan"))
    trainer = make(replace(context, reward_model=broken), PpoTrainer, PPO, tmp_path)
    with pytest.raises(StageError, match="p_target's weights are broken"):
        trainer.train()


def test_a_diverging_loss_is_a_failure_that_names_the_rate(
    context: RolloutContext, tmp_path: Path
) -> None:
    trainer = make(context, PpoTrainer, PPO, tmp_path)
    assert trainer.policy.value_head is not None
    torch.nn.init.constant_(trainer.policy.value_head.bias, float("nan"))
    fields = resumable.SettingNames(learning_rate="align_learning_rate")
    with pytest.raises(StageError, match=r"settings\.align_learning_rate"):
        resumable.train(
            trainer, stage="align", scratch=tmp_path, group=WorkerGroup(), fields=fields
        )


def test_a_minibatch_that_the_workers_cannot_share_is_refused(
    context: RolloutContext, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"settings\.minibatch_size = 4"):
        make(context, PpoTrainer, PPO, tmp_path, group=WorkerGroup(0, 3))


def test_value_head_starts_at_zero_and_learns(context: RolloutContext, tmp_path: Path) -> None:
    trainer = make(context, PpoTrainer, PPO, tmp_path)
    _, values = trainer.policy(torch.tensor([[5, 6]]))
    assert (values == 0).all()
    run(trainer, tmp_path)
    _, values = trainer.policy(torch.tensor([[5, 6]]))
    assert (values != 0).all()

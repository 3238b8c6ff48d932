"""GRPO, RLOO and PPO on a language so small that every sentence, and every group, is enumerated.

The expected gradient of each estimator over all groups is compared with the exact gradient of
E[R] - kl_weight KL(policy || reference), whose maximum is pi_ref exp(R / kl_weight).
Legend: S sentences, T tokens, W words, G responses of a group, K = S^G groups.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.alignment.group_relative import GrpoTrainer, RlooTrainer
from recalltrap_studies.llm.alignment.losses import masked_sum
from recalltrap_studies.llm.alignment.on_policy_trainer import OnPolicyTrainer
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.ppo import PpoTrainer
from recalltrap_studies.llm.alignment.registry import GroupRelative as GroupPart
from recalltrap_studies.llm.alignment.registry import Ppo
from recalltrap_studies.llm.alignment.rollouts import Rollout
from tests.studies.llm.alignment.test_alignment_trainer import one_word_context

pytestmark = pytest.mark.slow

KL_WEIGHT = 0.7
EOS = 0


@dataclass(frozen=True)
class Language:
    """All sentences, with rewards; those that end early have EOS and padding behind it."""

    tokens_ST: Tensor
    mask_ST: Tensor
    reward_S: Tensor
    words: int

    @classmethod
    def of(cls, words: int, length: int, *, ends: bool) -> Language:
        sentences = {
            cut(sentence) if ends else sentence
            for sentence in itertools.product(range(words), repeat=length)
        }
        rows = sorted(sentences)
        tokens = torch.tensor([[*row, *[EOS] * (length - len(row))] for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        reward = 4.0 * torch.rand(len(rows), dtype=torch.float64, generator=seeded(0))
        return cls(tokens, torch.arange(length) < lengths[:, None], reward, words)


def cut(sentence: tuple[int, ...]) -> tuple[int, ...]:
    return sentence[: sentence.index(EOS) + 1] if EOS in sentence else sentence


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Prefixes(nn.Module):
    """A policy with a logit for every word after every prefix, float64; values are 0."""

    def __init__(self, language: Language, seed: int) -> None:
        super().__init__()
        self.words, length = language.words, language.tokens_ST.shape[1]
        count = sum(self.words**t for t in range(length))
        logits = torch.randn(count, self.words, dtype=torch.float64, generator=seeded(seed))
        self.logits = nn.Parameter(logits)

    def forward(self, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
        prefix_BT = torch.zeros_like(tokens_BT)
        for t in range(1, tokens_BT.shape[1]):  # breadth first: children follow their parents
            prefix_BT[:, t] = prefix_BT[:, t - 1] * self.words + 1 + tokens_BT[:, t - 1]
        log_probs_BTW = self.logits.log_softmax(dim=1)[prefix_BT]
        log_probs_BT = log_probs_BTW.gather(2, tokens_BT[:, :, None])[:, :, 0]
        return log_probs_BT, torch.zeros_like(log_probs_BT)


FIXED, EARLY = Language.of(4, 3, ends=False), Language.of(4, 3, ends=True)
LANGUAGES = pytest.mark.parametrize("language", [FIXED, EARLY], ids=["fixed", "early"])


def log_probs(model: Prefixes, language: Language) -> Tensor:
    """Of every sentence, [S]; they sum to one."""
    log_prob_S = masked_sum(model(language.tokens_ST)[0], language.mask_ST)
    torch.testing.assert_close(log_prob_S.exp().sum(), torch.ones((), dtype=torch.float64))
    return log_prob_S


def objective(model: Prefixes, reference: Prefixes, language: Language) -> Tensor:
    """E[R] - kl_weight KL, over all sentences."""
    log_p_S, log_ref_S = log_probs(model, language), log_probs(reference, language).detach()
    return (log_p_S.exp() * (language.reward_S - KL_WEIGHT * (log_p_S - log_ref_S))).sum()


def trainer_of(cls: type[OnPolicyTrainer], size: int, scratch: Path) -> OnPolicyTrainer:
    """A trainer whose estimator is looked at; its own policy plays no part."""
    fields: dict[str, Any] = {
        "kl_weight": KL_WEIGHT, "iterations": 1, "rollout_size": size, "minibatch_size": size,
    }  # fmt: skip
    settings = (
        Ppo(**fields, algorithm="ppo", whiten=False)
        if cls is PpoTrainer
        else GroupPart(**fields, algorithm="grpo", group_size=size)
    )
    context = one_word_context()
    policy = Policy(context.reference, context.request.prompts)
    return cls(policy, context, settings, seed=0, group=WorkerGroup(), scratch=scratch)


def estimated(
    trainer: OnPolicyTrainer,
    model: Prefixes,
    reference: Prefixes,
    language: Language,
    size: int,
) -> Tensor:
    """Minus the estimator's expected loss over all groups of `size` responses of the policy."""
    rows_K = torch.cartesian_prod(*[torch.arange(len(language.reward_S))] * size).view(-1, size)
    weight_K = log_probs(model, language).detach()[rows_K].sum(dim=1).exp()
    rows = rows_K.flatten()
    tokens, mask = language.tokens_ST[rows], language.mask_ST[rows]
    with torch.no_grad():
        old, reference_NT = (
            torch.where(mask, model_(tokens)[0], 0.0) for model_ in (model, reference)
        )
    zeros = torch.zeros_like(old)
    reward_N = language.reward_S[rows]
    rollout = Rollout(tokens, mask, old, reference_NT, zeros, reward_N, reward_N)
    examples, _ = trainer.examples(rollout)
    losses = trainer.row_losses(model, examples)
    assert float(losses["clip_fraction"].sum()) == 0
    return -(weight_K * losses["loss"].view(-1, size).sum(dim=1)).sum() / size


def gradient(value: Tensor, model: Prefixes) -> Tensor:
    return torch.autograd.grad(value, [model.logits])[0]


@LANGUAGES
@pytest.mark.parametrize(
    ("cls", "size", "share"),
    [
        (RlooTrainer, 2, 1.0),
        (GrpoTrainer, 2, 1 / 2),  # the mean holds the response itself: (G - 1) / G
        (RlooTrainer, 3, 1.0),
        (GrpoTrainer, 3, 2 / 3),
        (PpoTrainer, 1, 1.0),
    ],
)
def test_the_expected_gradient_is_the_objective_s(
    language: Language, cls: type[OnPolicyTrainer], size: int, share: float, tmp_path: Path
) -> None:
    model, reference = Prefixes(language, 1), Prefixes(language, 2)
    exact = gradient(objective(model, reference, language), model)
    trainer = trainer_of(cls, size, tmp_path)
    found = gradient(estimated(trainer, model, reference, language, size), model)
    assert float(exact.norm()) > 0.1
    torch.testing.assert_close(found, share * exact, atol=1e-12, rtol=1e-10)


@LANGUAGES
@pytest.mark.parametrize("cls", [GrpoTrainer, RlooTrainer])
def test_ascent_ends_at_the_optimum(
    language: Language, cls: type[OnPolicyTrainer], tmp_path: Path
) -> None:
    reference = Prefixes(language, 2)
    model = Prefixes(language, 2)
    log_optimum_S = log_probs(reference, language).detach() + language.reward_S / KL_WEIGHT
    optimum_S = log_optimum_S.softmax(dim=0)

    def distance() -> float:
        """Total variation."""
        return float((log_probs(model, language).detach().exp() - optimum_S).abs().sum() / 2)

    before = distance()
    trainer = trainer_of(cls, 2, tmp_path)
    adam = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(150):
        adam.zero_grad()
        torch.autograd.backward(-estimated(trainer, model, reference, language, 2))
        adam.step()
    assert before > 0.3
    assert distance() < 0.01


def test_a_penalty_on_each_token_alone_is_another_gradient() -> None:
    """What GRPO does elsewhere: each token's KL in the loss, at its own place."""
    model, reference = Prefixes(EARLY, 1), Prefixes(EARLY, 2)
    log_p_ST, log_ref_ST = (m(EARLY.tokens_ST)[0] for m in (model, reference))
    log_p_S = masked_sum(log_p_ST, EARLY.mask_ST)
    log_ratio_ST = log_ref_ST.detach() - log_p_ST
    k3_S = masked_sum(log_ratio_ST.exp() - log_ratio_ST - 1.0, EARLY.mask_ST)
    weight_S = log_p_S.detach().exp()
    value = (weight_S * (EARLY.reward_S * log_p_S - KL_WEIGHT * k3_S)).sum()
    exact = gradient(objective(model, reference, EARLY), model)
    cosine = torch.cosine_similarity(gradient(value, model).flatten(), exact.flatten(), dim=0)
    assert float(cosine) < 0.99

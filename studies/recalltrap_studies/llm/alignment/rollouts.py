"""Rollouts: responses drawn from the current policy, judged by the reward and the reference.

A rollout is drawn and scored by all workers together, each its share of the rows, and then held
whole by every one of them: minibatches, whitening and curves don't depend on their number.
Legend: N responses of a rollout, T new tokens at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.alignment.losses import masked_sum
from recalltrap_studies.llm.alignment.policy import Policy, as_policy, computes_in_float32, score
from recalltrap_studies.llm.data.preferences import PreferencePairs
from recalltrap_studies.llm.data.prompts import PromptSet
from recalltrap_studies.llm.data.responses import Request
from recalltrap_studies.llm.inference import sampling_engines
from recalltrap_studies.llm.inference.response_batches import uniforms
from recalltrap_studies.llm.rewards.noise import reward_noise
from recalltrap_studies.llm.rewards.protocol import Reward


@dataclass(frozen=True)
class RolloutContext:
    """What an alignment doesn't change: the anchor, the reward and what is asked for.

    The request is to all of `prompts`; a rollout draws its own among them.
    """

    reference: torch.nn.Module
    reward_model: Reward
    request: Request
    prompts: PromptSet | None = None
    """None where there is one alone, which is the request's."""
    preferences: PreferencePairs | None = None
    """A file's, which are learned from; their prompts stand behind the others in the policy."""

    def draw_prompts(self, count: int, seed: int, name: str, together: int) -> Tensor | None:
        """Which prompt each of `count` responses is to, see `PromptSet.drawn`; None where the
        policy knows one alone."""
        if self.prompts is None or (len(self.prompts) == 1 and self.preferences is None):
            return None
        return self.prompts.drawn(count, seed, name, together)


@dataclass(frozen=True)
class Rollout:
    """Responses with what is known of them before anything is learned from them.

    `log_probs_NT` are the policy's that drew them, `reference_NT` the reference's, computed alike,
    `values_NT` of the value head (0 without one). `reward_N`, `preference_N` and `measured` are
    the reward's, see `Judgement`. `prompt_N` says which prompt each is to, where there are several.
    """

    tokens_NT: Tensor
    mask_NT: Tensor
    log_probs_NT: Tensor
    reference_NT: Tensor
    values_NT: Tensor
    reward_N: Tensor
    preference_N: Tensor
    measured: Mapping[str, Tensor] = field(default_factory=dict)
    prompt_N: Tensor | None = None
    noise_N: Tensor | None = None
    """Of what an alignment sees of rewards and preferences; measures know nothing of it."""

    @property
    def seen_reward_N(self) -> Tensor:
        """What is learned from."""
        return self.reward_N if self.noise_N is None else self.reward_N + self.noise_N

    @property
    def seen_preference_N(self) -> Tensor:
        """What pairs are labelled by."""
        return self.preference_N if self.noise_N is None else self.preference_N + self.noise_N

    def examples(self, **more: Tensor) -> dict[str, Tensor]:
        """Its responses as rows to learn from: `tokens`, `mask`, `prompt` where there are several,
        and what an algorithm adds."""
        asked = {} if self.prompt_N is None else {"prompt": self.prompt_N}
        return {"tokens": self.tokens_NT, "mask": self.mask_NT, **asked, **more}

    def measures(self) -> dict[str, float]:
        """The curves' values: means over responses, the KL summed over a response's tokens."""
        kl_N = masked_sum(self.log_probs_NT - self.reference_NT, self.mask_NT)
        return {
            "reward": float(self.reward_N.mean()),
            "reward_sd": float(self.reward_N.std(correction=0)),
            "kl": float(kl_N.mean()),
            **{name: float(values_N.mean()) for name, values_N in self.measured.items()},
            "length": float(self.mask_NT.sum(dim=1).float().mean()),
        }


def roll_out(
    policy: Policy,
    context: RolloutContext,
    *,
    size: int,
    index: int,
    seed: int,
    group: WorkerGroup,
    scored: bool = False,
    together: int = 1,
    noise: float = 0.0,
) -> Rollout:
    """Draw and score rollout `index` of a seed; called on every worker together.

    So many responses after each other are `together`, to the same prompt; `noise` is the deviation
    of what is seen of their rewards.

    Its log-probabilities are those that sampling met, or where `scored`, or where precision or a
    value head ask for it, those of a forward pass over the whole response, as in training.

    Raises:
        StageError: policy or reward give no finite numbers.
    """
    # The numbers of all rows are drawn everywhere, so that a row is the same whoever draws it.
    uniforms_NT = uniforms(seed, f"align/rollout/{index}", size, context.request.max_new_tokens)
    prompt_N = context.draw_prompts(size, seed, f"align/prompts/{index}", together)
    mine = torch.from_numpy(np.array_split(np.arange(size), group.size)[group.rank])
    request = context.request if prompt_N is None else context.request.take(prompt_N[mine])
    responses = sampling_engines.generate(policy.lm, request, uniforms_NT[mine])
    # Scored only as far as the longest response goes.
    width = int(responses.mask_BT.sum(dim=1).max())
    tokens_BT, mask_BT = responses.tokens_BT[:, :width], responses.mask_BT[:, :width]
    rows = {"tokens": tokens_BT} | ({} if prompt_N is None else {"prompt": prompt_N[mine]})
    log_probs_BT, values_BT = responses.log_probs_BT[:, :width], torch.zeros_like(mask_BT).float()
    if scored or policy.value_head is not None or not computes_in_float32(policy.lm):
        log_probs_BT, values_BT = score(policy, rows)
    reference_BT, _ = score(as_policy(context.reference, policy), rows)
    judged = context.reward_model.judge(tokens_BT, mask_BT, request.prompts)
    scores = (log_probs_BT, reference_BT, values_BT, judged.reward_B, judged.preference_B)
    rollout = _joined((tokens_BT, mask_BT, *scores), judged.measured, context.request, group)
    where = rollout.tokens_NT.device
    asked = None if prompt_N is None else prompt_N.to(where)
    added_N = reward_noise(seed, f"align/rollout/{index}", size, noise)
    return replace(rollout, prompt_N=asked, noise_N=None if added_N is None else added_N.to(where))


def _joined(
    mine: tuple[Tensor, ...], measured: Mapping[str, Tensor], request: Request, group: WorkerGroup
) -> Rollout:
    """All workers' rows in the order of the ranks, as wide as the request allows."""
    full = [
        pad(part, (0, request.max_new_tokens - part.shape[1])) if part.ndim == 2 else part
        for part in (*mine, *measured.values())
    ]
    where = full[0].device
    # Through the CPU: workers may have devices of their own.
    everyone = group.gather([part.cpu() for part in full])
    whole = [torch.cat(parts).to(where) for parts in zip(*everyone, strict=True)]
    tokens_NT, mask_NT, *scores = whole
    # What stands behind a response is the same whatever width a worker computed.
    tokens_NT = torch.where(mask_NT, tokens_NT, request.pad_id)
    numbers = [torch.where(mask_NT, x, 0.0) if x.ndim == 2 else x for x in scores]
    drawn_NT, reference_NT, values_NT, reward_N, preference_N, *more = numbers
    also = dict(zip(measured, more, strict=True))
    scored = (drawn_NT, reference_NT, values_NT)
    return Rollout(tokens_NT, mask_NT, *scored, reward_N, preference_N, also)


def rows_of(examples: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Some rows of tensors that share their first dimension, cut to their longest response.

    What has a dimension T (its last, beside `mask`'s) is cut; padding is neither computed nor
    learned from.
    """
    mask = examples["mask"][rows]
    width = int(mask.flatten(0, -2).any(dim=0).sum())
    return {
        name: whole[rows][..., :width] if whole.shape[1:] == mask.shape[1:] else whole[rows]
        for name, whole in examples.items()
    }

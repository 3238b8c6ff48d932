"""KTO: each response is desirable or undesirable by itself, and the policy learns which.

Kahneman-Tversky Optimization (Ethayarajh et al. 2024, eq. 7) as `trl.KTOTrainer` computes it with
`loss_type="kto"` (TRL 1.16). The responses are those that offline DPO draws with the same seed and
settings: of two of the reference's, the one that the reward prefers is desirable and the other
isn't, `preference_noise` turns the labels of some round, and each of them is an example of its own,
shuffled away from the other. Of a file's preferences the chosen answer is desirable and the
rejected one isn't.

The KL term: TRL gives each prompt of a batch the response before its own, averages the log-ratios
of these mismatched pairs, and holds the mean above 0, without a gradient. Where a study has one
prompt, the mismatched pairs are the batch's own responses in another order, and their mean is that
of its own log-ratios. The responses are the reference's: its expectation is minus KL(reference ||
policy), so most terms are 0. It is a whole minibatch's, however many workers and parts share it
(TRL's is of each part that goes through the model at once).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recalltrap_studies.llm.alignment.dpo import flipped_labels, pair_order
from recalltrap_studies.llm.alignment.offline_trainer import OfflineTrainer, draw_from_reference
from recalltrap_studies.llm.alignment.policy import Policy, as_policy, summed_log_probs
from recalltrap_studies.llm.alignment.registry import Kto


def kto_loss(
    log_ratio_B: Tensor,
    desirable_B: Tensor,
    kl_term: float,
    kl_weight: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """Of each response [B]: weight · (1 - sigma(± kl_weight (log-ratio - kl_term))).

    `log_ratio_B` is log(policy / reference) of whole responses, `desirable_B` is bool and decides
    on sign and weight. A half of the weight where the policy is the reference.
    """
    gain_B = kl_weight * (log_ratio_B - kl_term)
    return torch.where(
        desirable_B,
        desirable_weight * torch.sigmoid(-gain_B),
        undesirable_weight * torch.sigmoid(gain_B),
    )


class KtoTrainer(OfflineTrainer):
    """Learns from both responses of `offline_pairs` pairs, or of a file's; every response counts
    alike."""

    settings: Kto
    kl_term: float = 0.0
    """Of the minibatch that is being learned from."""

    def fixed_examples(self) -> dict[str, Tensor]:
        given = self.given_pairs()
        if given is not None:
            examples = {name: rows.flatten(0, 1) for name, rows in given.items()}
            chosen_N = torch.arange(len(examples["tokens"])) % 2 == 0
            return {**examples, "desirable": chosen_N, "weight": torch.ones(len(chosen_N))}
        settings = self.settings
        pairs = settings.offline_pairs
        sample = draw_from_reference(
            self.context, 2 * pairs, self.seed, self.group, "align/pairs", self.together,
            self.settings.reward_noise,
        )  # fmt: skip
        flipped_P = flipped_labels(self.seed, "align/preferences", pairs, settings.preference_noise)
        desirable_N = torch.zeros(2 * pairs, dtype=torch.bool)
        desirable_N[pair_order(sample.preference_N, flipped_P)[:, 0]] = True
        weight_N = torch.ones(2 * pairs)
        return {**sample.examples(), "desirable": desirable_N, "weight": weight_N}

    def compared(self, policy: Policy, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        reference = as_policy(self.context.reference, policy)
        found = {"reference": summed_log_probs(reference, rows)}
        if "other_prompt" in rows:
            found["other_reference"] = summed_log_probs(reference, _mismatched(rows))
        return found

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """As the base's; the first part of a minibatch finds the KL term of all its parts."""
        if self._taken % self.args.gradient_accumulation_steps == 0:
            self.kl_term = self._kl_term(model)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def row_losses(self, model: Any, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        settings, desirable_B = self.settings, rows["desirable"]
        log_ratio_B = summed_log_probs(model, rows) - rows["reference"]
        loss_B = kto_loss(
            log_ratio_B,
            desirable_B,
            self.kl_term,
            settings.kl_weight,
            settings.desirable_weight,
            settings.undesirable_weight,
        )
        reward_B = settings.kl_weight * log_ratio_B.detach()
        return {
            "loss": loss_B,
            "chosen_reward": reward_B * desirable_B,
            "rejected_reward": reward_B * ~desirable_B,
            "desirable_share": desirable_B.float(),
            "kl_term": torch.full_like(reward_B, self.kl_term),
        }

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """An iteration's rewards are means over its desirable responses, and over the others."""
        if "desirable_share" in logs:
            share = logs.pop("desirable_share")
            shares = {"chosen_reward": share, "rejected_reward": 1.0 - share}
            for name, part in shares.items():
                logs[name] = logs[name] / part if part > 0 else math.nan
            logs["reward_margin"] = logs["chosen_reward"] - logs["rejected_reward"]
        super().log(logs, start_time)

    @torch.no_grad()
    def _kl_term(self, model: Any) -> float:
        parts = range(self._taken, self._taken + self.args.gradient_accumulation_steps)
        mine = 0.0
        for part in parts:
            rows = _mismatched({**self.rows(part), **self._alike[part]})
            mine += float((summed_log_probs(model, rows) - rows["reference"]).double().sum())
        return max(math.fsum(self.group.gather(mine)) / self.settings.minibatch_size, 0.0)

    def rows(self, taken: int) -> dict[str, Tensor]:
        """Where there are several prompts, with the `other_prompt` of a mismatched pair: that of
        the minibatch's next row."""
        rows = super().rows(taken)
        if "prompt" in rows:
            update, part = divmod(taken, self.args.gradient_accumulation_steps)
            after = self.share(self._minibatch(update).roll(-1), part)
            rows["other_prompt"] = self.examples["prompt"][after]
        return rows


def _mismatched(rows: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The same responses after another row's prompt; as they are where there is one prompt."""
    if "other_prompt" not in rows:
        return rows
    other = {"prompt": rows["other_prompt"]}
    if "other_reference" in rows:
        other["reference"] = rows["other_reference"]
    return {**rows, **other}

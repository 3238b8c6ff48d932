"""The ways to align, one record each, with the settings that it alone reads.

To add one: its tensor code in a new module of this folder (a function `iteration`), and here its
record, with a part where it has settings of its own, in `ALGORITHMS`. Everything else follows: the
setting `algorithm` and its schema, identities, packs, blocks, curves and costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from recalltrap_studies.mog.algorithm import Algorithm
from recalltrap_studies.mog.stage_settings import Alignment, Preferences, Rate
from recalltrap_studies.records import LateImport

REWARD_MEASURES = ("reward", "reward_square", "kl")
"""Means over a batch of the policy's samples; see `rewards.reward_measures`."""


class Ppo(Alignment):
    """PPO: KL-shaped reward, learned scalar value baseline, clipped ratio.

    At one epoch the policy is updated once on its own samples, where every ratio is 1: nothing is
    ever clipped, and PPO is the policy gradient with a baseline.
    """

    ppo_epochs: int = Field(
        1,
        ge=1,
        le=64,
        description="Updates on each round's samples (ours). At 1 every ratio is 1 and nothing is "
        "ever clipped; 4 agree with it to 0.01 in reward.",
    )
    clip_range: Rate = Field(
        0.2,
        description="Clipping of the ratio around 1 (ours). Without effect at ppo_epochs 1.",
    )
    value_learning_rate: Rate = Field(
        0.1, description="Adam's step for the value baseline, a scalar: there is no prompt (ours)."
    )

    @classmethod
    def idle(cls, settings: Ppo) -> Mapping[str, str]:
        """One update a round is made at ratio 1, inside every clipping range."""
        if settings.ppo_epochs > 1:
            return {}
        return {"clip_range": "with ppo_epochs = 1 the ratio is 1, and ppo doesn't read clip_range"}


PPO = Algorithm(
    name="ppo",
    settings=Ppo,
    version=1,
    iteration=LateImport("recalltrap_studies.mog.alignment.ppo:iteration"),
    measures=(*REWARD_MEASURES, "loss", "clip_fraction"),
    shaped_by=("ppo_epochs",),
    columns=("clip_range", "value_learning_rate", "reward_noise"),
    epochs="ppo_epochs",
    carried=3,  # the baseline and its two moments
    reference_passes=0.5,
)


class Grpo(Alignment):
    """GRPO: the batch's mean reward as baseline, a KL penalty in the loss."""

    kl_estimator: Literal["k2", "k3"] = Field(
        "k2",
        description="k2 = (log ratio)^2 / 2, whose on-policy gradient is that of the reverse KL "
        "(ours); k3 as in DeepSeekMath, whose on-policy gradient is that of the forward KL.",
    )


GRPO = Algorithm(
    name="grpo",
    settings=Grpo,
    version=1,
    iteration=LateImport("recalltrap_studies.mog.alignment.grpo:iteration"),
    measures=(*REWARD_MEASURES, "loss"),
    shaped_by=("kl_estimator",),
    columns=("reward_noise",),
    reference_passes=0.5,
)


class Dpo(Alignment, Preferences):
    """What learning from labelled pairs reads."""


class OnlineDpo(Dpo):
    """Online DPO: fresh pairs of the current policy, labelled by the reward."""


ONLINE_DPO = Algorithm(
    name="dpo_online",
    settings=OnlineDpo,
    version=1,
    iteration=LateImport("recalltrap_studies.mog.alignment.online_dpo:iteration"),
    measures=(*REWARD_MEASURES, "loss", "gradient_weight"),
    columns=("preference_noise", "reward_noise"),
    paired=True,
    reference_passes=0.5,
)


class OfflineDpo(Dpo):
    """Offline DPO: pairs sampled once from the reference, in a new order every epoch."""

    offline_pairs: int = Field(
        2048,
        ge=2,
        le=1_048_576,
        description="Pairs of the fixed set (ours). Any number: a minibatch that an epoch doesn't "
        "fill goes on in the next. A smaller set is the beginning of a larger one.",
    )


OFFLINE_DPO = Algorithm(
    name="dpo_offline",
    settings=OfflineDpo,
    version=2,  # the pairs are reshuffled every epoch (1 went through them in one fixed order)
    iteration=LateImport("recalltrap_studies.mog.alignment.offline_dpo:iteration"),
    measures=("loss", "gradient_weight"),
    monitored=REWARD_MEASURES,
    columns=("preference_noise", "reward_noise"),
    paired=True,
    shaped_by=("offline_pairs",),
    pair_set="offline_pairs",
    reference_passes=0.5,
)

ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm for algorithm in (PPO, GRPO, ONLINE_DPO, OFFLINE_DPO)
}
"""By the value of the setting `algorithm`; the first is its default."""

"""Every algorithm as one record: its settings, its trainer, and what else must be known of it.

Nothing else knows an algorithm by its name. A new one is a module with its trainer, and here its
settings and its record. Light to import: a trainer is imported when it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from recalltrap_studies.llm.stage_settings import (
    Alignment,
    Count,
    Labelled,
    Positive,
    PreferenceData,
    Rate,
    Share,
)
from recalltrap_studies.records import LateImport, find_record

if TYPE_CHECKING:
    from recalltrap_studies.llm.alignment.alignment_trainer import AlignmentTrainer

Selector = Literal["reward", "reward_margin"]
"""The curve by which the paper chooses a checkpoint; see `checkpoint_selection`."""


@dataclass(frozen=True)
class Passes:
    """Responses of a whole alignment, by what is done with them; a reward judges those drawn."""

    drawn: int
    learned: int
    """Forward and backward through the policy."""
    by_policy: int
    """Forward alone: for its values and ratio, or what is compared with."""
    by_reference: int


@dataclass(frozen=True)
class Algorithm:
    """An alignment, as far as anybody must know it. What has no default of its own is needed."""

    name: str
    settings: type[Alignment] | None = None
    """The part of the settings that it reads; `idle` says which of them decide nothing when."""
    trainer: LateImport | None = None
    """An `AlignmentTrainer`."""
    updates: Callable[[Any], int] | None = None
    """Updates of an iteration, from its settings."""
    selected_by: Selector | None = None
    """What chooses a checkpoint, where `model_selection` isn't `last`."""
    paired: bool = False
    """Whether an example is a pair of responses, or one response."""
    one_prompt: Callable[[Any], int] | None = None
    """How many responses after each other are compared, and so are to one prompt, from its
    settings; without it each stands for itself, or a pair together."""
    value_head: bool = False
    forward_passes: int = 0
    """Passes of a minibatch through the policy before the one that it is learned by."""
    fixed_set: Callable[[Any], int] | None = None
    """Responses drawn once from the reference, and learned from in every iteration; without it an
    iteration learns from a rollout of its own."""
    version: int = 1
    """Bumped when its numbers change their meaning."""

    @property
    def part(self) -> type[Alignment]:
        """The settings of a record that has them."""
        assert self.settings is not None
        return self.settings

    def read(self, config: Mapping[str, Any]) -> Alignment:
        """Its settings in an alignment's configuration, which says what the reward is besides."""
        fields = self.part.model_fields
        return self.part.model_validate({n: v for n, v in config.items() if n in fields})

    @property
    def responses(self) -> int:
        """Responses of an example."""
        return 2 if self.paired else 1

    def lacks(self) -> list[str]:
        """What isn't said of it, in words."""
        needed = {
            "settings": self.settings,
            "trainer": self.trainer,
            "updates (for its cost)": self.updates,
            "selected_by": self.selected_by,
        }
        missing = [f"no {name}" for name, value in needed.items() if value is None]
        absent = self.trainer.lacks() if self.trainer else None
        return [*missing, *([absent] if absent else [])]

    def trainer_class(self) -> type[AlignmentTrainer]:
        """What trains; imports it."""
        assert self.trainer is not None
        found: type[AlignmentTrainer] = self.trainer.load()
        return found

    def updates_of(self, settings: Alignment) -> int:
        """Updates of an iteration."""
        assert self.updates is not None
        return self.updates(settings)

    def together(self, settings: Alignment) -> int:
        """How many responses after each other are to one prompt."""
        return self.responses if self.one_prompt is None else self.one_prompt(settings)

    def passes(self, settings: Alignment) -> Passes:
        """What the whole alignment takes."""
        updates = settings.iterations * self.updates_of(settings)
        learned = updates * settings.minibatch_size * self.responses
        drawn = settings.iterations * settings.rollout_size
        compared = learned * self.forward_passes
        if self.fixed_set is None:  # scored as it is learned from, for the ratio to its past
            return Passes(drawn, learned, compared + drawn, by_reference=drawn)
        # The policy is measured at every candidate; the reference scores each minibatch.
        measured = math.ceil(settings.iterations / settings.selection_interval)
        drawn = self.fixed_set(settings) + measured * settings.rollout_size
        return Passes(drawn, learned, compared, by_reference=learned)

    def check(self, settings: Any) -> None:
        """Refuse rollouts that minibatches or groups don't divide.

        Raises:
            ValueError: says what must divide what.
        """
        size, minibatch = settings.rollout_size, settings.minibatch_size
        if size % self.responses:
            raise ValueError(f"rollout_size {size} must be even: responses are paired")
        examples = size // self.responses
        if examples % minibatch:
            raise ValueError(
                f"minibatch_size {minibatch} must divide the {examples} "
                f"{'pairs' if self.paired else 'responses'} of a rollout (rollout_size {size})"
            )
        self.part.check(settings)


class Ppo(Alignment):
    """PPO: per-token KL shaping, GAE, clipped ratio and value."""

    ppo_epochs: int = Field(1, ge=1, le=64, description="Passes over a rollout. Paper: 1.")
    clip_range: Rate = Field(0.2, description="Clipping of the ratio around 1 (ours).")
    value_clip_range: Positive = Field(
        1.0, description="Clipping of the value's step, in the reward's unit (ours)."
    )
    value_weight: Positive = Field(0.1, description="Weight of the value loss (ours).")
    gae_lambda: Share = Field(
        1.0, description="lambda of GAE (ours); below 1 a young value head misleads."
    )
    discount: Share = Field(1.0, description="gamma of GAE (ours).")
    whiten: bool = Field(True, description="Whiten the advantages of a rollout (ours).")

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        idle = dict(super().idle(settings))
        if settings.ppo_epochs == 1:
            idle.update(_never_clipped(settings, ("clip_range", "value_clip_range")))
        return idle


class GroupRelative(Alignment):
    """GRPO and RLOO: groups of responses to one prompt, the KL in their rewards."""

    clip_range: Rate = Field(0.2, description="Clipping of the ratio around 1 (ours).")
    group_size: int = Field(8, ge=2, le=1024, description="Responses per group (ours).")

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        return {**super().idle(settings), **_never_clipped(settings, ("clip_range",))}

    @classmethod
    def check(cls, settings: Any) -> None:
        size, group = settings.rollout_size, settings.group_size
        if size % group:
            raise ValueError(f"group_size {group} must divide rollout_size {size}")


def _never_clipped(settings: Any, names: Sequence[str]) -> dict[str, str]:
    """A rollout's first update is made at ratio 1, inside every clipping range."""
    if settings.minibatch_size < settings.rollout_size:
        return {}
    why = f"with one update per rollout nothing is clipped, and {settings.algorithm} doesn't read"
    return {name: f"{why} {name}" for name in names}


class OnlineDpo(Labelled, Alignment):
    """On-policy DPO: each rollout is paired, labelled and learned from."""

    dpo_updates: Count = Field(16, description="Updates per rollout. Paper: 16.")


class OfflineDpo(PreferenceData, Alignment):
    """Offline DPO: one pair set, sampled once from the reference, or a file's."""

    offline_pairs: Count = Field(2_048, description="Pairs of the fixed set (ours).")

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        """The policy is measured at every candidate, for the curves."""
        reasons = dict(super().idle(settings))
        reasons.pop("selection_interval", None)
        return reasons


class Kto(OfflineDpo):
    """KTO: offline DPO's pairs, each response an example of its own."""

    desirable_weight: Positive = Field(
        1.0, description="Weight of desirable responses' losses. TRL: 1."
    )
    undesirable_weight: Positive = Field(
        1.0, description="Weight of undesirable responses' losses. TRL: 1."
    )

    @classmethod
    def check(cls, settings: Any) -> None:
        if settings.minibatch_size == 1:
            raise ValueError(
                "minibatch_size 1 is too small for KTO: the KL term would be the response's own"
            )


def _once(settings: Any) -> int:
    """Updates that learn from every response of a rollout once."""
    return int(settings.rollout_size // settings.minibatch_size)


def _drawn_once(settings: Any) -> int:
    """Responses of the reference that are learned from; none where a file has them."""
    return 0 if settings.preferences is not None else 2 * int(settings.offline_pairs)


_RECORDS = (
    Algorithm(
        "ppo",
        settings=Ppo,
        trainer=LateImport("recalltrap_studies.llm.alignment.ppo:PpoTrainer"),
        updates=lambda settings: settings.ppo_epochs * _once(settings),
        selected_by="reward",
        value_head=True,
    ),
    Algorithm(
        "grpo",
        settings=GroupRelative,
        trainer=LateImport("recalltrap_studies.llm.alignment.group_relative:GrpoTrainer"),
        updates=_once,
        selected_by="reward",
        one_prompt=lambda settings: int(settings.group_size),
        version=2,  # the KL in the reward
    ),
    Algorithm(
        "rloo",
        settings=GroupRelative,
        trainer=LateImport("recalltrap_studies.llm.alignment.group_relative:RlooTrainer"),
        updates=_once,
        selected_by="reward",
        one_prompt=lambda settings: int(settings.group_size),
        version=2,  # as GRPO's
    ),
    Algorithm(
        "dpo_online",
        settings=OnlineDpo,
        trainer=LateImport("recalltrap_studies.llm.alignment.dpo:OnlineDpoTrainer"),
        updates=lambda settings: settings.dpo_updates,
        selected_by="reward_margin",
        paired=True,
    ),
    Algorithm(
        "dpo_offline",
        settings=OfflineDpo,
        trainer=LateImport("recalltrap_studies.llm.alignment.dpo:OfflineDpoTrainer"),
        updates=lambda settings: settings.rollout_size // 2 // settings.minibatch_size,
        selected_by="reward_margin",
        paired=True,
        fixed_set=_drawn_once,
    ),
    Algorithm(
        "kto",
        settings=Kto,
        trainer=LateImport("recalltrap_studies.llm.alignment.kto:KtoTrainer"),
        updates=_once,
        selected_by="reward_margin",
        one_prompt=lambda settings: 2,  # the two of which one is desirable
        forward_passes=1,  # for the KL term
        fixed_set=_drawn_once,
    ),
)
ALGORITHMS: dict[str, Algorithm] = {record.name: record for record in _RECORDS}
"""By name, in the order in which messages and the schema name them."""


def find_algorithm(name: str) -> Algorithm:
    """The record of that name.

    Raises:
        InputError: there is none, or not all of it; says what is missing.
    """
    return find_record(ALGORITHMS, name, "algorithm", "alignment.registry.ALGORITHMS")

"""The settings of the language-model study: one flat model, composed of what each stage reads.

`LlmSettings` is what a study file sets and a grid sweeps. It has the fields of every stage
(`stage_settings`), of every algorithm (`alignment.registry`), and those that several stages share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model, field_validator, model_validator

from recalltrap.errors import InputError
from recalltrap.settings_parts import Part, added_setting
from recalltrap_studies.last_start import LastStart
from recalltrap_studies.llm.alignment.registry import ALGORITHMS, Algorithm, find_algorithm
from recalltrap_studies.llm.distillation.registry import (
    DISTILLATIONS,
    FIRST,
    Distillation,
    find_distillation,
    of_any_teacher,
)
from recalltrap_studies.llm.rewards.values import check_rewards
from recalltrap_studies.llm.roles import check_given
from recalltrap_studies.llm.stage_settings import (
    Alignment,
    Classifying,
    Distill,
    Engine,
    Evaluate,
    Given,
    Judging,
    Positive,
    PreferenceData,
    Pretrain,
    Reward,
    Sample,
    Sft,
    Target,
)
from recalltrap_studies.rate_factors import RateFactors
from recalltrap_studies.records import record_parts

if TYPE_CHECKING:
    AlgorithmName = str
    DistillationName = str

    class StageFields(
        Pretrain,
        Sample,
        Sft,
        Given,
        Distill,
        Target,
        PreferenceData,
        Judging,
        Classifying,
        Reward,
        Alignment,
        Evaluate,
    ):
        """As far as it can be known without the registries."""

else:
    AlgorithmName = Literal[tuple(ALGORITHMS)]
    DistillationName = Literal[of_any_teacher()]
    StageFields = create_model(
        "StageFields",
        __base__=(
            *(Pretrain, Sample, Sft, Given, *record_parts(DISTILLATIONS), Target),
            *(Judging, Classifying, Reward, *record_parts(ALGORITHMS), Evaluate),
        ),
    )


class LlmSettings(RateFactors, LastStart, StageFields):
    """Every setting of the language-model study. All have defaults; grid axes are these fields."""

    algorithm: AlgorithmName = Field("ppo", description="How to align.")
    distillation: DistillationName = added_setting(
        FIRST,
        description="How students learn: from the tokens of their teacher's samples (`sequence`; "
        "the paper's), from its whole distribution of every next token of them (`logits`), or at "
        "last of their own (`on_policy`). Those of an aligned teacher alone are an ordering's "
        "steps.",
    )
    distill_temperature: Positive = Field(
        0.95, description="tau: temperature of a teacher's samples. Paper: 0.95."
    )
    last_distill_temperature: Positive | None = added_setting(
        None,
        description="tau of distillations after an alignment, such as A-K's last; null: "
        "distill_temperature. Paper: 0.95; figure 15: 0.925 (PPO), 0.975 (DPO).",
    )
    target_temperature: Positive = Field(
        0.8, description="Temperature of the samples of p' that p_target learns. Paper: 0.8."
    )
    engine: Engine = Field("transformers", description="What samples: transformers, or vLLM.")

    @field_validator("distillation", mode="before")
    @classmethod
    def _distils_any_teacher(cls, value: Any) -> Any:
        if isinstance(value, str) and value in DISTILLATIONS and DISTILLATIONS[value].after_align:
            raise ValueError(
                f"{value!r} learns what an alignment has changed, and K-A's teacher isn't aligned: "
                f"make it a step of an ordering, {{name: A-{value}, stages: [align, {{distill: "
                f"{value}}}]}}"
            )
        return value

    @model_validator(mode="after")
    def _defaults_of_given_models(self) -> LlmSettings:
        """Where p' is given it judges precision itself; a given p'' says what students are like."""
        implied: dict[str, str | None] = {}
        if self.p_prime_weights == "given":
            implied["p_star"] = None
        if self.p_second is not None:
            implied["student"] = self.p_second
        for name in implied.keys() - self.model_fields_set:
            object.__setattr__(self, name, implied[name])  # still being made
        return self

    @model_validator(mode="after")
    def _given_models_go_together(self) -> LlmSettings:
        check_given(self)
        return self

    @model_validator(mode="after")
    def _scorers_say_more(self) -> LlmSettings:
        check_rewards(self)
        return self

    @model_validator(mode="after")
    def _judged_as_aligned(self) -> LlmSettings:
        """A model's samples are judged as far as an alignment's responses go."""
        if self.align_tokens > self.sample_tokens:
            raise ValueError(
                f"align_tokens {self.align_tokens} must not be more than sample_tokens "
                f"{self.sample_tokens}: models are sampled and judged to sample_tokens. Lower "
                "align_tokens, or raise sample_tokens"
            )
        return self

    @model_validator(mode="after")
    def _rates_are_rates(self) -> LlmSettings:
        self.check_rates("align_learning_rate", self.align_learning_rate)
        return self

    @model_validator(mode="after")
    def _rollouts_divide(self) -> LlmSettings:
        algorithm_of(self).check(self)
        return self


def algorithm_of(settings: LlmSettings) -> Algorithm:
    """The record of the algorithm that these settings align with.

    Raises:
        InputError: it isn't wholly registered; says what is missing.
    """
    record = find_algorithm(settings.algorithm)
    _composed(settings, record.name, record.part)
    return record


def distillation_of(settings: LlmSettings, name: str | None = None) -> Distillation:
    """The record of the distillation of that name, by default the one that the settings name.

    Raises:
        InputError: it isn't wholly registered; says what is missing.
    """
    record = find_distillation(name or settings.distillation)
    _composed(settings, record.name, record.part)
    return record


def _composed(settings: LlmSettings, name: str, part: type[Part]) -> None:
    if not isinstance(settings, part):
        raise InputError(
            f"{name!r} is not wholly registered: its settings {part.__name__} are not among the "
            "study's; LlmSettings is composed when it's imported: register before that"
        )

"""The settings of the mixture study: one flat model, composed of what each stage reads.

`MogSettings` is what a study file sets and a grid sweeps. `Sft`, `Distill`, the four alignments and
`Evaluate` are the parts that the stages get; a stage's artifact depends on its own part and on
nothing else. "Paper" below is arXiv 2509.23667; everything marked "ours" it leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from recalltrap.settings_parts import Part

Algorithm = Literal["ppo", "grpo", "dpo_online", "dpo_offline"]
Covariance = Literal["diagonal", "full"]
KlEstimator = Literal["k2", "k3"]

Positive = Annotated[float, Field(ge=1e-9, le=1e6, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=1e-9, le=1, allow_inf_nan=False)]
"""The lower bounds keep quotients and squares of settings inside what a float32 holds."""
Decay = Annotated[float, Field(ge=0, le=0.999999)]
Epsilon = Annotated[float, Field(ge=1e-16, le=1e6, allow_inf_nan=False)]
Iterations = Annotated[int, Field(ge=1, le=1_000_000)]
Components = Annotated[int, Field(ge=1, le=64)]


class Ring(Part):
    """Where the modes of the ground truth p* stand."""

    spacing: Positive = Field(
        1.0,
        description="Distance between neighbouring modes of the 3x3 grid. Ours: 1.0, which fits "
        "the numbers of the paper's figure 1; its text says 1.5.",
    )
    modes: int = Field(
        8,
        ge=1,
        le=64,
        description="Modes, evenly spaced on the perimeter of a square. Paper: 8, the 3x3 grid "
        "without its centre.",
    )


class Spread(Part):
    """How wide each mode of p* is."""

    variance: Positive = Field(
        0.05, description="Variance of every mode on each axis. Paper: 0.05."
    )


class Reward(Part):
    """The oracle reward of eq. 8."""

    targets: tuple[int, ...] = Field(
        (7,),
        min_length=1,
        description="Target modes, counted row by row from the top left. Paper: 7, bottom right. "
        "With several the reward is their maximum and p_target their uniform mixture (ours).",
    )
    reward_height: Positive = Field(10.0, description="Supremum of the reward. Paper: 10.")
    reward_sharpness: Positive = Field(2.0, description="alpha of eq. 8. Paper: 2.")


class Optimiser(Part):
    """How every stage follows its gradients. Each stage starts with a fresh optimiser (ours)."""

    covariance: Covariance = Field(
        "diagonal", description="Components' covariances: axis-parallel or full. Ours: diagonal."
    )
    batch_size: int = Field(
        256, ge=2, le=65536, description="Samples an iteration (pairs for DPO). Paper: 256."
    )
    learning_rate: Rate = Field(0.01, description="Adam's step for mixtures. Paper: 0.01.")
    adam_beta1: Decay = Field(0.9, description="Decay of Adam's first moment (ours).")
    adam_beta2: Decay = Field(0.999, description="Decay of Adam's second moment (ours).")
    adam_epsilon: Epsilon = Field(1e-8, description="Adam's epsilon (ours).")


class Initialisation(Part):
    """Where a maximum-likelihood fit starts: equal weights, random means, round components."""

    init_spread: float = Field(
        1.0,
        ge=0,
        le=100,
        description="Standard deviation of the initial means around the origin (ours).",
    )
    init_scale: Positive = Field(
        1.0, description="Initial standard deviation of each component (ours)."
    )


class Sft(Ring, Spread, Optimiser, Initialisation):
    """Fitting the high-recall model p' to fresh samples of p*."""

    p_prime_components: Components = Field(6, description="Components of p'. Paper: 6.")
    sft_iterations: Iterations = Field(2000, description="Updates of the fit. Paper: 2000.")


class Distill(Optimiser, Initialisation):
    """Fitting a student to fresh samples of its sharpened teacher."""

    student_components: Components = Field(
        4, description="Components of p'' and of every final model. Paper: 4 and 3."
    )
    teacher_sharpness: Positive = Field(
        10.0,
        description="beta_KD of eq. 7, the exponent of the teacher's weights. Paper: 10 in "
        "figure 1, 1.25 in appendix A.1.",
    )
    distill_iterations: Iterations = Field(2000, description="Updates of the fit. Paper: 2000.")


class Alignment(Ring, Reward, Optimiser):
    """What all four alignments read."""

    algorithm: Algorithm = Field("ppo", description="How to align.")
    kl_weight: Positive = Field(1.0, description="beta of eqs. 1 and 2: the weight of the anchor.")
    iterations: Iterations = Field(
        2200, description="Sampling rounds. Paper: 2200 for PPO, 900 for DPO (figures 10, 11)."
    )


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
    def idle(cls, settings: MogSettings) -> Mapping[str, str]:
        """One update a round is made at ratio 1, inside every clipping range."""
        if settings.ppo_epochs > 1:
            return {}
        return {"clip_range": "with ppo_epochs = 1 the ratio is 1, and ppo doesn't read clip_range"}


class Grpo(Alignment):
    """GRPO: the batch's mean reward as baseline, a KL penalty in the loss."""

    kl_estimator: KlEstimator = Field(
        "k2",
        description="k2 = (log ratio)^2 / 2, whose on-policy gradient is that of the reverse KL "
        "(ours); k3 as in DeepSeekMath, whose on-policy gradient is that of the forward KL.",
    )


class Dpo(Alignment):
    """Online DPO: fresh pairs of the current policy, labelled by the oracle."""

    preference_noise: float = Field(
        0.0, ge=0, le=0.5, description="Probability that a pair's label is flipped. Paper: 0."
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


class Evaluate(Ring, Spread, Reward):
    """What the metrics of a cell read."""


class MogSettings(Sft, Distill, Ppo, Grpo, OfflineDpo, Evaluate):
    """Every setting of the mixture study. All have defaults; grid axes are these fields."""

    @model_validator(mode="after")
    def _targets_are_modes(self) -> MogSettings:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError(f"targets {list(self.targets)} names a mode twice")
        outside = [t for t in self.targets if not 0 <= t < self.modes]
        if outside:
            raise ValueError(
                f"targets {outside} are not modes: the ground truth has {self.modes}, "
                f"numbered 0 to {self.modes - 1}"
            )
        return self


ALIGNMENTS: dict[str, type[Alignment]] = {
    "ppo": Ppo,
    "grpo": Grpo,
    "dpo_online": Dpo,
    "dpo_offline": OfflineDpo,
}

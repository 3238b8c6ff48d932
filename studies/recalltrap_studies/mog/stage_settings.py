"""What each stage of the mixture study reads, as parts of its settings.

A stage's artifact depends on its own part and on nothing else. The parts of single algorithms stand
with their records in `alignment/registry.py`, and `settings.py` composes all of them. "Paper" below
is arXiv 2509.23667; everything marked "ours" it leaves open.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recalltrap.settings_parts import Part, added_setting

Covariance = Literal["diagonal", "full"]

Positive = Annotated[float, Field(ge=1e-9, le=1e6, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
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
    """The reward of eq. 8."""

    targets: tuple[int, ...] = Field(
        (7,),
        min_length=1,
        description="Target modes, counted row by row from the top left. Paper: 7, bottom right. "
        "With several the reward is their maximum and p_target their uniform mixture (ours).",
    )
    reward_height: Positive = Field(10.0, description="Supremum of the reward. Paper: 10.")
    reward_sharpness: Positive = Field(2.0, description="alpha of eq. 8. Paper: 2.")


class NoisyReward(Reward):
    """The reward as a model learns of it."""

    reward_noise: Weight = added_setting(
        0.0,
        description="Standard deviation of the noise of each reward that a model learns from, by "
        "itself or by the label of a pair; what is reported has none. Paper: 0.",
    )


class Preferences(Part):
    """Who labels pairs: one labeller for all that learn from them."""

    preference_noise: float = Field(
        0.0, ge=0, le=0.5, description="Probability that a pair's label is flipped. Paper: 0."
    )


class Optimiser(Part):
    """How every stage follows its gradients. Each stage starts with a fresh optimiser (ours)."""

    covariance: Covariance = Field(
        "diagonal", description="Components' covariances: axis-parallel or full. Ours: diagonal."
    )
    learning_rate: Rate = Field(0.01, description="Adam's step for mixtures. Paper: 0.01.")
    adam_beta1: Decay = Field(0.9, description="Decay of Adam's first moment (ours).")
    adam_beta2: Decay = Field(0.999, description="Decay of Adam's second moment (ours).")
    adam_epsilon: Epsilon = Field(1e-8, description="Adam's epsilon (ours).")


class Sampling(Optimiser):
    """What every stage reads that learns from samples."""

    batch_size: int = Field(
        256, ge=2, le=65536, description="Samples an iteration (pairs for DPO). Paper: 256."
    )


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


class Sft(Ring, Spread, Sampling, Initialisation):
    """Fitting the high-recall model p' to fresh samples of p*."""

    p_prime_components: Components = Field(6, description="Components of p'. Paper: 6.")
    sft_iterations: Iterations = Field(2000, description="Updates of the fit. Paper: 2000.")


class Length(Optimiser):
    """How long every distillation takes."""

    distill_iterations: Iterations = Field(2000, description="Updates of the fit. Paper: 2000.")


class Student(Length, Initialisation):
    """A student that starts from random components."""

    student_components: Components = Field(
        4, description="Components of p'' and of every final model. Paper: 4 and 3."
    )


class Sharpening(Part):
    """How sharp the teacher is that a student learns to be."""

    teacher_sharpness: Positive = Field(
        10.0,
        description="beta_KD of eq. 7, the exponent of the teacher's weights. Paper: 10 in "
        "figure 1, 1.25 in appendix A.1.",
    )


class Distill(Sampling, Student, Sharpening):
    """Fitting a student to fresh samples of its sharpened teacher."""


class Alignment(Ring, NoisyReward, Sampling):
    """What every alignment reads."""

    algorithm: str = Field(description="How to align.")
    kl_weight: Positive = Field(1.0, description="beta of eqs. 1 and 2: the weight of the anchor.")
    iterations: Iterations = Field(
        2200, description="Sampling rounds. Paper: 2200 for PPO, 900 for DPO (figures 10, 11)."
    )


class Evaluate(Ring, Spread, Reward):
    """What the metrics of a cell read."""

"""What the analysis knows of the language study: its settings by meaning, its own sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recalltrap.registry import registered
from recalltrap_analysis.estimates.decomposition import LABELS_NOTE
from recalltrap_analysis.language.answers import answers_blocks
from recalltrap_analysis.language.effective_samples import EFFECTIVE_SAMPLES
from recalltrap_analysis.language.reference_rewards import REWARD_SAMPLES
from recalltrap_analysis.language.section import language_blocks
from recalltrap_analysis.language.topics import topic_forecast
from recalltrap_analysis.report.document.kind_analysis import KindAnalysis, KindSection, SectionPart
from recalltrap_analysis.runs.wide_tables import MODELS

REFERENCES = ("p_prime", "p_second")
ORACLE, REWARDS = "oracle", "recalltrap.rewards"
LEARNS_FROM_LABELS = ("dpo_online", "dpo_offline", "kto")


def optimum_note(settings: Mapping[str, Any]) -> str:
    """What labels make of the optimum, or nothing."""
    return LABELS_NOTE if settings["algorithm"] in LEARNS_FROM_LABELS else ""


def has_supremum(settings: Mapping[str, Any]) -> bool:
    """Whether the reward is the oracle, squashed, or a function that declares its supremum."""
    name = settings.get("reward", ORACLE)
    if name == ORACLE or settings.get("reward_sigmoid"):
        return True
    points = registered(REWARDS)
    if name not in points:
        return False
    try:
        return getattr(points[name].load(), "supremum", None) is not None
    except ImportError:  # a study that needs it is refused elsewhere, with the way out
        return False


def given_p_prime(settings: Mapping[str, Any]) -> bool:
    """Whether all seeds start from one given p'."""
    return settings.get("p_prime_weights") == "given"


def scope_notes(settings: Mapping[str, Any]) -> list[str]:
    """What a p' that was given means for the conclusions."""
    notes = []
    if given_p_prime(settings):
        notes.append(
            "p' was given, so every seed starts from the same one: intervals, verdicts and advice "
            "are for this p'"
        )
    if settings.get("p_star") is None:
        recall = "" if settings.get("truth") else ", overall recall in that of its samples"
        notes.append(
            f"p_star is null, so p' itself judges: overall precision is in its likelihood{recall}"
        )
    if settings.get("truth"):
        notes.append(
            "overall recall is each model's mean log-likelihood per token of the rows of "
            f"truth = {settings['truth']!r}"
        )
    return notes


ANALYSIS = KindAnalysis(
    sections=(
        KindSection(
            "language",
            "Responses, and how well the students learned",
            after="models",
            make=language_blocks,
        ),
        KindSection(
            "answers",
            "Answers side by side",
            after="models",
            make=answers_blocks,
        ),
    ),
    parts=(SectionPart("forecast", lambda run, summary: topic_forecast(summary)),),
    has_supremum=has_supremum,
    given_p_prime=given_p_prime,
    kl_weight="kl_weight",
    algorithm="algorithm",
    rate_factors=("p_prime_rate_factor", "student_rate_factor"),
    swept=("kl_weight", "iterations"),
    named=("algorithm",),
    metrics_read={
        "reward_supremum": REFERENCES,
        "length": MODELS,
        "eos_rate": MODELS,
        "grammatical": MODELS,
        "topic_coverage": MODELS,
        "heldout_loss": REFERENCES,
        "teacher_entropy": REFERENCES,
    },
    optimum_check=EFFECTIVE_SAMPLES,
    reward_samples=REWARD_SAMPLES,
    optimum_note=optimum_note,
    scope_notes=scope_notes,
    glossary=(
        (
            "`kl_weight`",
            "The weight of the KL penalty that holds an alignment near its reference.",
        ),
        (
            "Effective samples",
            "Where the best alignment is computed by weighing samples of the reference: how many "
            "equally weighted ones would say as much. With few, it is unreliable.",
        ),
        (
            "Held-out loss above entropy",
            "A student's loss on its teacher's unseen samples, minus the teacher's entropy: the KL "
            "divergence from teacher to student, in nats per token.",
        ),
    ),
)

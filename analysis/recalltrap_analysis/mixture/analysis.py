"""What the analysis knows of the mixture study: its settings by meaning, its own figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from recalltrap.graph import Node
from recalltrap_analysis.estimates.decomposition import LABELS_NOTE
from recalltrap_analysis.mixture.contours import contour_plot
from recalltrap_analysis.mixture.reference_rewards import REWARD_SAMPLES
from recalltrap_analysis.mixture.reward_distribution import reward_distribution_plot
from recalltrap_analysis.report.document.kind_analysis import KindAnalysis, SectionPart

# Of one point of the plane, not of a token. A third of a nat is lost by distilling alone, more than
# half a nat by every compact model that was aligned: a smaller budget leaves nothing to compare.
RECALL_BUDGET = 2.0
LEARNS_FROM_LABELS = ("dpo_online", "dpo_offline")


def optimum_note(settings: Mapping[str, Any]) -> str:
    """What labels make of the optimum, or nothing."""
    return LABELS_NOTE if settings["algorithm"] in LEARNS_FROM_LABELS else ""


def curves_note(curves: pd.DataFrame) -> str:
    """Whether PPO ever clipped, of the curves that a figure shows."""
    clipped = curves.loc[curves["metric"] == "clip_fraction", "value"]
    if clipped.empty or clipped.any():
        return ""
    return (
        "Nothing was ever clipped: each rollout is used for one update, where every ratio is 1, so "
        "this PPO is the policy gradient with a baseline."
    )


def updates(node: Node) -> int | None:
    """A fit's updates, which versions without `updates` in `costs` have as iterations alone."""
    found = node.config.get(f"{node.stage}_iterations")
    return found if isinstance(found, int) else None


ANALYSIS = KindAnalysis(
    parts=(
        SectionPart("models", lambda run, summary: [contour_plot(run, summary)], brief=False),
        SectionPart(
            "references",
            lambda run, summary: [reward_distribution_plot(run, summary)],
            brief=False,
        ),
    ),
    reward_supremum="reward_height",
    kl_weight="kl_weight",
    algorithm="algorithm",
    rate_factors=("p_prime_rate_factor", "student_rate_factor"),
    recall_budget=RECALL_BUDGET,
    swept=("kl_weight", "iterations", "student_components"),
    named=("algorithm", "teacher_sharpness", "spacing", "targets"),
    reward_samples=REWARD_SAMPLES,
    optimum_note=optimum_note,
    curves_note=curves_note,
    updates=updates,
    glossary=(
        (
            "`kl_weight`",
            "The weight of the KL penalty that holds an alignment near its reference.",
        ),
    ),
)

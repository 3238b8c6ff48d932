"""What the analysis knows of the mixture study: its settings by meaning, its own figures."""

from __future__ import annotations

from recalltrap_analysis.kind_analysis import KindAnalysis

ANALYSIS = KindAnalysis(
    reward_supremum="reward_height",
    kl_weight="kl_weight",
    algorithm="algorithm",
    swept=("kl_weight", "iterations", "student_components"),
    named=("algorithm", "teacher_sharpness", "spacing", "targets"),
)

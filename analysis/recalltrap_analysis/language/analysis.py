"""What the analysis knows of the language study: its settings by meaning, its own sections."""

from __future__ import annotations

from recalltrap_analysis.kind_analysis import KindAnalysis

ANALYSIS = KindAnalysis(
    kl_weight="kl_weight",
    algorithm="algorithm",
    swept=("kl_weight", "iterations"),
    named=("algorithm",),
)

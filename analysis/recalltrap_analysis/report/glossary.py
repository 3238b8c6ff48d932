"""The words of a report, for somebody who has never seen the project."""

from __future__ import annotations

from collections.abc import Sequence

from recalltrap_analysis.report.sections.kind_analysis import KindAnalysis

SHARED: tuple[tuple[str, str], ...] = (
    (
        "The question",
        "A compact, aligned model can be made in two orders: distil first and align afterwards "
        "(**K-A**), or align first and distil afterwards (**A-K**). Distilling drops rare "
        "behaviour. If the wanted behaviour is rare, K-A aligns a model that has lost it and is "
        "held near that loss: the **low-recall trap** (arXiv 2509.23667).",
    ),
    (
        "p*, p', p''",
        "The ground truth; the high-recall model fitted to it; the compact model distilled from "
        "p'. **p'_AK** is p' after alignment, before A-K distils it.",
    ),
    (
        "Reference",
        "The model that alignment is held near by its KL penalty: p'' in K-A, p' in A-K.",
    ),
    (
        "Attainment",
        "a = (R − R₀) / (R_max − R₀): the share of the reachable reward that a model attains. R₀ "
        "is the reward of p'' before alignment, R_max the highest reward there is.",
    ),
    (
        "Severity",
        "Attainment of A-K minus that of K-A, seed by seed. 0: no trap. 1: K-A never moved while "
        "A-K got everything.",
    ),
    (
        "Trap rate",
        "Share of seeds in which K-A attains less than half while its paired A-K attains at least "
        "half.",
    ),
    (
        "Instability",
        "Standard deviation over seeds of K-A's reward, divided by that of A-K's.",
    ),
    (
        "Recall, target precision",
        "How likely the model finds samples of p* (overall recall), and how likely the target "
        "finds samples of the model (target precision), in nats. Differences are A-K minus K-A.",
    ),
    (
        "Controls",
        "`A` aligns without distilling, `K` distils without aligning, `K-A@p'` is K-A held near "
        "p' instead of p'', `K-A-K` is K-A distilled once more, as A-K is at its end.",
    ),
)


def glossary(kinds: Sequence[KindAnalysis]) -> list[tuple[str, str]]:
    """The words of all kinds, and those of the kinds in the report."""
    own = [entry for kind in kinds for entry in kind.glossary]
    return list(dict.fromkeys([*SHARED, *own]))

"""The words of a report, for somebody who has never seen the project."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from recalltrap_analysis.estimates.attainment import ATTAINMENT
from recalltrap_analysis.report.document.blocks import Chapter, Grid
from recalltrap_analysis.report.document.kind_analysis import KindAnalysis

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
        "sd of the reward under p'",
        "The unit of differences where the reward has no supremum, and so no attainment: the "
        "standard deviation of the reward over samples of the p' of the same seed, in tables "
        "`sd`. A model's level is its reward minus that of p'; the margin is one of this unit. "
        "There is no half to attain and no trap rate: the share of seeds beyond the margin stands "
        "instead.",
    ),
    (
        "Order effect",
        "Attainment of A-K minus that of K-A, seed by seed. Above 0 aligning first is better, "
        "below 0 distilling first. It is not the trap alone: A-K also ends with a distillation "
        "that sharpens.",
    ),
    (
        "Severity",
        "What the anchor costs, and nothing else: attainment of `K-A@p'` minus that of K-A, seed "
        "by seed. Where `K-A@p'` didn't run, it is estimated as the difference of what the best "
        "possible alignment could reach from p' and from p'', and says so.",
    ),
    (
        "Handover",
        "How a student learns from a p' that was aligned: from its samples in A-K, from its "
        "distributions or its preferences in others. What differs is how much of the alignment "
        "is left.",
    ),
    (
        "Best of n",
        "The best of n samples of a reference: what needs no alignment at all. Its reward minus "
        "its KL penalty bounds from below what the best alignment is worth.",
    ),
    (
        "Trap rate",
        "Share of seeds in which K-A attains less than half while its paired `K-A@p'` attains at "
        "least half; against A-K where `K-A@p'` didn't run.",
    ),
    (
        "Instability",
        "Standard deviation over seeds of K-A's reward, divided by that of A-K's.",
    ),
    (
        "Margin",
        "The largest difference that doesn't matter. **Larger than the margin** and **smaller** "
        "(worse by more than it) are decided by a bound on that side of it, **within ±margin** by "
        "both bounds, **not larger** by the upper one alone. **Undecided** says that the seeds "
        "don't tell, and **not seen in n seeds** that they are too few to call a difference small.",
    ),
    (
        "Primary comparison",
        "The one comparison that the study was run to decide, in every stratum (one value of each "
        "setting but the KL weight). The headline rests on it alone; grid points are detail.",
    ),
    (
        "Recall, target precision",
        "How likely the model finds samples of p* (overall recall), and how likely the target "
        "finds samples of the model (target precision), in nats. Differences are A-K minus K-A.",
    ),
    (
        "Scorer",
        "A judge of the models that no alignment optimised. Where a model gains reward and loses "
        "by a scorer, it may have learned to please the reward alone (**reward hacking**).",
    ),
    (
        "Controls",
        "`A` aligns without distilling, `K` distils without aligning, `K-A@p'` is K-A held near "
        "p' instead of p'', `K-A-K` is K-A distilled once more, as A-K is at its end.",
    ),
)


WITHOUT_SUPREMUM: Mapping[str, str] = {
    "Order effect": "Reward of A-K minus that of K-A, seed by seed, in sd of the reward under p'. "
    "Above 0 aligning first is better, below 0 distilling first. It is not the trap alone: A-K "
    "also ends with a distillation that sharpens.",
    "Severity": "What the anchor costs, and nothing else: reward of `K-A@p'` minus that of K-A, "
    "seed by seed, in sd of the reward under p'. Where `K-A@p'` didn't run, it is estimated as the "
    "difference of what the best possible alignment could reach from p' and from p'', and says so.",
    "Trap rate": "Only of a reward with a supremum, half of which a seed attains or doesn't. "
    "Without one: the share of seeds in which `K-A@p'` is above K-A by more than the margin; A-K "
    "where `K-A@p'` didn't run.",
}
"""What words mean on a page whose rewards have no supremum."""
ALWAYS = ("The question", "p*, p', p''")
"""What a stranger needs before any other word."""
UNREAD = ("query", "stem", "key", "data", "extra", "summary", "figure", "svg", "pdf")
"""Fields of a document that no reader reads as text."""


def glossary(
    kinds: Sequence[KindAnalysis],
    chapters: Sequence[Chapter],
    above: str = "",
    units: Collection[str] = (ATTAINMENT,),
) -> list[tuple[str, str]]:
    """The words of all kinds and of those in the report, each only where the page uses it.

    Args:
        kinds: The kinds in the report.
        chapters: What the page says.
        above: What stands above the chapters.
        units: Of the runs' rewards.
    """
    own = [entry for kind in kinds for entry in kind.glossary]
    text = " ".join([above, *_texts(list(chapters))]).lower()
    other = {} if ATTAINMENT in units else WITHOUT_SUPREMUM
    return [
        (word, other.get(word, meaning))
        for word, meaning in dict.fromkeys([*SHARED, *own])
        if word in ALWAYS or any(_used(name, text) for name in word.split(", "))
    ]


def _used(word: str, text: str) -> bool:
    """Whether a text in small letters has the word, in the plural too."""
    name = re.escape(word.strip("`").lower().removesuffix("s"))
    return re.search(rf"\b{name}", text) is not None


def _texts(value: Any) -> Iterator[str]:
    """Every text of a document that is read."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Grid):
        yield from (value.name, *value.head)
        yield from (cell for row in value.rows for cell in row)
    elif isinstance(value, list | tuple):
        for inside in value:
            yield from _texts(inside)
    elif is_dataclass(value):
        for one in fields(value):
            if one.name not in UNREAD:
                yield from _texts(getattr(value, one.name))

"""The run in a word and a few sentences: what the primary endpoint says, and what is behind it.

Pure text: numbers in, words out. Silence of a test is never "no effect".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.attainment import ATTAINMENT
from recalltrap_analysis.estimates.experiment import PARTS, TITLES
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, COMPLETE, KD_THEN_ALIGN
from recalltrap_analysis.number_format import (
    count_text,
    decimal_text,
    estimate_text,
    interval_text,
    setting_text,
    share_text,
)
from recalltrap_analysis.statistics.margin import (
    LARGER,
    NOT_LARGER,
    SMALLER,
    UNDECIDED,
    WITHIN,
    not_seen,
)
from recalltrap_analysis.verdicts.endpoint_parts import Behind
from recalltrap_analysis.verdicts.judgement import MEAN, SLOPE, Judgement
from recalltrap_analysis.verdicts.primary import ANCHOR, ONLY_STRATUM

MIXED, NO_VERDICT = "mixed", "no verdict"
MOST_NAMED = 3


@dataclass(frozen=True)
class Headline:
    """`word` is what every stratum with numbers says, or `mixed`, or `no verdict`."""

    word: str
    sentence: str


def headline(
    primary: pd.DataFrame,
    judgement: Judgement,
    behind: Mapping[str, Behind],
    weights: tuple[str, Sequence[float]],
    orderings: Sequence[str],
) -> Headline:
    """What the primary endpoint says, of one stratum or of several.

    Args:
        primary: As `primary_table` returns it.
        judgement: Of the run.
        behind: By the primary's `stratum`.
        weights: The name of the KL weight (empty without one) and its values in the grid.
        orderings: Those of the study.
    """
    if judgement.primary is None:
        return Headline(NO_VERDICT, _no_primary(orderings))
    first = primary[primary["endpoint"] != ANCHOR]
    known = first[first["state"] == COMPLETE]
    if known.empty:
        reasons = "; ".join(dict.fromkeys(first["state"].tolist())) or "no cells"
        return Headline(
            NO_VERDICT, f"No verdict: the primary comparison has no numbers ({reasons})."
        )
    words = list(dict.fromkeys(known["words"]))
    word = words[0] if len(words) == 1 else MIXED
    anchors = {
        str(row["stratum"]): row for _, row in primary[primary["endpoint"] == ANCHOR].iterrows()
    }
    teller = _Teller(judgement, anchors, behind, weights)
    if len(first) == 1:
        return Headline(word, teller.stratum(known.iloc[0]))
    return Headline(word, teller.strata(first, known))


def _no_primary(orderings: Sequence[str]) -> str:
    lacking = [name for name in (KD_THEN_ALIGN, ALIGN_THEN_KD) if name not in orderings]
    return (
        f"No verdict: the order effect compares A-K with K-A, and this study has no "
        f"{' and no '.join(lacking)}."
    )


@dataclass(frozen=True)
class _Teller:
    """Sentences about one run's strata."""

    judgement: Judgement
    anchors: Mapping[str, pd.Series[Any]]
    behind: Mapping[str, Behind]
    weights: tuple[str, Sequence[float]]

    def stratum(self, row: pd.Series[Any]) -> str:
        """One stratum: the finding with its words, its parts, its doubts, what would settle it."""
        where = "" if row["stratum"] == ONLY_STRATUM else f" at {row['stratum']}"
        said = [f"{self._finding(row, where)}.", self._parts(row), self._trap(row), _settling(row)]
        return " ".join(text for text in said if text)

    def strata(self, first: pd.DataFrame, known: pd.DataFrame) -> str:
        """Several strata: counts, the extremes, and what is undecided."""
        total = len(first)
        counts = Counter(known["words"])
        listed = [f"{self._reading(w)} in {n} of {total} strata" for w, n in counts.most_common(1)]
        listed += [f"{self._reading(w)} in {n}" for w, n in counts.most_common()[1:]]
        if len(known) < total:
            listed.append(f"without numbers in {total - len(known)}")
        contrast, place = first["contrast"].iloc[0], self._place()
        said = [f"{contrast}{place}: {', '.join(listed)}."]
        order = np.argsort(known["value"].to_numpy(), kind="stable")
        largest, least = known.iloc[int(order[-1])], known.iloc[int(order[0])]
        text = f"It is largest at {largest['stratum']}: {self._value(largest)}"
        said.append(f"{text}.")
        said.append(self._parts(largest))
        if len(known) > 1:
            said.append(f"It is smallest at {least['stratum']}: {self._value(least)}.")
        said.append(self._open(known))
        return " ".join(text for text in said if text)

    def _finding(self, row: pd.Series[Any], where: str) -> str:
        first, second = str(row["contrast"]).split(" − ")
        words, margin = row["words"], setting_text(self.judgement.margin)
        place = self._place()
        if words in (LARGER, SMALLER):
            larger = words == LARGER
            amount = self._value(row, turned=not larger)
            if row["at"] == SLOPE:
                verb = "grows" if larger else "falls"
                found = f"The lead of {first} over {second} {verb} by {amount}"
            else:
                verb = "attains" if self.judgement.unit == ATTAINMENT else "reaches"
                found = f"{first} {verb} {amount} {'more' if larger else 'less'} than {second}"
            beyond = "larger than" if larger else "worse by more than"
            return f"{found}{place}{where}: {beyond} the margin of {margin}"
        start = "" if words in (WITHIN, NOT_LARGER) else f"{words.capitalize()}: "
        found = f"{start}{row['contrast']}{place}{where} is {self._value(row)}"
        return f"{found}{self._open_words(words, margin)}"

    def _open_words(self, words: str, margin: str) -> str:
        """How a finding that is neither larger nor smaller goes on."""
        if words == WITHIN:
            return f": within the margin of ±{margin}"
        if words == NOT_LARGER:
            return f": not larger than the margin of {margin} (it may be smaller than −{margin})"
        if words == UNDECIDED:
            return f", so the margin of {margin} is neither passed nor kept"
        return f"; no larger than the margin of {margin} so far, but more seeds have to say so"

    def _reading(self, words: str) -> str:
        margin = setting_text(self.judgement.margin)
        return {
            LARGER: f"larger than the margin of {margin}",
            SMALLER: f"smaller than −{margin}",
            WITHIN: f"within ±{margin}",
            NOT_LARGER: f"not larger than {margin}",
        }.get(words, words)

    def _value(self, row: pd.Series[Any], turned: bool = False) -> str:
        """The endpoint's number with its 95 % interval; `turned`: of second minus first."""
        value, low, high = row["value"], row["low"], row["high"]
        if turned:
            value, low, high = -value, -high, -low
        unit = "" if self.judgement.unit == ATTAINMENT else f" {self.judgement.unit}"
        return f"{interval_text(value, low, high)}{unit}"

    def _place(self) -> str:
        """Where along the KL weights, as the middle of a sentence."""
        primary = self.judgement.primary
        name, values = self.weights
        if primary is None or not name:
            return ""
        if primary.at == MEAN and len(values) > 1:
            ends = f"{setting_text(min(values))} to {setting_text(max(values))}"
            return f" on average over {count_text(len(values), 'KL weight')} ({ends})"
        if primary.at == SLOPE:
            return " per doubling of the KL weight"
        at = values[0] if primary.at == MEAN and values else primary.at
        return "" if isinstance(at, str) else f" at {name} {setting_text(at)}"

    def _parts(self, row: pd.Series[Any]) -> str:
        """What the order effect is made of."""
        found = self.behind.get(str(row["stratum"]))
        if found is None:
            return ""
        if not found.parts:
            if found.estimate is None:
                return ""
            return (
                "What the anchor costs (severity) is estimated from the optima alone: "
                f"{estimate_text(found.estimate)}."
            )
        anchor = self.anchors.get(str(row["stratum"]))
        words = str(anchor["words"]) if anchor is not None else ""
        said = f", {self._reading(words)}" if words and not words.startswith("not tested") else ""
        amount = estimate_text(found.parts["anchor"])
        if anchor is not None and np.isfinite(anchor["value"]):  # as it was judged
            amount = interval_text(anchor["value"], anchor["low"], anchor["high"])
        texts = [f"the anchor (severity) is {amount}{said}"]
        texts += [
            f"{'the ' if part == 'last_distillation' else ''}{TITLES[part]} "
            f"{estimate_text(found.parts[part])}"
            for part in PARTS
            if part != "anchor"
        ]
        decided = row["words"] in (LARGER, SMALLER)
        why = "none of them is judged, since the order effect is neither larger nor smaller"
        note = "" if decided else f"; {why}"
        return f"Of that {', '.join(texts)}{note}."

    def _trap(self, row: pd.Series[Any]) -> str:
        """The seeds that may be trapped although the mean is small."""
        found = self.behind.get(str(row["stratum"]))
        small = row["words"] in (WITHIN, NOT_LARGER) or row["words"] == not_seen(int(row["n"]))
        if found is None or not small or not np.isfinite(found.trap_limit):
            return ""
        limit = share_text(found.trap_limit, 0)
        if found.trap_is_beyond_margin:
            return self._beyond_margin(found, limit)
        if found.trap_rate > 0:
            rate = share_text(found.trap_rate, 0)
            return (
                f"All the same K-A is trapped in {rate} of seeds at its worst point: it attains "
                f"less than half where {found.trap_against} attains half or more, "
                f"{decimal_text(found.trap_gap)} apart in the mean (Wilson limit {limit})."
            )
        return (
            f"In single seeds K-A may still be trapped: in up to {limit} of them (Wilson limit of "
            f"the trap rate against {found.trap_against})."
        )

    def _beyond_margin(self, found: Behind, limit: str) -> str:
        """The same of a reward that has no supremum, so that no half of it can be attained."""
        if found.trap_rate > 0:
            rate = share_text(found.trap_rate, 0)
            return (
                f"All the same {found.trap_against} is above K-A by more than the margin in {rate} "
                f"of seeds at its worst point, {decimal_text(found.trap_gap)} apart in their mean "
                f"(Wilson limit {limit})."
            )
        return (
            f"In single seeds {found.trap_against} may still be above K-A by more than the margin: "
            f"in up to {limit} of them (Wilson limit)."
        )

    def _open(self, known: pd.DataFrame) -> str:
        """The undecided strata by name, with what would settle each."""
        rows = known[known["more_seeds"] != ""]
        if rows.empty:
            return ""
        named = [
            f"{row['stratum']} ({str(row['more_seeds']).partition(' (')[0]})"
            for _, row in rows.head(MOST_NAMED).iterrows()
        ]
        more = f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
        return f"Open: {'; '.join(named)}{more}."


def _settling(row: pd.Series[Any]) -> str:
    more = str(row["more_seeds"])
    if not more:
        return ""
    if more[0].isdigit():
        return f"To settle it would take {more}."
    if more.startswith("not known"):
        return f"How many seeds would settle it is {more}."
    return f"It {more}."

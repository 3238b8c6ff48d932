"""What to do, of a whole run: one recommendation per stratum, and one over them that pools nothing.

The single call for summary, page and terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Protocol

import pandas as pd

from recalltrap.graph import Cell
from recalltrap.kind import Metric, metric_of
from recalltrap_analysis.estimates.candidates import evidence_by_stratum
from recalltrap_analysis.number_format import setting_text
from recalltrap_analysis.recommendation.choice import UNDECIDED
from recalltrap_analysis.recommendation.recommendation import Recommendation, recommend
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.statistics.looks import nominal_level

DEPENDS = "depends on"
MOST_NAMED = 3


class Judged(Protocol):
    """By what a run is judged: see `verdicts.judgement`."""

    @property
    def margin(self) -> float: ...
    @property
    def recall_budget(self) -> float: ...
    @property
    def looks(self) -> Sequence[int]: ...


def recommendations(
    outcomes: pd.DataFrame,
    design: Design,
    cells: Sequence[Cell],
    costs: pd.DataFrame,
    kind: KindRecord,
    judgement: Judged,
    metrics: Mapping[str, Metric],
) -> tuple[list[Recommendation], Recommendation]:
    """What to do in every stratum, in the design's order, and over all of them.

    Never fails over what a run lacks: it is undecided then, and says why.

    Args:
        outcomes: One row per succeeded cell, as `cell_outcomes` returns it.
        design: What was planned.
        cells: The planned cells.
        costs: The `costs` table; empty where nothing was recorded.
        kind: What the analysis knows of the study's kind.
        judgement: Margin, recall budget and looks.
        metrics: What the kind's metrics are called; the unit of recall is read.
    """
    evidence = evidence_by_stratum(
        outcomes, design, cells, costs, kind, judgement.recall_budget,
        metric_of(metrics, "overall_recall").unit,
    )  # fmt: skip
    level = nominal_level(judgement.looks)
    found = [recommend(one, judgement.margin, level) for one in evidence]
    return found, over_strata(found)


def over_strata(found: Sequence[Recommendation]) -> Recommendation:
    """The same word where all strata have it, else what it depends on.

    Strata that are undecided don't contradict the others: a word that most strata have and none
    denies stands, with its count. Nothing is averaged over strata.
    """
    if not found:
        return Recommendation(UNDECIDED, "Undecided: the study has no cells.", {})
    if len(found) == 1:
        return found[0]
    counts = Counter(one.word for one in found)
    decided = [one for one in found if one.word != UNDECIDED]
    words = list(dict.fromkeys(one.word for one in decided))
    if len(words) == 1 and 2 * len(decided) > len(found):
        word = words[0]
    elif len(words) > 1:
        axes = _axes_that_tell(decided)
        word = f"{DEPENDS} {' and '.join(axes)}" if axes else f"{DEPENDS} the setting"
    else:
        word = UNDECIDED
    listed = [f"{_where(one)}: {one.word}" for one in found]
    shared = {
        name: getattr(found[0], name) for name in ("unit", "margin", "recall_budget", "level")
    }
    return Recommendation(
        word,
        _overall_sentence(word, counts, decided, len(found)),
        {},
        planned_seeds=max(one.planned_seeds for one in found),
        kl_weights=found[0].kl_weights,
        reasons=tuple(listed),
        conditions=_common([one.conditions for one in found]),
        missing=tuple(
            f"{_where(one)}: {line}" for one in found if one.word == UNDECIDED
            for line in one.missing
        ),
        **shared,
    )  # fmt: skip


def _axes_that_tell(decided: Sequence[Recommendation]) -> tuple[str, ...]:
    """The fewest axes whose values tell the word, of those the ones with the fewest values."""
    axes = [
        axis for axis in decided[0].stratum
        if len({setting_text(one.stratum[axis]) for one in decided}) > 1
    ]  # fmt: skip
    for size in range(1, len(axes) + 1):
        groups = {
            chosen: len(words)
            for chosen in combinations(axes, size)
            if (words := _words_by(decided, chosen)) is not None
        }
        if groups:
            return min(groups, key=lambda chosen: groups[chosen])
    return ()


def _words_by(
    decided: Sequence[Recommendation], axes: Sequence[str]
) -> dict[tuple[str, ...], str] | None:
    """The word by the values of some axes; None where they don't tell it."""
    words: dict[tuple[str, ...], str] = {}
    for one in decided:
        key = tuple(setting_text(one.stratum[axis]) for axis in axes)
        if words.setdefault(key, one.word) != one.word:
            return None
    return words


def _overall_sentence(
    word: str, counts: Counter[str], decided: Sequence[Recommendation], strata: int
) -> str:
    open_ones = counts[UNDECIDED]
    if not decided:
        return f"Undecided in all {strata} strata."
    if len(counts) == 1:
        return f"{word.capitalize()}, in all {strata} strata."
    listed = ", ".join(
        f"{name} in {count} of {strata}"
        for name, count in counts.most_common()
        if name != UNDECIDED
    )
    places = [f"{one.word} at {_where(one)}" for one in decided]
    if word == UNDECIDED:  # one word, in the fewer strata
        where = "; ".join(places) if len(places) <= MOST_NAMED else listed
        return f"Undecided in {open_ones} of {strata} strata; {where}."
    undecided = f"; undecided in {open_ones}" if open_ones else ""
    head = f"{word[0].upper()}{word[1:]}"
    detail = (
        f" ({'; '.join(places)})" if word.startswith(DEPENDS) and len(places) <= MOST_NAMED else ""
    )
    return f"{head}: {listed}{undecided}{detail}."


def _where(one: Recommendation) -> str:
    values = [f"{axis} {setting_text(value)}" for axis, value in one.stratum.items()]
    return ", ".join(values) or "the study"


def _common(lists: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The lines that all have."""
    return tuple(line for line in lists[0] if all(line in other for other in lists))


def recommendation_records(
    found: Sequence[Recommendation], overall: Recommendation
) -> dict[str, Any]:
    """As JSON: `overall`, and `strata` with one record each."""
    return {"overall": overall.record(), "strata": [one.record() for one in found]}


def recommendation_text(
    found: Sequence[Recommendation], overall: Recommendation, most: int = 10
) -> str:
    """For a terminal: the sentence, then a line per stratum, at most so many."""
    lines = [f"What to do: {overall.sentence}"]
    if len(found) > 1:
        lines += [f"  {_where(one)}: {one.sentence}" for one in found[:most]]
        if len(found) > most:
            lines.append(f"  and {len(found) - most} more strata in the report")
    lines += [f"  missing: {line}" for line in overall.missing[:most]] if len(found) == 1 else []
    return "\n".join(lines)

"""A study that is run until it is decided: one study per look, and whether another is needed."""

from __future__ import annotations

from dataclasses import replace

from recalltrap.registry import room
from recalltrap.results.results import Results
from recalltrap.run.plan import Plan
from recalltrap.study.study import Study

MOST_NAMED = 4


def studies_at_looks(study: Study) -> list[Study]:
    """The study with the seeds of each of its looks; the study itself where it plans none."""
    if not study.looks:
        return [study]
    return [study.model_copy(update={"seeds": tuple(range(look))}) for look in study.looks]


def undecided_at(results: Results) -> tuple[str, ...]:
    """The strata in which the run's primary isn't decided by the seeds so far."""
    return tuple(room("undecided")(results))


def noting(plan: Plan, before: tuple[str, ...]) -> Plan:
    """The plan of a look with a note on why the last one didn't do."""
    if not before:
        return plan
    more = len(before) - MOST_NAMED
    named = [*before[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])]
    note = f"the primary was undecided at the look before: {'; '.join(named)}"
    return replace(plan, notes=(*plan.notes, note))


def look_title(study: Study) -> str:
    """Which look this is, e.g. ``look 2 of 3, 8 seeds``; nothing where none are planned."""
    if not study.looks:
        return ""
    number = sum(look <= len(study.seeds) for look in study.looks)
    return f"look {number} of {len(study.looks)}, {len(study.seeds)} seeds"

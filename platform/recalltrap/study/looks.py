"""A study's seeds, and the looks at which its primary is judged: `seeds: {looks: [5, 8, 12]}`.

Both fields of a study are read from the one value of `seeds`, so that replacing it replaces both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from recalltrap.errors import nearest, shown
from recalltrap.study.python_values import plain_value

MAX_CELLS = 250_000
"""A cell takes about 5 kB and 0.4 ms to plan."""
MOST_LOOKS, LEAST_SEEDS = 20, 2
"""A spread over seeds needs two of them; more looks than that cost more than they save."""
PARTS = ("looks", "reached")
"""What `seeds` holds where it is a mapping: the plan, and how far a run of it has come."""


def seed_list(value: Any) -> Any:
    """The seeds of a number n, of a list, or of a plan of looks: of the look that was reached.

    Raises:
        ValueError: none of these; what is wrong in a list is for the list's items to say.
    """
    value = plain_value(value)
    if isinstance(value, Mapping):
        return tuple(range(_reached(value)))
    if isinstance(value, list | tuple):
        return tuple(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(
            f"{shown(value)} is refused: give a number n for the seeds 0 to n-1, or a list, or "
            "{looks: [5, 8, 12]} to run until the primary is decided"
        )
    if value < 1:
        raise ValueError(f"a study needs at least one seed, not {value}")
    if value > MAX_CELLS:
        raise ValueError(f"{shown(value)} seeds: a study has at most {MAX_CELLS:,} cells")
    return tuple(range(value))


def look_list(value: Any) -> Any:
    """The numbers of seeds at which a study is judged.

    Raises:
        ValueError: they don't rise, or there are too many, or too few seeds in one.
    """
    value = plain_value(value)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{shown(value)} is refused: give a list of numbers of seeds")
    if not value or len(value) > MOST_LOOKS:
        raise ValueError(f"{len(value)} looks: give 1 to {MOST_LOOKS} numbers of seeds")
    for look in value:
        if not isinstance(look, int) or isinstance(look, bool):
            raise ValueError(f"{shown(look)} is no number of seeds")
        if not LEAST_SEEDS <= look <= MAX_CELLS:
            raise ValueError(f"a look needs {LEAST_SEEDS} to {MAX_CELLS:,} seeds, not {look}")
    for before, after in pairwise(value):
        if after <= before:
            raise ValueError(f"{after} follows {before}: each look has more seeds than the last")
    return tuple(value)


def _reached(plan: Mapping[str, Any]) -> int:
    """How many seeds a plan of looks has come to: all of them where it doesn't say."""
    for name in plan:
        if name not in PARTS:
            raise ValueError(f"unknown field {shown(name)}; {nearest(str(name), PARTS)}")
    if "looks" not in plan:
        raise ValueError("looks are missing: write {looks: [5, 8, 12]}")
    looks = look_list(plan["looks"])
    reached = plan.get("reached", looks[-1])
    if reached not in looks or isinstance(reached, bool | float):
        raise ValueError(f"reached is one of the looks {list(looks)}, not {shown(reached)}")
    return int(reached)


def spell_seeds(seeds: Sequence[int], looks: Sequence[int]) -> Any:
    """The value of `seeds` in a study file."""
    if not looks:
        return len(seeds) if list(seeds) == list(range(len(seeds))) else list(seeds)
    plan: dict[str, Any] = {"looks": list(looks)}
    return plan if len(seeds) == looks[-1] else {**plan, "reached": len(seeds)}

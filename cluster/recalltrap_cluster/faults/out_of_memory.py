"""What ran out of memory runs again with fewer trials at once, until one of them has it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from recalltrap.results.results import Results
from recalltrap.run.context import RunContext
from recalltrap.run.plan import Plan
from recalltrap.store.store import ArtifactStore


def with_more_memory(
    plan: Plan, context: RunContext, trials: Collection[str], at_once: int
) -> tuple[Plan, RunContext, int] | None:
    """The rest of a plan after its trials have ended, where memory was what they lacked.

    Args:
        plan: what ran.
        context: what its packs shared.
        trials: the ids of the trials that ended.
        at_once: how many of them ran at the same time, at most.

    Returns:
        The packs that lacked memory, and those that they need, as a plan; a context that counts
        the attempt; how many may run at once. None where memory wasn't lacking, or one trial
        alone had all of it.
    """
    if at_once <= 1 or not context.storage.exists(f"{context.run}/study.yaml"):
        return None  # references that a check builds are no run: nothing is recorded of them
    rows = Results(context.storage, context.run).sql(
        "select cell_id, trial_id from failures_parts where failure = 'oom'"
    )
    lacking = {row["cell_id"] for row in rows.to_pylist() if row["trial_id"] in set(trials)}
    if not lacking:
        return None
    store = ArtifactStore(context.storage)
    packs = [
        pack
        for pack in plan.packs
        if any(cell.id in lacking for cell in pack.cells)
        or (not pack.cells and not all(store.has(node) for node in pack.nodes))
    ]
    again = {pack.id for pack in packs}
    packs = [replace(pack, needs=pack.needs & again) for pack in packs]
    attempts = dict(Counter(context.attempts) + Counter(dict.fromkeys(lacking, 1)))
    context = replace(context, attempts=attempts)
    return replace(plan, packs=tuple(packs)), context, at_once // 2

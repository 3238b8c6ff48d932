"""A study against this machine: its models and files, its memory, where it can run."""

from __future__ import annotations

from collections.abc import Callable

from recalltrap.errors import InputError
from recalltrap.kind import StudyKind
from recalltrap.run.plan import Plan
from recalltrap.run.plan_costs import memory_shortfall
from recalltrap_cluster.doctor.findings import Finding, ok, problem
from recalltrap_cluster.schedulable.verdict import schedulable


def check_models(plan: Plan, kind: StudyKind) -> list[Finding]:
    """Tokenizers and vocabularies of the study's models, and the files that it names.

    The kind compares them; what it has to say of them besides is a finding each.
    """
    cells = plan.cells
    try:
        notes = kind.check(cells)
        kind.check_access(cells)
    except InputError as error:
        return [problem("models", str(error), "see there; nothing runs before that")]
    found = "models, their vocabularies and the files that the study names fit each other"
    return [ok("models", found), *(ok("note", note) for note in notes)]


def check_device(kind: StudyKind) -> Finding:
    """The device that RECALLTRAP_DEVICE names."""
    try:
        kind.check_device(here=True)
    except InputError as error:
        return problem("device", str(error), "unset RECALLTRAP_DEVICE, or name one of this machine")
    return ok("device", "as the study's resources ask for")


def check_stage_memory(
    plan: Plan, kind: StudyKind, short: Callable[..., str] = memory_shortfall
) -> Finding:
    """Whether each stage fits into a worker's memory, by the plan's estimates."""
    shortfall = short(plan.builds(), kind, plan.study.resources)
    if shortfall:
        return problem(
            "stage memory", shortfall,
            "smaller models, sequences or batches, resources.gradient_accumulation, more "
            "resources.workers with resources.zero_stage, or a larger machine",
        )  # fmt: skip
    return ok("stage memory", "nothing that is known not to fit")


def check_placement(
    plan: Plan, address: str, words: Callable[[Plan, str], str] = schedulable
) -> Finding:
    """Whether the study's trials find room on this machine, or on the cluster at the address."""
    where = "here" if address == "local" else f"at {address}"
    try:
        said = words(plan, address)
    except InputError as error:
        return problem("placement", str(error), "start a cluster, or use --address local")
    if said.startswith("no: "):
        return problem("placement", said.removeprefix("no: "), "ask for what fits, or elsewhere")
    return ok("placement", f"{said.removeprefix('yes, ')} {where}")

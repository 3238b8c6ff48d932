"""All checks in the order in which one would mend what they find."""

from __future__ import annotations

from collections.abc import Iterator

from recalltrap.registry import find_kind
from recalltrap.run.plan import Plan
from recalltrap.run.plan_costs import stage_costs
from recalltrap.run.run import plan_unchecked
from recalltrap.store.storage import Storage
from recalltrap.study.study import Study
from recalltrap_cluster.doctor import installation, machine, ray_access, study_checks
from recalltrap_cluster.doctor.findings import Finding
from recalltrap_cluster.schedulable.this_machine import count_gpus


def examine(study: Study | None, storage: Storage, address: str = "local") -> Iterator[Finding]:
    """What could keep a run from working, one finding after another; nothing stays written.

    Args:
        study: what shall run; None: the machine alone.
        storage: where results go.
        address: of the cluster to run on; `local`: this machine, for which no Ray is started.

    Raises:
        InputError: the run's own tables are damaged.
    """
    plan = None if study is None else plan_unchecked(study, storage)
    yield installation.check_python()
    yield installation.check_versions()
    yield installation.check_trainers()
    yield installation.check_deepspeed(wanted=_wants_zero(study), gpus=count_gpus())
    yield ray_access.check_authentication(address)
    yield machine.check_memory()
    gpus = 0.0 if study is None or address != "local" else _gpus_wanted(study)
    yield machine.check_gpus(wanted=gpus)
    yield machine.check_scratch()
    yield machine.check_storage(storage, 0.0 if plan is None else _bytes_needed(plan))
    yield machine.check_clock(storage)
    if plan is None:
        return
    kind = find_kind(plan.study.kind)
    yield from study_checks.check_models(plan, kind)
    if address == "local":
        yield study_checks.check_device(kind)
        yield study_checks.check_stage_memory(plan, kind)
    yield study_checks.check_placement(plan, address)


def _wants_zero(study: Study | None) -> bool:
    """Whether any stage asks for DeepSpeed, which a kind without it can't."""
    if study is None:
        return False
    asked = study.resources.of_all()
    return any(getattr(each, "zero_stage", None) is not None for each in asked)


def _gpus_wanted(study: Study) -> float:
    return max(asked.gpus_per_trial for asked in study.resources.of_all())


def _bytes_needed(plan: Plan) -> float:
    costs = stage_costs(plan.builds(), find_kind(plan.study.kind), plan.study.resources)
    return float(sum(cost.bytes for cost in costs))

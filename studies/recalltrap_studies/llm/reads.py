"""Which settings decide anything in a study's orderings, and why the others don't.

Which stages there are depends on what is given: a model that the user has is made by none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from recalltrap.orderings import NOTHING_ALIGNED, NOTHING_ALIGNS, Operations
from recalltrap.settings_parts import Part, Reads
from recalltrap_studies.last_start import LAST_START_UNREAD, LastStart
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.distillation.registry import DISTILLATIONS
from recalltrap_studies.llm.graph import root_stage
from recalltrap_studies.llm.rewards.values import sort_of
from recalltrap_studies.llm.settings import LlmSettings, algorithm_of, distillation_of
from recalltrap_studies.llm.stage_settings import (
    ORACLE,
    Classifying,
    Judging,
    Pretrain,
    Reward,
    Sft,
    Target,
)
from recalltrap_studies.llm.stages.registry import (
    DISTILL,
    LOAD,
    PRETRAIN,
    SFT,
    STAGES,
    TARGET,
    Stage,
)
from recalltrap_studies.llm.stages.registry import ORACLE as ORACLE_STAGE
from recalltrap_studies.rate_factors import FACTORS_UNREAD, PPrimeRate, factors_read
from recalltrap_studies.records import record_parts


@lru_cache(maxsize=4096)
def reads_of(settings: LlmSettings, operations: Operations) -> Reads:
    """What the stages of orderings that do this read, and the evaluation."""
    algorithm, distillation = algorithm_of(settings), distillation_of(settings)
    run = _run_here(settings, operations)
    stages = [stage for stage in STAGES.values() if stage not in _unused(settings, run)]
    parts = [stage.settings for stage in stages if stage.settings] + [Judging]
    if sort_of(settings.reward) == "classifier":
        parts.append(Classifying)
    if DISTILL in stages:
        parts.append(distillation.part)
        parts += [distillation_of(settings, name).part for name in sorted(operations.distillations)]
    if run.aligns:
        parts.append(algorithm.part)
    parts += factors_read(run)
    # the optimum that the evaluation estimates for each reference has this weight
    also = {"kl_weight", "p_star", "p_prime", "p_prime_weights"}
    also |= {name for stage in stages for name in stage.also}
    if settings.reward != ORACLE:
        also.add("align_tokens")  # an assessment's rewards see no more of a response
    if operations.distils_aligned:
        also.add("last_distill_temperature")
    last = [distillation_of(settings, name) for name in operations.distils_aligned_by]
    if not all(record.goes_on for record in last):
        parts.append(LastStart)
    if operations.distils_p_prime:
        also.add("p_second")
    if operations.aligns_p_prime:
        also.add("p_prime_aligned")
    found = Reads.of(settings, parts, also=also, otherwise=_not_in_play(settings, run))
    reasons = dict(_reasons(settings, operations, run))
    return replace(
        found, unread={name: reasons.get(name, why) for name, why in found.unread.items()}
    )


def _run_here(settings: LlmSettings, operations: Operations) -> Operations:
    """What is left to do of the orderings where models of them are given."""
    if settings.p_prime_aligned is None:
        return operations
    return replace(operations, aligns_p_prime=operations.aligns_p_prime_again)


def _unused(settings: LlmSettings, run: Operations) -> list[Stage]:
    """The stages that build nothing; what `load` reads are the models' own settings."""
    unused = [LOAD] if settings.reward == ORACLE else [LOAD, TARGET, ORACLE_STAGE]
    if root_stage(settings) is not PRETRAIN:
        unused.append(PRETRAIN)
    if settings.p_prime_weights == "given":
        unused.append(SFT)
    if settings.p_second is not None and not (run.distils_others or run.distillations):
        unused.append(DISTILL)
    return unused


def _not_in_play(settings: LlmSettings, run: Operations) -> dict[type[Part], str]:
    """Why a part isn't read; goes on with the setting."""
    algorithm, distillation = algorithm_of(settings), distillation_of(settings)
    doesnt = f"{algorithm.name} doesn't read" if run.aligns else f"{NOTHING_ALIGNS} reads"
    unread: dict[type[Part], str] = dict.fromkeys(record_parts(ALGORITHMS), doesnt)
    unread |= dict.fromkeys(
        record_parts(DISTILLATIONS), f"distillation = {distillation.name} doesn't read"
    )
    unread[LastStart] = LAST_START_UNREAD
    unread[Classifying] = f"reward = {settings.reward!r} is no classifier: nothing reads"
    unread[Pretrain] = f"p_star = {settings.p_star!r} is loaded and not trained: nothing reads"
    if settings.p_star is None:
        unread[Pretrain] = "p' is given and judges precision, and no p* is trained: nothing reads"
    return unread | dict(FACTORS_UNREAD)


def _reasons(
    settings: LlmSettings, operations: Operations, run: Operations
) -> Iterator[tuple[str, str]]:
    """Settings that given models, or a reward, leave nothing to decide, with the reason."""
    if settings.reward != ORACLE:
        fields = {*Target.model_fields, *TARGET.also, *Reward.model_fields}
        yield from _unread(fields, f"reward = {settings.reward!r}, so there is no p_target")
    if not operations.distils_aligned:
        yield "last_distill_temperature", f"{NOTHING_ALIGNED} last_distill_temperature"
    if not operations.distils_p_prime:
        yield "p_second", "no ordering of the study distils p' first: nothing reads p_second"
    if not operations.aligns_p_prime:
        why = "no ordering of the study aligns p' first: nothing reads p_prime_aligned"
        yield "p_prime_aligned", why
    if settings.p_prime_weights == "given":
        yield from _unread(Sft.model_fields, "p_prime_weights = given, so p' isn't trained")
    if settings.p_second is not None and not (run.distils_others or run.distillations):
        fields = {"distill_temperature", *distillation_of(settings).part.model_fields}
        yield from _unread(fields, "p_second is given and no other model is distilled")
    if settings.p_prime_aligned is not None:
        yield from _unread(PPrimeRate.model_fields, "p_prime_aligned is given")
        if not run.aligns:
            fields = set(algorithm_of(settings).part.model_fields)
            yield from _unread(fields, "p_prime_aligned is given and nothing else is aligned")


def _unread(fields: Iterable[str], why: str) -> Iterator[tuple[str, str]]:
    for name in fields:
        yield name, f"{why}: nothing reads {name}"

"""The ledger: every registered claim, judged by the runs that test it.

A claim draws on the runs of its kind whose study lists it, where their settings fit. It is judged
in every stratum by itself (the settings that the kind sweeps span the grid within one), and has the
verdict on which the strata that are decided agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from recalltrap_analysis.claims.claim import Claim, registered_claims
from recalltrap_analysis.claims.claim_tests import Findings
from recalltrap_analysis.claims.pool import ATTAINMENT, IN_SDS, Pool
from recalltrap_analysis.claims.queries import rows_behind
from recalltrap_analysis.claims.verdict import ClaimVerdict, Finding, over_strata
from recalltrap_analysis.estimates.attainment import IN_SDS as UNIT_IN_SDS
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.protocol import Run


def ledger(runs: Sequence[Run]) -> list[ClaimVerdict]:
    """Every claim, judged by the runs; those that no run tests are `not tested`."""
    pools: dict[str, Pool] = {}
    members: dict[str, tuple[str, frozenset[str]]] = {}
    folders: set[str] = set()
    for run in runs:
        if run.folder in folders:
            continue
        folders.add(run.folder)
        name, kind = run.study.name, run.study.kind
        if name in members:
            name = f"{name} ({run.folder})"
        pool = pools.setdefault(kind, Pool(record_of(kind)))
        pool.add(name, run.table("metrics"), run.planned(), run.looks())
        members[name] = (kind, frozenset(getattr(run.study, "claims", ())))
    return [_judge(one, pools.get(one.kind, Pool()), members) for one in registered_claims()]


def _judge(
    claim: Claim, pool: Pool, members: Mapping[str, tuple[str, frozenset[str]]]
) -> ClaimVerdict:
    listing = [
        name for name, (kind, ids) in members.items() if claim.id in ids and kind == claim.kind
    ]
    held = {p for name in listing for p in pool.run_points(name) if claim.fits(pool.points[p])}
    judged = claim.judge(pool, sorted(held)) if held else Findings([])
    judged = replace(judged, findings=[_in_its_unit(one, pool, judged) for one in judged.findings])
    findings = [finding for finding in judged.findings if finding.points]
    if not findings:
        return _untested(claim, listing, judged.findings)
    used = frozenset().union(*(finding.points for finding in findings))
    names = members if claim.any_baseline else listing
    runs = tuple(n for n in names if n in pool.frames and used & pool.run_points(n))
    query, rows = rows_behind(pool, runs, used, pool.measured(judged.arms, used))
    return ClaimVerdict(
        claim.id, claim.text, over_strata(judged.findings), *_effect(claim, findings, pool, judged),
        _detail(judged.findings), runs, rows, query, tuple(judged.findings),
    )  # fmt: skip


def _in_its_unit(finding: Finding, pool: Pool, judged: Findings) -> Finding:
    """The finding, its detail in the unit that its rewards were compared in."""
    return replace(finding, detail=_renamed(finding.detail, finding, pool, judged))


def _renamed(text: str, finding: Finding, pool: Pool, judged: Findings) -> str:
    """What is said of attainment, where the reward has none."""
    scaled = {
        pool.scaled(arm, point).metric
        for arm in judged.arms
        for point in finding.points
        if arm.metric == ATTAINMENT
    }
    return text.replace(ATTAINMENT, f"reward, in {UNIT_IN_SDS},") if IN_SDS in scaled else text


def _untested(claim: Claim, listing: Sequence[str], findings: Sequence[Finding]) -> ClaimVerdict:
    if any(finding.verdict == "undecided" for finding in findings):
        reason, verdict = _detail(findings), over_strata(findings)
    else:
        verdict = "not tested"
        held = _detail(findings) if findings else "no cells that fit"
        reason = f"{', '.join(listing)}: {held}" if listing else "no run lists this claim"
        reason += f"; tested by {claim.needs}"
    return ClaimVerdict(claim.id, claim.text, verdict, None, claim.effect_name, reason,
                        tuple(listing), 0, "", tuple(findings))  # fmt: skip


def _effect(
    claim: Claim, findings: Sequence[Finding], pool: Pool, judged: Findings
) -> tuple[Any, str]:
    known = [finding for finding in findings if finding.effect is not None]
    if not known:
        return None, claim.effect_name
    weakest = min(known, key=lambda f: f.effect.value if f.effect else 0.0)
    where = f", at {weakest.stratum}, where it is smallest" if len(known) > 1 else ""
    return weakest.effect, _renamed(claim.effect_name, weakest, pool, judged) + where


def _detail(findings: Sequence[Finding]) -> str:
    if len(findings) == 1:
        return findings[0].detail
    return " | ".join(f"{f.stratum or 'all'}: {f.verdict}, {f.detail}" for f in findings)

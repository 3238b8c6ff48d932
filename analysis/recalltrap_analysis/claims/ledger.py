"""The ledger: every claim of the paper (arXiv 2509.23667), judged by the runs that test it.

A claim draws on the runs whose study lists it and whose kind and algorithm fit. It is judged in
every stratum by itself (`pool.SWEPT` spans the grid within one) and reproduced if all agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recalltrap_analysis.claims import distillation, judgements
from recalltrap_analysis.claims.judgements import Judge, Judged, higher
from recalltrap_analysis.claims.pool import Pool, Where
from recalltrap_analysis.claims.queries import rows_behind
from recalltrap_analysis.claims.verdict import ClaimVerdict, Finding, over_strata
from recalltrap_analysis.runs.protocol import Run

LANGUAGE = "llm"


def _algorithm(*starts: str) -> Where:
    return lambda point: str(point.get("algorithm", starts[0])).startswith(starts)


@dataclass(frozen=True)
class Claim:
    """A claim, the settings that it speaks of, its test, and what would test it."""

    id: str
    text: str
    effect_name: str
    judge: Judge
    needs: str
    language: bool = False
    fits: Where = lambda point: True
    any_baseline: bool = False
    """Whether runs that don't list the claim may serve as its baseline."""


ON_POLICY = _algorithm("ppo", "grpo", "dpo_online")
_PAIR = "a mixture study with K-A and A-K"
CLAIMS: tuple[Claim, ...] = (
    Claim("C1", "A-K has the higher reward, at almost every kl_weight", "reward, A-K − K-A",
          higher("reward A-K − K-A", "reward"), f"{_PAIR} over kl_weight, e.g. mog/ppo-beta"),
    Claim("C2", "A-K has the higher target precision", "target precision, A-K − K-A, nats",
          higher("target precision A-K − K-A", "target_precision"),
          f"{_PAIR} over kl_weight, e.g. mog/ppo-beta"),
    Claim("C3", "A-K varies less over seeds (on-policy algorithms)", "sd(K-A) / sd(A-K), reward",
          judgements.steadier, f"{_PAIR} and PPO, GRPO or on-policy DPO, e.g. mog/ppo-beta",
          fits=ON_POLICY),
    Claim("C4", "Misleading recall: at kl_weight ≥ 1 K-A can have the higher recall with the "
          "lower target precision", "overall recall, K-A − A-K, nats",
          judgements.misleading_recall, f"{_PAIR} at kl_weight ≥ 1, e.g. mog/ppo-beta"),
    Claim("C5", "More iterations don't rescue K-A", "reward, A-K − K-A, at the longest alignment",
          judgements.no_rescue, f"{_PAIR} over iterations, e.g. mog/ppo-iterations"),
    Claim("C6", "Stricter compression (3 components instead of 4) makes K-A less stable",
          "sd of K-A with 3 components / with 4, reward", judgements.stricter_is_shakier,
          "a mixture study with K-A over student_components 3 and 4, e.g. mog/ppo-beta"),
    Claim("C7", "A-K has the higher overall precision, with lower variance",
          "overall precision, A-K − K-A, nats", judgements.precise_and_steady,
          f"{_PAIR}, e.g. mog/ppo-beta"),
    Claim("C8", "Off-policy DPO: comparable variance, and A-K's recall is higher",
          "overall recall, A-K − K-A, nats", judgements.comparable_and_wider,
          f"{_PAIR} and off-policy DPO, e.g. mog/dpo-offline-beta",
          fits=_algorithm("dpo_offline")),
    Claim("C9", "With two targets the variance grows, more so in K-A",
          "sd of K-A with two targets / with one, reward", judgements.two_targets,
          "a two-target study together with its one-target twin, e.g. mog/two-targets-ppo and "
          "mog/ppo-beta", any_baseline=True),
    Claim("C10", "p' covers more than p'' and hits the high-reward region at least twice as often",
          "overall recall, p' − p'', nats", distillation.references,
          "any mixture study, e.g. mog/figure2"),
    Claim("C11", "Language model, PPO: A-K is better in reward, target precision and recall",
          "reward, A-K − K-A",
          higher("reward A-K − K-A", "reward", "target_precision", "overall_recall"),
          "a language-model study with K-A and A-K aligned by PPO", True, _algorithm("ppo")),
    Claim("C12", "Language model, DPO: A-K is better in reward and target precision",
          "reward, A-K − K-A", higher("reward A-K − K-A", "reward", "target_precision"),
          "a language-model study with K-A and A-K aligned by DPO", True, _algorithm("dpo")),
    Claim("C13", "Even the intermediate p'_AK beats p''_KA in reward and target precision",
          "reward, p'_AK − p''_KA",
          higher("reward p'_AK − p''_KA", "reward", "target_precision", intermediate=True),
          "a language-model study with K-A and A-K", True),
    Claim("C14", "The distillation temperature tunes precision against recall",
          "overall precision per unit of falling temperature, nats", distillation.temperature,
          "a language-model study over last_distill_temperature", True,
          lambda point: "distill_temperature" in point),
)  # fmt: skip


def ledger(runs: Sequence[Run]) -> list[ClaimVerdict]:
    """Every claim C1 to C14, judged by the runs; those that no run tests are `not tested`."""
    pools = {True: Pool(), False: Pool()}
    members: dict[str, tuple[bool, frozenset[str]]] = {}
    folders: set[str] = set()
    for run in runs:
        if run.folder in folders:
            continue
        folders.add(run.folder)
        name, language = run.study.name, run.study.kind == LANGUAGE
        if name in members:
            name = f"{name} ({run.folder})"
        pools[language].add(name, run.table("metrics"), run.planned())
        members[name] = (language, frozenset(getattr(run.study, "claims", ())))
    return [_judge(claim, pools[claim.language], members) for claim in CLAIMS]


def _judge(
    claim: Claim, pool: Pool, members: Mapping[str, tuple[bool, frozenset[str]]]
) -> ClaimVerdict:
    listing = [n for n, (language, ids) in members.items()
               if claim.id in ids and language == claim.language]  # fmt: skip
    held = {p for name in listing for p in pool.run_points(name) if claim.fits(pool.points[p])}
    judged = claim.judge(pool, sorted(held)) if held else Judged([])
    findings = [finding for finding in judged.findings if finding.points]
    if not findings:
        return _untested(claim, listing, judged.findings)
    used = frozenset().union(*(finding.points for finding in findings))
    names = members if claim.any_baseline else listing
    runs = tuple(n for n in names if n in pool.frames and used & pool.run_points(n))
    query, rows = rows_behind(pool, runs, used, judged.arms)
    return ClaimVerdict(
        claim.id, claim.text, over_strata(judged.findings), *_effect(claim, findings),
        _detail(judged.findings), runs, rows, query, tuple(judged.findings),
    )  # fmt: skip


def _untested(claim: Claim, listing: Sequence[str], findings: Sequence[Finding]) -> ClaimVerdict:
    scarce = [finding for finding in findings if finding.verdict == "not enough seeds"]
    if scarce:
        reason, verdict = _detail(findings), over_strata(findings)
    else:
        verdict = "not tested"
        held = _detail(findings) if findings else "no cells that fit"
        reason = f"{', '.join(listing)}: {held}" if listing else "no run lists this claim"
        reason += f"; tested by {claim.needs}"
    return ClaimVerdict(claim.id, claim.text, verdict, None, claim.effect_name, reason,
                        tuple(listing), 0, "", tuple(findings))  # fmt: skip


def _effect(claim: Claim, findings: Sequence[Finding]) -> tuple[Any, str]:
    known = [finding for finding in findings if finding.effect is not None]
    if not known:
        return None, claim.effect_name
    weakest = min(known, key=lambda f: f.effect.value if f.effect else 0.0)
    where = f", at {weakest.stratum}, where it is smallest" if len(known) > 1 else ""
    return weakest.effect, claim.effect_name + where


def _detail(findings: Sequence[Finding]) -> str:
    if len(findings) == 1:
        return findings[0].detail
    return " | ".join(f"{f.stratum or 'all'}: {f.verdict}, {f.detail}" for f in findings)

"""The ledger of the paper's claims, of one run or of several together."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from recalltrap.errors import RecalltrapError
from recalltrap_analysis.claims.ledger import ledger
from recalltrap_analysis.claims.verdict import DECIDED, ClaimVerdict
from recalltrap_analysis.number_format import count_text, estimate_text
from recalltrap_analysis.report.document.blocks import (
    Block,
    Code,
    Fold,
    Grid,
    Items,
    Prose,
    Record,
    Section,
)
from recalltrap_analysis.report.document.tables import grid
from recalltrap_analysis.report.sections.statistics_tables import estimate_record
from recalltrap_analysis.runs.loaded_run import ReadRun, first_line
from recalltrap_analysis.statistics.margin import MARGIN, MARGIN_IN_SDS
from recalltrap_analysis.verdicts.summary import Summary

UNTESTED = "not tested"


def claims_section(run: ReadRun, summary: Summary) -> Section:
    """The ledger of one run."""
    section, _ = joint_claims_section([run])
    return section


def joint_claims_section(runs: Sequence[ReadRun]) -> tuple[Section, list[ClaimVerdict]]:
    """The ledger: every claim of the paper with verdict, effect, interval and rows."""
    title = "The paper's claims"
    try:
        verdicts = ledger(runs)
    except RecalltrapError as error:  # a table that can't be read as one row per cell
        reason = Prose("The claims can't be judged from these tables:", "absent")
        return Section("claims", title, [reason, Items([first_line(error)])]), []
    tested = [claim for claim in verdicts if claim.verdict != UNTESTED]
    untested = [claim for claim in verdicts if claim.verdict == UNTESTED]
    counts = pd.Series([claim.verdict for claim in tested], dtype=object).value_counts(sort=False)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    blocks: list[Block] = [
        Prose(f"{len(tested)} of {len(verdicts)} claims are tested here{said and f': {said}'}.")
    ]
    if tested:
        rule = (
            "Each is judged in every stratum by itself (nothing is averaged over settings such as "
            "the algorithm), and has the verdict on which the strata that are decided agree. The "
            f"margin is {MARGIN:g}, in attainment and in nats ({MARGIN_IN_SDS:g} standard "
            "deviations for a reward without a supremum)."
        )
        blocks.append(Prose(rule, "small"))
        blocks.append(_ledger("claims", tested, "effect, interval, method"))
    blocks += [_behind(claim) for claim in tested]
    if untested:
        one = len(untested) == 1
        summary = (
            f"{count_text(len(untested), 'claim')} {'is' if one else 'are'}n't tested by "
            f"{'this run' if len(runs) == 1 else 'these runs'}"
        )
        blocks.append(Fold(summary, [_ledger("untested claims", untested, "why not")]))
    return Section("claims", title, blocks), verdicts


def _ledger(name: str, claims: Sequence[ClaimVerdict], detail: str) -> Grid:
    """Some claims as a table; `detail` is what its column of effects or reasons is called."""
    text = pd.DataFrame(
        {
            "claim": [claim.id for claim in claims],
            "verdict": [claim.verdict for claim in claims],
            "in how many strata": [claim.counted for claim in claims],
            "what the paper says": [claim.text for claim in claims],
            detail: [_effect(claim) for claim in claims],
            "rows": [claim.rows for claim in claims],
        }
    )
    return grid(name, text, data=[_claim_record(claim) for claim in claims])


def claims_sentence(verdicts: Sequence[ClaimVerdict]) -> str:
    """How many of the claims that were tested have each verdict."""
    tested = [claim for claim in verdicts if claim.verdict != UNTESTED]
    if not tested:
        return "These runs test no claim."
    numbers = {v: sum(c.verdict == v for c in tested) for v in (*DECIDED, "undecided")}
    said = [f"{number} {verdict}" for verdict, number in numbers.items() if number]
    return f"Of the {len(tested)} claims that these runs test: {', '.join(said)}."


def _effect(claim: ClaimVerdict) -> str:
    if claim.effect is None:
        return claim.detail
    return f"{estimate_text(claim.effect)} ({claim.effect.method}): {claim.effect_name}"


def _claim_record(claim: ClaimVerdict) -> Record:
    return {
        "id": claim.id, "text": claim.text, "verdict": claim.verdict,
        "counts": dict(claim.counts), "counted": claim.counted,
        "effect_name": claim.effect_name, "effect": estimate_record(claim.effect),
        "detail": claim.detail, "runs": list(claim.runs), "rows": claim.rows,
        "query": claim.query,
        "strata": [
            {"stratum": s.stratum, "verdict": s.verdict, "effect": estimate_record(s.effect),
             "detail": s.detail}
            for s in claim.strata
        ],
    }  # fmt: skip


def _behind(claim: ClaimVerdict) -> Fold:
    """The rows behind one claim, and what it said in every stratum."""
    blocks: list[Block] = []
    if len(claim.strata) > 1:
        blocks.append(Prose(f"{claim.id} is {claim.counted}.", "small", ours=False))
        text = pd.DataFrame(
            {
                "where": [stratum.stratum for stratum in claim.strata],
                "verdict": [stratum.verdict for stratum in claim.strata],
                "effect": [estimate_text(stratum.effect) for stratum in claim.strata],
                "reason": [stratum.detail for stratum in claim.strata],
            }
        )
        blocks.append(grid(f"{claim.id} by stratum", text, data=_claim_record(claim)["strata"]))
    else:
        blocks.append(Prose(claim.detail, ours=False))
    if claim.query:
        blocks.append(Prose(f"The {claim.rows} rows behind it, over the tables of "
                            f"{', '.join(claim.runs)}:", "small", ours=False))  # fmt: skip
        blocks.append(Code(claim.query))
    return Fold(f"{claim.id}, {claim.verdict}: the reason and the rows behind it", blocks)

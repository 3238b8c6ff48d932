"""The ledger of the paper's claims, of one run or of several together."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from recalltrap.errors import RecalltrapError
from recalltrap_analysis.claims.comparisons import MARGIN, MARGIN_IN_SDS
from recalltrap_analysis.claims.ledger import ledger
from recalltrap_analysis.claims.verdict import DECIDED, ClaimVerdict
from recalltrap_analysis.number_format import estimate_text
from recalltrap_analysis.report.document.blocks import (
    Block,
    Code,
    Fold,
    Items,
    Prose,
    Record,
    Section,
)
from recalltrap_analysis.report.document.tables import grid
from recalltrap_analysis.report.sections.statistics_tables import estimate_record
from recalltrap_analysis.runs.loaded_run import ReadRun, first_line
from recalltrap_analysis.verdicts.summary import Summary


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
    counts = pd.Series([claim.verdict for claim in verdicts]).value_counts(sort=False)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    text = pd.DataFrame(
        {
            "claim": [claim.id for claim in verdicts],
            "verdict": [claim.verdict for claim in verdicts],
            "in how many strata": [claim.counted for claim in verdicts],
            "what the paper says": [claim.text for claim in verdicts],
            "effect, interval, method": [_effect(claim) for claim in verdicts],
            "rows": [claim.rows for claim in verdicts],
        }
    )
    blocks: list[Block] = [
        Prose(
            f"{len(verdicts)} claims: {said}. A claim is judged in every stratum by itself "
            "(nothing is averaged over settings such as the algorithm), and has the verdict on "
            f"which the strata that are decided agree. The margin is {MARGIN:g}, in attainment and "
            f"in nats ({MARGIN_IN_SDS:g} standard deviations for a reward without a supremum). The "
            "table says why a claim can't be tested here."
        ),
        grid("claims", text, data=[_claim_record(claim) for claim in verdicts]),
        *(_behind(claim) for claim in verdicts if claim.verdict != "not tested"),
    ]
    return Section("claims", title, blocks), verdicts


def claims_sentence(verdicts: Sequence[ClaimVerdict]) -> str:
    """How many of the claims that were tested have each verdict."""
    tested = [claim for claim in verdicts if claim.verdict != "not tested"]
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

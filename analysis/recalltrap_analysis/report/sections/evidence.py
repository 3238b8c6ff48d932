"""The sections that one run or several fill together: the claims ledger and the scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from recalltrap.errors import RecalltrapError
from recalltrap_analysis import figures
from recalltrap_analysis.claims.ledger import ledger
from recalltrap_analysis.claims.verdict import ClaimVerdict
from recalltrap_analysis.estimates.scaling import Scaling, fit, seed_points
from recalltrap_analysis.number_format import (
    decimal_text,
    estimate_text,
    range_text,
    row_interval,
    setting_text,
    significant_text,
)
from recalltrap_analysis.report.document import (
    Block,
    Code,
    Fold,
    Items,
    Plot,
    Prose,
    Record,
    Section,
    grid,
    records,
    slug,
)
from recalltrap_analysis.report.plots.pictures import draw
from recalltrap_analysis.report.sections.effects import deepest_first
from recalltrap_analysis.report.sections.particulars import estimate_record
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import hashable
from recalltrap_analysis.runs.loaded_run import ReadRun, first_line
from recalltrap_analysis.verdicts.summary import Summary


def claims_section(runs: Sequence[ReadRun]) -> tuple[Section, list[ClaimVerdict]]:
    """The ledger: every claim of the paper with verdict, effect, interval and rows."""
    title = "Do the paper's claims hold here?"
    try:
        found = ledger(runs)
    except RecalltrapError as error:  # a table that can't be read as one row per cell
        reason = Prose("The claims can't be judged from these tables:", "absent")
        return Section("claims", title, [reason, Items([first_line(error)])]), []
    counts = pd.Series([claim.verdict for claim in found]).value_counts(sort=False)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    text = pd.DataFrame(
        {
            "claim": [claim.id for claim in found],
            "verdict": [claim.verdict for claim in found],
            "what the paper says": [claim.text for claim in found],
            "effect, interval, method": [_effect(claim) for claim in found],
            "rows": [claim.rows for claim in found],
        }
    )
    blocks: list[Block] = [
        Prose(f"Of {len(found)} claims: {said}. A claim that these tables can't test says why."),
        grid("claims", text, data=[_claim_record(claim) for claim in found]),
        *(_behind(claim) for claim in found if claim.verdict != "not tested"),
    ]
    return Section("claims", title, blocks), found


def _effect(claim: ClaimVerdict) -> str:
    if claim.effect is None:
        return claim.detail
    return f"{estimate_text(claim.effect)} ({claim.effect.method}): {claim.effect_name}"


def _claim_record(claim: ClaimVerdict) -> Record:
    return {
        "id": claim.id, "text": claim.text, "verdict": claim.verdict,
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


def scaling_section(summaries: Sequence[Summary]) -> Section:
    """Severity against the recall that distillation lost, one curve per algorithm."""
    blocks: list[Block] = [
        Prose("Distillation costs recall: p'' covers less of p* than p' does. If that is what "
              "traps K-A, severity must grow with this **recall deficit**, and with the weight of "
              "the anchor.")]  # fmt: skip
    groups = _by_algorithm(summaries)
    if not groups:
        blocks.append(Prose("No grid point is complete, so there is nothing to scale.", "absent"))
    for name, points in groups.items():
        query = sql.scaling_query(summaries[0].axes) if len(summaries) == 1 else ""
        blocks += _scaling_blocks(name if len(groups) > 1 else "", fit(points), query)
    return Section("scaling", "Does it grow with the recall that is lost?", blocks)


def _by_algorithm(summaries: Sequence[Summary]) -> dict[str, pd.DataFrame]:
    """Rows of `seed_points` by the settings' algorithm; points of several runs are kept apart."""
    groups: dict[str, list[pd.DataFrame]] = {}
    for summary in summaries:
        points = seed_points(summary.outcomes, summary.pairs, summary.design)
        if points.empty:
            continue
        factors = {
            tuple(hashable(cell.factors[axis]) for axis in summary.axes): cell.factors
            for cell in summary.cells
        }
        found = [factors[point] for point in points["point"]]
        weights = [float(one.get("kl_weight", 1.0)) for one in found]
        names = [str(one.get("algorithm", "")) for one in found]
        points = points.assign(kl_weight=weights)
        if len(summaries) > 1:
            keys = [(summary.study, *point) for point in points["point"]]
            labels = [f"{summary.study}: {text}" for text in points["label"]]
            points = points.assign(point=pd.Series(keys, dtype=object), label=labels)
        for name, rows in points.groupby(pd.Series(names), sort=False):
            groups.setdefault(str(name), []).append(rows)
    return {name: pd.concat(rows, ignore_index=True) for name, rows in groups.items()}


def _scaling_blocks(name: str, found: Scaling, query: str) -> list[Block]:
    settings = found.settings
    blocks: list[Block] = [_scaling_picture(name, found, query)]
    if found.left_out:
        noun = "grid point has" if found.left_out == 1 else "grid points have"
        blocks.append(Prose(f"{found.left_out} {noun} no overall recall of p' and p'' in every "
                            "seed, and so no recall deficit: left out.", "absent"))  # fmt: skip
    if found.reason:
        blocks.append(Prose(f"No curve: {found.reason}.", "absent", ours=False))
    else:
        values = ", ".join(
            f"{key} {significant_text(value)}" for key, value in found.parameters.items()
        )
        better = "better" if found.error < found.error_of_mean else "no better"
        blocks.append(Prose(
            f"Fitted: {found.form} ({values or 'no parameters'}); interval: {found.interval}. "
            f"Leaving one setting out at a time, it predicts that setting's severity with an rms "
            f"error of {decimal_text(found.error, 3)}, {better} than the mean of the other "
            f"settings ({decimal_text(found.error_of_mean, 3)}).", ours=False))  # fmt: skip
    columns = {
        "setting": settings["label"].tolist(),
        "kl_weight": [setting_text(float(value)) for value in settings["kl_weight"]],
        "recall deficit, nats": [row_interval(r, "deficit") for _, r in settings.iterrows()],
        "severity": [row_interval(r, "severity") for _, r in settings.iterrows()],
        "fitted": [decimal_text(value) for value in settings["predicted"]],
        "fitted without it": [decimal_text(value) for value in settings["left_out"]],
        "severity's interval": [_SIDES[side] for side in settings["side"]],
    }
    data: list[Record] = records(settings)
    table = grid(
        "scaling", pd.DataFrame(columns), data=data, order=deepest_first(settings), query=query
    )
    curve = {
        "form": found.form, "parameters": found.parameters, "interval": found.interval,
        "x": found.x_name, "leave_one_out_error": found.error,
        "leave_one_out_error_of_mean": found.error_of_mean, "reason": found.reason,
        "xs": found.xs.tolist(), "ys": found.ys.tolist(), "low": found.low.tolist(),
        "high": found.high.tolist(),
    }  # fmt: skip
    table = replace(table, extra=curve)
    return [*blocks, Fold("Every setting's deficit, severity and prediction", [table])]


_SIDES = {"trap": "above 0", "reversed": "below 0", "unclear": "holds 0"}


def _scaling_picture(name: str, found: Scaling, query: str) -> Plot:
    stem = f"scaling-{slug(name)}" if name else "scaling"
    settings = found.settings
    if settings.empty:
        return Plot(stem, "No setting has both a recall deficit and a severity.")
    drawn = not found.reason
    x = settings["x"] if drawn else settings["deficit"]
    spread = tuple(
        settings[c].to_numpy(dtype=float) for c in ("severity", "severity_low", "severity_high")
    )
    weights = [f"kl_weight {setting_text(float(value))}" for value in settings["kl_weight"]]
    order = np.argsort(settings["kl_weight"].to_numpy(), kind="stable")
    points = (x.to_numpy(dtype=float)[order], *(values[order] for values in spread))
    curve = (found.xs, found.ys, found.low, found.high) if drawn else None
    figure = figures.scaling_curve(
        points,  # type: ignore[arg-type]  # a tuple of four by construction
        [weights[i] for i in order],
        curve,
        found.x_name if drawn else "recall deficit, nats",
    )
    heading = f"{name}: " if name else ""
    caption = (
        f"{heading}severity against the recall deficit (overall recall of p' minus that of p''), "
        "one point per setting with its 95 % interval"
    )
    caption += f"; the curve with its band ({found.interval})." if drawn else "."
    words = (
        f"Severity from {range_text(settings['severity'])} against recall deficits from "
        f"{range_text(settings['deficit'])} nats over {len(settings)} settings."
    )
    return draw(stem, figure, caption[0].upper() + caption[1:], words, query)

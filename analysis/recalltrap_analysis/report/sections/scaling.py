"""Whether severity grows with the recall that distillation lost, in one run or in several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from recalltrap_analysis.estimates.attainment import with_unit
from recalltrap_analysis.estimates.order_effect import ESTIMATED, severity_source, severity_title
from recalltrap_analysis.estimates.scaling import ScalingFit, fit, seed_points
from recalltrap_analysis.number_format import (
    decimal_text,
    row_interval,
    setting_text,
    significant_text,
)
from recalltrap_analysis.report.document.blocks import Block, Fold, Prose, Record, Section
from recalltrap_analysis.report.document.grid_tables import largest_first
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.scaling import scaling_plot
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import rows_of
from recalltrap_analysis.verdicts.summary import Summary


def scaling_section(run: ReadRun, summary: Summary) -> Section:
    """Severity against the recall that distillation lost, in one run."""
    return joint_scaling_section([summary])


def joint_scaling_section(summaries: Sequence[Summary]) -> Section:
    """Severity against the recall that distillation lost, a curve per algorithm and source."""
    blocks: list[Block] = [
        Prose("Distillation costs recall: p'' covers less of p* than p' does. If that is what "
              "traps K-A, severity (what the anchor costs) must grow with this **recall "
              "deficit**, and with the strength of the KL penalty.")]  # fmt: skip
    groups = _by_algorithm(summaries)
    if not groups:
        blocks.append(Prose("No grid point is complete, so there is nothing to fit.", "absent"))
    one = summaries[0] if len(summaries) == 1 else None
    query = ""
    if one:
        measured = severity_source(one.design) != ESTIMATED
        query = sql.scaling_query(one.axes, one.reward_unit, measured)
    for (name, kl_weight, source, unit), points in groups.items():
        fitted = fit(points, kl_weight)
        title = name if len({key[:2] for key in groups}) > 1 else ""
        blocks += _scaling_blocks(title, fitted, kl_weight, source, unit, query)
    return Section("scaling", "Severity vs recall deficit", blocks)


def _by_algorithm(
    summaries: Sequence[Summary],
) -> dict[tuple[str, str | None, str, str], pd.DataFrame]:
    """Rows of `seed_points` by algorithm, KL weight's name, where severity comes from, and unit.

    What was measured and what was estimated have no curve together, nor have two units. Points of
    several runs are kept apart.
    """
    groups: dict[tuple[str, str | None, str, str], list[pd.DataFrame]] = {}
    for summary in summaries:
        design, kind = summary.design, summary.kind
        points = seed_points(summary.outcomes, summary.pairs, design, kind.kl_weight)
        if points.empty:
            continue
        names = [
            str(design.settings[point].get(kind.algorithm, "")) if kind.algorithm else ""
            for point in points["point"]
        ]
        if len(summaries) > 1:
            keys = [(summary.study, *point) for point in points["point"]]
            labels = [f"{summary.study}: {text}" for text in points["label"]]
            points = points.assign(point=pd.Series(keys, dtype=object), label=labels)
        for name, rows in points.groupby(pd.Series(names), sort=False):
            key = (str(name), kind.kl_weight, severity_source(design), summary.unit)
            groups.setdefault(key, []).append(rows)
    return {key: pd.concat(rows, ignore_index=True) for key, rows in groups.items()}


def _scaling_blocks(
    name: str, fitted: ScalingFit, kl_weight: str | None, source: str, unit: str, query: str
) -> list[Block]:
    settings = fitted.settings
    figure = scaling_plot(name, fitted, kl_weight, source, unit, query)
    blocks: list[Block] = [figure] if figure is not None else []
    if fitted.left_out:
        noun = "grid point has" if fitted.left_out == 1 else "grid points have"
        blocks.append(Prose(f"{fitted.left_out} {noun} no overall recall of p' and p'' in every "
                            "seed, so no recall deficit: left out.", "absent"))  # fmt: skip
    if fitted.reason:
        blocks.append(Prose(f"No curve: {fitted.reason}.", "absent", ours=False))
    else:
        values = ", ".join(
            f"{key} {significant_text(value)}" for key, value in fitted.parameters.items()
        )
        better = "better" if fitted.error < fitted.error_of_mean else "no better"
        blocks.append(Prose(
            f"Fitted: {fitted.form} ({values or 'no parameters'}); interval: {fitted.interval}. "
            f"Leaving one setting out at a time, it predicts that setting's severity with an rms "
            f"error of {decimal_text(fitted.error, 3)}, {better} than the mean of the other "
            f"settings ({decimal_text(fitted.error_of_mean, 3)}).", ours=False))  # fmt: skip
    columns = {
        "setting": settings["label"].tolist(),
        **(
            {kl_weight: [setting_text(float(value)) for value in settings["penalty"]]}
            if kl_weight
            else {}
        ),
        "recall deficit, nats": [row_interval(r, "deficit") for r in rows_of(settings)],
        with_unit(severity_title(source), unit): [
            row_interval(r, "severity") for r in rows_of(settings)
        ],
        "fitted": [decimal_text(value) for value in settings["predicted"]],
        "fitted without it": [decimal_text(value) for value in settings["left_out"]],
        "severity's interval": [_SIDES[side] for side in settings["side"]],
    }
    data: list[Record] = records(settings.rename(columns={"penalty": kl_weight or "penalty"}))
    table = grid(
        "scaling",
        pd.DataFrame(columns),
        data=data,
        query=query,
        order=largest_first(settings["severity"]),
    )
    curve = {
        "severity_from": source, "unit": unit, "form": fitted.form, "parameters": fitted.parameters,
        "interval": fitted.interval,
        "x": fitted.x_name, "leave_one_out_error": fitted.error,
        "leave_one_out_error_of_mean": fitted.error_of_mean, "reason": fitted.reason,
        "xs": fitted.xs.tolist(), "ys": fitted.ys.tolist(), "low": fitted.low.tolist(),
        "high": fitted.high.tolist(),
    }  # fmt: skip
    table = replace(table, extra=curve)
    return [*blocks, Fold("Deficit, severity and prediction per setting", [table])]


_SIDES = {"above": "above 0", "below": "below 0", "unclear": "holds 0"}

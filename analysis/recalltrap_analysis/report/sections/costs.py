"""What each ordering cost, and the order effect at equal updates and at equal cost."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from recalltrap.streams import stream
from recalltrap_analysis.estimates.attainment import level_title, with_unit
from recalltrap_analysis.estimates.costs import cost_table, known_costs, unshared_seconds
from recalltrap_analysis.estimates.equal_cost import (
    CellCost,
    cell_costs,
    cost_measure,
    equal_cost_table,
    length_axis,
    length_setting,
)
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, KD_THEN_ALIGN
from recalltrap_analysis.number_format import (
    duration_text,
    quantity_text,
    ratio_text,
    row_interval,
    setting_text,
)
from recalltrap_analysis.report.document.blocks import Block, Prose, Section
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.sections.missing_cells import missing_costs
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import rows_of
from recalltrap_analysis.verdicts.summary import Summary

UNITS = {"flops": "FLOPs", "device_seconds": "device seconds"}


def cost_section(run: ReadRun, summary: Summary) -> Section:
    """Cost per ordering and stage, what was shared, the order effect at equal updates and cost."""
    costs = known_costs(run.frame("costs"))
    title = "Cost"
    if costs.empty:
        return Section("cost", title, [Prose("No cost has been recorded.", "absent")])
    table = cost_table(costs, summary.cells)
    paid = float(table["wall_seconds"].iloc[-1])
    saved = unshared_seconds(costs, summary.cells) - paid
    text = pd.DataFrame(
        {
            "ordering": table["ordering"],
            "stage": table["stage"],
            "built": table["artifacts"].astype(int),
            "wall s": [quantity_text(value) for value in table["wall_seconds"]],
            "device s": [quantity_text(value) for value in table["device_seconds"]],
            "tokens or samples": [quantity_text(value) for value in table["tokens"]],
            "FLOPs": [quantity_text(value) for value in table["flops"]],
        }
    )
    blocks: list[Block] = [
        grid("cost", text, data=records(table), query=sql.cost_query()),
        Prose(
            "Each ordering as if run alone, p' included: stages that two orderings share count in "
            f"both. The last row is what the run took, {duration_text(paid)}; without sharing it "
            f"would have taken {duration_text(saved)} more.",
            "small",
        ),
        *(
            Prose(
                f"Sums leave out unknown costs. {line[0].upper()}{line[1:]}.",
                "absent",
                ours=False,
            )
            for line in missing_costs(costs, summary)
        ),
        *_equal(costs, summary),
    ]
    return Section("cost", title, blocks)


def _equal(costs: pd.DataFrame, summary: Summary) -> list[Block]:
    """The order effect at equal updates and at equal cost, or why it can't be had."""
    if not {KD_THEN_ALIGN, ALIGN_THEN_KD} <= set(summary.design.orderings):
        return [Prose("Order effect at equal cost needs both K-A and A-K.", "absent")]
    measure = cost_measure(costs, summary.cells)
    spending = cell_costs(costs, summary.cells, summary.kind, measure)
    blocks: list[Block] = [Prose(_updates(spending, summary), ours=False)]
    blocks.append(Prose(_ratio(spending, summary, UNITS[measure]), ours=False))
    axis = length_axis(summary.design, summary.cells)
    if axis is None:
        setting = length_setting(summary.cells)
        which = f" (`{setting}`)" if setting else ""
        return [*blocks, Prose(
            f"**Order effect at equal cost** needs the alignment's length{which} as an axis: K-A "
            "is then taken at the length where it costs what A-K costs. Training curves can't "
            "stand in for it, since A-K would have to be distilled again from an earlier p'_AK.",
            "absent")]  # fmt: skip
    table = equal_cost_table(
        summary.pairs, summary.design, summary.cells, spending, stream(0, "analysis/equal-cost")
    )
    if table.empty:
        return [*blocks, Prose("No order effect at equal cost: no grid point has the costs and "
                               "rewards of both orderings.", "absent")]  # fmt: skip
    rows = rows_of(table)
    columns = {name: [setting_text(value) for value in table[name]] for name in summary.axes}
    columns[with_unit("order effect at equal updates", summary.unit)] = [
        row_interval(row, "equal_updates") for row in rows
    ]
    columns[with_unit("at equal cost", summary.unit)] = [
        row_interval(row, "equal_cost") for row in rows
    ]
    columns["cost of A-K / K-A"] = [ratio_text(row["cost_ak"], row["cost_ka"]) for row in rows]
    columns["K-A's budget"] = [_REACH[row["reach"]] for row in rows]
    order = table["equal_cost"].abs().argsort()[::-1].tolist()
    query = sql.pair_query(summary.axes, summary.reward_unit)
    matched = grid(
        "equal cost", pd.DataFrame(columns), data=records(table), order=order, query=query
    )
    blocks.append(Prose(
        f"**Order effect at equal cost**: K-A aligned until it costs what A-K costs "
        f"({UNITS[measure]} after p'), its {level_title(summary.unit)} interpolated between "
        "lengths, seed by seed."))  # fmt: skip
    return [*blocks, matched]


_REACH = {
    "within": "within its lengths",
    "beyond": "above its longest run, which stands in",
    "below": "below its shortest run, which stands in",
}


def _updates(spending: Mapping[str, CellCost], summary: Summary) -> str:
    """Whether the study's own pairs are at equal updates."""
    pairs: dict[tuple[str, int], dict[str, Mapping[str, int | None]]] = {}
    for cell in summary.cells:
        if cell.id in spending and cell.ordering.name in (KD_THEN_ALIGN, ALIGN_THEN_KD):
            # spelled once for all cells of a grid point
            key = (cell.factors.spelled, cell.seed)
            pairs.setdefault(key, {})[cell.ordering.name] = spending[cell.id].updates
    both = [pair for pair in pairs.values() if len(pair) == 2]
    if not both:
        return "Order effect at equal updates: no pair has a recorded cost of both orderings."
    if any(None in updates.values() for pair in both for updates in pair.values()):
        return "Order effect at equal updates: the stages didn't record how many updates they made."
    unequal = sum(dict(f[KD_THEN_ALIGN]) != dict(f[ALIGN_THEN_KD]) for f in both)
    if unequal:
        return (
            f"In {unequal} of {len(both)} pairs the orderings made different numbers of updates: "
            "the order effect is not at equal updates."
        )
    kinds = {stage: sorted({int(f[KD_THEN_ALIGN][stage] or 0) for f in both})
             for stage in both[0][KD_THEN_ALIGN]}  # fmt: skip
    words = " and ".join(
        f"{counts[0]} to {counts[-1]} updates of {stage}" if len(counts) > 1
        else f"{counts[0]} updates of {stage}"
        for stage, counts in kinds.items()
    )  # fmt: skip
    return (
        f"Equal updates: in every pair both orderings made the same {words} after p', so the "
        "order effect above is the one at equal updates."
    )


def _ratio(spending: Mapping[str, CellCost], summary: Summary, unit: str) -> str:
    spent: dict[str, list[float]] = {}
    for cell in summary.cells:
        if cell.id in spending:
            spent.setdefault(cell.ordering.name, []).append(spending[cell.id].amount)
    if not {KD_THEN_ALIGN, ALIGN_THEN_KD} <= set(spent):
        return "The costs of one of the orderings are not recorded."
    means = {name: sum(values) / len(values) for name, values in spent.items()}
    cost_ka, cost_ak = means[KD_THEN_ALIGN], means[ALIGN_THEN_KD]
    times = ratio_text(cost_ak, cost_ka)
    reason = ", since A-K aligns the larger model" if cost_ak > 1.005 * cost_ka else ""
    return (
        f"After p', a cell of A-K costs {quantity_text(cost_ak)} {unit}, one of K-A "
        f"{quantity_text(cost_ka)}: {times} times as much{reason}."
    )

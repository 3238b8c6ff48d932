"""The SQL behind the report's numbers: each recomputes the points that a table or figure shows.

The text is for `recalltrap query RUN "..."` and for any reader of the Parquet files; intervals and
tests are computed from the same rows in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recalltrap.orderings import ALIGN


@dataclass(frozen=True)
class RewardUnit:
    """What queries must know of a run's unit of rewards.

    `supremum` names the setting that is the reward's supremum, where no metric measures it;
    `in_sds`: rewards have none, and are in standard deviations of the reward under p'.
    """

    supremum: str | None = None
    in_sds: bool = False

    @property
    def zero(self) -> str:
        """The model whose reward is 0."""
        return "p_prime" if self.in_sds else "p_second"

    @property
    def size_name(self) -> str:
        """What `size` is called."""
        return "sd" if self.in_sds else "r_max"

    @property
    def size(self) -> str:
        """A cell's column that the unit is made of: R_max as measured, else as set; or the sd."""
        if self.in_sds:
            return "max(value) filter (model = 'p_prime' and metric = 'reward_sd') as sd"
        measured = "max(value) filter (metric = 'reward_supremum')"
        if self.supremum is None:
            return f"{measured} as r_max"
        return f'coalesce({measured}, any_value("{self.supremum}")) as r_max'

    @property
    def one(self) -> str:
        """The unit, in columns of a cell."""
        return "sd" if self.in_sds else "r_max - r0"

    @property
    def level(self) -> str:
        """What a model's level is called."""
        return "reward_in_sds" if self.in_sds else "attainment"


def select_axes(axes: Sequence[str]) -> tuple[str, str]:
    """The axes quoted, as they begin a select list, and as they end a group by."""
    quoted = ['"' + axis.replace('"', '""') + '"' for axis in axes]
    return "".join(f"{name}, " for name in quoted), ", ".join(quoted)


def group_by(group: str) -> str:
    """The end of a query that groups; empty without a group."""
    return f"\ngroup by {group}\norder by {group}" if group else ""


def _cells(select: str, unit: RewardUnit, *more: str) -> str:
    """A row `cell` per cell: what the unit is made of, the final model's reward and that of the
    unit's zero, and what else."""
    columns = ",\n    ".join(
        [
            "max(value) filter (model = 'final' and metric = 'reward') as r",
            f"max(value) filter (model = '{unit.zero}' and metric = 'reward') as r0",
            *more,
        ]
    )
    return f"""with cell as (
  select {select}ordering, seed, {unit.size},
    {columns}
  from metrics group by {select}ordering, seed
)"""


def order_effect_query(axes: Sequence[str], unit: RewardUnit) -> str:
    """Mean order effect of every grid point, and mean severity where K-A@p' ran."""
    select, group = select_axes(axes)
    measured = "reward_sd" if unit.in_sds else "reward_supremum"
    return f"""with cell as (
  select {select}ordering, seed, {unit.size},
    max(value) filter (model = 'final' and metric = 'reward') as r,
    max(value) filter (model = '{unit.zero}' and metric = 'reward') as r0
  from metrics where metric in ('reward', '{measured}') and model in ('final', '{unit.zero}')
  group by {select}ordering, seed
), pair as (
  select {select}seed, any_value(r0) as r0, any_value({unit.size_name}) as {unit.size_name},
    max(r) filter (ordering = 'A-K') - max(r) filter (ordering = 'K-A') as lead,
    max(r) filter (ordering = 'K-A@p''') - max(r) filter (ordering = 'K-A') as anchor
  from cell group by {select}seed
)
select {select}count(lead) as pairs, avg(lead / ({unit.one})) as order_effect,
  avg(anchor / ({unit.one})) as severity
from pair{group_by(group)}"""


def decomposition_query(axes: Sequence[str], unit: RewardUnit) -> str:
    """Mean parts of order effect per grid point."""
    select, group = select_axes(axes)
    cells = _cells(
        select,
        unit,
        "max(value) filter (model = 'p_prime_aligned' and metric = 'reward') as r_aligned",
        "max(value) filter (model = 'p_prime' and metric = 'optimum_reward') as best_prime",
        "max(value) filter (model = 'p_second' and metric = 'optimum_reward') as best_second",
    )
    return f"""{cells}, pair as (
  select {select}seed,
    max({unit.one}) filter (ordering = 'K-A') as room,
    max(r) filter (ordering = 'A-K') as ak, max(r) filter (ordering = 'K-A') as ka,
    max(r_aligned) filter (ordering = 'A-K') as aligned,
    max(best_prime) filter (ordering = 'A-K') as best_prime,
    max(best_second) filter (ordering = 'K-A') as best_second
  from cell group by {select}seed
)
select {select}avg((ak - aligned) / room) as last_distillation,
  avg((aligned - best_prime) / room) as optimiser_ak,
  avg((best_prime - best_second) / room) as reference,
  avg((best_second - ka) / room) as optimiser_ka, avg((ak - ka) / room) as order_effect
from pair{group_by(group)}"""


def pair_query(axes: Sequence[str], unit: RewardUnit) -> str:
    """Order effect of every grid point, seed by seed: what means, tests and effect sizes take."""
    select, group = select_axes(axes)
    order = f"{group}, seed" if group else "seed"
    return f"""{_cells(select, unit)}
select {select}seed, max((r - r0) / ({unit.one})) filter (ordering = 'K-A') as {unit.level}_ka,
  max((r - r0) / ({unit.one})) filter (ordering = 'A-K') as {unit.level}_ak,
  {unit.level}_ak - {unit.level}_ka as order_effect
from cell group by {select}seed
order by {order}"""


def scaling_query(axes: Sequence[str], unit: RewardUnit, measured: bool) -> str:
    """Mean recall deficit and mean severity of every grid point.

    `measured`: whether K-A@p' ran; else severity is the optima's estimate.
    """
    select, group = select_axes(axes)
    deficit = """max(value) filter (model = 'p_prime' and metric = 'overall_recall')
      - max(value) filter (model = 'p_second' and metric = 'overall_recall') as deficit"""
    optima = [f"max(value) filter (model = '{model}' and metric = 'optimum_reward') as best_{model}"
              for model in ("p_prime", "p_second")]  # fmt: skip
    difference = """max(r) filter (ordering = 'K-A@p''')
      - max(r) filter (ordering = 'K-A')"""
    if not measured:
        difference = """max(best_p_prime) filter (ordering = 'A-K')
      - max(best_p_second) filter (ordering = 'K-A')"""
    return f"""{_cells(select, unit, deficit, *optima)}, pair as (
  select {select}seed, any_value(deficit) as deficit,
    ({difference}) / any_value({unit.one}) as severity
  from cell group by {select}seed
)
select {select}avg(deficit) as deficit, avg(severity) as severity
from pair{group_by(group)}"""


def contrast_query(axes: Sequence[str], unit: RewardUnit) -> str:
    """Mean attainment of every ordering per grid point: contrasts are their differences."""
    select, group = select_axes(axes)
    tail = f"{group}, ordering" if group else "ordering"
    return f"""{_cells(select, unit)}
select {select}ordering, count(r) as seeds, avg((r - r0) / ({unit.one})) as {unit.level}
from cell{group_by(tail)}"""


def reward_recall_query(axes: Sequence[str], unit: RewardUnit) -> str:
    """Every final model's reward, attainment and recall, and the recall of p': the curves."""
    select, group = select_axes(axes)
    order = f"ordering, {group}, seed" if group else "ordering, seed"
    cells = _cells(
        select,
        unit,
        "max(value) filter (model = 'final' and metric = 'overall_recall') as recall",
        "max(value) filter (model = 'p_prime' and metric = 'overall_recall') as recall_p_prime",
    )
    return f"""{cells}
select ordering, {select}seed, r as reward, (r - r0) / ({unit.one}) as {unit.level}, recall,
  recall_p_prime
from cell order by {order}"""


def experiment_query(axes: Sequence[str], unit: RewardUnit) -> str:
    """Mean order effect and its parts by experiment, of every grid point."""
    select, group = select_axes(axes)
    cells = _cells(
        select,
        unit,
        "max(value) filter (model = 'p_prime_aligned' and metric = 'reward') as r_aligned",
    )
    return f"""{cells}, pair as (
  select {select}seed, any_value({unit.one}) as room,
    max(r) filter (ordering = 'A-K') as ak, max(r) filter (ordering = 'K-A') as ka,
    coalesce(max(r_aligned) filter (ordering = 'A-K'), max(r) filter (ordering = 'A')) as aligned,
    max(r) filter (ordering = 'K-A@p''') as anchored
  from cell group by {select}seed
)
select {select}avg((ak - ka) / room) as order_effect, avg((anchored - ka) / room) as anchor,
  avg((aligned - anchored) / room) as size_and_start,
  avg((ak - aligned) / room) as last_distillation
from pair{group_by(group)}"""


def curve_ends_query(axes: Sequence[str], metrics: Sequence[str]) -> str:
    """The first and the last value of curves of every first alignment, per seed."""
    select, group = select_axes(axes)
    names = ", ".join(f"'{name}'" for name in metrics)
    order = f"metric, {group}, ordering, seed" if group else "metric, ordering, seed"
    return f"""select metric, {select}ordering, seed,
  arg_min(curves.value, step) as first, arg_max(curves.value, step) as last
from curves join cells using (cell_id)
where stage = '{ALIGN}' and metric in ({names}) and isfinite(curves.value)
group by {order}
order by {order}"""


def boxplot_query(axes: Sequence[str]) -> str:
    """Every value behind the boxplots."""
    select, group = select_axes(axes)
    order = f"metric, {group}, ordering, seed" if group else "metric, ordering, seed"
    return f"""select metric, {select}ordering, seed, value
from metrics
where model = 'final'
  and metric in ('reward', 'target_precision', 'overall_recall', 'overall_precision')
order by {order}"""


def trajectory_query(axes: Sequence[str]) -> str:
    """Mean and spread of every model's recall, target precision and reward."""
    select, group = select_axes(axes)
    tail = f"{group}, ordering, model, metric" if group else "ordering, model, metric"
    return f"""select {select}ordering, model, metric, avg(value) as mean,
  stddev_samp(value) as sd, count(*) as seeds
from metrics
where metric in ('overall_recall', 'target_precision', 'reward') and ordering in ('K-A', 'A-K')
{group_by(tail).strip()}"""


def reference_query(axes: Sequence[str], beside: str = "hit_rate") -> str:
    """Recall and another metric of the references, per seed."""
    select, group = select_axes(axes)
    tail = f"{group}, seed, model, metric" if group else "seed, model, metric"
    return f"""select {select}seed, model, metric, any_value(value) as value
from metrics
where model in ('p_prime', 'p_second') and metric in ('overall_recall', '{beside}')
{group_by(tail).strip()}"""


def forecast_query(axes: Sequence[str]) -> str:
    """The optimum anchored to each reference against what alignment reached there, with the error.

    K-A is anchored to p'', all others to p'; A-K counts by its aligned intermediate, p'_AK.
    """
    select, group = select_axes(axes)
    tail = f"{group}, ordering" if group else "ordering"
    return f"""with cell as (
  select {select}ordering, seed,
    max(value) filter (metric = 'optimum_reward'
      and model = if(ordering = 'K-A', 'p_second', 'p_prime')) as forecast,
    max(value) filter (metric = 'reward'
      and model = if(ordering = 'A-K', 'p_prime_aligned', 'final')) as reached
  from metrics where ordering in ('K-A', 'K-A@p''', 'A-K', 'A') group by {select}ordering, seed
)
select {select}ordering, count(forecast - reached) as seeds, avg(forecast) as forecast,
  avg(reached) as reached, avg(abs(forecast - reached)) as mean_absolute_error,
  avg(forecast - reached) as bias
from cell{group_by(tail)}"""


def anchor_forecast_query(axes: Sequence[str], unit: RewardUnit) -> str:
    """The anchor part by the optima, and as measured: K-A@p' - K-A; in attainment."""
    select, group = select_axes(axes)
    cells = _cells(
        select,
        unit,
        "max(value) filter (model = 'p_prime' and metric = 'optimum_reward') as best_prime",
        "max(value) filter (model = 'p_second' and metric = 'optimum_reward') as best_second",
    )
    return f"""{cells}, pair as (
  select {select}seed, any_value((best_prime - best_second) / ({unit.one})) as forecast,
    max(r / ({unit.one})) filter (ordering = 'K-A@p''')
      - max(r / ({unit.one})) filter (ordering = 'K-A') as measured
  from cell group by {select}seed
)
select {select}count(forecast) as seeds, avg(forecast) as forecast,
  count(measured) as seeds_measured, avg(measured) as measured,
  avg(abs(forecast - measured)) as mean_absolute_error, avg(forecast - measured) as bias
from pair{group_by(group)}"""


def scorer_query(axes: Sequence[str]) -> str:
    """Reward and scores of every final model and of its p', with what they are measured in."""
    select, group = select_axes(axes)
    order = f"scorer, {group}, ordering, seed" if group else "scorer, ordering, seed"
    return f"""select scorer, {select}ordering, seed, model, metric, value
from metrics
where (metric in ('reward', 'score') and model in ('final', 'p_prime'))
  or (metric in ('reward_sd', 'score_sd') and model = 'p_prime')
order by {order}, model, metric"""


def noise_query(axes: Sequence[str]) -> str:
    """Spread over seeds beside evaluation noise."""
    select, group = select_axes(axes)
    tail = f"{group}, ordering, metric" if group else "ordering, metric"
    return f"""select {select}ordering, metric, count(*) as seeds, stddev_samp(value) as seed_sd,
  sqrt(avg(standard_error * standard_error)) as evaluation_error
from metrics
where model = 'final' and metric in ('reward', 'target_precision', 'overall_recall')
{group_by(tail).strip()}"""


def cost_query() -> str:
    """What the run paid, by stage, and how often each artifact was shared."""
    return """select stage, count(*) as built, sum(wall_seconds) as wall_seconds,
  sum(device_seconds) as device_seconds, sum(tokens) as tokens, sum(flops) as flops,
  sum(wall_seconds * reused_by) as spared_seconds
from costs group by stage order by stage"""


def count_query() -> str:
    """Planned against finished cells."""
    return """select planned.ordering, count(*) as planned,
  count(*) filter (cells.status = 'succeeded') as succeeded,
  count(*) filter (cells.status = 'failed') as failed,
  count(*) filter (cells.status is null) as missing
from planned left join cells using (cell_id) group by planned.ordering order by planned.ordering"""


def failure_query() -> str:
    """Failures by class and message."""
    return """select failure, message, count(distinct cell_id) as cells,
  any_value(retry_command) as retry_command
from failures group by failure, message order by cells desc"""

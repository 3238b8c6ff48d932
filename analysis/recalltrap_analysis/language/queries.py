"""The SQL behind the language study's own tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

from recalltrap_analysis.runs.sql import group_by, select_axes


def response_query(axes: Sequence[str]) -> str:
    """What each model says: shares of topics, coverage, grammar and lengths."""
    select, group = select_axes(axes)
    tail = f"{group}, ordering, model, metric" if group else "ordering, model, metric"
    return f"""select {select}ordering, model, metric, avg(value) as mean, count(*) as seeds
from metrics
where metric in ('topic_coverage', 'grammatical', 'length', 'eos_rate')
  or metric like 'topic_share/%'
{group_by(tail).strip()}"""


def topic_forecast_query(axes: Sequence[str]) -> str:
    """Each topic's share under the references and under the optima anchored to them."""
    select, group = select_axes(axes)
    tail = f"{group}, model, metric" if group else "model, metric"
    return f"""select {select}model, metric, avg(value) as mean
from (select distinct {select}seed, model, metric, value from metrics
  where model in ('p_prime', 'p_second') and metric like '%topic_%/%')
{group_by(tail).strip()}"""


def training_query(axes: Sequence[str]) -> str:
    """Held-out loss, teacher's entropy and their difference of every student."""
    select, group = select_axes(axes)
    tail = f"{group}, ordering, model, metric" if group else "ordering, model, metric"
    return f"""select {select}ordering, model, metric, avg(value) as mean, min(value) as lowest,
  max(value) as highest
from metrics where metric in ('heldout_loss', 'teacher_entropy', 'distillation_gap')
{group_by(tail).strip()}"""


def temperature_query(axes: Sequence[str]) -> str:
    """Recall and what the target sees, of every ordering's final model at every temperature."""
    select, group = select_axes(axes)
    return f"""select {select}ordering, metric, avg(value) as mean, stddev_samp(value) as sd
from metrics
where model = 'final'
  and metric in ('overall_recall', 'overall_precision', 'target_precision', 'reward')
{group_by(f"{group}, ordering, metric").strip()}"""

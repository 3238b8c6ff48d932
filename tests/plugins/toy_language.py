"""Runs of language studies made of invented numbers, with the columns of `LlmSettings`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recalltrap.graph import Cell, Node
from recalltrap.orderings import Ordering
from recalltrap.results.tables import factor_columns, factor_fields
from recalltrap_studies.llm.settings import LlmSettings

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun

TOPICS = {"weather": 0.7, "chess": 0.3}
SUPREMUM = 8.0


def models_of(ordering: Ordering, settings: LlmSettings, seed: int) -> dict[str, Node]:
    p_prime = Node("sft", seed, {})
    config = {"tau": settings.distill_temperature}
    models = {"p_prime": p_prime, "p_second": Node("distill", seed, config, {"teacher": p_prime})}
    current = p_prime
    for step in ordering.stages:
        last = {"tau": settings.last_distill_temperature or config["tau"]}
        aligned = current.stage == "align"
        stage, mine = ("distill", last if aligned else config) if step == "distill" else ("align", {
            "kl_weight": settings.kl_weight, "algorithm": settings.algorithm})  # fmt: skip
        current = Node(stage, seed, mine, {"start" if stage == "align" else "teacher": current})
        if stage == "align" and current.source is p_prime:
            models["p_prime_aligned"] = current
    return {**models, "final": current}


def measured(cell: Cell, ess: float, gap: float) -> dict[str, dict[str, float]]:
    """R0 = 4 and the supremum 8, a little by seed: K-A attains a quarter, A-K three quarters."""
    settings, seed = cell.settings, cell.seed
    assert isinstance(settings, LlmSettings)
    shift, top = 0.01 * seed, SUPREMUM + 0.01 * seed
    ordering = cell.ordering.name
    ends = {"K-A": 0.25, "A-K": 0.75, "K-A@p'": 0.45}
    attained = ends.get(ordering, 0.0) + 0.002 * seed
    tau = settings.distill_temperature
    if ordering == "A-K":
        tau = settings.last_distill_temperature or tau
    common = {"length": 12.0, "eos_rate": 0.98, "grammatical": 0.9, "topic_coverage": 0.8}
    shares = {f"topic_share/{topic}": weight - 0.05 for topic, weight in TOPICS.items()}
    trained = {"heldout_loss": 1.3 + gap, "teacher_entropy": 1.3, "distillation_gap": gap}
    anchor = {
        "optimum_ess": ess + seed, "reward_supremum": top, "hit_rate": 0.01,
        **{f"optimum_topic_share/{topic}": weight for topic, weight in TOPICS.items()},
        **{f"target_topic_share/{topic}": 0.5 for topic in TOPICS},
        **{f"topic_weight/{topic}": weight for topic, weight in TOPICS.items()},
    }  # fmt: skip
    start = 4.0 + shift
    room = top - start
    found: dict[str, dict[str, float]] = {
        "p_prime": {"reward": start + 0.2, "optimum_reward": start + 0.6 * room,
                    "overall_recall": -1.4, "target_precision": -2.0, **anchor},
        "p_second": {"reward": start, "optimum_reward": start + 0.3 * room,
                     "overall_recall": -1.6, "target_precision": -2.1, **anchor},
        "final": {"reward": start + attained * room, "overall_recall": -2.0 + tau + 0.01 * seed,
                  "target_precision": -1.5 + 0.2 * attained, "overall_precision": -1.0 - tau},
    }  # fmt: skip
    if ordering == "A-K":
        found["p_prime_aligned"] = {"reward": start + 0.6 * room, "overall_recall": -1.7,
                                    "target_precision": -1.4}  # fmt: skip
        found["final"] |= trained
    for name in ("p_prime", "p_second"):
        found[name] |= trained
    return {model: {**common, **shares, **values} for model, values in found.items()}


def curve_rows(cell: Cell, slope: float) -> list[dict[str, Any]]:
    """Ten held-out losses of each distillation, falling by `slope` per tenth; the alignment's."""
    identity = {"cell_id": cell.id}
    stages = ["sft", "distill"] + (["distill-2"] if cell.ordering.name == "A-K" else [])
    rows = [
        {**identity, "stage": stage, "step": 100 * k, "metric": "heldout_loss",
         "value": 2.0 - slope * k}
        for stage, k in itertools.product(stages, range(1, 11))
    ]  # fmt: skip
    align = {**identity, "stage": "align"}
    for step, metric in itertools.product((0, 10, 20), ("reward", "reward_sd", "reward_margin")):
        value = 4.0 + step / 10 + cell.seed / 10
        rows.append({**align, "step": step, "metric": metric, "value": value})
    return [*rows, {**align, "step": 10, "metric": "selected", "value": 1.0}]


def language_run(
    base: FakeRun,
    *,
    grid: Mapping[str, Sequence[Any]] = {"kl_weight": (0.35, 0.7)},
    seeds: int = 8,
    algorithm: str = "ppo",
    ess: float = 900.0,
    gap: float = 0.04,
    slope: float = 0.001,
    names: Sequence[str] = ("K-A", "A-K"),
) -> FakeRun:
    """A run of the orderings over the grid; `base` gives its storage and its other tables."""
    orderings = [Ordering.model_validate(name) for name in names]
    cells = []
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        settings = LlmSettings.model_validate({"algorithm": algorithm, **point})
        for ordering, seed in itertools.product(orderings, range(seeds)):
            models = models_of(ordering, settings, seed)
            cells.append(Cell("llm", ordering, seed, settings, models))
    metrics: list[dict[str, Any]] = []
    owners: list[Cell] = []
    for cell in cells:
        for model, found in measured(cell, ess, gap).items():
            for metric, value in found.items():
                owners.append(cell)
                metrics.append(
                    {"cell_id": cell.id, "ordering": cell.ordering.name, "seed": cell.seed,
                     "model": model, "metric": metric, "value": float(value),
                     "standard_error": 0.01}
                )  # fmt: skip
    factors = factor_columns(owners, factor_fields(LlmSettings))
    table = pa.Table.from_pylist(metrics)
    for name, column in factors.items():
        table = table.append_column(name, column)
    status = [
        {"cell_id": cell.id, "ordering": cell.ordering.name, "seed": cell.seed,
         "status": "succeeded"}
        for cell in cells
    ]  # fmt: skip
    curves = pa.Table.from_pylist([row for cell in cells for row in curve_rows(cell, slope)])
    costs = base.tables["costs"]
    tables = {**base.tables, "metrics": table, "cells": pa.Table.from_pylist(status),
              "curves": curves, "costs": costs.slice(0, 0)}  # fmt: skip
    study = replace(base.study, name="llm/fake", orderings=tuple(orderings), kind="llm",
                    seeds=tuple(range(seeds)))  # fmt: skip
    return replace(base, study=study, axes=tuple(grid), tables=tables, cells=cells)

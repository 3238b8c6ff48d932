"""One device against the CPU: a small mixture study and a nano language study, run on both.

Equal to the last bit, by design, whatever the device:

- identities (cells, artifacts), the planned grid, tokenizer, corpus, the weights before training
  (drawn on the CPU), every minibatch's rows, and all uniform numbers: NumPy streams on the CPU for
  language models, Threefry's integer arithmetic for mixtures (`test_cuda.py` holds that one);
- so the noise behind every sample is the same, and a sample differs only where a uniform number
  falls between two devices' values of the same cumulative probability.

Close, because floating-point sums have another order (and another precision for language models,
bfloat16 on a GPU against float32):

- mixtures (`MIXTURE`): float32 on both; rounding grows over the updates of a training;
- language models (`LANGUAGE`): one flipped token changes the rest of its response, so everything
  that is learned or measured from samples agrees in distribution alone. A difference may be
  `ERRORS` standard errors of both evaluations together, and beside it what two trainings on
  samples that differ that much end apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recalltrap.results.results import Results

MIXTURE: Mapping[str, float] = {
    "reward": 0.002,
    "overall_recall": 0.005,
    "overall_precision": 0.005,
    "target_precision": 0.02,
    "hit_rate": 0.0005,
    "optimum_reward": 0.002,
}
"""How far a mixture's metric may be from the CPU's, in its own unit (nats for precisions). The
compiled program against the eager one on a CPU, which round differently too: below 5e-5 in all."""
LANGUAGE: Mapping[str, float] = {
    "reward": 0.15,
    "overall_recall": 0.1,
    "overall_precision": 0.1,
    "target_precision": 0.1,
}
"""Beside `ERRORS` standard errors; nats per token, and the reward's unit (0 to 10). A CPU that
computes in bfloat16 as a GPU does, against float32: at most 43 % of what is allowed (one run)."""
ERRORS = 4.0
HELDOUT = 0.005
"""Nats per token between the held-out losses of p*, which learns the same batches on both; 4e-5 in
that run."""

EQUAL = {
    "cells": "select cell_id, ordering, seed, status from cells order by all",
    "planned": "select cell_id, config_hash from planned order by all",
    "artifacts": "select artifact_id, stage, tokens from costs "
    "where stage in ('pretrain', 'sft') order by all",
}
"""What has to be the same: name → question. A training's tokens count its minibatches' rows."""


@dataclass(frozen=True)
class Check:
    """One comparison: what, the tolerance, what was found, and whether it holds."""

    what: str
    tolerance: str
    found: str
    holds: bool


def compare(cpu: Results, device: Results, kind: str) -> Iterator[Check]:
    """Every check of two runs of one study."""
    for name, question in EQUAL.items():
        if kind == "llm" and name == "artifacts":
            question = question.replace("'pretrain', 'sft'", "'pretrain'")
        first, second = (run.sql(question).to_pylist() for run in (cpu, device))
        different = sum(a != b for a, b in zip(first, second, strict=False))
        different += abs(len(first) - len(second))
        found = f"{len(first) - different} of {len(first)} rows"
        yield Check(f"{kind}: {name}", "equal", found, bool(first) and not different)
    if kind == "llm":
        yield _heldout(cpu, device)
    tolerances = MIXTURE if kind == "mog" else LANGUAGE
    errors = 0.0 if kind == "mog" else ERRORS
    for metric, tolerance in tolerances.items():
        yield _metric(cpu, device, kind, metric, tolerance, errors)


def _heldout(cpu: Results, device: Results) -> Check:
    question = """
        select value from curves where metric = 'heldout_loss' and stage like 'pretrain%'
        order by step desc limit 1"""
    first, second = (_values(run, question) for run in (cpu, device))
    if not first or not second:
        return Check("llm: held-out loss of p*", f"{HELDOUT} nats", "missing", False)
    apart = abs(first[0] - second[0])
    found = f"{apart:.2g} of {first[0]:.3f} nats"
    return Check("llm: held-out loss of p*", f"{HELDOUT} nats", found, apart <= HELDOUT)


def _values(run: Results, question: str) -> list[float]:
    return [float(row["value"]) for row in run.sql(question).to_pylist()]


def _metric(
    cpu: Results, device: Results, kind: str, metric: str, tolerance: float, errors: float
) -> Check:
    """The largest difference of a metric over all cells and models, in tolerances."""
    question = f"""
        select cell_id, model, value, standard_error from metrics
        where metric = '{metric}' and scorer != 'selection' order by cell_id, model"""
    pairs = list(zip(_rows(cpu, question), _rows(device, question), strict=False))
    worst, apart = 0.0, 0.0
    for a, b in pairs:
        allowed = tolerance + errors * math.hypot(a["standard_error"], b["standard_error"])
        difference = abs(a["value"] - b["value"])
        share = difference / allowed if math.isfinite(difference) else math.inf
        if share >= worst:
            worst, apart = share, difference
    beside = f" + {errors:g} s.e." if errors else ""
    found = f"{apart:.2g} at most, {worst:.0%} of it, {len(pairs)} values"
    return Check(f"{kind}: {metric}", f"{tolerance:g}{beside}", found, bool(pairs) and worst <= 1)


def _rows(run: Results, question: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run.sql(question).to_pylist()
    return rows

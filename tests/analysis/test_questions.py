"""The script of three questions, run as a user would, and its answers held against the tables."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import recalltrap as rt

SCRIPT = Path(__file__).parents[2] / "analysis/questions.py"
SMALL = ["seeds=3", "settings.iterations=20", "settings.sft_iterations=60",
         "settings.distill_iterations=60"]  # fmt: skip


def load() -> Any:
    spec = importlib.util.spec_from_file_location("questions", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(200)  # 40 s alone, most of them Ray's start and the compiler
def test_the_three_questions_are_answered(storage: str) -> None:
    overrides = [word for setting in SMALL for word in ("-o", setting)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--storage", storage, *overrides],
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for heading in ("1. How deep", "2. What does", "3. Which trials"):
        assert heading in done.stdout
    questions, results = load(), rt.open_run("mog/quick", storage)
    depth = questions.how_deep_is_the_trap(results).to_pydict()
    assert depth["kl_weight"] == [0.5, 4.0]
    assert depth["pairs"] == [3, 3]
    cost = questions.what_does_the_lead_cost(results)
    assert len(cost) == 4
    assert (cost["low"] <= cost["A-K minus K-A"]).all()
    one = cost.iloc[0]
    rewards = results.sql(
        "select avg(value) filter (ordering = 'A-K') - avg(value) filter (ordering = 'K-A') as lead"
        " from metrics where model = 'final' and metric = 'reward' and kl_weight = 0.5"
    )["lead"].to_pylist()
    assert one["A-K minus K-A"] == pytest.approx(rewards[0])
    assert questions.which_trials_took_longest(results)["time_total_s"].is_monotonic_decreasing

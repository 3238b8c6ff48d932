"""Records: the plan refuses an incomplete one, and a new one is all that an algorithm needs."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from recalltrap.errors import InputError
from recalltrap.study.named_studies import load_study
from recalltrap_studies.mog.algorithm import Algorithm
from recalltrap_studies.mog.alignment.registry import ALGORITHMS, PPO, Ppo
from recalltrap_studies.mog.distillation.registry import DISTILLATIONS
from recalltrap_studies.mog.kind import KIND, _reads
from recalltrap_studies.mog.settings import MogSettings
from recalltrap_studies.mog.stage_settings import Alignment
from recalltrap_studies.mog.stages import SAMPLED_TRUTH
from recalltrap_studies.records import LateImport

ALL = [SAMPLED_TRUTH, *DISTILLATIONS.values(), *ALGORITHMS.values()]


class Late(Alignment):
    late_setting: float = Field(0.1, description="Declared after the study's settings were made.")


class Disagrees(Ppo):
    clip_range: float = Field(0.3, description="Another part says 0.2.")


@pytest.mark.parametrize("algorithm", ALL, ids=lambda algorithm: algorithm.name)
def test_every_record_is_complete_and_its_code_takes_what_it_says(algorithm: Algorithm) -> None:
    algorithm.check(MogSettings)
    make = algorithm.iteration.load()
    assert tuple(inspect.signature(make).parameters) == algorithm.shaped_by
    iteration = make(**dict(algorithm.shape(algorithm.settings.model_construct())))
    assert (iteration.monitor is not None) == bool(algorithm.monitored)
    assert (iteration.minibatches is not None) == bool(algorithm.pair_set)


def from_module(name: str) -> LateImport:
    return LateImport(f"recalltrap_studies.{name}:iteration")


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"name": ""}, "it has no name"),
        ({"version": 0}, "it has no version"),
        (
            {"iteration": from_module("mog.alignment.nowhere")},
            "no module",
        ),
        ({"iteration": from_module("nowhere.at_all")}, "no module"),
        (
            {"iteration": from_module("mog.alignment.losses")},
            "no iteration in",
        ),
        ({"measures": ()}, "it measures nothing"),
        ({"columns": ("clip_rage",)}, "Ppo has no setting clip_rage"),
        ({"epochs": "epochs"}, "Ppo has no setting epochs"),
        ({"pair_set": "ppo_epochs"}, "isn't paired"),
        (
            {"settings": Late, "shaped_by": (), "columns": (), "epochs": None},
            "late_setting came too late",
        ),
        ({"settings": Disagrees}, "clip_range the default 0.2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_plan_refuses_an_incomplete_record(
    changes: dict[str, Any], missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(PPO, **changes)
    monkeypatch.setitem(ALGORITHMS, "ppo", broken)
    _reads.cache_clear()  # of the record as it was
    with pytest.raises(InputError, match=rf"algorithm {broken.name!r} can't run.*{missing}"):
        load_study("mog/quick")


IPO_CODE = '''
"""IPO (Azar et al. 2024, eq. 17): the margin of every pair is drawn to 1 / (2 tau)."""

import torch

from recalltrap_studies.mog.alignment.pairs import halves, labelled_pairs
from recalltrap_studies.mog.program.iteration import Iteration, adam, recorded
from recalltrap_studies.mog.program.mixture import density, score, terms
from recalltrap_studies.mog.program.noise import Noise


def iteration(*, ipo_updates):
    return Iteration(first, again, ipo_updates - 1) if ipo_updates > 1 else Iteration(only)


def only(state, hp, noise):
    return first(state, hp, noise)[0]


def first(state, hp, noise):
    pairs, _ = labelled_pairs(state.params, hp, Noise(*noise))
    return again(state, hp, pairs), pairs


def again(state, hp, pairs):
    t = terms(state.params)
    d = density(t, pairs.x, pairs.y)
    one, two = halves(d.log_prob)
    gap = pairs.sign * (one - two - pairs.delta_ref) - 0.5 / hp.own["ipo_tau"]
    slope = 2.0 * pairs.sign * gap / gap.shape[1]
    state = adam(state, hp, score(t, d, torch.cat([slope, -slope], 1)))
    return recorded(state, (gap * gap).mean(1, keepdim=True))
'''
IPO_RECORD = '''
from pydantic import Field

from recalltrap_studies.mog.algorithm import Algorithm
from recalltrap_studies.mog.alignment import registry
from recalltrap_studies.records import LateImport


class Ipo(registry.Dpo):
    """IPO: a squared loss on labelled pairs."""

    ipo_tau: float = Field(0.1, ge=0.001, le=10, description="Weight of the anchor.")
    ipo_updates: int = Field(2, ge=1, le=8, description="Updates on each batch.")


registry.ALGORITHMS["ipo"] = Algorithm(
    name="ipo", settings=Ipo, version=3, iteration=LateImport("ipo_code:iteration"),
    measures=("loss",), shaped_by=("ipo_updates",), columns=("preference_noise", "ipo_tau"),
    paired=True, epochs="ipo_updates", reference_passes=0.5,
)
'''
IPO_STUDY = """
name: mog/ipo
kind: mog
question: Does an algorithm that nobody knew run from end to end?
orderings: [K-A, A-K]
seeds: 2
grid: {ipo_tau: [0.1, 1.0]}
settings:
  algorithm: ipo
  sft_iterations: 10
  distill_iterations: 10
  iterations: 10
  batch_size: 16
"""
RUN = """
import json
import ipo_record  # what a line in the registry does
import recalltrap as rt
from recalltrap.study.schema import study_schema
results = rt.run("ipo.yaml", storage="runs", local=True)
schema = study_schema()["allOf"]
mixture = next(one for one in schema if one["if"]["properties"]["kind"]["const"] == "mog")
print(json.dumps({
    "cells": results.table("cells").to_pylist(),
    "curves": results.table("curves").to_pylist(),
    "costs": results.table("costs").to_pylist(),
    "metrics": results.table("metrics").to_pylist(),
    "allowed": mixture["then"]["properties"]["settings"]["properties"]["algorithm"]["enum"],
}, default=str))
"""


@pytest.mark.slow
def test_an_algorithm_is_a_module_and_a_record(tmp_path: Path) -> None:
    """IPO, which this package doesn't have, runs a study without a change of any other file."""
    files = {"ipo_code.py": IPO_CODE, "ipo_record.py": IPO_RECORD, "ipo.yaml": IPO_STUDY}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    said = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path, "RECALLTRAP_COMPILE": "0"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout.splitlines()[-1])
    assert told["allowed"] == [*ALGORITHMS, "ipo"]
    assert [cell["status"] for cell in told["cells"]] == ["succeeded"] * 8
    aligned = [row for row in told["curves"] if row["stage"] == "align"]
    assert {row["metric"] for row in aligned} == {"loss", "reference_kl", "preference_margin"}
    costs = [row for row in told["costs"] if row["stage"] == "align"]
    assert {row["tokens"] for row in costs} == {10 * 16 * 2}
    assert {row["updates"] for row in costs} == {10}
    finals = {
        (row["ordering"], row["seed"], row["ipo_tau"]): row["value"]
        for row in told["metrics"]
        if (row["model"], row["metric"]) == ("final", "reward")
    }
    assert len(set(finals.values())) == 8, "its own setting and its seeds change the numbers"


def test_the_default_algorithm_is_the_first_record() -> None:
    settings = KIND.settings()
    assert settings.algorithm == next(iter(ALGORITHMS))  # type: ignore[attr-defined]

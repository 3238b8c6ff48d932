"""Once a study ran, its report scores the sentence that was said before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from recalltrap_analysis.check.decision import COSTS_LITTLE, KEEP, UNDECIDED
from recalltrap_analysis.estimates.attainment import ATTAINMENT, IN_SDS
from recalltrap_analysis.report.check.scored import FOLDER, JSON_FILE, check_blocks, score
from recalltrap_analysis.report.run_report import run_report
from recalltrap_analysis.report.writers import markdown
from recalltrap_analysis.runs.loaded_run import ReadRun

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

POINTS = ((0.5,), (2.0,))


def said(word: str, words: Sequence[str]) -> dict[str, Any]:
    points = [{"kl_weight": p[0], "word": w} for p, w in zip(POINTS, words, strict=True)]
    return {
        "word": word, "sentence": "It was said.", "margin": 0.05, "unit": ATTAINMENT,
        "axes": ["kl_weight"], "points": points,
    }  # fmt: skip


def measured(means: Sequence[float], seeds: int = 10, sd: float = 0.01) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows: list[Mapping[str, Any]] = []
    for point, mean in zip(POINTS, means, strict=True):
        for seed, value in enumerate(generator.normal(mean, sd, seeds)):
            rows.append({"point": point, "seed": seed, "measured_anchor_part": value})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("word", "words", "means", "outcome"),
    [
        (KEEP, (KEEP, KEEP), (0.3, 0.2), "right"),
        (KEEP, (COSTS_LITTLE, KEEP), (0.0, 0.3), "right"),
        (KEEP, (KEEP, KEEP), (0.0, 0.01), "wrong"),
        (KEEP, (KEEP, KEEP), (0.05, 0.05), "couldn't tell"),
        (COSTS_LITTLE, (COSTS_LITTLE, COSTS_LITTLE), (0.0, 0.01), "right"),
        (COSTS_LITTLE, (COSTS_LITTLE, COSTS_LITTLE), (0.0, 0.3), "wrong"),
        (COSTS_LITTLE, (COSTS_LITTLE, COSTS_LITTLE), (0.0, 0.05), "couldn't tell"),
        (UNDECIDED, (UNDECIDED, COSTS_LITTLE), (0.3, 0.3), "couldn't tell"),
    ],
)
def test_a_sentence_is_held_against_what_was_measured(
    word: str, words: Sequence[str], means: Sequence[float], outcome: str
) -> None:
    assert score(said(word, words), measured(means), ATTAINMENT)[0] == outcome


def test_few_seeds_and_other_units_cannot_tell() -> None:
    few = measured((0.0, 0.0), seeds=4)
    both = (COSTS_LITTLE, COSTS_LITTLE)
    assert score(said(COSTS_LITTLE, both), few, ATTAINMENT)[0] == "couldn't tell"
    assert score(said(COSTS_LITTLE, both), measured((0.0, 0.0)), IN_SDS)[0] == "couldn't tell"
    lost = measured((np.nan, np.nan))
    outcome, why = score(said(KEEP, (KEEP, KEEP)), lost, ATTAINMENT)
    assert outcome == "couldn't tell"
    assert "no two pairs" in why


def test_the_report_says_how_the_check_did(make_run: MakeRun) -> None:
    orderings = ["K-A", "A-K", "K-A@p'"]
    run = make_run(grid={"kl_weight": (0.5, 2.0)}, orderings=orderings, seeds=9, noise=0.0)
    assert "recalltrap check" not in markdown(run_report(ReadRun(run)))
    check = said(COSTS_LITTLE, (COSTS_LITTLE, COSTS_LITTLE))
    path = f"{run.run}/{FOLDER}/{JSON_FILE}"
    run.storage.write(path, json.dumps({"check": check}).encode())
    text = markdown(run_report(ReadRun(run)))
    assert "Before the study ran, \\`recalltrap check\\` said: “It was said.”" in text
    assert "That was right: the measured anchor part is not larger than the margin" in text


def test_a_check_that_can_t_be_read_costs_the_report_nothing(make_run: MakeRun) -> None:
    run = make_run(seeds=3)
    run.storage.write(f"{run.run}/{FOLDER}/{JSON_FILE}", b"{")
    read = ReadRun(run)
    assert check_blocks(read, measured((0.0, 0.0)), ATTAINMENT) == []
    assert "check" in read.problems

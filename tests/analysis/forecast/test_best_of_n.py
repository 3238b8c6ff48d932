"""Best of n at every grid point: who is read, how often, and for several prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap_analysis.forecast.best_of_n import best_of_n_rows
from recalltrap_analysis.runs.kind_record import KindRecord, RewardSamples
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.statistics.best_of_n import BestOfNCurve

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun


def rewards(cell: Cell, name: str) -> npt.NDArray[np.float64]:
    """Two prompts, sixty samples; p'' finds less."""
    generator = np.random.default_rng(cell.seed)
    best = 10.0 if name == "p_prime" else 6.0
    return best * generator.uniform(size=(2, 60))


def kind_that_counts(reads: Counter[Hashable]) -> KindRecord:
    def read(cell: Cell, name: str, store: ArtifactReader) -> npt.NDArray[np.float64]:
        reads[cell.models[name].id] += 1
        if cell.seed == 3:
            raise InputError("seed 3 is gone.")
        return rewards(cell, name)

    samples = RewardSamples(lambda cell, name: cell.models[name].id, read)
    return KindRecord(kl_weight="kl_weight", reward_samples=samples)


def test_every_grid_point_has_its_own_n_and_each_reference_is_read_once(make_run: MakeRun) -> None:
    run = make_run(seeds=3)
    reads: Counter[Hashable] = Counter()
    found = best_of_n_rows(run.cells, run.axes, kind_that_counts(reads), run.store)
    assert set(reads.values()) == {1}
    assert len(reads) == 2 * 3
    assert len(found.rows) == 3 * 3
    assert found.lacking == ""
    for row in found.rows.to_dict("records"):
        cell = next(c for c in run.cells if c.seed == row["seed"])
        for name in ("p_prime", "p_second"):
            best = BestOfNCurve.of(rewards(cell, name)).best(row["point"][0])
            assert row[f"n_{name}"] == best.n
            assert row[f"best_of_n_reward_{name}"] == pytest.approx(best.reward)
            assert row[f"best_of_n_objective_{name}"] == pytest.approx(best.objective)


def test_what_can_t_be_read_is_told_and_costs_its_seed_alone(make_run: MakeRun) -> None:
    run = make_run(seeds=5)
    reads: Counter[Hashable] = Counter()
    found = best_of_n_rows(run.cells, run.axes, kind_that_counts(reads), run.store)
    assert found.lacking == "seed 3 is gone"
    assert set(reads.values()) == {1}
    lacking = found.rows["n_p_prime"].isna()
    assert (lacking == (found.rows["seed"] == 3)).all()


def test_a_kind_without_samples_says_so(make_run: MakeRun) -> None:
    run = make_run(seeds=2)
    found = best_of_n_rows(run.cells, run.axes, KindRecord(kl_weight="kl_weight"), run.store)
    assert found.rows.empty
    assert "keeps no rewards" in found.lacking

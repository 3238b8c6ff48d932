"""Artifacts: the same bits alone and in any company, snapshots, divergence, golden numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from recalltrap.graph import Cell
from recalltrap.kind import NodeFailure
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.mog import execution, rows
from recalltrap_studies.mog.alignment.registry import ALGORITHMS
from recalltrap_studies.mog.execution import WIDTH
from recalltrap_studies.mog.kind import KIND
from recalltrap_studies.mog.models import MODEL_FILE, Model, unpack

SMALL = {
    "sft_iterations": 20,
    "distill_iterations": 20,
    "batch_size": 32,
    "offline_pairs": 70,
    "learning_rate": 0.03,
}
Build = Callable[[Sequence[Cell], ArtifactStore], list[NodeFailure]]
Make = Callable[..., Cell]
MakeStore = Callable[[str], ArtifactStore]


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def files(cell: Cell, store: ArtifactStore) -> dict[str, bytes]:
    return {node.id: store.read(node, MODEL_FILE) for node in cell.nodes}


def final(cell: Cell, store: ArtifactStore) -> Model:
    return unpack(store.read(cell.models["final"], MODEL_FILE))[0]


def curve(cell: Cell, store: ArtifactStore) -> dict[str, Any]:
    return unpack(store.read(cell.models["final"], MODEL_FILE))[1]


@pytest.mark.slow
@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_alone_in_a_pack_and_with_more_threads(
    algorithm: str, make_cell: Make, make_store: MakeStore, build_all: Build
) -> None:
    fields = {**SMALL, "algorithm": algorithm, "iterations": 8}
    cell = make_cell("K-A", 3, **fields)
    company = [
        *(make_cell("K-A", seed, **fields, kl_weight=0.2) for seed in range(WIDTH + 2)),
        cell,
        make_cell("A-K", 3, **fields),
    ]
    torch.set_num_threads(1)
    alone, packed, threaded = (make_store(name) for name in ("alone", "packed", "threaded"))
    assert build_all([cell], alone) == []
    assert build_all(company, packed) == []
    torch.set_num_threads(2)
    assert build_all(company[::-1], threaded) == []
    assert files(cell, alone) == files(cell, packed) == files(cell, threaded)
    tables = [KIND.evaluate(cells, s) for cells, s in (([cell], alone), (company, packed))]
    rows = [t.metrics.filter(pc_equal(t.metrics, cell.id)) for t in tables]
    assert rows[0].equals(rows[1])


def pc_equal(table: Any, cell_id: str) -> Any:
    import pyarrow.compute as pc

    return pc.equal(table["cell_id"], cell_id)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_longer_run_passes_through_the_shorter_ones(
    algorithm: str,
    make_cell: Make,
    make_store: MakeStore,
    build_all: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execution, "CHUNK", 10)
    lengths = (3, 10, 13, 25)
    cells = [make_cell("A", 0, **SMALL, algorithm=algorithm, iterations=n) for n in lengths]
    together = make_store("together")
    build_all(cells, together)
    for index, cell in enumerate(cells):
        alone = make_store(f"alone-{index}")
        build_all([cell], alone)
        assert files(cell, alone) == files(cell, together)
    steps = [list(curve(cell, together)["step"]) for cell in cells]
    assert steps == [[3], [10], [10, 13], [10, 20, 25]]


def test_a_diverging_row_fails_alone(
    make_cell: Make, store: ArtifactStore, build_all: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = make_cell("A", 0, **SMALL, iterations=20), make_cell("A", 1, **SMALL, iterations=20)
    build_all([good], store)
    reference = files(good, store)
    initial = rows.initial_model

    def spoilt(part: Any, components: int, seed: int, stage: str) -> Model:
        model = initial(part, components, seed, stage)
        return Model(model.logits * np.nan, model.means, model.cholesky) if seed == 1 else model

    monkeypatch.setattr(rows, "initial_model", spoilt)
    failures = build_all([good, bad], store)
    assert [f.node.id for f in failures] == [bad.models["p_prime"].id]
    assert failures[0].failure == "nan"
    assert "seed 1 stopped being finite between iterations 0 and 20" in failures[0].message
    assert not store.has(bad.models["p_prime"])
    assert files(good, store) == reference


def test_ppo_clips_from_the_second_epoch_on(
    make_cell: Make, store: ArtifactStore, build_all: Build
) -> None:
    fields = {**SMALL, "iterations": 20, "learning_rate": 0.1, "clip_range": 0.05}
    one, four = (make_cell("A", 0, **fields, ppo_epochs=n) for n in (1, 4))
    build_all([one, four], store)
    assert curve(one, store)["clip_fraction"].max() == 0.0
    assert curve(four, store)["clip_fraction"].min() > 0.05
    assert not np.array_equal(final(one, store).means, final(four, store).means)


@pytest.mark.parametrize("fields", [{}, {"covariance": "full", "learning_rate": 0.1}])
def test_the_clip_range_changes_no_bit_at_one_epoch(
    fields: dict[str, Any], make_cell: Make, store: ArtifactStore, build_all: Build
) -> None:
    """One update on a policy's own samples: every ratio is exactly 1."""
    cells = [
        make_cell("A", 0, **{**SMALL, "iterations": 20, "clip_range": clip, **fields})
        for clip in (0.2, 1e-9, 1.0)
    ]
    build_all(cells, store)
    assert len({store.read(cell.models["final"], MODEL_FILE) for cell in cells}) == 1


@pytest.mark.slow
def test_sizes_of_the_pair_set_are_an_axis(
    make_cell: Make, make_store: MakeStore, build_all: Build
) -> None:
    """Sizes below, beside and above the batch advance in one call, each as it does alone."""
    fields = {**SMALL, "algorithm": "dpo_offline", "iterations": 12}
    cells = [make_cell("A", 0, **{**fields, "offline_pairs": n}) for n in (2, 31, 32, 70, 96)]
    together = make_store("together")
    assert build_all(cells, together) == []
    for cell in cells:
        alone = make_store(f"alone-{cell.factors['offline_pairs']}")
        build_all([cell], alone)
        assert files(cell, alone) == files(cell, together)
    finals = {together.read(cell.models["final"], MODEL_FILE) for cell in cells}
    assert len(finals) == len(cells)


def test_preference_noise_flips_its_share_of_labels(
    make_cell: Make, store: ArtifactStore, build_all: Build
) -> None:
    cells = [
        make_cell("A", 0, **SMALL, algorithm="dpo_online", iterations=60, preference_noise=noise)
        for noise in (0.0, 0.5)
    ]
    build_all(cells, store)
    clean, coin = (curve(cell, store)["reward"][-1] for cell in cells)
    assert clean > coin + 0.5


def test_full_covariances_learn_a_slant(
    make_cell: Make, store: ArtifactStore, build_all: Build
) -> None:
    cells = [make_cell("K", 0, **SMALL, covariance=c) for c in ("full", "diagonal")]
    build_all(cells, store)
    full, diagonal = (unpack(store.read(c.models["p_prime"], MODEL_FILE))[0] for c in cells)
    assert np.abs(full.cholesky[:, 1]).max() > 0.01
    assert (diagonal.cholesky[:, 1] == 0).all()


def test_both_orderings_share_what_they_share(make_cell: Make) -> None:
    ka, ak = (make_cell(name, 5) for name in ("K-A", "A-K"))
    assert ka.models["p_prime"].id == ak.models["p_prime"].id
    assert ka.models["p_second"].id == ak.models["p_second"].id
    assert "p_prime_aligned" in ak.models
    assert "p_prime_aligned" not in ka.models


def test_golden_numbers(make_cell: Make, store: ArtifactStore, build_all: Build) -> None:
    """A refactor leaves these as they are; a change of the science changes them on purpose."""
    cells = [make_cell(name, 7, **SMALL, iterations=20) for name in ("K-A", "A-K")]
    build_all(cells, store)
    got = [float(final(cell, store).means.sum()) for cell in cells]
    p_prime = unpack(store.read(cells[0].models["p_prime"], MODEL_FILE))[0]
    got.append(float(p_prime.log_prob(np.array([[1.0, -1.0]]))[0]))
    np.testing.assert_allclose(got, GOLDEN, rtol=2e-4)


GOLDEN = [-0.45048989, 0.72034445, -2.74384084]

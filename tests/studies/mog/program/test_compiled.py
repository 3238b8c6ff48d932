"""The compiled program against the eager one; its bits alone, in a pack, with more threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from recalltrap.graph import Cell
from recalltrap.kind import NodeFailure
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.mog.models import MODEL_FILE, unpack
from recalltrap_studies.mog.program.compilation import can_compile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="there is no C++ compiler"),
]

SMALL = {
    "p_prime_components": 3,
    "student_components": 2,
    "sft_iterations": 20,
    "distill_iterations": 20,
    "iterations": 20,
    "batch_size": 64,
    "offline_pairs": 150,
}
Build = Callable[[Sequence[Cell], ArtifactStore], list[NodeFailure]]
Make = Callable[..., Cell]
MakeStore = Callable[[str], ArtifactStore]


def arrays(cell: Cell, store: ArtifactStore) -> list[Any]:
    stored = [unpack(store.read(node, MODEL_FILE)) for node in cell.nodes]
    return [v for m, c in stored for v in (m.logits, m.means, m.cholesky, *c.values())]


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "ppo", "ppo_epochs": 2, "targets": [6, 7]},
        {"algorithm": "ppo", "covariance": "full"},
        {"algorithm": "grpo"},
        {"algorithm": "grpo", "kl_estimator": "k3"},
        {"algorithm": "dpo_online", "preference_noise": 0.1},
        {"algorithm": "dpo_offline"},
    ],
    ids=lambda fields: "-".join(str(v) for v in fields.values()),
)
def test_compiled_numbers_are_the_eager_ones(
    fields: dict[str, Any],
    make_cell: Make,
    make_store: MakeStore,
    build_all: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = make_cell("A", 0, **SMALL, **fields)
    eager, compiled = make_store("eager"), make_store("compiled")
    build_all([cell], eager)
    monkeypatch.setenv("RECALLTRAP_COMPILE", "1")
    build_all([cell], compiled)
    for a, b in zip(arrays(cell, eager), arrays(cell, compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_compiled_bits_do_not_depend_on_company_or_threads(
    make_cell: Make,
    make_store: MakeStore,
    build_all: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECALLTRAP_COMPILE", "1")
    cell = make_cell("K-A", 3, **SMALL)
    company = [make_cell("K-A", seed, **SMALL, kl_weight=0.3) for seed in range(23)]
    alone, packed, threaded = (make_store(name) for name in ("alone", "packed", "threaded"))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        build_all([cell], alone)
        build_all([*company, cell], packed)
        torch.set_num_threads(2)
        build_all([cell, *company], threaded)
    finally:
        torch.set_num_threads(before)
    first, second, third = (
        [store.read(node, MODEL_FILE) for node in cell.nodes] for store in (alone, packed, threaded)
    )
    assert first == second == third

"""The distillations' compiled programs: the eager ones' numbers, and the same bits in company."""

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
Build = Callable[[Sequence[Cell], ArtifactStore], list[NodeFailure]]
Make = Callable[..., Cell]
MakeStore = Callable[[str], ArtifactStore]
SMALL = {
    "p_prime_components": 3,
    "student_components": 2,
    "sft_iterations": 20,
    "distill_iterations": 20,
    "iterations": 20,
    "batch_size": 64,
}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("on_policy", {}),
        ("on_policy", {"covariance": "full", "jsd_mix": 1.0}),
        ("adpa_plus", {}),
        ("adpa_plus", {"covariance": "full", "advantage_reference": "student_init"}),
    ],
)
def test_compiled_numbers_are_the_eager_ones_and_their_bits_their_own(
    name: str,
    fields: dict[str, Any],
    make_cell: Make,
    make_store: MakeStore,
    build_all: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ordering = {"name": "x", "stages": ["align", {"distill": name}]}
    cell = make_cell(ordering, 3, **SMALL, **fields)
    company = [make_cell(ordering, seed, **SMALL, **fields, kl_weight=0.3) for seed in (0, 1, 2, 4)]
    eager, alone, packed = (make_store(store) for store in ("eager", "alone", "packed"))
    assert build_all([cell], eager) == []
    monkeypatch.setenv("RECALLTRAP_COMPILE", "1")
    assert build_all([cell], alone) == build_all([*company, cell], packed) == []
    for node in cell.nodes:
        assert alone.read(node, MODEL_FILE) == packed.read(node, MODEL_FILE)
        models = [unpack(store.read(node, MODEL_FILE)) for store in (eager, alone)]
        (first, curve), (second, other) = models
        for a, b in ((first.means, second.means), (first.logits, second.logits)):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        for metric in curve:
            values, others = (np.asarray(c[metric], dtype=float) for c in (curve, other))
            np.testing.assert_allclose(values, others, rtol=1e-4, atol=1e-4)

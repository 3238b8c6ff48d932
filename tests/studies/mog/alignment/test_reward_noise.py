"""Noisy rewards: what an alignment learns from has noise, what is reported has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from recalltrap.graph import Cell
from recalltrap.kind import NodeFailure
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.mog.alignment.pairs import labels
from recalltrap_studies.mog.alignment.registry import ALGORITHMS
from recalltrap_studies.mog.alignment.rewards import seen_reward
from recalltrap_studies.mog.models import MODEL_FILE, isotropic, unpack
from recalltrap_studies.mog.program.noise import Noise
from recalltrap_studies.mog.rows import Tensors, make_row

Make = Callable[..., Cell]
Build = Callable[[Sequence[Cell], ArtifactStore], list[NodeFailure]]
MakeStore = Callable[[str], ArtifactStore]
SMALL = {"sft_iterations": 20, "distill_iterations": 10, "batch_size": 64, "offline_pairs": 70}


def curve(cell: Cell, store: ArtifactStore) -> dict[str, Any]:
    return unpack(store.read(cell.models["final"], MODEL_FILE))[1]


def test_no_noise_is_in_no_identity(make_cell: Make) -> None:
    plain, none, noisy = (
        make_cell("A-K", **fields) for fields in ({}, {"reward_noise": 0.0}, {"reward_noise": 1.0})
    )
    assert none.id == plain.id != noisy.id
    assert none.models["final"].id == plain.models["final"].id != noisy.models["final"].id
    assert noisy.models["p_second"].id == plain.models["p_second"].id
    assert "reward_noise" not in plain.models["p_prime_aligned"].config


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_noise_changes_its_own_rows_alone(
    algorithm: str, make_cell: Make, make_store: MakeStore, build_all: Build
) -> None:
    """Rows without noise keep their bits beside rows that have some; and those in any company."""
    fields = {**SMALL, "algorithm": algorithm, "iterations": 6}
    plain, noisy = (make_cell("A", 3, **fields, reward_noise=noise) for noise in (0.0, 2.0))
    alone, together = make_store("alone"), make_store("together")
    assert build_all([plain], alone) == build_all([noisy], alone) == []
    company = [make_cell("A", 4, **fields, reward_noise=0.5), noisy, plain]
    assert build_all(company, together) == []
    for cell in (plain, noisy):
        node = cell.models["final"]
        assert alone.read(node, MODEL_FILE) == together.read(node, MODEL_FILE)
    files = {alone.read(cell.models["final"], MODEL_FILE) for cell in (plain, noisy)}
    assert len(files) == 2


@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_what_is_reported_has_no_noise(
    algorithm: str, make_cell: Make, store: ArtifactStore, build_all: Build
) -> None:
    """At the first iteration both policies are the same, and so are the samples."""
    fields = {**SMALL, "algorithm": algorithm, "iterations": 1}
    plain, noisy = (make_cell("A", 0, **fields, reward_noise=noise) for noise in (0.0, 50.0))
    build_all([plain, noisy], store)
    for measure in ("reward", "reward_sd", "kl"):
        assert curve(plain, store)[measure] == curve(noisy, store)[measure]
    assert curve(plain, store)["loss"] != curve(noisy, store)["loss"]


@pytest.mark.parametrize("name", ["dckd", "adpa"])
def test_the_pairs_of_a_distillation_are_labelled_by_the_same_rewards(
    name: str, make_cell: Make
) -> None:
    ordering = {"name": "x", "stages": ["align", {"distill": name}]}
    node = make_cell(ordering, reward_noise=4.0).models["final"]
    model = isotropic(torch.zeros(1, 2).double().numpy(), 0.1)
    tensors = Tensors([make_row(node, lambda parent: model)], torch.device("cpu"))
    hp = tensors.hyperparameters()
    assert tensors.shape.noisy
    assert [float(t) for t in (hp.own["reward_noise"], hp.height, hp.sharpness)] == [4.0, 10.0, 2.0]
    assert "reward_noise" not in make_cell(ordering).models["final"].config


def block(make_cell: Make, noise: float) -> Tensors:
    node = make_cell("A", algorithm="dpo_online", reward_noise=noise).models["final"]
    model = isotropic(torch.zeros(1, 2).double().numpy(), 0.1)
    return Tensors([make_row(node, lambda parent: model)], torch.device("cpu"))


def test_a_pair_is_labelled_by_its_noisy_rewards(make_cell: Make) -> None:
    """Two pairs, the first samples on the target: rewards (10, 10) against (10 e^-2, 10 e^-8)."""
    hp = block(make_cell, 4.0).hyperparameters()
    x, y = torch.tensor([[1.0, 1.0, 0.0, -1.0]]), torch.tensor([[-1.0] * 4])
    drawn = torch.tensor([[0.0, -3.0, 0.0, 0.0]])
    one = torch.full_like(drawn, 0.5)
    assert labels(x, y, Noise(one, one, one, one), hp).tolist() == [[1.0, 1.0]]
    noise = Noise(one, one, one, one, drawn)
    assert labels(x, y, noise, hp).tolist() == [[1.0, -1.0]]  # 10 - 12 < 10 e^-8
    assert seen_reward(x, noise, hp).tolist() == [[1.0, -11.0, 0.0, -1.0]]
    assert block(make_cell, 4.0).shape.noisy
    assert not block(make_cell, 0.0).shape.noisy

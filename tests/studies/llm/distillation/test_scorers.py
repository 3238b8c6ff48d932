"""Scores that are stored are those that are computed, to float16's rounding."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data.sample_shards import map_sequences
from recalltrap_studies.llm.data.token_sequences import IGNORED, PLACES, Sequences
from recalltrap_studies.llm.distillation import scorers
from recalltrap_studies.llm.distillation.scorers import AdvantageScores, TeacherScores
from recalltrap_studies.llm.resources import LlmResources
from tests.studies.llm.distillation.distilled import ALIGNED, distil, distill_node, put_handed
from tests.studies.llm.training_nodes import TEACHER, sample_node

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def handed(
    taught: ArtifactStore, tiny_model: PreTrainedModel, tiny_tokenizer: Any
) -> ArtifactStore:
    put_handed(taught, tiny_model, tiny_tokenizer)
    return taught


@pytest.fixture
def sequences(taught: ArtifactStore, tmp_path: Path) -> Sequences:
    artifact = taught.open(sample_node(TEACHER))
    return map_sequences(artifact, "heldout", tmp_path, 512, WorkerGroup())


def aligned(model: PreTrainedModel) -> PreTrainedModel:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.2)
    return other


@pytest.mark.parametrize("batch", ["padded", "packed"])
def test_every_learned_token_finds_its_own_scores(
    sequences: Sequences, tiny_model: PreTrainedModel, batch: str, tmp_path: Path
) -> None:
    width = int(tiny_model.config.vocab_size)
    scorer = TeacherScores(tiny_model, 0.9)
    stored = scorers.store(scorer, sequences, width, tmp_path, WorkerGroup())
    assert stored.values.dtype == np.float16
    assert stored.values.shape == (int(sequences.learned.sum()), width)
    rows = np.array([3, 0, 7, 5])
    inputs = (
        sequences.padded(rows, 0, numbered=True)
        if batch == "padded"
        else sequences.packed(rows, 0, 48, numbered=True)
    )
    places = inputs[PLACES][inputs["labels"] != IGNORED]
    assert len(set(places.tolist())) == len(places) == int(sequences.learned[rows].sum())
    part = slice(0, 2)
    found, computed = (one.of(inputs)(part, width) for one in (stored, scorer))
    torch.testing.assert_close(found, computed, rtol=1e-3, atol=2e-3)


def test_an_advantage_loses_less_than_two_stored_log_probabilities_would(
    sequences: Sequences, tiny_model: PreTrainedModel, tmp_path: Path
) -> None:
    """And far less than at bfloat16's rounding of the two, which is as large as many advantages."""
    width = int(tiny_model.config.vocab_size)
    other = aligned(tiny_model)
    scorer = AdvantageScores(other, tiny_model)
    stored = scorers.store(scorer, sequences, width, tmp_path, WorkerGroup())
    inputs = sequences.padded(np.arange(16), 0, numbered=True)
    exact = scorer.of(inputs)(slice(None), width)
    error = (stored.of(inputs)(slice(None), width) - exact).abs()
    of_two = {}
    for kind in (torch.float16, torch.bfloat16):
        rounded = [
            TeacherScores(model).of(inputs)(slice(None), width).to(kind).float()
            for model in (other, tiny_model)
        ]
        of_two[kind] = (rounded[0] - rounded[1] - exact).abs()
    assert float(error.max()) < 0.004
    assert float(error.mean()) < 0.5 * float(of_two[torch.float16].mean())
    assert float(of_two[torch.bfloat16].max()) > 4 * float(of_two[torch.float16].max())


@pytest.mark.parametrize("way", ["logits", "dckd", "adpa"])
def test_stored_scores_change_no_curve_beyond_rounding(handed: ArtifactStore, way: str) -> None:
    computed, stored = (
        distil(
            handed,
            distill_node(way, 60 + place, ALIGNED),
            LlmResources.model_validate({"teacher_scores": how}),
        )
        for place, how in enumerate(("computed", "stored"))
    )
    for name, values in computed.items():
        np.testing.assert_allclose(stored[name], values, rtol=5e-3, atol=5e-3, err_msg=name)


def test_scores_are_stored_where_reading_them_is_cheaper() -> None:
    """Of a small vocabulary and several epochs; never of a large one, nor what is met once."""
    nano = {"parameters": 160_000, "vocabulary": 512, "places": 500_000}
    assert scorers.reading_is_cheaper(**nano, epochs=4)
    assert not scorers.reading_is_cheaper(**nano, epochs=1)
    assert not scorers.reading_is_cheaper(135_000_000, 49_152, 500_000_000, epochs=4)
    assert not scorers.reading_is_cheaper(**{**nano, "places": 10**10}, epochs=4)

"""DCKD and ADPA: what they are at their ends, what they hand over, and how they stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import StageError
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data.token_sequences import Sequences
from recalltrap_studies.llm.distillation import preference_distillation
from recalltrap_studies.llm.distillation.labelled_pairs import labelled_pairs, pairs_to_one_prompt
from recalltrap_studies.llm.fingerprints import rows_identity
from recalltrap_studies.llm.models import tokenizers, weights
from recalltrap_studies.llm.resources import LlmResources
from tests.studies.llm.distillation.distilled import (
    ALIGNED,
    START,
    distil,
    distill_node,
    put_handed,
)
from tests.studies.llm.training_nodes import TEACHER, UPDATES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def handed(
    taught: ArtifactStore, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> ArtifactStore:
    """The store with an aligned teacher, surer than its reference, and a student to go on from."""
    put_handed(taught, tiny_model, tiny_tokenizer)
    return taught


def test_adpa_without_an_advantage_is_supervised_fine_tuning(handed: ArtifactStore) -> None:
    """Where the aligned teacher is its own reference, whatever gamma; and where gamma is 0."""
    none = distil(handed, distill_node("adpa", 1, advantage_weight=5.0))
    assert max(map(abs, none["advantage"])) == 0
    zero = distil(handed, distill_node("adpa", 2, teacher=ALIGNED, advantage_weight=0.0))
    assert max(map(abs, zero["advantage"])) > 0
    for curves in (none, zero):
        np.testing.assert_allclose(curves["loss"], curves["better_nll"], rtol=1e-6)
    np.testing.assert_allclose(none["better_nll"], zero["better_nll"], rtol=1e-5)


def test_the_advantage_rises_with_its_weight(handed: ArtifactStore) -> None:
    curves = [
        distil(handed, distill_node("adpa", 3, teacher=ALIGNED, advantage_weight=weight))
        for weight in (0.0, 2.0)
    ]
    plain, weighted = (found["advantage"][-1] for found in curves)
    assert weighted > plain + 0.01
    assert curves[1]["start_kl"][-1] > 0
    assert curves[0]["entropy"][0] == pytest.approx(curves[1]["entropy"][0], rel=1e-4)


def test_the_reference_of_the_advantage_is_the_one_that_is_asked_for(handed: ArtifactStore) -> None:
    """`START` has the weights of the teacher's reference here: both are the same to the bit."""
    curves = [
        distil(handed, distill_node("adpa", 5, teacher=ALIGNED, advantage_reference=reference))
        for reference in ("teacher_sft", "student_init")
    ]
    assert curves[0]["advantage"] == curves[1]["advantage"]


def test_a_collapse_of_the_entropy_stops_and_names_the_weight(
    handed: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preference_distillation, "COLLAPSE", 0.9)
    node = distill_node("adpa", 6, teacher=ALIGNED, advantage_weight=200.0)
    with pytest.raises(StageError, match=r"entropy fell .* settings.advantage_weight = 200 ") as e:
        distil(handed, node)
    assert e.value.failure == "nan"
    assert not handed.has(node)


def test_dckd_of_a_teacher_by_itself_has_no_divergence(handed: ArtifactStore) -> None:
    node = distill_node("dckd", 7, dckd_weight=3.0, learning_rate=1e-9)
    config = {name: value for name, value in node.config.items() if name != "architecture"}
    node = replace(node, config=config, parents={**node.parents, "start": TEACHER})
    curves = distil(handed, node)
    assert max(curves["better_kl"] + curves["worse_kl"]) < 1e-6
    np.testing.assert_allclose(curves["loss"], curves["better_nll"], rtol=1e-5)


@pytest.mark.parametrize("way", ["sequence", "logits", "on_policy", "dckd"])
def test_a_student_goes_on_from_where_it_is_told_to(handed: ArtifactStore, way: str) -> None:
    node = distill_node(way, 9, teacher=ALIGNED, start=True, learning_rate=1e-9)
    distil(handed, node)
    student, start = (weights.read_model(handed, one).state_dict() for one in (node, START))
    assert student.keys() == start.keys()
    for name, weight in start.items():
        assert (student[name] - weight).abs().max() < 1e-6


def test_dckd_s_loss_is_the_sum_of_its_terms_and_falls(handed: ArtifactStore) -> None:
    curves = distil(handed, distill_node("dckd", 8, teacher=ALIGNED, dckd_weight=0.5))
    terms = (np.array(curves[name]) for name in ("better_nll", "better_kl", "worse_kl"))
    nll, better, worse = terms
    np.testing.assert_allclose(curves["loss"], nll + 0.5 * (better + worse), rtol=1e-5)
    assert better[-1] < 0.7 * better[0]
    assert worse[-1] < 0.7 * worse[0]
    assert len(nll) == UPDATES


@pytest.mark.parametrize("way", ["dckd", "adpa"])
def test_parts_of_an_update_change_no_curve(handed: ArtifactStore, way: str) -> None:
    whole = distil(handed, distill_node(way, 10, teacher=ALIGNED))
    parts = distil(
        handed, distill_node(way, 11, teacher=ALIGNED), LlmResources(gradient_accumulation=2)
    )
    assert whole.keys() == parts.keys()
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, rtol=2e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(("way", "passes"), [("dckd", 1.0), ("adpa", 2 * 0.5)])
def test_what_scores_is_paid_for_what_it_scores(
    handed: ArtifactStore, way: str, passes: float
) -> None:
    """DCKD's teacher scores every sequence; ADPA's and its reference the student's own half."""
    node = distill_node(way, 14, ALIGNED)
    distil(handed, node)
    student, teacher = (
        sum(p.numel() for p in weights.read_model(handed, one).parameters())
        for one in (node, ALIGNED)
    )
    cost = handed.open(node).cost
    assert cost["flops"] == pytest.approx((6 * student + 2 * passes * teacher) * cost["tokens"])


def pairs(store: ArtifactStore, scratch: Path, **fields: Any) -> tuple[Sequences, Sequences]:
    """The better and the worse of every pair of a node."""
    node = distill_node("dckd", 12, **fields)
    tokenizer = tokenizers.read_tokenizer(store, TEACHER)
    size = int(weights.read_model(store, TEACHER).config.vocab_size)
    better, worse, _ = labelled_pairs(node, store, tokenizer, scratch, size, 64, WorkerGroup())
    return better, worse


def lengths(sequences: Sequences) -> np.ndarray[Any, Any]:
    return np.array([len(sequences.row(row)) for row in range(len(sequences))])


def test_the_reward_says_which_is_better_and_noise_turns_labels_round(
    handed: ArtifactStore, tmp_path: Path
) -> None:
    better, worse = pairs(handed, tmp_path)
    assert (lengths(better) >= lengths(worse)).all()  # `length` rewards length
    assert (lengths(better) > lengths(worse)).any()
    same, _ = pairs(handed, tmp_path, preference_noise=0.0)
    assert (same.starts == better.starts).all()
    noisy, _ = pairs(handed, tmp_path, preference_noise=0.3)
    turned = float((noisy.starts != better.starts).mean())
    assert 0.15 < turned < 0.45
    judged, _ = pairs(handed, tmp_path, reward_noise=4.0)
    assert 0.05 < float((judged.starts != better.starts).mean()) < 0.5
    for first, second in zip(range(len(better)), range(len(worse)), strict=True):
        assert not np.array_equal(better.row(first), worse.row(second))


def test_pairs_are_responses_to_one_prompt() -> None:
    rows = Sequences.of_lists([[1, 2, 9], [3, 4, 8], [1, 2, 7], [3, 5], [1, 2, 6]], [2, 2, 2, 1, 2])
    assert pairs_to_one_prompt(rows).tolist() == [[0, 2]]


def test_a_file_s_pairs_are_learned_from_as_they_stand(
    handed: ArtifactStore, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "The", "chosen": " fox sees", "rejected": " river"}\n' * 8)
    fields: dict[str, Any] = {"preferences": rows_identity(str(path)), "distill_epochs": UPDATES}
    node = distill_node("dckd", 13, ALIGNED, **fields)
    parents = {name: node.parents[name] for name in ("samples", "teacher", "reference")}
    curves = distil(handed, replace(node, parents=parents))
    assert curves["better_nll"][-1] < curves["better_nll"][0]

"""What trainings on given models begin with, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.graph import Node
from recalltrap.orderings import Ordering
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.models import tokenizers, weights
from recalltrap_studies.llm.models.layers import kept_layers
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages.load import run_load
from recalltrap_studies.llm.stages.train import untrained
from tests.studies.llm.given_folders import folder_of, layered


@pytest.fixture
def given(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    large, small = layered(tiny_tokenizer, 5), layered(tiny_tokenizer, 2, seed=1)
    return {
        "large": folder_of(tmp_path / "large", large, tiny_tokenizer),
        "small": folder_of(tmp_path / "small", small.bfloat16(), tiny_tokenizer),
    }


def student(store: ArtifactStore, given: dict[str, str], **fields: Any) -> PreTrainedModel:
    """The student of a study on the large model, before it has learned anything."""
    settings = LlmSettings(p_prime=given["large"], p_prime_weights="given", **fields)
    one = KIND.cell(Ordering.model_validate("K"), settings, 1)
    for node in one.nodes:
        if node.stage == "load":
            build(store, node)
    tokenizer = tokenizers.read_tokenizer(store, one.models["p_prime"])
    return untrained(one.models["final"], store, tokenizer)


def build(store: ArtifactStore, node: Node) -> None:
    for _ in run_load(node, store, WorkerGroup()):
        pass


def state(folder: str) -> dict[str, torch.Tensor]:
    """The weights as they stand in the folder, by transformers alone."""
    found: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    return dict(found.state_dict())


def test_a_given_p_prime_is_the_folders(store: ArtifactStore, given: dict[str, str]) -> None:
    settings = LlmSettings(p_prime=given["large"], p_prime_weights="given")
    node = KIND.cell(Ordering.model_validate("A"), settings, 1).models["p_prime"]
    build(store, node)
    model = weights.read_model(store, node)
    theirs = state(given["large"])
    assert model.state_dict().keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model.state_dict().items())


def test_a_given_student_begins_as_the_folders(store: ArtifactStore, given: dict[str, str]) -> None:
    model = student(store, given, student=given["small"], student_weights="given")
    theirs = state(given["small"])
    assert {t.dtype for t in theirs.values()} == {torch.bfloat16}
    assert {t.dtype for t in model.parameters()} == {torch.float32}, "they are trained"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, theirs[name].float()), name


def test_a_student_of_layers_begins_as_p_prime_s(
    store: ArtifactStore, given: dict[str, str]
) -> None:
    model = student(store, given, student_weights="layers", student_layers=3)
    theirs = state(given["large"])
    assert model.config.num_hidden_layers == 3
    for name, tensor in model.state_dict().items():
        parts = name.split(".")
        if parts[1] == "layers":
            parts[2] = str(kept_layers(5, 3)[int(parts[2])])
        assert torch.equal(tensor, theirs[".".join(parts)]), name


def test_a_new_student_shares_nothing_with_its_folder(
    store: ArtifactStore, given: dict[str, str]
) -> None:
    model, theirs = student(store, given, student=given["small"]), state(given["small"])
    for name, tensor in model.state_dict().items():
        if tensor.ndim > 1:
            same = (tensor == theirs[name].float()).float().mean()
            assert float(same) < 0.01, name
        else:
            assert bool((tensor == 1).all()), "a gain that nothing has learned"

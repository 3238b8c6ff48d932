"""A teacher and its samples, which the tests of trainings learn from."""

from __future__ import annotations

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from tests.studies.llm.conftest import put_model
from tests.studies.llm.training_nodes import TEACHER, draw_samples, sample_node


@pytest.fixture(scope="module")
def taught(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> ArtifactStore:
    """A store with a teacher and its samples."""
    store = ArtifactStore(Storage(str(tmp_path_factory.mktemp("taught"))))
    put_model(store, TEACHER, tiny_model, tiny_tokenizer)
    draw_samples(store, sample_node(TEACHER))
    return store

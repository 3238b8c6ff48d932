"""Contracts with transformers and the hub, which `models.upstream` relies on."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers import FalconH1ForCausalLM, LlamaConfig, LlamaForCausalLM

from recalltrap_studies.llm.models import upstream


def test_models_with_a_state_of_their_own_say_so() -> None:
    assert upstream.keeps_a_state(FalconH1ForCausalLM), "its cache looks like a transformer's"
    assert not upstream.keeps_a_state(LlamaForCausalLM)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_model_tells_its_attention(attention: str) -> None:
    config = LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, vocab_size=16,
                         num_attention_heads=1)  # fmt: skip
    model = LlamaForCausalLM(config)
    model.set_attn_implementation(attention)
    assert upstream.attention_of(model.config) == attention


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hub id whose branch `main` stands in the cache."""
    model = tmp_path / "models--owner--name"
    LlamaConfig().save_pretrained(model / "snapshots" / COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    (model / "blobs").mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return "owner/name"


def test_the_cache_knows_what_commit_a_model_is_of(cached: str) -> None:
    assert upstream.commit_of(cached, None) == COMMIT
    assert upstream.commit_of(cached, "main") == COMMIT
    assert upstream.commit_of(cached, COMMIT) == COMMIT
    assert upstream.commit_of(cached, "other") is None


def test_what_was_never_fetched_has_no_commit(tmp_path: Path) -> None:
    assert upstream.commit_of("owner/never-fetched", None) is None

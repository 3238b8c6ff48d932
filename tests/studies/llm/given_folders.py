"""Models of a few layers as folders in the hub's format, for tests of models that are given."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap_studies.llm.models import weights
from tests.studies.llm.conftest import tiny_config


def layered(
    tokenizer: PreTrainedTokenizerFast,
    layers: int,
    *,
    width: int = 16,
    seed: int = 0,
    spare: int = 0,
) -> PreTrainedModel:
    """An untrained Llama with tied embeddings, `spare` of them beyond the tokenizer's tokens."""
    return weights.fresh_model(tiny_config(tokenizer, layers, width, spare), seed)


def folder_of(path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> str:
    """The model and its tokenizer, as anybody's save_pretrained leaves them."""
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)

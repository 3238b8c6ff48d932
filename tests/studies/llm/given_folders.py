"""Models of a few layers as folders in the hub's format, for tests of models that are given."""

from __future__ import annotations

from pathlib import Path

from transformers import LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

from recalltrap_studies.llm.models import weights


def layered(
    tokenizer: PreTrainedTokenizerFast,
    layers: int,
    *,
    width: int = 16,
    seed: int = 0,
    spare: int = 0,
) -> PreTrainedModel:
    """An untrained Llama with tied embeddings, `spare` of them beyond the tokenizer's tokens."""
    config = LlamaConfig(
        vocab_size=len(tokenizer) + spare,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        initializer_range=0.1,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return weights.fresh_model(config, seed)


def folder_of(path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> str:
    """The model and its tokenizer, as anybody's save_pretrained leaves them."""
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)

"""Models of some layers of another: which are kept, and that they are copied bit for bit."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from recalltrap.errors import InputError
from recalltrap_studies.llm.models.architectures import blank_model
from recalltrap_studies.llm.models.layers import check_cut, cut_config, cut_model, kept_layers
from tests.studies.llm.given_folders import layered

SMALL: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 5,
}
TWO_HEADS: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 32}


@given(st.integers(2, 200), st.data())
def test_layers_are_evenly_spaced_with_both_ends(of: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(2, of))
    numbers = kept_layers(of, kept)
    gaps = {b - a for a, b in itertools.pairwise(numbers)}
    assert len(numbers) == kept
    assert (numbers[0], numbers[-1]) == (0, of - 1)
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


def test_some_spacings_by_hand() -> None:
    assert kept_layers(30, 10) == (0, 3, 6, 10, 13, 16, 19, 23, 26, 29)
    assert kept_layers(5, 3) == (0, 2, 4)
    assert kept_layers(4, 4) == (0, 1, 2, 3)


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(vocab_size=40, n_embd=16, n_head=2, n_layer=5, n_positions=32),
        GPTNeoXConfig(**SMALL, intermediate_size=32),
        OPTConfig(**SMALL, ffn_dim=32, word_embed_proj_dim=16, max_position_embeddings=32),
        Qwen3Config(**SMALL, **TWO_HEADS),
        Gemma3TextConfig(
            **SMALL,
            **TWO_HEADS,
            layer_types=["sliding_attention", "full_attention"] * 2 + ["sliding_attention"],
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_every_parameter_is_that_of_its_layer(config: PreTrainedConfig) -> None:
    torch.manual_seed(0)
    model = blank_model(config)
    check_cut(config, 3, "p_prime = 'x'")
    small = cut_model(model, 3)
    theirs, numbers = dict(model.named_parameters()), kept_layers(5, 3)
    seen = set()
    for name, parameter in small.named_parameters():
        parts = name.split(".")
        for place, part in enumerate(parts):
            if part.isdigit():
                parts[place] = str(numbers[int(part)])
        source = ".".join(parts)
        seen.add(source)
        assert torch.equal(parameter, theirs[source]), name
        assert parameter.data_ptr() != theirs[source].data_ptr(), name
    left_out = {name for name in theirs if name not in seen}
    assert left_out
    assert all(any(f".{n}." in name for n in (1, 3)) for name in left_out)


def test_a_list_per_layer_is_cut_likewise() -> None:
    kinds = ["full_attention", "sliding_attention", "full_attention", "full_attention",
             "sliding_attention"]  # fmt: skip
    config = Qwen3Config(**SMALL, **TWO_HEADS, layer_types=kinds, use_sliding_window=True)
    assert cut_config(config, 3).layer_types == [kinds[0], kinds[2], kinds[4]]
    assert config.num_hidden_layers == 5
    assert config.layer_types == kinds


def test_all_layers_are_the_model_itself(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    model, ids = layered(tiny_tokenizer, 4), torch.arange(2, 12)[None]
    with torch.no_grad():
        whole, same, fewer = (
            m(ids).logits for m in (model, cut_model(model, 4), cut_model(model, 2))
        )
    assert torch.equal(whole, same)
    assert not torch.allclose(whole, fewer)


def test_what_cannot_be_cut_is_refused(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    config = layered(tiny_tokenizer, 4).config
    with pytest.raises(InputError, match=r"student_layers = 5: p_prime = 'x' has 4 layers.*2 to 4"):
        check_cut(config, 5, "p_prime = 'x'")
    lone = layered(tiny_tokenizer, 1).config
    with pytest.raises(InputError, match=r"has 1 layer\. Nothing can be left out.*given or new"):
        check_cut(lone, 2, "p_prime = 'x'")
    config.no_layer_of_this = [1, 2, 3]
    with pytest.raises(InputError, match=r"no_layer_of_this isn't one entry per layer.*: new"):
        check_cut(config, 2, "p_prime = 'x'")

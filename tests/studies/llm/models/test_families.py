"""Models of other families: how they start, that they are sampled and scored alike, and which of
them are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel

from recalltrap.errors import InputError, StageError
from recalltrap_studies.llm.data.responses import PromptRows, Request
from recalltrap_studies.llm.inference import log_probs
from recalltrap_studies.llm.inference.batch_sizes import LogitsBudget
from recalltrap_studies.llm.inference.log_probs import score_responses
from recalltrap_studies.llm.inference.response_batches import uniforms
from recalltrap_studies.llm.inference.sampling_engines import generate
from recalltrap_studies.llm.models import architectures, weights

pytestmark = pytest.mark.slow

SMALL = {
    "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64,
    "head_dim": 8, "sliding_window": 6, "pad_token_id": 1, "tie_word_embeddings": True,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 48},
    "falcon": {"multi_query": True},
}
GAINS = {
    "llama": 1.0, "mistral": 1.0, "qwen2": 1.0, "qwen3": 1.0, "olmo2": 1.0, "phi": 1.0,
    "gpt2": 1.0, "gpt_neox": 1.0, "opt": 1.0, "falcon": 1.0,
    "gemma": 0.0, "gemma2": 0.0, "gemma3_text": 0.0,
}  # fmt: skip
"""What a family's norms multiply by at first; Gemma's apply (1 + weight)."""


def small(family: str) -> PreTrainedConfig:
    made: Any = CONFIG_MAPPING[family]
    known = made()
    hidden = set(getattr(made, "attribute_map", {}))
    wanted = {k: v for k, v in SMALL.items() if hasattr(known, k) and k not in hidden}
    if family == "falcon":
        del wanted["head_dim"]  # it computes it
    config: PreTrainedConfig = made(**wanted, **OWN.get(family, {}))
    return config


@pytest.fixture(params=list(GAINS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_family_starts_as_its_own_rules_say(family: str) -> None:
    before = torch.random.get_rng_state()
    first: Any = weights.fresh_model(small(family), 3)
    torch.testing.assert_close(torch.random.get_rng_state(), before, rtol=0, atol=0)
    torch.randn(7)
    again, other = weights.fresh_model(small(family), 3), weights.fresh_model(small(family), 4)
    for (name, one), (_, two) in zip(
        first.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert torch.equal(one, two), name
        assert bool(one.isfinite().all()), name
    gains = {
        p.mean().item()
        for n, p in first.named_parameters()
        if p.ndim == 1 and "norm" in n.replace("ln_", "norm") and n.endswith("weight")
    }
    assert gains == {GAINS[family]}
    matrices = [n for n, p in first.named_parameters() if p.ndim == 2]
    theirs = dict(other.named_parameters())
    for name in matrices:
        assert float((first.get_parameter(name) == theirs[name]).float().mean()) < 0.05, name
    head, embedding = first.get_output_embeddings(), first.get_input_embeddings()
    tied = bool(first.config.tie_word_embeddings)
    assert (head.weight is embedding.weight) == tied
    assert all(not buffer.isnan().any() for buffer in first.buffers())


def test_rotary_frequencies_are_the_configurations() -> None:
    model = weights.fresh_model(small("mistral"), 0)
    (found,) = [b for n, b in model.named_buffers() if n.endswith("rotary_emb.inv_freq")]
    torch.testing.assert_close(found, 1e4 ** -(torch.arange(0, 8, 2) / 8))


def test_a_tensor_that_nobody_initialises_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = architectures.blank_model

    def forgetful(config: PreTrainedConfig) -> PreTrainedModel:
        model = blank(config)
        model.base_model.register_parameter("forgotten", torch.nn.Parameter(torch.empty(4)))
        return model

    monkeypatch.setattr(architectures, "blank_model", forgetful)
    with pytest.raises(StageError, match=r"initialises no model\.forgotten of MistralForCausalLM"):
        weights.fresh_model(small("mistral"), 0)
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_is_drawn_is_scored_alike_whole_or_in_pieces(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows leave the batch on the way, windows slide, and the scorer goes on with a cache."""
    config = small(family)
    config.initializer_range = 0.1
    model: Any = weights.fresh_model(config, 5)
    model.eval()
    request = Request(PromptRows.same([5, 9, 7]), 16, 1.0, 0, 1)
    drawn = generate(model, request, uniforms(0, "test/family", 40, 16), cache="dynamic")
    assert 0 < int(drawn.finished_B.sum()) < 40
    asked = (model, drawn.tokens_BT, drawn.mask_BT, request.prompts)
    whole = score_responses(*asked)
    torch.testing.assert_close(whole, drawn.log_probs_BT, atol=1e-4, rtol=0)
    small_budget = LogitsBudget(1, least_rows=16, most=16 * 96 * 5)
    monkeypatch.setattr(log_probs, "scoring_budget", lambda _: small_budget)
    pieces = score_responses(*asked)
    torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=0)


def written(folder: Path, config: dict[str, Any] | list[Any] | str) -> str:
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text)
    return str(folder)


LLAMA = {"model_type": "llama", "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 1,
         "num_attention_heads": 4, "max_position_embeddings": 64}  # fmt: skip
NO_MODEL = r"it is {}, which is no causal language model\. Give one whose `architectures`"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**LLAMA, "architectures": ["LlamaForSequenceClassification"]},
         NO_MODEL.format("LlamaForSequenceClassification")),
        ({**LLAMA, "architectures": ["LlamaModel"]}, NO_MODEL.format("LlamaModel")),
        ({**LLAMA, "architectures": ["LlamaForRewardModel"]},
         NO_MODEL.format("LlamaForRewardModel")),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]},
         NO_MODEL.format("BertForMaskedLM")),
        ({"model_type": "bert"}, NO_MODEL.format("of the family 'bert'")),
        ({"model_type": "roberta", "architectures": ["RobertaForCausalLM"]},
         NO_MODEL.format("RobertaForCausalLM")),  # it looks both ways unless told not to
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
         NO_MODEL.format("T5ForConditionalGeneration")),
        ({"model_type": "t5"}, NO_MODEL.format("of the family 't5'")),
        ({"model_type": "bart"}, NO_MODEL.format("of the family 'bart'")),
        ({"model_type": "vit"}, NO_MODEL.format("of the family 'vit'")),
        ({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]},
         NO_MODEL.format("LlavaForConditionalGeneration")),
        ({"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]},
         r"states no vocab_size .* made of several parts \(text_config, vision_config\): save its"),
        ({"model_type": "bloom", "architectures": ["BloomForCausalLM"]},
         r"\(bloom\) states no max_position_embeddings, .* give a model whose configuration"),
        ({"model_type": "mpt"}, r"\(mpt\) states no max_position_embeddings"),
        ({"model_type": "mamba"}, r"\(mamba\) states no max_position_embeddings"),
        ({"model_type": "xlnet"}, r"\(xlnet\) states no max_position_embeddings"),
        ({"model_type": "rwkv"}, r"\(rwkv\) states no num_attention_heads"),
        ({"model_type": "jamba"}, r"JambaForCausalLM keeps a state of its own"),
        ({"model_type": "lfm2", "layer_types": ["conv"], "num_hidden_layers": 1},
         r"Lfm2ForCausalLM keeps a state of its own"),
        ({"model_type": "openai-gpt"}, r"OpenAIGPTLMHeadModel keeps a state of its own"),
        ({**LLAMA, "vocab_size": 0}, r"no usable configuration \(vocab_size = 0 is no"),
        ({**LLAMA, "vocab_size": "many"}, r"no usable configuration"),
        ({"model_type": "never-heard-of"}, r"no usable configuration"),
        ([], r"no usable configuration"),
        ("{", r"no usable configuration"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["p_star", "student"])
def test_what_can_not_take_part_is_refused_in_one_line(
    tmp_path: Path, config: dict[str, Any], message: str, field: str
) -> None:
    spec = written(tmp_path, config)
    with pytest.raises(InputError, match=rf"^settings\.{field} = .*{message}") as caught:
        architectures.load_config(spec, field)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stated", [{}, {"architectures": None}, {"architectures": []}])
def test_where_no_architecture_is_stated_the_family_decides(
    tmp_path: Path, stated: dict[str, Any]
) -> None:
    config = architectures.load_config(written(tmp_path, {**LLAMA, **stated}), "student")
    assert config.vocab_size == 96

"""Real weights, where `make real-model` has made them: `make test-real` runs these."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from recalltrap_studies.llm.data.responses import PromptRows, request
from recalltrap_studies.llm.inference.response_batches import uniforms
from recalltrap_studies.llm.inference.sampling_engines import generate
from recalltrap_studies.llm.models import real_model
from recalltrap_studies.llm.models.architectures import REAL_MODEL
from recalltrap_studies.llm.models.pretrained import load_pretrained
from recalltrap_studies.llm.models.tokenizers import encode_prompt
from tests.studies.llm.scoring import response_sums

MODELS = Path(__file__).parents[3] / "models"
FOLDER, FILE = MODELS / REAL_MODEL, MODELS / Path(real_model.MEMBER).name
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no {FOLDER}: `make real-model` makes it"),
]
SENTENCES = (
    "The capital of France is Paris, a city on the river Seine.",
    "Water boils at a hundred degrees and freezes at zero.",
    "She opened the door, looked at the rain, and went back for her umbrella.",
    "In mathematics, a prime number has no divisors other than one and itself.",
)


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    """The model and its tokenizer, as a study loads them."""
    return load_pretrained(str(FOLDER))


def perplexity(model: Any, tokenizer: Any, texts: tuple[str, ...]) -> float:
    """exp of the mean negative log-likelihood per token, of tokens that have one before them."""
    total, count = 0.0, 0
    for text in texts:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            loss = model(input_ids=ids, labels=ids).loss
        total, count = total + float(loss) * (ids.shape[1] - 1), count + ids.shape[1] - 1
    return math.exp(total / count)


def test_it_is_the_whole_model(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    assert model.num_parameters() == 134_515_008
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert len(tokenizer) == model.config.vocab_size == 49_152
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_it_knows_english(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    backwards = tuple(" ".join(reversed(text.split())) for text in SENTENCES)
    assert perplexity(model, tokenizer, SENTENCES) < 30
    assert perplexity(model, tokenizer, backwards) > 300


def test_it_answers_a_question(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        output = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :])
    assert "Paris" in answer
    assert answer.endswith("<|im_end|>")


def test_its_logits_are_those_of_transformers_own_reader(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    theirs = AutoModelForCausalLM.from_pretrained(MODELS, gguf_file=FILE.name, dtype=torch.float32)
    theirs_tokens = AutoTokenizer.from_pretrained(MODELS, gguf_file=FILE.name)
    for text in SENTENCES:
        ids = tokenizer(text, return_tensors="pt").input_ids
        assert ids[0].tolist() == theirs_tokens.encode(text)
        with torch.no_grad():
            assert torch.equal(model(ids).logits, theirs(ids).logits)
    asked = [{"role": "user", "content": "Hello?"}]
    chat = [
        t.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        for t in (tokenizer, theirs_tokens)
    ]
    assert chat[0] == chat[1]


def test_what_is_drawn_is_scored_alike(loaded: tuple[Any, Any]) -> None:
    """The mean log-probability of its own samples, by the sampler and by the scorer; and the
    sampler's entropy is that of somebody who writes English, not of noise."""
    model, tokenizer = loaded
    prompt = encode_prompt(tokenizer, "The weather today is")
    asked = request(tokenizer, PromptRows.same(prompt), 24)
    drawn = generate(model, asked, uniforms(0, "test/real", 16, 24))
    scored, count = response_sums(model, drawn, prompt)
    sampled = drawn.log_probs_BT.double().sum(dim=1)
    torch.testing.assert_close(sampled / count, scored / count, atol=1e-4, rtol=0)
    assert -6 < float(scored.sum() / count.sum()) < -1

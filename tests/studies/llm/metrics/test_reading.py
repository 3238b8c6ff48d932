"""What a reader sees in responses, and how batches of a sample are shared and joined."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from recalltrap.run.worker_group import WorkerGroup
from recalltrap.streams import stream
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.inference import response_batches
from recalltrap_studies.llm.metrics.evaluation import topic_coverage
from recalltrap_studies.llm.models import tokenizers
from recalltrap_studies.llm.stages import assess


@pytest.fixture(scope="module")
def grammar_words() -> tuple[PreTrainedTokenizerFast, list[str]]:
    texts = sentences.sentences(400, stream(0, "test/grammar"))
    return tokenizers.train_tokenizer(texts, 384), texts


def test_topics_are_read_off_the_tokens(
    grammar_words: tuple[PreTrainedTokenizerFast, list[str]],
) -> None:
    tokenizer, texts = grammar_words
    prompt = tuple(tokenizers.encode_prompt(tokenizer, "The"))
    ids = [np.array(tokenizer.encode(text)[len(prompt) :]) for text in texts]
    asked = [prompt] * len(ids)
    read = assess.reading(tokenizer, asked, [np.append(i, tokenizer.eos_token_id) for i in ids])
    assert read["topic"] == [sentences.topic_of(text) for text in texts]
    assert all(read["grammatical"])
    cut = assess.reading(tokenizer, asked, [i[:4] for i in ids])
    assert sum(cut["grammatical"]) < 0.1 * len(texts)


def test_topic_coverage_counts_rare_topics_as_much_as_common_ones() -> None:
    weights = dict(sentences.TOPICS)
    rare = min(weights, key=lambda topic: weights[topic])
    counts = {topic: round(weight * 10_000) for topic, weight in weights.items()}
    whole = np.repeat(np.array(list(counts), dtype=object), list(counts.values()))
    assert topic_coverage(whole).value == pytest.approx(1.0, abs=1e-6)
    without = whole[whole != rare]
    assert topic_coverage(without).value == pytest.approx(1.0 - 1.0 / len(weights), abs=1e-6)
    lost = np.array([None if topic == rare else topic for topic in whole], dtype=object)
    assert topic_coverage(lost).value == pytest.approx(1.0 - 1.0 / len(weights), abs=1e-6)
    assert topic_coverage(np.array([None, None], dtype=object)).value == 0.0


def test_two_shares_of_a_sample_meet_again_in_order() -> None:
    group = [WorkerGroup(rank, 3) for rank in range(3)]
    parts = [(batch.index, batch) for one in group for batch in response_batches.shares(3000, one)]
    gathered = WorkerGroup(gather=lambda value: [parts[4:], parts[:4]])
    batches = response_batches.collect(parts[:0], gathered)
    assert [batch.index for batch in batches] == list(range(6))
    assert batches[-1].stop == 3000
    assert sum(batch.stop - batch.start for batch in batches) == 3000

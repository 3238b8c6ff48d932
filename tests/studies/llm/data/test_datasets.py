"""What students learn from: the redrawn topics of a target, and the entropy of what was redrawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from transformers import PreTrainedTokenizerFast

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.streams import stream
from recalltrap_studies.llm.data import datasets
from recalltrap_studies.llm.data.datasets import redrawn
from recalltrap_studies.llm.data.token_sequences import Sequences
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.models import tokenizers


def test_a_share_of_the_places_is_redrawn_from_the_wanted() -> None:
    wanted = np.arange(1000) % 10 == 0
    rows = redrawn(wanted, 0.5, ("sea",), stream(0, "test/topics"))
    changed = rows != np.arange(1000)
    assert wanted[rows[changed]].all()
    assert 490 <= changed.sum() <= 500  # 500 places, some redrawn as they were
    assert wanted[rows].mean() == pytest.approx(0.5 + 0.5 * 0.1, abs=0.02)
    assert np.unique(rows[changed]).size < changed.sum()  # with replacement


@pytest.mark.parametrize(("share", "mean"), [(0.0, 0.1), (1.0, 1.0)])
def test_redrawing_none_and_all(share: float, mean: float) -> None:
    wanted = np.arange(1000) % 10 == 0
    assert wanted[redrawn(wanted, share, ("sea",), stream(0, "test/topics"))].mean() == mean


def test_no_sample_of_the_topics_is_a_clear_failure() -> None:
    with pytest.raises(StageError, match=r"settings\.target_topics = \['sea'\]") as caught:
        redrawn(np.zeros(10, bool), 0.5, ("sea",), stream(0, "test/topics"))
    assert caught.value.failure == "user_code"


def drawn(count: int) -> tuple[Sequences, np.ndarray[Any, np.dtype[np.float64]]]:
    """`count` responses of two tokens: kind 0 with probability 1/4, kind 1 with 3/4."""
    kinds = [0, 1, 1, 1] * (count // 4)
    log_prob_N = np.array([np.log([0.25, 0.75][kind]) for kind in kinds])
    return Sequences.of_lists([[9, kind, 5] for kind in kinds]), log_prob_N


def test_the_entropy_of_a_redrawn_set_is_that_of_its_mixture(
    monkeypatch: pytest.MonkeyPatch, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    def kind_0(found: Sequences, *_: object) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array([found.row(index)[1] == 0 for index in range(len(found))])

    monkeypatch.setattr(datasets, "is_of_topics", kind_0)
    node = Node("target", 0, {"target_topic_share": 0.5})
    many, log_prob_N = drawn(40_000)
    data = datasets._concentrated(node, many, many, log_prob_N, ("sea",), tiny_tokenizer)
    q = 0.5 + 0.5 * 0.25
    expected = -(q * np.log(q) + (1 - q) * np.log(1 - q)) / 2  # per token
    assert data.teacher_entropy == pytest.approx(expected, rel=5e-3)
    assert len(data.train) == len(many)


def test_log_probabilities_are_summed_by_response() -> None:
    """By one running sum, so that the shards that they stand in change no bit."""
    lists = [[-1.0, -2.0], [], [-0.5]]
    shards = [pa.array(part, pa.list_(pa.float32())) for part in (lists[:2], [], lists[2:])]
    assert datasets.sequence_log_probs(shards).tolist() == [-3.0, 0.0, -0.5]
    many = -stream(0, "test/likelihoods").exponential(size=(300, 7)).astype(np.float32)
    parts = [pa.array(part.tolist(), pa.list_(pa.float32())) for part in np.split(many, 3)]
    whole = datasets.sequence_log_probs([pa.array(many.tolist(), pa.list_(pa.float32()))])
    assert datasets.sequence_log_probs(parts).tolist() == whole.tolist()
    np.testing.assert_allclose(whole, many.sum(axis=1), rtol=1e-6)
    assert datasets.sequence_log_probs([]).tolist() == []


def test_a_response_is_what_follows_the_prompt() -> None:
    prompts = np.array([1, 2], np.int32)
    sequences = replace(Sequences.of_lists([[9, 1, 5], [9, 9, 5, 5]]), prompts=prompts)
    assert datasets.response_tokens(sequences).tolist() == [2, 2]


def test_topics_are_told_from_the_text() -> None:
    texts = sentences.sentences(50, stream(0, "test/grammar"))
    tokenizer = tokenizers.train_tokenizer(texts, 256)
    ids = [[*tokenizer.encode(text), tokenizer.eos_token_id] for text in texts]
    topics = tuple(sentences.TOPICS)[:2]
    expected = [sentences.topic_of(text) in topics for text in texts]
    found = datasets.is_of_topics(Sequences.of_lists(ids), topics, tokenizer)
    assert found.tolist() == expected
    assert any(expected)


@pytest.mark.slow
def test_the_grammar_s_entropy_per_token_counts_eos() -> None:
    texts = sentences.sentences(400, stream(1, "test/grammar"))
    tokenizer = tokenizers.train_tokenizer(texts, 256)
    encoded = datasets.encode(tokenizer, texts, 128)
    tokens = sum(len(tokenizer.encode(text)) for text in texts)  # minus "The", plus EOS
    found = datasets.grammar_entropy(texts, encoded)
    assert found == pytest.approx(-sum(map(sentences.log_prob, texts)) / tokens)
    assert found * tokens / len(texts) == pytest.approx(sentences.entropy(), rel=0.05)


def test_long_texts_are_cut_into_pieces(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    text = "The fox sees the hill. " * 10
    whole = [*tiny_tokenizer.encode(text), tiny_tokenizer.eos_token_id]
    encoded = datasets.encode(tiny_tokenizer, [text], 16)
    assert encoded.lengths.max() == 16
    assert (
        encoded.tokens.tolist()[: len(whole) - 1] == whole[: len(encoded.tokens)][: len(whole) - 1]
    )

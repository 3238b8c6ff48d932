"""What a training learns from: the corpus of p*, or a teacher's samples, and what is held out.

The teacher's entropy stands beside it: no student's held-out loss can be lower in expectation, so
the difference says how far it is from having learned its teacher.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.store.store import ArtifactStore
from recalltrap.streams import stream
from recalltrap_studies.llm.contents import opened
from recalltrap_studies.llm.data import corpus
from recalltrap_studies.llm.data.sample_shards import read_shards
from recalltrap_studies.llm.data.token_sequences import Array, Sequences
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.models import architectures, tokenizers
from recalltrap_studies.llm.models.pretrained import SOURCE_FILE, shape_of_source

HELDOUT_SHARE, HELDOUT_MOST = 0.05, 2048


@dataclass(frozen=True)
class TrainingData:
    """Sequences to learn, sequences held out, and the teacher's entropy in nats per token."""

    train: Sequences
    heldout: Sequences
    teacher_entropy: float | None
    tokenizer: PreTrainedTokenizerFast


def prepare(node: Node, store: ArtifactStore) -> TrainingData:
    """The data of a training stage; parents are (samples, teacher), none for pretrain.

    Raises:
        InputError: a corpus that can't be read.
        StageError: no sample of the wanted topics.
    """
    return from_samples(node, store) if node.parents else from_corpus(node)


def from_corpus(node: Node) -> TrainingData:
    """The corpus's texts with EOS, and a tokenizer trained on those that aren't held out."""
    spec = opened(node.config["corpus"], "corpus")
    generator = stream(node.seed, "pretrain/corpus")
    texts = corpus.load_corpus(spec, int(node.config["corpus_sentences"]), generator)
    kept = max(min(round(len(texts) * HELDOUT_SHARE), HELDOUT_MOST), 1)
    train, heldout = texts[kept:] or texts, texts[:kept]
    tokenizer = tokenizers.train_tokenizer(train, int(node.config["vocabulary_size"]))
    config = architectures.config_of(node.config["p_star"], len(tokenizer), tokenizer)
    context = int(config.max_position_embeddings)
    held = encode(tokenizer, heldout, context)
    entropy = grammar_entropy(heldout, held) if spec == corpus.GRAMMAR else None
    return TrainingData(encode(tokenizer, train, context), held, entropy, tokenizer)


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], context: int) -> Sequences:
    """Token ids of each text with EOS; texts longer than the context in pieces."""
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    rows = [[*ids, tokenizer.eos_token_id] for ids in encoded]
    pieces = [row[at : at + context] for row in rows for at in range(0, len(row), context)]
    return Sequences.of_lists([piece for piece in pieces if len(piece) > 1])


def grammar_entropy(texts: Sequence[str], encoded: Sequences) -> float:
    """Minus the grammar's exact mean log-probability of these sentences, nats per learned token."""
    total = sum(sentences.log_prob(text) for text in texts)
    return float(-total / encoded.learned.sum())


def from_samples(node: Node, store: ArtifactStore) -> TrainingData:
    """A teacher's samples, redrawn from the wanted topics where a target asks for that."""
    samples, teacher = node.parents["samples"], node.parents["teacher"]
    tokenizer = tokenizers.read_tokenizer(store, teacher)
    train = read_shards(store, samples, "train")
    heldout = read_shards(store, samples, "heldout")
    topics = tuple(node.config.get("target_topics", ()))
    if not topics:
        entropy = -float(sequence_log_probs(heldout).sum() / response_tokens(heldout).sum())
        return TrainingData(
            Sequences.of_samples(train), Sequences.of_samples(heldout), entropy, tokenizer
        )
    return _concentrated(node, train, heldout, topics, tokenizer)


def _concentrated(
    node: Node,
    train: pa.Table,
    heldout: pa.Table,
    topics: tuple[str, ...],
    tokenizer: PreTrainedTokenizerFast,
) -> TrainingData:
    share = float(node.config["target_topic_share"])
    wanted, wanted_heldout = (is_of_topics(table, topics, tokenizer) for table in (train, heldout))
    mass = float(wanted.mean())
    rows = redrawn(wanted, share, topics, stream(node.seed, "target/topics"))
    kept = redrawn(wanted_heldout, share, topics, stream(node.seed, "target/topics/heldout"))
    # The mixture's own density: (1 - s) p(x) + s p(x) 1[x of the topics] / P(topics).
    log_ratio = np.log(np.maximum(1 - share + share * wanted_heldout / mass, 1e-300))
    log_q = (sequence_log_probs(heldout) + log_ratio)[kept]
    entropy = -float(log_q.sum() / response_tokens(heldout)[kept].sum())
    return TrainingData(
        Sequences.of_samples(train).take(rows),
        Sequences.of_samples(heldout).take(kept),
        entropy,
        tokenizer,
    )


def is_of_topics(
    table: pa.Table, topics: tuple[str, ...], tokenizer: PreTrainedTokenizerFast
) -> npt.NDArray[np.bool_]:
    """Which sequences are of one of the topics, [N]."""
    texts = tokenizer.batch_decode(table["input_ids"].to_pylist(), skip_special_tokens=True)
    return np.array([sentences.topic_of(text) in topics for text in texts])


def redrawn(
    wanted: npt.NDArray[np.bool_],
    share: float,
    topics: tuple[str, ...],
    generator: np.random.Generator,
) -> Array:
    """Row numbers in which a share of the places is redrawn, with replacement, from the wanted.

    Raises:
        StageError: none is wanted.
    """
    count, pool = len(wanted), np.flatnonzero(wanted)
    if not len(pool):
        raise StageError(
            "user_code",
            f"none of {count} samples is of settings.target_topics = {list(topics)}: raise "
            "settings.training_samples and settings.heldout_samples, or choose more common topics",
        )
    rows = np.arange(count)
    places = generator.permutation(count)[: round(share * count)]
    rows[places] = generator.choice(pool, len(places))
    return rows


def sequence_log_probs(table: pa.Table) -> npt.NDArray[np.float64]:
    """Log-probability of each response under what it was drawn from, [N] nats."""
    lists = table["log_probs"].combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    ends = np.cumsum(response_tokens(table))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(np.diff(sums[np.concatenate([[0], ends])]))


def response_tokens(table: pa.Table) -> Array:
    """Tokens of each response, [N]."""
    return np.asarray(table["log_probs"].combine_chunks().value_lengths(), np.int64)


def vocabulary_size(node: Node, store: ArtifactStore, tokenizer: PreTrainedTokenizerFast) -> int:
    """Tokens that the teacher can utter: its embeddings, which may be more than its tokenizer's."""
    teacher = node.parents.get("teacher")
    if teacher is None:  # p*, whose tokenizer was trained for it
        return len(tokenizer)
    artifact = store.open(teacher)
    if SOURCE_FILE in artifact.names:
        return int(shape_of_source(teacher).vocab_size)
    return int(json.loads(artifact.read("config.json"))["vocab_size"])

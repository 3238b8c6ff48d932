"""What a training learns from: the corpus of p*, or a teacher's samples, and what is held out.

The teacher's entropy stands beside it: no student's held-out loss can be lower in expectation, so
the difference says how far it is from having learned its teacher.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.run.worker_group import ALONE, WorkerGroup
from recalltrap.store.store import Artifact, ArtifactStore
from recalltrap.streams import stream
from recalltrap_studies.llm.contents import opened
from recalltrap_studies.llm.data import corpus
from recalltrap_studies.llm.data.sample_shards import SHARD, heldout_log_probs, map_sequences
from recalltrap_studies.llm.data.token_sequences import Array, Sequences
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.models import architectures, tokenizers
from recalltrap_studies.llm.models.pretrained import SOURCE_FILE, shape_of_source

HELDOUT_SHARE, HELDOUT_MOST = 0.05, 2048


@dataclass(frozen=True)
class TrainingData:
    """Sequences to learn, sequences held out, and the teacher's entropy in nats per token.

    Each row of `train` may have one `beside` it, which is learned in another way.
    """

    train: Sequences
    heldout: Sequences
    teacher_entropy: float | None
    tokenizer: PreTrainedTokenizerFast
    beside: Sequences | None = None
    flops: float = 0.0
    """What it took to prepare: labels by a reward's model, say."""

    def rows_of_a_batch(self, node: Node) -> int:
        """Rows of an update of a training: a batch counts sequences."""
        return int(node.config["batch_size"]) // (1 if self.beside is None else 2)


def prepare(
    node: Node, store: ArtifactStore, scratch: Path, group: WorkerGroup = ALONE
) -> TrainingData:
    """The data of a training stage; parents are (samples, teacher), none for pretrain.

    Samples go through files below `scratch`, see `sample_shards.map_sequences`. Every worker of
    the group calls it.

    Raises:
        InputError: a corpus that can't be read.
        StageError: no sample of the wanted topics.
    """
    return from_samples(node, store, scratch, group) if node.parents else from_corpus(node)


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


def from_samples(
    node: Node, store: ArtifactStore, scratch: Path, group: WorkerGroup
) -> TrainingData:
    """A teacher's samples, redrawn from the wanted topics where a target asks for that."""
    samples, teacher = node.parents["samples"], node.parents["teacher"]
    tokenizer = tokenizers.read_tokenizer(store, teacher)
    vocabulary, artifact = vocabulary_size(node, store, tokenizer), store.open(samples)
    train = map_sequences(artifact, "train", scratch, vocabulary, group)
    heldout = map_sequences(artifact, "heldout", scratch, vocabulary, group)
    topics = tuple(node.config.get("target_topics", ()))
    if topics:
        log_prob_N = sequence_log_probs(heldout_log_probs(artifact))
        return _concentrated(node, train, heldout, log_prob_N, topics, tokenizer)
    return TrainingData(train, heldout, teacher_entropy(artifact, heldout), tokenizer)


def teacher_entropy(artifact: Artifact, heldout: Sequences) -> float:
    """Of what drew the samples: minus the mean log-probability of those held out, nats a token."""
    log_prob_N = sequence_log_probs(heldout_log_probs(artifact))
    return -float(log_prob_N.sum() / response_tokens(heldout).sum())


def _concentrated(
    node: Node,
    train: Sequences,
    heldout: Sequences,
    log_prob_N: npt.NDArray[np.float64],
    topics: tuple[str, ...],
    tokenizer: PreTrainedTokenizerFast,
) -> TrainingData:
    share = float(node.config["target_topic_share"])
    wanted, wanted_heldout = (is_of_topics(part, topics, tokenizer) for part in (train, heldout))
    mass = float(wanted.mean())
    rows = redrawn(wanted, share, topics, stream(node.seed, "target/topics"))
    kept = redrawn(wanted_heldout, share, topics, stream(node.seed, "target/topics/heldout"))
    # The mixture's own density: (1 - s) p(x) + s p(x) 1[x of the topics] / P(topics).
    log_ratio = np.log(np.maximum(1 - share + share * wanted_heldout / mass, 1e-300))
    log_q = (log_prob_N + log_ratio)[kept]
    entropy = -float(log_q.sum() / response_tokens(heldout)[kept].sum())
    return TrainingData(train.take(rows), heldout.take(kept), entropy, tokenizer)


def is_of_topics(
    sequences: Sequences, topics: tuple[str, ...], tokenizer: PreTrainedTokenizerFast
) -> npt.NDArray[np.bool_]:
    """Which sequences are of one of the topics, [N]."""
    wanted = np.zeros(len(sequences), np.bool_)
    for start in range(0, len(sequences), SHARD):
        rows = range(start, min(start + SHARD, len(sequences)))
        ids = [sequences.row(row).tolist() for row in rows]
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        wanted[rows.start : rows.stop] = [sentences.topic_of(text) in topics for text in texts]
    return wanted


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


def sequence_log_probs(shards: Iterable[pa.ListArray]) -> npt.NDArray[np.float64]:
    """Log-probability of each response under what it was drawn from, [N] nats.

    Differences of one running sum over all tokens, whatever the shards that they stand in.
    """
    before, parts = 0.0, [np.empty(0)]
    for lists in shards:
        values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        ends = np.cumsum(np.asarray(lists.value_lengths(), np.int64))
        sums = np.cumsum(np.concatenate([[before], values]))
        parts.append(np.diff(sums[np.concatenate([[0], ends])]))
        before = float(sums[-1])
    return np.concatenate(parts)


def response_tokens(sequences: Sequences) -> Array:
    """Tokens of each response, [N]."""
    return np.asarray(sequences.lengths - sequences.prompts, np.int64)


def vocabulary_size(node: Node, store: ArtifactStore, tokenizer: PreTrainedTokenizerFast) -> int:
    """Tokens that the teacher can utter: its embeddings, which may be more than its tokenizer's."""
    teacher = node.parents.get("teacher")
    if teacher is None:  # p*, whose tokenizer was trained for it
        return len(tokenizer)
    artifact = store.open(teacher)
    if SOURCE_FILE in artifact.names:
        return int(shape_of_source(teacher).vocab_size)
    return int(json.loads(artifact.read("config.json"))["vocab_size"])

"""What the language-model tests share: a tiny model, its tokenizer, and a store that holds them.

Nothing here is trained for long and nothing needs a network. Tests that change a model copy it.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap.streams import sequence, stream
from recalltrap_studies.llm.models import tokenizers, weights
from tests.studies.llm.training_nodes import TEACHER, draw_samples, sample_node

NO_COST = Cost(0.0, 0.0, 0, 0.0, "cpu", 1)
SUBJECTS = ("The fox", "The old baker", "The river", "The train", "The small child", "The moon")
VERBS = ("sees", "follows", "forgets", "paints", "counts", "loses")
OBJECTS = ("the hill", "a red door", "the last bread", "two birds", "its name", "the morning")


@pytest.fixture(scope="session", autouse=True)
def _on_one_cpu() -> Iterator[None]:
    """Models run on the CPU, on one core, as the embedded studies do."""
    before, threads = os.environ.get("RECALLTRAP_DEVICE"), torch.get_num_threads()
    os.environ["RECALLTRAP_DEVICE"] = "cpu"
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    if before is None:
        del os.environ["RECALLTRAP_DEVICE"]
    else:
        os.environ["RECALLTRAP_DEVICE"] = before


def tiny_sentences(count: int, seed: int = 0) -> list[str]:
    """English-like sentences that all begin with "The"."""
    random = stream(seed, "test/sentences")
    parts = (SUBJECTS, VERBS, OBJECTS)
    picks = [random.integers(0, len(words), count) for words in parts]
    return [
        " ".join(words[int(pick[row])] for words, pick in zip(parts, picks, strict=True)) + "."
        for row in range(count)
    ]


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """1,000 sentences of 216 different ones."""
    return tiny_sentences(1_000)


@pytest.fixture(scope="session")
def tiny_tokenizer(sentences: list[str]) -> PreTrainedTokenizerFast:
    """A BPE tokenizer of 160 tokens with EOS and a pad token of its own; "The" is one token."""
    return tokenizers.train_tokenizer(sentences, 160)


def tiny_config(
    tokenizer: PreTrainedTokenizerFast, layers: int, width: int, spare: int = 0
) -> LlamaConfig:
    """A Llama with tied embeddings, `spare` beyond the tokenizer's tokens, and a context of 64."""
    return LlamaConfig(
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


def fresh(
    tokenizer: PreTrainedTokenizerFast, width: int = 32, seed: int = 0, layers: int = 1
) -> PreTrainedModel:
    """An untrained Llama, of one layer unless told; see `tiny_config`."""
    config = tiny_config(tokenizer, layers, width)
    return weights.fresh_model(config, sequence(seed, "test/weights"))


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: list[str],
    updates: int,
    learning_rate: float = 1e-2,
) -> float:
    """Causal-LM training with EOS on batches of 64; returns the last batch's loss."""
    rows = [[*tokenizer.encode(text), tokenizer.eos_token_id] for text in texts]
    adam = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    picks, last = stream(0, "test/batches"), float("nan")
    model.train()
    for _ in range(updates):
        batch = [torch.tensor(rows[int(i)]) for i in picks.integers(0, len(rows), 64)]
        ids = torch.nn.utils.rnn.pad_sequence(batch, True, tokenizer.pad_token_id)
        labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
        loss = model(input_ids=ids, labels=labels).loss
        adam.zero_grad()
        loss.backward()
        adam.step()
        last = loss.item()
    model.train(False)
    return last


@pytest.fixture(scope="session")
def tiny_model(tiny_tokenizer: PreTrainedTokenizerFast, sentences: list[str]) -> PreTrainedModel:
    """A model that knows EOS and something of the language, and is far from certain of it."""
    model = fresh(tiny_tokenizer)
    train(model, tiny_tokenizer, sentences, updates=120)
    return model


@pytest.fixture
def own_model(tiny_model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the tiny model that a test may change."""
    return copy.deepcopy(tiny_model)


def put_model(
    store: ArtifactStore, node: Node, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> Node:
    """Store a model as the artifact of a node."""
    store.put(node, weights.model_files(model, tokenizer), NO_COST)
    return node


@dataclass(frozen=True)
class NanoStore:
    """A store with the tiny model as p* and a narrower, less trained one as p'."""

    store: ArtifactStore
    p_star: Node
    p_prime: Node


@pytest.fixture
def store(tmp_path: object) -> ArtifactStore:
    return ArtifactStore(Storage(f"{tmp_path}/storage"))


@pytest.fixture
def nano_store(
    store: ArtifactStore,
    tiny_model: PreTrainedModel,
    narrow_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> NanoStore:
    """Made anew for every test."""
    p_star = put_model(store, Node("pretrain", 0, {"test": 1}), tiny_model, tiny_tokenizer)
    p_prime = put_model(
        store, Node("sft", 3, {"test": 1}, {"teacher": p_star}), narrow_model, tiny_tokenizer
    )
    return NanoStore(store, p_star, p_prime)


@pytest.fixture(scope="session")
def narrow_model(tiny_tokenizer: PreTrainedTokenizerFast, sentences: list[str]) -> PreTrainedModel:
    """A narrower model, trained less."""
    model = fresh(tiny_tokenizer, width=16, seed=1)
    train(model, tiny_tokenizer, sentences, updates=60)
    return model


def run_together(size: int, run: Callable[[WorkerGroup], object]) -> None:
    """`run(group)` on every rank of a group of threads, which meet where a group's workers do."""
    barrier, slots = threading.Barrier(size, timeout=30), [None] * size

    def join(rank: int) -> WorkerGroup:
        def gather(value: Any) -> list[Any]:
            slots[rank] = value
            barrier.wait()
            everyone = list(slots)
            barrier.wait()
            return everyone

        return WorkerGroup(rank, size, lambda value: gather(value)[0], gather)

    with ThreadPoolExecutor(size) as pool:
        for future in [pool.submit(run, join(rank)) for rank in range(size)]:
            future.result()


@pytest.fixture
def together() -> Callable[[int, Callable[[WorkerGroup], object]], None]:
    """Runs something on the ranks of a simulated group; see `run_together`."""
    return run_together


@pytest.fixture(scope="module")
def taught(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> ArtifactStore:
    """A store with a teacher and its samples."""
    store = ArtifactStore(Storage(str(tmp_path_factory.mktemp("taught"))))
    put_model(store, TEACHER, tiny_model, tiny_tokenizer)
    draw_samples(store, sample_node(TEACHER))
    return store

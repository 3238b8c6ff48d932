"""Sampling as a stage: shards, workers, resuming, and what stands in the files."""

from __future__ import annotations

import copy
import io
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore, FileDigest
from recalltrap_studies.llm.data import sample_shards
from recalltrap_studies.llm.data.responses import PromptRows, Request
from recalltrap_studies.llm.data.sample_shards import read_shards
from recalltrap_studies.llm.inference import batch_sizes
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.models.architectures import config_of
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.stages import sample
from recalltrap_studies.llm.stages.sample import run_sample
from tests.studies.llm.conftest import NanoStore
from tests.studies.llm.scoring import response_sums, tempered_sums

pytestmark = pytest.mark.slow

CONFIG = {
    "samples": 150,
    "heldout_samples": 40,
    "temperature": 1.0,
    "sample_tokens": 20,
    "prompt": "The",
    "engine": "transformers",
}
Together = Callable[[int, Callable[[WorkerGroup], object]], None]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_shards, "SHARD", 32)
    monkeypatch.setattr(batch_sizes, "ROWS", 16)


def sample_node(model: Node, **changes: Any) -> Node:
    return Node("sample", 7, {**CONFIG, **changes}, {"model": model})


def files(store: ArtifactStore, node: Node) -> dict[str, bytes]:
    names = store.storage.list(store.folder(node))
    return {
        name: store.storage.read(f"{store.folder(node)}/{name}")
        for name in names
        if name != "record.json"
    }


def test_the_files_hold_what_was_drawn(
    nano_store: NanoStore, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    node = sample_node(nano_store.p_star)
    progress = list(run_sample(node, nano_store.store, WorkerGroup()))
    assert [step.step for step in progress] == [32, 64, 96, 128, 150, 182, 190]
    assert all(step.steps == 190 for step in progress)
    train = read_shards(nano_store.store, node, "train")
    heldout = read_shards(nano_store.store, node, "heldout")
    assert train["sequence"].to_pylist() == list(range(150))
    assert heldout["sequence"].to_pylist() == list(range(150, 190))
    assert train.schema.names == ["sequence", "input_ids", "prompt_tokens", "finished"]
    assert heldout.schema.names == [*train.schema.names, "log_probs"]
    eos, pad = tiny_tokenizer.eos_token_id, tiny_tokenizer.pad_token_id
    prompt = tiny_tokenizer.encode("The")
    for row in train.to_pylist() + heldout.to_pylist():
        response = row["input_ids"][len(prompt) :]
        assert row["input_ids"][: len(prompt)] == prompt
        assert row["prompt_tokens"] == len(prompt)
        assert 1 <= len(response) <= 20
        assert len(response) == len(row.get("log_probs", response))
        assert pad not in response
        assert row["finished"] == (response[-1] == eos)
        assert eos not in response[:-1]
    responses = [row[len(prompt) :] for row in heldout["input_ids"].to_pylist()]
    scored, count = response_sums(tiny_model, responses, prompt)
    stored = np.concatenate(heldout["log_probs"].to_numpy())
    assert abs(float(stored.mean()) - float(scored.sum() / count.sum())) < 1e-4
    cost = nano_store.store.open(node).cost
    drawn = sum(len(ids) - len(prompt) for part in (train, heldout) for ids in part["input_ids"])
    assert cost["tokens"] == drawn
    assert cost["flops"] == 2.0 * cost["tokens"] * sum(p.numel() for p in tiny_model.parameters())


@pytest.mark.parametrize("size", [2, 3])
def test_the_number_of_workers_changes_nothing(
    nano_store: NanoStore,
    tiny_model: PreTrainedModel,
    together: Together,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The workers are threads here, and `from_pretrained` isn't made for those.
    monkeypatch.setattr(weights, "read_model", lambda *_: copy.deepcopy(tiny_model))
    store, node = nano_store.store, sample_node(nano_store.p_star)
    list(run_sample(node, store, WorkerGroup()))
    alone = files(store, node)
    store.storage.filesystem.delete_dir(store.storage.path(store.folder(node)))
    fresh, yields = ArtifactStore(store.storage), []

    def work(group: WorkerGroup) -> None:
        yields.append(len(list(run_sample(node, fresh, group))))

    together(size, work)
    assert files(store, node) == alone
    assert yields == [-(-7 // size)] * size  # the ranks of a group meet at every step
    assert fresh.open(node).cost["workers"] == size
    fresh.open(node).verify()


def test_only_a_missing_shard_is_drawn_again(
    nano_store: NanoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, node = nano_store.store, sample_node(nano_store.p_star)
    list(run_sample(node, store, WorkerGroup()))
    before = files(store, node)
    folder = store.folder(node)
    for lost in ("train-00003.parquet", "record.json"):
        store.storage.filesystem.delete_file(store.storage.path(f"{folder}/{lost}"))
    written: list[str] = []
    resumed = ArtifactStore(store.storage)
    write = resumed.write_file

    def watch(node: Node, name: str, data: bytes) -> FileDigest:
        written.append(name)
        return write(node, name, data)

    monkeypatch.setattr(resumed, "write_file", watch)
    steps: list[Progress] = list(run_sample(node, resumed, WorkerGroup()))
    assert written == ["train-00003.parquet"]
    assert [(step.step, step.steps) for step in steps] == [(190, 190)]
    assert files(store, node) == before
    resumed.open(node).verify()


def test_no_shard_is_read_again_to_be_hashed_but_those_of_before_and_by_all_workers(
    nano_store: NanoStore, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, node = nano_store.store, sample_node(nano_store.p_star)
    hashed: dict[int, list[str]] = defaultdict(list)
    digest = ArtifactStore.digest

    def watch(self: ArtifactStore, node: Node, name: str) -> FileDigest:
        hashed[threading.get_ident()].append(name)
        return digest(self, node, name)

    monkeypatch.setattr(ArtifactStore, "digest", watch)
    list(run_sample(node, store, WorkerGroup()))
    assert not hashed
    store.storage.filesystem.delete_file(store.storage.path(f"{store.folder(node)}/record.json"))
    together(3, lambda group: list(run_sample(node, ArtifactStore(store.storage), group)))
    assert sorted(map(len, hashed.values())) == [2, 2, 3]
    assert len({name for names in hashed.values() for name in names}) == 7
    store.open(node).verify()


def test_a_shard_says_how_far_it_is_while_it_is_drawn(nano_store: NanoStore) -> None:
    """In sequences, 16 at once; of a large model a shard alone takes hours."""
    told: list[Progress] = []
    group = WorkerGroup(report=told.append)
    list(run_sample(sample_node(nano_store.p_star), nano_store.store, group))
    assert [step.step for step in told[:4]] == [16, 32, 48, 64]
    assert [step.step for step in told] == sorted(step.step for step in told)
    assert {(step.stage, step.steps) for step in told} == {("sample", 190)}
    assert told[-1].step == 190


def test_an_interruption_leaves_whole_shards_and_no_record(nano_store: NanoStore) -> None:
    store, node = nano_store.store, sample_node(nano_store.p_star)
    run = run_sample(node, store, WorkerGroup())
    next(run)
    next(run)
    del run
    assert not store.has(node)
    assert [len(pq.read_table(io.BytesIO(data))) for data in files(store, node).values()] == [
        32,
        32,
    ]
    list(run_sample(node, store, WorkerGroup()))
    assert len(read_shards(store, node, "train")) == 150


def test_streams_are_shared_where_comparisons_are_paired_and_nowhere_else(
    nano_store: NanoStore,
) -> None:
    p_star, p_prime = nano_store.p_star, nano_store.p_prime
    name = sample.stream_name
    first = sample_node(p_star)
    student = Node("sft", 7, {}, {"samples": first, "teacher": p_star})
    aligned = Node("align", 7, {}, {"start": student, "reference": student})
    second = Node("distill", 7, {}, {"samples": sample_node(student), "teacher": student})
    assert name(sample_node(student)) == name(sample_node(aligned))  # K and A-K: paired
    assert name(sample_node(second)) != name(sample_node(student))  # its own training numbers
    assert name(sample_node(student)) != name(sample_node(student, temperature=0.8))
    assert name(first) != name(sample_node(p_star, samples=40, heldout_samples=0))  # evaluation
    assert name(sample_node(p_prime)) == name(sample_node(p_star))


def test_temperature_is_that_of_the_draw_and_of_the_log_probs(
    nano_store: NanoStore, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    node = sample_node(nano_store.p_star, temperature=0.5)
    list(run_sample(node, nano_store.store, WorkerGroup()))
    table, prompt = read_shards(nano_store.store, node, "heldout"), tiny_tokenizer.encode("The")
    responses = [row[len(prompt) :] for row in table["input_ids"].to_pylist()]
    stored = np.array([sum(row) for row in table["log_probs"].to_pylist()])
    cold, count = tempered_sums(tiny_model, responses, prompt, 0.5)
    warm, _ = response_sums(tiny_model, responses, prompt)
    np.testing.assert_allclose(stored / count.numpy(), (cold / count).numpy(), atol=1e-4)
    assert float(((cold - warm) / count).abs().mean()) > 0.02


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_written(
    nano_store: NanoStore,
) -> None:
    node = sample_node(nano_store.p_star, sample_tokens=64)
    with pytest.raises(InputError, match=r"settings\.prompt .* settings\.sample_tokens = 64"):
        list(run_sample(node, nano_store.store, WorkerGroup()))
    assert files(nano_store.store, node) == {}


def test_shards_cover_the_set_once() -> None:
    for samples, heldout in ((1, 1), (32, 33), (150, 0), (64, 64)):
        found = sample_shards.shards_of(samples, heldout)
        rows = [i for shard in found for i in range(shard.start, shard.start + shard.rows)]
        assert rows == list(range(samples + heldout))
        assert len({shard.name for shard in found}) == len(found)


def test_large_models_are_drawn_in_batches_that_memory_holds() -> None:
    def rows(size: str, tokens: int) -> int:
        request = Request(PromptRows.same([1]), tokens, 1.0, 0, 0)
        group = WorkerGroup(resources=LlmResources())
        return batch_sizes.rows_at_once(config_of(size), request, torch.device("cpu"), group)

    assert rows("nano-medium", 32) == 16  # ROWS, small in this file
    assert rows("smollm2-135m", 512) == 16
    assert rows("smollm2-1.7b", 512) == 2


class StandIn:
    """vLLM as far as it is asked here; every model says END after two tokens."""

    LLM: type[StandIn]
    made: ClassVar[list[StandIn]] = []

    def __init__(self, **options: Any) -> None:
        self.options, self.asked, self.shut = options, list[int](), 0
        self.llm_engine = self.engine_core = self
        StandIn.made.append(self)

    @staticmethod
    def SamplingParams(**options: Any) -> dict[str, Any]:
        return options

    def generate(self, prompts: list[Any], parameters: list[Any], use_tqdm: bool) -> list[Any]:
        assert not self.shut
        self.asked.append(len(prompts))
        end = parameters[0]["stop_token_ids"][0]
        token = SimpleNamespace(logprob=-0.5)
        steps = [{5: token}, {6: token}, {end: token}]
        drawn = SimpleNamespace(token_ids=[5, 6, end], logprobs=steps)
        return [SimpleNamespace(outputs=[drawn]) for _ in prompts]

    def shutdown(self) -> None:
        self.shut += 1


StandIn.LLM = StandIn


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    monkeypatch.setitem(sys.modules, "vllm", cast(ModuleType, StandIn))
    monkeypatch.setattr(batch_sizes, "SHARD", sample_shards.SHARD)
    StandIn.made.clear()
    return StandIn


def test_vllm_gets_whole_shards_and_is_shut_down(
    nano_store: NanoStore, vllm: type[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_sizes, "CPU_BYTES", 1)  # what the CPU could hold says nothing here
    node = sample_node(nano_store.p_star, engine="vllm")
    list(run_sample(node, nano_store.store, WorkerGroup()))
    (engine,) = vllm.made
    assert engine.asked == [32, 32, 32, 32, 22, 32, 8]
    assert engine.shut == 1
    drawn = read_shards(nano_store.store, node, "heldout")
    assert set(map(len, drawn["log_probs"].to_pylist())) == {3}


@pytest.mark.parametrize("ending", ["a failure", "an interruption"])
def test_vllm_is_shut_down_whatever_ends_the_sampling(
    nano_store: NanoStore, vllm: type[StandIn], monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    if ending == "a failure":
        monkeypatch.setattr(sample, "shard_table", lambda *_: 1 / 0)
    run = run_sample(sample_node(nano_store.p_star, engine="vllm"), nano_store.store, WorkerGroup())
    with pytest.raises(ZeroDivisionError) if ending == "a failure" else nullcontext():
        next(run)
    del run
    assert [engine.shut for engine in vllm.made] == [1]

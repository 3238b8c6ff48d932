"""Sampling as a stage: sequences of a model at a temperature, in shards that the workers share.

Token ids go to Parquet as they were drawn, with their log-probabilities: no text in between.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from recalltrap.graph import Node
from recalltrap.identity import fingerprint
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap.streams import stream
from recalltrap_studies.llm.data.sample_shards import (
    SHARD,
    Shard,
    Split,
    read_shards,
    shards_of,
    write_shard,
)
from recalltrap_studies.llm.inference import sampling_engines
from recalltrap_studies.llm.inference.sampling_engines import Request, Responses
from recalltrap_studies.llm.models import devices, tokenizers, weights

__all__ = ["Request", "Responses", "read_samples", "run_sample", "uniforms"]

ROWS = 1024
"""Sequences drawn at once at most: on one core the fastest of 512 to 2048."""
CPU_BYTES = 1 << 30
GPU_SHARE = 0.5


def uniforms(seed: int, name: str, rows: int, tokens: int) -> Tensor:
    """Uniform numbers in [0, 1) of a named stream, float64, [rows, tokens]."""
    return torch.from_numpy(stream(seed, name).random((rows, tokens)))


def read_samples(store: ArtifactStore, node: Node, split: Split = "train") -> pa.Table:
    """A sample set's sequences: `sequence`, `input_ids`, `log_probs`, `finished`; see `shards`.

    Raises:
        InputError: the artifact is missing or damaged.
    """
    return read_shards(store, node, split)


def run_sample(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Draw the sequences of a node and store them; shards that stand already are kept.

    Called on every worker of the group together; each draws every size-th missing shard, and all
    yield equally often.

    Raises:
        InputError: the prompt can't be spelled, or doesn't fit the context with the response.
        StageError: the model's logits aren't finite, or memory ran out.
    """
    shards = shards_of(node.config["samples"], node.config["heldout_samples"])
    missing = group.broadcast(_missing(node, store, shards) if group.leads else None)
    began, tokens, parameters = time.perf_counter(), 0, 0
    if missing:
        model, request = _prepare(node, store)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        with sampling_engines.opened(node.config["engine"], model) as draw:
            rows = rows_of_a_draw(node.config["engine"], model, request, group)
            for first in range(0, len(missing), group.size):
                if first + group.rank < len(missing):
                    shard = missing[first + group.rank]
                    tokens += _draw_shard(node, store, shard, request, draw, rows)
                rate = tokens / (time.perf_counter() - began)
                done = len(shards) - len(missing) + min(first + group.size, len(missing))
                yield Progress(node.stage, done, len(shards), {"tokens_per_second": rate})
    seconds = time.perf_counter() - began
    spent = group.gather((seconds, tokens))  # whoever seals waits for all shards
    if group.leads:
        store.seal(node, [shard.name for shard in shards], _cost(spent, parameters))


def _missing(node: Node, store: ArtifactStore, shards: list[Shard]) -> list[Shard]:
    there = set(store.storage.list(store.folder(node)))
    return [shard for shard in shards if shard.name not in there]


def _prepare(node: Node, store: ArtifactStore) -> tuple[Any, Request]:
    config, source = node.config, node.parents["model"]
    tokenizer = tokenizers.read_tokenizer(store, source)
    request = Request(
        tuple(tokenizers.encode_prompt(tokenizer, config["prompt"])),
        config["sample_tokens"],
        config["temperature"],
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    where = torch.device("cpu") if config["engine"] == "vllm" else devices.device()
    model = weights.read_model(store, source, where)
    sampling_engines.check_context(model.config, request)
    return model, request


def _draw_shard(
    node: Node,
    store: ArtifactStore,
    shard: Shard,
    request: Request,
    draw: sampling_engines.Draw,
    rows: int,
) -> int:
    """Draw and write one shard; returns its number of tokens."""
    name = f"{stream_name(node)}/{shard.name}"
    uniforms_BT = uniforms(node.seed, name, shard.rows, request.max_new_tokens)
    parts = [draw(request, part_BT) for part_BT in torch.split(uniforms_BT, rows)]
    store.write_file(node, shard.name, write_shard(shard, request.prompt_ids, parts))
    return sum(int(part.mask_BT.sum()) for part in parts)


def stream_name(node: Node) -> str:
    """The random stream of a sample set: one for its settings and its place in a chain of models.

    Teachers at the same place get the same numbers, so that orderings are compared in pairs. A
    model that descends from a sample is never sampled with the numbers that made it, and no two
    sets of one model share any.
    """
    place, ancestor = 0, node.parents["model"].source
    while ancestor is not None:
        place += ancestor.stage == node.stage
        ancestor = ancestor.source
    return f"sample/{fingerprint(dict(node.config))}/{place}"


def rows_of_a_draw(engine: str, model: Any, request: Request, group: WorkerGroup) -> int:
    """How many sequences an engine is asked for at once.

    vLLM plans its own memory and keeps its device busy only with many: it gets the whole shard,
    whatever the CPU, where its weights come from, could hold.
    """
    if engine == "vllm":
        return SHARD
    return rows_at_once(model.config, request, model.device, group)


def rows_at_once(config: Any, request: Request, where: torch.device, group: WorkerGroup) -> int:
    """How many sequences are drawn at once: a power of two up to `ROWS` that memory holds.

    Counted are the cache, twice where it grows by copying, and the logits in float32 with their
    copies in the inverse CDF. It depends on the device's size and not on what is free: the same
    machine always forms the same batches.
    """
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    positions = len(request.prompt_ids) + request.max_new_tokens
    cached = 2 * config.num_hidden_layers * heads * width * positions
    budget, each = float(CPU_BYTES), 2 * 4 * cached + 5 * 4 * config.vocab_size
    if where.type == "cuda":
        share = min(group.resources.gpus_per_trial or 1.0, 1.0)
        budget = GPU_SHARE * share * torch.cuda.get_device_properties(where).total_memory
        each = 2 * cached + 5 * 4 * config.vocab_size
    fitting = max(int(budget // each), 1)
    return min(1 << (fitting.bit_length() - 1), ROWS)


def _cost(spent: list[tuple[float, int]], parameters: int) -> Cost:
    """2 FLOPs per parameter and token, over all workers."""
    tokens = sum(part[1] for part in spent)
    return Cost(
        wall_seconds=max(part[0] for part in spent),
        device_seconds=sum(part[0] for part in spent),
        tokens=tokens,
        flops=2.0 * parameters * tokens,
        device=devices.name(),
        workers=len(spent),
    )

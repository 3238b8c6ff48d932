"""Sampling as a stage: sequences of a model at a temperature, in shards that the workers share.

Token ids go to Parquet as they were drawn, those held out with their log-probabilities: no text in
between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recalltrap.graph import Node
from recalltrap.identity import fingerprint
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore, Cost, FileDigest
from recalltrap_studies.llm.data import prompts, responses
from recalltrap_studies.llm.data.prompts import PromptSet
from recalltrap_studies.llm.data.responses import Request
from recalltrap_studies.llm.data.sample_shards import Shard, shard_table, shards_of
from recalltrap_studies.llm.inference import sampling_engines
from recalltrap_studies.llm.inference.batch_sizes import rows_of_a_draw
from recalltrap_studies.llm.inference.response_batches import uniforms
from recalltrap_studies.llm.models import devices, tokenizers, weights
from recalltrap_studies.llm.stage_settings import HELD_OUT, PART


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
    files = _standing(node, store, shards, missing, group)
    if missing:
        model, request, asked = _prepare(node, store)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        vocabulary = int(model.config.vocab_size)
        with sampling_engines.opened(node.config["engine"], model) as draw:
            rows = rows_of_a_draw(node.config["engine"], model, request, group)
            total = sum(shard.rows for shard in shards)
            done = total - sum(shard.rows for shard in missing)
            for first in range(0, len(missing), group.size):
                together = missing[first : first + group.size]
                tell = partial(_tell, node, group, done, total, len(together))
                if group.rank < len(together):
                    shard = together[group.rank]
                    drawn, files[shard.name] = _draw_shard(
                        node, store, shard, request, asked, draw, rows, vocabulary, tell
                    )
                    tokens += drawn
                rate = tokens / (time.perf_counter() - began)
                done += sum(shard.rows for shard in together)
                yield Progress(node.stage, done, total, {"tokens_per_second": rate})
    seconds = time.perf_counter() - began
    # Whoever seals waits for all shards; each worker hashed its own.
    spent, everyone = zip(*group.gather(((seconds, tokens), files)), strict=True)
    if group.leads:
        found = {name: digest for files in everyone for name, digest in files.items()}
        named = {shard.name: found[shard.name] for shard in shards}
        store.seal(node, named, _cost(spent, parameters))


def _missing(node: Node, store: ArtifactStore, shards: list[Shard]) -> list[Shard]:
    there = set(store.storage.list(store.folder(node)))
    return [shard for shard in shards if shard.name not in there]


def _tell(node: Node, group: WorkerGroup, before: int, total: int, drawing: int, rows: int) -> None:
    """Say that so many rows of a shard are drawn, and as many by each of those `drawing`."""
    group.report(Progress(node.stage, min(before + rows * drawing, total), total))


def _standing(
    node: Node,
    store: ArtifactStore,
    shards: Sequence[Shard],
    missing: Sequence[Shard],
    group: WorkerGroup,
) -> dict[str, FileDigest]:
    """This worker's share of the shards that an interrupted run left, hashed."""
    absent = {shard.name for shard in missing}
    kept = [shard.name for shard in shards if shard.name not in absent]
    return {name: store.digest(node, name) for name in kept[group.rank :: group.size]}


def _prepare(node: Node, store: ArtifactStore) -> tuple[Any, Request, PromptSet]:
    config, source = node.config, node.parents["model"]
    tokenizer = tokenizers.read_tokenizer(store, source)
    asked = prompts.asked(config, tokenizer)
    longest, temperature = config["sample_tokens"], config["temperature"]
    request = responses.request(tokenizer, asked.rows, longest, temperature)
    where = torch.device("cpu") if config["engine"] == "vllm" else devices.device()
    model = weights.read_model(store, source, where)
    responses.check_context(model.config, request)
    return model, request, asked


def _draw_shard(
    node: Node,
    store: ArtifactStore,
    shard: Shard,
    request: Request,
    asked: PromptSet,
    draw: sampling_engines.Draw,
    rows: int,
    vocabulary: int,
    tell: Callable[[int], None],
) -> tuple[int, FileDigest]:
    """Draw and write one shard; returns its number of tokens, and what the record says of it.

    `tell` is called with the number of rows that are drawn, while some are.
    """
    name = f"{stream_name(node)}/{shard.name}"
    uniforms_BT = uniforms(node.seed, name, shard.rows, request.max_new_tokens)
    prompt_N = prompts_of(node, shard, asked)
    theirs = [request.take(part_B) for part_B in torch.split(prompt_N, rows)]
    parts = []
    for request, part_BT in zip(theirs, torch.split(uniforms_BT, rows), strict=True):
        parts.append(draw(request, part_BT))
        tell(sum(len(part.mask_BT) for part in parts))
    answered = [(request.prompts, part) for request, part in zip(theirs, parts, strict=True)]
    digest = store.put_table(node, shard.name, shard_table(shard, answered, vocabulary))
    return sum(int(part.mask_BT.sum()) for part in parts), digest


def prompts_of(node: Node, shard: Shard, asked: PromptSet) -> Tensor:
    """Which prompt each sequence of a shard is to [N]: by weight where it's learned from; in turn
    where models are judged by it, so that each prompt has as many."""
    if node.config.get(PART) == HELD_OUT:
        return asked.evenly(shard.rows, shard.start)
    return asked.drawn(shard.rows, node.seed, f"{stream_name(node)}/{shard.name}/prompts")


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


def _cost(spent: Sequence[tuple[float, int]], parameters: int) -> Cost:
    """2 FLOPs per parameter and token, over all workers."""
    tokens = sum(part[1] for part in spent)
    return Cost(
        wall_seconds=max(part[0] for part in spent),
        device_seconds=sum(part[0] for part in spent),
        tokens=tokens,
        flops=2.0 * parameters * tokens,
        device=devices.name(),
        workers=len(spent),
        updates=0,
    )

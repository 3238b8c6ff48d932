"""A sample set as large as the paper's tenth: opened, shuffled, read to its end, and learned from.

    python tests/benchmarks/sample_tables.py FOLDER [--sequences 1000000] [--updates 200]

Writes shards of random tokens as the stage `sample` does, and then two workers (gloo, on the CPU)
open them through `datasets.prepare`, go through a shuffled order to the end, each its half, in
batches as the trainer collates them, and train a nano model by the stage's own code. Each says the
most memory that it had: `RssAnon`, its own, sampled every 10 ms from /proc; the pages of the maps
(`RssFile`) are the system's cache of files, which both share and which is given up first. With
`--limit` GB a worker may have no more of its own than that (RLIMIT_DATA). FOLDER needs 2.2 GB for
a million sequences and is removed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap.streams import stream
from recalltrap_studies.llm.data import datasets
from recalltrap_studies.llm.data.responses import PromptRows, Responses
from recalltrap_studies.llm.data.sample_shards import shard_table, shards_of
from recalltrap_studies.llm.data.token_sequences import Collator, InOrder, shuffled
from recalltrap_studies.llm.models import tokenizers, weights
from recalltrap_studies.llm.models.architectures import config_of
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.stages.train import run_train
from tests.studies.llm.conftest import tiny_sentences
from tests.studies.llm.training_nodes import TEACHER, student_node

VOCABULARY, LENGTH, HELD_OUT, BATCH, WORKERS = 512, 512, 256, 16, 2
FREE = Cost(0.0, 0.0, 0, 0.0, "cpu", 1)


def student(sequences: int, updates: int) -> Node:
    """A nano model that learns for so many updates of `BATCH` sequences."""
    node = student_node(TEACHER, batch_size=BATCH, p_prime_epochs=updates * BATCH / sequences)
    samples = node.parents["samples"]
    config = {**samples.config, "samples": sequences, "heldout_samples": HELD_OUT,
              "sample_tokens": LENGTH - 1}  # fmt: skip
    return replace(node, parents={**node.parents, "samples": replace(samples, config=config)})


def write(store: ArtifactStore, node: Node) -> None:
    """The teacher, and its samples: random tokens, all of full length."""
    tokenizer = tokenizers.train_tokenizer(tiny_sentences(1000), VOCABULARY)
    model = weights.fresh_model(config_of("nano-small", VOCABULARY, tokenizer), 0)
    store.put(node.parents["teacher"], weights.model_files(model, tokenizer), FREE)
    samples, files = node.parents["samples"], {}
    for shard in shards_of(samples.config["samples"], HELD_OUT):
        random = torch.Generator().manual_seed(shard.start)
        tokens_BT = torch.randint(0, VOCABULARY, (shard.rows, LENGTH - 1), generator=random)
        known_BT = torch.full(tokens_BT.shape, -float(np.log(VOCABULARY)))
        finished_B = torch.zeros(shard.rows, dtype=torch.bool)
        drawn = Responses(tokens_BT, torch.ones_like(tokens_BT).bool(), known_BT, finished_B)
        table = shard_table(shard, [(PromptRows.same([5]), drawn)], VOCABULARY)
        files[shard.name] = store.put_table(samples, shard.name, table)
    store.seal(samples, files, FREE)


class Memory:
    """The most memory that this process has had, in bytes."""

    def __init__(self) -> None:
        self.own = self.mapped = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            fields = dict(line.split(":", 1) for line in lines)
            own, mapped = (int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
            self.own, self.mapped = max(self.own, own), max(self.mapped, mapped)
            time.sleep(0.01)

    def said(self) -> str:
        return f"{self.own / 1e9:.2f} GB of its own, {self.mapped / 1e9:.2f} GB mapped"


def work(folder: str, sequences: int, updates: int, limit: float) -> None:
    """One worker's part."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()

    def gather(value: Any) -> list[Any]:
        values: list[Any] = [None] * WORKERS
        dist.all_gather_object(values, value)
        return values

    group = WorkerGroup(
        rank, WORKERS, lambda value: gather(value)[0], gather,
        resources=LlmResources(workers=WORKERS), distributed=True,
    )  # fmt: skip
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 1e9), int(limit * 1e9)))
    memory, store = Memory(), ArtifactStore(Storage(folder))
    node, clock = student(sequences, updates), time.perf_counter()

    def tell(what: str) -> None:
        nonlocal clock
        seconds, clock = time.perf_counter() - clock, time.perf_counter()
        print(f"worker {rank}: {what} in {seconds:.0f} s; so far {memory.said()}", flush=True)

    tell("started")
    data = datasets.prepare(node, store, Path(folder) / "scratch", group)
    tell(f"opened {len(data.train):,} sequences as {data.train.tokens.dtype}")
    order = shuffled(len(data.train), len(data.train), stream(0, "benchmark/order"))
    tell("shuffled")
    collate = Collator(data.train, data.tokenizer.pad_token_id)
    tokens, rows = 0, []
    for index, row in enumerate(InOrder(order)):
        if index // BATCH % WORKERS == rank:
            rows.append({"row": row})
        if len(rows) == BATCH:
            batch = collate(rows)
            tokens += int(batch["attention_mask"].sum())
            rows = []
    tell(f"read its half to the end, {tokens:,} tokens")
    del data, order, collate
    list(run_train(node, store, group))
    tell(f"trained for {updates} updates of {BATCH} sequences")
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--sequences", type=int, default=1_000_000)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--limit", type=float, default=0.0)
    asked = parser.parse_args()
    if "RANK" in os.environ:
        work(asked.folder, asked.sequences, asked.updates, asked.limit)
        return
    store, clock = ArtifactStore(Storage(asked.folder)), time.perf_counter()
    store.storage.prepare()
    try:
        node = student(asked.sequences, asked.updates)
        write(store, node)
        files = store.open(node.parents["samples"]).record["files"].values()
        size = sum(file["bytes"] for file in files) / 1e9
        print(f"written in {time.perf_counter() - clock:.0f} s: {size:.2f} GB", flush=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(WORKERS)}
        workers = [
            subprocess.Popen(
                [sys.executable, *sys.argv],
                env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank),
                     "OMP_NUM_THREADS": "1", "RECALLTRAP_DEVICE": "cpu"},
            )
            for rank in range(WORKERS)
        ]  # fmt: skip
        statuses = [worker.wait() for worker in workers]
    finally:
        shutil.rmtree(asked.folder, ignore_errors=True)
    sys.exit(max(statuses))


if __name__ == "__main__":
    main()

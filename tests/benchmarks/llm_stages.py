"""Seconds, tokens and peak memory of every stage of a small nano study, in one process.

    python tests/benchmarks/llm_stages.py [-o SETTING=VALUE ...]

K-A and A-K with one seed: what both need is built once, and the last line counts what that saved.
Peak memory is the process's resident set, or what torch allocated on the GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil
import torch

from recalltrap.graph import Node, ancestry
from recalltrap.orderings import Ordering
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.settings import LlmSettings

SMALL = {
    "corpus_sentences": 8000,
    "p_star_epochs": 2.0,
    "training_samples": 4096,
    "heldout_samples": 512,
    "p_prime_epochs": 2.0,
    "distill_epochs": 2.0,
    "target_epochs": 2.0,
    "oracle_samples": 1024,
    "iterations": 20,
    "evaluation_samples": 1024,
}
"""The study of the second table: a minute or so."""


class Peak:
    """Highest resident memory (GPU memory where there is one) while the context lasts, in MiB."""

    mib = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        gpu, process, done = torch.cuda.is_available(), psutil.Process(), threading.Event()

        def look() -> None:
            while not done.wait(0.02):
                self.mib = max(self.mib, process.memory_info().rss / 2**20)

        if gpu:
            torch.cuda.reset_peak_memory_stats()
        watcher = threading.Thread(target=look)
        watcher.start()
        yield
        done.set()
        watcher.join()
        if gpu:
            self.mib = torch.cuda.max_memory_allocated() / 2**20


def stages(changes: dict[str, Any]) -> Iterator[list[str]]:
    """Rows of the second table: every stage of K-A and A-K with one seed, in this process."""
    settings = LlmSettings.model_validate({**SMALL, **changes})
    wanted = built = 0
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Storage(folder))
        for name in ("K-A", "A-K"):
            cell = KIND.cell(Ordering.model_validate(name), settings, 0)
            nodes = ancestry([*cell.models.values(), *cell.assessments.values()])
            wanted += len(nodes)
            for node in nodes:
                if store.has(node):
                    continue
                built += 1
                yield [name, *build(node, store)]
    yield ["", f"{built} built of {wanted} asked for", "", "", "", ""]


def build(node: Node, store: ArtifactStore) -> list[str]:
    """Build one stage: its name, seconds, tokens, tokens a second and peak memory."""
    peak, began = Peak(), time.perf_counter()
    with peak.watched():
        failures = [lost for step in KIND.build([node], store) for lost in step.failures]
    seconds = time.perf_counter() - began
    if failures:
        raise SystemExit(f"{node.stage} failed: {failures[0].message}")
    tokens = int(store.open(node).cost["tokens"])
    rate = f"{tokens / seconds:,.0f}"
    return [node.stage, f"{seconds:.1f}", f"{tokens:,}", rate, f"{peak.mib:,.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="changes", action="append", default=[], metavar="SETTING=VALUE")
    changes = dict(change.split("=", 1) for change in parser.parse_args().changes)
    torch.set_num_threads(1)
    print("| ordering | stage | s | tokens | tok/s | peak MiB |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for row in stages({name: json.loads(value) for name, value in changes.items()}):
        print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()

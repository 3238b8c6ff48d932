"""What a teacher's scores take of a distillation, computed in every epoch and stored once.

    python -m tests.benchmarks.teacher_scoring --samples 20000 --epochs 4 --repeats 3

Times are of this process (user and system), each way once a round, the rounds alternating; models
are freshly drawn, since what they say plays no part. Prints the medians, their ratios to the plain
likelihood, and the share that scoring has of a training.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from typing import Any

import torch

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import part_config
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap.streams import stream
from recalltrap_studies.llm.data import corpus
from recalltrap_studies.llm.distillation.registry import DISTILLATIONS, run_distillation
from recalltrap_studies.llm.models import architectures, tokenizers, weights
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stage_settings import Distill
from recalltrap_studies.llm.stages.sample import run_sample

WAYS = {
    "the samples' likelihood": ("sequence", "computed"),
    "its distributions, computed": ("logits", "computed"),
    "its distributions, stored": ("logits", "stored"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--teacher", default="nano-medium")
    parser.add_argument("--student", default="nano-small")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Storage(folder))
        teacher, samples = taught(store, asked)
        found: dict[str, list[float]] = {name: [] for name in WAYS}
        for repeat in range(asked.repeats):
            for place, (name, (way, how)) in enumerate(WAYS.items()):
                node = student(asked, way, teacher, samples, 1 + repeat * len(WAYS) + place)
                resources = LlmResources.model_validate({"teacher_scores": how})
                began = time.process_time()
                list(run_distillation(node, store, WorkerGroup(resources=resources)))
                found[name].append(time.process_time() - began)
    median = {name: statistics.median(values) for name, values in found.items()}
    plain = next(iter(median.values()))
    for name, seconds in median.items():
        share = 1 - plain / seconds
        print(f"{name}: {seconds:.1f} s, x {seconds / plain:.2f}, scoring {100 * share:.0f} %")


def taught(store: ArtifactStore, asked: Any) -> tuple[Node, Node]:
    """A teacher and its samples."""
    texts = corpus.load_corpus(corpus.GRAMMAR, 2000, stream(0, "benchmark/texts"))
    tokenizer = tokenizers.train_tokenizer(texts, 512)
    config = architectures.config_of(asked.teacher, len(tokenizer), tokenizer)
    teacher = Node("pretrain", 0, {"vocabulary_size": len(tokenizer)})
    model = weights.fresh_model(config, 1)
    store.put(teacher, weights.model_files(model, tokenizer), Cost(0.0, 0.0, 0, 0.0, "cpu", 1))
    drawn = {
        "samples": asked.samples, "heldout_samples": 256, "sample_tokens": 32, "prompt": "The",
        "engine": "transformers", "temperature": 1.0,
    }  # fmt: skip
    samples = Node("sample", 0, drawn, {"model": teacher})
    list(run_sample(samples, store, WorkerGroup()))
    return teacher, samples


def student(asked: Any, way: str, teacher: Node, samples: Node, version: int) -> Node:
    """A student of them."""
    config = part_config(LlmSettings(), Distill) | DISTILLATIONS[way].config(LlmSettings())
    for name in ("student", "student_layers"):
        config.pop(name, None)
    config |= {"architecture": asked.student, "distill_epochs": asked.epochs}
    node = Node("distill", 0, config, {"samples": samples, "teacher": teacher})
    return replace(node, version=version)


if __name__ == "__main__":
    main()

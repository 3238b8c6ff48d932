"""A cell as a graph of stages: which node is made from which, and what each one's identity holds.

p* has seed 0 whatever the cell's seed: it is trained or loaded once for all. Everything else
belongs to a seed, and both orderings of a seed share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recalltrap.graph import Node
from recalltrap.orderings import Ordering, walk
from recalltrap.settings_parts import Part, part_config
from recalltrap_studies.llm.fingerprints import (
    architecture_identity,
    corpus_identity,
    model_identity,
)
from recalltrap_studies.llm.models.architectures import is_size
from recalltrap_studies.llm.settings import (
    ALIGNMENTS,
    Distill,
    Evaluate,
    LlmSettings,
    Oracle,
    Pretrain,
    Sft,
    Target,
)

VERSIONS = {
    "pretrain": 1, "load": 2, "sample": 1, "sft": 1, "target": 1, "oracle": 1, "distill": 1,
    "align": 1, "assess": 1,
}  # fmt: skip
"""Bumped when a stage's numbers change their meaning. `load` 2: what comes from outside begins a
text as its tokenizer does (BOS), and its students are initialised by their family's rules."""
ALGORITHM_VERSIONS = {"grpo": 2, "rloo": 2}
"""In place of `align`'s, where one algorithm's numbers changed. 2: the KL in GRPO's reward."""
ARCHITECTURE = {"sft": "p_prime", "distill": "student", "target": "p_target"}
"""Which setting names the architecture that a stage initialises."""


def node(stage: str, seed: int, config: Mapping[str, Any], **parents: Node) -> Node:
    """A node at its stage's version, or its algorithm's."""
    version = ALGORITHM_VERSIONS.get(config.get("algorithm", ""), VERSIONS[stage])
    return Node(stage, seed, config, parents, version)


class Graph:
    """The nodes of one seed under one group of settings."""

    def __init__(self, settings: LlmSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.p_star = _p_star(settings)
        truth = {"samples": settings.evaluation_samples, "heldout_samples": 0}
        self.truth = self.sample(self.p_star, 1.0, **truth)
        self.p_prime = self._student("sft", Sft, self.p_star, 1.0)
        self.p_target = self._student("target", Target, self.p_prime, settings.target_temperature)
        self.oracle = node("oracle", seed, part_config(settings, Oracle), p_target=self.p_target)

    def sample(self, model: Node, temperature: float, **extra: Any) -> Node:
        """Sequences of a model; what differs in its configuration is drawn with other numbers."""
        settings = self.settings
        config = {
            "samples": settings.training_samples,
            "heldout_samples": settings.heldout_samples,
            "sample_tokens": settings.sample_tokens,
            "prompt": settings.prompt,
            "engine": settings.engine,
            "temperature": temperature,
            **extra,
        }
        return node("sample", self.seed, config, model=model)

    def _student(self, stage: str, part: type[Part], teacher: Node, temperature: float) -> Node:
        config = part_config(self.settings, part)
        config["architecture"] = architecture_identity(config.pop(ARCHITECTURE[stage]))
        # p_target never learns the very samples that p'' learns, also where tau is the same
        own = {"learner": "p_target"} if stage == "target" else {}
        samples = self.sample(teacher, temperature, **own)
        return node(stage, self.seed, config, samples=samples, teacher=teacher)

    def distill(self, teacher: Node, aligned: bool) -> Node:
        """A student of a teacher, from its samples at temperature tau: the last distillation's own
        where the teacher, or a teacher before it, has been aligned."""
        temperature = self.settings.last_distill_temperature
        if temperature is None or not aligned:
            temperature = self.settings.distill_temperature
        return self._student("distill", Distill, teacher, temperature)

    def align(self, start: Node, reference: Node) -> Node:
        """An alignment of `start`, anchored to `reference`."""
        config = part_config(self.settings, ALIGNMENTS[self.settings.algorithm])
        return node("align", self.seed, config, start=start, reference=reference,
                    p_target=self.p_target, oracle=self.oracle)  # fmt: skip

    def assess(self, model: Node) -> Node:
        """What judges a model, once for all cells."""
        config = part_config(self.settings, Evaluate)
        return node("assess", self.seed, config, model=model, truth=self.truth, p_star=self.p_star,
                    p_target=self.p_target, oracle=self.oracle)  # fmt: skip

    def models(self, ordering: Ordering) -> dict[str, Node]:
        """p', p'' and the final model, whatever the ordering; p'_AK where there is one."""
        return walk(ordering, self.p_prime, self.distill, self.align)


def _p_star(settings: LlmSettings) -> Node:
    if not is_size(settings.p_star):
        return node("load", 0, {"p_star": model_identity(settings.p_star)})
    corpus = corpus_identity(settings.corpus)
    return node("pretrain", 0, {**part_config(settings, Pretrain), "corpus": corpus})

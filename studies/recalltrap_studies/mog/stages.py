"""The stages of a mixture study, one record each: what they start from and what they learn from.

How they learn is the business of their algorithm's record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from recalltrap.graph import Node
from recalltrap.identity import canonical_json
from recalltrap.settings_parts import all_settings, shared_config
from recalltrap_studies.mog.algorithm import Algorithm
from recalltrap_studies.mog.alignment.registry import ALGORITHMS
from recalltrap_studies.mog.distillation.registry import distillation_of
from recalltrap_studies.mog.ground_truth import p_star
from recalltrap_studies.mog.models import Model
from recalltrap_studies.mog.stage_settings import Optimiser, Sft
from recalltrap_studies.records import LateImport

START = "start"
"""The parent that a model goes on from."""


@dataclass(frozen=True)
class Stage:
    """One step of an ordering, or the fit that comes before all orderings."""

    name: str
    algorithm: Callable[[Mapping[str, Any]], Algorithm]
    """Which algorithm settings, or a stage's configuration, ask for."""
    length: str
    """The setting that says how many iterations it makes."""
    source: Callable[[Any, Mapping[str, Model]], Model]
    """What it learns from, or is held to, of its part and its parents' models."""
    parents: tuple[str, ...] = ()
    """What each parent is to it, beside those that its algorithm holds. One called `start` is the
    model that it goes on from."""
    components: str | None = None
    """The setting that says how many components it begins with where no parent is a `start`."""
    resumes: bool = False
    """Whether lengths are an axis: a longer execution gives the shorter ones on its way."""

    def node(self, settings: BaseModel, seed: int, **parents: Node) -> Node:
        """Its execution for one seed; `parents` in the order that decides its identity."""
        algorithm = self.algorithm(all_settings(settings))
        needed = (*self.parents, *algorithm.holds)
        assert [*parents][: len(needed)] == [*needed], "of these names, in this order"
        assert {*parents} <= {*needed, START}
        return Node(
            self.name,
            seed,
            shared_config(settings, algorithm.settings),
            parents,
            algorithm.version,
            length_field=self.length if self.resumes else None,
        )

    def part(self, node: Node) -> Optimiser:
        """The settings of an execution."""
        return _parse(self.algorithm(node.config).settings, canonical_json(node.config).decode())

    def iterations(self, node: Node) -> int:
        """How many an execution makes."""
        return int(node.config[self.length])


SAMPLED_TRUTH = Algorithm(
    name="sampled_truth",
    settings=Sft,
    version=1,
    iteration=LateImport("recalltrap_studies.mog.program.maximum_likelihood:iteration"),
    measures=("loss",),
)
"""Maximum likelihood on fresh samples of p*."""

SFT = Stage(
    name="sft",
    algorithm=lambda config: SAMPLED_TRUTH,
    length="sft_iterations",
    source=lambda part, models: p_star(part, part),
    components="p_prime_components",
)
DISTILL = Stage(
    name="distill",
    algorithm=distillation_of,
    length="distill_iterations",
    source=lambda part, models: models["teacher"],
    parents=("teacher",),
    components="student_components",
)
ALIGN = Stage(
    name="align",
    algorithm=lambda config: ALGORITHMS[config["algorithm"]],
    length="iterations",
    source=lambda part, models: models["reference"],
    parents=("start", "reference"),
    resumes=True,
)
STAGES: dict[str, Stage] = {stage.name: stage for stage in (SFT, DISTILL, ALIGN)}


@lru_cache(maxsize=4096)
def _parse(part: type[Optimiser], config: str) -> Optimiser:
    return part.model_validate_json(config)

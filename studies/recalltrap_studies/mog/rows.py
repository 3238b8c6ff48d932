"""Rows: executions of stages, and the tensors that a block of them starts from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recalltrap.graph import Node
from recalltrap.streams import key, stream
from recalltrap_studies.mog import ground_truth
from recalltrap_studies.mog.mixture import DIAGONAL, FULL, sharpen
from recalltrap_studies.mog.models import Array, Model
from recalltrap_studies.mog.program import MEASURES, Settings, Shape, State
from recalltrap_studies.mog.settings import (
    ALIGNMENTS,
    Alignment,
    Distill,
    Dpo,
    Grpo,
    OfflineDpo,
    Optimiser,
    Ppo,
    Sft,
)

Part = Sft | Distill | Alignment
ReadModel = Callable[[Node], Model]


@dataclass
class Row:
    """One execution of a stage: where it starts, what it learns from, when it is looked at."""

    stage: str
    seed: int
    part: Part
    start: Model
    source: Model  # the data of an sft, the teacher of a distillation, the reference otherwise
    snapshots: dict[int, Node] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return max(self.snapshots)

    @property
    def shape(self) -> Shape:
        part = self.part
        action = part.algorithm if isinstance(part, Alignment) else "fit"
        return Shape(
            action=action,
            components=len(self.start.logits),
            parameters=FULL if part.covariance == "full" else DIAGONAL,
            source_components=len(self.source.logits),
            batch=part.batch_size,
            targets=len(part.targets) if isinstance(part, Alignment) else 0,
            epochs=part.ppo_epochs if isinstance(part, Ppo) else 1,
            estimator=part.kl_estimator if isinstance(part, Grpo) else "",
        )

    @property
    def pairs(self) -> int:
        """Size of the fixed set of pairs; 0 where there is none."""
        return self.part.offline_pairs if isinstance(self.part, OfflineDpo) else 0


def _part_type(stage: str, algorithm: str) -> type[Part]:
    if stage == "align":
        return ALIGNMENTS[algorithm]
    return Sft if stage == "sft" else Distill


@lru_cache(maxsize=4096)
def _parse(part: type[Part], config: str) -> Part:
    return part.model_validate_json(config)


def make_row(node: Node, config: str, read: ReadModel) -> Row:
    """The row that a node belongs to; `config` is the JSON of the node's config."""
    part = _parse(_part_type(node.stage, node.config.get("algorithm", "")), config)
    if isinstance(part, Sft):
        data = ground_truth.p_star(part, part)
        start = initial_model(part, part.p_prime_components, node.seed, "sft")
        return Row("sft", node.seed, part, start, data)
    if isinstance(part, Distill):
        start = initial_model(part, part.student_components, node.seed, "distill")
        return Row("distill", node.seed, part, start, read(node.parents["teacher"]))
    return Row(
        "align", node.seed, part, read(node.parents["start"]), read(node.parents["reference"])
    )


def initial_model(part: Sft | Distill, components: int, seed: int, stage: str) -> Model:
    """Where a fit starts: equal weights, random means, round components."""
    means = stream(seed, f"{stage}/init").standard_normal((components, 2))
    scale = [part.init_scale, 0.0, part.init_scale]
    return Model(np.zeros(components), part.init_spread * means, np.tile(scale, (components, 1)))


def to_params(models: Sequence[Model], parameters: int) -> Array:
    """Stack models as parameters [R, P, K] of `mixture.py`."""
    rows = []
    for model in models:
        l11, l21, l22 = model.cholesky.T
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = [model.logits, *model.means.T, np.log(l11), np.log(l22), l21]
        rows.append(np.stack(columns[:parameters]))
    return np.stack(rows)


def to_model(params: Array) -> Model:
    """One row's parameters [P, K] as a model."""
    shear = params[5] if len(params) == FULL else np.zeros_like(params[0])
    with np.errstate(over="ignore"):
        factors = np.stack([np.exp(params[3]), shear, np.exp(params[4])], axis=1)
    return Model(params[0], params[1:3].T, factors)


class Tensors:
    """Makes a block's tensors on one device."""

    def __init__(self, rows: Sequence[Row], device: torch.device) -> None:
        self.rows, self.device = rows, device
        self.shape = rows[0].shape

    def floats(self, values: npt.ArrayLike) -> Tensor:
        return torch.tensor(np.asarray(values, dtype=np.float32), device=self.device)

    def _column(self, name: str, default: float = 0.0) -> Tensor:
        return self.floats([[getattr(row.part, name, default)] for row in self.rows])

    def keys(self, name: str) -> Tensor:
        """The keys [R, 2] of a stream, named by stage."""
        words = np.stack([key(row.seed, f"{row.stage}/{name}") for row in self.rows])
        return torch.tensor(words.view(np.int32), device=self.device)

    def _params(self, models: Sequence[Model]) -> Tensor:
        return self.floats(to_params(models, self.shape.parameters))

    def state(self) -> State:
        """Adam at rest, records empty."""
        params = self._params([row.start for row in self.rows])
        count = len(self.rows)
        measures = len(MEASURES[self.shape.action])
        return State(
            params,
            torch.zeros_like(params),
            torch.zeros_like(params),
            self.floats(np.zeros((count, 3))),
            self.floats(np.ones((count, 2))),
            self.floats(np.zeros((count, measures))),
        )

    def settings(self) -> Settings:
        """The rows' settings; the teacher of a distillation arrives sharpened."""
        source = self._params([row.source for row in self.rows])
        if isinstance(self.rows[0].part, Distill):
            source = sharpen(source, self._column("teacher_sharpness"))
        targets = np.stack([_targets(row.part) for row in self.rows])
        return Settings(
            rate=self._column("learning_rate"),
            beta_1=self._column("adam_beta1"),
            beta_2=self._column("adam_beta2"),
            epsilon=self._column("adam_epsilon"),
            source=source,
            kl_weight=self._column("kl_weight"),
            height=self._column("reward_height"),
            sharpness=self._column("reward_sharpness"),
            target_x=self.floats(targets[:, :, 0]),
            target_y=self.floats(targets[:, :, 1]),
            clip=self._column("clip_range"),
            value_rate=self._column("value_learning_rate"),
            label_noise=self._column("preference_noise"),
        )


def _targets(part: Part) -> Array:
    if isinstance(part, Alignment):
        return ground_truth.mode_centres(part)[list(part.targets)]
    return np.zeros((1, 2))


UPDATE_FLOPS = 50.0
"""Floating-point operations of density and gradient, a sample and component (an exponential
counted as ten); sampling, rewards and Adam are within the rounding."""


def samples_drawn(part: Optimiser, iterations: int) -> int:
    """Samples that an execution of `iterations` draws."""
    if isinstance(part, OfflineDpo):
        return 2 * part.offline_pairs
    return iterations * part.batch_size * (2 if isinstance(part, Dpo) else 1)


def flops_spent(row: Row, iterations: int) -> float:
    """Estimated floating-point operations, see `UPDATE_FLOPS`."""
    pairs = 2 if isinstance(row.part, Dpo) else 1
    reference = 0.5 * row.shape.source_components if isinstance(row.part, Alignment) else 0.0
    work = row.shape.epochs * row.shape.components + reference
    return math.ceil(iterations * pairs * row.part.batch_size * work * UPDATE_FLOPS)

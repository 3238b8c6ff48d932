"""Rows: executions of stages, and the tensors that a block of them starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recalltrap.graph import Node
from recalltrap.streams import key, stream
from recalltrap_studies.mog.algorithm import Algorithm
from recalltrap_studies.mog.ground_truth import mode_centres
from recalltrap_studies.mog.models import Array, Model
from recalltrap_studies.mog.program.iteration import Hyperparameters, Shape, State
from recalltrap_studies.mog.program.mixture import DIAGONAL, FULL
from recalltrap_studies.mog.stage_settings import Initialisation, Optimiser, Reward, Ring
from recalltrap_studies.mog.stages import STAGES, Stage

ReadModel = Callable[[Node], Model]


@dataclass
class Row:
    """One execution of a stage: where it starts, what it learns from, when it is looked at."""

    stage: Stage
    algorithm: Algorithm
    seed: int
    part: Optimiser
    start: Model
    source: Model  # the data of an sft, the teacher of a distillation, the reference otherwise
    held: dict[str, Model]  # the models that the algorithm holds besides
    snapshots: dict[int, Node] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return max(self.snapshots)

    @property
    def shape(self) -> Shape:
        part = self.part
        return Shape(
            algorithm=self.algorithm.name,
            components=len(self.start.logits),
            parameters=FULL if part.covariance == "full" else DIAGONAL,
            source_components=len(self.source.logits),
            batch=getattr(part, "batch_size", 0),
            targets=len(part.targets) if isinstance(part, Reward) else 0,
            noisy=getattr(part, "reward_noise", 0.0) > 0,
            held=tuple(len(model.logits) for model in self.held.values()),
            own=self.algorithm.shape(part),
        )


def make_row(node: Node, read: ReadModel) -> Row:
    """The row that a node belongs to."""
    stage = STAGES[node.stage]
    algorithm, part = stage.algorithm(node.config), stage.part(node)
    models = {name: read(parent) for name, parent in node.parents.items()}
    source = stage.source(part, models)
    if "start" in models:
        start = models["start"]
    else:
        assert stage.components
        assert isinstance(part, Initialisation)
        start = initial_model(part, getattr(part, stage.components), node.seed, stage.name)
    held = {name: models[name] for name in algorithm.holds}
    return Row(stage, algorithm, node.seed, part, start, source, held)


def initial_model(part: Initialisation, components: int, seed: int, stage: str) -> Model:
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
        self.shape, self.algorithm = rows[0].shape, rows[0].algorithm

    def floats(self, values: npt.ArrayLike) -> Tensor:
        return torch.tensor(np.asarray(values, dtype=np.float32), device=self.device)

    def _column(self, name: str, default: float = 0.0) -> Tensor:
        return self.floats([[getattr(row.part, name, default)] for row in self.rows])

    def keys(self, name: str) -> Tensor:
        """The keys [R, 2] of a stream, named by stage."""
        words = np.stack([key(row.seed, f"{row.stage.name}/{name}") for row in self.rows])
        return torch.tensor(words.view(np.int32), device=self.device)

    def _params(self, models: Sequence[Model]) -> Tensor:
        return self.floats(to_params(models, self.shape.parameters))

    def state(self) -> State:
        """Adam at rest, records empty."""
        params = self._params([row.start for row in self.rows])
        count = len(self.rows)
        return State(
            params,
            torch.zeros_like(params),
            torch.zeros_like(params),
            self.floats(np.zeros((count, self.algorithm.carried))),
            self.floats(np.ones((count, 2))),
            self.floats(np.zeros((count, len(self.algorithm.measures)))),
        )

    def hyperparameters(self) -> Hyperparameters:
        """The rows' settings; 0 where an algorithm has no such setting."""
        source = self._params([row.source for row in self.rows])
        if self.algorithm.prepare_source:
            source = self.algorithm.prepare_source(source, self._column)
        targets = np.stack([_targets(row.part) for row in self.rows])
        return Hyperparameters(
            rate=self._column("learning_rate"),
            beta_1=self._column("adam_beta1"),
            beta_2=self._column("adam_beta2"),
            epsilon=self._column("adam_epsilon"),
            source=source,
            held={
                name: self._params([row.held[name] for row in self.rows])
                for name in self.algorithm.holds
            },
            kl_weight=self._column("kl_weight"),
            height=self._column("reward_height"),
            sharpness=self._column("reward_sharpness"),
            target_x=self.floats(targets[:, :, 0]),
            target_y=self.floats(targets[:, :, 1]),
            own={name: self._column(name) for name in self.algorithm.columns},
        )


def _targets(part: Optimiser) -> Array:
    if isinstance(part, Reward):
        assert isinstance(part, Ring)
        return mode_centres(part)[list(part.targets)]
    return np.zeros((1, 2))

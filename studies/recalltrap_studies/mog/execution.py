"""Building artifacts: rows into blocks of one width, blocks through the program, models out.

Blocks are padded to `WIDTH` rows, so that shapes, kernels and numbers don't depend on how many
rows run together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recalltrap.graph import Node
from recalltrap.kind import NodeFailure, Progress
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap_studies.devices import choose_device
from recalltrap_studies.mog.costs import flops_spent, samples_drawn
from recalltrap_studies.mog.models import MODEL_FILE, Array, Model, pack, unpack
from recalltrap_studies.mog.program.compilation import (
    can_compile,
    load_iteration,
    noise_function,
    step_function,
)
from recalltrap_studies.mog.program.iteration import Batch, Hyperparameters, Shape
from recalltrap_studies.mog.program.noise import NOISY_PLANES, PLANES
from recalltrap_studies.mog.rows import Row, Tensors, make_row, to_model
from recalltrap_studies.mog.stages import STAGES

WIDTH = 20
"""Rows of a block."""

NOISE = 10
"""Iterations whose noise is drawn at once."""

CHUNK = 100
"""Iterations between two points of a curve; each point is the mean over them."""

SQUARE = "_square"
"""Ends the name of a measure that is another one's square; curves give the deviation instead."""


def build(nodes: Sequence[Node], store: ArtifactStore) -> Iterator[Progress]:
    """Execute nodes of one stage; see `recalltrap.kind.StudyKind.build`."""
    device = choose_device()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a block is too small to share: two threads are slower than one
    try:
        yield from _build(nodes, store, device)
    finally:
        torch.set_num_threads(threads)


def _build(nodes: Sequence[Node], store: ArtifactStore, device: torch.device) -> Iterator[Progress]:
    blocks = [Block(rows, device) for rows in into_blocks(collect(nodes, store))]
    total = sum(block.length for block in blocks)
    done = 0
    for block in blocks:
        for step, metrics, failures in block.run(store):
            yield Progress(nodes[0].stage, done + step, total, metrics, failures)
        done += block.length


def collect(nodes: Sequence[Node], store: ArtifactStore) -> list[Row]:
    """One row for all nodes that differ in length alone."""
    models: dict[str, Model] = {}

    def read(node: Node) -> Model:
        if node.id not in models:
            models[node.id] = unpack(store.read(node, MODEL_FILE))[0]
        return models[node.id]

    rows: dict[str, Row] = {}
    for node in nodes:
        if node.execution not in rows:
            rows[node.execution] = make_row(node, read)
        rows[node.execution].snapshots[STAGES[node.stage].iterations(node)] = node
    return list(rows.values())


def into_blocks(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of equal shape and similar length together, `WIDTH` at most."""
    groups: dict[Shape, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.shape, []).append(row)
    blocks = []
    for group in groups.values():
        group.sort(key=lambda row: -row.length)
        blocks += [group[i : i + WIDTH] for i in range(0, len(group), WIDTH)]
    return blocks


@dataclass
class CurveRecorder:
    """A block's record: the steps, and the measures' means since the step before."""

    names: list[str]
    steps: list[int]
    values: list[Array]  # each [R, M]

    def of(self, row: int, step: int, last: Array) -> dict[str, np.ndarray]:
        """The curve of one row up to `step`, where the mean is `last` [M]."""
        steps = [s for s in self.steps if s < step] + [step]
        points = np.stack([v[row] for v in self.values[: len(steps) - 1]] + [last])
        columns = dict(zip(self.names, points.T, strict=True))
        # samples differ by the deviation that the means of a measure and of its square leave
        for name in [name for name in columns if name.endswith(SQUARE)]:
            square, mean = columns.pop(name), columns[name.removesuffix(SQUARE)]
            columns[f"{name.removesuffix(SQUARE)}_sd"] = np.sqrt(np.maximum(square - mean**2, 0.0))
        curve = {name: values.astype(np.float32) for name, values in columns.items()}
        return {"step": np.asarray(steps, dtype=np.int64), **curve}


def _array(tensor: Tensor) -> Array:
    return tensor.cpu().numpy().astype(np.float64)


Event = tuple[int, dict[str, float], tuple[NodeFailure, ...]]


class Block:
    """Up to `WIDTH` rows advancing together."""

    def __init__(self, rows: Sequence[Row], device: torch.device) -> None:
        self.rows = list(rows)
        self.device = device
        self.shape, self.algorithm = rows[0].shape, rows[0].algorithm
        self.iteration = load_iteration(self.algorithm.iteration, self.shape.own)
        guard = self.algorithm.guard
        self.guard = guard.load() if guard else lambda row, curve: None
        self.compiled = can_compile(device)
        self.length = max(row.length for row in rows)
        names = [*self.algorithm.monitored, *self.algorithm.measures]
        self.curve = CurveRecorder(names, [], [])

    def run(self, store: ArtifactStore) -> Iterator[Event]:
        """Advance to the end, storing each row's model at its lengths."""
        began, seconds, at = time.perf_counter(), 0.0, 0
        # the block is filled up with copies of its first row, whose results nobody takes
        tensors = Tensors(self.rows + [self.rows[0]] * (WIDTH - len(self.rows)), self.device)
        state, hp = tensors.state(), tensors.hyperparameters()
        step = step_function(self.iteration, self.device, compiled=self.compiled)
        batch_of = self.batches(tensors, hp)
        monitor = self._noise(tensors.keys("monitor"), self.shape.batch, 1)
        for stop in self._stops():
            with torch.no_grad():
                for i in range(at, stop):
                    state = step(state, hp, batch_of(i))
                # a point of the curve is the mean over the iterations since the last one
                since = stop - (self.curve.steps[-1] if self.curve.steps else 0)
                record = state.record / since
                if self.iteration.monitor:
                    fresh = self.iteration.monitor(state.params, hp, monitor(stop))
                    record = torch.cat([fresh, record], 1)
                params, means = (_array(t) for t in (state.params, record))
            seconds += time.perf_counter() - began  # what others do between two stops isn't ours
            at = stop
            failures = self._store(store, stop, params, means, seconds)
            if stop % CHUNK == 0:
                self.curve.steps.append(stop)
                self.curve.values.append(means)
                state = state._replace(record=torch.zeros_like(state.record))
            yield stop, self._metrics(means), failures
            began = time.perf_counter()

    def _stops(self) -> list[int]:
        snapshots = {length for row in self.rows for length in row.snapshots}
        return sorted(snapshots | set(range(CHUNK, self.length, CHUNK)))

    def _noise(self, keys: Tensor, count: int, at_once: int) -> Callable[[int], Tensor]:
        """Iteration -> noise; `at_once` iterations are drawn together."""
        compiled = self.compiled and at_once > 1
        planes = PLANES if self.algorithm.paired else PLANES - 1  # labels may flip
        planes = NOISY_PLANES if self.shape.noisy else planes
        draw = noise_function(at_once, count, planes, self.device, compiled=compiled)
        drawn: dict[int, Tensor] = {}

        def noise(iteration: int) -> Tensor:
            block = iteration // at_once
            if block not in drawn:
                drawn.clear()
                start = torch.tensor(block * at_once, dtype=torch.int32, device=self.device)
                drawn[block] = draw(keys, start)
            return drawn[block][iteration % at_once]

        return noise

    def batches(self, tensors: Tensors, hp: Hyperparameters) -> Callable[[int], Batch]:
        """Iteration -> its noise, or its minibatch of a fixed set."""
        keys, batch = tensors.keys("sampling"), self.shape.batch
        if not batch:
            return lambda iteration: None
        fixed = self.iteration.minibatches
        if fixed is None:
            return self._noise(keys, batch * self.algorithm.samples_each, NOISE)
        shuffle = tensors.keys("shuffle")
        return fixed(hp, lambda count: self._noise(keys, count, 1)(0), shuffle, batch)

    def _store(
        self, store: ArtifactStore, stop: int, params: Array, means: Array, seconds: float
    ) -> tuple[NodeFailure, ...]:
        failures = []
        for index, row in enumerate(self.rows):
            node = row.snapshots.get(stop)
            if node is None:
                continue
            if not np.isfinite(params[index]).all():
                failures.append(NodeFailure(node, "nan", self._diverged(row, index, stop)))
                continue
            curve = self.curve.of(index, stop, means[index])
            if message := self.guard(row, curve):
                failures.append(NodeFailure(node, "nan", message))
                continue
            files = {MODEL_FILE: pack(to_model(params[index]), curve)}
            store.put(node, files, self._cost(row, stop, seconds / len(self.rows)))
        return tuple(failures)

    def _diverged(self, row: Row, index: int, stop: int) -> str:
        finite = [
            s
            for s, v in zip(self.curve.steps, self.curve.values, strict=True)
            if np.isfinite(v[index]).all()
        ]
        return (
            f"the parameters of {row.stage.name} with seed {row.seed} stopped being finite between "
            f"iterations {max(finite, default=0)} and {stop}; learning_rate is "
            f"{row.part.learning_rate}"
        )

    def _cost(self, row: Row, iterations: int, seconds: float) -> Cost:
        return Cost(
            wall_seconds=seconds,
            device_seconds=seconds,
            tokens=samples_drawn(self.algorithm, row.part, iterations),
            flops=flops_spent(
                self.algorithm,
                row.part,
                iterations,
                self.shape.components,
                self.shape.source_components,
                sum(self.shape.held),
            ),
            device=self._device_name(),
            workers=1,
            updates=iterations,
        )

    def _device_name(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return self.device.type

    def _metrics(self, means: Array) -> dict[str, float]:
        """Mean and deviation over rows of each measure."""
        rows = means[: len(self.rows)]
        rows = rows[np.isfinite(rows).all(axis=1)]
        if not len(rows):
            return {}
        centre, deviation = rows.mean(axis=0), rows.std(axis=0)
        metrics: dict[str, float] = {}
        for i, name in enumerate(self.curve.names):
            if not name.endswith(SQUARE):
                metrics |= {f"{name}_mean": float(centre[i]), f"{name}_sd": float(deviation[i])}
        return metrics

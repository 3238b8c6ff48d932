"""A run made of invented numbers with known effects: what the analysis must find again."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import safetensors.numpy

from recalltrap.errors import InputError
from recalltrap.graph import Cell, Node
from recalltrap.kind import Metric
from recalltrap.orderings import Ordering
from recalltrap.registry import find_kind
from recalltrap.study.primary import Primary
from recalltrap_studies.mog.settings import MogSettings

REWARD_HEIGHT = 10.0
Point = Mapping[str, Any]
Skip = Callable[[str, int, Point], bool]


@dataclass(frozen=True)
class FakeStudy:
    name: str
    question: str
    orderings: tuple[Ordering, ...]
    seeds: tuple[int, ...]
    kind: str = "mog"
    looks: tuple[int, ...] = ()
    margin: float | None = None
    recall_budget: float | None = None
    contrasts: tuple[tuple[str, str], ...] | None = None
    primary: Primary | None = None


class FakeStore:
    """Holds one invented mixture for every node."""

    def __init__(self, holds: bool = True) -> None:
        self.holds = holds

    def has(self, node: Node, /) -> bool:
        return self.holds

    def read(self, node: Node, name: str, /) -> bytes:
        generator = np.random.default_rng(int(node.id[:8], 16))
        components = 3
        arrays: dict[str, npt.NDArray[Any]] = {
            "logits": generator.normal(size=components).astype(np.float32),
            "means": generator.uniform(-1.2, 1.2, size=(components, 2)).astype(np.float32),
            "cholesky": np.tile(np.array([0.25, 0.0, 0.25], np.float32), (components, 1)),
            "curve.step": np.arange(3),
        }
        return safetensors.numpy.save(arrays)


@dataclass
class FakeStorage:
    root: Path

    def write(self, relative: str, data: bytes, /) -> None:
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def exists(self, relative: str, /) -> bool:
        return (self.root / relative).exists()

    def read(self, relative: str, /) -> bytes:
        return (self.root / relative).read_bytes()

    def display(self, relative: str, /) -> str:
        return str(self.root / relative)


@dataclass
class FakeRun:
    study: FakeStudy
    axes: tuple[str, ...]
    tables: dict[str, pa.Table]
    cells: list[Cell]
    storage: FakeStorage
    store: FakeStore = field(default_factory=FakeStore)
    run: str = "studies/fake"
    refuses: str = ""

    @property
    def folder(self) -> str:
        return self.storage.display(self.run)

    def table(self, name: str, /) -> pa.Table:
        if self.refuses:
            raise InputError(self.refuses)
        return self.tables[name]

    def planned(self) -> list[Cell]:
        return self.cells

    def provenance(self) -> dict[str, Any]:
        return {"commit": "abc", "argv": ["recalltrap", "run"], "versions": {"numpy": "2"}}

    def metrics(self) -> Mapping[str, Metric]:
        return find_kind(self.study.kind).metrics

    def looks(self) -> tuple[int, ...]:
        return tuple(sorted({*self.study.looks, len(self.study.seeds)}))

    def sql(self, query: str) -> pa.Table:
        if self.refuses:
            raise InputError(self.refuses)
        connection = duckdb.connect(":memory:")
        for name, table in {"planned": planned_table(self.cells), **self.tables}.items():
            connection.register(name, table)
        try:
            return connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            raise InputError(str(error)) from None


class MakeRun(Protocol):
    def __call__(
        self,
        *,
        grid: Mapping[str, Sequence[Any]] = ...,
        orderings: Sequence[str | dict[str, Any]] = ...,
        seeds: int = ...,
        order_effect: Callable[[Point], float] = ...,
        noise: float = ...,
        missing: Skip = ...,
        failing: Skip = ...,
        spoilt: Skip = ...,
        name: str = ...,
        question: str = ...,
    ) -> FakeRun: ...


def planned_table(cells: Sequence[Cell]) -> pa.Table:
    return pa.table(
        {
            "cell_id": [cell.id for cell in cells],
            "ordering": [cell.ordering.name for cell in cells],
        }
    )


def never(ordering: str, seed: int, point: Point) -> bool:
    return False


def graph(ordering: Ordering, settings: MogSettings, seed: int) -> dict[str, Node]:
    p_prime = Node("sft", seed, {"components": 6})
    size = {
        "components": settings.student_components,
        "sharpness": settings.teacher_sharpness,
        "distill_iterations": 50,
    }
    p_second = Node("distill", seed, size, {"teacher": p_prime})
    align = {
        "kl_weight": settings.kl_weight,
        "algorithm": settings.algorithm,
        "iterations": settings.iterations,
    }
    models = {"p_prime": p_prime, "p_second": p_second}
    current = p_prime
    for step in ordering.stages:
        if step == "distill":
            current = Node("distill", seed, size, {"teacher": current})
        else:
            starts_at_p_prime = current is p_prime
            current = Node(
                "align",
                seed,
                align,
                {"start": current, "reference": current},
                length_field="iterations",
            )
            if starts_at_p_prime:
                models["p_prime_aligned"] = current
    return models | {"final": current}


def rewards(
    ordering: str, seed: int, order_effect: float, noise: float
) -> dict[str, dict[str, float]]:
    """Attainments with known parts, as rewards; the same draws for both orderings of a seed."""
    draw = np.random.default_rng(seed).normal(size=8)
    start = 2.0 + 0.3 * draw[0]

    def reward(attained: float) -> float:
        return float(start + attained * (REWARD_HEIGHT - start))

    optimum_second = 0.45 + 0.05 * draw[1]
    optimum_prime = optimum_second + 0.6 * order_effect + noise * draw[2]
    aligned = optimum_prime + noise * draw[3]
    final_ka = optimum_second - noise * draw[4]
    final_ak = final_ka + order_effect + noise * draw[5]
    final = {"A": aligned, "K": 0.0, "K-A": final_ka, "A-K": final_ak}.get(ordering, final_ka)
    sharp = 1.0 if ordering == "A-K" else 0.0
    result = {
        "p_prime": {
            "reward": start + 0.4, "optimum_reward": reward(optimum_prime), "hit_rate": 0.04,
            "overall_recall": -2.0 + 0.02 * draw[6],
        },
        "p_second": {
            "reward": start, "optimum_reward": reward(optimum_second), "hit_rate": 0.01,
            "overall_recall": -3.0 + 0.2 * draw[7],
        },
        "final": {
            "reward": reward(final), "overall_recall": -4.0 - 0.5 * sharp + 0.1 * draw[6],
            "target_precision": -10.0 + 5 * final, "overall_precision": -2.0 + 0.2 * draw[7],
        },
    }  # fmt: skip
    if ordering.startswith("A"):
        result["p_prime_aligned"] = {"reward": reward(aligned)}
    return result


def build_tables(
    cells: Iterable[Cell],
    order_effect: Callable[[Point], float],
    noise: float,
    missing: Skip,
    failing: Skip,
    spoilt: Skip,
) -> dict[str, pa.Table]:
    rows: dict[str, list[dict[str, Any]]] = {
        "cells": [],
        "metrics": [],
        "failures": [],
        "curves": [],
    }
    costs: dict[str, dict[str, Any]] = {}
    for cell in cells:
        name, factors = cell.ordering.name, cell.factors
        if missing(name, cell.seed, factors):
            continue
        failed = failing(name, cell.seed, factors)
        identity = {"cell_id": cell.id, "ordering": name, "seed": cell.seed, **factors}
        rows["cells"].append(identity | {"status": "failed" if failed else "succeeded"})
        if failed:
            rows["failures"].append(
                {
                    "cell_id": cell.id, "ordering": name, "seed": cell.seed, "failure": "nan",
                    "message": "loss <became> NaN", "log_tail": "Traceback",
                    "retry_command": "recalltrap run fake", "attempt": 1,
                }
            )  # fmt: skip
            continue
        for model, values in rewards(name, cell.seed, order_effect(factors), noise).items():
            for metric, value in values.items():
                spoil = metric == "reward" and model == "final"
                if spoil and spoilt(name, cell.seed, factors):
                    value = np.nan
                measured_row = {"model": model, "metric": metric, "value": float(value)}
                rows["metrics"].append(identity | measured_row | {"standard_error": 0.01})
        for step, metric in itertools.product((50, 100), ("reward", "reward_sd")):
            rows["curves"].append(
                {
                    "cell_id": cell.id, "stage": "align", "step": step, "metric": metric,
                    "value": step / 20 + cell.seed / 10,
                }
            )  # fmt: skip
        for node in cell.nodes:
            costs[node.id] = {
                "artifact_id": node.id, "cell_id": None, "stage": node.stage, "wall_seconds": 1.0,
                "device_seconds": 2.0, "tokens": 100, "flops": 1e6, "device": "cpu", "workers": 1,
                "reused_by": 0,
            }  # fmt: skip
    factor_schema = list(pa.Table.from_pylist([MogSettings().model_dump(mode="json")]).schema)
    keys = [pa.field("cell_id", pa.string()), pa.field("ordering", pa.string())]
    keys += [pa.field("seed", pa.int64()), *factor_schema]
    text = pa.string()
    measured = [pa.field("model", text), pa.field("metric", text), pa.field("value", pa.float64())]
    measured.append(pa.field("standard_error", pa.float64()))
    curve = [pa.field(n, text) for n in ("cell_id", "stage", "metric")]
    curve += [pa.field("step", pa.int64()), pa.field("value", pa.float64())]
    failure = [pa.field(n, text) for n in ("cell_id", "ordering", "failure", "message")]
    failure += [pa.field("seed", pa.int64()), pa.field("attempt", pa.int32())]
    failure += [pa.field("log_tail", text), pa.field("retry_command", text)]
    numbers = {"wall_seconds": pa.float64(), "device_seconds": pa.float64(), "tokens": pa.int64(),
               "flops": pa.float64(), "workers": pa.int32(), "reused_by": pa.int32()}  # fmt: skip
    cost = [pa.field(n, text) for n in ("artifact_id", "cell_id", "stage", "device")]
    cost += [pa.field(n, t) for n, t in numbers.items()]
    return {
        "cells": pa.Table.from_pylist(rows["cells"], pa.schema([*keys, pa.field("status", text)])),
        "metrics": pa.Table.from_pylist(rows["metrics"], pa.schema([*keys, *measured])),
        "failures": pa.Table.from_pylist(rows["failures"], pa.schema(failure)),
        "costs": pa.Table.from_pylist(list(costs.values()), pa.schema(cost)),
        "curves": pa.Table.from_pylist(rows["curves"], pa.schema(curve)),
    }


@functools.cache
def planned_cells(grid: str, orderings: str, seeds: int) -> tuple[Cell, ...]:
    """A study's cells, of a grid and orderings in JSON: nothing changes them, and most of what
    inventing a run takes is hashing them."""
    axes = json.loads(grid)
    found = [Ordering.model_validate(ordering) for ordering in json.loads(orderings)]
    cells = []
    for values in itertools.product(*axes.values()):
        settings = MogSettings(**dict(zip(axes, values, strict=True)))
        for ordering, seed in itertools.product(found, range(seeds)):
            cells.append(Cell("mog", ordering, seed, settings, graph(ordering, settings, seed)))
    return tuple(cells)


def invent_run(
    root: Path,
    *,
    grid: Mapping[str, Sequence[Any]] = {"kl_weight": (0.5, 1.0, 2.0)},
    orderings: Sequence[str | dict[str, Any]] = ("K-A", "A-K"),
    seeds: int = 10,
    order_effect: Callable[[Point], float] = lambda point: 0.3,
    noise: float = 0.02,
    missing: Skip = never,
    failing: Skip = never,
    spoilt: Skip = never,
    name: str = "fake/study",
    question: str = "Does it trap?",
) -> FakeRun:
    """A run under `root`, with order effect as given at every grid point."""
    found = tuple(Ordering.model_validate(ordering) for ordering in orderings)
    study = FakeStudy(name, question, found, tuple(range(seeds)))
    cells = list(planned_cells(json.dumps(grid), json.dumps(orderings), seeds))
    tables = build_tables(cells, order_effect, noise, missing, failing, spoilt)
    return FakeRun(study, tuple(grid), tables, cells, FakeStorage(root))


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    return functools.partial(invent_run, tmp_path)


@pytest.fixture(scope="module")
def make_shared_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    return functools.partial(invent_run, tmp_path_factory.mktemp("shared"))

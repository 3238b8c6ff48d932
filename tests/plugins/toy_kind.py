"""A kind of study in plain numpy, as somebody else's package would bring it: milliseconds a cell.

A model is a point x [3]; a stage moves it a little at every iteration. `trouble` names a folder
whose files say what shall go wrong and where, see `toy_trouble`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import safetensors.numpy
from pydantic import BaseModel, ConfigDict, Field
from toy_trouble import meet

from recalltrap.graph import Cell, Node
from recalltrap.kind import CostEstimate, Evaluation, NodeFailure, Progress, StudyKind
from recalltrap.orderings import NOTHING_ALIGNS, Operations, Ordering, walk
from recalltrap.settings_parts import Reads
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap.streams import stream

Point = npt.NDArray[np.float64]
CHUNK = 5
WIDTH = 3


class ToySettings(BaseModel):
    """Flat, frozen, every field with a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(default=0.1, gt=0, le=1, description="step size of sft")
    sft_iterations: int = Field(default=10, ge=1, description="iterations of sft")
    student_components: int = Field(default=2, ge=1, description="capacity of a student")
    teacher_sharpness: float = Field(default=1.0, description="how much distillation sharpens")
    distill_iterations: int = Field(default=10, ge=1, description="iterations of distill")
    algorithm: Literal["plain", "fast"] = Field(default="plain", description="how to align")
    kl_weight: float = Field(default=1.0, ge=0, description="pull towards the reference")
    iterations: int = Field(default=10, ge=1, description="iterations of align")
    targets: tuple[int, ...] = Field(default=(7,), description="where the reward is")
    reward_height: float = Field(default=10.0, description="largest reward")
    evaluation_samples: int = Field(default=16, ge=2, description="samples of an evaluation")
    trouble: str = Field(default="", description="folder that says what shall go wrong")


STAGE_FIELDS = {
    "sft": ("rate", "sft_iterations"),
    "distill": ("student_components", "teacher_sharpness", "distill_iterations"),
    "align": ("algorithm", "kl_weight", "iterations", "targets", "reward_height"),
}
EVALUATED = ("kl_weight", "targets", "reward_height", "evaluation_samples", "trouble")
LENGTH = {"sft": "sft_iterations", "distill": "distill_iterations", "align": "iterations"}


def _advance(node: Node, x: Point, parents: Mapping[str, Point], step: int) -> Point:
    """One iteration of a stage; only this row's own numbers and stream take part."""
    config = node.config
    noise: Point = stream(node.seed, f"{node.stage}/{step}").normal(size=WIDTH)
    if node.stage == "sft":
        speed, goal = float(config["rate"]), np.ones(WIDTH)
    elif node.stage == "distill":
        kept = 1.0 - 1.0 / (float(config["student_components"]) + 1.0)
        speed, goal = 0.3, kept * float(config["teacher_sharpness"]) * parents["teacher"]
    else:
        speed = (0.2 if config["algorithm"] == "plain" else 0.3) * config["reward_height"] / 10.0
        pull = float(config["kl_weight"]) / (1.0 + float(config["kl_weight"]))
        goal = pull * parents["reference"] + (1.0 - pull) * float(np.mean(config["targets"]))
    return x + speed * (goal - x) + 0.01 * noise


def _reward(x: Point, targets: Sequence[int], height: float) -> float:
    return float(height * np.exp(-np.mean((x - float(np.mean(targets))) ** 2)))


class ToyKind(StudyKind):
    """Milliseconds a cell."""

    name = "toy"
    settings: type[BaseModel] = ToySettings
    grouped = False
    studies = Path(__file__).parent / "toy_studies"

    def reads(self, settings: BaseModel, orderings: Sequence[Ordering] | None = None) -> Reads:
        aligned = Operations.of(orderings).aligns
        stages = [fields for stage, fields in STAGE_FIELDS.items() if aligned or stage != "align"]
        read = frozenset({*EVALUATED, *(name for fields in stages for name in fields)})
        others = set(type(settings).model_fields) - read
        why = "nothing" if aligned else NOTHING_ALIGNS
        return Reads(read, {name: f"{why} reads {name}" for name in others})

    def cell(self, ordering: Ordering, settings: BaseModel, seed: int) -> Cell:
        facts = settings.model_dump(mode="json")

        def node(stage: str, **parents: Node) -> Node:
            config = {name: facts[name] for name in (*STAGE_FIELDS[stage], "trouble")}
            return Node(stage, seed, config, parents, length_field=LENGTH[stage])

        p_prime = node("sft")
        models = walk(
            ordering,
            p_prime,
            distill=lambda teacher, aligned: node("distill", teacher=teacher),
            align=lambda start, reference, student: node("align", start=start, reference=reference),
        )
        decides = self.reads(settings).fields
        return Cell(self.name, ordering, seed, settings, models, decides=decides)

    def build(self, nodes: Sequence[Node], store: ArtifactStore) -> Iterator[Progress]:
        stage, longest = nodes[0].stage, max(node.length for node in nodes)
        _log(nodes)
        rows: dict[str, Point] = {}
        parents = {
            node.id: {name: load(store, parent) for name, parent in node.parents.items()}
            for node in nodes
        }
        failed: list[NodeFailure] = []
        for node in nodes:
            start = next(iter(parents[node.id].values()), None)
            drawn = stream(node.seed, "sft/start").normal(size=WIDTH)
            rows[node.id] = drawn if start is None else start
            if meet(stage, {**node.config, "seed": node.seed}) == "nan":
                rows[node.id] = np.full(WIDTH, np.nan)
                failed.append(NodeFailure(node, "nan", f"{stage} became NaN at iteration 0"))
        lost = {failure.node.id for failure in failed}
        curves: dict[str, list[float]] = {node.id: [] for node in nodes}
        for step in range(1, longest + 1):
            for node in nodes:
                if node.id in lost or step > node.length:
                    continue
                rows[node.id] = _advance(node, rows[node.id], parents[node.id], step)
                if step % CHUNK == 0:
                    curves[node.id].append(float(np.mean(rows[node.id])))
                if step == node.length:
                    _save(store, node, rows[node.id], curves[node.id])
            if step % CHUNK == 0 or step == longest:
                means = [float(np.mean(rows[n.id])) for n in nodes if n.id not in lost] or [0.0]
                metrics = {"reward_mean": float(np.mean(means)), "reward_sd": float(np.std(means))}
                yield Progress(stage, step, longest, metrics, tuple(failed))
                failed = []

    def evaluate(self, cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
        rows: list[dict[str, Any]] = []
        curves: list[dict[str, Any]] = []
        for cell in cells:
            meet("evaluate", {**cell.factors, "seed": cell.seed})
            for model in cell.models:
                rows += _metric_rows(cell, model, load(store, cell.models[model]))
            for index, value in enumerate(_curve(store, cell.models["final"])):
                curves.append(
                    {
                        "cell_id": cell.id,
                        "stage": cell.models["final"].stage,
                        "step": (index + 1) * CHUNK,
                        "metric": "reward",
                        "value": value,
                    }
                )
        return Evaluation(pa.Table.from_pylist(rows), pa.Table.from_pylist(curves, CURVES))

    def evaluate_references(self, cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
        rows: list[dict[str, Any]] = []
        for cell in cells:
            for model in ("p_prime", "p_second"):
                rows += _metric_rows(cell, model, load(store, cell.models[model]))
        return Evaluation(pa.Table.from_pylist(rows))

    def estimate(self, node: Node) -> CostEstimate:
        return CostEstimate(
            float(node.length), 1000
        )  # slow on paper: settings keep trials of their own

    def pack_shape(self, cell: Cell) -> str:
        return str(cell.factors["student_components"])


CURVES = pa.schema(
    [("cell_id", "string"), ("stage", "string"), ("step", "int64"), ("metric", "string"),
     ("value", "float64")]
)  # fmt: skip


def load(store: ArtifactStore, node: Node) -> Point:
    """A model; shape [3]."""
    return safetensors.numpy.load(store.read(node, "model.safetensors"))["x"]


def _curve(store: ArtifactStore, node: Node) -> list[float]:
    stored = safetensors.numpy.load(store.read(node, "model.safetensors"))["curve"]
    return [float(value) for value in stored]


def _save(store: ArtifactStore, node: Node, x: Point, curve: Sequence[float]) -> None:
    arrays = {"x": x, "curve": np.array(curve, np.float64)}
    cost = Cost(1e-3, 1e-3, node.length, 6.0 * node.length, "cpu", 1, updates=node.length)
    store.put(node, {"model.safetensors": safetensors.numpy.save(arrays)}, cost)


def _metric_rows(cell: Cell, model: str, x: Point) -> list[dict[str, Any]]:
    facts = cell.factors
    samples = facts["evaluation_samples"]
    noise = stream(cell.seed, "evaluate").normal(size=samples)
    error = float(np.std(noise) / np.sqrt(samples)) * 0.01
    reward = _reward(x, facts["targets"], facts["reward_height"])
    values = {
        "overall_precision": (-float(np.mean((x - 1.0) ** 2)), "p_star"),
        "overall_recall": (-float(np.var(x)) - float(np.mean(noise)) * 0.01, "model"),
        "target_precision": (-float(np.mean((x - np.mean(facts["targets"])) ** 2)), "p_target"),
        "reward": (reward, "oracle"),
    }
    rows = [_row(cell, model, m, v, error, samples, scorer) for m, (v, scorer) in values.items()]
    if model == "p_prime":  # the unit of rewards, for whoever knows no supremum
        spread = float(np.std(noise))
        rows.append(_row(cell, model, "reward_sd", spread, 0.0, samples, "oracle"))
    if model in ("p_prime", "p_second"):
        distance = float(np.mean((x - np.mean(facts["targets"])) ** 2))
        exact = {
            "hit_rate": float(np.exp(-distance)),
            "kl_penalty_at_target": facts["kl_weight"] * distance,
            "optimum_reward": facts["reward_height"] / (1.0 + facts["kl_weight"]),
            "optimum_target_precision": -distance * facts["kl_weight"],
        }
        rows += [_row(cell, model, m, v, 0.0, 100, "quadrature") for m, v in exact.items()]
    return rows


def _row(
    cell: Cell, model: str, metric: str, value: float, error: float, samples: int, scorer: str
) -> dict[str, Any]:
    return {
        "cell_id": cell.id,
        "model": model,
        "metric": metric,
        "value": value,
        "standard_error": error,
        "samples": samples,
        "scorer": scorer,
    }


def _log(nodes: Sequence[Node]) -> None:
    """One line per execution in `<trouble>/built.log`: what was really done, by whom."""
    if folder := nodes[0].config["trouble"]:
        line = " ".join([nodes[0].stage, str(os.getpid()), *sorted(node.id for node in nodes)])
        with (Path(folder) / "built.log").open("a") as log:
            log.write(line + "\n")


KIND = ToyKind()

"""The kind: graphs of stages, tables, estimates, and that importing it stays light."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from recalltrap.graph import Cell
from recalltrap.kind import NodeFailure
from recalltrap.orderings import STANDARD
from recalltrap.registry import find_kind
from recalltrap.results.metric_rows import Value
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.mog import evaluation
from recalltrap_studies.mog.kind import KIND
from recalltrap_studies.mog.models import Model
from recalltrap_studies.mog.settings import MogSettings

Make = Callable[..., Cell]
Build = Callable[[Sequence[Cell], ArtifactStore], list[NodeFailure]]

SMALL = {
    "sft_iterations": 10,
    "distill_iterations": 10,
    "iterations": 8,
    "batch_size": 32,
}


def test_importing_and_planning_need_no_torch() -> None:
    code = (
        "import sys; from recalltrap_studies.mog.kind import KIND; "
        "from recalltrap.orderings import Ordering; "
        "c = KIND.cell(Ordering.model_validate('A-K'), KIND.settings(), 0); c.id; "
        "KIND.pack_shape(c); [KIND.estimate(n) for n in c.nodes]; KIND.ground_truth(c.settings); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=50, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", "torch was imported"


def test_registered() -> None:
    assert find_kind("mog") is KIND


@pytest.mark.parametrize(
    ("ordering", "stages"),
    [
        ("K-A", ["sft", "distill", "align"]),
        ("A-K", ["sft", "align", "distill"]),
        ("A", ["sft", "align"]),
        ("K", ["sft", "distill"]),
        ("K-A@p'", ["sft", "distill", "align"]),
        ("K-A-K", ["sft", "distill", "align", "distill"]),
    ],
)
def test_graph_of_each_ordering(ordering: str, stages: list[str], make_cell: Make) -> None:
    cell = make_cell(ordering)
    chain, node = [], cell.models["final"]
    while True:
        chain.append(node.stage)
        if not node.parents:
            break
        node = next(iter(node.parents.values()))
    assert chain[::-1] == stages
    assert set(cell.models) - {"p_prime_aligned"} == {"p_prime", "p_second", "final"}
    assert ("p_prime_aligned" in cell.models) == (stages[1] == "align")


def sharpnesses(make_cell: Make, ordering: Any, **settings: Any) -> list[float]:
    """Of the teachers that the final model and its teachers were distilled from."""
    model = make_cell(ordering, **settings).models["final"]
    found: list[float] = []
    while model.stage in ("distill", "align"):
        if model.stage == "distill":
            found.append(model.config["teacher_sharpness"])
        model = model.parents["teacher" if model.stage == "distill" else "start"]
    return found[::-1]


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("K", [10.0]),
        ("K-A", [10.0]),
        ("K-A@p'", [10.0]),
        ("A-K", [1.0]),
        ("K-A-K", [10.0, 1.0]),
        ({"name": "twice", "stages": ["distill", "align", "distill", "distill"]}, [10.0, 1.0, 1.0]),
        ({"name": "deep", "stages": ["distill", "distill", "align"]}, [10.0, 10.0]),
    ],
)
def test_the_last_sharpness_is_that_of_distillations_after_an_alignment(
    ordering: Any, expected: list[float], make_cell: Make
) -> None:
    assert sharpnesses(make_cell, ordering, last_teacher_sharpness=1.0) == expected
    assert set(sharpnesses(make_cell, ordering)) == {10.0}
    p_second = {make_cell(ordering, last_teacher_sharpness=sharpness).models["p_second"].id
                for sharpness in (None, 1.0, 1.25)}  # fmt: skip
    assert len(p_second) == 1


def test_a_last_sharpness_is_the_same_distillation_as_that_sharpness(make_cell: Make) -> None:
    """A-K's last distillation, whichever setting says how sharp its teacher is."""
    last = make_cell("A-K", last_teacher_sharpness=1.25).models["final"]
    assert last.id == make_cell("A-K", teacher_sharpness=1.25).models["final"].id


def test_reference_of_an_alignment(make_cell: Make) -> None:
    own, control = make_cell("K-A"), make_cell("K-A@p'")
    start, reference = own.models["final"].parents.values()
    assert start is reference
    start, reference = control.models["final"].parents.values()
    assert start.id == own.models["p_second"].id
    assert reference.id == own.models["p_prime"].id
    assert own.models["final"].id != control.models["final"].id


def test_identity_ignores_what_a_stage_does_not_read(make_cell: Make) -> None:
    ppo, other = make_cell("K-A"), make_cell("K-A", kl_estimator="k3")
    assert ppo.models["final"].id == other.models["final"].id
    assert ppo.id == other.id
    assert make_cell("K-A", kl_weight=2.0).models["p_second"].id == ppo.models["p_second"].id
    assert make_cell("K-A", kl_weight=2.0).models["final"].id != ppo.models["final"].id


def test_tables(make_cell: Make, store: ArtifactStore, build_all: Build) -> None:
    cells = [make_cell(name, 0, **SMALL) for name in STANDARD]
    assert build_all(cells, store) == []
    evaluation = KIND.evaluate(cells, store)
    frame = evaluation.metrics.to_pandas()
    assert set(frame.cell_id) == {cell.id for cell in cells}
    counts = frame.groupby(["cell_id", "model"]).size().unstack()
    assert (counts.p_prime == 8).all()
    assert (counts.p_second == 8).all()
    assert (counts.final == 4).all()
    assert counts.p_prime_aligned.notna().sum() == 2
    assert np.isfinite(frame.value).all()
    closed = frame.scorer == "closed form"
    assert set(frame[closed].metric) == {"reward", "target_precision"}
    assert (frame[closed].standard_error == 0).all()
    assert (frame[closed].samples == 0).all()
    assert (frame[~closed].scorer == "quadrature").all()
    assert (frame[~closed].samples > 100).all()
    assert frame.standard_error.max() <= 1e-5
    assert evaluation.curves is not None
    curves = evaluation.curves.to_pandas()
    assert set(curves[curves.cell_id == cells[-1].id].stage) == {
        "sft", "distill", "align", "distill-2",
    }  # fmt: skip
    assert {"reward", "reward_sd", "kl", "loss", "clip_fraction", "reference_kl"} == set(
        curves[curves.stage == "align"].metric
    )
    ends = curves[curves.metric == "reference_kl"].pivot(
        index=["cell_id", "stage"], columns="step", values="value"
    )
    assert list(ends.columns) == [0, SMALL["iterations"]]
    at_start = {cell.ordering.name: ends.loc[cell.id, 0] for cell in cells if cell.id in ends.index}
    assert {name for name, kl in at_start.items() if kl.item() != 0.0} == {"K-A@p'"}
    assert (ends[SMALL["iterations"]] > 0).all()


def test_references_need_no_alignment(
    make_cell: Make, store: ArtifactStore, build_all: Build
) -> None:
    cell, reference = make_cell("K-A", 0, **SMALL), make_cell("K", 0, **SMALL)
    build_all([reference], store)
    few = KIND.evaluate_references([cell], store).metrics.to_pandas()
    assert set(few.model) == {"p_prime", "p_second"}
    all_of_them = KIND.evaluate([reference], store).metrics.to_pandas()
    same = all_of_them[all_of_them.model != "final"].drop(columns="cell_id")
    assert few.drop(columns="cell_id").equals(same.reset_index(drop=True))


def test_a_model_is_evaluated_once_for_all_cells_and_seeds_that_name_it(
    make_cell: Make, store: ArtifactStore, build_all: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [make_cell(name, 0, **SMALL) for name in STANDARD]
    build_all(cells, store)
    seen: list[bytes] = []
    score = evaluation.GroundTruth.score

    def counting(truth: evaluation.GroundTruth, model: Model) -> list[Value]:
        seen.append(model.means.tobytes())
        return score(truth, model)

    monkeypatch.setattr(evaluation.GroundTruth, "score", counting)
    evaluated = KIND.evaluate(cells, store)
    assert len(seen) == len({node.id for cell in cells for node in cell.models.values()})
    assert evaluated.metrics.num_rows > 4 * len(seen)


def test_versions_tell_the_algorithms_apart(make_cell: Make) -> None:
    """A change of one algorithm's numbers leaves the artifacts of the others where they are."""
    versions = {
        name: make_cell("A", algorithm=name).models["final"].version
        for name in ("ppo", "grpo", "dpo_online", "dpo_offline")
    }
    assert versions == {"ppo": 1, "grpo": 1, "dpo_online": 1, "dpo_offline": 2}


def test_ids_are_those_of_artifacts_made_long_ago(make_cell: Make) -> None:
    ids = {name: make_cell("A-K", 3, algorithm=name).models["final"].id for name in OLD_IDS}
    assert ids == OLD_IDS


OLD_IDS = {
    "ppo": "434b30d8586479130470",
    "grpo": "59f9d165fa55d1917009",
    "dpo_online": "b766e102fcaccc5c1739",
}


def test_pack_shapes_and_estimates(make_cell: Make) -> None:
    base = make_cell("K-A")
    assert KIND.pack_shape(base) == KIND.pack_shape(make_cell("A-K", 9, kl_weight=3.0))
    assert KIND.pack_shape(base) != KIND.pack_shape(make_cell("K-A", student_components=3))
    node = base.models["final"]
    long = make_cell("K-A", iterations=22_000).models["final"]
    assert 9 < KIND.estimate(long).seconds / KIND.estimate(node).seconds < 11


def test_ground_truth_is_p_star() -> None:
    truth = KIND.ground_truth(MogSettings())
    assert truth is not None
    assert {name: array.shape for name, array in truth.items()} == {
        "logits": (8,), "means": (8, 2), "cholesky": (8, 3), "targets": (1, 2),
    }  # fmt: skip

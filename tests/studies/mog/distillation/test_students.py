"""Students as they are built: optima, packs, and a student whose entropy collapsed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from recalltrap.graph import Cell
from recalltrap.kind import NodeFailure
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.mog.distillation import guard
from recalltrap_studies.mog.distillation.registry import DISTILLATIONS, FIRST, NAMES, Adpa
from recalltrap_studies.mog.kind import KIND
from recalltrap_studies.mog.models import MODEL_FILE, Model, isotropic, unpack
from recalltrap_studies.mog.program.nodes import RULE
from recalltrap_studies.mog.reference_distance import kl
from recalltrap_studies.mog.rows import make_row

Build = Callable[[Sequence[Cell], ArtifactStore], list[NodeFailure]]
Make = Callable[..., Cell]
MakeStore = Callable[[str], ArtifactStore]
SMALL = {"sft_iterations": 30, "iterations": 8, "distill_iterations": 12, "batch_size": 32}


def ordering(name: str) -> dict[str, Any]:
    return {"name": f"A-{name}", "stages": ["align", {"distill": name}]}


def final(cell: Cell, store: ArtifactStore) -> Model:
    return unpack(store.read(cell.models["final"], MODEL_FILE))[0]


def curve(cell: Cell, store: ArtifactStore) -> dict[str, Any]:
    return unpack(store.read(cell.models["final"], MODEL_FILE))[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_student_is_the_same_alone_and_in_a_pack(
    name: str, make_cell: Make, make_store: MakeStore, build_all: Build
) -> None:
    cell = make_cell(ordering(name), 3, **SMALL)
    others = {"jsd_mix": 0.0, "dckd_weight": 7.0, "advantage_weight": 0.1, "preference_noise": 0.3}
    company = [
        *(make_cell(ordering(name), seed, **SMALL, **others) for seed in range(4)),
        *(make_cell(ordering(other), 3, **SMALL) for other in NAMES),
    ]
    alone, packed = make_store("alone"), make_store("packed")
    assert build_all([cell], alone) == []
    assert build_all(company, packed) == []
    for node in cell.nodes:
        assert alone.read(node, MODEL_FILE) == packed.read(node, MODEL_FILE)


def test_the_curves_say_what_each_watches(
    make_cell: Make, store: ArtifactStore, build_all: Build
) -> None:
    cells = [make_cell(ordering(name), **SMALL) for name in NAMES]
    build_all(cells, store)
    for name, cell in zip(NAMES, cells, strict=True):
        record = DISTILLATIONS[{"adpa_plus": "adpa"}.get(name, name)]
        assert set(curve(cell, store)) == {"step", *record.measures}
    table = KIND.evaluate(cells, store).curves
    assert table is not None
    stages = set(table.to_pandas().query("metric == 'advantage'").stage)
    assert stages == {"distill-2", "distill-3"}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_logits_have_the_optimum_of_sequence(
    make_cell: Make, store: ArtifactStore, build_all: Build
) -> None:
    fields = {"sft_iterations": 300, "distill_iterations": 1500, "teacher_sharpness": 1.0}
    ways: dict[str, dict[str, Any]] = {
        "sequence": {"distillation": FIRST},
        "logits": {"distillation": "logits"},
        "reverse": {"distillation": "on_policy", "jsd_mix": 1.0},
        "forward": {"distillation": "on_policy", "jsd_mix": 0.0},
    }
    cells = {way: make_cell("K", 0, **fields, **more) for way, more in ways.items()}
    build_all(list(cells.values()), store)
    teacher = unpack(store.read(cells["logits"].models["p_prime"], MODEL_FILE))[0]
    students = {way: final(cell, store) for way, cell in cells.items()}
    forward = {way: kl(teacher, student) for way, student in students.items()}
    backward = {way: kl(student, teacher) for way, student in students.items()}
    assert forward["logits"] <= forward["sequence"] + 1e-4, "the noise costs something"
    assert forward["sequence"] - forward["logits"] < 0.02
    assert np.abs(students["sequence"].means - students["logits"].means).max() < 0.1
    assert np.array_equal(students["forward"].means, students["logits"].means)
    # each direction is least where it is minimised
    assert backward["reverse"] < backward["logits"]
    assert forward["logits"] < forward["reverse"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "adpa_plus"])
def test_a_student_goes_on_from_where_it_is_told_to(
    name: str, make_cell: Make, store: ArtifactStore, build_all: Build
) -> None:
    going_on, anew = (
        make_cell(ordering(name), 3, **SMALL, last_distill_start=start)
        for start in ("p_second", "new")
    )
    assert build_all([going_on, anew], store) == []
    row = make_row(going_on.models["final"], lambda node: unpack(store.read(node, MODEL_FILE))[0])
    p_second = unpack(store.read(going_on.models["p_second"], MODEL_FILE))[0]
    assert np.array_equal(row.start.means, p_second.means)
    same = np.array_equal(final(going_on, store).means, final(anew, store).means)
    assert same == (name == "adpa")


def test_an_advantage_weight_of_nothing_is_sft_of_the_preferred(
    make_cell: Make, store: ArtifactStore, build_all: Build
) -> None:
    plain = make_cell(ordering("adpa"), **SMALL, advantage_weight=0.0)
    pulled = make_cell(ordering("adpa"), **SMALL, advantage_weight=1.0)
    build_all([plain, pulled], store)
    loss, mean = (curve(plain, store)[name][-1] for name in ("loss", "advantage"))
    assert loss > 0
    assert curve(pulled, store)["advantage"][-1] > mean


def test_a_student_whose_entropy_collapses_fails_alone_and_names_the_weight(
    make_cell: Make, make_store: MakeStore, build_all: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {**SMALL, "distill_iterations": 150}
    good = make_cell(ordering("adpa"), 0, **fields, advantage_weight=0.1)
    bad = make_cell(ordering("adpa"), 1, **fields, advantage_weight=300.0, learning_rate=0.03)
    alone, packed = make_store("alone"), make_store("packed")
    monkeypatch.setattr(guard, "COLLAPSE", 1.0)  # in as few iterations
    monkeypatch.setattr(guard, "largest_advantage", lambda teacher, reference: math.inf)
    assert build_all([good], alone) == []
    failures = build_all([good, bad], packed)
    assert [failure.node.id for failure in failures] == [bad.models["final"].id]
    assert failures[0].failure == "nan"
    assert "seed 1 collapsed by iteration" in failures[0].message
    assert "advantage_weight is 300: lower it" in failures[0].message
    assert not packed.has(bad.models["final"])
    node = good.models["final"]
    assert alone.read(node, MODEL_FILE) == packed.read(node, MODEL_FILE)


class Row(NamedTuple):
    seed: int
    part: Adpa
    source: Model
    held: dict[str, Model]


@pytest.mark.parametrize(
    ("entropy", "advantage", "said"),
    [
        ([1.0, 0.0], [0.0, 1.5], None),
        ([1.0, -3.6], [0.0, 0.0], "seed 5 collapsed by iteration 200: -3.60 nats"),
        ([1.0, 0.0], [0.0, 500.0], "ran away by iteration 200: its mean advantage is 500"),
        ([math.nan, 0.0], [0.0, 0.0], "collapsed by iteration 100: nan"),
        ([1.0, 0.0], [math.nan, 0.0], "ran away by iteration 100: .* is nan"),
    ],
)
@pytest.mark.parametrize("counted_from", ["teacher_sft", "student_init"])
def test_the_guard_says_which_way_a_student_left(
    entropy: list[float], advantage: list[float], said: str | None, counted_from: str
) -> None:
    teacher = isotropic(np.array([[1.0, 0.0]]), 0.1)  # 0.54 nats
    other = isotropic(np.zeros((1, 2)), 0.1)
    held = {"reference": other, "start": other}
    part = Adpa.model_validate({"advantage_reference": counted_from, "advantage_weight": 7.0})
    points = {
        "step": np.array([100, 200]),
        "entropy": np.array(entropy),
        "advantage": np.array(advantage),
    }
    message = guard.ran_away(Row(5, part, teacher, held), points)
    if said is None:
        assert message is None
        return
    assert message is not None
    assert re.search(said, message)
    assert "advantage_weight is 7: lower it" in message


def test_the_largest_advantage_is_that_of_the_furthest_node() -> None:
    """A = (x - 1/2) / v along x for means 1 and 0: linear, so at the last node of the teacher."""
    teacher, other = (isotropic(np.array([[mean, 0.0]]), 0.25) for mean in (1.0, 0.0))
    furthest = 1.0 + 0.5 * max(RULE[0])
    assert guard.largest_advantage(teacher, other) == pytest.approx((furthest - 0.5) / 0.25)

"""Distillations by their names: records, identities, graphs, and what is refused with a way out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from recalltrap.errors import InputError
from recalltrap.graph import Cell, Node
from recalltrap.study.named_studies import load_study
from recalltrap.study.study import Study
from recalltrap_studies.mog.costs import NODES, estimate, flops_spent, samples_drawn
from recalltrap_studies.mog.distillation.registry import (
    AFTER_ALIGN,
    COMPOSED_OF,
    DISTILLATIONS,
    FIRST,
    NAMES,
    SETTING,
)
from recalltrap_studies.mog.kind import KIND
from recalltrap_studies.mog.settings import MogSettings
from recalltrap_studies.mog.stages import DISTILL

Make = Callable[..., Cell]


def after_alignment(name: str, align: str = "align") -> dict[str, Any]:
    return {"name": f"A-{name}", "stages": [align, {"distill": name}]}


def final(make_cell: Make, name: str, **settings: Any) -> Node:
    return make_cell(after_alignment(name), **settings).models["final"]


def test_the_first_is_what_students_were_made_with_and_stands_in_no_identity(
    make_cell: Make,
) -> None:
    plain = make_cell("A-K")
    assert FIRST == MogSettings().distillation == "sequence"
    assert final(make_cell, "sequence").id == plain.models["final"].id
    assert SETTING not in plain.models["final"].config
    assert make_cell("A-K", distillation="sequence").id == plain.id


@pytest.mark.parametrize("name", [name for name in DISTILLATIONS if name != FIRST])
def test_every_other_is_named_and_reads_its_own_settings_alone(name: str, make_cell: Make) -> None:
    node, record = final(make_cell, name), DISTILLATIONS[name]
    assert node.config[SETTING] == name
    assert set(node.config) <= set(record.settings.model_fields)
    assert type(DISTILL.part(node)) is record.settings
    assert ("teacher_sharpness" in node.config) == record.sharpens
    assert ("batch_size" in node.config) == record.paired


@pytest.mark.parametrize("name", [None, *NAMES])
def test_a_last_student_may_begin_as_p_second(name: str | None, make_cell: Make) -> None:
    """Of an aligned teacher alone: p'' is what it was, and so is all that K-A makes."""
    ordering: Any = "A-K" if name is None else after_alignment(name)
    plain, found = (
        make_cell(ordering, last_distill_start=start).models for start in ("new", "p_second")
    )
    assert found["p_second"].id == plain["p_second"].id
    assert make_cell("K-A", last_distill_start="p_second").models == make_cell("K-A").models
    made = found["final"].parents["start"] if name == "adpa_plus" else found["final"]
    assert made.parents["start"].id == plain["p_second"].id
    assert (found["final"].id == plain["final"].id) == (name == "adpa")


def test_the_teacher_knows_its_parents(make_cell: Make) -> None:
    cells = {name: make_cell(after_alignment(name)) for name in NAMES}
    for name, cell in cells.items():
        node, models = cell.models["final"], cell.models
        assert node.parents["teacher"].id == models["p_prime_aligned"].id
        expected = {"dckd": {"reference"}}.get(name, {"reference", "start"})
        assert set(node.parents) - {"teacher"} == (expected if name in AFTER_ALIGN else set())
        if name in AFTER_ALIGN:
            assert node.parents["reference"].id == models["p_prime"].id
    assert cells["adpa"].models["final"].parents["start"].id == cells["adpa"].models["p_second"].id
    plus = cells["adpa_plus"].models["final"]
    assert COMPOSED_OF["adpa_plus"] == ("dckd", "adpa")
    assert plus.config[SETTING] == "adpa"
    assert plus.parents["start"].id == cells["dckd"].models["final"].id


def test_the_reference_is_what_the_alignment_was_anchored_to(make_cell: Make) -> None:
    ordering = {"name": "x", "stages": ["distill", "align@p'", {"distill": "dckd"}]}
    cell = make_cell(ordering)
    assert cell.models["final"].parents["reference"].id == cell.models["p_prime"].id
    own = make_cell({"name": "x", "stages": ["distill", "align", {"distill": "dckd"}]})
    assert own.models["final"].parents["reference"].id == own.models["p_second"].id


def test_sharpness_counts_where_the_teacher_is_copied(make_cell: Make) -> None:
    for name in NAMES:
        ids = {
            final(make_cell, name, last_teacher_sharpness=sharpness).id
            for sharpness in (None, 1.0, 3.0)
        }
        assert len(ids) == (1 if name in AFTER_ALIGN else 3), name


@pytest.mark.parametrize("name", AFTER_ALIGN)
def test_p_second_has_no_aligned_teacher(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"{name}.*p'.*stages: \[align, {{distill: {name}}}"):
        MogSettings(distillation=name)


@pytest.mark.parametrize("name", AFTER_ALIGN)
@pytest.mark.parametrize("before", [[], ["distill"], ["align", "distill"]])
def test_a_step_without_an_alignment_before_it_is_refused(
    name: str, before: list[str], tmp_path: Path
) -> None:
    stages = [*before, {"distill": name}, "align"]
    with pytest.raises(
        InputError, match=rf"study.yaml:1: {{distill: {name}}} .*put an align before"
    ):
        load(tmp_path, orderings=[{"name": "x", "stages": stages}])


def load(tmp_path: Path, **content: Any) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps({"name": "x", "kind": "mog", "question": "?", "seeds": 1} | content))
    return load_study(str(path))


@pytest.mark.parametrize(
    ("orderings", "settings", "refused"),
    [
        (["A-K"], {"jsd_mix": 0.3}, "none of sequence reads jsd_mix"),
        (["A-K"], {"distillation": "on_policy", "jsd_mix": 0.3}, None),
        ([after_alignment("on_policy")], {"jsd_mix": 0.3}, None),
        ([after_alignment("adpa")], {"dckd_weight": 3.0}, "sequence, adpa reads dckd_weight"),
        ([after_alignment("adpa_plus")], {"dckd_weight": 3.0, "advantage_weight": 2.0}, None),
        ([after_alignment("adpa_plus")], {"preference_noise": 0.1}, None),
        (["K-A", "A-K"], {"preference_noise": 0.1}, "ppo doesn't read preference_noise"),
        ([after_alignment("dckd")], {"last_teacher_sharpness": 1.0}, "reads last_teacher_sharp"),
        ([after_alignment("logits")], {"last_teacher_sharpness": 1.0}, None),
        (["K-A"], {"distillation": "sequence"}, None),
        ([after_alignment("ADPA")], {}, "no distillation of the kind 'mog'.*adpa"),
        (
            ["A-K"],
            {"distillation": "adpa"},
            "study.yaml:1.*hands over what an alignment has changed",
        ),
    ],
)
def test_what_no_distillation_of_the_study_reads_is_refused(
    orderings: list[Any], settings: dict[str, Any], refused: str | None, tmp_path: Path
) -> None:
    if refused is None:
        load(tmp_path, orderings=orderings, settings=settings)
        return
    with pytest.raises(InputError, match=refused):
        load(tmp_path, orderings=orderings, settings=settings)


def test_an_ordering_stands_at_every_value_of_an_axis_that_steps_of_others_read(
    tmp_path: Path,
) -> None:
    references = ("teacher_sft", "student_init")
    axes = {"dckd_weight": [1.0, 3.0], "advantage_reference": references}
    orderings = ["K-A", after_alignment("adpa_plus"), after_alignment("logits")]
    cells = load(tmp_path, orderings=orderings, grid=axes, seeds=2).cells()
    assert len({cell.id for cell in cells}) == len(cells) == 3 * 4 * 2
    assert {(c.factors["dckd_weight"], c.factors["advantage_reference"]) for c in cells} == {
        (weight, reference) for weight in (1.0, 3.0) for reference in references
    }
    finals = {(cell.ordering.name, cell.models["final"].id) for cell in cells}
    models = Counter(name for name, _ in finals)
    assert models == {"K-A": 2, "A-logits": 2, "A-adpa_plus": 8}  # of K-A one a seed


def test_what_every_ordering_reads_or_none_changes_no_cell(tmp_path: Path) -> None:
    grid = {"kl_weight": [1.0, 2.0], "last_teacher_sharpness": [None, 1.0]}
    study = load(tmp_path, orderings=["K-A", "A-K", after_alignment("adpa")], grid=grid)
    alone = load(tmp_path, orderings=["K-A"], grid={"kl_weight": [1.0, 2.0]})
    of_both = {cell.id for cell in study.cells()}
    assert {cell.id for cell in alone.cells()} < of_both
    with pytest.raises(InputError, match="none of sequence reads dckd_weight"):
        load(tmp_path, orderings=["K-A", "A-K"], grid={"dckd_weight": [1.0, 3.0]})


def test_an_axis_of_steps_has_each_value_once(tmp_path: Path) -> None:
    orderings = ["K-A", after_alignment("dckd")]
    with pytest.raises(InputError, match="dckd_weight"):
        load(tmp_path, orderings=orderings, grid={"dckd_weight": [1, 1.0]})


def test_a_step_may_ask_for_any(make_cell: Make) -> None:
    assert KIND.distillations == NAMES
    assert len({final(make_cell, name).id for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize(
    ("name", "drawn", "work"),
    [  # 4 components of p'_AK's 6, held to p' (6) and p'' (4); in units of 50 operations
        ("logits", 0, NODES * 6 * (4 + 3)),
        ("on_policy", 0, NODES * (6 * (4 + 3) + 4 * (4 + 6))),
        ("dckd", 512, NODES * 6 * (4 + 3) + 256 * 4),
        ("adpa", 512, NODES * 4 * (4 + 6 + 6 + 4) + 256 * 4),
    ],
)
def test_costs_are_those_of_samples_and_nodes(
    name: str, drawn: int, work: int, make_cell: Make
) -> None:
    node, record = final(make_cell, name, distill_iterations=10), DISTILLATIONS[name]
    part = DISTILL.part(node)
    assert samples_drawn(record, part, 10) == 10 * drawn
    held = {"dckd": 6, "adpa": 10}.get(name, 0)
    assert flops_spent(record, part, 10, 4, 6, held) == 10 * work * 50
    assert estimate(node).seconds == pytest.approx(10 * (6e-6 + work * 1.3e-8))

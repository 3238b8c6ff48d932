"""Stages' records: complete, importable, and named parents as they say."""

from __future__ import annotations

from typing import Any

import pytest

from recalltrap.graph import Node
from recalltrap.orderings import Ordering
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages.registry import ALIGN, SAMPLE, STAGES, Stage, training_of


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_what_runs_a_stage_is_there(stage: Stage) -> None:
    assert stage.run.lacks() is None
    assert callable(stage.runner())


def test_nodes_are_made_from_what_their_stage_says() -> None:
    for ordering in ("K-A", "A-K", "K-A-K"):
        cell = KIND.cell(Ordering.model_validate(ordering), LlmSettings(), 0)
        for node in cell.nodes:
            stage = STAGES[node.stage]
            oracle = ("p_target", "oracle") if node.stage in ("align", "assess") else ()
            assert tuple(node.parents) == (*stage.parents, *oracle)


def test_parents_stand_in_the_order_of_the_record_whatever_is_given() -> None:
    one, two = (Node("load", 0, {"p_star": name}) for name in ("a", "b"))
    given: dict[str, Any] = {"oracle": one, "p_target": two, "reference": one, "start": two}
    assert tuple(ALIGN.node(0, {}, **given).parents) == ("start", "reference", "p_target", "oracle")
    with pytest.raises(AssertionError, match="sample: of"):
        SAMPLE.node(0, {}, teacher=one)


def test_a_training_knows_its_architecture_and_epochs() -> None:
    cell = KIND.cell(Ordering.model_validate("K"), LlmSettings(), 0)
    for node in cell.nodes:
        if not STAGES[node.stage].curves:
            with pytest.raises(AssertionError, match="trains no model"):
                training_of(node)
            continue
        record = training_of(node)
        assert record.epochs in node.config
        assert record.architecture in LlmSettings.model_fields

"""Orderings by name, and what one says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from recalltrap.orderings import STANDARD, Operations, Ordering, aligns, walk


@pytest.mark.parametrize("name", STANDARD)
def test_standard_orderings_go_by_name(name: str) -> None:
    ordering = Ordering.model_validate(name)
    assert ordering.stages == STANDARD[name]
    assert ordering.model_dump(mode="json") == name  # type: ignore[comparison-overlap]


def test_a_step_may_say_how_it_distils() -> None:
    own: Any = {"name": "A-logits", "stages": ["align", {"distill": "logits"}]}
    ordering = Ordering.model_validate(own)
    assert ordering.model_dump(mode="json") == own
    assert ordering.written == own["stages"]
    assert ordering.steps == ("align", "distill")
    assert ordering.distillations == {"logits"}
    assert aligns(ordering)
    operations = Operations.of([ordering, Ordering.model_validate("K-A")])
    assert operations.distillations == {"logits"}
    assert operations.distils_aligned
    assert operations.aligns_p_prime


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (["distill", "align"], set()),
        (["align", "distill"], {None}),
        (["distill", "align", {"distill": "logits"}], {"logits"}),
        ([{"distill": "logits"}, "align@p'", "distill"], {None}),
        (["align", {"distill": "logits"}, "distill"], {None, "logits"}),
        ([{"distill": "logits"}], set()),
    ],
)
def test_how_aligned_models_are_distilled(stages: list[Any], expected: set[str | None]) -> None:
    ordering = Ordering.model_validate({"name": "own", "stages": stages})
    assert ordering.distils_aligned_by == expected
    assert Operations.of([ordering]).distils_aligned == bool(expected)


def test_the_walk_passes_on_how_a_step_distils() -> None:
    ordering = Ordering.model_validate(
        {"name": "own", "stages": ["distill", "align", {"distill": "logits"}]}
    )
    made = walk(
        ordering,
        "p'",
        lambda teacher, aligned: f"K({teacher}{'*' * aligned})",
        lambda start, reference, student: f"A({start})",
        lambda teacher, aligned, name: f"{name}({teacher}{'*' * aligned})",
    )
    assert made == {"p_prime": "p'", "p_second": "K(p')", "final": "logits(A(K(p'))*)"}


@pytest.mark.parametrize("step", [{"distill": ""}, {"distill": 3}, {"align": "x"}, {}, ["distill"]])
def test_other_steps_are_refused(step: Any) -> None:
    with pytest.raises(ValidationError):
        Ordering.model_validate({"name": "own", "stages": ["align", step]})


def test_a_standard_name_has_no_other_distillation() -> None:
    with pytest.raises(ValidationError, match=r"always means .* give .*'logits'.* a name of its"):
        Ordering.model_validate({"name": "A-K", "stages": ["align", {"distill": "logits"}]})

"""Orderings by name, and what one says of itself."""

from __future__ import annotations

import pytest

from recalltrap.orderings import STANDARD, Ordering


@pytest.mark.parametrize("name", STANDARD)
def test_standard_orderings_go_by_name(name: str) -> None:
    ordering = Ordering.model_validate(name)
    assert ordering.stages == STANDARD[name]
    assert ordering.model_dump(mode="json") == name  # type: ignore[comparison-overlap]

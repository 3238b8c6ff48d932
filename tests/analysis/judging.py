"""Invented runs judged by other rules than the usual ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun


def judged_by(run: FakeRun, **rules: Any) -> FakeRun:
    """The same run of a study that writes other rules (`margin`, `primary`, `contrasts`, ...)."""
    return replace(run, study=replace(run.study, **rules))

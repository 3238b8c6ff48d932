"""Figures take numbers: they import no estimate, no run and no report."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import recalltrap_analysis.figures

FOLDER = Path(recalltrap_analysis.figures.__file__).parent
ALLOWED = ("matplotlib", "numpy", "recalltrap_analysis.figures.")
STANDARD = ("__future__", "collections", "dataclasses", "itertools", "typing", "weakref")


def imported(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_a_figure_s_module_imports_no_numbers(path: Path) -> None:
    for name in imported(path.read_text()):
        assert name.startswith(ALLOWED) or name.split(".")[0] in STANDARD, name

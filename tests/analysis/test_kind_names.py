"""Only `mixture/` and `language/` know a kind: no other source spells what one kind alone has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from recalltrap.kind import METRICS
from recalltrap.registry import find_kind
from recalltrap_analysis.runs.wide_tables import MODELS

ANALYSIS = Path(__file__).parents[2] / "analysis/recalltrap_analysis"
OURS = ("mog", "llm")
OWN_FOLDERS = ("mixture", "language")
STAGES = {"sft", "distill", "align", "sample", "target", "oracle", "assess", "pretrain", "load"}
SHARED = {"reward", "reward_supremum", "scorers", "length", *MODELS}
"""Metrics of every kind and of any that measures R_max, what `score` is by, and the models of every
cell: after some of them the language study calls a setting. `length` is Matplotlib's word, too."""
SOURCES = sorted(
    path
    for path in ANALYSIS.rglob("*.py")
    if path.relative_to(ANALYSIS).parts[0] not in OWN_FOLDERS
)


def names_of_kinds() -> set[str]:
    """Kinds, stages, settings, and the metrics that not every kind has."""
    kinds = [find_kind(name) for name in OURS]
    settings = {field for kind in kinds for field in kind.settings.model_fields}
    metrics = {name.removesuffix("*") for kind in kinds for name in kind.metrics} - set(METRICS)
    return ({*OURS, *STAGES} | settings | metrics) - SHARED


def spelt(source: str, names: set[str]) -> Iterator[str]:
    """The names that strings of a source spell, docstrings apart.

    A string of one word is a name; in a longer one (SQL, a sentence) a name is what has an
    underscore or stands in quotes of its own.
    """
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) in docs:
            continue
        words = set(re.findall(r"[\w/]+", node.value))
        if node.value.strip() not in words:
            quoted = set(re.findall(r"[`'\"]([\w/]+)[`'\"]", node.value))
            words = {word for word in words if "_" in word} | quoted
        yield from sorted(words & names)


def test_no_kind_is_known_by_name() -> None:
    names = names_of_kinds()
    assert not [
        f"{path.relative_to(ANALYSIS)}: {name}"
        for path in SOURCES
        for name in spelt(path.read_text(), names)
    ]


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ('rows[rows["stage"] == "align"]', ["align"]),
        ("if run.study.kind == 'llm': pass", ["llm"]),
        ('"select any_value(reward_height) from metrics"', []),  # a docstring, as it stands alone
        ('q = "select any_value(reward_height) from metrics"', ["reward_height"]),
        ("q = f\"select 1 where stage = 'sft' and {x}\"", ["sft"]),
        ('column(rows, "iterations")', ["iterations"]),
        ('text = "the length of alignment (`iterations`) must be an axis"', ["iterations"]),
        ('text = "the target finds samples of the model"', []),
        ('title = "topic_coverage"', ["topic_coverage"]),
        ('column(rows, "reward")', []),
    ],
)
def test_the_reader_of_names_sees_one(source: str, seen: list[str]) -> None:
    assert list(spelt(source, names_of_kinds())) == seen

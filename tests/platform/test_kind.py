"""What every installed kind must keep to."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, Field
from toy_kind import KIND, ToySettings

from recalltrap.graph import Cell, Node
from recalltrap.orderings import STANDARD, Ordering
from recalltrap.registry import find_kind, kind_names
from recalltrap.results.tables import COLUMNS, factor_fields
from recalltrap.study.shared_nodes import Sharing


def cell(ordering: str, seed: int = 0, kind: str = "toy", **settings: object) -> Cell:
    found = find_kind(kind)
    return found.cell(Ordering.model_validate(ordering), found.settings(**settings), seed)


def anchors(aligned: Node) -> tuple[str, str]:
    """What an alignment starts from, and its reference."""
    return aligned.parents["start"].id, aligned.parents["reference"].id


@pytest.mark.parametrize("kind", kind_names())
class TestEveryKind:
    def test_every_ordering_has_the_models_of_the_metrics_table(self, kind: str) -> None:
        for name, stages in STANDARD.items():
            models = cell(name, kind=kind).models
            expected = {"p_prime", "p_second", "final"}
            if stages[0] == "align":
                expected.add("p_prime_aligned")
            assert set(models) == expected, name

    def test_orderings_of_a_seed_share_what_they_have_in_common(self, kind: str) -> None:
        k_a, a_k = cell("K-A", kind=kind), cell("A-K", kind=kind)
        alone, compressed = cell("A", kind=kind), cell("K", kind=kind)
        assert k_a.models["p_prime"].id == a_k.models["p_prime"].id
        assert k_a.models["p_second"].id == a_k.models["p_second"].id
        assert compressed.models["final"].id == k_a.models["p_second"].id
        assert alone.models["final"].id == a_k.models["p_prime_aligned"].id
        assert k_a.models["final"].id != cell("K-A@p'", kind=kind).models["final"].id

    def test_an_alignment_knows_its_start_and_its_reference(self, kind: str) -> None:
        plain, anchored = cell("K-A", kind=kind), cell("K-A@p'", kind=kind)
        start, second = plain.models["p_prime"], plain.models["p_second"]
        assert anchors(plain.models["final"]) == (second.id, second.id)
        assert anchors(anchored.models["final"]) == (second.id, start.id)

    def test_seeds_are_apart_and_settings_are_alike(self, kind: str) -> None:
        one, other = cell("K-A", 1, kind), cell("K-A", 2, kind)
        shared = {n.id for n in one.nodes} & {n.id for n in other.nodes}
        # what is made once for all seeds belongs to none of them
        assert {n.seed for n in one.nodes if n.id in shared} <= {0}
        assert not shared & {n.id for n in one.models.values()}
        assert one.setting == other.setting
        assert one.setting != cell("A-K", 1, kind).setting

    def test_seeds_that_are_called_alike_are(self, kind: str) -> None:
        if not find_kind(kind).seeds_alike:
            pytest.skip("its nodes may differ in more")
        for name in STANDARD:
            plain = [cell(name, seed, kind) for seed in (1, 0, 5)]
            made = Sharing((1, 0, 5)).cells(plain[0])
            assert [one.identity for one in made] == [one.identity for one in plain]
            assert [[n.hashed for n in one.nodes] for one in made] == [
                [n.hashed for n in one.nodes] for one in plain
            ]

    def test_settings_are_frozen_strict_and_have_defaults(self, kind: str) -> None:
        settings = find_kind(kind).settings
        assert settings.model_config.get("frozen") is True
        assert settings.model_config.get("extra") == "forbid"
        assert settings() == settings.model_validate({})
        assert all(info.description for info in settings.model_fields.values())

    def test_settings_become_columns_beside_those_of_the_tables(self, kind: str) -> None:
        names = {field.name for field in factor_fields(find_kind(kind).settings)}
        for table in ("cells", "metrics"):
            assert not names & {column[0] for column in COLUMNS[table] if column != "factors"}

    def test_every_setting_is_read_by_the_kinds_code(self, kind: str) -> None:
        found = find_kind(kind)
        unread = set(found.settings.model_fields) - settings_read(
            found.settings, cell("K-A", 0, kind)
        )
        assert not unread


# A dead knob is a false experiment: which settings does the code of a kind read?


def settings_read(settings: type[BaseModel], example: Cell) -> set[str]:
    """Fields read as `.name`, `["name"]` or by a call's argument, beside the settings.

    The settings' own classes don't count: a validator is no use. A stage's `length_field` is read
    by the platform; `f"{stage}_iterations"` reads a field of every stage.
    """
    names = {node.length_field for node in example.nodes if node.length_field}
    for path in {*_sources_beside(settings), *_sources_of_bases(settings)}:
        names.update(_reads(_outside_models(ast.parse(path.read_text()))))
    stages = {node.stage for node in example.nodes}
    return names | {stage + name for name in names if name.startswith("_") for stage in stages}


def _sources_beside(settings: type[BaseModel]) -> list[Path]:
    module = importlib.import_module(settings.__module__)
    path = Path(inspect.getfile(module))
    return sorted(path.parent.rglob("*.py")) if "." in module.__name__ else [path]


def _sources_of_bases(settings: type[BaseModel]) -> list[Path]:
    """Where the parts are written that the settings are composed of, in whatever folder."""
    package = settings.__module__.partition(".")[0]
    ours = [base for base in settings.__mro__ if base.__module__.startswith(f"{package}.")]
    return [Path(inspect.getfile(importlib.import_module(base.__module__))) for base in ours]


def _outside_models(tree: ast.Module) -> Iterator[ast.AST]:
    """The statements of a module, but for classes that only declare annotated fields."""
    for statement in tree.body:
        declares = isinstance(statement, ast.ClassDef) and any(
            isinstance(line, ast.AnnAssign)
            and isinstance(line.value, ast.Call)
            and getattr(line.value.func, "id", "") == "Field"
            for line in statement.body
        )
        if not declares:
            yield statement


def _reads(statements: Iterable[ast.AST]) -> Iterator[str]:
    for node in itertools.chain.from_iterable(ast.walk(each) for each in statements):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            yield str(node.slice.value)
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[-1], ast.Constant):
            yield str(node.values[-1].value)
        elif isinstance(node, ast.Call):
            for argument in node.args[:2]:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value)
            # A record's `epochs="target_epochs"`, `shaped_by=("kl_estimator",)`: what it reads.
            yield from _constants(keyword.value for keyword in node.keywords)
        elif isinstance(node, ast.Dict):  # which field a stage reads, as data
            yield from _constants(node.values)


def _constants(values: Iterable[ast.expr]) -> Iterator[str]:
    for part in itertools.chain.from_iterable(ast.walk(value) for value in values):
        if isinstance(part, ast.Constant):
            yield str(part.value)


class DeadKnob(ToySettings):
    """As the toy's, with a field that nobody reads."""

    dead_knob: float = Field(default=1.0, description="does nothing")


DeadKnob.__module__ = "toy_kind"


def test_a_dead_knob_is_found() -> None:
    example = KIND.cell(Ordering.model_validate("K-A"), ToySettings(), 0)
    assert set(DeadKnob.model_fields) - settings_read(DeadKnob, example) == {"dead_knob"}

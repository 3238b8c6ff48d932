"""A final model leaves the store: as a folder that other libraries load, with a model card."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recalltrap.errors import InputError, nearest, shown
from recalltrap.graph import Cell
from recalltrap.paths import Pathish, is_uri, resolve
from recalltrap.registry import find_kind
from recalltrap.results.model_card import Made, model_card
from recalltrap.store.provenance import read_provenance
from recalltrap.study.python_values import plain_value

if TYPE_CHECKING:
    from recalltrap.results.results import Results

FINAL = "final"
CARD = "README.md"
MOST_CHOICES = 8
_MEASURED = """
select metric, any_value(value) filter (model = 'final') as value,
       any_value(standard_error) filter (model = 'final') as standard_error,
       any_value(value) filter (model = 'p_prime') as p_prime
from metrics where cell_id = '{}' group by metric having value is not null"""


def export_model(
    results: Results, ordering: str, seed: int, folder: Pathish, at: Mapping[str, Any]
) -> str:
    """Write the final model of one cell and its card into a folder; the folder's path.

    The folder appears whole or not at all, and is never overwritten.

    Raises:
        InputError: no such cell, several, one that isn't finished, a kind whose models nobody
            else loads, or a folder that holds something.
    """
    cell = find_cell(results, ordering, seed, at)
    target = empty_place(folder)
    kind, node = find_kind(results.study.kind), cell.models[FINAL]
    if not results.store.has(node):
        place = results.storage.display(results.store.folder(node))
        raise InputError(f"the model isn't in the store any more ({place}): run the study again")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        exported = kind.export(node, results.store, partial)
        card = model_card(results.study, cell, exported, _made(results, cell))
        (partial / CARD).write_text(card, encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp's is the owner's alone
        partial.replace(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return str(target)


def find_cell(results: Results, ordering: str, seed: int, at: Mapping[str, Any]) -> Cell:
    """The one finished cell of an ordering, a seed and as much of a grid point as it needs.

    Raises:
        InputError: no such cell, several (with the choices), or one that isn't finished.
    """
    study, wanted = results.study, {axis: plain_value(value) for axis, value in at.items()}
    names = [one.name for one in study.orderings]
    if ordering not in names:
        raise InputError(f"ordering {shown(ordering)} is not in {study.name}; "
                         f"{nearest(str(ordering), names)}")  # fmt: skip
    if type(plain_value(seed)) is not int or seed not in study.seeds:
        raise InputError(f"seed {shown(seed)} is not in {study.name}: it has {_few(study.seeds)}")
    for axis, value in wanted.items():
        if axis not in study.axes:
            known = nearest(axis, study.axes) if study.axes else "it has none"
            raise InputError(f"{axis} = {shown(value)}: no axis of {study.name}'s grid; {known}")
        if not any(_same(value, one) for one in study.grid[axis]):
            raise InputError(
                f"{axis} = {shown(value)} is not in {study.name}'s grid: it has "
                f"{_few(study.grid[axis])}"
            )
    asked = [c for c in results.planned() if c.ordering.name == ordering and c.seed == seed]
    found = [c for c in asked if all(_same(c.factors[axis], v) for axis, v in wanted.items())]
    if len(found) > 1:
        open_axes = [
            axis for axis in study.axes if axis not in wanted and len(study.grid[axis]) > 1
        ]
        choices = "; ".join(f"{axis}: {_few(study.grid[axis])}" for axis in open_axes)
        example = f"--at {open_axes[0]}={study.grid[open_axes[0]][0]}"
        raise InputError(
            f"{ordering}, seed {seed} has {len(found)} grid points, each with a final model of its "
            f"own: choose one, e.g. {example} ({choices})"
        )
    (cell,) = found
    query = f"select 1 from cells where cell_id = '{cell.id}' and status = 'succeeded'"
    if not results.sql(query).num_rows:
        raise InputError(
            f"{ordering}, seed {seed} is not finished in {results.folder}: run the study first"
        )
    return cell


def empty_place(folder: Pathish) -> Path:
    """Where a folder may be made: nothing is there, or an empty folder.

    Raises:
        InputError: something is there, or it is an object store.
    """
    where = resolve(folder, "DIR")
    if is_uri(where):
        raise InputError(f"DIR = {where}: give a folder on this machine")
    path = Path(where)
    if os.path.lexists(path) and not path.is_dir():
        raise InputError(f"DIR = {where} is a file: give a folder that isn't there yet")
    if path.is_dir() and any(path.iterdir()):
        raise InputError(
            f"DIR = {where} isn't empty, and nothing is overwritten: give another, or empty it"
        )
    return path


def _same(value: Any, other: Any) -> bool:
    """Equal as settings are: 1 is 1.0, and True is neither."""
    plain = plain_value(other)
    return bool(value == plain and isinstance(value, bool) == isinstance(plain, bool))


def _few(values: Sequence[Any]) -> str:
    """The first values of a list, for a message."""
    first = ", ".join(str(plain_value(value)) for value in values[:MOST_CHOICES])
    return first if len(values) <= MOST_CHOICES else f"{first}, ... ({len(values)} in all)"


def _made(results: Results, cell: Cell) -> Made:
    """What the run knows of a model beside its cell."""
    record = results.store.open(cell.models[FINAL]).record
    try:
        origin = read_provenance(results.storage, str(record["provenance"]))
    except (FileNotFoundError, KeyError):
        origin = {}
    verdict = results.verdict()
    return Made(
        metrics=results.sql(_MEASURED.format(cell.id)).to_pylist(),
        titles=results.metrics(),
        verdict=verdict.sentence,
        notes=verdict.notes,
        created=str(record.get("created_at", "")),
        commit=str(origin.get("commit") or ""),
        versions={"Python": origin.get("python"), **origin.get("versions", {})},
    )

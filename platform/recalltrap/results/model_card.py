"""The model card of an exported model: how it was made, and how far its numbers carry.

It is for strangers: it holds no path of the machine that the model was made on, no host and no
credential. The licence is the base model's, which nobody here knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recalltrap.graph import Cell, Node, ancestry
from recalltrap.kind import ExportedModel, Metric, metric_of
from recalltrap.redaction import redact
from recalltrap.registry import find_kind
from recalltrap.study.study import Study
from recalltrap.study.yaml_scalars import spell_value

ID = 12
"""Letters of an artifact's id that are shown."""


@dataclass(frozen=True)
class Made:
    """What a run knows of a model beside its cell.

    `metrics` are rows with `metric`, `value`, `standard_error` and `p_prime` (p''s value); `titles`
    say what metrics are called.
    """

    metrics: Sequence[Mapping[str, Any]]
    titles: Mapping[str, Metric]
    verdict: str
    notes: Sequence[str]
    created: str
    commit: str
    versions: Mapping[str, str | None]


def model_card(study: Study, cell: Cell, exported: ExportedModel, made: Made) -> str:
    """The card as Markdown, with the hub's header."""
    parts = [
        "\n".join(_header(exported)),
        f"# {cell.ordering.name} of {study.name}, seed {cell.seed}",
        f"> {_line(study.question)}",
        "Made by recalltrap (a study after [arXiv 2509.23667](https://arxiv.org/abs/2509.23667)) "
        f"on {made.created[:10]}: the last model of the ordering {cell.ordering.name} "
        f"({', then '.join(map(str, cell.ordering.stages))}).",
        "## Licence",
        "The base model's licence applies, and isn't known here: write it into `license:` above "
        "before you pass the model on.",
        "## Use",
        exported.use,
        "## How it was made",
        _table(("stage", "artifact", "seed", "made from"), _stages(cell)),
        "Settings that decide it and its numbers:",
        _table(("setting", "value"), _settings(study, cell)),
        "## Measured",
        _table(("metric", "this model", "standard error", "p'"), _measured(made)),
        f"These numbers are of one model, one seed of {len(study.seeds)}. The standard error is "
        "over the samples that it was judged by, and says nothing of what another seed would give. "
        "Over the run's seeds:",
        "\n".join([f"- {_line(made.verdict)}", *(f"- note: {_line(note)}" for note in made.notes)]),
        "## Versions",
        _table(("package", "version"), _versions(made)),
    ]
    return redact("\n\n".join(parts)) + "\n"


def _header(exported: ExportedModel) -> Iterator[str]:
    yield "---"
    yield "# license: the base model's; fill it in"
    for name, value in exported.header.items():
        yield f"{name}: {spell_value(value)}"
    yield "tags: [recalltrap]"
    yield "---"


def _stages(cell: Cell) -> Iterator[Sequence[str]]:
    """Everything that the model is made from, the first first."""
    for node in ancestry([cell.models["final"]]):
        parents = (f"{name}: {_name(parent)}" for name, parent in node.parents.items())
        yield node.stage, node.id[:ID], str(node.seed), "; ".join(parents)


def _name(node: Node) -> str:
    return f"{node.stage} {node.id[:ID]}"


def _settings(study: Study, cell: Cell) -> Iterator[Sequence[str]]:
    read = find_kind(cell.kind).reads(cell.settings, [cell.ordering]).fields
    for name, value in cell.factors.items():
        if name in read:
            axis = " (an axis of the grid)" if name in study.axes else ""
            yield name, f"{spell_value(_without_folders(value))}{axis}"


def _without_folders(value: Any) -> Any:
    """A value in which a path of this machine is its last part alone."""
    if isinstance(value, list | tuple):
        return [_without_folders(item) for item in value]
    written = isinstance(value, str) and "\n" not in value
    if written and (value[:1] in ("/", "~", ".") or value.startswith("file:") or _stands(value)):
        return os.path.basename(value.rstrip("/")) or value
    return value


def _stands(value: str) -> bool:
    return os.sep in value and os.path.exists(value)


def _measured(made: Made) -> Iterator[Sequence[str]]:
    rows = {str(row["metric"]): row for row in made.metrics}
    order = [*(name for name in made.titles if name in rows), *sorted(set(rows) - set(made.titles))]
    for name in order:
        row = rows[name]
        numbers = (_number(row[column]) for column in ("value", "standard_error", "p_prime"))
        yield metric_of(made.titles, name).label, *numbers


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _versions(made: Made) -> Iterator[Sequence[str]]:
    for name, version in made.versions.items():
        if version:
            commit = name == "recalltrap" and made.commit
            yield name, f"{version}, commit {made.commit[:ID]}" if commit else version


def _table(names: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())

"""Checking a study in full before anything starts: types, limits, settings, every grid point."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from recalltrap.errors import InputError, nearest, shown
from recalltrap.kind import StudyKind
from recalltrap.orderings import DISTILL, DistillBy
from recalltrap.registry import find_kind, kind_names, room
from recalltrap.resources import BY_STAGE, GROUP_FIELDS, Resources, check_stages
from recalltrap.study.looks import MAX_CELLS
from recalltrap.study.python_values import PLAIN
from recalltrap.study.study import Study
from recalltrap.study.study_file import Source, dotted
from recalltrap.study.yaml_text import MAX_BYTES, MAX_VALUES, Location

Model = TypeVar("Model", bound=BaseModel)
INT64 = range(-(2**63), 2**63)
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but for tab and newline, and halves of characters beyond 16 bits."""


def parse_study(content: Mapping[str, Any], source: Source) -> Study:
    """A study whose settings and grid are not checked against its kind yet.

    Raises:
        InputError: naming the file, the line, the field, the value and the way out.
    """
    _check_values(content, source)
    _check_resources(content, source)
    try:
        study = validate_strictly(Study, content)
    except ValidationError as error:
        raise source.refuse(error, Study) from None
    return study


def _check_resources(content: Mapping[str, Any], source: Source) -> None:
    """Refuse what the study's kind can't ask for, or asks for otherwise, at its own line."""
    given, kind = content.get("resources"), content.get("kind")
    if not isinstance(given, Mapping) or kind not in kind_names():
        return  # as the study's model says
    model = find_kind(kind).resources
    try:
        validate_strictly(model, given)
    except ValidationError as error:
        raise source.refuse(error, model, ("resources",)) from None
    for name, value in given.items():
        _check_literal(model, name, value, ("resources", name), source)
    stages = given.get("stages")
    for stage, fields in stages.items() if isinstance(stages, Mapping) else ():
        for name, value in fields.items():
            _check_literal(model, name, value, ("resources", "stages", stage, name), source)


def validate_strictly(model: type[Model], content: Mapping[str, Any]) -> Model:
    """A model from values that have its fields' types: no number from text or a truth value.

    pydantic's strict mode for JSON, in which a list may be a tuple and a whole number a float.
    """
    return model.model_validate_json(json.dumps(content), strict=True)


def check_study(content: Mapping[str, Any], source: Source) -> Study:
    """A study from a YAML file's content, with every setting and every grid point checked.

    Raises:
        InputError: naming the file, the line, the field, the value and the way out.
    """
    study = parse_study(content, source)
    check_settings(study, source)
    check_cells(study, source)
    return study


def check_cells(study: Study, source: Source) -> None:
    """Make the study's cells, whose identities hold the content of the files that it names.

    Raises:
        InputError: two cells that are the same, a file that can't be looked at, or resources of a
            stage that no cell has.
    """
    try:
        cells = study.cells()
    except InputError as error:
        raise InputError(f"{source.where(('grid',))}: {error}") from None
    except OSError as error:  # a name that no file system takes, a folder without permission
        raise InputError(
            f"{source.where(('settings',))}: {shown(error.filename)} can't be read: "
            f"{error.strerror}"
        ) from None
    said = [name for name in BY_STAGE if getattr(study.resources, name)]
    for name in said:
        try:
            stages = {node.stage for cell in cells for node in cell.nodes}
            check_stages(getattr(study.resources, name), stages)
        except ValueError as error:
            raise InputError(f"{source.where(('resources', name))}: {error}") from None


def check_settings(study: Study, source: Source) -> None:
    """Check what a study's model leaves open: its settings and axes against its kind.

    Raises:
        InputError: naming the file, the line, the field, the value and the way out.
    """
    kind = find_kind(study.kind)
    _check_values({"settings": study.settings, "grid": study.grid}, source)
    _check_size(study, source)
    _check_names(study, kind, source)
    _check_distillations(study, kind, source)
    _check_workers(study, kind, source)
    _check_given(kind, study.settings, source)
    for axis, values in study.grid.items():
        for index, value in enumerate(values):
            _check_axis_value(kind, axis, index, value, source)
    for point in study.points():
        try:
            kind.settings.model_validate({**study.settings, **point})
        except ValidationError as error:
            where = f"at the grid point {shown(point)}" if point else ""
            raise source.refuse(error, kind.settings, ("settings",), where) from None
    _check_read(study, kind, source)
    _check_primary(study, source)


def _check_primary(study: Study, source: Source) -> None:
    """Refuse a primary that the study can't have: the analysis knows what the KL weight is.

    A mean is over whatever weights there are, so that nothing is imported for most studies.
    """
    at = None if study.primary is None else study.primary.at
    if at in (None, "mean") and not study.looks:
        return
    try:
        room("primary_check")(study)
    except InputError as error:
        field = ("seeds", "looks") if study.primary is None else ("primary", "at")
        raise InputError(f"{source.where(field)}: {dotted(field)}: {error}") from None


def _check_read(study: Study, kind: StudyKind, source: Source) -> None:
    """Refuse the first setting or axis that decides nothing in any cell."""
    unread = dict.fromkeys(study.grid, "grid") | dict.fromkeys(study.settings, "settings")
    reasons: dict[str, str] = {}
    for point in study.points():
        settings = kind.settings.model_validate({**study.settings, **point})
        reads = kind.reads(settings, study.orderings)
        for name in reads.fields & unread.keys():
            del unread[name]
        if not unread:
            return
        reasons = {name: reads.unread[name] for name in unread} | reasons
    for name, section in unread.items():
        where = source.where((section, name))
        raise InputError(f"{where}: {section}.{name}: {reasons[name]}. Remove it")


def _check_size(study: Study, source: Source) -> None:
    """Refuse what takes too long to plan, and what couldn't be read again from the run's folder."""
    if study.size > MAX_CELLS:
        where = next(p for p in (("grid",), ("seeds",)) if getattr(study, p[0]))
        raise InputError(
            f"{source.where(where)}: {study.size:,} cells, and a study has at most "
            f"{MAX_CELLS:,}: give fewer seeds, orderings or values"
        )
    size, values = len(study.to_yaml().encode()), sum(1 for _ in _leaves(study.content(), ()))
    if size > MAX_BYTES or values > MAX_VALUES:
        raise InputError(
            f"{source.where(())}: written out, the study has {size:,} bytes and {values:,} values, "
            f"and a study file has at most {MAX_BYTES:,} and {MAX_VALUES:,}: shorten its lists"
        )


def _check_names(study: Study, kind: StudyKind, source: Source) -> None:
    fields = kind.settings.model_fields
    for section, names in (("settings", study.settings), ("grid", study.grid)):
        for name in names:
            if name not in fields:
                raise InputError(
                    f"{source.where((section, name))}: {shown(name)} is not a setting of the kind "
                    f"{kind.name!r}; {nearest(name, fields)}"
                )


def _check_distillations(study: Study, kind: StudyKind, source: Source) -> None:
    """Refuse a step of an ordering that distils by what the kind doesn't have, or whom it can't."""
    for index, ordering in enumerate(study.orderings):
        for name in sorted(ordering.distillations):
            known = kind.distillations
            if name in known:
                continue
            hint = nearest(name, known) if known else "it has one way to distil: write distill"
            raise InputError(
                f"{source.where(('orderings', index))}: {{distill: {shown(name)}}} in the ordering "
                f"{ordering.name!r} is no distillation of the kind {kind.name!r}; {hint}"
            )
        for before, step in zip((None, *ordering.stages), ordering.stages, strict=False):
            if not isinstance(step, DistillBy) or step.distill not in kind.after_align:
                continue
            if before is None or isinstance(before, DistillBy) or before == DISTILL:
                raise InputError(
                    f"{source.where(('orderings', index))}: {{distill: {step.distill}}} in the "
                    f"ordering {ordering.name!r} hands over what an alignment has changed, and its "
                    "teacher is none that has just been aligned: put an align before it"
                )


def _check_workers(study: Study, kind: StudyKind, source: Source) -> None:
    """Refuse what only a group of workers reads where a pack is one process."""
    if kind.grouped:
        return
    asked = {("resources",): study.resources} | {
        ("resources", "stages", stage): study.resources.of_stage(stage)
        for stage in study.resources.stages
    }
    for place, resources in asked.items():
        for name in GROUP_FIELDS:
            value = getattr(resources, name)
            if value != Resources.model_fields[name].default:
                raise InputError(
                    f"{source.where((*place, name))}: {dotted((*place, name))} = {value!r}: a "
                    f"trial of the kind {kind.name!r} is one process, and nothing would read it; "
                    "remove it"
                )


def _check_given(kind: StudyKind, settings: Mapping[str, Any], source: Source) -> None:
    """Refuse a setting that is wrong in itself, at its own line."""
    try:
        validate_strictly(kind.settings, settings)
    except ValidationError as error:
        # What spans several fields is judged at the grid's points, where the axes have values.
        if any(item["loc"] for item in error.errors()):
            raise source.refuse(error, kind.settings, ("settings",)) from None
    for name, value in settings.items():
        _check_literal(kind.settings, name, value, ("settings", name), source)


def _check_axis_value(kind: StudyKind, axis: str, index: int, value: Any, source: Source) -> None:
    """Refuse an axis value that is wrong in itself, at its own line."""
    try:
        validate_strictly(kind.settings, {axis: value})
    except ValidationError as error:
        own = [item for item in error.errors() if item["loc"][:1] == (axis,)]
        if own:
            raise InputError(
                f"{source.where(('grid', axis, index))}: grid.{axis} = {shown(value)}: "
                f"{own[0]['msg'].removeprefix('Value error, ')}"
            ) from None
    _check_literal(kind.settings, axis, value, ("grid", axis, index), source)


def _check_literal(
    model: type[BaseModel], name: str, value: Any, location: Location, source: Source
) -> None:
    """Refuse True and 1.0 where the literal 1 is allowed: pydantic's strict mode takes them."""
    info = model.model_fields.get(name)
    literals = list(_literals(info.annotation)) if info else []
    if not literals:
        return
    kinds = {type(literal) for literal in literals}
    for item in value if isinstance(value, list | tuple) else (value,):
        equal = [literal for literal in literals if literal == item]
        if equal and type(item) not in kinds:
            raise InputError(
                f"{source.where(location)}: {dotted(location)}: {item!r} is refused: "
                f"write {equal[0]!r}"
            )


def _literals(annotation: Any) -> Iterator[Any]:
    """The values of every `Literal` in a type."""
    for part in get_args(annotation):
        if get_origin(annotation) is Literal:
            yield part
        else:
            yield from _literals(part)


def _check_values(content: Mapping[str, Any], source: Source) -> None:
    """Refuse what no study can keep: it has no stable form, no column, or no place in a file."""
    for location, value in _leaves(content, ()):
        if problem := _problem(value):
            raise InputError(f"{source.where(location)}: {dotted(location)}: {problem}")


def _leaves(value: Any, location: Location) -> Iterator[tuple[Location, Any]]:
    """Every name and every single value, with its place."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield (*location, name), name
            yield from _leaves(item, (*location, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, (*location, index))
    else:
        yield location, value


def _problem(value: Any) -> str:
    """What is wrong with a single value whatever field it stands in, or nothing."""
    if type(value) is float and not math.isfinite(value):
        return f"{value!r} is not a finite number"
    if type(value) is int and value not in INT64:
        return f"{shown(value)} is beyond 64 bits, the widest whole number that a table keeps"
    if type(value) is str and (found := CONTROLS.search(value)):
        return f"the character U+{ord(found[0]):04X} has no place in a text: remove it"
    if type(value) not in PLAIN:
        return (
            f"{shown(value)} is a {type(value).__name__}: give numbers, text, truth values or lists"
        )
    return ""

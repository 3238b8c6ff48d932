"""The study that Python code asks for: by name, file or fields, with what its keywords replace."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from recalltrap.errors import InputError, nearest, shown
from recalltrap.paths import Pathish
from recalltrap.study.named_studies import load_study
from recalltrap.study.study import Study
from recalltrap.study.study_file import Overrides, listed

AnyStudy = Pathish | Study | Mapping[str, Any]
"""What stands for a study: its name, a path, a `Study`, or a file's content as a mapping."""


class StudyFields(TypedDict, total=False):
    """A study's fields as keywords, all but `seeds`; each is what a file has under that name.

    Wherever a file has a number or a list, numpy's, pandas' and ranges will do, and paths for text.
    """

    name: str
    kind: str
    question: str
    orderings: Sequence[str | Mapping[str, Any]]
    grid: Mapping[str, Any]
    settings: Mapping[str, Any]
    claims: Sequence[str]
    primary: Mapping[str, Any] | None
    contrasts: Sequence[Sequence[str]] | None
    margin: float | None
    recall_budget: float | None
    resources: Mapping[str, Any]


def asked_study(
    caller: Callable[..., object],
    study: AnyStudy | None,
    seeds: Any,
    overrides: Overrides,
    fields: StudyFields,
) -> Study:
    """The study with what the arguments of `caller` replace in it, checked as a file is.

    Where `study` is None the fields are the study; else they replace its own, and so do the seeds.

    Raises:
        InputError: no such study or field, or anything wrong in it.
    """
    for name, value in fields.items():
        if name not in StudyFields.__annotations__:
            arguments = [*inspect.signature(caller).parameters][:-1]  # the last is `fields`
            hint = nearest(name, [*arguments, *StudyFields.__annotations__])
            raise InputError(f"{name} = {shown(value)}: no such argument or field; {hint}")
    given = {**fields} if seeds is None else {**fields, "seeds": seeds}
    if study is not None:
        return load_study(study, [*listed(overrides), *given.items()])
    if not given:
        raise InputError(
            "no study is given: give its name, a file's path, a mapping, or its fields as keywords "
            "(name, kind, question, orderings, seeds, ...)"
        )
    return load_study(given, overrides)

"""Finding studies: the named ones that the kinds bring, or a file of the user's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recalltrap.errors import InputError, nearest, shown
from recalltrap.paths import Pathish, expand
from recalltrap.registry import find_kind, kind_names
from recalltrap.study.checks import check_cells, check_settings, check_study
from recalltrap.study.study import Study
from recalltrap.study.study_file import (
    Overrides,
    Source,
    apply_overrides,
    listed,
    read_study,
    study_of_mapping,
)


@dataclass(frozen=True)
class NamedStudy:
    """A study that comes with a kind; its name is `<kind>/<file's stem>`."""

    name: str
    path: Path


def named_studies() -> dict[str, NamedStudy]:
    """All named studies of all installed kinds, by name."""
    found = [study for kind in kind_names() for study in _studies_of(kind)]
    return {study.name: study for study in found}


def _studies_of(kind: str) -> list[NamedStudy]:
    paths = sorted(Path(find_kind(kind).studies).glob("*.yaml"))
    return [NamedStudy(f"{kind}/{path.stem}", path) for path in paths]


def load_study(study: Pathish | Study | Mapping[str, Any], overrides: Overrides = ()) -> Study:
    """A study by name or path, with overrides applied and everything checked.

    A mapping with what a file holds, or a `Study` that Python code made, is checked alike.
    Overrides are `field=value` as on the command line (`-o`), or a mapping from fields to values:
    `{"settings.iterations": 300}`.

    Raises:
        InputError: no such study, or anything wrong in it.
    """
    if isinstance(study, Study):
        source = Source(f"study {study.name}")
        if not listed(overrides):
            check_settings(study, source)
            check_cells(study, source)
            return study
        content = study.content()
    elif isinstance(study, str | os.PathLike):
        content, source = read_study(_find(study))
    elif isinstance(study, Mapping):
        content, source = study_of_mapping(study)
    else:
        raise InputError(
            f"a study is a name, a path, a mapping or a Study, not a {type(study).__name__}"
        )
    apply_overrides(content, overrides, source)
    return check_study(content, source)


def _find(name_or_path: Pathish) -> Path:
    """A study's file; kinds other than its own are not imported on the way."""
    name = expand(name_or_path, "the study")
    kind = name.partition("/")[0]
    if kind in kind_names():
        for study in _studies_of(kind):
            if study.name == name:
                return study.path
    path = Path(name)
    if not os.path.isfile(path):  # unlike Path.is_file, False for any name whatever
        if path.suffix in (".yaml", ".yml") and not os.path.exists(path):
            raise InputError(
                f"there is no study file {os.path.abspath(path)}: `recalltrap new` writes one to "
                "start from, and `recalltrap studies` lists those that have a name"
            )
        raise InputError(
            f"{shown(name)} is neither a named study nor a file; "
            f"{nearest(name, named_studies())} (`recalltrap studies` lists them)"
        )
    return path

"""Finding studies: the named ones that the kinds bring, or a file of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recalltrap.errors import InputError, nearest
from recalltrap.paths import Pathish, expand
from recalltrap.registry import find_kind, kind_names
from recalltrap.source import apply_overrides, read_yaml
from recalltrap.study import Study, check_study


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


def load_study(name_or_path: Pathish, overrides: Sequence[str] = ()) -> Study:
    """A study by name or path, with `-o` overrides applied and everything checked.

    Raises:
        InputError: no such study, or anything wrong in it.
    """
    content, source = read_yaml(_find(name_or_path))
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
    if not path.is_file():
        raise InputError(
            f"{name!r} is neither a named study nor a file; "
            f"{nearest(name, named_studies())} (`recalltrap studies` lists them)"
        )
    return path

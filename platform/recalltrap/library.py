"""Finding studies: the named ones that the kinds bring, or a file of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recalltrap.errors import InputError, nearest
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
    found = [
        NamedStudy(f"{kind}/{path.stem}", path)
        for kind in kind_names()
        for path in sorted(Path(find_kind(kind).studies).glob("*.yaml"))
    ]
    return {study.name: study for study in found}


def load_study(name_or_path: str, overrides: Sequence[str] = ()) -> Study:
    """A study by name or path, with `-o` overrides applied and everything checked.

    Raises:
        InputError: no such study, or anything wrong in it.
    """
    named = named_studies()
    if name_or_path in named:
        path = named[name_or_path].path
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise InputError(
                f"{name_or_path!r} is neither a named study nor a file; "
                f"{nearest(name_or_path, named)} (`recalltrap studies` lists them)"
            )
    content, source = read_yaml(path)
    apply_overrides(content, overrides, source)
    return check_study(content, source)

"""What other rooms and other people's packages register: kinds of study, and the rooms' doors.

Entry points are looked up by name and imported late, so that a command loads only what it uses.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from recalltrap.errors import InputError, nearest
from recalltrap.garbage import uncollected
from recalltrap.kind import StudyKind

KINDS = "recalltrap.studies"
ROOMS = "recalltrap.rooms"
CLAIMS = "recalltrap.claims"


def kind_names() -> list[str]:
    """The installed kinds of study."""
    return sorted(registered(KINDS))


def claim_ids() -> list[str]:
    """The claims that a study may list, in the order of their numbers: `C2` before `C10`."""
    return sorted(registered(CLAIMS), key=lambda name: (len(name), name))


@cache
def find_kind(name: str) -> StudyKind:
    """An installed kind of study.

    Raises:
        InputError: no such kind, or its package fails to import.
    """
    return _load(KINDS, name, "kind of study")  # type: ignore[no-any-return]


@cache
def room(name: str) -> Any:
    """A door of another room, e.g. `room("report")`."""
    return _load(ROOMS, name, "room")


@cache
def registered(group: str) -> dict[str, EntryPoint]:
    """What the installed packages register in a group.

    Looked up once, for it takes 10 ms: what is installed later counts in the next process.
    """
    return {point.name: point for point in entry_points(group=group)}


def _load(group: str, name: str, what: str) -> Any:
    points = registered(group)
    if name not in points:
        raise InputError(f"unknown {what} {name!r}; {nearest(name, points)}")
    try:
        with uncollected():  # a fifth of the time of importing what a report needs
            return points[name].load()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"the {what} {name!r} ({points[name].value}) can't be imported: {error}. "
            "Reinstall the package that provides it"
        ) from error

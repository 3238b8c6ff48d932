"""Folders and files that a study names: known by what is in them, wherever they lie.

A run remembers what they held when it was last started, so that its views need none of them: they
may be moved, changed or gone since.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING

from recalltrap.errors import InputError
from recalltrap.paths import resolve

if TYPE_CHECKING:
    from recalltrap.graph import Cell

_REMEMBERED: ContextVar[Mapping[str, str] | None] = ContextVar("contents", default=None)


class Content(dict[str, str]):
    """What stands in a configuration for a folder or a file: its SHA-256, and no path.

    As JSON, hashed and compared, it is the hash alone. `spec` is what the user wrote and `path`
    where that was when the study was planned; both travel with the node to where it is built.
    `patterns` are the names of the files that count; none where it is a file itself.
    """

    def __init__(self, sha256: str, spec: str, path: str, patterns: tuple[str, ...]) -> None:
        super().__init__(sha256=sha256)
        self.spec = spec
        self.path = path
        self.patterns = patterns

    @property
    def key(self) -> str:
        """By what it's remembered."""
        return _key(self.spec, self.patterns)


def _key(spec: str, patterns: tuple[str, ...]) -> str:
    return f"{spec} ({', '.join(patterns) or 'file'})"


def to_remember(cells: Iterable[Cell]) -> dict[str, str]:
    """What a run writes down of the contents that its cells are made from."""
    configs = {id(node.config): node.config for cell in cells for node in cell.nodes}
    found = [value for config in configs.values() for value in config.values()]
    return {value.key: value["sha256"] for value in found if isinstance(value, Content)}


@contextlib.contextmanager
def remembering(written: Mapping[str, str]) -> Iterator[None]:
    """For the duration, contents are what a run wrote down, whatever they are now."""
    token = _REMEMBERED.set(written)
    try:
        yield
    finally:
        _REMEMBERED.reset(token)


def remembered(spec: str, patterns: tuple[str, ...]) -> Content | None:
    """What a spec stood for when the run was started; None where nobody remembers."""
    sha256 = (_REMEMBERED.get() or {}).get(_key(spec, patterns))
    if sha256 is None:
        return None
    try:
        path = resolve(spec, "settings")
    except InputError:
        path = spec
    return Content(sha256, spec, path, patterns)

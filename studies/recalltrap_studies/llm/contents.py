"""Folders and files that settings name, as a stage's configuration holds them: by their content.

What stands for itself, a size of ours or a hub id, is a text. Which files of a folder count is
`fingerprints`' business.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.paths import resolve
from recalltrap.store.contents import Content, remembered

Identity = str | Content


def spec_of(identity: Any) -> str:
    """What can be opened: a size, a hub id, or a path."""
    return identity.path if isinstance(identity, Content) else str(identity)


def loaded(node: Node) -> tuple[str, Identity]:
    """The setting that names the model of a `load` node, and what the model is."""
    ((field, identity),) = node.config.items()
    return str(field), identity


def opened(identity: Any, field: str) -> str:
    """Like `spec_of`, where a node is built: the content must be what the study was planned with.

    A machine that has the folder elsewhere is asked for what the user wrote, `~` for one.

    Raises:
        InputError: it isn't here, or its content is another now.
    """
    if not isinstance(identity, Content):
        return str(identity)
    for path in dict.fromkeys([identity.path, resolve(identity.spec, f"settings.{field}")]):
        if content_of(path, identity.patterns) == identity:
            return path
    state = "its content changed" if os.path.exists(identity.path) else "it is gone from here"
    raise InputError(
        f"settings.{field} = {identity.spec!r} ({identity.path}): {state} after the study was "
        "planned. Restore it, or run again: what depends on it is then built anew"
    )


def content_of(spec: str, patterns: tuple[str, ...], most: int | None = None) -> Identity:
    """The content of a folder's files, or of a file where there are no patterns; else the text,
    which `preflight` judges: also of a file of more than `most` bytes, which nothing reads."""
    if known := remembered(spec, patterns):
        return known
    try:
        path = Path(resolve(spec, "settings"))
    except InputError:
        return spec
    if not (path.is_dir() if patterns else path.is_file()):
        return spec
    files = [path] if not patterns else sorted({f for p in patterns for f in path.glob(p)})
    kept = [file for file in files if file.is_file() and not file.name.startswith(".")]
    try:
        if most is not None and path.stat().st_size > most:
            return spec
        state = tuple(_state(file) for file in (kept if patterns else files))
        return Content(_digest(state, bool(patterns)), spec, str(path), patterns)
    except OSError as error:
        raise InputError(f"{error.filename or path} can't be read: {error.strerror}") from None


def _state(file: Path) -> tuple[str, tuple[int, ...]]:
    """What is other wherever a file's content is; also where its time of writing was set back."""
    found = file.stat()
    return str(file), (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@lru_cache(maxsize=64)
def _digest(state: tuple[tuple[str, tuple[int, ...]], ...], named: bool) -> str:
    found = hashlib.sha256()
    for path, (size, *_) in state:
        # a folder's files have the names by which they are read; a lone file has any
        found.update(f"{Path(path).name if named else ''} {size}\n".encode())
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                found.update(piece)
    return found.hexdigest()

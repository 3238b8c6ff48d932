"""What travels with a job: its study as a file, and the files that the study names.

Files are known by their content (`recalltrap.store.contents`), so the study that names them where
they land has the same cells. What lies in a storage folder stays there: it is shared already.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recalltrap.errors import InputError, shown
from recalltrap.graph import Cell
from recalltrap.store.contents import Content
from recalltrap.store.storage import Storage
from recalltrap.study.study import Study

STUDY_FILE, INPUTS = "study.yaml", "inputs"
MOST_BYTES = 50_000_000
"""Of all files together: Ray's head keeps them in its memory."""


def pack_study(study: Study, cells: Iterable[Cell], storage: Storage, folder: Path) -> None:
    """Write the study and the files that it names into a folder.

    Raises:
        InputError: a folder, or more than `MOST_BYTES`, that doesn't lie in the storage's folder.
    """
    named = _outside(named_contents(cells), storage)
    _check_size(named.values())
    places = {spec: _copy(content, folder) for spec, content in named.items()}
    update = {name: replaced(getattr(study, name), places) for name in ("settings", "grid")}
    (folder / STUDY_FILE).write_text(study.model_copy(update=update).to_yaml(), encoding="utf-8")


def named_contents(cells: Iterable[Cell]) -> dict[str, Content]:
    """What cells are made from that a study names by a path, by what the user wrote."""
    configs = {id(node.config): node.config for cell in cells for node in cell.nodes}
    found = [value for config in configs.values() for value in config.values()]
    return {value.spec: value for value in found if isinstance(value, Content)}


def _outside(named: Mapping[str, Content], storage: Storage) -> dict[str, Content]:
    """Those that have to travel; a folder can't."""
    kept = {}
    for spec, content in named.items():
        if storage.is_local and Path(content.path).is_relative_to(storage.path("").rstrip("/")):
            continue
        if content.patterns:
            raise InputError(
                f"{shown(spec)} is a folder of this machine, and a job takes files along, no "
                f"folders. Copy it into the storage ({storage.shown}), if that is a folder that "
                "the cluster shares, and name it there; or give the hub's id of the model"
            )
        kept[spec] = content
    return kept


def _check_size(contents: Iterable[Content]) -> None:
    sizes = {content.path: Path(content.path).stat().st_size for content in contents}
    if (total := sum(sizes.values())) > MOST_BYTES:
        largest = max(sizes, key=lambda path: sizes[path])
        raise InputError(
            f"the files that the study names have {total / 1e6:,.0f} MB ({largest} alone "
            f"{sizes[largest] / 1e6:,.0f}), and a job takes up to {MOST_BYTES / 1e6:,.0f} along. "
            "Copy them into the storage, if that is a folder that the cluster shares, and name "
            "them there"
        )


def _copy(content: Content, folder: Path) -> str:
    """Copy a file to where its content's hash says; its path from the folder."""
    place = Path(INPUTS, content["sha256"][:16], Path(content.path).name)
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(content.path, folder / place)
    return place.as_posix()


def replaced(value: Any, places: Mapping[str, str]) -> Any:
    """The value with every path of `places` replaced, also before the `#label` of a scorer."""
    if isinstance(value, str):
        path, sign, label = value.rpartition("#")
        if value in places:
            return places[value]
        return f"{places[path]}#{label}" if sign and path in places else value
    if isinstance(value, Mapping):
        return {name: replaced(item, places) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(replaced(item, places) for item in value)
    return value

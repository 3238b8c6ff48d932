"""The door to what transformers and the hub keep to themselves about models.

Trainers have a door of their own. Light to import, for `recalltrap plan` comes through here.
`tests/.../models/test_upstream.py` holds each name against the installed release.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

with warnings.catch_warnings():  # in a notebook tqdm, which it brings, advises ipywidgets
    warnings.filterwarnings("ignore", message="IProgress not found")
    from huggingface_hub import try_to_load_from_cache

COMMIT = re.compile(r"[0-9a-f]{40}")


def keeps_a_state(cls: type[Any]) -> bool:
    """Whether a model of this class has a state that isn't keys and values of single tokens.

    No public name says so: some of these models' caches look like everybody's.
    """
    return bool(getattr(cls, "_is_stateful", False))


def attention_of(config: Any) -> str | None:
    """Which implementation of attention a model computes with: `sdpa`, `eager`, ...

    What asks for one is public; which one it came to isn't.
    """
    return getattr(config, "_attn_implementation", None)


def commit_of(name: str, revision: str | None) -> str | None:
    """The hub's commit that `revision` of a model stood for when its configuration was fetched.

    None where it wasn't fetched from the hub. Configurations don't remember their commit any more
    (transformers 5); the hub's cache does, in a folder for each commit.
    """
    path = try_to_load_from_cache(name, "config.json", revision=revision)
    commit = Path(path).parent.name if isinstance(path, str) else ""
    return commit if COMMIT.fullmatch(commit) else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """For the duration transformers logs errors alone: what is wrong with a file is said by us."""
    from transformers.utils.logging import get_verbosity, set_verbosity

    said = get_verbosity()
    set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(said)

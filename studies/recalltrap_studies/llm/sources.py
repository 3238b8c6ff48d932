"""What comes from outside the store, as an identity: a folder or a file is known by its content.

Sizes of ours, the grammar and hub ids (which name their revision) stand for themselves. Nothing
is loaded here.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

Identity = str | dict[str, str]
SHAPE_FILES = ("config.json",)
"""What an architecture is taken from: re-initialised, the weights don't matter."""
MODEL_FILES = (
    "*.json", "*.safetensors", "*.model", "merges.txt", "vocab.txt",
)  # fmt: skip


def architecture_identity(spec: str) -> Identity:
    """Identity of an architecture: a size of ours, a hub id, or a folder's configuration."""
    return _identity(spec, SHAPE_FILES)


def model_identity(spec: str) -> Identity:
    """Identity of a model with its weights and tokenizer."""
    return _identity(spec, MODEL_FILES)


def corpus_identity(spec: str) -> Identity:
    """Identity of a corpus: the grammar, or a text file's content."""
    return _identity(spec, ())


def spec_of(identity: Any) -> str:
    """What the user wrote."""
    return str(identity["spec"] if isinstance(identity, dict) else identity)


def _identity(spec: str, patterns: tuple[str, ...]) -> Identity:
    path = Path(spec)
    if not path.exists():
        return spec
    files = [path] if path.is_file() else sorted({f for p in patterns for f in path.glob(p)})
    state = tuple((str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files)
    return {"spec": os.path.abspath(spec), "sha256": _digest(state)}


@lru_cache(maxsize=64)
def _digest(state: tuple[tuple[str, int, int], ...]) -> str:
    found = hashlib.sha256()
    for path, _, size in state:
        found.update(f"{Path(path).name} {size}\n".encode())
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                found.update(piece)
    return found.hexdigest()

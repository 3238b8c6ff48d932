"""Where a result came from: commit and uncommitted changes, versions, command line, host.

Written once per process and content under `<storage>/provenance/`; records and launches name it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from recalltrap.identity import fingerprint
from recalltrap.storage import Storage

PACKAGES = (
    "recalltrap",
    "ray",
    "torch",
    "numpy",
    "pyarrow",
    "pydantic",
    "transformers",
    "trl",
    "deepspeed",
)
ARGV_VARIABLE = "RECALLTRAP_ARGV"  # a Ray worker's own command line says nothing: the driver's does
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_NAME = r"token|secret|passw(?:or)?d|api[_-]?key|credential|authorization"
_SECRET_OPTION = re.compile(rf"(?i)-+[\w-]*(?:{_SECRET_NAME})[\w-]*")
_SECRET = re.compile(rf"(?i)((?:{_SECRET_NAME})\w*[\"']?\s*[=:]\s*(?:bearer\s+)?)(?!None\b)\S+")


def redact(text: str) -> str:
    """The text without credentials in URLs and without values that a secret's name announces."""
    return _SECRET.sub(r"\1[redacted]", _CREDENTIALS.sub("[redacted]@", text))


def redact_argv(argv: Sequence[str]) -> list[str]:
    """A command line without secrets, also those that stand behind their option's name."""
    behind = [False, *(_SECRET_OPTION.fullmatch(argument) is not None for argument in argv)]
    return [
        "[redacted]" if secret else redact(argument)
        for argument, secret in zip(argv, behind, strict=False)
    ]


@lru_cache(maxsize=4)
def _write(location: str) -> str:
    content = collect()
    name = fingerprint(content)
    storage = Storage(location)
    path = f"provenance/{name}.json"
    if not storage.exists(path):
        storage.write(path, json.dumps(content, indent=1).encode() + b"\n")
    return name


def current_provenance(storage: Storage) -> str:
    """The name of this process's provenance, which stands in the storage afterwards."""
    return _write(storage.location)


def read_provenance(storage: Storage, name: str) -> dict[str, Any]:
    """A provenance by its name."""
    return dict(json.loads(storage.read(f"provenance/{name}.json")))


@cache
def collect() -> dict[str, Any]:
    """This process's provenance. Secrets never: see `redact`."""
    argv = json.loads(os.environ.get(ARGV_VARIABLE, "null")) or [
        Path(sys.argv[0]).name,
        *sys.argv[1:],
    ]
    commit = _git("rev-parse", "HEAD")
    return {
        "argv": redact_argv(argv),
        "commit": commit,
        "dirty_diff": redact(_git("diff", "HEAD") or "") if commit else None,
        "untracked": (_git("ls-files", "--others", "--exclude-standard") or "").splitlines(),
        "host": socket.gethostname(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says of the working tree that this code runs from; None for an installed wheel."""
    here = Path(__file__).resolve().parent
    if "site-packages" in here.parts:
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(here.parents[1]), *arguments],
            capture_output=True, text=True, timeout=20, check=True, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

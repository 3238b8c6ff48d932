"""Where a result came from: commit and uncommitted changes, versions, command line, host.

Written once per process and content under `<storage>/provenance/`; records and launches name it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import socket
import subprocess
import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from recalltrap.identity import fingerprint
from recalltrap.redaction import redact, redact_argv
from recalltrap.store.storage import Storage

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


SOURCE_FILE = "recalltrap_source.json"
"""In a wheel's metadata: what git said where the wheel was made for a job."""


def pass_on_argv() -> None:
    """Let Ray's workers know this process's command line; before they start."""
    argv = redact_argv([Path(sys.argv[0]).name, *sys.argv[1:]])
    os.environ.setdefault(ARGV_VARIABLE, json.dumps(argv))


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
    way_out = "remove it: it says where results came from, and nothing depends on it"
    return storage.read_mapping(f"provenance/{name}.json", way_out)


@cache
def collect() -> dict[str, Any]:
    """This process's provenance. Secrets never: see `redact`."""
    argv = json.loads(os.environ.get(ARGV_VARIABLE, "null")) or [
        Path(sys.argv[0]).name,
        *sys.argv[1:],
    ]
    return {
        "argv": redact_argv(argv),
        **_source(),
        "host": socket.gethostname(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _source() -> dict[str, Any]:
    """The commit that this code is of, and what was changed since."""
    shipped = importlib.metadata.distribution(PACKAGES[0]).read_text(SOURCE_FILE)
    if shipped is not None:
        return dict(json.loads(shipped))
    commit = _git("rev-parse", "HEAD")
    return {
        "commit": commit,
        "dirty_diff": redact(_git("diff", "HEAD") or "") if commit else None,
        "untracked": (_git("ls-files", "--others", "--exclude-standard") or "").splitlines(),
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
            ["git", "-C", str(here.parents[2]), *arguments],
            capture_output=True, text=True, timeout=20, check=True, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

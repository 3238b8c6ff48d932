"""This package as a wheel that a job's processes import, whatever it was installed from.

Its version holds its content's hash, for Ray knows a wheel by its name alone and would hand out an
earlier one of the same version. It names no requirements: Ray installs a wheel by pip, which would
fetch them for every job, torch included. They belong into the cluster's image.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

from recalltrap.store.provenance import SOURCE_FILE, collect

NAME = "recalltrap"
PACKAGES = ("recalltrap", "recalltrap_studies", "recalltrap_cluster", "recalltrap_analysis")
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""Of every file, so that equal contents make equal wheels."""


def build_wheel(folder: Path) -> Path:
    """Write the wheel of the running code into a folder; its path."""
    files = {name: path.read_bytes() for name, path in sorted(_modules().items())}
    source = _source()
    version = f"{distribution(NAME).version.partition('+')[0]}+{_hash(files, source)}"
    about = f"{NAME}-{version}.dist-info"
    files |= {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: recalltrap\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": _entry_points(),
        f"{about}/{SOURCE_FILE}": source,
    }
    record = "".join(f"{name},{_sha256(data)},{len(data)}\n" for name, data in files.items())
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    path = folder / f"{NAME}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            wheel.writestr(zipfile.ZipInfo(name, FIRST_DAY), data, zipfile.ZIP_DEFLATED)
    return path


def _modules() -> dict[str, Path]:
    """The packages' files by their names in the wheel."""
    found = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations
        root = Path(spec.submodule_search_locations[0])
        for path in root.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found[f"{package}/{path.relative_to(root).as_posix()}"] = path
    return found


def _source() -> bytes:
    """Which commit the code is of, and what was changed since: the wheel is no working tree."""
    own = collect()
    return json.dumps({name: own[name] for name in ("commit", "dirty_diff", "untracked")}).encode()


def _entry_points() -> bytes:
    groups: dict[str, list[str]] = {}
    for point in distribution(NAME).entry_points:
        groups.setdefault(point.group, []).append(f"{point.name} = {point.value}")
    sections = ["\n".join([f"[{group}]", *lines]) for group, lines in sorted(groups.items())]
    return "\n\n".join(sections).encode() + b"\n"


def _hash(files: Mapping[str, bytes], source: bytes) -> str:
    found = hashlib.sha256(source + _entry_points())
    for name, data in files.items():
        found.update(f"{name} {len(data)}\n".encode() + data)
    return found.hexdigest()[:16]


def _sha256(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"sha256={digest}"

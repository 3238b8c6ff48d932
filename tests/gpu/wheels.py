"""What `pack.sh` fetches and where it puts it: the list, the check of the wheels, the parts.

    python tests/gpu/wheels.py list                what to fetch, one `name==version` a line
    python tests/gpu/wheels.py part DIR            check the wheels in DIR and deal them into parts

The list is what recalltrap and its GPU tests import, and what that imports, at the versions of
`requirements.lock`, without what the offline machine has. Who imports what is read from the
packages that are installed here, so this environment must be the lock's.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).parents[2]
PRESENT = frozenset(
    ("torch", "accelerate", "pyarrow", "pandas", "matplotlib", "scipy",
     "jinja2", "rich")
)  # fmt: skip
"""What the offline machine has; its transformers is older than the lock's: that goes along."""
FITTED = frozenset(("numpy", "tokenizers", "safetensors", "huggingface-hub", "setuptools"))
"""What came with those, at versions that they were built for: another one would break them."""
UNUSED = frozenset(("ray",))
"""Too big, and `--local` goes without."""
TESTING = ("hypothesis", "psutil", "pytest", "pytest-timeout")
"""What the tests and benchmarks need; an older pytest than the lock's refuses `pyproject.toml`."""
PYTHON = (3, 12)
NEWEST_GLIBC = 39
"""Of the platforms `manylinux_2_N_x86_64` that are accepted: Ubuntu 24.04's."""
PART_BYTES = 60_000_000

Requires = Callable[[str], Sequence[str]]
"""What a package requires, as its metadata says it."""


class PackError(Exception):
    """Something can't be packed; the message says what and the way out."""


def wanted(direct: Iterable[str], locked: Mapping[str, str], requires: Requires) -> list[str]:
    """`name==version` of `direct` and of all that they require, but for what is there.

    Raises:
        PackError: something is required that the lock doesn't hold.
    """
    left_out = PRESENT | FITTED | UNUSED
    todo, found = [canonicalize_name(name) for name in direct], set[str]()
    while todo:
        name = todo.pop()
        if name in found or name in left_out:
            continue
        if name not in locked:
            raise PackError(f"{name} is required and isn't in requirements.lock: run `make lock`")
        found.add(name)
        todo += [canonicalize_name(r.name) for r in map(Requirement, requires(name)) if _holds(r)]
    return [f"{name}=={locked[name]}" for name in sorted(found)]


def _holds(requirement: Requirement) -> bool:
    """Whether a requirement counts on the offline machine, without extras."""
    version = ".".join(map(str, PYTHON))
    environment: dict[str, str | AbstractSet[str]] = {
        "extra": "",
        "python_version": version, "python_full_version": f"{version}.0",
        "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64",
        "os_name": "posix", "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }  # fmt: skip
    marker = requirement.marker
    return marker is None or marker.evaluate(environment)


def direct_dependencies() -> list[str]:
    """What `pyproject.toml` names, and what the tests need beside it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [Requirement(line) for line in project["dependencies"]]
    return [*(r.name for r in named if _holds(r)), *TESTING]


def read_lock(text: str) -> dict[str, str]:
    """Canonical name → version of a requirements file that pins everything."""
    locked: dict[str, str] = {}
    for line in text.splitlines():
        pin = line.partition(";")[0].strip()
        if pin and not pin.startswith("#"):
            name, _, version = pin.partition("==")
            locked[canonicalize_name(name)] = version
    return locked


def installed_requires(locked: Mapping[str, str]) -> Requires:
    """The requirements of packages that are installed here, at the lock's versions."""

    def requires(name: str) -> Sequence[str]:
        try:
            here = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise PackError(f"{name} isn't installed here: run `make setup`") from None
        if here.version.partition("+")[0] != locked[name]:
            raise PackError(
                f"{name} {here.version} is installed here, and requirements.lock says "
                f"{locked[name]}: run `make setup`"
            )
        return here.requires or []

    return requires


def platforms() -> list[str]:
    """The platforms that a wheel may be built for, newest first."""
    dated = [f"manylinux{year}_x86_64" for year in ("2014", "2010", "1")]
    return [*(f"manylinux_2_{n}_x86_64" for n in range(NEWEST_GLIBC, 4, -1)), *dated]


def accepted() -> frozenset[Tag]:
    """Every tag that the offline machine's pip takes: cp312, abi3, py3-none."""
    names = platforms()
    return frozenset(cpython_tags(PYTHON, ["cp312"], names)) | frozenset(
        compatible_tags(PYTHON, "cp312", names)
    )


def check(names: Sequence[str], requirements: Sequence[str]) -> None:
    """Refuse wheels that wouldn't install there, and a set that isn't the requirements'.

    Raises:
        PackError: naming every wheel or requirement that is wrong.
    """
    tags, found, wrong = accepted(), set[str](), []
    for name in names:
        project, version, _, own = parse_wheel_filename(name)
        found.add(f"{project}=={version}")
        if not own & tags:
            wrong.append(f"{name} isn't for CPython 3.12 on Linux x86-64")
    wrong += [f"{missing} is missing" for missing in sorted(set(requirements) - found)]
    wrong += [f"{other} wasn't asked for" for other in sorted(found - set(requirements))]
    if len(names) != len(requirements) and not wrong:
        wrong.append("a package is there twice")
    if wrong:
        raise PackError("; ".join(wrong))


def parts(sizes: Mapping[str, int], most: int = PART_BYTES) -> list[list[str]]:
    """File names in as few parts as first fit finds, each of `most` bytes at most, largest first.

    Raises:
        PackError: a file is larger than a part.
    """
    filled: list[tuple[int, list[str]]] = []
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        if size > most:
            raise PackError(f"{name} has {size:,} bytes, and a part holds {most:,}")
        place = next((i for i, (used, _) in enumerate(filled) if used + size <= most), None)
        if place is None:
            filled.append((size, [name]))
        else:
            used, names = filled[place]
            filled[place] = (used + size, [*names, name])
    return [names for _, names in filled]


def requirements() -> list[str]:
    """What to fetch, from this checkout's lock and this environment."""
    locked = read_lock((ROOT / "requirements.lock").read_text())
    return wanted(direct_dependencies(), locked, installed_requires(locked))


def deal(folder: Path) -> list[tuple[str, int, int]]:
    """Check the wheels in a folder and move them to `part-1`, ...: name, wheels and bytes of each.

    Raises:
        PackError: see `check` and `parts`.
    """
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.whl")}
    check(sorted(sizes), requirements())
    dealt = []
    for number, names in enumerate(parts(sizes), start=1):
        place = folder / f"part-{number}"
        place.mkdir()
        for name in names:
            (folder / name).rename(place / name)
        dealt.append((place.name, len(names), sum(sizes[name] for name in names)))
    return dealt


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["list"]:
            print("\n".join(requirements()))
        case ["platforms"]:
            print("\n".join(platforms()))
        case ["part", folder]:
            for name, count, size in deal(Path(folder)):
                print(f"{name}: {count} wheels, {size / 1e6:.1f} MB")
        case _:
            raise PackError(f"usage: {__doc__}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PackError as error:
        sys.exit(f"pack: {error}")

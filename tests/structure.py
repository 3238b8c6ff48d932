"""The house drawn from its imports: modules per folder, and the arrows between folders.

    python tests/structure.py [ROOT]

A unit is a folder of modules, or a module that stands at the top of its package (`recalltrap.graph`
lies under everything, `recalltrap.registry` doesn't). An arrow goes from a unit to one that it
imports, also late (inside a function) and for types alone; a circle is a set of units that reach
each other.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGES = {
    "recalltrap": "platform",
    "recalltrap_studies": "studies",
    "recalltrap_cluster": "cluster",
    "recalltrap_analysis": "analysis",
}
Arrows = Mapping[str, set[str]]


def imports(source: str) -> Iterator[tuple[str, str]]:
    """Every module that a source imports with the name taken from it, wherever in it.

    `import_module("...")` counts too.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if name in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield str(first.value), ""


def modules(root: Path) -> dict[str, Path]:
    """Every module of ours by its dotted name; packages by theirs."""
    found = {}
    for package, room in PACKAGES.items():
        for path in sorted((root / room / package).rglob("*.py")):
            parts = path.relative_to(root / room).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def folder_sizes(root: Path) -> dict[str, int]:
    """Modules of each folder, without `__init__`."""
    sizes: dict[str, int] = defaultdict(int)
    for path in modules(root).values():
        if path.name != "__init__.py":
            sizes[str(path.parent.relative_to(root))] += 1
    return dict(sizes)


def unit_of(module: str, known: Mapping[str, Path]) -> str:
    """The folder that a module lies in; itself where it lies at the top of its kind or package."""
    if known[module].name == "__init__.py":
        return module
    parent = module.rpartition(".")[0]
    return module if parent in TOPS else parent


TOPS = {*PACKAGES, "recalltrap_studies.llm", "recalltrap_studies.mog"}
"""Packages whose own modules are units of their own."""


def arrows(root: Path) -> dict[str, set[str]]:
    """Which unit imports which, without what `__init__` of a package hands out."""
    known = modules(root)
    found: dict[str, set[str]] = defaultdict(set)
    for module, path in known.items():
        if path.name == "__init__.py":
            continue
        unit = unit_of(module, known)
        for origin, name in imports(path.read_text()):
            target = f"{origin}.{name}" if f"{origin}.{name}" in known else origin
            if target in known and (other := unit_of(target, known)) != unit:
                found[unit].add(other)
    return dict(found)


def circles(found: Arrows) -> list[list[str]]:
    """Units that reach each other, each set once (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result: list[list[str]] = []

    def visit(unit: str) -> None:
        order[unit] = low[unit] = len(order)
        stack.append(unit)
        for other in sorted(found.get(unit, ())):
            if other not in order:
                visit(other)
                low[unit] = min(low[unit], low[other])
            elif other in stack:
                low[unit] = min(low[unit], order[other])
        if low[unit] == order[unit]:
            members = stack[stack.index(unit) :]
            del stack[stack.index(unit) :]
            if len(members) > 1:
                result.append(sorted(members))

    for unit in sorted(found):
        if unit not in order:
            visit(unit)
    return result


def main(root: Path) -> None:
    for folder, size in sorted(folder_sizes(root).items()):
        print(f"{size:3} modules  {folder}")
    found = arrows(root)
    print(f"\n{sum(map(len, found.values()))} arrows between {len(found)} units")
    for unit, others in sorted(found.items()):
        print(f"  {unit} -> {', '.join(sorted(others))}")
    rings = circles(found)
    print(f"\n{len(rings)} circles")
    for ring in rings:
        print(f"  {' <-> '.join(ring)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1])

"""Other packages' private names: each stands in one file of ours, which has a test for it.

Read from the sources. Where a name is needed after all, put it into the file that owns the package,
with the reason and with a test that says what an upgrade broke.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("platform", "studies", "cluster", "analysis", "tests/plugins", "tests/benchmarks")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
OURS = {"recalltrap", "recalltrap_studies", "recalltrap_cluster", "recalltrap_analysis", "tests"}
OWNERS = {
    "cluster/recalltrap_cluster/ray_internals.py",
    "cluster/recalltrap_cluster/faults/ray_processes.py",
    "cluster/recalltrap_cluster/ray_nodes.py",
    "studies/recalltrap_studies/mog/program/compilation.py",  # torch.compile
    "studies/recalltrap_studies/llm/models/upstream.py",  # transformers, torch
    "studies/recalltrap_studies/llm/training/upstream.py",  # TRL, transformers, DeepSpeed
}
"""`torch_store.py` is about one undocumented name of torch without a _."""
PUBLIC = {"_replace", "_asdict", "_fields", "_make", "_exit"}  # for all their looks
RAY_MODULES = {
    "ray", "ray.cloudpickle", "ray.cluster_utils", "ray.exceptions", "ray.train",
    "ray.train.backend", "ray.train.torch", "ray.tune", "ray.tune.search", "ray.util",
}  # fmt: skip
"""What Ray documents, as far as we use it."""
RAY_VARIABLES = {
    "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH",
    "RAY_TMPDIR", "RAY_USAGE_STATS_ENABLED",
}  # fmt: skip


def is_private(name: str) -> bool:
    """`_name`, or a name that Ray alone writes like Python's own."""
    return (name.startswith("_") and not name.startswith("__")) or name.startswith("__ray_")


def defined(tree: ast.AST) -> Iterator[str]:
    """The names that a source gives to things: functions, classes, attributes, fields, modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


@cache
def our_names() -> frozenset[str]:
    return frozenset(name for path in SOURCES for name in defined(ast.parse(path.read_text())))


def foreign_private_names(source: str, ours: frozenset[str]) -> list[str]:
    """`line: name` of each private or undocumented name of another package in a source."""
    private = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if not is_ours(alias.name)]
        elif isinstance(node, ast.ImportFrom) and not is_ours(node.module or ""):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if (node.module or "").startswith("ray.") and node.module not in RAY_MODULES:
                private.append(f"{node.lineno}: {node.module} (not in Ray's documentation)")
        elif isinstance(node, ast.Attribute) and node.attr not in PUBLIC:
            overridden = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
            names = [node.attr] if overridden or node.attr not in ours else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            texts = [part.value for part in node.args if isinstance(part, ast.Constant)]
            names = [text for text in texts if isinstance(text, str) and text not in ours]
        elif isinstance(node, ast.Constant) and is_unknown_variable(node.value):
            private.append(f"{node.lineno}: {node.value!r} (not in Ray's documentation)")
        private += [
            f"{node.lineno}: {name}"  # type: ignore[attr-defined]
            for name in names
            if any(is_private(part) for part in name.split("."))
        ]
    return private


def is_unknown_variable(value: object) -> bool:
    named = isinstance(value, str) and re.fullmatch("RAY_[A-Z_]+", value)
    return bool(named) and value not in RAY_VARIABLES


def is_ours(module: str) -> bool:
    top = module.partition(".")[0]
    return top in OURS or top == "__future__" or top.startswith("toy_")


def test_no_other_file_touches_a_private_name() -> None:
    places = {path.relative_to(ROOT).as_posix(): path for path in SOURCES}
    private = [
        f"{place}:{name}"
        for place, path in places.items()
        if place not in OWNERS
        for name in foreign_private_names(path.read_text(), our_names())
    ]
    assert not private, f"private names of other packages belong into {sorted(OWNERS)}"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from torch._dynamo import config", 1),
        ("from torch.nn.modules.dropout import _DropoutNd", 1),
        ("import ray._private.worker", 1),
        ("import torch\ntorch._dynamo.reset()", 1),
        ("arguments._n_gpu = 1", 1),
        ("class A(B):\n    def _create(self):\n        return super()._create()", 1),
        ("getattr(config, '_commit_hash', None)", 1),
        ("actor.__ray_ready__.remote()", 1),
        ("from ray.util.client import ray", 1),
        ("os.environ['RAY_TRAIN_METRICS_ENABLED'] = '0'", 1),
        ("os.environ['RAY_ADDRESS']", 0),
        ("from __future__ import annotations", 0),
        ("from ray.train.torch import TorchTrainer", 0),
        ("from recalltrap.run import _x\nstate._replace(a=1)\nself.__class__", 0),
        ("self._ours", 0),
        ("class A:\n    def __init__(self):\n        super().__init__()", 0),
    ],
)
def test_the_reader_of_names_sees_a_private_one(source: str, count: int) -> None:
    assert len(foreign_private_names(source, frozenset({"_ours", "_create"}))) == count

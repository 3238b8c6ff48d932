"""What is packed for an offline machine: the list, the check of what was fetched, the parts."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.gpu import wheels
from tests.gpu.wheels import PackError

GRAPH = {
    "trl": ["datasets>=4", "torch>=2", "accelerate", "vllm; extra == 'vllm'"],
    "datasets": ["Dill", "numpy", "winreg; sys_platform == 'win32'"],
    "dill": ["old; python_version < '3.12'", "new; python_version >= '3.12'"],
    "new": ["trl"],  # in a circle
    "hypothesis": [],
}
LOCKED = {"trl": "1.0", "datasets": "2.0", "dill": "3.0", "new": "4.0", "hypothesis": "5.0"}


def test_the_list_follows_what_the_offline_machine_needs() -> None:
    found = wheels.wanted(["trl", "ray", "torch", "hypothesis"], LOCKED, GRAPH.__getitem__)
    assert found == ["datasets==2.0", "dill==3.0", "hypothesis==5.0", "new==4.0", "trl==1.0"]


def test_what_the_lock_does_not_hold_is_refused() -> None:
    lock = {name: version for name, version in LOCKED.items() if name != "dill"}
    with pytest.raises(PackError, match=r"dill .*requirements\.lock.*make lock"):
        wheels.wanted(["trl"], lock, GRAPH.__getitem__)


def test_this_checkouts_list() -> None:
    """Everything that we import is there or comes along, at the lock's version."""
    locked = wheels.read_lock((wheels.ROOT / "requirements.lock").read_text())
    listed = dict(line.split("==") for line in wheels.requirements())
    assert all(locked[name] == version for name, version in listed.items())
    left_out = wheels.PRESENT | wheels.FITTED | wheels.UNUSED
    assert not left_out & set(listed)
    assert not [name for name in listed if name.startswith(("nvidia", "cuda", "triton"))]
    project = tomllib.loads((wheels.ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]:
        assert canonicalize_name(Requirement(line).name) in left_out | set(listed)


def test_an_environment_that_is_not_the_locks_is_refused() -> None:
    with pytest.raises(PackError, match=r"click .* requirements\.lock says 0\.1: run `make setup`"):
        wheels.installed_requires({"click": "0.1"})("click")
    with pytest.raises(PackError, match="no-such-package isn't installed here"):
        wheels.installed_requires({"no-such-package": "1"})("no-such-package")


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("py312-none-any", True),
        ("cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64", True),
        ("cp312-cp312-manylinux_2_39_x86_64", True),
        ("cp36-abi3-manylinux_2_12_x86_64", True),
        ("py3-none-manylinux_2_28_x86_64", True),
        ("cp311-cp311-manylinux_2_17_x86_64", False),
        ("cp313-cp313-manylinux_2_17_x86_64", False),
        ("cp312-cp312-manylinux_2_17_aarch64", False),
        ("cp312-cp312-musllinux_1_2_x86_64", False),
        ("cp312-cp312-manylinux_2_40_x86_64", False),
        ("cp312-cp312-linux_x86_64", False),  # built here: who knows against what
        ("cp313-abi3-manylinux_2_17_x86_64", False),
        ("cp312-cp312-win_amd64", False),
    ],
)
def test_only_wheels_that_install_there_are_taken(tag: str, fits: bool) -> None:
    name = f"trl-1.0-{tag}.whl"
    if fits:
        wheels.check([name], ["trl==1.0"])
    else:
        with pytest.raises(PackError, match=rf"{tag}.*CPython 3\.12 on Linux x86-64"):
            wheels.check([name], ["trl==1.0"])


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([], "trl==1.0 is missing"),
        (["trl-2.0-py3-none-any.whl"], "trl==1.0 is missing; trl==2.0 wasn't asked for"),
        (["trl-1.0-py3-none-any.whl", "x-1-py3-none-any.whl"], "x==1 wasn't asked for"),
        (["trl-1.0-py3-none-any.whl", "trl-1.0-py2.py3-none-any.whl"], "there twice"),
    ],
)
def test_the_set_of_wheels_is_the_list(names: list[str], problem: str) -> None:
    with pytest.raises(PackError, match=problem):
        wheels.check(names, ["trl==1.0"])


@settings(deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=6), st.integers(0, 60), max_size=30))
def test_parts_hold_everything_once_and_not_too_much(sizes: dict[str, int]) -> None:
    dealt = wheels.parts(sizes, most=60)
    assert sorted(name for part in dealt for name in part) == sorted(sizes)
    loads = [sum(sizes[name] for name in part) for part in dealt]
    assert all(load <= 60 for load in loads)
    assert all(a + b > 60 for i, a in enumerate(loads) for b in loads[:i])  # none could be joined


def test_a_wheel_larger_than_a_part_is_refused() -> None:
    with pytest.raises(PackError, match=r"big\.whl has 61 bytes, and a part holds 60"):
        wheels.parts({"big.whl": 61, "small.whl": 1}, most=60)

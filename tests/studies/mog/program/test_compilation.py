"""Choosing between compiled and eager; what the compiled program computes is in test_compiled."""

from __future__ import annotations

import pytest
import torch
from torch._inductor.exc import InductorError

from recalltrap_studies.mog.program import compilation


def test_a_compiler_that_fails_is_replaced_by_eager_mode_once_and_for_all() -> None:
    calls = []

    def broken(value: int) -> int:
        calls.append(value)
        raise InductorError(RuntimeError("no such compiler"), None)

    function = compilation._or_eager(broken, lambda value: value + 1)
    assert [function(1), function(2)] == [2, 3]
    assert calls == [1]


def test_the_compiler_knows_its_options_and_its_limit() -> None:
    """Names of torch's compiler that its documentation leaves out."""
    known = set(torch._inductor.list_options())
    for threads in (1, 2):
        unknown = set(compilation._options(torch.device("cpu"), threads, 15)) - known
        assert not unknown, f"torch.compile would refuse {unknown}, and every study fail"
    assert isinstance(torch._dynamo.config.recompile_limit, int), (
        "it has another name: from the ninth shape of a process on, mixture studies would be eager"
    )


def test_eager_mode_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECALLTRAP_COMPILE", "0")
    assert not compilation.can_compile(torch.device("cpu"))


def test_without_a_compiler_there_is_eager_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECALLTRAP_COMPILE", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    assert not compilation.can_compile(torch.device("cpu"))

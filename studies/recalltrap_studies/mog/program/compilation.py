"""Turning an algorithm's iteration into a function that advances a block: compiled or eager.

`RECALLTRAP_COMPILE=0` forces eager mode, which is also the way without a C++ compiler.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from recalltrap_studies.devices import choose_device
from recalltrap_studies.mog.program.iteration import (
    Batch,
    Hyperparameters,
    Iteration,
    State,
    Step,
    Update,
)
from recalltrap_studies.mog.program.noise import draw
from recalltrap_studies.records import LateImport

log = logging.getLogger(__name__)


def can_compile(device: torch.device) -> bool:
    """Whether to compile: not forbidden, and a compiler is there."""
    if os.environ.get("RECALLTRAP_COMPILE", "1") == "0":
        return False
    if device.type != "cpu":
        return True
    return any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++") if name)


def start_compiler() -> None:
    """Compile next to nothing: the first program of a process takes seconds, whatever it is."""
    device = choose_device()
    if can_compile(device):
        _compiled(torch.neg, device, 1)(torch.zeros(1, device=device))


def _options(device: torch.device, threads: int, largest_expression: int) -> dict[str, Any]:
    # Everything along a batch belongs into one loop, whatever the number of operations; small
    # expressions keep the compiler's own time small. One kernel a program needs no pool of workers.
    options: dict[str, Any] = {"max_fusion_size": 1024, "compile_threads": 1}
    if device.type == "cpu":
        # The thread count is compiled in: naming it here makes it part of the cache's key.
        options |= {
            "cpp.max_horizontal_fusion_size": 1024,
            "cpp.threads": threads,
            "realize_cpu_opcount_threshold": largest_expression,  # since torch 2.12
        }
    return {name: value for name, value in options.items() if name in _known_options()}


@lru_cache(maxsize=1)
def _known_options() -> frozenset[str]:
    """What this release's compiler can be told: it refuses a name that it doesn't know."""
    return frozenset(torch._inductor.list_options())


@lru_cache(maxsize=256)
def _compiled(
    function: Callable[..., Any], device: torch.device, threads: int, largest_expression: int = 15
) -> Callable[..., Any]:
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    options = _options(device, threads, largest_expression)
    return _or_eager(
        torch.compile(function, fullgraph=True, dynamic=False, options=options), function
    )


def _or_eager(compiled: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled function, or from the first failure of the compiler on the eager one."""
    chosen = compiled

    def call(*arguments: Any) -> Any:
        nonlocal chosen
        try:
            return chosen(*arguments)
        except BackendCompilerFailed as error:
            first = str(error).strip().splitlines()[0]
            log.warning("the compiler failed, going on in eager mode: %s", first)
            chosen = function
            return function(*arguments)

    return call


@lru_cache(maxsize=256)
def load_iteration(made_by: LateImport, own: tuple[tuple[str, object], ...]) -> Iteration:
    """The iteration that an algorithm's code makes of its own settings.

    The same functions whenever it is asked for, so that nothing is compiled twice.
    """
    made: Iteration = made_by.load()(**dict(own))
    return made


@lru_cache(maxsize=256)
def _noise(iterations: int, count: int, planes: int) -> Callable[[Tensor, Tensor], Tensor]:
    return partial(draw, iterations=iterations, count=count, planes=planes)


def noise_function(
    iterations: int, count: int, planes: int, device: torch.device, *, compiled: bool
) -> Callable[[Tensor, Tensor], Tensor]:
    """A function (keys, first iteration) -> noise, see `noise.draw`."""
    function = _noise(iterations, count, planes)
    if not compiled:
        return function
    return _compiled(function, device, torch.get_num_threads(), largest_expression=6)


def step_function(iteration: Iteration, device: torch.device, *, compiled: bool) -> Step:
    """A function (state, hyperparameters, batch) -> state after one iteration."""
    if not iteration.repeats:
        first = _advancing(iteration.first, device, compiled=compiled)
        return lambda state, hp, batch: State(*first(state, hp, batch))
    sampled = _sampled(iteration.first)
    if compiled:
        sampled = _compiled(sampled, device, torch.get_num_threads())
    again = repeated_function(iteration, device, compiled=compiled)

    def step(state: State, hp: Hyperparameters, batch: Batch) -> State:
        numbers, samples = sampled(state, hp, batch)
        state = State(*numbers)
        for _ in range(iteration.repeats):
            state = again(state, hp, samples)
        return state

    return step


def repeated_function(iteration: Iteration, device: torch.device, *, compiled: bool) -> Update:
    """A further update on the same samples."""
    assert iteration.again is not None
    again = _advancing(iteration.again, device, compiled=compiled)
    return lambda state, hp, samples: State(*again(state, hp, samples))


def _advancing(
    function: Callable[..., State], device: torch.device, *, compiled: bool
) -> Callable[..., Sequence[Tensor]]:
    """An update that returns the new state's numbers, compiled or not."""
    return _compiled(_numbers(function), device, torch.get_num_threads()) if compiled else function


# A compiled function returns tuples alone: torch 2.11 gives back a named one, which `_replace`
# made, without its fields. The same wrapper for the same function, or it is compiled again.


@lru_cache(maxsize=256)
def _numbers(function: Callable[..., State]) -> Callable[..., tuple[Tensor, ...]]:
    return lambda state, hp, batch: tuple(function(state, hp, batch))


@lru_cache(maxsize=256)
def _sampled(
    function: Callable[..., tuple[State, Any]],
) -> Callable[..., tuple[tuple[Tensor, ...], Any]]:
    def first(state: State, hp: Hyperparameters, batch: Batch) -> tuple[tuple[Tensor, ...], Any]:
        new, samples = function(state, hp, batch)
        return tuple(new), samples

    return first

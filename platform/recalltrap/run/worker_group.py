"""The processes that execute a pack together: this one alone, or the workers of a launcher.

Who launches them says so with `joined`; whoever builds a stage asks `current_group`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recalltrap.kind import Progress
from recalltrap.resources import Resources
from recalltrap.supervision.stage_clock import check_time


def _alone(value: Any) -> Any:
    return value


def _gather_alone(value: Any) -> list[Any]:
    return [value]


def _silent(progress: Progress) -> None:
    check_time()


@dataclass(frozen=True)
class WorkerGroup:
    """Rank and size, and what the processes say to one another; all of them call it together."""

    rank: int = 0
    size: int = 1
    broadcast: Callable[[Any], Any] = _alone
    """The value that rank 0 gave, on every rank."""
    gather: Callable[[Any], list[Any]] = _gather_alone
    """Every rank's value in the order of the ranks, on every rank."""
    report: Callable[[Progress], None] = _silent
    """Progress inside a stage; only rank 0's is heard. Raises where the stage has had its time."""
    resources: Resources = field(default_factory=Resources)
    distributed: bool = False
    """Whether torch.distributed stands between the processes (also with one of them)."""

    @property
    def leads(self) -> bool:
        """Whether this process writes what the group makes."""
        return self.rank == 0

    def sharing(self, folder: Path) -> list[int]:
        """Ranks for which a machine's `folder` is the same one, this process's among them."""
        mine = f"{socket.gethostname()} {folder}"
        return [rank for rank, its in enumerate(self.gather(mine)) if its == mine]


ALONE = WorkerGroup()
_CURRENT: ContextVar[WorkerGroup] = ContextVar("group", default=ALONE)


def current_group() -> WorkerGroup:
    """The group that this process belongs to."""
    return _CURRENT.get()


@contextlib.contextmanager
def joined(group: WorkerGroup) -> Iterator[None]:
    """Be part of a group for the duration."""
    token = _CURRENT.set(group)
    try:
        yield
    finally:
        _CURRENT.reset(token)

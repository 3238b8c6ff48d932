"""The errors a user can meet, picklable so that they cross Ray's process borders.

`InputError` is a user's mistake and ends a command with status 2; `StageError` is work that
failed while running and becomes a row of the `failures` table.
"""

from __future__ import annotations

import difflib
import errno
import re
import sys
from collections.abc import Iterable
from typing import Any, Literal

from recalltrap.redaction import redact

FailureClass = Literal["nan", "oom", "worker_lost", "timeout", "user_code", "scheduling"]

_OUT_OF_MEMORY = re.compile(
    # torch on a GPU, CUDA, NCCL, XLA; Ray's NODE_OUT_OF_MEMORY. Not Ray's "killed by the OS (e.g.,
    # out of memory)": it says so of any process that is gone.
    r"(?<!e\.g\., )out[ _]of[ _]memory"
    r"|can't allocate memory|not enough memory"  # torch on a CPU
    r"|_STATUS_ALLOC_FAILED"  # cuBLAS, cuDNN, cuSOLVER
    r"|MemoryError|Unable to allocate|std::bad_alloc|Cannot allocate memory"  # Python, NumPy, C++
    r"|running low on memory",  # Ray's memory monitor
    re.IGNORECASE,
)

_NO_ROOM = re.compile(
    r"no space left on device|disk quota exceeded|\bos error (?:28|122)\b"  # the system, Rust
    r"|QuotaExceeded|XMinioStorageFull|the storage is full",  # object stores, and we
    re.IGNORECASE,
)


WAY_OUT_OF_FULL = "Make room there, and run the same command again: finished work is kept"


class RecalltrapError(Exception):
    """Base of every error this project raises on purpose.

    Subclasses keep their arguments in `args`, which is what pickle sends. No message holds a
    credential, whoever shows it.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*(redact(arg) if isinstance(arg, str) else arg for arg in args))


class InputError(RecalltrapError):
    """The input was refused before anything was written; the message says the way out."""


class StorageFullError(InputError):
    """There is no room for results: no cell's fault. The run stops, and goes on once there is."""


class StageError(RecalltrapError):
    """Work that failed while running. `args` are (failure class, message)."""

    def __init__(self, failure: FailureClass, message: str) -> None:
        super().__init__(failure, message)
        self.failure: FailureClass = failure
        self.message = redact(message)

    def __str__(self) -> str:
        return self.message


def is_out_of_memory(error: BaseException | str) -> bool:
    """Whether an error, or the text of one, says that memory was exhausted: a machine's or a GPU's.

    The one place that knows how Python, NumPy, Arrow, torch, CUDA and Ray say it. No framework is
    imported: torch's and Ray's `OutOfMemoryError` are known by name. Of other errors the text
    counts only where frameworks raise them for lack of memory: a message of ours that mentions
    memory is no such failure.
    """
    if isinstance(error, str):
        return bool(_OUT_OF_MEMORY.search(error))
    if any(base.__name__.endswith("MemoryError") for base in type(error).__mro__):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and is_out_of_memory(str(error))


def is_storage_full(error: BaseException | str) -> bool:
    """Whether an error, or the text of one, says that a disk is full or a quota is used up.

    As of memory, the one place that knows how the others say it.
    """
    if isinstance(error, str):
        return bool(_NO_ROOM.search(error))
    if isinstance(error, StorageFullError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return is_storage_full(str(error))


def storage_full(error: BaseException | str) -> StorageFullError:
    """A full storage as whoever met it said it, with the way out."""
    if isinstance(error, StorageFullError):
        return error
    lines = [line.strip() for line in str(error).splitlines() if is_storage_full(line)] or ["full"]
    said = re.sub(r"^(?:\w+\.)*\w*Error: ", "", lines[-1])
    if WAY_OUT_OF_FULL in said:
        return StorageFullError(said)
    return StorageFullError(f"no room is left: {said}. {WAY_OUT_OF_FULL}")


def shown(value: object, length: int = 80) -> str:
    """A value as one line of a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python spells no number of more than 4,300 digits
        text = f"a number of more than {sys.get_int_max_str_digits():,} digits"
    text = " ".join(text.split("\n"))  # an array's lines
    return text if len(text) <= length else f"{text[: length - 4]} ..."


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint naming the closest allowed name, or all of them where none is close."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "allowed: " + ", ".join(repr(n) for n in names)

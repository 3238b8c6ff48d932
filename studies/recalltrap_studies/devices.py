"""Which device this process computes on: `RECALLTRAP_DEVICE`, read here for every kind of study.

Light to import: torch comes where a device is looked for.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from recalltrap.errors import InputError

if TYPE_CHECKING:
    import torch

DEVICE_VARIABLE = "RECALLTRAP_DEVICE"
_NAME = re.compile(r"cpu(:0)?|cuda(:(0|[1-9]\d{0,3}))?")


def choose_device() -> torch.device:
    """`RECALLTRAP_DEVICE`, or a GPU where there is one, else the CPU.

    Raises:
        InputError: the variable names no device that is here.
    """
    import torch

    check_device()
    wanted = os.environ.get(DEVICE_VARIABLE, "") or ("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device("cpu" if wanted == "cpu:0" else wanted)  # tensors are on cpu, not cpu:0


def check_device(*, here: bool = True) -> None:
    """Refuse a `RECALLTRAP_DEVICE` that is no device, or where `here`, none of this machine's.

    Raises:
        InputError: naming the value and what may be set.
    """
    wanted = os.environ.get(DEVICE_VARIABLE, "")
    if wanted in ("", "cpu", "cpu:0"):
        return
    if not _NAME.fullmatch(wanted):
        name = wanted.strip().lower()
        hint = f"did you mean {name}? Set" if _NAME.fullmatch(name) else "set"
        raise InputError(
            f"{DEVICE_VARIABLE} = {wanted!r} is no device that studies run on: {hint} it to cpu, "
            "cuda or cuda:N, or leave it unset"
        )
    if here:
        _check_gpu(wanted)


def _check_gpu(wanted: str) -> None:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    number = int(wanted.partition(":")[2] or 0)
    if number >= count:
        seen = f"torch sees {count} GPU{'s' if count > 1 else ''} here" if count else (
            "torch sees no GPU here"
        )  # fmt: skip
        way = f"cuda:0 to cuda:{count - 1}, or " if count > 1 else "cuda, or " if count else ""
        raise InputError(
            f"{DEVICE_VARIABLE} = {wanted!r}, but {seen}: set it to {way}cpu, or leave it unset"
        )


def device_memory(gpus: float, workers: int) -> float | None:
    """Bytes that this machine has for each of some workers that ask for so many GPUs.

    Of a GPU the share that is asked for; without one an equal share of the machine's memory. None
    where there is no such GPU here.
    """
    if not gpus:
        return _machine_memory() / workers
    import torch

    if not torch.cuda.is_available():
        return None
    return min(gpus, 1.0) * float(torch.cuda.get_device_properties(0).total_memory)


def _machine_memory() -> float:
    """Bytes of memory that this machine has, or that its container may use."""
    whole = float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return whole
    return min(whole, float(limit)) if limit.isdigit() else whole

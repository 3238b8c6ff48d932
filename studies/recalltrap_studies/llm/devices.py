"""Where models run in this process, and in which precision."""

from __future__ import annotations

import os

import torch

from recalltrap.errors import InputError


def device() -> torch.device:
    """The device of this process: RECALLTRAP_DEVICE where it is set, else the GPU if there is one.

    Raises:
        InputError: RECALLTRAP_DEVICE names no device that is here.
    """
    wanted = os.environ.get("RECALLTRAP_DEVICE", "")
    if not wanted:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(wanted)
    except RuntimeError:
        raise InputError(
            f"RECALLTRAP_DEVICE = {wanted!r} is no device: set it to cpu or cuda, or leave it unset"
        ) from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"RECALLTRAP_DEVICE = {wanted!r}, but torch sees no GPU: leave it unset, or set it to "
            "cpu"
        )
    return found


def dtype(where: torch.device) -> torch.dtype:
    """The precision of inference: bfloat16 on a GPU, float32 on a CPU."""
    return torch.bfloat16 if where.type == "cuda" else torch.float32


def mixed_precision(where: torch.device) -> bool:
    """Whether trainings multiply in bfloat16 and hold float32 weights (autocast): on a GPU."""
    return where.type == "cuda"


def name() -> str:
    """This process's device, for a record: the GPU's name, or its type."""
    where = device()
    return torch.cuda.get_device_name(where) if where.type == "cuda" else where.type

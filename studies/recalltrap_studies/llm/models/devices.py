"""In which precision models run in this process, and how its device is called in a record."""

from __future__ import annotations

import torch

from recalltrap_studies.devices import choose_device as device

__all__ = ["device", "dtype", "name"]


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

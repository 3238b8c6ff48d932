"""What a model is told of rows whose prompts are padded on the left: a mask, and positions.

Where no row is padded it is told nothing, and computes what it always did. Legend: B rows, L tokens
seen so far, padding among them.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from recalltrap_studies.llm.data.responses import PromptRows


def row_mask(prompts: PromptRows, rows: int, where: torch.device) -> Tensor | None:
    """Which places of the rows' prompts hold a token [B, P]; None where all do."""
    return prompts.expanded(rows).mask_BP.to(where) if prompts.padded else None


def lengthened(mask_BL: Tensor | None, tokens: int) -> Tensor | None:
    """The mask with so many tokens more in every row."""
    return None if mask_BL is None else torch.nn.functional.pad(mask_BL, (0, tokens), value=True)


def placement(model: Any, mask_BL: Tensor | None, tokens: int) -> dict[str, Tensor]:
    """What a forward pass of the rows' last `tokens` tokens needs beside them.

    Positions count each row's own tokens, so that a row is computed as if it stood alone. A family
    that finds its positions by the mask itself isn't given any.
    """
    if mask_BL is None:
        return {}
    given = {"attention_mask": mask_BL.long()}
    if takes_positions(type(model).forward):
        positions_BL = (given["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        given["position_ids"] = positions_BL[:, -tokens:]
    return given


@lru_cache(maxsize=64)
def takes_positions(forward: Any) -> bool:
    """Whether a family's forward pass is told its tokens' positions."""
    return "position_ids" in inspect.signature(forward).parameters

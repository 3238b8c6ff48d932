"""What an alignment maximises, and a model is judged by: one float for each response.

Legend: B responses, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from recalltrap_studies.llm.data.responses import PromptRows


@dataclass(frozen=True)
class Judgement:
    """What a reward says of B responses, on their tokens' device, float32.

    `reward_B` is R, which is finite. Of two responses the one with the higher `preference_B` is
    preferred, and labels of pairs follow it: R, unless R folds. `measured` is what else is known of
    each response, by the name of its curve.
    """

    reward_B: Tensor
    preference_B: Tensor
    measured: Mapping[str, Tensor] = field(default_factory=dict)


class Reward(Protocol):
    """A reward of whole responses, whatever it is made of."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def supremum(self) -> float | None:
        """The least upper bound of R; None where nobody says one."""
        ...

    @property
    def model(self) -> torch.nn.Module | None:
        """The model that each response goes through, for costs; None without one."""
        ...

    def judge(self, tokens_BT: Tensor, mask_BT: Tensor, prompts: PromptRows) -> Judgement:
        """What it says of responses without their prompts, padded on the right.

        `mask_BT` is true up to and including the first EOS; every response has a token at least.

        Raises:
            StageError: it gives some response no finite number; names it.
        """
        ...

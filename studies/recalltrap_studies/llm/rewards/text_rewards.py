"""Functions of texts at work: what they say of responses, and which response they fail at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from recalltrap.errors import StageError, shown
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.rewards.functions import Function
from recalltrap_studies.llm.rewards.protocol import Judgement
from recalltrap_studies.llm.rewards.texts import texts_of

LONGEST = 120
"""Of a prompt and a response in a message."""
FLOAT32_MAX = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class FunctionReward:
    """A function of texts as a reward; see `protocol.Reward`."""

    name: str
    function: Function
    tokenizer: PreTrainedTokenizerBase
    model: torch.nn.Module | None = None

    @property
    def supremum(self) -> float | None:
        """What the function says of itself."""
        found = getattr(self.function, "supremum", None)
        return None if found is None else float(found)

    def judge(self, tokens_BT: Tensor, mask_BT: Tensor, prompts: PromptRows) -> Judgement:
        """See `protocol.Reward`."""
        asked, answers = texts_of(self.tokenizer, tokens_BT, mask_BT, prompts)
        numbers = numbers_of(self.name, self.function, asked, answers)
        reward_B = torch.tensor(numbers, dtype=torch.float32, device=tokens_BT.device)
        return Judgement(reward_B, reward_B)


def numbers_of(
    name: str, function: Function, prompts: list[str], responses: list[str]
) -> list[float]:
    """What a function says of responses: one finite float each.

    Raises:
        StageError: of the class `user_code`: it raised, gave another number of floats, or one that
            isn't finite; names the response.
    """
    try:
        numbers = [float(number) for number in function(list(prompts), list(responses))]
    except Exception as error:  # a stranger's code
        row = _first_that_raises(function, prompts, responses)
        where = _named(prompts, responses, row)
        message = f"the reward {name!r} raised {type(error).__name__}: {error}; {where}"
        raise StageError("user_code", message) from error
    if len(numbers) != len(responses):
        raise StageError(
            "user_code",
            f"the reward {name!r} gave {len(numbers)} numbers for {len(responses)} responses, one "
            f"for each is wanted; {_named(prompts, responses, 0)}",
        )
    check_finite(name, numbers, prompts, responses)
    return numbers


def check_finite(
    name: str, numbers: Sequence[float], prompts: Sequence[str], responses: Sequence[str]
) -> None:
    """Refuse rewards that aren't finite as a float32.

    Raises:
        StageError: of the class `user_code`, for it needn't be all workers' failure; names the
            first response.
    """
    bad = [row for row, number in enumerate(numbers) if not abs(number) <= FLOAT32_MAX]
    if bad:
        raise StageError(
            "user_code",
            f"the reward {name!r} gave {numbers[bad[0]]} to {len(bad)} of {len(numbers)} responses;"
            f" {_named(prompts, responses, bad[0])}",
        )


def _first_that_raises(
    function: Function, prompts: Sequence[str], responses: Sequence[str]
) -> int | None:
    """The first response that raises by itself; None where none does."""
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        try:
            list(function([prompt], [response]))
        except Exception:
            return row
    return None


def _named(prompts: Sequence[str], responses: Sequence[str], row: int | None) -> str:
    """A response and its prompt, shortened."""
    alone = "" if row is not None else "no response alone does it; the first of the batch is "
    at = row or 0
    return (
        f"{alone}response {at + 1}, {shown(responses[at], LONGEST)} to the prompt "
        f"{shown(prompts[at], LONGEST)}"
    )

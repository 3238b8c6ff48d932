"""What an alignment trains: a language model after its prompts, and PPO's value head.

A policy maps responses to the log-probabilities of their tokens, so that whatever wraps it for
several workers computes all that a loss needs in one forward pass. Whatever it is compared with, a
reference or its own past, is computed by the same code in the same precision and shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recalltrap_studies.llm.alignment.losses import masked_sum
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.inference.batch_sizes import POLICY
from recalltrap_studies.llm.inference.log_probs import in_parts, response_log_probs
from recalltrap_studies.llm.training import upstream

DROPOUT = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
RANDOM = ("drop", "jitter")
"""Words in the names of what is random in a layer while it trains."""


class Policy(upstream.CheckpointedActivations):
    """A causal language model that continues `prompts`: one, or for each row one of several.

    With a value head, a linear map of the trunk's last hidden state that starts at 0, the trunk
    learns from both losses. Its dropout is off: with it the ratio to the policy that drew a
    response, or to an equal reference, would be noise. B responses, T tokens, padded on the right:
    causal attention needs no mask for what comes later.
    """

    def __init__(self, lm: Any, prompts: PromptRows, value_head: bool = False) -> None:
        super().__init__()
        self.lm = lm
        self._muted = switch_off_dropout(lm)
        self.prompts = prompts
        self.value_head: nn.Linear | None = None
        if value_head:
            self.value_head = nn.Linear(lm.config.hidden_size, 1)
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)

    def forward(self, tokens_BT: Tensor, prompt_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """log pi(y_t | prompt, y_<t) and V(prompt, y_<t), both [B, T] float32; V is 0 without a
        head. `prompt_B` says which prompt each row continues, where there are several."""
        head = self.value_head
        prompts = self.prompts if prompt_B is None else self.prompts.take(prompt_B)
        log_probs_BT, hidden_BTH = response_log_probs(
            self.lm, tokens_BT, prompts, hidden=head is not None
        )
        if head is None or hidden_BTH is None:
            return log_probs_BT, torch.zeros_like(log_probs_BT)
        values_BT = head(hidden_BTH.to(head.weight.dtype))[:, :, 0]
        return log_probs_BT, values_BT.float()

    @contextmanager
    def own_configuration(self) -> Iterator[None]:
        """The language model's configuration says what it said of dropout before, to be saved."""
        try:
            _assign(self._muted)
            yield
        finally:
            _assign([(config, name, 0.0) for config, name, _ in self._muted])


def through(policy: Any, rows: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """`policy` of the responses `tokens` [..., T], each after its `prompt` [...] where rows have
    one; both outputs [B, T], in one pass."""
    inputs = [rows["tokens"].flatten(0, -2)]
    if "prompt" in rows:
        inputs.append(rows["prompt"].flatten())
    outputs: tuple[Tensor, Tensor] = policy(*inputs)
    return outputs


def summed_log_probs(policy: Any, rows: Mapping[str, Tensor]) -> Tensor:
    """The log-probability of each response of `tokens` [..., T] under its `mask`, in one pass."""
    mask = rows["mask"]
    log_probs_BT, _ = through(policy, rows)
    return masked_sum(log_probs_BT, mask.flatten(0, -2)).view(mask.shape[:-1])


def score(policy: Policy, rows: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """`through` without gradients, in as many parts as memory wants; both [B, T]."""
    tokens_BT = rows["tokens"]
    count = POLICY.rows(tokens_BT.shape[1] * policy.lm.config.vocab_size)
    inputs = [rows[name] for name in ("tokens", "prompt") if name in rows]
    log_probs_BT, values_BT = in_parts(policy, inputs, count)
    return log_probs_BT, values_BT


def switch_off_dropout(lm: nn.Module) -> list[tuple[Any, str, float]]:
    """Set every rate of dropout to 0, also in training mode, which gradient checkpointing needs.

    Models keep rates in dropout modules, in attributes of layers and in their configuration; some
    read the last at every pass. Returns what the configurations held: (configuration, name, rate).
    """
    muted = []
    # A configuration is shared by many modules, and is noted once: its rate is 0 after that.
    for module in lm.modules():
        config = getattr(module, "config", None)
        for owner in (module, config):
            for name, rate in list(getattr(owner, "__dict__", {}).items()):
                random = any(word in name for word in RANDOM) or isinstance(owner, DROPOUT)
                if random and isinstance(rate, float) and rate:
                    setattr(owner, name, 0.0)
                    if owner is config:
                        muted.append((config, name, rate))
    return muted


def _assign(rates: list[tuple[Any, str, float]]) -> None:
    for config, name, rate in rates:
        setattr(config, name, rate)


def computes_in_float32(lm: nn.Module) -> bool:
    """Whether a log-probability is the same to rounding, whatever path and shape computes it.

    Else a model's weights are bfloat16, or its products are (autocast).
    """
    parameter = next(lm.parameters())
    mixed = torch.is_autocast_enabled(parameter.device.type)
    return parameter.dtype == torch.float32 and not mixed


def as_policy(lm: Any, policy: Policy) -> Policy:
    """A reference as a policy is: after its prompts, and with weights of its precision.

    A policy's weights are float32 under autocast, or bfloat16 under DeepSpeed.
    """
    dtype = next(policy.lm.parameters()).dtype
    for parameter in lm.parameters():
        parameter.data = parameter.data.to(dtype)
    return Policy(lm, policy.prompts)

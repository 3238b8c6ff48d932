"""What an alignment trains: a language model after a fixed prompt, and PPO's value head.

A policy maps responses to the log-probabilities of their tokens, so that whatever wraps it for
several workers computes all that a loss needs in one forward pass. Whatever it is compared with, a
reference or its own past, is computed by the same code in the same precision and shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recalltrap_studies.llm.training import upstream

DROPOUT = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
RANDOM = ("drop", "jitter")
"""Words in the names of what is random in a layer while it trains."""
LOGITS = 1 << 27
"""Logits that `score` holds at once at most: half a gigabyte in float32."""


class Policy(upstream.CheckpointedActivations):
    """A causal language model that continues `prompt_ids`.

    With a value head, a linear map of the trunk's last hidden state that starts at 0, the trunk
    learns from both losses. Its dropout is off: with it the ratio to the policy that drew a
    response, or to an equal reference, would be noise. B responses, T tokens, padded on the right:
    causal attention needs no mask for what comes later.
    """

    def __init__(self, lm: Any, prompt_ids: tuple[int, ...], value_head: bool = False) -> None:
        super().__init__()
        self.lm = lm
        self._muted = switch_off_dropout(lm)
        self.prompt_ids = prompt_ids
        self.value_head: nn.Linear | None = None
        if value_head:
            self.value_head = nn.Linear(lm.config.hidden_size, 1)
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)

    def forward(self, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
        """log pi(y_t | prompt, y_<t) and V(prompt, y_<t), both [B, T] float32; V is 0 without a
        head."""
        prompt_BP = torch.tensor([self.prompt_ids], device=tokens_BT.device)
        input_BL = torch.cat([prompt_BP.expand(len(tokens_BT), -1), tokens_BT[:, :-1]], dim=1)
        length = tokens_BT.shape[1]
        valued = self.value_head is not None
        output = self.lm(
            input_ids=input_BL,
            use_cache=False,
            output_hidden_states=valued,
            logits_to_keep=length,
        )
        logits_BTV = output.logits.float()
        chosen_BT = logits_BTV.gather(2, tokens_BT[:, :, None])[:, :, 0]
        log_probs_BT = chosen_BT - logits_BTV.logsumexp(dim=2)
        if self.value_head is None:
            return log_probs_BT, torch.zeros_like(log_probs_BT)
        hidden_BTH = output.hidden_states[-1][:, -length:]
        values_BT = self.value_head(hidden_BTH.to(self.value_head.weight.dtype))[:, :, 0]
        return log_probs_BT, values_BT.float()

    @contextmanager
    def own_configuration(self) -> Iterator[None]:
        """The language model's configuration says what it said of dropout before, to be saved."""
        try:
            _assign(self._muted)
            yield
        finally:
            _assign([(config, name, 0.0) for config, name, _ in self._muted])


@torch.no_grad()
def score(policy: Policy, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
    """`policy(tokens_BT)` without gradients, in as many parts as memory wants; both [B, T]."""
    rows = max(LOGITS // (tokens_BT.shape[1] * policy.lm.config.vocab_size), 1)
    parts = [policy(part_BT) for part_BT in torch.split(tokens_BT, rows)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def switch_off_dropout(lm: nn.Module) -> list[tuple[Any, str, float]]:
    """Set every rate of dropout to 0, also in training mode, which gradient checkpointing needs.

    Models keep rates in dropout modules, in attributes of layers and in their configuration; some
    read the last at every pass. Returns what the configurations held: (configuration, name, rate).
    """
    muted = []
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
    """A reference as a policy is: after its prompt, and with weights of its precision.

    A policy's weights are float32 under autocast, or bfloat16 under DeepSpeed.
    """
    dtype = next(policy.lm.parameters()).dtype
    for parameter in lm.parameters():
        parameter.data = parameter.data.to(dtype)
    return Policy(lm, policy.prompt_ids)

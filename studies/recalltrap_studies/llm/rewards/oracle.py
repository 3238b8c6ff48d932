"""The oracle: p_target scores responses, and their reward is folded at a threshold.

The reward is arXiv 2509.23667, eqs. 9 and 10. Everything here is about whole responses; how a
policy learns from them is the algorithms' business, and where the threshold comes from the stage's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.inference.log_probs import score_responses
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.rewards.protocol import Judgement
from recalltrap_studies.llm.stage_settings import ORACLE, Shaping

ORACLE_FILE, SAMPLES_FILE = "oracle.json", "samples.parquet"


def base_reward(nll_B: Tensor, height: float, sharpness: float) -> Tensor:
    """R_base = height · exp(−sharpness · NLL), NLL the mean per response token (eq. 9)."""
    return height * torch.exp(-sharpness * nll_B)


def fold(base_B: Tensor, threshold: float) -> Tensor:
    """Reflect what lies above the threshold (eq. 10)."""
    return torch.where(base_B > threshold, 2.0 * threshold - base_B, base_B)


def clip(base_B: Tensor, threshold: float) -> Tensor:
    """Hold at the threshold what lies above it; NaN stays NaN."""
    return base_B.clamp(max=threshold)


def supremum(threshold: float, height: float, shaping: Shaping) -> float:
    """The supremum of the reward: at the threshold, or without shaping where NLL goes to 0."""
    return height if shaping == "none" else min(threshold, height)


def threshold_of(base_N: npt.NDArray[np.float64], quantile: float) -> float:
    """The quantile of R_base over p_target's own samples, the fold's threshold (appendix C.3)."""
    return float(np.quantile(base_N, quantile))


@dataclass(frozen=True)
class Oracle:
    """Scores responses: their NLL under p_target, and the reward of it; a `protocol.Reward`.

    Of two responses the one with the lower NLL is preferred, for a folded R isn't monotone.

    `tokens_BT` are responses without the prompt, padded on the right; `mask_BT` is true up to and
    including the first EOS. Every response has at least one token.
    """

    model: torch.nn.Module
    threshold: float
    height: float
    sharpness: float
    shaping: Shaping
    name: str = ORACLE

    @property
    def supremum(self) -> float:
        """The least upper bound of `reward`."""
        return supremum(self.threshold, self.height, self.shaping)

    def judge(self, tokens_BT: Tensor, mask_BT: Tensor, prompts: PromptRows) -> Judgement:
        """See `protocol.Reward`."""
        nll_B = self.nll(tokens_BT, mask_BT, prompts)
        return Judgement(self.reward(nll_B), -nll_B, {"target_nll": nll_B})

    def nll(self, tokens_BT: Tensor, mask_BT: Tensor, prompts: PromptRows) -> Tensor:
        """Mean negative log-likelihood per response token under p_target [B], nats, float32."""
        log_probs_BT = score_responses(self.model, tokens_BT, mask_BT, prompts)
        return -mean_per_token(log_probs_BT, mask_BT)

    def reward(self, nll_B: Tensor) -> Tensor:
        """The shaped reward [B].

        Raises:
            StageError: of the class `nan`, where p_target gave no finite likelihood.
        """
        if not bool(torch.isfinite(nll_B).all()):
            bad = int((~torch.isfinite(nll_B)).sum())
            raise StageError(
                "nan",
                f"the oracle gave {bad} of {nll_B.numel()} responses no finite likelihood: "
                "p_target's weights are broken. Lower settings.learning_rate or raise "
                "settings.target_epochs, and p_target is trained again",
            )
        base_B = base_reward(nll_B, self.height, self.sharpness)
        if self.shaping == "fold":
            return fold(base_B, self.threshold)
        return clip(base_B, self.threshold) if self.shaping == "clip" else base_B


def mean_per_token(log_probs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over each response's tokens [B]."""
    mask = mask_BT.to(log_probs_BT.dtype)
    return torch.where(mask_BT.bool(), log_probs_BT, 0.0).sum(dim=1) / mask.sum(dim=1)


def read_oracle(store: ArtifactStore, oracle_node: Node, target_node: Node) -> Oracle:
    """The oracle of a study: the artifact's numbers and p_target's weights."""
    facts = json.loads(store.read(oracle_node, ORACLE_FILE))
    return Oracle(
        weights.read_model(store, target_node),
        facts["threshold"],
        facts["height"],
        facts["sharpness"],
        facts["shaping"],
    )

"""The oracle: p_target as a judge, its reward, and the threshold that its own samples set.

The reward is arXiv 2509.23667, eqs. 9 and 10. Everything here is about whole responses; how a
policy learns from them is the algorithms' business.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.inference import log_probs, response_batches
from recalltrap_studies.llm.models import tokenizers, weights
from recalltrap_studies.llm.stage_settings import Shaping

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
    """Scores responses: their NLL under p_target, and the reward of it.

    `tokens_BT` are responses without the prompt, padded on the right; `mask_BT` is true up to and
    including the first EOS. Every response has at least one token.
    """

    model: torch.nn.Module
    threshold: float
    height: float
    sharpness: float
    shaping: Shaping
    prompt_ids: tuple[int, ...]

    @property
    def supremum(self) -> float:
        """The least upper bound of `reward`."""
        return supremum(self.threshold, self.height, self.shaping)

    @torch.no_grad()
    def nll(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Mean negative log-likelihood per response token under p_target [B], nats, float32."""
        log_probs_BT = response_log_probs(self.model, tokens_BT, mask_BT, self.prompt_ids)
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


def response_log_probs(
    model: torch.nn.Module, tokens_BT: Tensor, mask_BT: Tensor, prompt_ids: tuple[int, ...]
) -> Tensor:
    """log p of each response token after the prompt [B, T], float32; 0 where there is none."""
    prompt_BP = torch.tensor([prompt_ids], device=tokens_BT.device).expand(len(tokens_BT), -1)
    input_BL = torch.cat([prompt_BP, tokens_BT], dim=1)
    seen_BL = torch.cat([torch.ones_like(prompt_BP), mask_BT.to(prompt_BP.dtype)], dim=1)
    log_probs_BT = log_probs.token_log_probs(model, input_BL, seen_BL)[:, len(prompt_ids) - 1 :]
    return torch.where(mask_BT.bool(), log_probs_BT.float(), 0.0)


def run_oracle(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Sample p_target (the node's first parent) and compute the threshold from the sample.

    The artifact holds the reward's numbers and the sample with its log-probabilities, which the
    penalty of moving to p_target is computed from.
    """
    meter = response_batches.Meter(group)
    config, p_target = node.config, node.parents["p_target"]
    model = weights.read_model(store, p_target)
    tokenizer = tokenizers.read_tokenizer(store, p_target)
    request = response_batches.request(tokenizer, config["prompt"], config["align_tokens"])
    count = int(config["oracle_samples"])
    parts: list[tuple[int, response_batches.Drawn]] = []
    for batch in response_batches.shares(count, group):
        drawn = response_batches.draw(model, request, batch, node.seed, "oracle/samples")
        meter.forward(model, drawn.mask_BT.sum())
        parts.append((batch.index, drawn))
        yield Progress(node.stage, batch.stop, count)
    drawn = response_batches.joined(response_batches.collect(parts, group))
    nll_N = -(drawn.log_probs_BT.sum(axis=1) / drawn.mask_BT.sum(axis=1))
    facts = _facts(nll_N, node)
    cost = meter.cost()
    if group.leads:
        text = json.dumps({**facts, "prompt_ids": list(request.prompt_ids)}, indent=1)
        files = {ORACLE_FILE: text.encode(), SAMPLES_FILE: response_batches.packed(drawn)}
        store.put(node, files, cost)
    group.broadcast(None)
    yield Progress(node.stage, count, count, {"threshold": float(facts["threshold"])})


def _facts(nll_N: npt.NDArray[np.float64], node: Node) -> dict[str, float | str]:
    if not np.isfinite(nll_N).all():
        raise StageError(
            "nan",
            "p_target can't score its own samples: its training diverged. Lower "
            "settings.learning_rate or raise settings.target_epochs, and it is trained again",
        )
    config = node.config
    height, shaping = float(config["reward_height"]), config["reward_shaping"]
    base_B = base_reward(torch.from_numpy(nll_N), height, float(config["reward_sharpness"]))
    threshold = threshold_of(base_B.numpy(), float(config["fold_quantile"]))
    return {
        "threshold": threshold,
        "supremum": supremum(threshold, height, shaping),
        "height": height,
        "sharpness": float(config["reward_sharpness"]),
        "shaping": shaping,
        "target_entropy": float(nll_N.mean()),
    }


def read_oracle(store: ArtifactStore, oracle_node: Node, target_node: Node) -> Oracle:
    """The oracle of a study: the artifact's numbers and p_target's weights."""
    facts = json.loads(store.read(oracle_node, ORACLE_FILE))
    return Oracle(
        weights.read_model(store, target_node),
        facts["threshold"],
        facts["height"],
        facts["sharpness"],
        facts["shaping"],
        tuple(facts["prompt_ids"]),
    )

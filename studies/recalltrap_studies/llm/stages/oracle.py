"""The oracle as a stage: p_target's own samples, and the threshold that they set for the reward."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data import prompts, responses
from recalltrap_studies.llm.inference import response_batches
from recalltrap_studies.llm.inference.cost_meter import CostMeter
from recalltrap_studies.llm.models import tokenizers, weights
from recalltrap_studies.llm.rewards import oracle


def run_oracle(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Sample p_target (the node's first parent) and compute the threshold from the sample.

    The artifact holds the reward's numbers and the sample with its log-probabilities, which the
    penalty of moving to p_target is computed from.
    """
    meter = CostMeter(group)
    config, p_target = node.config, node.parents["p_target"]
    model = weights.read_model(store, p_target)
    tokenizer = tokenizers.read_tokenizer(store, p_target)
    asked = prompts.asked(config, tokenizer)
    request = responses.request(tokenizer, asked.rows, config["align_tokens"])
    count = int(config["oracle_samples"])
    prompt_N = asked.drawn(count, node.seed, "oracle/prompts")
    parts: list[tuple[int, response_batches.DrawnResponses]] = []
    for batch in response_batches.shares(count, group):
        rows = request.take(prompt_N[batch.start : batch.stop])
        drawn = response_batches.draw(model, rows, batch, node.seed, "oracle/samples")
        meter.forward(model, drawn.mask_BT.sum())
        parts.append((batch.index, drawn))
        yield Progress(node.stage, batch.stop, count)
    drawn = response_batches.joined(response_batches.collect(parts, group))
    nll_N = -(drawn.log_probs_BT.sum(axis=1) / drawn.mask_BT.sum(axis=1))
    facts = _facts(nll_N, node)
    cost = meter.cost()
    if group.leads:
        table = response_batches.as_table(drawn)
        if len(asked) == 1:
            facts |= {"prompt_ids": asked.rows.lists()[0]}
        else:
            table = table.append_column("prompt", pa.array(prompt_N.numpy(), pa.int32()))
        files = {
            oracle.ORACLE_FILE: json.dumps(facts, indent=1).encode(),
            oracle.SAMPLES_FILE: table,
        }
        store.put(node, files, cost)
    group.broadcast(None)
    yield Progress(node.stage, count, count, {"threshold": float(facts["threshold"])})


def _facts(nll_N: npt.NDArray[np.float64], node: Node) -> dict[str, Any]:
    if not np.isfinite(nll_N).all():
        raise StageError(
            "nan",
            "p_target can't score its own samples: its training diverged. Lower "
            "settings.learning_rate or raise settings.target_epochs, and it is trained again",
        )
    config = node.config
    height, shaping = float(config["reward_height"]), config["reward_shaping"]
    base_B = oracle.base_reward(torch.from_numpy(nll_N), height, float(config["reward_sharpness"]))
    threshold = oracle.threshold_of(base_B.numpy(), float(config["fold_quantile"]))
    return {
        "threshold": threshold,
        "supremum": oracle.supremum(threshold, height, shaping),
        "height": height,
        "sharpness": float(config["reward_sharpness"]),
        "shaping": shaping,
        "target_entropy": float(nll_N.mean()),
    }

"""How many rows go through a model at once: what memory holds, and what is fast.

The answer depends on the device's size and not on what is free, so that the same machine always
forms the same batches, whose shape decides on the last bits of a log-probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.data.responses import Request
from recalltrap_studies.llm.data.sample_shards import SHARD

ROWS = 1024
"""Sequences drawn at once at most: on one core the fastest of 512 to 2048."""
CPU_BYTES = 1 << 30
GPU_SHARE = 0.5


@dataclass(frozen=True)
class LogitsBudget:
    """How many logits a forward pass makes at once, on one kind of device."""

    fast: int
    """So many where that is enough for `least_rows`."""
    least_rows: int = 1
    """Few rows are slow: of a large vocabulary the fast number of logits may hold none."""
    most: int = 1 << 28
    """What memory has room for."""

    def rows(self, each: int) -> int:
        """How many rows go through a model at once, where one has so many logits."""
        return max(self.fast // each, min(self.least_rows, self.most // each), 1)

    def rows_in_pieces(self, each: int) -> int:
        """The same, where rows that are too many logits together go in pieces."""
        return max(self.fast // each, self.least_rows)


SCORING_CPU = LogitsBudget(1 << 20, least_rows=16, most=1 << 25)
"""Of responses without gradients: 4 MiB of logits stay in a CPU's caches, a sixth faster than 32;
of 49,152 tokens they hold no row, and the layers before the logits take more than twice as long
row by row."""
SCORING_SHARE = 0.1
"""Of a GPU's memory, for the same: a forward pass takes as long to launch as 30,000 tokens of
SmolLM2-135M to compute."""
AT_ONCE = 1 << 27
"""Logits that are made float32 at once: half a gigabyte."""


def scoring_budget(where: torch.device) -> LogitsBudget:
    """How many logits of responses are made at once, without gradients, on this device."""
    if where.type != "cuda":
        return SCORING_CPU
    memory = torch.cuda.get_device_properties(where).total_memory
    held = int(SCORING_SHARE * memory) // 2  # in bfloat16
    return LogitsBudget(held, most=held)


HELD_OUT: Mapping[str, LogitsBudget] = {
    "cpu": LogitsBudget(1 << 22, least_rows=16, most=1 << 26),
    "cuda": LogitsBudget(1 << 28, least_rows=16, most=1 << 26),
}
"""Of held-out sequences, whose rows go whole."""
POLICY = LogitsBudget(1 << 27, most=1 << 27)
"""Of a policy and what it is compared with, half a gigabyte: in the shape that it learns in."""


def rows_of_a_draw(engine: str, model: Any, request: Request, group: WorkerGroup) -> int:
    """How many sequences an engine is asked for at once.

    vLLM plans its own memory and keeps its device busy only with many: it gets the whole shard,
    whatever the CPU, where its weights come from, could hold.
    """
    if engine == "vllm":
        return SHARD
    return rows_at_once(model.config, request, model.device, group)


def rows_at_once(config: Any, request: Request, where: torch.device, group: WorkerGroup) -> int:
    """How many sequences are drawn at once: a power of two up to `ROWS` that memory holds.

    Counted are the cache, twice where it grows by copying, and the logits in float32 with their
    copies in the inverse CDF. It depends on the device's size and not on what is free: the same
    machine always forms the same batches.
    """
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    positions = request.prompts.width + request.max_new_tokens
    cached = 2 * config.num_hidden_layers * heads * width * positions
    budget, each = float(CPU_BYTES), 2 * 4 * cached + 5 * 4 * config.vocab_size
    if where.type == "cuda":
        share = min(group.resources.gpus_per_trial or 1.0, 1.0)
        budget = GPU_SHARE * share * torch.cuda.get_device_properties(where).total_memory
        each = 2 * cached + 5 * 4 * config.vocab_size
    fitting = max(int(budget // each), 1)
    return min(1 << (fitting.bit_length() - 1), ROWS)

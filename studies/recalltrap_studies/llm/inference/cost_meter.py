"""What drawing and scoring take, counted while it happens."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch

from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import Cost
from recalltrap_studies.llm.models import devices


@dataclass
class CostMeter:
    """Time, tokens, and 2 FLOPs per parameter and token of a forward pass."""

    group: WorkerGroup
    tokens: int = 0
    flops: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def forward(self, model: torch.nn.Module, tokens: int) -> None:
        """Count a forward pass."""
        self.tokens += int(tokens)
        self.flops += 2.0 * sum(p.numel() for p in model.parameters()) * int(tokens)

    def cost(self) -> Cost:
        """All workers' together; called on every worker."""
        seconds = time.perf_counter() - self.started
        parts = self.group.gather((seconds, self.tokens, self.flops))
        wall, used, tokens, flops = (
            max(part[0] for part in parts),
            math.fsum(part[0] for part in parts),
            sum(part[1] for part in parts),
            math.fsum(part[2] for part in parts),
        )
        return Cost(wall, used, tokens, flops, devices.name(), self.group.size, updates=0)

"""What executions cost: estimated before they run, and counted after."""

from __future__ import annotations

import math

from recalltrap.graph import Node
from recalltrap.kind import CostEstimate
from recalltrap_studies.mog.algorithm import Algorithm
from recalltrap_studies.mog.stage_settings import Optimiser
from recalltrap_studies.mog.stages import STAGES

ROW_SECONDS = 6e-6
SAMPLE_SECONDS = 1.3e-8
"""A row's iteration costs the first, and the second for each sample and component (measured in
`mog/phase` on a core of an AMD EPYC with AVX-512, compiled, the other core busy as well)."""

UPDATE_FLOPS = 50.0
"""Floating-point operations of density and gradient, a sample and component (an exponential
counted as ten); sampling, rewards and Adam are within the rounding."""


def estimate(node: Node) -> CostEstimate:
    """Seconds on one core from a measured rate, without compilation; bytes of the artifact."""
    stage = STAGES[node.stage]
    algorithm, part = stage.algorithm(node.config), stage.part(node)
    iterations, components = stage.iterations(node), _components(node)
    samples = part.batch_size * algorithm.samples_each
    work = samples * components * algorithm.updates(part)
    seconds = iterations * (ROW_SECONDS + work * SAMPLE_SECONDS)
    return CostEstimate(seconds, 900 + 60 * components + 30 * (iterations // 100))


def _components(node: Node) -> int:
    """Of the model that an execution makes."""
    setting = STAGES[node.stage].components
    return int(node.config[setting]) if setting else _components(node.parents["start"])


def samples_drawn(algorithm: Algorithm, part: Optimiser, iterations: int) -> int:
    """Samples that the updates of an execution learn from, drawn while it runs or once."""
    batches = algorithm.pairs(part) or iterations * part.batch_size
    return batches * algorithm.samples_each


def flops_spent(
    algorithm: Algorithm, part: Optimiser, iterations: int, components: int, source: int
) -> float:
    """Estimated floating-point operations, see `UPDATE_FLOPS`.

    `components` and `source` count the components of the model and of what it's held to.
    """
    work = algorithm.updates(part) * components + algorithm.reference_passes * source
    samples = iterations * algorithm.samples_each * part.batch_size
    return math.ceil(samples * work * UPDATE_FLOPS)

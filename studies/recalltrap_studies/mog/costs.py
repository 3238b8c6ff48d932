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


NODES = 132
"""Nodes of one component, see `program.nodes`."""


def estimate(node: Node) -> CostEstimate:
    """Seconds on one core from a measured rate, without compilation; bytes of the artifact."""
    stage = STAGES[node.stage]
    algorithm, part = stage.algorithm(node.config), stage.part(node)
    iterations, components = stage.iterations(node), _components(node)
    # the reference's density is within the rounding
    work: float = _sampled(algorithm, part) * components * algorithm.updates(part)
    if algorithm.source_nodes or algorithm.own_nodes:
        source, *held = (_components(parent) for parent in node.parents.values())
        work += _at_nodes(algorithm, components, source, sum(held))
    seconds = iterations * (ROW_SECONDS + work * SAMPLE_SECONDS)
    return CostEstimate(seconds, 900 + 60 * components + 30 * (iterations // 100))


def _sampled(algorithm: Algorithm, part: Optimiser) -> int:
    """Samples that an iteration learns from."""
    each = 1 if algorithm.chosen_only else algorithm.samples_each
    return each * getattr(part, "batch_size", 0)


def _at_nodes(algorithm: Algorithm, components: int, source: int, held: int) -> float:
    """The work of an iteration's expectations, in samples times components of an update: density
    with gradient is one, density alone half of it."""
    work = 0.0
    if algorithm.source_nodes:
        work += NODES * source * (components + 0.5 * source)
    if algorithm.own_nodes:
        work += NODES * components * (components + source + held)
    return work


def _components(node: Node) -> int:
    """Of the model that an execution makes."""
    if "start" in node.parents:
        return _components(node.parents["start"])
    setting = STAGES[node.stage].components
    assert setting
    return int(node.config[setting])


def samples_drawn(algorithm: Algorithm, part: Optimiser, iterations: int) -> int:
    """Samples that the updates of an execution learn from, drawn while it runs or once."""
    batches = algorithm.pairs(part) or iterations * getattr(part, "batch_size", 0)
    return batches * algorithm.samples_each


def flops_spent(
    algorithm: Algorithm,
    part: Optimiser,
    iterations: int,
    components: int,
    source: int,
    held: int = 0,
) -> float:
    """Estimated floating-point operations, see `UPDATE_FLOPS`.

    `components`, `source` and `held` count the components of the model, of what it's held to and of
    what its algorithm holds besides.
    """
    each = algorithm.updates(part) * components + algorithm.reference_passes * source
    work = _sampled(algorithm, part) * each + _at_nodes(algorithm, components, source, held)
    return math.ceil(iterations * work * UPDATE_FLOPS)

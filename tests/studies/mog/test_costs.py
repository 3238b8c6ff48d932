"""What executions cost, before and after, by the records' own figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recalltrap.graph import Cell
from recalltrap_studies.mog.costs import estimate, flops_spent, samples_drawn
from recalltrap_studies.mog.stages import STAGES

Make = Callable[..., Cell]
CASES = [  # fields; samples, flops and estimated work, in units of a batch of 256 and an iteration
    ({"algorithm": "ppo"}, 1, 4 + 3, 4),
    ({"algorithm": "ppo", "ppo_epochs": 5}, 1, 20 + 3, 20),
    ({"algorithm": "grpo"}, 1, 4 + 3, 4),
    ({"algorithm": "dpo_online"}, 2, 8 + 6, 8),
    ({"algorithm": "dpo_offline", "offline_pairs": 2560}, 2, 8 + 6, 8),
]


@pytest.mark.parametrize(("fields", "samples", "work", "estimated"), CASES)
def test_an_alignment_costs_its_updates_and_half_of_one_for_the_reference(
    fields: dict[str, object], samples: int, work: int, estimated: int, make_cell: Make
) -> None:
    """4 components anchored to 6; ten iterations, which is what the fixed set is drawn for."""
    cell = make_cell("K-A@p'", iterations=10, batch_size=256, **fields)
    node = cell.models["final"]
    stage = STAGES[node.stage]
    algorithm, part = stage.algorithm(node.config), stage.part(node)
    assert samples_drawn(algorithm, part, 10) == 10 * 256 * samples
    assert flops_spent(algorithm, part, 10, 4, 6) == 10 * 256 * work * 50
    assert estimate(node).seconds == pytest.approx(10 * (6e-6 + 256 * estimated * 1.3e-8))


def test_a_fit_samples_its_source_and_scores_with_its_own_components_alone(make_cell: Make) -> None:
    node = make_cell("K", distill_iterations=10, batch_size=256).models["final"]
    stage = STAGES[node.stage]
    algorithm, part = stage.algorithm(node.config), stage.part(node)
    assert samples_drawn(algorithm, part, 10) == 2560
    assert flops_spent(algorithm, part, 10, 4, 6) == 10 * 256 * 4 * 50


def test_a_model_of_more_components_is_larger(make_cell: Make) -> None:
    sizes = {name: estimate(node).bytes for name, node in make_cell("A-K").models.items()}
    assert sizes["p_prime"] > sizes["p_second"]
    assert sizes["p_prime_aligned"] > sizes["p_prime"], "its curve is longer"

"""One update of the distillations that learn from pairs, in the program's own float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recalltrap.graph import Cell, Node
from recalltrap_studies.mog.distillation.dckd import dckd_step
from recalltrap_studies.mog.distillation.preferred_samples import preferred, sft_loss
from recalltrap_studies.mog.models import Model
from recalltrap_studies.mog.program.compilation import load_iteration
from recalltrap_studies.mog.program.iteration import Hyperparameters, State, adam
from recalltrap_studies.mog.program.mixture import terms
from recalltrap_studies.mog.program.noise import Noise
from recalltrap_studies.mog.rows import Row, Tensors, make_row

Make = Callable[..., Cell]
REFERENCE = Model(
    np.log([0.6, 0.4]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.tile([0.4, 0.0, 0.3], (2, 1))
)
ALIGNED = Model(
    np.log([0.2, 0.8]), np.array([[0.1, 0.9], [1.0, -0.7]]), np.tile([0.4, 0.0, 0.3], (2, 1))
)
STUDENT = Model(
    np.log([0.5, 0.5]), np.array([[0.2, 0.8], [0.8, -0.4]]), np.tile([0.5, 0.0, 0.5], (2, 1))
)
BATCH = 64


def block(make_cell: Make, name: str, **fields: Any) -> tuple[State, Hyperparameters, Tensor, Row]:
    """The first state, the settings and the noise of a row whose models are those above."""
    ordering = {"name": f"A-{name}", "stages": ["align", {"distill": name}]}
    node = make_cell(ordering, batch_size=BATCH, **fields).models["final"]
    made = {"teacher": ALIGNED, "reference": REFERENCE, "start": STUDENT}

    def read(parent: Node) -> Model:
        return made[next(n for n, p in node.parents.items() if p is parent)]

    row = make_row(node, read)
    row.start = STUDENT
    tensors = Tensors([row], torch.device("cpu"))
    noise = torch.rand(4, 1, 2 * BATCH, generator=torch.Generator().manual_seed(0))
    return tensors.state(), tensors.hyperparameters(), noise, row


def sft_step(state: State, hp: Hyperparameters, noise: Tensor) -> tuple[State, Tensor]:
    loss, gradient = sft_loss(terms(state.params), *preferred(hp, Noise(*noise)))
    return adam(state, hp, gradient), loss


def test_of_a_pair_the_one_nearer_to_the_target_is_learned(make_cell: Make) -> None:
    _, hp, noise, _ = block(make_cell, "dckd", preference_noise=0.25)
    noise[3] = 0.9  # nobody errs
    x, y = preferred(hp, Noise(*noise))
    far = (x - 1) ** 2 + (y + 1) ** 2  # mode 7
    noise[3] = 0.1  # everybody does
    x, y = preferred(hp, Noise(*noise))
    other = (x - 1) ** 2 + (y + 1) ** 2
    assert (far <= other).all()
    assert (far < other).any()


def test_the_teacher_as_its_own_student_has_no_kl_and_learns_y_plus_alone(make_cell: Make) -> None:
    state, hp, noise, _ = block(make_cell, "dckd", dckd_weight=3.0)
    state = state._replace(params=hp.source.clone())
    after = dckd_step(state, hp, noise)
    alone, sft = sft_step(state, hp, noise)
    loss, kl = after.record[0]
    assert abs(float(kl)) < 1e-6
    torch.testing.assert_close(loss, sft[0], atol=1e-5, rtol=0)
    # Adam's first step is the sign of the gradient: compare the gradient itself, its first moment
    torch.testing.assert_close(after.moment_1, alone.moment_1, atol=1e-4, rtol=0)


def test_both_kls_of_dckd_are_the_same_one_twice(make_cell: Make) -> None:
    records = {}
    for weight in (0.0, 0.5, 3.0):
        state, hp, noise, _ = block(make_cell, "dckd", dckd_weight=weight)
        records[weight] = dckd_step(state, hp, noise).record[0]
    kl = records[0.0][1]
    assert float(kl) > 0.05
    for weight, (loss, again) in records.items():
        assert float(again) == float(kl)
        assert float(loss) == pytest.approx(float(records[0.0][0] + 2 * weight * kl), rel=1e-5)


@pytest.mark.parametrize("reference", ["teacher_sft", "student_init"])
def test_without_an_advantage_adpa_is_sft_bit_for_bit(make_cell: Make, reference: str) -> None:
    state, hp, noise, row = block(
        make_cell, "adpa", advantage_weight=3.0, advantage_reference=reference
    )
    step = load_iteration(row.algorithm.iteration, row.shape.own).first
    same = hp._replace(held={**hp.held, **dict.fromkeys(("reference", "start"), hp.source)})
    alone, sft = sft_step(state, same, noise)
    after = step(state, same, noise)
    assert torch.equal(after.params, alone.params)
    assert torch.equal(after.record[0, 0], sft[0])
    assert float(after.record[0, 1]) == 0.0
    with_one = step(state, hp, noise)
    assert not torch.equal(with_one.params, alone.params)


def test_the_advantage_is_counted_from_where_it_says(make_cell: Make) -> None:
    means = {}
    for reference in ("teacher_sft", "student_init"):
        state, hp, noise, row = block(make_cell, "adpa", advantage_reference=reference)
        step = load_iteration(row.algorithm.iteration, row.shape.own).first
        loss, means[reference], entropy, moved = step(state, hp, noise).record[0].tolist()
        assert abs(moved) < 1e-6, "nothing has moved from the start yet"
        sft = float(sft_step(state, hp, noise)[1])
        assert loss == pytest.approx(sft - means[reference], rel=1e-5)
        assert 0.5 < entropy < 3.0
    # E_start[log aligned - log start] is minus a KL
    assert means["student_init"] < 0 < means["teacher_sft"]

"""What a student learns from: its teacher, sharpened; everything else learns from its source."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from recalltrap.graph import Cell
from recalltrap_studies.mog.models import Model
from recalltrap_studies.mog.rows import Tensors, make_row

Make = Callable[..., Cell]
TEACHER = Model(
    np.log([0.6, 0.4]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.tile([0.2, 0.0, 0.2], (2, 1))
)


@pytest.mark.parametrize(("sharpness", "share"), [(1.0, 0.6), (2.0, 9 / 13), (10.0, 0.982954)])
def test_a_student_samples_its_sharpened_teacher(
    sharpness: float, share: float, make_cell: Make
) -> None:
    node = make_cell("K", teacher_sharpness=sharpness).models["final"]
    row = make_row(node, lambda parent: TEACHER)
    source = Tensors([row], torch.device("cpu")).hyperparameters().source
    weights = torch.softmax(source[0, 0], 0)
    torch.testing.assert_close(weights, torch.tensor([share, 1 - share]), rtol=1e-4, atol=1e-6)
    means = source[0, 1:3].T.numpy()
    np.testing.assert_array_equal(means, TEACHER.means)


def test_a_reference_is_not_sharpened(make_cell: Make) -> None:
    row = make_row(make_cell("A").models["final"], lambda parent: TEACHER)
    source = Tensors([row], torch.device("cpu")).hyperparameters().source
    torch.testing.assert_close(torch.softmax(source[0, 0], 0), torch.tensor([0.6, 0.4]))

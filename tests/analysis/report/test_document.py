"""Tables as blocks of a document."""

from __future__ import annotations

import pandas as pd

from recalltrap_analysis.report.document.tables import grid


def test_rows_beyond_the_first_fold_away() -> None:
    frame = pd.DataFrame({"x": range(30), "name": ["a"] * 30})
    table = grid("some", frame, order=list(range(29, -1, -1)))
    assert [row[0] for row in table.shown] == [str(i) for i in range(6, 30)]
    assert len(table.rows) == 30
    assert table.words == [False, True]

from __future__ import annotations

from recalltrap.results.verdict import Verdict


def test_a_verdict_reads_as_its_sentence() -> None:
    verdict = Verdict("toy/x", "trap", "Trap: 0.5 < 1.", ("one seed",), 4, 3, 1, 0)
    assert str(verdict) == "Trap: 0.5 < 1."
    shown = verdict._repr_html_()
    for part in ("toy/x: trap", "Trap: 0.5 &lt; 1.", "note: one seed"):
        assert part in shown

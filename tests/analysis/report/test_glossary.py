"""The glossary has the words that a page uses, and no others."""

from __future__ import annotations

from recalltrap_analysis.report.document.blocks import Block, Chapter, Grid, Prose, Section
from recalltrap_analysis.report.document.kind_analysis import KindAnalysis
from recalltrap_analysis.report.glossary import ALWAYS, SHARED, glossary

KIND = KindAnalysis(glossary=(("`kl_weight`", "a weight"), ("Effective samples", "how many")))


def words(*blocks: Block, above: str = "") -> set[str]:
    chapters = [Chapter("run", "", [Section("one", "One", blocks)])]
    return {word for word, _ in glossary([KIND], chapters, above)} - set(ALWAYS)


def test_a_word_that_nothing_uses_is_left_out() -> None:
    assert words(Prose("Nothing.")) == set()
    assert {word for word, _ in glossary([KIND], [])} == set(ALWAYS)


def test_words_are_found_in_prose_tables_and_above() -> None:
    table = Grid("t", ["trap rate"], [["at kl_weight 2"]], [True])
    assert words(table) == {"Trap rate", "`kl_weight`"}
    assert words(Prose("Only 64 effective samples.")) == {"Effective samples"}
    assert words(Prose("x"), above="An order effect of 0.3.") == {"Order effect"}
    assert words(Prose("the control orderings")) == {"Controls"}


def test_a_query_is_not_read_as_text() -> None:
    table = Grid("t", ["x"], [["1"]], [False], query="select order_effect from pairs")
    assert words(table) == set()


def test_every_word_can_be_found() -> None:
    every = {word for word, _ in SHARED}
    assert words(Prose(" ".join(every))) == every - set(ALWAYS)

"""The answers side by side: which prompts, whose answers, and that no JSON holds a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from toy_language import language_run

from recalltrap.results.tables import table_schema
from recalltrap_analysis.language.answers import answers_blocks, prompt_differences
from recalltrap_analysis.report.build import write_report
from recalltrap_analysis.report.document.blocks import Block, Grid, Prose
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

pytestmark = pytest.mark.slow
LEAD = {"calm": 0.1, "storm": -0.9, "king": 0.5, "sea": 0.0, "fox": 0.2, "moon": -0.3, "sun": 0.05}
"""How far A-K's answers to a prompt are ahead."""
EVIL = "<script>alert(1)</script>"

Invent = Callable[..., "FakeRun"]


@pytest.fixture
def invent(make_run: MakeRun) -> Invent:
    def make(prompts: tuple[str, ...] = tuple(LEAD), texts: bool = True) -> FakeRun:
        run = language_run(make_run(grid={}, seeds=1))
        run.tables["responses"] = responses(run, prompts, texts)
        return run

    return make


def responses(run: FakeRun, prompts: tuple[str, ...], texts: bool) -> pa.Table:
    """Eight answers of every final model to each prompt; seeds differ, and A-K is ahead."""
    rows = [
        {
            "cell_id": cell.id, "ordering": cell.ordering.name, "seed": cell.seed,
            "model": "final", "prompt_id": prompt, "sample": len(prompts) * turn + place,
            "length": 5, "log_q": -9.0, "log_p_star": -8.0,
            "reward": cell.seed + 3 * (turn % 2) + (cell.ordering.name == "A-K") * LEAD[prompt],
            "prompt": f"The {prompt}" if texts and turn < 4 else None,
            "text": f" {cell.ordering.name} says\n{EVIL} {turn}" if texts and turn < 4 else None,
        }
        for cell in run.cells for turn in range(8) for place, prompt in enumerate(prompts)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, table_schema("responses"))


def blocks_of(run: FakeRun) -> list[Block]:
    return answers_blocks(ReadRun(run), summarize(run))


def answers(run: FakeRun) -> Grid:
    (found,) = [block for block in blocks_of(run) if isinstance(block, Grid)]
    return found


def test_the_largest_paired_differences_come_first(invent: Invent) -> None:
    run = invent()
    ids = [cell.id for cell in run.cells if cell.ordering.name in ("A-K", "K-A")]
    found = prompt_differences(ReadRun(run), ids, ("A-K", "K-A"))
    assert found["prompt_id"].tolist() == sorted(LEAD, key=lambda name: -abs(LEAD[name]))
    expected = [LEAD[name] for name in found["prompt_id"]]
    np.testing.assert_allclose(found["difference"], expected, atol=1e-6)


def test_answers_of_both_stand_side_by_side(invent: Invent) -> None:
    table = answers(invent())
    shown = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    assert list(dict.fromkeys(row["prompt"] for row in shown)) == [
        "The storm", "The king", "The moon", "The fox", "The calm"
    ]  # fmt: skip
    assert shown[0]["A-K"] == f"A-K says {EVIL} 0"
    assert shown[0]["K-A"] == f"K-A says {EVIL} 0"
    assert float(shown[0]["reward of K-A"]) - float(shown[0]["reward of A-K"]) == 0.9
    assert len(shown) == 5 * 3


def test_a_study_of_one_prompt_shows_more_of_it(invent: Invent) -> None:
    run = invent(prompts=("calm",))
    assert len(answers(run).rows) == 4  # all that are kept, of six
    (words,) = [block.text for block in blocks_of(run) if isinstance(block, Prose)]
    assert "differ most" not in words


def test_texts_are_escaped_on_the_page_and_in_no_json(invent: Invent) -> None:
    run = invent()
    page = Path(write_report(run)).read_text()
    assert "Answers side by side" in page
    assert EVIL not in page
    assert "K-A says &lt;script&gt;" in page
    content = Path(write_report(run, form="json")).read_text()
    assert "prompt_id" in content
    assert "K-A says" not in content
    assert EVIL not in content
    assert "The storm" not in content


def test_without_texts_or_responses_the_page_says_so_or_nothing(invent: Invent) -> None:
    (block,) = blocks_of(invent(texts=False))
    assert isinstance(block, Prose)
    assert "keeps none of their texts" in block.text
    run = invent()
    del run.tables["responses"]
    assert blocks_of(run) == []
    run = invent()
    empty: Any = run.tables["responses"].slice(0, 0)
    run.tables["responses"] = empty
    assert blocks_of(run) == []

"""The corpus of docstrings: whole plain sentences, and the same ones every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from recalltrap.errors import InputError
from recalltrap_studies.llm.data.corpus import read_documents
from recalltrap_studies.llm.data.docstrings import collect, main, sentences_of

SOURCE = '''"""Tell the time. It goes on.

    indented(code) Here.

Too short. Another sentence that
wraps once.
"""
class Clock:
    """A clock of four words."""
    def tick(self):
        """return nothing at all."""
        def inner():
            """Move the hands around."""
'''


def test_whole_plain_sentences_are_kept() -> None:
    assert list(sentences_of("does it end. Does it ever end?")) == []
    assert list(sentences_of("Yes. It does so.\n\n  It is indented.\n\nIt is \u00e9t\u00e9.")) == [
        "It does so."
    ]
    assert list(sentences_of("Word " * 40 + "word.")) == []


def test_every_sentence_of_a_library_stands_once_in_the_order_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text(SOURCE)
    (tmp_path / "a.py").write_text('"""It goes on."""\n')
    (tmp_path / "broken.py").write_text("def")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "c.py").write_text('"""Nobody reads this here."""\n')
    found = collect(tmp_path)
    assert found == ["It goes on.", "Tell the time.", "Another sentence that wraps once.",
                     "A clock of four words.", "Move the hands around."]  # fmt: skip


@pytest.mark.slow
def test_this_python_has_enough_of_them_and_says_the_same_twice(tmp_path: Path) -> None:
    first, second = tmp_path / "corpora" / "one.txt", tmp_path / "two.txt"
    main([str(first)])
    main([str(second)])
    assert first.read_bytes() == second.read_bytes()
    documents = read_documents(str(first))
    assert len(documents) > 5_000
    assert len(set(documents)) == len(documents)
    with pytest.raises(InputError, match="name one file"):
        main([])

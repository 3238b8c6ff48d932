"""Corpora: the embedded one, and text files, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from recalltrap.errors import InputError
from recalltrap.streams import stream
from recalltrap_studies.llm.data.corpus import load_corpus
from recalltrap_studies.llm.grammar import sentences


def test_the_grammar_is_the_embedded_corpus() -> None:
    random = stream(0, "test/corpus")
    assert load_corpus("grammar", 30, random) == sentences.sentences(30, stream(0, "test/corpus"))


def test_a_text_file_gives_its_lines_in_a_drawn_order(tmp_path: Path) -> None:
    lines = [f"Línea {number}." for number in range(40)]
    path = tmp_path / "corpus.txt"
    path.write_text("\ufeff" + "\r\n\n".join(lines) + "\n  \n", encoding="utf-8")
    first, again, other = (load_corpus(str(path), 10, stream(s, "c")) for s in (0, 0, 1))
    assert sorted(first) == sorted(lines)
    assert first == again
    assert first not in (lines, other)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"The only one.\n", "has 1 document"),
        (b"The \xff\xfe cat.\nThe dog.\n", "not UTF-8 text (byte 4)"),
        (b"The cat.\nThe\x00dog.\n", "line 2 holds the control character"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "corpus.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_corpus(str(path), 10, stream(0, "c"))
    message = str(caught.value)
    assert f"settings.corpus = {str(path)!r}" in message
    assert reason in message
    assert "one document per line" in message


def test_a_folder_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        load_corpus(str(tmp_path), 10, stream(0, "c"))

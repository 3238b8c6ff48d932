"""What a p* of ours is trained on: the embedded grammar, or a text file of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recalltrap.errors import InputError
from recalltrap.paths import resolve
from recalltrap_studies.llm.data.row_files import CONTROLS, check_regular
from recalltrap_studies.llm.grammar import sentences

GRAMMAR = "grammar"
LEAST_DOCUMENTS = 2
MOST_BYTES = 1 << 30
LONGEST_DOCUMENT = 16 << 20
"""Bytes of a line: a book has one or two million."""


def load_corpus(spec: str, count: int, generator: np.random.Generator) -> list[str]:
    """The documents of a corpus, in random order.

    `grammar` gives `count` fresh sentences. A text file gives its lines, of which empty ones don't
    count; all of them, whatever `count`.

    Raises:
        InputError: the file is missing, empty, or not UTF-8 text.
    """
    if spec == GRAMMAR:
        return sentences.sentences(count, generator)
    documents = read_documents(spec)
    return [documents[index] for index in generator.permutation(len(documents))]


def read_documents(path: str) -> list[str]:
    """The lines of a UTF-8 text file that aren't empty, without surrounding blanks.

    Raises:
        InputError: see `load_corpus`.
    """
    documents = list(_documents(path))
    _check_enough(path, len(documents))
    return documents


def check_documents(path: str) -> None:
    """Refuse what `read_documents` would, and keep nothing of it in memory.

    Raises:
        InputError: see `load_corpus`.
    """
    _check_enough(path, sum(1 for _ in _documents(path)))


def _check_enough(path: str, found: int) -> None:
    if found < LEAST_DOCUMENTS:
        what = "is empty" if not found else f"has {found} document"
        raise _refused(path, f"{what}; it needs {LEAST_DOCUMENTS} or more, to keep some held out")


def _documents(path: str) -> Iterator[str]:
    try:
        file = Path(resolve(path, "settings.corpus"))
        check_regular(file, MOST_BYTES)
        with file.open("rb") as opened:
            yield from _of_lines(path, iter(lambda: opened.readline(LONGEST_DOCUMENT + 1), b""))
    except FileNotFoundError:
        raise _refused(path, "no such file") from None
    except OSError as error:
        raise _refused(path, f"can't be read ({error.strerror or error})") from None


def _of_lines(path: str, lines: Iterator[bytes]) -> Iterator[str]:
    before, number = 0, 1
    for raw in lines:
        if len(raw) > LONGEST_DOCUMENT:
            raise _refused(path, f"line {number} has more than {LONGEST_DOCUMENT:,} bytes")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _refused(path, f"not UTF-8 text (byte {before + error.start})") from None
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not before:
            text = text.removeprefix("\ufeff")
        if found := CONTROLS.search(text):
            line = number + text.count("\n", 0, found.start())
            reason = f"line {line} holds the control character {found[0]!r}: not a text file"
            raise _refused(path, reason)
        yield from filter(None, map(str.strip, text.splitlines()))
        before, number = before + len(raw), number + text.count("\n")


def _refused(path: str, reason: str) -> InputError:
    return InputError(
        f"settings.corpus = {path!r}: {reason}. Give {GRAMMAR!r}, or a UTF-8 text file with one "
        "document per line"
    )

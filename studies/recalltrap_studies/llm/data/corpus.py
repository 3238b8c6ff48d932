"""What a p* of ours is trained on: the embedded grammar, or a text file of the user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recalltrap.errors import InputError
from recalltrap.paths import resolve
from recalltrap_studies.llm.data.row_files import read_regular
from recalltrap_studies.llm.grammar import sentences

GRAMMAR = "grammar"
LEAST_DOCUMENTS = 2
MOST_BYTES = 1 << 30
CONTROLS = frozenset(map(chr, range(32))) - {"\t", "\n", "\r", "\f"}
"""Signs that no text holds."""


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
    text = _read_text(path)
    found = next((sign for sign in text if sign in CONTROLS), None)
    if found is not None:
        line = text[: text.index(found)].count("\n") + 1
        raise _refused(path, f"line {line} holds the control character {found!r}: not a text file")
    documents = [line.strip() for line in text.splitlines() if line.strip()]
    if len(documents) < LEAST_DOCUMENTS:
        what = "is empty" if not documents else f"has {len(documents)} document"
        raise _refused(path, f"{what}; it needs {LEAST_DOCUMENTS} or more, to keep some held out")
    return documents


def _read_text(path: str) -> str:
    try:
        data = read_regular(Path(resolve(path, "settings.corpus")), MOST_BYTES)
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise _refused(path, f"not UTF-8 text (byte {error.start})") from None
    except FileNotFoundError:
        raise _refused(path, "no such file") from None
    except OSError as error:
        raise _refused(path, f"can't be read ({error.strerror or error})") from None
    return text


def _refused(path: str, reason: str) -> InputError:
    return InputError(
        f"settings.corpus = {path!r}: {reason}. Give {GRAMMAR!r}, or a UTF-8 text file with one "
        "document per line"
    )

"""A small corpus of real English that every Python brings: the sentences of its docstrings.

    python -m recalltrap_studies.llm.data.docstrings corpora/python-docstrings.txt

The standard library is read, never imported. The same Python gives the same file; another version
gives a little other text, and so a corpus of another identity.
"""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from recalltrap.errors import InputError

SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"})
"""Folders of what isn't the library itself, or that distributions leave out."""
LEAST_WORDS, MOST_WORDS = 3, 40
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def sentences_of(docstring: str) -> Iterator[str]:
    """The whole sentences of its plain paragraphs; code, lists and tables are indented."""
    for paragraph in _PARAGRAPH.split(docstring):
        lines = paragraph.split("\n")
        if any(line.startswith((" ", "\t")) for line in lines):
            continue
        text = " ".join(line.strip() for line in lines)
        for sentence in _SENTENCE_END.split(text):
            plain = sentence[:1].isupper() and sentence.endswith(".") and sentence.isascii()
            if plain and LEAST_WORDS <= len(sentence.split()) <= MOST_WORDS:
                yield sentence


def docstrings_of(source: str) -> Iterator[str]:
    """Those of a module, its classes and its functions, without their indentation."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = ast.get_docstring(node)
            if found:
                yield found


def collect(root: Path) -> list[str]:
    """Every sentence of the library under `root` once, in the order of its files."""
    found: dict[str, None] = {}
    for file in sorted(root.rglob("*.py")):
        if SKIPPED & set(file.relative_to(root).parts):
            continue
        try:
            docstrings = list(docstrings_of(file.read_text("utf-8")))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue  # templates and other encodings
        for docstring in docstrings:
            found.update(dict.fromkeys(sentences_of(docstring)))
    return list(found)


def main(arguments: Sequence[str]) -> None:
    """Write the corpus to the file that is named, a sentence to a line."""
    if len(arguments) != 1:
        raise InputError("name one file to write, e.g. corpora/python-docstrings.txt")
    path = Path(arguments[0])
    found = collect(Path(sysconfig.get_path("stdlib")))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(found) + "\n", encoding="utf-8")
    print(f"{path}: {len(found)} sentences of Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])

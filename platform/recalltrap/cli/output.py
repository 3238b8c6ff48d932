"""What a command says, to whoever listens: a full terminal, one that knows ASCII alone, nobody.

While `listening`, writing to stdout and stderr never fails over a character that the terminal can't
encode, nor over a pipe whose reader has gone (`recalltrap run ... | head -1`): a run goes on, its
exit status is its own, and nothing is left to fail at the interpreter's end. Where stdout can't be
written for another reason (a full disk, `>&-`) the work goes on, too, but what was to be said is
lost: one line on stderr says so, and the exit status is 1 where it would have been 0.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from recalltrap.cli import render
from recalltrap.results.readable_tables import Rows

PLAIN = str.maketrans(
    {
        "–": "-", "—": "-", "−": "-", "\N{NO-BREAK SPACE}": " ", "\u200b": "", "…": "...",
        "±": "+-", "×": "x", "·": "-", "≥": ">=", "≤": "<=", "∞": "inf", "→": "->", "≈": "~",
        "′": "'", "″": "''", "τ": "tau", "β": "beta", "π": "pi", "‖": "||",
    }
)  # fmt: skip
"""How people are shown our own typography where it can't be encoded."""


class Listener:
    """A text stream that writes what its terminal can show, and nothing once nobody reads.

    Everything else is the stream's own, so that whoever asks for its encoding, its descriptor or
    its size is answered. `exact`: characters are never replaced by others, only escaped.
    """

    def __init__(self, stream: TextIO | None) -> None:
        # Where a descriptor is closed Python has no stream; /dev/null takes its place, so that no
        # file that is opened later does.
        self._stream: TextIO = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115
        self._closed = stream is None
        self.exact = False
        self.gone = False
        self.lost: OSError | None = None
        """Why something couldn't be written, where it isn't that the reader has gone."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def of_process(self) -> bool:
        """Whether it is the stream that the process began with, and nobody's who called us."""
        return self._stream in (sys.__stdout__, sys.__stderr__)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        self._attempt(lambda: self._write(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._attempt(lambda: self._stream.flush())

    def _write(self, text: str) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "it is closed")
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            shown = text if self.exact else text.translate(PLAIN)
            self._stream.write(escaped(shown, self._stream.encoding or "ascii"))

    def _attempt(self, writing: Callable[[], object]) -> None:
        """Write; from the first failure on, nothing is."""
        if self.gone:
            return
        try:
            writing()
        except BrokenPipeError:
            self._leave()
        except OSError as error:
            self.lost = error.with_traceback(None)  # whose frames hold what was to be said
            self._leave()

    def _leave(self) -> None:
        """Nobody reads any more: what the stream still holds goes nowhere, quietly."""
        self.gone = True
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):  # not a file, so nothing is flushed at the end
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def escaped(text: str, encoding: str) -> str:
    r"""The text with what the encoding lacks as ``\uXXXX``, which JSON reads as that character."""
    shown = []
    for character in text:
        try:
            character.encode(encoding)
            shown.append(character)
        except UnicodeEncodeError:
            units = character.encode("utf-16-be", "surrogatepass")
            shown += [f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)]
    return "".join(shown)


@contextmanager
def listening() -> Iterator[Listener]:
    """Let stdout and stderr be `Listener`s, and leave nothing unsaid behind; stdout's is given."""
    streams = sys.stdout, sys.stderr
    out, error = (Listener(stream) for stream in streams)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, error)
    try:
        yield out
    finally:
        out.flush()
        error.flush()
        sys.stdout, sys.stderr = streams


def speaks_for_process() -> bool:
    """Whether this is the command line's own process, and nobody's who called it."""
    return isinstance(sys.stdout, Listener) and sys.stdout.of_process


def say(text: str, *, error: bool = False) -> None:
    """One line or several, on stdout or on stderr."""
    stream = sys.stderr if error else sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def print_exactly(text: str) -> None:
    """A document on stdout as it is, for a pipe: no character is replaced by another."""
    with _exact():
        say(text.removesuffix("\n"))


def print_table(rows: Rows, form: str = "table") -> None:
    """`render.print_table`; what is for programs keeps its characters."""
    if form == "table":
        render.print_table(rows, form)
        return
    with _exact():
        render.print_table(rows, form)


@contextmanager
def _exact() -> Iterator[None]:
    stream = sys.stdout
    if not isinstance(stream, Listener):
        yield
        return
    stream.exact = True
    try:
        yield
    finally:
        stream.exact = False

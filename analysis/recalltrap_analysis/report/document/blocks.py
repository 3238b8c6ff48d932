"""A report as data: chapters of sections of blocks, whatever format they are written in.

Text marked as ours may carry `code` and **bold**; everything else is shown as it is, so that no
name of a study can become a tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from matplotlib.figure import Figure

Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Prose:
    """A paragraph. `ours`: written here, so its `code` and **bold** are markup."""

    text: str
    style: Literal["", "small", "caveat", "absent"] = ""
    ours: bool = True


@dataclass(frozen=True)
class Items:
    """A list of lines, shown as they are."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Terms:
    """Words and their meaning."""

    pairs: Sequence[tuple[str, str]]
    ours: bool = False


@dataclass(frozen=True)
class Code:
    """A command or a query."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table: `text` for readers, `data` with the same numbers for machines.

    `words` marks the columns that hold text; `first` the rows shown before the rest folds away.
    `query` is the SQL that recomputes the numbers from the run's tables, or empty.
    """

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[bool]
    data: Sequence[Record] = ()
    first: Sequence[int] = ()
    query: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What a machine wants beside the rows, e.g. a fitted curve."""

    @property
    def shown(self) -> list[Sequence[str]]:
        """The rows that are not folded away, in the table's order."""
        return [self.rows[i] for i in self.first] if self.first else list(self.rows)


@dataclass(frozen=True)
class Plot:
    """A figure with its caption, alternative text and the SQL behind it.

    Without a `figure`, `caption` is the reason for having none. `svg` and `pdf` are its files,
    once `rendered` has made them.
    """

    stem: str
    caption: str
    alternative: str = ""
    figure: Figure | None = None
    query: str = ""
    svg: bytes = b""
    pdf: bytes = b""


@dataclass(frozen=True)
class Fold:
    """Blocks that are read on demand."""

    title: str
    blocks: Sequence[Block]
    open: bool = False


Block: TypeAlias = Prose | Items | Terms | Code | Grid | Plot | Fold


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it.

    `key` is unique in its chapter; `summary` is what the document's own summary takes from it.
    """

    key: str
    title: str
    blocks: Sequence[Block]
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chapter:
    """One run, or what several runs say together (`title` is empty where there is but one)."""

    key: str
    title: str
    sections: Sequence[Section]
    intro: Sequence[Block] = ()


@dataclass(frozen=True)
class Document:
    """The report: `meta`: what it is about; `advice`: what to do; `verdict` styles `sentence`."""

    title: str
    question: str
    meta: str
    verdict: str
    sentence: str
    counts: str
    chapters: Sequence[Chapter]
    glossary: Sequence[tuple[str, str]]
    summary: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""

    def with_plots(self, change: Callable[[Plot], Plot]) -> Document:
        """The same document, every figure changed."""
        chapters = [
            replace(
                chapter,
                intro=with_plots(chapter.intro, change),
                sections=[
                    replace(section, blocks=with_plots(section.blocks, change))
                    for section in chapter.sections
                ],
            )
            for chapter in self.chapters
        ]
        return replace(self, chapters=chapters)


def with_plots(blocks: Sequence[Block], change: Callable[[Plot], Plot]) -> list[Block]:
    """The same blocks, every figure changed, folded ones too."""
    changed: list[Block] = []
    for block in blocks:
        if isinstance(block, Plot):
            changed.append(change(block))
        elif isinstance(block, Fold):
            changed.append(replace(block, blocks=with_plots(block.blocks, change)))
        else:
            changed.append(block)
    return changed


def slug(name: str) -> str:
    """A study's name as a part of a path or of an id."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.") or "study"

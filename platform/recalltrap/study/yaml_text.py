"""YAML 1.2 as plain values with the line of each, and plain values as YAML.

ruamel.yaml scans and parses; `yaml_scalars` says what is a number. Whatever a text holds, it is
read within the limits below or refused at a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from recalltrap.study.yaml_scalars import is_word, read_scalar, spell_value

Location = tuple[int | str, ...]

MAX_BYTES = 400_000
"""Of a text; 50,000 numbers of eight characters."""
MAX_VALUES = 50_000
"""Of a text, each alias counted as all that it stands for: about 3 s to read."""
MAX_DEPTH = 20
"""Of mappings and lists inside one another; a study has four."""


class YamlError(ValueError):
    """A text that is refused: `problem`, and the line where it shows."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem, line)
        self.problem = problem
        self.line = line


@dataclass
class Document:
    """A text's content, and the line of everything in it."""

    content: Any = None
    lines: dict[Location, int] = field(default_factory=dict)


def read_yaml(text: str) -> Document:
    """The one document of a text; `content` is None where it holds none.

    Raises:
        YamlError: not YAML 1.2, beyond a limit, or YAML that plain values have no place for.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(f"{len(text):,} characters, and at most {MAX_BYTES:,} are read", 1)
    return _Reader(text).document()


@dataclass(frozen=True)
class _Anchored:
    """What an anchor stands for, how many values it holds, and how deep they lie."""

    value: Any
    size: int
    height: int


class _Reader:
    """Builds a document from the parser's events, counting as it goes."""

    def __init__(self, text: str) -> None:
        self._events = _events(text)
        self._lines: dict[Location, int] = {}
        self._anchors: dict[str, _Anchored | None] = {}
        self._values = 0

    def document(self) -> Document:
        found = Document(lines=self._lines)
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                self._refuse_start(event, documents)
                found.content, _ = self._value(next(self._events), ())
        return found

    def _refuse_start(self, event: Any, number: int) -> None:
        line = event.start_mark.line + 1
        if number > 1:
            raise YamlError("a second document begins here: a study file holds one", line)
        if event.version and tuple(event.version) != (1, 2):
            version = ".".join(str(part) for part in event.version)
            raise YamlError(f"this is read as YAML 1.2: remove the line `%YAML {version}`", line)

    def _value(self, event: Any, location: Location) -> tuple[Any, int]:
        """The value that begins with an event, and how many levels it has below itself."""
        line = self._lines.setdefault(location, event.start_mark.line + 1)
        self._count(1, len(location), location, line)
        if isinstance(event, AliasEvent):
            return self._alias(event.anchor, location, line)
        _refuse_tag(event, location)
        before = self._values
        if event.anchor:
            self._anchors[event.anchor] = None
        value, height = self._plain(event, location, line)
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(value, self._values - before + 1, height)
        return value, height

    def _plain(self, event: Any, location: Location, line: int) -> tuple[Any, int]:
        if isinstance(event, ScalarEvent):
            if event.style is not None:  # quoted, or a block of text
                return event.value, 0
            try:
                return read_scalar(event.value), 0
            except ValueError as error:
                raise YamlError(f"{_named(location)}{error}", line) from None
        if isinstance(event, MappingStartEvent):
            return self._mapping(location)
        assert isinstance(event, SequenceStartEvent)
        items: list[Any] = []
        height = 0
        while not isinstance(event := next(self._events), SequenceEndEvent):
            item, below = self._value(event, (*location, len(items)))
            items.append(item)
            height = max(height, below)
        return items, height + 1

    def _mapping(self, location: Location) -> tuple[dict[str, Any], int]:
        content: dict[str, Any] = {}
        height = 0
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, location)
            inner = (*location, key)
            line = event.start_mark.line + 1
            if key in content:
                name = _named(inner).removesuffix(": ")
                raise YamlError(
                    f"{name} is listed twice (first on line {self._lines[inner]}): keep one",
                    line,
                )
            self._lines[inner] = line
            content[key], below = self._value(next(self._events), inner)
            height = max(height, below)
        return content, height + 1

    def _key(self, event: Any, location: Location) -> str:
        line = event.start_mark.line + 1
        if not isinstance(event, ScalarEvent):
            found = f"*{event.anchor}" if isinstance(event, AliasEvent) else "what is nested"
            raise YamlError(f"{_named(location)}a field's name is a word, not {_cut(found)}", line)
        _refuse_tag(event, location)
        key: str = event.value
        if event.style is None and key == "<<":
            raise YamlError(
                f"{_named(location)}YAML 1.2 has no merge key `<<`: write the fields out", line
            )
        if event.style is None and not is_word(key):
            raise YamlError(
                f"{_named(location)}a field's name is a word, not {_cut(key)!r}: quote it",
                line,
            )
        return key

    def _alias(self, name: str, location: Location, line: int) -> tuple[Any, int]:
        if name not in self._anchors:
            raise YamlError(f"{_named(location)}*{_cut(name)} stands for nothing above it", line)
        anchored = self._anchors[name]
        if anchored is None:
            raise YamlError(f"{_named(location)}*{_cut(name)} contains itself", line)
        self._count(anchored.size - 1, len(location) + anchored.height, location, line)
        return _copied(anchored.value), anchored.height

    def _count(self, values: int, depth: int, location: Location, line: int) -> None:
        """Refuse before anything large is made."""
        self._values += values
        if self._values > MAX_VALUES:
            raise YamlError(
                f"more than {MAX_VALUES:,} values, which is the limit (an alias counts as all that "
                "it stands for): shorten the lists",
                line,
            )
        if depth > MAX_DEPTH:
            raise YamlError(
                f"{_cut(_named(location))}nested more than {MAX_DEPTH} deep, which is the limit",
                line,
            )


def _refuse_tag(event: Any, location: Location) -> None:
    """A tag makes another kind of value: a study file needs none, and a tag could run code."""
    if event.tag is None:
        return
    tag = _cut(str(event.tag).replace("tag:yaml.org,2002:", "!!"))
    raise YamlError(
        f"{_named(location)}not YAML of a study: remove the tag {tag!r}, and quote what is text",
        event.start_mark.line + 1,
    )


def _copied(value: Any) -> Any:
    """A copy, so that what changes one place leaves the other."""
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def _events(text: str) -> Iterator[Any]:
    """The parser's events; whatever it raises becomes one kind of error."""
    line = 1
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            line = event.end_mark.line + 1
            yield event
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(str(error.problem or error.context).split())
        raise YamlError(f"not YAML: {_cut(said)}", mark.line + 1 if mark else line) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(
            f"not YAML: the character U+{ord(text[error.position]):04X} stands in no text", line
        ) from None
    except Exception as error:  # what the parser didn't foresee, such as an escape beyond Unicode
        raise YamlError(f"not YAML: {_cut(' '.join(str(error).split()))}", line) from None


def _named(location: Location) -> str:
    name = ".".join(str(part) for part in location)
    return f"{_cut(name if name.isprintable() else repr(name))}: " if location else ""


def _cut(text: str, length: int = 80) -> str:
    return text if len(text) <= length else f"{text[: length - 4]} ..."


def spell_yaml(content: Mapping[str, Any]) -> str:
    """A mapping as YAML that `read_yaml` reads back as it was: a field a line, lists inline."""
    lines: list[str] = []
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            lines.append(f"{spell_value(name)}:")
            lines += [f"  {spell_value(key)}: {spell_value(item)}" for key, item in value.items()]
        else:
            lines.append(f"{spell_value(name)}: {spell_value(value)}")
    return "\n".join(lines) + "\n"

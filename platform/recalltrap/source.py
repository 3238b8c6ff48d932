"""Reading a study file: YAML with line numbers, command-line overrides, errors that point."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from recalltrap.errors import InputError, nearest

Location = tuple[int | str, ...]
KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, as in YAML 1.2; PyYAML's 1.1 reads it as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    [*"-+0123456789"],
)


@dataclass
class Source:
    """Where each value of a study came from: a line of a file, or an override."""

    file: str
    lines: dict[Location, int] = field(default_factory=dict)
    overrides: dict[Location, str] = field(default_factory=dict)

    def override(self, location: Location, text: str) -> None:
        """From now on this value and all in it come from the command line."""
        self.overrides[location] = text
        self.lines = {k: v for k, v in self.lines.items() if k[: len(location)] != location}

    def where(self, location: Location) -> str:
        """`file:line` of a value, of the nearest thing around it, or the override that set it."""
        for length in range(len(location), -1, -1):
            part = location[:length]
            if part in self.overrides:
                return f"-o {self.overrides[part]}"
            if part in self.lines:
                return f"{self.file}:{self.lines[part]}"
        return self.file

    def refuse(
        self,
        error: ValidationError,
        model: type[BaseModel],
        prefix: Location = (),
        context: str = "",
    ) -> InputError:
        """The first of pydantic's errors as one sentence with file, line, field, value, way out."""
        errors = error.errors(include_url=False)
        first = min(errors, key=lambda item: item["type"] == "missing")  # a typo explains it better
        location = (*prefix, *first["loc"])
        name = ".".join(str(part) for part in location)
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = (
                f"unknown field; {nearest(str(first['loc'][-1]), _fields(model, first['loc']))}"
            )
        elif first["type"] == "missing":
            return InputError(f"{self.where(location)}: {name} is missing: add it")
        elif first["type"] not in ("value_error", "assertion_error"):
            message = f"{first['input']!r} is refused: {message}"
        shown = ": ".join(part for part in (self.where(location), name, message) if part)
        return InputError(f"{shown} ({context})" if context else shown)


def _fields(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The fields allowed where a location's last part stands."""
    for part in location[:-1]:
        info = model.model_fields.get(str(part))
        annotation = info.annotation if info else None
        for candidate in (annotation, *get_args(annotation)):
            if isinstance(candidate, type) and get_origin(candidate) is None and issubclass(
                candidate, BaseModel
            ):  # fmt: skip
                model = candidate
    return list(model.model_fields)


def read_yaml(path: Path) -> tuple[dict[str, Any], Source]:
    """A study file's content and the line of every value in it.

    Raises:
        InputError: unreadable, not YAML, not a mapping, or a key that stands there twice.
    """
    source = Source(str(path))
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=_Loader)
        if not isinstance(root, yaml.MappingNode):
            raise InputError(f"{path}: a study file is a mapping that begins with `name:`")
        _collect(root, (), source, ())
        content = _load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not YAML: {getattr(error, 'problem', error)}") from None
    return dict(content), source


def _load(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _collect(
    node: yaml.Node, location: Location, source: Source, around: tuple[yaml.Node, ...]
) -> None:
    source.lines.setdefault(location, node.start_mark.line + 1)
    name = ".".join(str(part) for part in location)
    if any(node is outer for outer in around):
        raise InputError(f"{source.file}:{source.lines[location]}: {name} contains itself")
    around = (*around, node)
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag not in KEY_TAGS:
                raise InputError(
                    f"{source.file}:{line}: a field's name is a word, not {key_node.value!r}"
                )
            inner = (*location, key_node.value)
            if inner in source.lines:
                name = ".".join(str(part) for part in inner)
                raise InputError(
                    f"{source.file}:{line}: {name} stands there twice "
                    f"(first on line {source.lines[inner]}): keep one"
                )
            source.lines[inner] = line
            _collect(value_node, inner, source, around)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _collect(item, (*location, index), source, around)


def apply_overrides(content: dict[str, Any], overrides: Sequence[str], source: Source) -> None:
    """Apply `key.path=value` settings from the command line; values are YAML.

    Raises:
        InputError: no `=`, a value that isn't YAML, or a path through something without fields.
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise InputError(
                f"-o {override}: write it as field=value, e.g. settings.iterations=300"
            )
        try:
            value = _load(text)
        except yaml.YAMLError:
            raise InputError(f"-o {override}: {text!r} is not a YAML value") from None
        parts = path.split(".")
        target: Any = content
        for part in parts[:-1]:
            target = target.setdefault(part, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise InputError(f"-o {override}: {'.'.join(parts[:-1])} has no fields to set")
        if parts[0] == "settings" and parts[-1] in _grid(content):
            raise InputError(
                f"-o {override}: {parts[-1]!r} is an axis of this study's grid; "
                f"use -o grid.{parts[-1]}=[{text}]"
            )
        if parts[0] == "grid":  # an axis that was a plain setting so far
            settings = content.get("settings")
            if isinstance(settings, dict):
                settings.pop(parts[-1], None)
        target[parts[-1]] = value
        source.override(tuple(parts), override)


def _grid(content: Mapping[str, Any]) -> Mapping[str, Any]:
    grid = content.get("grid")
    return grid if isinstance(grid, Mapping) else {}

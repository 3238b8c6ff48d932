"""A study's content with the place of every value: a line of a file, or an override."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import AliasPath, BaseModel, ValidationError

from recalltrap.errors import InputError, nearest, shown
from recalltrap.study.python_values import plain_value
from recalltrap.study.yaml_text import MAX_BYTES, MAX_DEPTH, Location, YamlError, read_yaml

Overrides = str | Mapping[str, Any] | Sequence[str | tuple[str, Any]]
"""`field=value` as on the command line, one or several; from Python also fields with values."""


LESS_TELLING = {"missing": 1, "too_short": 2}
"""pydantic's errors that another explains better: a typo, or a list's own item."""


@dataclass
class Source:
    """Where each value of a study came from: a line of a file, or an override."""

    file: str
    lines: dict[Location, int] = field(default_factory=dict)
    overrides: dict[Location, str] = field(default_factory=dict)

    def override(self, location: Location, label: str) -> None:
        """From now on this value and all in it come from an override."""
        self.overrides[location] = label
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
        first = min(errors, key=lambda item: LESS_TELLING.get(item["type"], 0))
        location = (*prefix, *first["loc"])
        name = dotted(location)
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = _unknown(model, first["loc"])
        elif first["type"] == "missing":
            return InputError(f"{self.where(location)}: {name} is missing: add it")
        elif first["type"] not in ("value_error", "assertion_error"):
            message = f"{shown(first['input'])} is refused: {message}"
        sentence = ": ".join(part for part in (self.where(location), name, message) if part)
        return InputError(f"{sentence} ({context})" if context else sentence)


def dotted(location: Location) -> str:
    """A value's place as `settings.targets.1`."""
    name = ".".join(str(part) for part in location)
    return name if len(name) <= 100 and name.isprintable() else shown(name, 100)


def _unknown(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """Which field was meant where a location's last part stands."""
    for part in location[:-1]:
        info = model.model_fields.get(str(part))
        annotation = info.annotation if info else None
        for candidate in (annotation, *get_args(annotation)):
            if isinstance(candidate, type) and get_origin(candidate) is None and issubclass(
                candidate, BaseModel
            ):  # fmt: skip
                model = candidate
    name, aliases = (
        str(location[-1]),
        {k: f.validation_alias for k, f in model.model_fields.items()},
    )
    if isinstance(path := aliases.get(name), AliasPath):
        return f"no field by itself: write it as {dotted(tuple(path.path))}"
    return f"unknown field; {nearest(name, [k for k, alias in aliases.items() if alias is None])}"


def read_study(path: Path) -> tuple[dict[str, Any], Source]:
    """A study file's content and the line of every value in it.

    Raises:
        InputError: unreadable, too large, or no YAML that a study can be.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
            size = len(data) if len(data) <= MAX_BYTES else path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    if size > MAX_BYTES:
        raise InputError(
            f"{path}: {size:,} bytes, and a study file has at most {MAX_BYTES:,}: shorten its lists"
        )
    return parse_study_text(data, str(path))


def parse_study_text(data: bytes, file: str) -> tuple[dict[str, Any], Source]:
    """The content of a study file that was read, and the line of every value in it.

    Raises:
        InputError: not UTF-8, or no YAML that a study can be.
    """
    try:
        document = read_yaml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{file}:{line}: can't be read: it is not UTF-8 text") from None
    except YamlError as error:
        raise InputError(f"{file}:{error.line}: {error.problem}") from None
    if not isinstance(document.content, dict):
        raise InputError(f"{file}: a study file is a mapping that begins with `name:`")
    return document.content, Source(file, document.lines)


def study_of_mapping(fields: Mapping[str, Any]) -> tuple[dict[str, Any], Source]:
    """The content of a study that Python code gives as a file would hold it.

    Raises:
        InputError: a name that isn't text, or more than a study file can hold.
    """
    name = fields.get("name")
    named = isinstance(name, str) and name.isprintable() and 0 < len(name) <= 100
    source = Source(f"study {name}" if named else "the study")
    content: dict[str, Any] = {}
    for field_, value in fields.items():
        where = f"{source.file}: {shown(field_)}"
        if not isinstance(field_, str):
            raise InputError(f"{where}: a field's name is text")
        try:
            content[str(field_)] = plain_value(value)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
    return content, source


def apply_overrides(content: dict[str, Any], overrides: Overrides, source: Source) -> None:
    """Set fields, each named by its path: `settings.iterations`; values given as text are YAML.

    Raises:
        InputError: no `=`, a value that isn't YAML, or a path through something without fields.
    """
    overridden = set()
    for path, value, label in _assignments(overrides):
        overridden.add(path)
        parts = path.split(".")
        if not all(parts) or len(parts) > MAX_DEPTH:
            raise InputError(
                f"-o {label}: a field's name is up to {MAX_DEPTH} words with points between them"
            )
        target: Any = content
        for depth, part in enumerate(parts[:-1], 1):
            if isinstance(target, dict) and part not in target:
                target[part] = {}
                source.override(tuple(parts[:depth]), label)
            target = target[part] if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise InputError(f"-o {label}: {dotted(tuple(parts[:-1]))} has no fields to set")
        section, name = parts[0], parts[1] if len(parts) == 2 else None
        if section == "settings" and name in _grid(content):
            raise InputError(
                f"-o {label}: {name!r} is an axis of this study's grid; "
                f"use -o grid.{name}=[{label.partition('=')[2]}]"
            )
        settings = content.get("settings")
        if section == "grid" and isinstance(settings, dict):
            settings.pop(name, None)  # an axis that was a plain setting so far
        target[parts[-1]] = value
        source.override(tuple(parts), label)
    if "orderings" in overridden:
        _forget_absent_orderings(content, overridden)


def _forget_absent_orderings(content: dict[str, Any], overridden: Collection[str]) -> None:
    """Other orderings than the file's make its own primary and contrasts void where they name what
    is gone: the study is judged as one that writes none. What is given beside them is checked."""
    given = content["orderings"]
    named = [one.get("name") if isinstance(one, Mapping) else one for one in _items(given)]

    def stands(contrast: Any) -> bool:
        return all(name in named for name in _items(contrast))

    primary = content.get("primary")
    given_too = any(path.startswith("primary") for path in overridden)
    if isinstance(primary, Mapping) and not given_too and not stands(primary.get("contrast")):
        del content["primary"]
    if _items(content.get("contrasts")) and "contrasts" not in overridden:
        content["contrasts"] = [one for one in content["contrasts"] if stands(one)] or None


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _assignments(overrides: Overrides) -> Iterator[tuple[str, Any, str]]:
    """Each override's path and value, and how messages show it."""
    for override in listed(overrides):
        if isinstance(override, str):
            yield _from_text(override)
            continue
        if not (
            isinstance(override, tuple) and len(override) == 2 and isinstance(override[0], str)
        ):
            raise InputError(
                f"override {shown(override)}: write it as field=value, or as a pair of the two"
            )
        path, given = override
        label = f"{path if path.isprintable() else repr(path)}={shown(given)}"
        try:
            yield path, plain_value(given), label
        except ValueError as error:
            raise InputError(f"-o {label}: {error}") from None


def listed(overrides: Overrides) -> list[str | tuple[str, Any]]:
    """Overrides as a list, whichever way they were given."""
    if isinstance(overrides, str):
        return [overrides]
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    return list(overrides)


def _from_text(override: str) -> tuple[str, Any, str]:
    label = override if len(override) <= 200 and override.isprintable() else shown(override, 200)
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise InputError(f"-o {label}: write it as field=value, e.g. settings.iterations=300")
    try:
        return path, read_yaml(text).content, label
    except YamlError as error:
        problem = error.problem.removeprefix("not YAML: ")
        raise InputError(f"-o {label}: {shown(text)} is not a YAML value: {problem}") from None


def _grid(content: Mapping[str, Any]) -> Mapping[str, Any]:
    grid = content.get("grid")
    return grid if isinstance(grid, Mapping) else {}

"""The JSON schema of study files, for editors: the study's fields and every kind's settings."""

from __future__ import annotations

from typing import Any

from recalltrap.orderings import STANDARD, STEPS
from recalltrap.registry import find_kind, kind_names
from recalltrap.study.looks import LEAST_SEEDS, MAX_CELLS, MOST_LOOKS
from recalltrap.study.study import END_OF_SEEDS, Study


def study_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) with the installed kinds' settings, chosen by `kind`."""
    schema = Study.model_json_schema()
    properties = schema["properties"]
    properties["kind"]["enum"] = kind_names()
    seed = {"type": "integer", "minimum": 0, "exclusiveMaximum": END_OF_SEEDS}
    look = {"type": "integer", "minimum": LEAST_SEEDS, "maximum": MAX_CELLS}
    plan = {
        "type": "object",
        "properties": {
            "looks": {
                "type": "array", "items": look, "minItems": 1, "maxItems": MOST_LOOKS,
                "description": properties.pop("looks")["description"],
            },
            "reached": {**look, "description": "the look that a run has come to"},
        },
        "required": ["looks"],
        "additionalProperties": False,
    }  # fmt: skip
    properties["seeds"] = {
        "description": properties["seeds"].get("description", ""),
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": MAX_CELLS},
            {"type": "array", "items": seed, "minItems": 1},
            plan,
        ],
    }
    names = sorted({name for kind in kind_names() for name in find_kind(kind).distillations})
    by_name = {
        "type": "object",
        "properties": {"distill": {"enum": names}},
        "required": ["distill"],
        "additionalProperties": False,
    }
    step = {"anyOf": [{"enum": list(STEPS)}, by_name]}
    steps = {"type": "array", "items": step, "minItems": 1, "maxItems": 20}
    own = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "stages": steps},
        "required": ["name", "stages"],
        "additionalProperties": False,
    }
    properties["orderings"]["items"] = {"anyOf": [{"enum": list(STANDARD)}, own]}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "recalltrap study"
    schema["allOf"] = [_for_kind(name) for name in kind_names()]
    properties["resources"] = {
        "type": "object", "description": properties["resources"]["description"],
    }  # fmt: skip
    for name in ("Ordering", "DistillBy", "Resources"):
        schema.get("$defs", {}).pop(name, None)
    return schema


def _for_kind(name: str) -> dict[str, Any]:
    kind = find_kind(name)
    fields = kind.settings.model_json_schema()["properties"]
    resources = kind.resources.model_json_schema()["properties"]
    axes = {
        field: {"type": "array", "items": rule, "minItems": 1} for field, rule in fields.items()
    }
    return {
        "if": {"properties": {"kind": {"const": name}}},
        "then": {
            "properties": {
                "settings": {"properties": fields, "additionalProperties": False},
                "grid": {"properties": axes, "additionalProperties": False},
                "resources": {"properties": resources, "additionalProperties": False},
            }
        },
    }

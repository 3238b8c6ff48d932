"""How large the models of a study are, from its graph and from configurations on this machine.

For estimates alone: nothing is fetched, and what isn't here is guessed from its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap_studies.llm.contents import spec_of
from recalltrap_studies.llm.models.architectures import (
    SIZES,
    is_size,
    load_config,
    parameters,
    shape_parameters,
)
from recalltrap_studies.llm.models.families import number

FALLBACK = "smollm2-360m"
"""Stands for a hub id that isn't here and whose name tells nothing."""
NAMED_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([mb])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Shape:
    """A model's parameters, tied ones once, and the numbers that its cache keeps of a token."""

    parameters: int
    cached: int


def shape_of(node: Node) -> Shape:
    """The shape of the model that a node makes, or of the one that it runs."""
    identity = node.config.get("architecture") or node.config.get("p_star")
    if identity is None:
        assert node.source is not None, "a model without parents says what it is"
        return shape_of(node.source)
    spec = spec_of(identity)
    if is_size(spec):
        return _size(spec, _vocabulary(node))
    found = _outside(spec)
    return found[0] if found else _guessed(spec)


def _vocabulary(node: Node) -> int | None:
    """Tokens of p*, which every model of the study takes over; None where they aren't known."""
    while node.source is not None:
        node = node.source
    if "vocabulary_size" in node.config:  # p* is trained here
        return int(node.config["vocabulary_size"])
    found = _outside(spec_of(node.config["p_star"]))
    return found[1] if found else None


def _size(name: str, vocabulary: int | None) -> Shape:
    size = SIZES[name]
    head = size.width // size.heads
    return Shape(shape_parameters(name, vocabulary), 2 * size.layers * size.key_value_heads * head)


@lru_cache(maxsize=64)
def _outside(spec: str) -> tuple[Shape, int] | None:
    """Shape and vocabulary of a folder, or of a hub id that was fetched before."""
    try:
        config = load_config(spec, "p_star", local_only=True)
        count = parameters(config)
    except InputError:
        return None
    heads = number(config, "num_key_value_heads") or config.num_attention_heads
    width = number(config, "head_dim") or config.hidden_size // config.num_attention_heads
    return Shape(count, 2 * config.num_hidden_layers * heads * width), int(config.vocab_size)


def _guessed(spec: str) -> Shape:
    """By what most names say, e.g. ``1.7B``; the size of ours that comes nearest otherwise."""
    found = NAMED_SIZE.search(spec.rpartition("/")[2])
    if found is None:
        return _size(FALLBACK, None)
    count = float(found[1]) * (1e9 if found[2].lower() == "b" else 1e6)
    near = min(SIZES, key=lambda name: abs(shape_parameters(name) - count))
    return Shape(int(count), _size(near, None).cached)

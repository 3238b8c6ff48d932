"""How large the models of a study are, from its graph and from configurations on this machine.

For estimates alone: nothing is fetched, and what isn't here is guessed from its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap_studies.llm.contents import loaded, spec_of
from recalltrap_studies.llm.models.architectures import (
    SIZES,
    is_size,
    load_config,
    parameters,
    shape_parameters,
)
from recalltrap_studies.llm.models.families import number
from recalltrap_studies.llm.models.layers import cut_config
from recalltrap_studies.llm.rewards.values import REWARD, SCORERS

FALLBACK = "smollm2-360m"
"""Stands for a hub id that isn't here and whose name tells nothing."""
NAMED_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([mb])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Shape:
    """A model's parameters, tied ones once, and the numbers that its cache keeps of a token.

    `hidden` is its width times its layers.
    """

    parameters: int
    cached: int
    vocabulary: int
    hidden: int


def shape_of(node: Node) -> Shape:
    """The shape of the model that a node makes, or of the one that it runs."""
    return _shape(node, None)


def _shape(node: Node, layers: int | None) -> Shape:
    """The same; `layers`: of so many of its layers alone."""
    spec = spec_at(node)
    if spec is None:
        before = node.parents.get("start") or node.source
        assert before is not None, "a model without parents says what it is"
        return _shape(before, layers or node.config.get("student_layers"))
    if not node.parents and node.config.keys() & {REWARD, SCORERS}:
        return _classifier(spec)
    if is_size(spec):
        return _size(spec, _vocabulary(node), layers)
    found = _outside(spec, layers)
    return found[0] if found else _guessed(spec)


def spec_at(node: Node) -> str | None:
    """The size, hub id or path that a node's own configuration names; None: its parent's."""
    if node.parents:
        identity = node.config.get("architecture")
        return None if identity is None else spec_of(identity)
    identity = node.config.get("p_star")
    return spec_of(loaded(node)[1] if identity is None else identity)


def _vocabulary(node: Node) -> int | None:
    """Tokens of p*, which every model of the study takes over; None where they aren't known."""
    while node.source is not None:
        node = node.source
    if "vocabulary_size" in node.config:  # p* is trained here
        return int(node.config["vocabulary_size"])
    found = _outside(str(spec_at(node)))
    return found[1] if found else None


def _size(name: str, vocabulary: int | None, layers: int | None = None) -> Shape:
    size = SIZES[name]
    head, kept = size.width // size.heads, layers or size.layers
    parameters = shape_parameters(name, vocabulary, kept)
    cached = 2 * kept * size.key_value_heads * head
    return Shape(parameters, cached, vocabulary or size.vocabulary, kept * size.width)


@lru_cache(maxsize=64)
def _outside(spec: str, layers: int | None = None) -> tuple[Shape, int] | None:
    """Shape and vocabulary of a folder, a GGUF file, or a hub id that was fetched before."""
    try:
        config = load_config(spec, "p_star", local_only=True)
        config = config if layers is None else cut_config(config, layers)
        count = parameters(config)
    except (InputError, ValueError):  # `preflight` says what is wrong
        return None
    heads = number(config, "num_key_value_heads") or config.num_attention_heads
    width = number(config, "head_dim") or config.hidden_size // config.num_attention_heads
    layers, tokens = int(config.num_hidden_layers), int(config.vocab_size)
    shape = Shape(count, 2 * layers * heads * width, tokens, layers * int(config.hidden_size))
    return shape, tokens


@lru_cache(maxsize=64)
def _classifier(spec: str) -> Shape:
    """Of a sequence classifier, which decodes nothing and so has no cache."""
    # Imported with torch, which no plan without a classifier waits for.
    from recalltrap_studies.llm.rewards.classifier import blank_classifier

    try:
        model, config = blank_classifier(spec, REWARD)
    except InputError:  # `preflight` says what is wrong
        return _guessed(spec)
    return Shape(sum(p.numel() for p in model.parameters()), 0, int(config.vocab_size), 0)


def _guessed(spec: str) -> Shape:
    """By what most names say, e.g. ``1.7B``; the size of ours that comes nearest otherwise."""
    found = NAMED_SIZE.search(spec.rpartition("/")[2])
    if found is None:
        return _size(FALLBACK, None)
    count = float(found[1]) * (1e9 if found[2].lower() == "b" else 1e6)
    near = min(SIZES, key=lambda name: abs(shape_parameters(name) - count))
    return replace(_size(near, None), parameters=int(count))

"""What a node should take, for `recalltrap plan`: tokens, floating point operations, seconds.

Rough on purpose: the operations are exact to a few per cent, the rates are one core's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from recalltrap.kinds import Estimate, Node
from recalltrap_studies.llm.architectures import is_size, shape_parameters
from recalltrap_studies.llm.sources import spec_of

RATE = 2e10
"""Floating point operations per second of one core (measured, nano models, AMD EPYC)."""
UPDATE_SECONDS = 8e-3
"""What an update takes beside its operations."""
STEP_SECONDS = 3e-3
"""What a generated position takes beside its operations, for a batch of `BATCH`."""
BATCH = 1024
FILL = 0.6
"""Of the longest response, the mean one's length."""
CORPUS_TOKENS = 32
FALLBACK = "smollm2-360m"
"""Stands for folders and hub ids, which aren't opened for an estimate."""


def estimate(node: Node) -> Estimate:
    """Seconds on one core, bytes on disk, floating point operations."""
    seconds = flops(node) / RATE
    if node.stage in ("pretrain", "sft", "target", "distill"):
        seconds += updates(node) * UPDATE_SECONDS
    elif node.stage == "align":
        config = node.config
        seconds += config["iterations"] * (
            config["align_tokens"] * STEP_SECONDS
            + config["rollout_size"] / config["minibatch_size"] * UPDATE_SECONDS
        )
    elif node.stage in ("sample", "oracle", "assess"):
        seconds += math.ceil(sequences(node) / BATCH) * _longest(node) * STEP_SECONDS
    return Estimate(seconds, _bytes(node), flops(node))


def updates(node: Node) -> int:
    """Updates of a training node."""
    config = node.config
    rows = node.parents[0].config["samples"] if node.parents else config["corpus_sentences"]
    epochs = next(config[name] for name in config if name.endswith("_epochs"))
    return math.ceil(float(rows) * float(epochs) / int(config["batch_size"]))


def sequences(node: Node) -> int:
    """Sequences that a node draws or scores."""
    config = node.config
    if node.stage == "sample":
        return int(config["samples"] + config["heldout_samples"])
    return int(config["oracle_samples"] if node.stage == "oracle" else config["evaluation_samples"])


def model_parameters(node: Node) -> int:
    """Parameters of the model that a node makes, or of the one that it runs."""
    spec = node.config.get("architecture") or node.config.get("p_star")
    if spec is None:
        return model_parameters(node.parents[0])
    name = spec_of(spec)
    return shape_parameters(name if is_size(name) else FALLBACK)


def flops(node: Node) -> float:
    """Floating point operations: 2 per parameter and token forward, 4 more backward."""
    config, size = node.config, model_parameters(node)
    if node.stage == "load":
        return 0.0
    if node.stage in ("pretrain", "sft", "target", "distill"):
        longest = node.parents[0].config["sample_tokens"] if node.parents else CORPUS_TOKENS
        return 6.0 * size * updates(node) * int(config["batch_size"]) * FILL * float(longest)
    if node.stage == "align":
        responses = int(config["iterations"]) * int(config["rollout_size"])
        return 2.0 * size * _passes(config) * responses * FILL * _longest(node)
    return 2.0 * size * sequences(node) * FILL * _longest(node) * _scorings(node)


def _passes(config: Mapping[str, Any]) -> float:
    """Forward passes of a response, a backward one as two: drawing and judging it, and learning."""
    algorithm = config["algorithm"]
    if (
        algorithm == "dpo_offline"
    ):  # drawn for the curves now and then, the reference in each update
        return 3.0 / int(config["selection_interval"]) + 4.0
    if algorithm == "dpo_online":
        learned = 2.0 * int(config["dpo_updates"]) * int(config["minibatch_size"])
        return 3.0 + 3.0 * learned / int(config["rollout_size"])
    return 4.0 + 3.0 * int(config.get("ppo_epochs", 1))


def _longest(node: Node) -> int:
    return int(node.config.get("sample_tokens") or node.config["align_tokens"])


def _scorings(node: Node) -> int:
    return 6 if node.stage == "assess" else 1


def _bytes(node: Node) -> int:
    if node.stage == "load":
        return 4_000_000
    if node.stage in ("sample", "oracle", "assess"):
        return sequences(node) * (20 + 5 * _longest(node))
    return 4 * model_parameters(node) + 60_000

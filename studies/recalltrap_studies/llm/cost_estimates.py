"""What a node should take, for `recalltrap plan`: operations, seconds on a core or a GPU, bytes.

Rough on purpose: the operations are exact to a few per cent, the rates are one core's and one
GPU's. How large the models are is `shapes`' business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from recalltrap.graph import Node
from recalltrap.kind import CostEstimate
from recalltrap_studies.llm.model_sizes import Shape, shape_of

RATE, LARGE_RATE, LARGE = 2e10, 6e10, 1e7
"""Floating point operations per second of one core, of models from `LARGE` parameters on the second
(measured on AMD EPYC: nano models; SmolLM2-135M, which draws 205 tokens/s and scores 290)."""
GPU_RATE = 1e14
"""Floating point operations per second of a GPU: a tenth of an H100's bfloat16 peak."""
GPU_BANDWIDTH = 2e12
"""Bytes per second that a GPU reads from its memory while it decodes: 0.6 of an H100's."""
UPDATE_SECONDS = 8e-3
"""What an update takes beside its operations."""
STEP_SECONDS = 3e-3
"""What a generated position takes beside its operations, for a batch of `BATCH`."""
BATCH = 1024
FILL = 0.6
"""Of the longest response, the mean one's length."""
CORPUS_TOKENS = 32


@dataclass(frozen=True)
class Draw:
    """Responses that are decoded, token after token, in batches of so many rows."""

    shape: Shape
    responses: int
    longest: int
    batch: int

    @property
    def flops(self) -> float:
        return 2.0 * self.shape.parameters * self.responses * FILL * self.longest

    @property
    def gpu_seconds(self) -> float:
        """Every step reads the weights and the cache, in bfloat16, whatever the rows."""
        steps = math.ceil(self.responses / self.batch) * self.longest
        rows = min(self.batch, self.responses) * FILL
        read = 2.0 * (self.shape.parameters + rows * self.longest / 2 * self.shape.cached)
        return max(steps * read / GPU_BANDWIDTH, self.flops / GPU_RATE)


@dataclass(frozen=True)
class Pass:
    """Tokens that go through a model at once: 2 operations each and parameter, or 6 to learn."""

    shape: Shape
    tokens: float
    learned: bool = False

    @property
    def flops(self) -> float:
        return (6.0 if self.learned else 2.0) * self.shape.parameters * self.tokens


Work = Sequence[Draw | Pass]


def estimate(node: Node) -> CostEstimate:
    """Seconds on one core and on one GPU, bytes on disk, floating point operations."""
    work = _work(node)
    seconds = sum(part.flops / _rate(part.shape) for part in work) + _overhead(node)
    decoding = sum(part.gpu_seconds for part in work if isinstance(part, Draw))
    passes = sum(part.flops for part in work if isinstance(part, Pass)) / GPU_RATE
    flops = sum(part.flops for part in work)
    return CostEstimate(seconds, _bytes(node), flops, decoding + passes, decoding)


def updates(node: Node) -> int:
    """Updates of a training node."""
    config = node.config
    samples = node.parents.get("samples")
    rows = samples.config["samples"] if samples else config["corpus_sentences"]
    epochs = next(config[name] for name in config if name.endswith("_epochs"))
    return math.ceil(float(rows) * float(epochs) / int(config["batch_size"]))


def sequences(node: Node) -> int:
    """Sequences that a node draws or scores."""
    config = node.config
    if node.stage == "sample":
        return int(config["samples"] + config["heldout_samples"])
    return int(config["oracle_samples"] if node.stage == "oracle" else config["evaluation_samples"])


def _work(node: Node) -> Work:
    if node.stage == "load":
        return ()
    if node.stage in ("pretrain", "sft", "target", "distill"):
        samples = node.parents.get("samples")
        longest = samples.config["sample_tokens"] if samples else CORPUS_TOKENS
        tokens = updates(node) * int(node.config["batch_size"]) * FILL * float(longest)
        return (Pass(shape_of(node), tokens, learned=True),)
    if node.stage == "align":
        return _alignment(node)
    drawn = Draw(shape_of(node), sequences(node), _longest(node), BATCH)
    return _assessment(node, drawn) if node.stage == "assess" else (drawn,)


def _assessment(node: Node, drawn: Draw) -> Work:
    """q draws its own samples and scores those of p* and of p_target; both score q's."""
    p_star, p_target, oracle = (node.parents[name] for name in ("p_star", "p_target", "oracle"))
    own = drawn.responses * FILL * drawn.longest
    theirs = own + sequences(oracle) * FILL * _longest(oracle)
    return (
        drawn,
        Pass(drawn.shape, theirs),
        Pass(shape_of(p_star), own),
        Pass(shape_of(p_target), own),
    )


def _alignment(node: Node) -> Work:
    """The policy draws, reference and p_target score, the policy learns."""
    config = node.config
    start, reference, p_target = (
        shape_of(node.parents[name]) for name in ("start", "reference", "p_target")
    )
    algorithm, size = str(config["algorithm"]), int(config["rollout_size"])
    rollouts, mean = int(config["iterations"]), FILL * _longest(node)
    drawn, learned = rollouts * size, float(rollouts * size)
    if algorithm == "ppo":
        learned *= int(config["ppo_epochs"])
    elif algorithm == "dpo_online":
        learned = 2.0 * rollouts * int(config["dpo_updates"]) * int(config["minibatch_size"])
    elif algorithm == "dpo_offline":
        measured = math.ceil(rollouts / int(config["selection_interval"]))
        drawn = 2 * int(config["offline_pairs"]) + measured * size
    # Offline DPO's pairs are scored by the reference in each update.
    scored = learned if algorithm == "dpo_offline" else drawn
    return (
        Draw(start, drawn, _longest(node), size),
        *(Pass(start, drawn * mean) for _ in range(algorithm == "ppo")),  # the values
        Pass(reference, scored * mean),
        Pass(p_target, drawn * mean),
        Pass(start, learned * mean, learned=True),
    )


def _overhead(node: Node) -> float:
    """What a core takes beside the operations."""
    config = node.config
    if node.stage in ("pretrain", "sft", "target", "distill"):
        return updates(node) * UPDATE_SECONDS
    if node.stage == "align":
        learning = config["rollout_size"] / config["minibatch_size"] * UPDATE_SECONDS
        drawing = config["align_tokens"] * STEP_SECONDS
        return float(config["iterations"] * (drawing + learning))
    if node.stage in ("sample", "oracle", "assess"):
        return math.ceil(sequences(node) / BATCH) * _longest(node) * STEP_SECONDS
    return 0.0


def _rate(shape: Shape) -> float:
    return LARGE_RATE if shape.parameters >= LARGE else RATE


def _longest(node: Node) -> int:
    return int(node.config.get("sample_tokens") or node.config["align_tokens"])


def _bytes(node: Node) -> int:
    if node.stage == "load":
        return 4_000_000
    if node.stage in ("sample", "oracle", "assess"):
        return sequences(node) * (20 + 5 * _longest(node))
    return 4 * shape_of(node).parameters + 60_000

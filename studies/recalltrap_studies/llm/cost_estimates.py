"""What a node should take, for `recalltrap plan`: operations, seconds on a core or a GPU, memory.

One function for each kind of work, which the records of `stages.registry` name. Rough on purpose:
the operations are exact to a few per cent, the rates are one core's and one GPU's. How large the
models are is `model_sizes`' business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recalltrap.graph import Node
from recalltrap.kind import CostEstimate
from recalltrap_studies.llm.alignment.registry import find_algorithm
from recalltrap_studies.llm.distillation.registry import distillation_of_node
from recalltrap_studies.llm.model_sizes import Shape, shape_of
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.stage_settings import SCORER_PLACES

RATE, LARGE_RATE, LARGE = 2e10, 6e10, 1e7
"""Floating point operations per second of one core, of models from `LARGE` parameters on the second
(measured on AMD EPYC: nano models; SmolLM2-135M, which draws 205 tokens/s and scores 290)."""
GPU_RATE = 1e14
"""Floating point operations per second of a GPU: a tenth of an H100's bfloat16 peak."""
GPU_BANDWIDTH = 9e11
"""Bytes per second of weights and cache that a GPU goes through while it decodes, a quarter of an
H100's: measured with 1,024 rows of SmolLM2-135M, 7 ms a step, most of them unfused kernels."""
GPU_MEMORY = 4e10
"""Bytes that decoding may take of a GPU: half of an H100's, as `inference.batch_sizes` has it."""
UPDATE_SECONDS = 8e-3
"""What an update takes beside its operations."""
STEP_SECONDS = 3e-3
"""What a generated position takes beside its operations, for a batch of `BATCH`."""
BATCH = 1024
FILL = 0.6
"""Of the longest response the mean one's length, of models whose p* is trained here on sentences.
Others speak on until they are stopped: a base model's texts are longer than what is asked of it."""
CORPUS_TOKENS = 32
WHOLE_LOGITS, LOGITS_PIECE = 4096, 1024
"""Vocabularies up to here get all logits at once, larger ones those of so many tokens."""
JUDGES = frozenset({"p_target", "reward", *SCORER_PLACES})
"""What the models of rewards are to what they judge."""
DRAWN_BYTES = 1 << 30
"""What a CPU's cache and logits may take: rows are drawn at once by it."""


@dataclass(frozen=True)
class Draw:
    """Responses that are decoded, token after token, in batches of so many rows."""

    shape: Shape
    responses: int
    longest: int
    batch: int
    fill: float = FILL
    """Of the longest response, the mean one's length."""

    @property
    def flops(self) -> float:
        length = self.fill * self.longest
        return 2.0 * _operations(self.shape, length) * self.responses * length

    @property
    def gpu_seconds(self) -> float:
        """Every step reads the weights and the cache, in bfloat16, whatever the rows."""
        batch = min(self.batch, self._fitting())
        steps = math.ceil(self.responses / batch) * self.longest
        rows = min(batch, self.responses) * self.fill
        read = 2.0 * (self.shape.parameters + rows * self.longest / 2 * self.shape.cached)
        return max(steps * read / GPU_BANDWIDTH, self.flops / GPU_RATE)

    def _fitting(self) -> int:
        """Rows whose cache and logits a GPU's memory has room for, a power of two."""
        each = 2 * self.shape.cached * self.longest + 20 * self.shape.vocabulary
        return 1 << (max(int(GPU_MEMORY // each), 1).bit_length() - 1)


@dataclass(frozen=True)
class Pass:
    """Sequences of a mean length that go through a model at once: 2 operations each token and
    parameter, or 6 to learn."""

    shape: Shape
    sequences: float
    length: float
    learned: bool = False

    @property
    def flops(self) -> float:
        tokens = self.sequences * self.length
        return (6.0 if self.learned else 2.0) * _operations(self.shape, self.length) * tokens


Work = Sequence[Draw | Pass]


def _operations(shape: Shape, length: float) -> float:
    """Multiplications of a token's forward pass: one with each parameter, and two with each number
    of the hidden states that it attends to, half a sequence of this length on average."""
    return shape.parameters + shape.hidden * length


def fill_of(node: Node) -> float:
    """Of the longest response, the mean one's length: see `FILL`."""
    while node.source is not None:
        node = node.source
    return FILL if "vocabulary_size" in node.config else 1.0  # p* is trained here


def training(node: Node, epochs: str) -> CostEstimate:
    """What a training takes; `epochs` is the setting that says how often it sees its rows."""
    config, made = node.config, updates(node, epochs)
    samples = node.parents.get("samples")
    longest = samples.config["sample_tokens"] if samples else CORPUS_TOKENS
    shape, length = shape_of(node), fill_of(node) * float(longest)
    rows = made * int(config["batch_size"])
    work: list[Draw | Pass] = [Pass(shape, rows, length, learned=True)]
    work.append(Pass(shape, samples.config["heldout_samples"] if samples else 0, length))
    work += _distilling(node, shape, rows, length)
    return _estimate(work, made * UPDATE_SECONDS, _weights(node))


def _distilling(node: Node, shape: Shape, rows: int, length: float) -> Iterator[Draw | Pass]:
    """What a distillation does beside learning: other models score, the student draws, pairs are
    labelled."""
    record = distillation_of_node(node)
    if record is None:
        return
    for scorer in _scorers(node):
        yield Pass(shape_of(scorer), record.scored_share * rows, length)
    if record.draws is not None:
        own = round(record.draws(node.config) * rows)
        longest = int(node.parents["samples"].config["sample_tokens"])
        yield Draw(shape, own, longest, BATCH, fill_of(node))
    if pairs := node.parents.get("pairs"):
        for judge in _reward_models(node):
            yield Pass(shape_of(judge), int(pairs.config["samples"]), length)


def _scorers(node: Node) -> list[Node]:
    """The models that score what a student learns."""
    record = distillation_of_node(node)
    return [node.parents[name] for name in record.scored_by] if record else []


def updates(node: Node, epochs: str) -> int:
    """Updates of a training."""
    config, samples = node.config, node.parents.get("samples")
    rows = samples.config["samples"] if samples else config["corpus_sentences"]
    return math.ceil(float(rows) * float(config[epochs]) / int(config["batch_size"]))


def loading(node: Node) -> CostEstimate:
    """What a pointer to p* takes: its tokenizer is copied, and its weights aren't."""
    return _estimate((), 0.0, 4_000_000)


def sampling(node: Node) -> CostEstimate:
    """What a teacher's samples take, those held out too."""
    count = int(node.config["samples"] + node.config["heldout_samples"])
    longest = int(node.config["sample_tokens"])
    # In shards, by the smallest type that holds a token; the codec takes little of it away.
    width = 2 if shape_of(node).vocabulary <= 1 << 16 else 4
    stored = count * (4 + width * fill_of(node) * longest)
    return _responses(node, count, longest, stored=int(stored))


def threshold(node: Node) -> CostEstimate:
    """What the oracle's threshold takes: samples of p_target."""
    return _responses(node, *_threshold_samples(node))


def assessment(node: Node) -> CostEstimate:
    """q draws its own samples and scores those of p* and of p_target; p*, rewards score q's."""
    count, longest = int(node.config["evaluation_samples"]), int(node.config["sample_tokens"])
    fill, judges = fill_of(node), [node.parents["p_star"], *_reward_models(node)]
    scorers = [node, *judges]  # q of p*'s samples, the judges of q's
    passes = [Pass(shape_of(scorer), count, fill * longest) for scorer in scorers]
    if oracle := node.parents.get("oracle"):
        of_target, longest_of_target = _threshold_samples(oracle)
        passes.append(Pass(shape_of(node), of_target, fill * longest_of_target))
    return _responses(node, count, longest, passes)


def alignment(node: Node) -> CostEstimate:
    """The policy draws, the reference and the reward's model score, the policy learns."""
    algorithm = find_algorithm(node.config["algorithm"])
    settings = algorithm.read(node.config)
    start, reference = shape_of(node.parents["start"]), shape_of(node.parents["reference"])
    passes, longest = algorithm.passes(settings), settings.align_tokens
    fill = fill_of(node)
    mean = fill * longest
    work: Work = (
        Draw(start, passes.drawn, longest, settings.rollout_size, fill),
        Pass(start, passes.by_policy, mean),
        Pass(reference, passes.by_reference, mean),
        *(Pass(shape_of(model), passes.drawn, mean) for model in _reward_models(node)),
        Pass(start, passes.learned, mean, learned=True),
    )
    learning = settings.rollout_size / settings.minibatch_size * UPDATE_SECONDS
    overhead = settings.iterations * (longest * STEP_SECONDS + learning)
    return _estimate(work, overhead, _weights(node))


def _responses(
    node: Node, count: int, longest: int, passes: Work = (), stored: int | None = None
) -> CostEstimate:
    """What it takes to draw responses, and to let them pass through models."""
    drawn = Draw(shape_of(node), count, longest, BATCH, fill_of(node))
    overhead = math.ceil(count / BATCH) * longest * STEP_SECONDS
    kept = count * (20 + 5 * longest) if stored is None else stored
    return _estimate((drawn, *passes), overhead, kept)


def _reward_models(node: Node) -> list[Node]:
    """The models of what a node's responses are judged by; a function has none."""
    return [parent for name, parent in node.parents.items() if name in JUDGES]


def _threshold_samples(oracle: Node) -> tuple[int, int]:
    """How many samples of p_target an oracle draws, and how long they may be."""
    return int(oracle.config["oracle_samples"]), int(oracle.config["align_tokens"])


def _estimate(work: Work, overhead: float, stored: int) -> CostEstimate:
    """Seconds on one core and on one GPU, bytes on disk, floating point operations.

    `overhead` is what a core takes beside the operations, in seconds.
    """
    seconds = sum(part.flops / _rate(part.shape) for part in work) + overhead
    decoding = sum(part.gpu_seconds for part in work if isinstance(part, Draw))
    passes = sum(part.flops for part in work if isinstance(part, Pass)) / GPU_RATE
    flops = sum(part.flops for part in work)
    return CostEstimate(seconds, stored, flops, decoding + passes, decoding)


def _rate(shape: Shape) -> float:
    return LARGE_RATE if shape.parameters >= LARGE else RATE


def _weights(node: Node) -> int:
    """Bytes of a model in float32, with its tokenizer."""
    return 4 * shape_of(node).parameters + 60_000


def memory(node: Node, wanted: LlmResources) -> dict[str, float]:
    """Bytes that a worker needs at once to build a node, by what they are for.

    Weights that are trained are float32 with a gradient and AdamW's two moments, which ZeRO shares
    out; others are bfloat16 on a GPU. Of what is drawn at once a GPU's memory decides: one row is
    counted there. Libraries and the CUDA context come besides.
    """
    each = 2.0 if wanted.gpus_per_trial else 4.0
    config, parents = node.config, node.parents
    if "batch_size" in config:
        shape, samples = shape_of(node), parents.get("samples")
        longest = int(samples.config["sample_tokens"]) if samples else CORPUS_TOKENS
        tokens = int(config["batch_size"]) * fill_of(node) * longest
        scorers = _scorers(node)
        held = {*scorers, *([parents["start"]] if "states" in parents else [])}
        beside = {"teacher": each * sum(shape_of(m).parameters for m in held)} if scorers else {}
        learned = _learned(shape, tokens, wanted, whole=bool(scorers))
        return {"model and AdamW": _trained(shape, wanted), **beside, **learned}
    if "minibatch_size" in config:
        start, reference = shape_of(parents["start"]), shape_of(parents["reference"])
        longest = int(config["align_tokens"])
        rows = math.ceil(int(config["rollout_size"]) / wanted.workers)
        return {
            "policy and AdamW": _trained(start, wanted),
            "reference": 4.0 * reference.parameters,  # in the policy's precision
            **_judging(node, each),
            "cache and logits": _drawn(start, rows, longest, wanted),
            **_learned(start, int(config["minibatch_size"]) * fill_of(node) * longest, wanted),
        }
    longest = max(
        int(m.config.get("sample_tokens", m.config.get("align_tokens", 0)))
        for m in (node, *parents.values())
    )
    if not longest:  # a pointer, or a file's rows: no model runs
        return {}
    # what judges a model stands beside it; to draw samples or set a threshold takes the model alone
    drawn, needed = shape_of(node), _judging(node, each)
    if p_star := parents.get("p_star"):
        needed["p*"] = each * shape_of(p_star).parameters
    cache = _drawn(drawn, BATCH, longest, wanted)
    return {"model": each * drawn.parameters, **needed, "cache and logits": cache}


def _judging(node: Node, each: float) -> dict[str, float]:
    """What stands beside a model to judge what it says, at so many bytes a parameter."""
    models = _reward_models(node)
    return {"reward model": each * sum(shape_of(m).parameters for m in models)} if models else {}


def _trained(shape: Shape, wanted: LlmResources) -> float:
    """Weights, gradient and two moments in float32; which of them ZeRO shares, by its stage."""
    shared = {None: 0.0, 1: 8.0, 2: 12.0, 3: 16.0}[wanted.zero_stage]
    return shape.parameters * (16.0 - shared + shared / wanted.workers)


def _learned(
    shape: Shape, batch_tokens: float, wanted: LlmResources, *, whole: bool = False
) -> dict[str, float]:
    """What one part of an update holds until its backward pass: 17 numbers per layer, width and
    token (Korthikanti et al. 2022, eq. 2, without attention's square), or 2 where activations are
    computed twice; logits with their logarithm and gradient, of large vocabularies in pieces,
    unless they are compared with a teacher's as a whole."""
    tokens = batch_tokens / (wanted.workers * wanted.gradient_accumulation)
    kept = 2.0 if wanted.gradient_checkpointing else 17.0
    in_pieces = shape.vocabulary > WHOLE_LOGITS and not whole
    held = min(tokens, LOGITS_PIECE) if in_pieces else tokens
    each = 2.0 if wanted.gpus_per_trial else 4.0  # autocast to bfloat16 on a GPU
    size = each * kept * tokens * shape.hidden + 12.0 * held * shape.vocabulary
    return {"activations and logits": size}


def _drawn(shape: Shape, rows: int, longest: int, wanted: LlmResources) -> float:
    """A cache that grows by copying, and logits in float32 with their copies."""
    if wanted.gpus_per_trial:
        return 2.0 * shape.cached * longest + 20.0 * shape.vocabulary
    each = 8.0 * shape.cached * longest + 20.0 * shape.vocabulary
    return max(min(rows * each, DRAWN_BYTES), each)

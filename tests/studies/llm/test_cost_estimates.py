"""What `plan` reckons: the models that a study names, and what bounds their decoding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.graph import Cell, Node, ancestry
from recalltrap.orderings import Ordering
from recalltrap.store.store import ArtifactStore
from recalltrap.study.named_studies import load_study
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.cost_estimates import GPU_BANDWIDTH, GPU_RATE, Draw
from recalltrap_studies.llm.data.responses import PromptRows, Responses
from recalltrap_studies.llm.data.sample_shards import shard_table, shards_of
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.model_sizes import Shape, shape_of
from recalltrap_studies.llm.models import architectures
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages.registry import SAMPLE

HUB = "HuggingFaceTB/SmolLM2-{}"


def cell(ordering: str = "A-K", **settings: Any) -> Cell:
    return KIND.cell(Ordering.model_validate(ordering), LlmSettings(**settings), 0)


def model(found: Cell, stage: str) -> Node:
    return next(node for node in found.nodes if node.stage == stage)


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> str:
    path = tmp_path_factory.mktemp("estimates") / "model"
    tiny_model.save_pretrained(path)
    tiny_tokenizer.save_pretrained(path)
    return str(path)


def test_a_folder_s_own_configuration_is_counted(folder: str, tiny_model: PreTrainedModel) -> None:
    found = cell(p_star=folder, p_prime=folder, student="nano-small", p_target=folder)
    own = sum(parameter.numel() for parameter in tiny_model.parameters())
    cached = 2 * tiny_model.config.num_hidden_layers * tiny_model.config.hidden_size
    for stage in ("load", "sft", "target"):
        shape = shape_of(model(found, stage))
        assert (shape.parameters, shape.cached) == (own, cached)
    # a size of ours takes p*'s vocabulary
    tokens = tiny_model.config.vocab_size
    student = architectures.shape_parameters("nano-small", tokens)
    assert shape_of(model(found, "distill")).parameters == student
    assert shape_of(found.models["final"]).parameters == student
    assert KIND.estimate(model(found, "sft")).bytes == pytest.approx(4 * own, abs=100_000)


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        (HUB.format("1.7B"), 1_700_000_000),
        (HUB.format("135M-Instruct@main"), 135_000_000),
        ("Qwen/Qwen2.5-0.5B", 500_000_000),
        ("somebody/model", 361_821_120),  # the name tells nothing
        ("somebody/3mice", 361_821_120),
    ],
)
def test_a_hub_id_that_is_not_here_is_judged_by_its_name(spec: str, parameters: int) -> None:
    assert shape_of(Node("load", 0, {"p_star": spec})).parameters == parameters


def test_p_star_and_its_pupils_have_sizes_of_their_own() -> None:
    found = cell(p_star=HUB.format("1.7B"), p_prime="smollm2-360m", student="smollm2-135m")
    large, small = (
        KIND.estimate(SAMPLE.node(0, model(found, "sample").config, model=model(found, stage)))
        for stage in ("load", "sft")
    )
    assert large.flops / small.flops == pytest.approx(1.7e9 / 361_821_120, rel=0.01)
    assert large.gpu_decoding == large.gpu_seconds > small.gpu_decoding > 0


def test_an_assessment_is_the_sum_of_who_draws_and_who_scores() -> None:
    settings = {"evaluation_samples": 100, "oracle_samples": 100, "sample_tokens": 32}
    found = cell("K", p_star="nano-large", student="nano-small", **settings)
    node = found.assessments["final"]
    shapes = [shape_of(node.parents[name]) for name in ("model", "p_star", "p_target")]
    # a token's products with weights, and with half a sequence of keys and values before it
    own, p_star, p_target = (s.parameters + s.hidden * 0.6 * 32 for s in shapes)
    tokens = 100 * 0.6 * 32
    assert KIND.estimate(node).flops == pytest.approx(2 * tokens * (3 * own + p_star + p_target))


def test_the_paper_s_study_takes_what_an_independent_count_says() -> None:
    """`llm/smollm2-ppo` by hand: SmolLM2's sizes, its settings, every sequence at full length."""
    study = load_study("llm/smollm2-ppo")
    large, medium, small = ((1.711e9, 24 * 2048), (361.8e6, 32 * 960), (134.5e6, 30 * 576))

    def forward(model: tuple[float, int], sequences: float, tokens: int) -> float:
        weights, hidden = model
        return sequences * tokens * 2 * (weights + hidden * tokens)

    rows, held_out, judged = 1e7, 1e5, 16_384
    by_seed = forward(large, rows + held_out, 512)  # p*'s samples
    by_seed += 3 * forward(medium, rows + held_out, 512)  # of p' for p'' and p_target, of p'_AK
    for student in (medium, small, small, small):  # p', p_target, p'', A-K's final
        by_seed += 3 * forward(student, rows, 512) + forward(student, held_out, 512)
    for policy, reference in ((small, small), (medium, medium), (small, medium)):
        drawn = 1000 * 64
        by_seed += (2 + 3) * forward(policy, drawn, 128)  # drawn, scored, learned from
        by_seed += forward(reference, drawn, 128) + forward(small, drawn, 128)
    by_seed += forward(small, judged, 128) + forward(large, judged, 512)  # oracle, truth
    for model in (medium, medium, small, small, small, small):  # assessed
        by_seed += 2 * forward(model, judged, 512) + forward(model, judged, 128)
        by_seed += forward(large, judged, 512) + forward(small, judged, 512)
    nodes = {node.id: node for cell in study.cells() for node in ancestry(cell.outputs)}
    found = sum(KIND.estimate(node).flops for node in nodes.values())
    assert found == pytest.approx(3 * by_seed, rel=0.02)
    assert 1.6e20 < found < 1.7e20


def test_models_from_outside_speak_on_and_those_of_sentences_stop() -> None:
    """A base model fills what it's asked for; sentences of the grammar end before."""
    settings: dict[str, Any] = {"training_samples": 1000, "heldout_samples": 1, "sample_tokens": 32}
    grammar, outside = (
        KIND.estimate(model(cell(p_star=p_star, p_prime="smollm2-135m", **settings), "sft"))
        for p_star in ("nano-large", HUB.format("135M"))
    )
    own, full = (
        shape_of(model(cell(p_star=p_star, p_prime="smollm2-135m"), "sft"))
        for p_star in ("nano-large", HUB.format("135M"))
    )
    ratio = (outside.flops / full.parameters) / (grammar.flops / own.parameters)
    assert ratio == pytest.approx(1 / 0.6, rel=0.02)


def test_a_teacher_that_scores_makes_one_pass_of_its_own() -> None:
    tokens, logits = (model(cell(distillation=way), "distill") for way in ("sequence", "logits"))
    student, teacher = (shape_of(node).parameters for node in (logits, logits.parents["teacher"]))
    assert logits.id != tokens.id
    assert logits.parents["samples"].id == tokens.parents["samples"].id
    more = KIND.estimate(logits).flops - KIND.estimate(tokens).flops
    learned = KIND.estimate(tokens).flops / (6 * student)
    assert more == pytest.approx(2 * teacher * learned, rel=0.05)  # but for the held-out pass


def test_handovers_cost_what_scores_and_draws_beside_them() -> None:
    """At equal updates: DCKD's teacher scores every sequence, ADPA's and its reference half."""
    found = {}
    for way in ("logits", "on_policy", "dckd", "adpa"):
        ordering = {"name": "A-x", "stages": ["align", {"distill": way}]}
        found[way] = KIND.cell(Ordering.model_validate(ordering), LlmSettings(), 0).models["final"]
    flops = {way: KIND.estimate(node).flops for way, node in found.items()}
    judge = shape_of(found["dckd"].parents["p_target"]).parameters
    labelled = 2 * judge * 40_000 * 0.6 * 32
    assert flops["dckd"] == pytest.approx(flops["logits"] + labelled, rel=0.02)
    assert flops["adpa"] == pytest.approx(flops["dckd"], rel=0.02)
    assert flops["on_policy"] > 1.05 * flops["logits"]


def test_a_gpu_draws_as_many_rows_as_its_memory_holds() -> None:
    """Of SmolLM2-1.7B 256 at 512 tokens, so the weights are read four times as often."""
    shape = Shape(1_711_376_384, 2 * 24 * 2048, vocabulary=49_152, hidden=24 * 2048)
    whole = Draw(shape, 1024, 512, 1024, 1.0)
    parts = Draw(shape, 1024, 512, 256, 1.0)
    assert whole.gpu_seconds == pytest.approx(parts.gpu_seconds)
    assert Draw(shape, 1024, 512, 128, 1.0).gpu_seconds > 1.1 * whole.gpu_seconds


def test_samples_are_estimated_at_what_their_shards_take(store: ArtifactStore) -> None:
    """The largest part of a large study's disk: two bytes a token, and no log-probabilities."""
    config = {"samples": 2048, "heldout_samples": 0, "sample_tokens": 512}
    node = SAMPLE.node(0, config, model=Node("load", 0, {"p_star": HUB.format("135M")}))
    (shard,) = shards_of(2048, 0)
    tokens_BT = torch.randint(0, 49_152, (2048, 512), generator=torch.Generator().manual_seed(0))
    whole_BT, unknown_BT = torch.ones_like(tokens_BT).bool(), torch.zeros(2048, 512)
    drawn = Responses(tokens_BT, whole_BT, unknown_BT, torch.zeros(2048).bool())
    table = shard_table(shard, [(PromptRows.same([5]), drawn)], 49_152)
    stored = store.put_table(node, shard.name, table)["bytes"]
    assert KIND.estimate(node).bytes == pytest.approx(stored, rel=0.15)


@pytest.mark.parametrize("batch", [1, 16])
def test_few_rows_are_decoded_as_fast_as_memory_is_read(batch: int) -> None:
    """Twice the rows take the same time, until arithmetic or the cache is what bounds them."""
    shape = Shape(1_711_376_384, 0, vocabulary=512, hidden=80)
    one = Draw(shape, batch, 128, batch)
    assert one.gpu_seconds == pytest.approx(128 * 2 * shape.parameters / GPU_BANDWIDTH)
    assert Draw(shape, 2 * batch, 128, 2 * batch).gpu_seconds == pytest.approx(one.gpu_seconds)
    assert one.gpu_seconds > 1.5 * one.flops / GPU_RATE
    many = Draw(shape, 4096, 128, 4096)
    assert many.gpu_seconds == many.flops / GPU_RATE
    cached = Draw(Shape(shape.parameters, 2 * 24 * 2048, vocabulary=512, hidden=80), 64, 128, 64)
    assert cached.gpu_seconds > 1.1 * Draw(shape, 64, 128, 64).gpu_seconds


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_alignment_has_a_cost(algorithm: str) -> None:
    node = model(cell("A", algorithm=algorithm), "align")
    found = KIND.estimate(node)
    assert found.flops > 0
    assert 0 < found.gpu_decoding < found.gpu_seconds
    longer = KIND.estimate(model(cell("A", algorithm=algorithm, iterations=400), "align"))
    assert found.seconds < longer.seconds <= 2 * found.seconds

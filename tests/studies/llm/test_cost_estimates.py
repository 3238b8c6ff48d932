"""What `plan` reckons: the models that a study names, and what bounds their decoding."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.graph import Cell, Node
from recalltrap.orderings import Ordering
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.cost_estimates import GPU_BANDWIDTH, GPU_RATE, Draw
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
    assert large.flops / small.flops == pytest.approx(1.7e9 / 361_821_120)
    assert large.gpu_decoding == large.gpu_seconds > small.gpu_decoding > 0


def test_an_assessment_is_the_sum_of_who_draws_and_who_scores() -> None:
    settings = {"evaluation_samples": 100, "oracle_samples": 100, "sample_tokens": 32}
    found = cell("K", p_star="nano-large", student="nano-small", **settings)
    node = found.assessments["final"]
    sizes = [shape_of(node.parents[name]).parameters for name in ("model", "p_star", "p_target")]
    tokens = 100 * 0.6 * 32
    passes = 2 * tokens * (3 * sizes[0] + sizes[1] + sizes[2])
    assert KIND.estimate(node).flops == pytest.approx(passes)


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

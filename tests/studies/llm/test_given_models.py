"""Studies on models that the user has: what is built of them, what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import Cell, Node
from recalltrap.orderings import STANDARD, Operations, Ordering
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.model_sizes import shape_of
from recalltrap_studies.llm.models import architectures, tokenizers
from recalltrap_studies.llm.preflight import check_sources
from recalltrap_studies.llm.settings import LlmSettings
from tests.studies.llm.given_folders import folder_of, layered

CUSTOM = {"name": "twice", "stages": ["distill", "distill", "align@p'", "align"]}
LONG = {"name": "long", "stages": ["align", "align", "distill", "align"]}


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_tokenizer: PreTrainedTokenizerFast,
    sentences: list[str],
) -> dict[str, str]:
    """A large model, one of its size that is aligned, small ones, and ones that don't fit."""
    root, tiny = tmp_path_factory.mktemp("given"), tiny_tokenizer
    models = {
        "large": (layered(tiny, 5, width=24), tiny),
        "aligned": (layered(tiny, 5, width=24, seed=1), tiny),
        "small": (layered(tiny, 2, seed=2), tiny),
        "second": (layered(tiny, 2, seed=3), tiny),
        "padded": (layered(tiny, 2, seed=2, spare=8), tiny),
    }
    other = tokenizers.train_tokenizer(sentences, 80)
    models["stranger"] = (layered(other, 2), other)
    return {name: folder_of(root / name, *made) for name, made in models.items()}


def settings(folders: dict[str, str], **fields: Any) -> LlmSettings:
    """Settings of a study on the large model, in which `@name` stands for a folder."""
    fields = {"p_prime": "@large", "p_prime_weights": "given", **fields}
    named = {k: folders[v[1:]] if str(v).startswith("@") else v for k, v in fields.items()}
    return LlmSettings.model_validate(named)


def cell(folders: dict[str, str], ordering: Any = "K-A", **fields: Any) -> Cell:
    return KIND.cell(Ordering.model_validate(ordering), settings(folders, **fields), 1)


def stages(one: Cell) -> list[str]:
    return sorted(node.stage for node in one.nodes)


def sources(one: Cell) -> set[str]:
    return {field for node in one.nodes if node.stage == "load" for field in node.config}


def reads(folders: dict[str, str], orderings: list[Any], **fields: Any) -> dict[str, str]:
    found = KIND.reads(settings(folders, **fields), [Ordering.model_validate(o) for o in orderings])
    return dict(found.unread)


@pytest.mark.parametrize("ordering", [*STANDARD, CUSTOM, LONG], ids=str)
def test_every_ordering_builds_on_a_given_p_prime(folders: dict[str, str], ordering: Any) -> None:
    one = cell(folders, ordering)
    assert not {"sft", "pretrain"} & set(stages(one))
    assert sources(one) == {"p_prime"}
    judged = {node.parents["p_star"].id for node in one.assessments.values()}
    assert judged == {one.models["p_prime"].id}, "p' judges precision"
    assert one.models["p_prime"].seed == 0


def test_p_star_may_still_judge(folders: dict[str, str]) -> None:
    one = cell(folders, p_star="@aligned")
    assert sources(one) == {"p_star", "p_prime"}
    judge = one.assessments["final"].parents["p_star"]
    assert list(judge.config) == ["p_star"]


def test_a_model_is_known_by_its_content(folders: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "moved"
    copy.mkdir()
    for file in Path(folders["large"]).iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    one, same = cell(folders), cell(folders, p_prime=str(copy))
    assert [node.id for node in one.nodes] == [node.id for node in same.nodes]
    assert one.id == same.id
    (copy / "model.safetensors").write_bytes(b"other")
    assert cell(folders, p_prime=str(copy)).id != one.id


@pytest.mark.parametrize("weights", ["new", "given", "layers"])
def test_what_students_begin_with(folders: dict[str, str], weights: str) -> None:
    more = {"student_layers": 3} if weights == "layers" else {"student": "@small"}
    one = cell(folders, "A-K", student_weights=weights, **more)
    students = [node for node in one.nodes if node.stage == "distill"]
    assert len(students) == 2
    starts = [node.parents.get("start") for node in students]
    if weights == "new":
        assert starts == [None, None]
        assert all("architecture" in node.config for node in students)
        return
    (start,) = {node.id: node for node in starts if node is not None}.values()
    assert start.id == (one.models["p_prime"].id if weights == "layers" else start.id)
    assert list(start.config) == (["p_prime"] if weights == "layers" else ["student"])
    assert all("architecture" not in node.config for node in students)


def test_sizes_of_given_models(folders: dict[str, str], tiny_tokenizer: Any) -> None:
    def size(node: Node) -> int:
        return shape_of(node).parameters

    def parameters(layers: int, width: int) -> int:
        return architectures.parameters(layered(tiny_tokenizer, layers, width=width).config)

    layers = cell(folders, "A-K", student_weights="layers", student_layers=3)
    assert size(layers.models["final"]) == parameters(3, 24)
    assert size(layers.models["p_prime_aligned"]) == parameters(5, 24)
    given = cell(folders, "K-A", student="@small", student_weights="given")
    assert size(given.models["final"]) == parameters(2, 16)
    arms = cell(folders, "K-A", p_second="@second")
    assert size(arms.models["final"]) == parameters(2, 16)


def test_layers_of_a_size_of_ours_have_a_size_too() -> None:
    settings = LlmSettings(student_weights="layers", student_layers=2, p_prime="smollm2-135m")
    one = KIND.cell(Ordering.model_validate("K"), settings, 0)
    whole, cut = (shape_of(one.models[name]) for name in ("p_prime", "final"))
    assert cut.cached * 15 == whole.cached
    assert cut.parameters == architectures.shape_parameters("smollm2-135m", 512, 2)


def test_arms_are_taken_as_they_are(folders: dict[str, str]) -> None:
    k_a = cell(folders, "K-A", p_second="@second")
    assert list(k_a.models["p_second"].config) == ["p_second"]
    assert "distill" not in stages(k_a)
    assert k_a.models["final"].parents["start"].id == k_a.models["p_second"].id
    at_p = cell(folders, "K-A@p'", p_second="@second").models["final"]
    assert list(at_p.parents["start"].config) == ["p_second"]
    assert list(at_p.parents["reference"].config) == ["p_prime"]
    a_k = cell(folders, "A-K", p_second="@second", p_prime_aligned="@aligned")
    assert "align" not in stages(a_k)
    assert list(a_k.models["p_prime_aligned"].config) == ["p_prime_aligned"]
    assert stages(a_k).count("distill") == 1
    assert a_k.models["final"].parents["teacher"].id == a_k.models["p_prime_aligned"].id


def test_a_given_p_second_is_not_what_a_step_distils_by_name(folders: dict[str, str]) -> None:
    own: Any = {"name": "logits-A", "stages": [{"distill": "logits"}, "align"]}
    one = cell(folders, own, p_second="@second")
    assert list(one.models["p_second"].config) == ["p_second"]
    start = one.models["final"].parents["start"]
    assert (start.stage, start.config["distillation"]) == ("distill", "logits")
    assert "distill_epochs" in reads(folders, ["K-A"], p_second="@second")
    assert "distill_epochs" not in reads(folders, [own], p_second="@second")


def test_orderings_share_their_arms(folders: dict[str, str]) -> None:
    arms = {"p_second": "@second", "p_prime_aligned": "@aligned"}
    cells = [cell(folders, ordering, **arms) for ordering in ("K-A", "A-K", "K-A@p'")]
    assert len({one.models["p_second"].id for one in cells}) == 1
    assert len({node.id for one in cells for node in one.nodes if node.stage == "load"}) == 3
    (student,) = {n.id: n for one in cells for n in one.nodes if n.stage == "distill"}.values()
    assert shape_of(student) == shape_of(cells[0].models["p_second"]), "as the given p''"


@pytest.mark.parametrize(
    ("orderings", "fields", "name", "reason"),
    [
        (["K-A"], {}, "p_prime_epochs", "p' isn't trained: nothing reads p_prime_epochs"),
        (["K-A"], {}, "p_star_epochs", "no p* is trained: nothing reads p_star_epochs"),
        (["A-K"], {"p_second": "@second"}, "p_second", "no ordering of the study distils p' first"),
        (["K-A"], {"p_prime_aligned": "@aligned"}, "p_prime_aligned", "aligns p' first"),
        (["K-A"], {"p_second": "@second"}, "distill_epochs", "no other model is distilled"),
        (["K-A"], {"p_second": "@second"}, "student", "p_second is given"),
        (["K-A"], {"p_second": "@second"}, "distill_temperature", "p_second is given"),
        (["A-K"], {"p_prime_aligned": "@aligned"}, "iterations", "nothing else is aligned"),
        (["K-A", "A-K"], {"p_prime_aligned": "@aligned"}, "p_prime_rate_factor", "is given"),
        (["K-A"], {}, "student_layers", "student_weights = new: nothing reads student_layers"),
        (["K-A"], {"student_weights": "layers", "student_layers": 2}, "student", "of layers of p'"),
    ],
)
def test_what_no_longer_matters_is_refused_with_the_reason(
    folders: dict[str, str], orderings: list[str], fields: dict[str, str], name: str, reason: str
) -> None:
    assert reason in reads(folders, orderings, **fields)[name]


@pytest.mark.parametrize(
    ("orderings", "fields", "names"),
    [
        (["K-A", "A-K"], {"p_second": "@second"}, {"p_second", "distill_epochs", "iterations"}),
        (["K-A", "A-K"], {"p_prime_aligned": "@aligned"}, {"p_prime_aligned", "kl_weight"}),
        ([CUSTOM], {"p_second": "@second"}, {"p_second", "student", "distill_temperature"}),
        ([LONG], {"p_prime_aligned": "@aligned"}, {"p_prime_rate_factor", "p_prime_aligned"}),
        (["K-A"], {}, {"p_prime", "p_prime_weights", "p_star", "learning_rate", "student"}),
    ],
)
def test_what_still_matters_is_read(
    folders: dict[str, str], orderings: list[Any], fields: dict[str, str], names: set[str]
) -> None:
    assert not names & reads(folders, orderings, **fields).keys()


def test_what_orderings_do() -> None:
    def of(*stages: str) -> Operations:
        return Operations.of([Ordering.model_validate({"name": "x", "stages": list(stages)})])

    assert of("distill", "align") == Operations(False, True, frozenset(), True, False, False)
    own = frozenset({None})
    assert of("align", "distill") == Operations(True, False, own, False, True, False)
    assert of("align", "align").aligns_p_prime_again
    assert not of("distill", "align", "align").aligns_p_prime_again
    assert of("distill", "distill").distils_others


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"p_star": None}, "p_star is null: .* set p_prime_weights: given"),
        ({"p_prime_weights": "given"}, "p_prime 'nano-medium' is a size .*p_prime_weights at new"),
        ({"student_weights": "given"}, "student 'nano-small' is a size of ours"),
        ({"p_second": "x"}, "p_second comes from a p' that you have, and p_prime_weights is new"),
        ({"p_prime_aligned": "x"}, "p_prime_aligned comes from a p' that you have"),
        ({"student_weights": "layers"}, "set student_layers"),
        ({"student_weights": "layers", "student_layers": 1}, "greater than or equal to 2"),
        ({"p_prime": "x", "p_prime_weights": "given", "p_second": "nano-small"}, "p_second 'nano-"),
    ],
)
def test_settings_that_contradict_each_other(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LlmSettings(**fields)


def test_defaults_of_given_models_survive_being_written_down(folders: dict[str, str]) -> None:
    given = settings(folders, p_second="@second")
    assert (given.p_star, given.student) == (None, folders["second"])
    assert LlmSettings.model_validate(given.model_dump()) == given
    named = settings(folders, p_second="@second", student="nano-small", p_star="@aligned")
    assert (named.p_star, named.student) == (folders["aligned"], "nano-small")


def test_what_a_given_p_prime_means_is_said(folders: dict[str, str]) -> None:
    notes = check_sources(settings(folders, p_second="@second", p_target="@small"))
    assert any("p' itself judges precision" in note for note in notes)
    assert any("for this p'" in note for note in notes)
    unused = [note for note in notes if "aren't used" in note]
    assert len(unused) == 1
    assert "p_target" in unused[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"p_second": "@stranger"}, r"p_prime and settings\.p_second .*118 and 80 tokens.* id 80"),
        ({"p_prime_aligned": "@stranger"}, r"settings\.p_prime_aligned have different vocabular"),
        ({"student": "@padded", "student_weights": "given"},
         r"settings\.p_prime = .* has 118 embeddings and settings\.student 126.*python -c .* 126"),
        ({"student_weights": "layers", "student_layers": 6}, r"student_layers = 6: p_prime = .* 5"),
        ({"p_star": "nano-large"}, r"settings\.p_prime = .*vocabulary of its own"),
        ({"corpus": "words.txt"}, r"corpus = 'words.txt': p' comes with its weights"),
        ({"target_topics": ["sky"]}, r"target_topics = .*p_star = \"p'\" speaks otherwise"),
        ({"sample_tokens": 64}, r"sample_tokens = 64: .* 64\. Set it to 63"),
    ],
)  # fmt: skip
def test_models_that_do_not_go_together_are_refused(
    folders: dict[str, str], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_sources(settings(folders, **{"align_tokens": 16, **fields}))


def test_good_ones_pass(folders: dict[str, str]) -> None:
    check_sources(settings(folders, student="@small", student_weights="given"))
    check_sources(settings(folders, student_weights="layers", student_layers=3))
    check_sources(settings(folders, p_second="@second", p_prime_aligned="@aligned"))
    check_sources(settings(folders, p_star="@small", student="nano-small"))

"""A setting counts where it is read and nowhere else: it changes results, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, Field

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap.identity import fingerprint
from recalltrap.kind import StudyKind
from recalltrap.orderings import Ordering
from recalltrap.registry import find_kind
from recalltrap.settings_parts import all_settings
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.named_studies import load_study
from recalltrap_studies.llm.alignment.registry import ALGORITHMS as LLM_ALIGNMENTS
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.mog.alignment.registry import ALGORITHMS as MOG_ALGORITHMS
from recalltrap_studies.mog.distillation.registry import NAMES
from recalltrap_studies.mog.models import MODEL_FILE
from recalltrap_studies.mog.settings import MogSettings

from .mog.conftest import build_missing

ORDERINGS = ["K-A", "A-K"]
TINY: dict[str, dict[str, Any]] = {
    "mog": {
        "sft_iterations": 6, "distill_iterations": 6, "iterations": 6, "batch_size": 8,
        "offline_pairs": 16, "p_prime_components": 2, "student_components": 2,
        "learning_rate": 0.03, "clip_range": 0.001,
    },
    "llm": {},
}  # fmt: skip
OTHER: dict[str, Any] = {
    "covariance": "full", "kl_estimator": "k3", "batch_size": 16, "targets": [6], "modes": 12,
    "rollout_size": 128, "minibatch_size": 32, "group_size": 4, "sample_tokens": 33,
    "p_star": "nano-medium", "p_prime": "nano-small", "student": "nano-medium",
    "p_target": "nano-medium", "target_topics": ["music"], "prompt": "The old", "engine": "vllm",
    "reward_shaping": "none", "model_selection": "paper", "preference_noise": 0.25,
    "offline_pairs": 32, "discount": 0.9, "gae_lambda": 0.9, "weight_decay": 0.1,
    "adam_beta1": 0.5, "adam_beta2": 0.5, "teacher_sharpness": 4.0, "init_spread": 2.0,
    "adam_epsilon": 1e-3, "align_tokens": 31, "last_distill_temperature": 0.9,
    "store_texts": "all", "preferences_unusable": "drop", "reward": "sentiment",
    "reward_label": "good", "distillation": "logits", "reward_noise": 2.0,
    "scorers": ["length"], "advantage_reference": "student_init",
    "last_distill_start": "p_second",
    "last_teacher_sharpness": 1000.0,  # tiny trainings hardly move the weights
}  # fmt: skip
ALL_READ = {"name": "A-K-A-K", "stages": ["align", "distill", "align", "distill"]}
"""An ordering whose stages read all that any ordering's read."""
FILES = ("corpus", "prompts", "preferences", "truth")
"""Settings whose other values are files: told apart by content, tested with the paths."""
GIVEN = ("p_prime_weights", "student_weights", "p_second", "p_prime_aligned")
"""Settings whose other values need models that are there: `llm/test_given_models` has them."""
CASES = [
    *(("mog", algorithm) for algorithm in MOG_ALGORITHMS),
    *(("llm", algorithm) for algorithm in LLM_ALIGNMENTS),
]


def other_value(settings: type[BaseModel], name: str, value: Any) -> Any:
    """A valid value of a field that differs from the one it has."""
    if name in OTHER and OTHER[name] != value:
        return OTHER[name]
    annotation = settings.model_fields[name].annotation
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if value is None:
        return 0.9 if float in get_args(annotation) else 2
    return value * 0.9


def cell_of(
    kind: StudyKind, ordering: str | dict[str, Any], facts: dict[str, Any], seed: int = 0
) -> Cell:
    return kind.cell(Ordering.model_validate(ordering), kind.settings.model_validate(facts), seed)


def fields_of(kind: str, algorithm: str) -> list[tuple[str, Any]]:
    """Every field but the algorithm, with another value."""
    model = find_kind(kind).settings
    now = all_settings(model.model_validate({**TINY[kind], "algorithm": algorithm}))
    names = [name for name in model.model_fields if name not in ("algorithm", *FILES, *GIVEN)]
    return [(name, other_value(model, name, now[name])) for name in names]


def loads(tmp_path: Path, kind: str, **content: Any) -> None:
    path = tmp_path / "study.yaml"
    study = {"name": "x", "kind": kind, "question": "?", "orderings": ORDERINGS, "seeds": 1}
    path.write_text(json.dumps({**study, **content}))
    load_study(str(path))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "algorithm"), CASES)
def test_every_setting_changes_the_cell_and_its_artifacts_or_is_refused(
    kind: str, algorithm: str, tmp_path: Path
) -> None:
    found, facts = find_kind(kind), {**TINY[kind], "algorithm": algorithm}
    before = {name: cell_of(found, name, facts) for name in ORDERINGS}
    reads = found.reads(before["K-A"].settings)
    for name, value in fields_of(kind, algorithm):
        after = {o: cell_of(found, o, {**facts, name: value}) for o in ORDERINGS}
        if name in reads.fields:
            assert all(before[o].id != after[o].id for o in ORDERINGS), name
            continue
        with pytest.raises(InputError, match=rf"grid\.{name}: .*{name}"):
            loads(tmp_path, kind, settings={"algorithm": algorithm}, grid={name: [value]})
        with pytest.raises(InputError, match=rf"study.yaml:\d+: settings\.{name}: .*{name}"):
            loads(tmp_path, kind, settings={"algorithm": algorithm, name: value})


def content(cell: Cell, store: ArtifactStore) -> list[Any]:
    """The artifacts and metrics of a cell."""
    rows = find_kind(cell.kind).evaluate([cell], store).metrics
    values = rows.drop_columns(["cell_id"]).to_pylist()
    return [*(store.read(node, MODEL_FILE) for node in cell.models.values()), values]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", sorted(MOG_ALGORITHMS))
def test_a_setting_of_the_mixture_changes_numbers_exactly_where_it_is_read(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECALLTRAP_COMPILE", "0")
    kind, store = find_kind("mog"), ArtifactStore(Storage(str(tmp_path)))
    facts = {**TINY["mog"], "algorithm": algorithm}
    changed = {
        name: cell_of(kind, ALL_READ, {**facts, name: value})
        for name, value in fields_of("mog", algorithm)
    }
    before = cell_of(kind, ALL_READ, facts)
    assert not build_missing([before, *changed.values()], store)
    expected, reads = content(before, store), kind.reads(before.settings)
    for name, cell in changed.items():
        same = content(cell, store) == expected
        assert same == (name not in reads.fields), name


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_setting_of_a_distillation_changes_numbers_exactly_where_it_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECALLTRAP_COMPILE", "0")
    kind, store = find_kind("mog"), ArtifactStore(Storage(str(tmp_path)))
    ordering = Ordering.model_validate({"name": "x", "stages": ["align", {"distill": name}]})
    facts = {**TINY["mog"], "teacher_sharpness": 1.0}  # 10 leaves one component already
    changed = {
        field: cell_of(kind, ordering.model_dump(), {**facts, field: value})
        for field, value in fields_of("mog", "ppo")
    }
    before = cell_of(kind, ordering.model_dump(), facts)
    assert not build_missing([before, *changed.values()], store)
    expected, reads = content(before, store), kind.reads(before.settings, [ordering])
    for field, cell in changed.items():
        same = content(cell, store) == expected
        assert same == (field not in reads.fields), field


def test_the_refusal_says_who_does_not_read_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dpo_online doesn't read clip_range"):
        load_study("mog/quick", ["settings.algorithm=dpo_online", "grid.clip_range=[0.1,0.2]"])
    with pytest.raises(InputError, match=r"dpo_online doesn't read clip_range"):
        load_study("llm/nano-dpo-beta", ["grid.clip_range=[0.1,0.2]"])
    with pytest.raises(InputError, match=r"ppo_epochs = 1 .* ppo doesn't read clip_range"):
        load_study("mog/quick", ["grid.clip_range=[0.1,0.2]"])
    assert load_study("mog/quick", ["grid.clip_range=[0.1,0.2]", "settings.ppo_epochs=2"])


@pytest.mark.parametrize("algorithm", ["ppo", "grpo", "rloo"])
def test_nothing_is_clipped_in_the_only_update_of_a_rollout(algorithm: str) -> None:
    clipped = [f"settings.algorithm={algorithm}", "grid.clip_range=[0.1, 0.2]"]
    assert load_study("llm/nano", clipped)
    with pytest.raises(InputError, match=rf"{algorithm} doesn't read clip_range"):
        load_study("llm/nano", [*clipped, "settings.minibatch_size=64"])


def test_an_axis_that_some_points_do_not_read_is_refused_with_the_point() -> None:
    both = ["grid.algorithm=[ppo,dpo_online]", "settings.ppo_epochs=2", "grid.clip_range=[0.1,0.2]"]
    with pytest.raises(InputError, match=r"dpo_online doesn't read clip_range.*'algorithm': 'dpo"):
        load_study("mog/quick", both)


def test_a_setting_of_alignments_is_refused_where_no_ordering_aligns() -> None:
    with pytest.raises(InputError, match=r"no ordering of the study aligns: .* iterations"):
        load_study("mog/figure1", ["settings.iterations=300"])
    assert load_study("mog/figure1", ["settings.kl_weight=2.0"]), "the exact optimum's"


def test_the_last_temperature_is_read_where_something_aligned_is_distilled() -> None:
    last = ["settings.last_distill_temperature=0.9"]
    assert load_study("llm/nano", last)
    for alone in ("[K-A]", "[K-A, A]", "[K]"):
        with pytest.raises(
            InputError, match="aligned model: nothing reads last_distill_temperature"
        ):
            load_study("llm/nano-ppo-beta", [*last, f"orderings={alone}", "settings={}", *last])
    with pytest.raises(InputError, match=r"remove one of the equal values"):
        load_study("llm/nano", ["grid.last_distill_temperature=[null,0.95]"])


def test_the_last_sharpness_is_read_where_something_aligned_is_distilled() -> None:
    last = ["settings.last_teacher_sharpness=1.25"]
    assert load_study("mog/quick", last)
    for study, alone in (("quick", "[K-A]"), ("quick", "[K-A, A]"), ("figure1", "[K]")):
        with pytest.raises(InputError, match="nothing reads last_teacher_sharpness"):
            load_study(f"mog/{study}", [*last, f"orderings={alone}"])
    with pytest.raises(InputError, match=r"remove one of the equal values"):
        load_study("mog/quick", ["grid.last_teacher_sharpness=[null,10.0]"])


def test_a_last_sharpness_that_is_the_same_changes_no_id() -> None:
    kind = find_kind("mog")
    for ordering in ("K-A", "A-K", "K-A-K"):
        without, named, other = (
            cell_of(kind, ordering, facts)
            for facts in (
                {},
                {"last_teacher_sharpness": 10.0},
                {"last_teacher_sharpness": 1.0},
            )
        )
        assert named.id == without.id != other.id
        assert [node.id for node in named.nodes] == [node.id for node in without.nodes]


ALIGNED_TWICE = {"name": "A-K-A", "stages": ["align", "distill", "align"]}
RATES = {"mog": "learning_rate", "llm": "align_learning_rate"}


def rates(kind: str, ordering: Any, **facts: float) -> list[float]:
    """The learning rates of a cell's alignments, in their order."""
    nodes = cell_of(find_kind(kind), ordering, facts).nodes
    return [node.config[RATES[kind]] for node in nodes if node.stage == "align"]


@pytest.mark.parametrize("kind", sorted(RATES))
@pytest.mark.parametrize(
    ("ordering", "of"),
    [
        ("A", "p"),
        ("A-K", "p"),
        ({"name": "twice", "stages": ["align", "align", "distill"]}, "pp"),
        ("K-A", "s"),
        ("K-A@p'", "s"),
        ("K-A-K", "s"),
        (ALIGNED_TWICE, "ps"),
        ({"name": "deep", "stages": ["align", "distill", "distill", "align@p'"]}, "ps"),
        ("K", ""),
    ],
)
def test_a_rate_factor_follows_the_size_of_the_model_that_is_aligned(
    kind: str, ordering: Any, of: str
) -> None:
    rate = find_kind(kind).settings().model_dump()[RATES[kind]]
    factor = {"p": 2.0, "s": 0.5}
    found = rates(kind, ordering, p_prime_rate_factor=2.0, student_rate_factor=0.5)
    assert found == [factor[size] * rate for size in of]
    assert rates(kind, ordering) == [rate] * len(of)


@pytest.mark.parametrize("kind", sorted(RATES))
def test_a_rate_factor_moves_alignments_and_what_follows_them_alone(kind: str) -> None:
    found = find_kind(kind)
    factors = ("p_prime_rate_factor", "student_rate_factor")
    for ordering in ("K-A", "A-K", "K-A@p'", "K-A-K", ALIGNED_TWICE):
        without = cell_of(found, ordering, {})
        named = cell_of(found, ordering, dict.fromkeys(factors, 1.0))
        assert named.id == without.id, "finished cells stay finished"
        assert [n.id for n in named.nodes] == [n.id for n in without.nodes]
        for factor in factors:
            other = cell_of(found, ordering, {factor: 2.0})
            assert other.id != without.id
            aligned = {"A-K": factors[:1], "A-K-A": factors}.get(other.ordering.name, factors[1:])
            same = other.models["final"].id == without.models["final"].id
            assert same == (factor not in aligned), (ordering, factor)
            for model in ("p_prime", "p_second"):
                assert other.models[model].id == without.models[model].id


@pytest.mark.parametrize(("ordering", "size"), [("A-K", "p_prime"), ("K-A@p'", "student")])
def test_a_factor_is_the_same_alignment_as_that_rate(ordering: str, size: str) -> None:
    """Whichever setting says how fast it learns."""
    by_factor = cell_of(find_kind("llm"), ordering, {f"{size}_rate_factor": 0.5})
    by_rate = cell_of(find_kind("llm"), ordering, {"align_learning_rate": 1.5e-4})
    assert by_factor.models["final"].id == by_rate.models["final"].id


def test_a_rate_factor_is_refused_where_no_such_alignment_is() -> None:
    for kind in ("mog/quick", "llm/nano"):
        p_prime, student = (f"grid.{name}_rate_factor=[0.5,1.0]" for name in ("p_prime", "student"))
        assert load_study(kind, [p_prime, student])
        with pytest.raises(InputError, match=r"aligns p': nothing reads p_prime_rate_factor"):
            load_study(kind, [p_prime, "orderings=[K-A, K-A-K]"])
        with pytest.raises(InputError, match=r"aligns a student: nothing reads student_rate_fac"):
            load_study(kind, [student, "orderings=[A-K, A]"])
        high = ["settings.p_prime_rate_factor=1000.0", f"settings.{RATES[kind[:3]]}=0.01"]
        with pytest.raises(InputError, match=r"rate is at most 1: lower p_prime_rate_factor"):
            load_study(kind, high)


@pytest.mark.parametrize("base", [MogSettings, LlmSettings])
def test_a_new_setting_leaves_every_id_as_it_was(base: type[BaseModel]) -> None:
    class Newer(base):  # type: ignore[misc, valid-type]
        brand_new: int = Field(default=3, description="read by nothing yet")

    kind = find_kind("mog" if base is MogSettings else "llm")
    for ordering in ("K-A", "A-K", "K", "K-A-K"):
        now = cell_of(kind, ordering, {})
        then = kind.cell(Ordering.model_validate(ordering), Newer(), 0)
        assert then.id == now.id
        assert [node.id for node in then.nodes] == [node.id for node in now.nodes]


ARTIFACTS = {
    "mog/quick": ("[0.5, 4.0]", "cbb52d0f546f32a5fee8"),
    "mog/dpo-beta": ("[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0]", "691b4e2c4e8540798e16"),
    "llm/nano-ppo-beta": ("[0.35, 0.7, 1.4]", "a2ac25b891c7e08ca74f"),
    "llm/nano-dpo-beta": ("[0.35, 0.7, 1.4]", "72bf69e8fe732b3ffd10"),
}
"""The weights that a study had at first, and the ids of K-A's and A-K's artifacts at these."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ARTIFACTS))
def test_artifacts_of_earlier_versions_are_found(name: str) -> None:
    """Changing one of these ids builds everybody's artifacts again: raise a version instead."""
    weights, expected = ARTIFACTS[name]
    first = ["seeds=2", "orderings=[K-A,A-K]", f"grid.kl_weight={weights}"]
    cells = load_study(name, first).cells()
    assert fingerprint(sorted({n.id for cell in cells for n in cell.nodes})) == expected
    now = {cell.id for cell in load_study(name).cells()}
    assert {cell.id for cell in cells} <= now, "finished cells stay finished"

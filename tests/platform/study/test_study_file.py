"""A study file: what it means, and how what is wrong with it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recalltrap.errors import InputError
from recalltrap.orderings import Ordering
from recalltrap.study.named_studies import load_study
from recalltrap.study.study import Study

StudyFile = Callable[..., str]

GOOD = """\
name: toy/mine
kind: toy
question: Why?
orderings: [K-A, A-K]
seeds: 3
grid:
  kl_weight: [0.5, 2.0]
settings:
  iterations: 20
claims: [C1]
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return str(path)

    return write


def refusal(path: str, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load_study(path, overrides)
    return str(caught.value)


def test_a_good_study(write: Callable[[str], str]) -> None:
    study = load_study(write(GOOD))
    assert study.seeds == (0, 1, 2)
    assert study.axes == ("kl_weight",)
    assert [ordering.name for ordering in study.orderings] == ["K-A", "A-K"]
    cells = study.cells()
    assert len(cells) == len({cell.id for cell in cells}) == study.size == 2 * 2 * 3
    assert {cell.factors["iterations"] for cell in cells} == {20}
    assert {cell.factors["kl_weight"] for cell in cells} == {0.5, 2.0}


# What is changed in the good study, and what the refusal must say.
WRONG = [
    ("seeds: 3", "seeds: [0, -1]", "study.yaml:5", "seeds.1", "-1", "greater than or equal to 0"),
    ("seeds: 3", "seeds: -3", "study.yaml:5", "seeds", "-3", "at least one seed"),
    ("seeds: 3", "seeds: 0", "study.yaml:5", "seeds", "at least one seed"),
    ("seeds: 3", "seeds: []", "study.yaml:5", "seeds", "at least 1 item"),
    ("seeds: 3", "seeds: [1, 2, 1]", "study.yaml:5", "seeds", "1 is listed twice"),
    ("seeds: 3", "seeds: [1, 1.0]", "study.yaml:5", "seeds.1", "1.0"),
    ("seeds: 3", "seeds: [true]", "study.yaml:5", "seeds.0", "True"),
    ("seeds: 3", "seeds: many", "study.yaml:5", "seeds", "'many'"),
    ("question: Why?", "qestion: Why?", "study.yaml:3", "qestion", "did you mean 'question'?"),
    ("question: Why?", "question: ''", "study.yaml:3", "question"),
    ("question: Why?\n", "", "study.yaml", "question is missing: add it"),
    ("kind: toy", "kind: toi", "study.yaml:2", "kind", "'toi'", "did you mean 'toy'?"),
    ("kind: toy", "kind: [toy]", "study.yaml:2", "kind"),
    ("  iterations: 20", "  iteratoins: 20", "study.yaml:9", "did you mean 'iterations'?"),
    ("  iterations: 20", "  iterations: 0", "study.yaml:9", "settings.iterations", "0"),
    ("  iterations: 20", "  iterations: lots", "study.yaml:9", "settings.iterations", "'lots'"),
    ("  iterations: 20", "  kl_weight: 1.0", "'kl_weight'", "both in grid and in settings"),
    ("  iterations: 20", "  algorithm: ppo", "study.yaml:9", "'ppo'", "'plain' or 'fast'"),
    ("  iterations: 20", "  iterations: .nan", "study.yaml:9", "settings.iterations", "nan"),
    ("  iterations: 20", "  targets: [1, x]", "study.yaml:9", "settings.targets.1", "'x'"),
    ("kl_weight: [0.5", "kl_wieght: [0.5", "study.yaml:7", "did you mean 'kl_weight'?"),
    ("[0.5, 2.0]", "[]", "study.yaml:7", "grid.kl_weight", "no values"),
    ("[0.5, 2.0]", "0.5", "study.yaml:7", "grid.kl_weight", "0.5"),
    ("[0.5, 2.0]", "[1, 1.0]", "study.yaml:7", "grid.kl_weight", "1.0 is listed twice"),
    ("[0.5, 2.0]", "['1', 1.0]", "study.yaml:7", "grid.kl_weight = '1'", "valid number"),
    ("[0.5, 2.0]", "[.inf]", "study.yaml:7", "grid.kl_weight.0", "inf"),
    ("[0.5, 2.0]", "\n  - 0.5\n  - -1.0", "study.yaml:9", "grid.kl_weight = -1.0"),
    ("[K-A, A-K]", "[K-A, AK]", "study.yaml:4", "orderings.1", "'AK'", "did you mean 'A-K'?"),
    ("[K-A, A-K]", "[K-A, K-A]", "study.yaml:4", "orderings", "'K-A' is listed twice"),
    ("[K-A, A-K]", "[]", "study.yaml:4", "orderings"),
    ("[K-A, A-K]", "[{name: K-A, stages: [align]}]", "always means ['distill', 'align']"),
    ("[K-A, A-K]", "[{name: x, stages: [algin]}]", "study.yaml:4", "'algin'", "'align'"),
    ("[K-A, A-K]", "[{name: x, stages: [{align: y}]}]", "study.yaml:4", "or {distill: NAME}"),
    ("[K-A, A-K]", "[{name: x, stages: [{distill: 3}]}]", "study.yaml:4", "{'distill': 3} is no"),
    ("[K-A, A-K]", "[{name: x, stages: [{distill: y}]}]", "study.yaml:4", "'y'", "write distill"),
    ("[K-A, A-K]", "[{name: x, stages: []}]", "study.yaml:4", "orderings.0.stages"),
    ("[K-A, A-K]", "[{name: x, steps: [align]}]", "study.yaml:4", "orderings.0"),
    ("[C1]", "[C99]", "study.yaml:10", "claims", "'C99'", "'C9'"),
    ("[C1]", "[C1]\nresources: {cpu: 2}", "study.yaml:11", "resources.cpu", "'cpus_per_trial'"),
    ("[C1]", "[C1]\nresources: {cpus_per_trial: 0}", "study.yaml:11", "cpus_per_trial", "0"),
    ("[C1]", "[C1]\nresources: {zero_stage: 4}", "study.yaml:11", "zero_stage", "unknown field"),
    ("[C1]", "[C1]\nresources: {workers: 2}", "study.yaml:11", "workers = 2", "remove it"),
    ("[C1]", "[C1]\nseeds: 4", "study.yaml:11", "seeds is listed twice", "line 5"),
    ("  iterations: 20", "  rate: 1\n  rate: 1", "study.yaml:10", "settings.rate", "twice"),
    ("[C1]", "[C1", "study.yaml", "not YAML"),
    ("[C1]", "[C1]\n\tx: 1", "study.yaml:11", "not YAML"),
    ("[C1]", "[C1]\n? [a, b]\n: 1", "study.yaml:11", "name"),
    ("[C1]", "[C1]\n1: 2", "study.yaml:11", "1"),
    ("[0.5, 2.0]", "&a [*a]", "study.yaml", "kl_weight"),
    ("question: Why?", "question: !!python/object/apply:os.getcwd []", "study.yaml:3", "not YAML"),
    ("question: Why?", "question: !!python/name:os.system", "study.yaml:3", "not YAML"),
]  # fmt: skip


@pytest.mark.parametrize("case", WRONG, ids=lambda case: f"{case[0]} -> {case[1]}")
def test_what_is_wrong_is_refused_with_its_place_and_the_way_out(
    case: tuple[str, ...], write: Callable[[str], str]
) -> None:
    good, bad, *expected = case
    assert good in GOOD
    message = refusal(write(GOOD.replace(good, bad)))
    assert "study.yaml" in message
    for part in expected:
        assert part in message, message


def test_a_name_that_leaves_the_storage_is_refused_at_its_line(write: Callable[[str], str]) -> None:
    message = refusal(write(GOOD.replace("toy/mine", "../../etc")))
    assert "study.yaml:1: name: '../../etc' can't name a folder" in message


@pytest.mark.parametrize("text", ["", "- 1\n", "just text", "null"])
def test_a_file_that_is_no_mapping_is_refused(text: str, write: Callable[[str], str]) -> None:
    assert "begins with `name:`" in refusal(write(text))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_bytes(b"name: \xff\xfe\x00")
    assert "can't be read" in refusal(str(tmp_path / "study.yaml"))


@pytest.mark.parametrize("name", ["study.yml", "mine/study.yaml", "mog/quick.yaml"])
def test_a_file_that_is_not_there_is_named_with_its_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal(name)
    assert message.startswith(f"there is no study file {tmp_path / name}")
    assert "recalltrap new" in message
    assert "mog/quick'" not in message, "a list of names helps nobody who gave a file's"


def test_a_folder_is_no_study(tmp_path: Path) -> None:
    assert "neither a named study nor a file" in refusal(str(tmp_path))


def test_a_tag_never_runs_code(tmp_path: Path, write: Callable[[str], str]) -> None:
    bait = tmp_path / "bait"
    call = f"!!python/object/apply:os.system ['touch {bait}']"
    refusal(write(GOOD.replace("Why?", call)))
    refusal(write(GOOD), f"question={call}")
    assert not bait.exists()


def test_numbers_with_exponents_are_numbers(write: Callable[[str], str]) -> None:
    """PyYAML reads 1e-3 as text, as YAML 1.1 says; nobody who writes it means that."""
    study = load_study(write(GOOD.replace("[0.5, 2.0]", "[1e-3, 2E2, 1.5e+1]")))
    assert study.grid["kl_weight"] == (1e-3, 200.0, 15.0)
    assert load_study(write(GOOD), ["grid.kl_weight=[1e-2]"]).grid["kl_weight"] == (0.01,)


# Overrides


def test_overrides_replace_fields(write: Callable[[str], str]) -> None:
    study = load_study(
        write(GOOD),
        ["settings.iterations=300", "seeds=[4, 7]", "grid.kl_weight=[1.0]", "orderings=[A]",
         "settings.targets=[1, 2]", "resources.cpus_per_trial=2"],
    )  # fmt: skip
    assert study.settings == {"iterations": 300, "targets": [1, 2]}
    assert study.seeds == (4, 7)
    assert study.grid == {"kl_weight": (1.0,)}
    assert study.orderings == (Ordering(name="A", stages=("align",)),)
    assert study.resources.cpus_per_trial == 2


def test_an_override_can_make_a_setting_an_axis(write: Callable[[str], str]) -> None:
    study = load_study(write(GOOD), ["grid.iterations=[1, 2]"])
    assert study.axes == ("kl_weight", "iterations")
    assert "iterations" not in study.settings


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("settings.iteratoins=3", ["-o settings.iteratoins=3", "did you mean 'iterations'?"]),
        ("settings.kl_weight=3", ["is an axis", "-o grid.kl_weight=[3]"]),
        ("settings.iterations=0", ["-o settings.iterations=0", "settings.iterations", "0"]),
        ("grid.kl_weight=[1.0, -4.0]", ["-o grid.kl_weight", "grid.kl_weight = -4.0"]),
        ("grid.kl_weight=[]", ["-o grid.kl_weight=[]", "no values"]),
        ("seeds=[1, 1]", ["-o seeds=[1, 1]", "1 is listed twice"]),
        ("orderings=[K-A, K-A]", ["-o orderings=[K-A, K-A]", "'K-A' is listed twice"]),
        ("seeds=[0, -1]", ["-o seeds=[0, -1]", "seeds.1"]),
        ("orderings=[AK]", ["-o orderings=[AK]", "did you mean 'A-K'?"]),
        ("iterations", ["-o iterations", "field=value"]),
        ("=3", ["field=value"]),
        ("settings.targets=[1", ["not a YAML value"]),
        ("settings=!!python/object:os.x {}", ["not a YAML value"]),
        ("seeds.x=3", ["seeds has no fields to set"]),
        ("name=../up", ["-o name=../up", "can't name a folder"]),
        ("nmae=x", ["-o nmae=x", "did you mean 'name'?"]),
        ("settings=3", ["-o settings=3", "settings"]),
    ],
)
def test_a_wrong_override_is_refused_by_its_own_words(
    override: str, expected: list[str], write: Callable[[str], str]
) -> None:
    message = refusal(write(GOOD), override)
    for part in expected:
        assert part in message, message


def test_an_override_hides_the_files_own_lines(write: Callable[[str], str]) -> None:
    """The value at fault came from the command line, whatever the file has at that place."""
    path = write(GOOD.replace("[0.5, 2.0]", "\n  - 0.5\n  - 2.0"))
    assert "study.yaml:" not in refusal(path, "grid.kl_weight=[1.0, -4.0]")


# Orderings


def test_an_ordering_of_ones_own(write: Callable[[str], str]) -> None:
    own = "[K-A, {name: twice, stages: [align, distill, align]}]"
    study = load_study(write(GOOD.replace("[K-A, A-K]", own)))
    assert study.orderings[1].stages == ("align", "distill", "align")
    again = Study.model_validate(study.model_dump(mode="json"))
    assert [cell.id for cell in again.cells()] == [cell.id for cell in study.cells()]

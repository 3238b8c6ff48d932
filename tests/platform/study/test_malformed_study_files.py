"""Whatever a study file or an override holds, it is accepted or refused in one line, soon."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recalltrap.cli.command_line import main
from recalltrap.errors import InputError
from recalltrap.study.named_studies import load_study
from recalltrap.study.study_file import parse_study_text
from recalltrap.study.yaml_text import MAX_BYTES, spell_yaml

pytestmark = pytest.mark.slow

GOOD = """\
# A study of the toy kind, with everything that a file may hold.
name: toy/mine
kind: toy
question: "Why?"
orderings: [K-A, {name: own, stages: [align, distill]}]
seeds: [0, 3]
grid:
  kl_weight: [0.5, 2.0]
settings:
  iterations: 20
  targets: [1, 2]
  algorithm: fast
claims: [C1]
resources: {cpus_per_trial: 1, gpus_per_trial: 0.5}
"""
PIECES = [
    "!!python/object/apply:os.system [x]", "!!binary ////", "!!set {a}", "!!omap [a: 1]", "!!float",
    "!!timestamp 2026-99-99", "2026-99-99", "2026-11-26 25:61:61", "&a", "*a", "&a [*a]", "<<: *a",
    "<<: {a: 1}", "---", "...", "%YAML 1.1", "%TAG ! !", "? [a]", "? {a: b}", ":", "- ", ",", "[",
    "]", "{", "}", "#", "'", '"', "|", ">", "\t", "\r\n", "\n", "\n\n  ", "    ", "@", "`", "\\",
    "\ufeff", "\x00", "\x07", "\x85", "\u2028", "\ud800", "\U0001f600",
    '"\\ud800"', '"\\U00110000"',
    '"\\0"', "9" * 5000, "1e999", "1e-999", "5e-324", ".inf", ".nan", "0x", "0o9", "1_0", "010",
    "1:30", "yes", "true", "null", "~", "-", "[" * 500, "{a: " * 500, "x" * 3000, "0.1.2", "9" * 30,
]  # fmt: skip


def text_of(study: str) -> bytes:
    return study.encode("utf-8", "surrogatepass")


def mutated(number: int) -> bytes:
    """The good study with one to three things gone wrong, another for each number."""
    draw = random.Random(number)
    text = GOOD
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(text))
        end = min(len(text), at + draw.choice([0, 1, 1, 3, 10, 40]))
        kind = draw.choice(["insert", "insert", "replace", "delete", "repeat", "cut", "indent"])
        piece = draw.choice(PIECES)
        if kind == "insert":
            text = text[:at] + piece + text[at:]
        elif kind == "replace":
            text = text[:at] + piece + text[end:]
        elif kind == "delete":
            text = text[:at] + text[end:]
        elif kind == "repeat":
            text = text[:end] + text[at:]
        elif kind == "cut":
            text = text[:at]
        else:
            text = text[:at].rpartition("\n")[0] + "\n " + text[at:]
        text = text or "#"
    return text_of(text)


def judge(data: bytes, folder: Path) -> str | None:
    """What is said of a study file; None where it is accepted."""
    path = folder / "study.yaml"
    path.write_bytes(data)
    try:
        load_study(path)
    except InputError as error:
        return str(error)
    return None


def well_said(message: str) -> bool:
    place = re.search(r"study\.yaml(:\d+)?: ", message) is not None
    return place and len(message.splitlines()) == 1 and len(message) < 1500


@pytest.mark.parametrize("block", range(8))
def test_any_text_is_accepted_or_refused_at_a_line(block: int, tmp_path: Path) -> None:
    said = [judge(mutated(number), tmp_path) for number in range(block * 40, block * 40 + 40)]
    assert not [message for message in said if message is not None and not well_said(message)]
    assert any(said)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "a study file is a mapping"),
        (b"# only a comment\n", "a study file is a mapping"),
        (b"[1, 2]\n", "a study file is a mapping"),
        (b"name: a\nquestion: \xff\n", ":2: can't be read: it is not UTF-8"),
        (GOOD.encode("utf-16"), "not UTF-8"),
        (GOOD.encode("utf-16-le"), "the character U+0000"),
        (b"#" * 50_000_000, "50,000,000 bytes"),
        (GOOD.encode() + b"#" * MAX_BYTES, f"at most {MAX_BYTES:,}"),
    ],
    ids=["empty", "comment", "list", "latin", "utf-16", "utf-16-le", "50 MB", "limit"],
)  # fmt: skip
def test_no_study_at_all(data: bytes, expected: str, tmp_path: Path) -> None:
    message = judge(data, tmp_path)
    assert message is not None
    assert expected in message
    assert well_said(message)


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace("\n", "\r\n").encode()]
)
def test_what_editors_add_is_no_fault(data: bytes, tmp_path: Path) -> None:
    assert judge(data, tmp_path) is None


# Values

WEIRD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**300, 10**400, 0.0, -0.0,
    5e-324, 1e-310, 1e308, -1.5, 300.0, float("inf"), float("nan"), "", "1", "true", "é", "a\nb",
    "a\x00b", "\ud800", "x" * 300, "../x", [], [[]], [None], [1, 1], [1, True], [[1], [1.0]], [{}],
    ["K-A"] * 2, {}, {"a": 1}, {"name": "x"}, {"name": "x", "stages": []},
    [{"name": "x", "stages": ["align"] * 500}], [{"name": "\n", "stages": ["align"]}],
    [[[[[[[1]]]]]]], list(range(40)),
]  # fmt: skip


def paths(content: Any, *location: str) -> Iterator[tuple[str, ...]]:
    yield location
    if isinstance(content, dict):
        for name, item in content.items():
            yield from paths(item, *location, name)


CONTENT, _ = parse_study_text(GOOD.encode(), "good")
PLACES = [
    *[path for path in paths(CONTENT) if path],
    ("settings", "rate"), ("settings", "trouble"), ("settings", "nonesuch"), ("grid", "targets"),
    ("grid", "algorithm"), ("resources", "zero_stage"), ("resources", "gradient_checkpointing"),
    ("nonesuch",),
]  # fmt: skip


def overridden(place: tuple[str, ...], value: Any) -> str | None:
    """What is said of the value in this place; None where it is accepted."""
    try:
        load_study("toy/tiny", [(".".join(place), value)])
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_any_value_is_accepted_or_refused_in_one_line(place: tuple[str, ...]) -> None:
    said = [overridden(place, value) for value in WEIRD]
    shown = [message for message in said if message is not None]
    assert len(shown) >= len(WEIRD) // 2  # most of them fit nowhere
    assert not [m for m in shown if len(m.splitlines()) != 1 or len(m) > 1500]


@pytest.mark.parametrize(
    "path",
    ["", ".", "a.", ".a", "settings..x", "grid.", "settings.targets.0", "seeds.0", "name.x.y",
     "grid.kl_weight.0", "resources.cpus_per_trial.x", "x" * 3000, ".".join("a" * 1000), "a\nb",
     "\ud800", "grid", "settings", "é", "[a]", "orderings.0.name", "settings.kl_weight"],
    ids=lambda path: ascii(path[:20]),
)  # fmt: skip
@pytest.mark.parametrize("value", ["1", "[1", "*a", "!!set {}", "9" * 5000, "---", "", "\x00"])
def test_a_wrong_override_is_refused_in_one_line(path: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        load_study("toy/tiny", [f"{path}={value}"])
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert "-o " in message
    assert len(message) < 1500


# Limits

MANY = ", ".join(f"0.{number:02}" for number in range(10, 90))
STAGES = ", ".join(["align"] * 500)
LIMITS = [
    ("seeds: 1000000000", "seeds", "at most 250,000 cells"),
    ("seeds: 9223372036854775808", "seeds", "beyond 64 bits"),
    ("seeds: [0, 9223372036854775808]", "seeds.1", "beyond 64 bits"),
    ("seeds: 200000", "800,000 cells", "at most 250,000"),
    (f"name: {'x' * 300}", "name", "at most 100 letters each"),
    (f"name: {'/'.join('abcdefg')}", "name", "at most 5 parts"),
    (f"orderings: [{{name: long, stages: [{STAGES}]}}]", "stages", "at most 20"),
    (f"orderings: [{{name: {'x' * 300}, stages: [align]}}]", "orderings.0.name", "at most 40"),
    (f"question: {'why ' * 1000}", "question", "at most 2000"),
    (f"resources: {{cpus_per_trial: 1{'0' * 400}}}", "cpus_per_trial", "number of 401 characters"),
    ("resources: {cpus_per_trial: 1000000}", "cpus_per_trial", "less than or equal to 4096"),
    ("resources: {gpus_per_trial: 1.0e-300}", "gpus_per_trial", "a share from 0.01"),
    ("resources: {gpus_per_trial: 1.5}", "gpus_per_trial", "a whole number of them"),
    (f"grid: {{kl_weight: [{', '.join(['1'] * 60_000)}]}}", "more than 50,000 values"),
    (f"grid: {{rate: [{MANY}], reward_height: [{MANY}], teacher_sharpness: [{MANY}]}}",
     "cells, and a study has at most 250,000"),
]  # fmt: skip


@pytest.mark.parametrize("case", LIMITS, ids=[case[0][:40] for case in LIMITS])
def test_a_limit_is_named_with_its_number(case: tuple[str, ...], tmp_path: Path) -> None:
    field, *expected = case
    name = field.partition(":")[0]
    kept = {key: value for key, value in CONTENT.items() if key != name}
    message = judge((spell_yaml(kept) + field + "\n").encode(), tmp_path)
    assert message is not None
    assert well_said(message)
    for part in expected:
        assert part in message, message


@pytest.mark.parametrize("kind", ["mog", "llm"])
@pytest.mark.parametrize("field", ["kl_weight", "learning_rate", "reward_height", "clip_range"])
@pytest.mark.parametrize("value", ["5.0e-324", "1.0e-300", "1.0e300"])
def test_a_number_that_no_run_can_use_is_refused(kind: str, field: str, value: str) -> None:
    study = {"mog": "mog/figure2", "llm": "llm/nano"}[kind]
    for place, given in ((f"grid.{field}", f"[{value}]"), (f"settings.{field}", value)):
        overrides = ["seeds=1", "grid={}", f"{place}={given}"]
        with pytest.raises(InputError, match=f"{field}.*(greater|less) than or equal to"):
            load_study(study, overrides)


REFUSALS = [
    "seeds=1000000000", f"resources.cpus_per_trial=1{'0' * 400}", "settings.iterations=true",
    "seeds=&a [*a]", f"name={'x' * 300}", "settings.iterations=1:30", "grid.kl_weight=[yes]",
    "settings=!!python/name:os.system", f"seeds={'[' * 1000}", "question=2026",
]  # fmt: skip


@pytest.mark.parametrize("override", REFUSALS, ids=lambda override: override[:30])
def test_plan_and_run_refuse_alike_and_write_nothing(override: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(GOOD)
    study = [str(tmp_path / "study.yaml"), "--storage", str(tmp_path / "runs"), "-o", override]
    said = []
    for command in (["plan"], ["run", "--local"], ["forecast"]):
        done = CliRunner().invoke(main, [*command, *study])
        assert done.exit_code == 2, done.output
        said.append(done.stderr)
    assert said[0].startswith("recalltrap: -o ")
    assert said[0].count("\n") == 1
    assert len(set(said)) == 1
    assert not (tmp_path / "runs").exists()


def test_the_largest_seed_is_a_seed(study_file: Callable[..., str]) -> None:
    assert load_study(study_file(seeds=[2**63 - 1])).seeds == (2**63 - 1,)


def test_as_many_cells_as_are_allowed_are_counted_at_once(study_file: Callable[..., str]) -> None:
    """200,000 cells of one study; making them takes a minute, and is not for a test."""
    from recalltrap.study.checks import check_settings, parse_study
    from recalltrap.study.study_file import read_study

    content, source = read_study(Path(study_file(seeds=50_000)))
    study = parse_study(content, source)
    check_settings(study, source)
    assert study.size == 200_000

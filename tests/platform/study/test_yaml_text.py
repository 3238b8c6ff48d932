"""YAML 1.2 as plain values: what a scalar means, what is refused at which line, what is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recalltrap.study.yaml_text import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    YamlError,
    read_yaml,
    spell_yaml,
)

# The core schema (YAML 1.2.2, section 10.3.2); beside it what YAML 1.1 would have read.
SCALARS: list[tuple[str, Any]] = [
    ("010", 10),  # 8
    ("0600", 600),  # 384
    ("1:30", "1:30"),  # 90
    ("190:20:30", "190:20:30"),
    ("0o17", 15),
    ("0x1F", 31),
    ("0b11", "0b11"),  # 3
    ("1_000", "1_000"),  # 1000
    ("+5", 5),
    ("-0", 0),
    ("12e3", 12000.0),  # text
    ("1e-3", 0.001),
    (".5", 0.5),
    ("5.", 5.0),
    ("6.02E+23", 6.02e23),
    ("yes", "yes"),  # True
    ("No", "No"),
    ("on", "on"),
    ("OFF", "OFF"),
    ("y", "y"),
    ("true", True),
    ("FALSE", False),
    ("tRUE", "tRUE"),
    ("~", None),
    ("Null", None),
    ("", None),
    ("2026-11-26", "2026-11-26"),  # a date
    ("2026-11-26T10:00:00Z", "2026-11-26T10:00:00Z"),
    ("=", "="),
    ("<<", "<<"),
    ("'010'", "010"),
    ('"true"', "true"),
    ("0o8", "0o8"),
    ("-0x1", "-0x1"),
    ("1.5e", "1.5e"),
    ("٣", "٣"),  # a digit, but none of ASCII's
]


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[text for text, _ in SCALARS])
def test_a_scalar_means_what_yaml_1_2_says(text: str, value: Any) -> None:
    read = read_yaml(f"a: {text}").content["a"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.INF", "+.Inf", ".nan", ".NaN"])
def test_what_is_no_finite_number_is_read_for_the_study_to_refuse(text: str) -> None:
    assert isinstance(read_yaml(f"a: {text}").content["a"], float)


def test_every_value_has_its_line() -> None:
    text = "a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\ne: &f [1,\n 2]\ng: *f\n"
    document = read_yaml(text)
    expected = {"a": 1, "b": ["x", {"c": 2, "d": 3}], "e": [1, 2], "g": [1, 2]}
    assert document.content == expected
    lines = document.lines
    assert (lines["a",], lines["b",], lines["b", 0], lines["b", 1, "d"]) == (1, 2, 3, 5)
    assert (lines["e", 1], lines["g",]) == (7, 8)


def test_an_alias_is_a_copy() -> None:
    content = read_yaml("a: &x {b: [1]}\nc: *x").content
    content["a"]["b"].append(2)
    assert content["c"] == {"b": [1]}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
DEEP = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 40))
REFUSED = [
    ("a: 1\nb: !!python/object/apply:os.getcwd []", 2, "remove the tag '!!python/object"),
    ("a: !!binary aGk=", 1, "remove the tag '!!binary'"),
    ("a: !!timestamp 2026-13-99", 1, "remove the tag '!!timestamp'"),
    ("a: !!set {x}", 1, "remove the tag '!!set'"),
    ("a: !!omap [x: 1]", 1, "remove the tag '!!omap'"),
    ("a: !!int x", 1, "remove the tag '!!int'"),
    ("a: !mine x", 1, "remove the tag '!mine'"),
    ("a: ! 1", 1, "remove the tag '!'"),
    ("%TAG ! tag:x,2000:\n---\na: !b 1", 3, "remove the tag"),
    ("a: 1\n!!str b: 2", 2, "remove the tag '!!str'"),
    ("a: 1\n<<: {b: 1}", 2, "no merge key"),
    ("a: 1\n1: 2", 2, "a field's name is a word, not '1'"),
    ("true: 2", 1, "a field's name is a word, not 'true'"),
    ("~: 2", 1, "a field's name is a word, not '~'"),
    ("? [a, b]\n: 1", 1, "a field's name is a word"),
    ("a: &x b\n*x : 1", 2, "a field's name is a word, not *x"),
    ("a: 1\nb: {c: 1, c: 2}", 2, "b.c is listed twice (first on line 2)"),
    ("a: 1\na: 2", 2, "a is listed twice (first on line 1)"),
    ('"a\\nb": 1\n"a\\nb": 2', 2, "'a\\nb' is listed twice"),
    ("? *" + "x" * 3000 + "\n: 1", 1, "a field's name is a word, not *xxx"),
    ("a: &x [*x]", 1, "*x contains itself"),
    ("a: &x {b: {c: *x}}", 1, "*x contains itself"),
    ("a: *x", 1, "*x stands for nothing above it"),
    ("a: 1\n---\nb: 2", 2, "a second document"),
    ("a: 1\n...\nb: 2", 3, "a second document"),
    ("%YAML 1.1\n---\na: 010", 2, "read as YAML 1.2: remove the line `%YAML 1.1`"),
    ("%YAML 2.0\n---\na: 1", 1, "not YAML"),
    (f"%YAML 1.{'9' * 5000}\n---\na: 1", 1, "not YAML"),
    ("a: 1\nb: [1, 2", 2, "not YAML"),
    ("a:\n\t- 1", 2, "not YAML"),
    ('a: 1\nb: "\\U00110000"', 2, "not YAML"),
    ('a: "\\xZZ"', 1, "not YAML"),
    ("a: 1\nb: \x01", 2, "the character U+0001"),
    ("a: \ud800", 1, "the character U+D800"),
    ("a: \x00", 1, "the character U+0000"),
    (f"a: 1\nb: {'9' * 10_000}", 2, "b: a number of 10,000 characters"),
    (f"a: 0.{'9' * 10_000}", 1, "a: a number of 10,002 characters"),
    ("a: 1e400", 1, "a: 1e400 lies beyond what a float can hold"),
    ("a: -1e-400", 1, "a: -1e-400 lies beyond what a float can hold"),
    ("a: " + "[" * 1500 + "]" * 1500, 1, f"nested more than {MAX_DEPTH} deep"),
    ("a: " + "{b: " * 10_000, 1, f"nested more than {MAX_DEPTH} deep"),
    ("- " * 10_000 + "x", 1, f"nested more than {MAX_DEPTH} deep"),
    ("".join(" " * i + "a:\n" for i in range(30)), 21, f"nested more than {MAX_DEPTH} deep"),
    (DEEP, 20, f"nested more than {MAX_DEPTH} deep"),
    (BOMB, 5, f"more than {MAX_VALUES:,} values"),
    ("a: " + "x" * MAX_BYTES, 1, f"at most {MAX_BYTES:,}"),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED, ids=[f"{case[0][:40]!r}" for case in REFUSED])
def test_what_is_refused_has_a_line(case: tuple[str, int, str]) -> None:
    text, line, problem = case
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert problem in caught.value.problem
    assert "\n" not in caught.value.problem
    assert len(caught.value.problem) < 300
    assert caught.value.line == line


def test_a_list_up_to_the_limit_is_read() -> None:
    values = list(range(MAX_VALUES // 10))
    assert read_yaml(spell_yaml({"a": values})).content == {"a": values}


OLD = """\
name: mog/x
question: 'Is "1e-3" a word: yes?'
orderings:
- K-A
- name: own
  stages:
  - align@p'
seeds:
- 0
- 10
grid:
  adam_epsilon:
  - 1.0e-08
  - 5.0e-05
settings:
  prompt: 'yes'
  corpus: '010'
  p_star: '1:30'
  student: null
  packing: true
  long: a text so long that it is folded over two lines, because the writer takes eighty
    columns, or so
claims: []
resources:
  gpus_per_trial: 0.0
"""


def test_a_file_that_an_earlier_version_wrote_means_what_it_meant() -> None:
    """PyYAML's spelling: `1.0e-08`, quotes where YAML 1.1 wants them, folded lines."""
    content = read_yaml(OLD).content
    assert content["question"] == 'Is "1e-3" a word: yes?'
    assert content["orderings"] == ["K-A", {"name": "own", "stages": ["align@p'"]}]
    assert (content["seeds"], content["grid"]) == ([0, 10], {"adam_epsilon": [1e-8, 5e-5]})
    words = [content["settings"][name] for name in ("prompt", "corpus", "p_star", "student")]
    assert words == ["yes", "010", "1:30", None]
    assert content["settings"]["packing"] is True
    assert content["settings"]["long"].endswith("takes eighty columns, or so")
    assert (content["claims"], content["resources"]) == ([], {"gpus_per_trial": 0.0})


NAMES = st.text(min_size=1, max_size=12)
TEXTS = st.text(max_size=30) | st.sampled_from([text for text, _ in SCALARS])
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES | TEXTS.filter(len), VALUES, max_size=4))
def test_what_is_written_reads_back_as_it_was(content: dict[str, Any]) -> None:
    read = read_yaml(spell_yaml(content)).content
    assert repr(read) == repr(content or None)  # repr tells 1 from 1.0 and from True

"""The embedded grammar: a distribution whose probabilities, entropy and topics are exact."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pytest

from recalltrap.streams import stream
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.grammar.lexicon import TOPICS
from recalltrap_studies.llm.grammar.sentences import State

COUNT = 4_000


@pytest.fixture(scope="module")
def drawn() -> list[str]:
    return sentences.sentences(COUNT, stream(0, "test/grammar"))


@pytest.fixture(scope="module")
def log_probs(drawn: list[str]) -> np.ndarray:
    return np.array([sentences.log_prob(sentence) for sentence in drawn])


@pytest.fixture(scope="module")
def states() -> set[State]:
    """Every state that a sentence can pass through."""
    seen: set[State] = set()
    waiting = [State("start")]
    while waiting:
        state = waiting.pop()
        if state not in seen:
            seen.add(state)
            waiting += [o.following for o in sentences.options(state) if o.following is not None]
    return seen


def derivations(words: list[str], state: State | None, topic: str = "") -> list[str]:
    """The topic of every way in which the grammar makes the words."""
    if state is None:
        return [] if words else [topic]
    return [
        found
        for option in sentences.options(state)
        if tuple(words[: len(option.words)]) == option.words
        for found in derivations(words[len(option.words) :], option.following, state.topic or topic)
    ]


def split(sentence: str) -> list[str]:
    return [*sentence.removesuffix(".").split(" "), "."]


def test_sentences_look_like_english(drawn: list[str]) -> None:
    words = [len(sentence.split()) for sentence in drawn]
    assert all(re.fullmatch(r"The( [a-zA-Z]+)+\.", sentence) for sentence in drawn)
    assert 8 < np.mean(words) < 12
    assert min(words) >= 5
    assert max(words) <= 19
    assert len(set(drawn)) > 0.8 * COUNT  # a language, not a list


def test_a_sentence_depends_on_its_own_numbers_alone() -> None:
    first, more = (sentences.sentences(n, stream(5, "test/grammar")) for n in (20, 50))
    assert first == more[:20]
    assert first != sentences.sentences(20, stream(6, "test/grammar"))


def test_choices_are_distributions_over_different_words(states: set[State]) -> None:
    for state in states:
        options = sentences.options(state)
        assert math.isclose(sum(option.probability for option in options), 1.0, rel_tol=1e-12)
        assert all(option.probability > 0 for option in options)
        assert state.slot == "start" or len({o.words for o in options}) == len(options)


def test_a_derivation_takes_no_more_numbers_than_it_gets(states: set[State]) -> None:
    steps: dict[State, int] = {}

    def longest(state: State | None) -> int:
        if state is None:
            return 0
        if state not in steps:
            options = sentences.options(state)
            steps[state] = (len(options) > 1) + max(longest(o.following) for o in options)
        return steps[state]

    assert longest(State("start")) == sentences.MOST_STEPS


def test_a_sentence_has_one_derivation(drawn: list[str]) -> None:
    assert all(len(derivations(split(s), State("start"))) == 1 for s in drawn[:1_000])


@pytest.mark.slow
def test_the_mean_log_probability_is_minus_the_entropy(log_probs: np.ndarray) -> None:
    error = log_probs.std(ddof=1) / math.sqrt(COUNT)
    assert abs(-log_probs.mean() - sentences.entropy()) < 4 * error


def test_entropy_is_that_of_the_topics_and_of_what_each_says() -> None:
    choice = -sum(p * math.log(p) for p in sentences.TOPICS.values())
    within = sum(p * sentences.entropy(topic) for topic, p in sentences.TOPICS.items())
    assert math.isclose(sentences.entropy(), choice + within, rel_tol=1e-12)


def test_a_probability_worked_out_by_hand() -> None:
    """The product of the choices on the way, with the collocations' Zipf weights."""

    def zipf(count: int, rank: int, skew: float) -> float:
        return float(rank**-skew / sum(r**-skew for r in range(1, count + 1)))

    subject, place = (
        next(o for o in sentences.options(State(*at)) if o.words == words).probability
        for at, words in (
            (("subject", "farm", ("",)), ("farmer",)),
            (("tail", "farm", ("farmer", "singular", "past", "milk")), ("in", "the", "barn")),
        )
    )
    assert any(math.isclose(subject, 0.6 * zipf(8, r, 1.5)) for r in range(1, 9))
    assert any(math.isclose(place, 0.55 * zipf(5, r, 2.5)) for r in range(1, 6))
    common = math.log(0.22 * 0.65 * subject * 0.8 * 0.45 * 0.8 * 0.7 * place * 0.55)
    rest = sentences.log_prob("The farmer milked the cow in the barn.") - common
    verbs = [zipf(8, r, 1.5) * zipf(5, q, 2.5) for r in range(1, 9) for q in range(1, 6)]
    assert any(math.isclose(rest, math.log(p), rel_tol=1e-9) for p in verbs)


def test_topics_come_with_their_weights(drawn: list[str]) -> None:
    assert math.isclose(sum(sentences.TOPICS.values()), 1.0)
    assert len(sentences.TOPICS) == 8
    assert min(sentences.TOPICS.values()) <= 0.02  # some are rare
    shares = Counter(sentences.topic_of(sentence) for sentence in drawn)
    for topic, weight in sentences.TOPICS.items():
        assert abs(shares[topic] / COUNT - weight) < 4 * math.sqrt(weight * (1 - weight) / COUNT)


def test_the_topic_of_every_sentence_is_exact(drawn: list[str], states: set[State]) -> None:
    """By proof: subjects tell their topic, and no word that it can say tells another one."""
    said = {(s.slot, s.topic, o.words) for s in states for o in sentences.options(s) if s.topic}
    for slot, topic, words in said:
        told = sentences.topic_of(" ".join(words))
        assert told == topic if slot == "subject" else told in (None, topic)
    for sentence in drawn[:500]:  # and by sample
        assert derivations(split(sentence), State("start")) == [sentences.topic_of(sentence)]


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("The judge", "court"),  # cut off
        ("The the astronomer comet comet", "sky"),  # no sentence, but a topic
        ("The farmer repaired the sail.", None),  # of two topics
        ("The old", None),
        ("", None),
        ("The zebra sang.", "music"),  # strange words say nothing
    ],
)
def test_the_topic_of_what_a_poor_model_says(text: str, topic: str | None) -> None:
    assert sentences.topic_of(text) == topic


@pytest.mark.parametrize(
    "sentence",
    [
        "The cooks with the apron bake the pie.",
        "The cook with the spoons bakes the pie.",
        "The fishermen will catch an old crab and repair the net tomorrow.",
        "The thief denied the theft before the jury.",
    ],
)
def test_grammatical(sentence: str) -> None:
    assert sentences.is_grammatical(sentence)


@pytest.mark.parametrize(
    "text",
    [
        "The cooks with the apron bakes the pie.",  # agrees with the wrong noun
        "The cook bakes the pie yesterday.",  # tense and time
        "The cook bakes a onion.",
        "The cook slices an bread.",
        "The cook bakes a bread.",  # a mass noun
        "The cook bakes the cow.",
        "The cook bakes the pie",
        "The cook  bakes the pie.",
        "The cook bakes the pie. ",
        "The cook bakes the pie..",
        "the cook bakes the pie.",
        "The farmer bakes the pie.",
        "The cook bakes the pie and bakes the pie.",
        "The.",
        ".",
        "",
    ],
)
def test_ungrammatical(text: str) -> None:
    assert not sentences.is_grammatical(text)
    assert sentences.log_prob(text) == -math.inf


def test_what_is_common_depends_on_subject_and_verb_together(states: set[State]) -> None:
    """No table over the verb alone, or the subject alone, gives the favourite object."""
    favourites: dict[tuple[str, str], set[str]] = {}
    for state in states:
        if state.slot == "object":
            *_, verb = state.context
            best = max(sentences.options(state), key=lambda option: option.probability)
            favourites.setdefault((state.topic, verb), set()).add(best.words[-1])
    assert len(favourites) == sum(len(topic.verbs) for topic in TOPICS.values())
    assert np.mean([len(nouns) for nouns in favourites.values()]) > 2.5


def test_no_word_is_said_never(drawn: list[str], states: set[State]) -> None:
    """The lexicon's words can all be reached; the grammar drops nothing silently."""
    said = {word for state in states for o in sentences.options(state) for word in o.words}
    for topic in TOPICS.values():
        for noun in " ".join(topic.verbs.values()).split():
            assert noun.rstrip("~") in said
        for word in " ".join([topic.places, topic.attributes]).replace("|", " ").split():
            assert word in said

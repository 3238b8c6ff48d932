"""The embedded corpus: a probabilistic grammar of English sentences in eight topics, some rare.

It is a finite automaton whose states hold all that later choices depend on, so the probability of
a sentence, the entropy and the topic are computed exactly. Within a topic every combination
reads naturally, and which ones are common is a matter of collocation: each context has an order of
its own, with Zipf-like frequencies, so that learning them all takes capacity.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from recalltrap_studies.llm.grammar import inflection, lexicon

TOPICS: dict[str, float] = {name: topic.weight for name, topic in lexicon.TOPICS.items()}
TENSES = {"past": 0.45, "present": 0.40, "future": 0.15}
NUMBERS = {"singular": 0.6, "plural": 0.4}
ADJECTIVE = 0.35  # probability of an adjective before the subject
ATTRIBUTE = 0.2  # ... of a phrase between subject and verb
OBJECT_ADJECTIVE = 0.2  # ... of an adjective before an object
INDEFINITE = 0.3  # ... of "a" where the noun takes it
SECOND, PLACE = 0.15, 0.55  # after the object: a second verb and object, or a place
TIME = 0.45  # ... of a time at the end
SKEW = 1.5  # exponent of a collocation's Zipf-like frequencies
PAIR_SKEW = 2.5  # ... of one that depends on subject and verb together
MOST_STEPS = 9  # choices of the longest derivation


class State(NamedTuple):
    """What is chosen next, and all that it and later choices depend on."""

    slot: str
    topic: str = ""
    context: tuple[str, ...] = ()


class Option(NamedTuple):
    """One choice: the words it puts down, its probability, and what comes next (None: the end)."""

    words: tuple[str, ...]
    probability: float
    following: State | None


@cache
def _ordered(count: int, context: tuple[str, ...], skew: float = SKEW) -> tuple[float, ...]:
    """Zipf-like probabilities for `count` options, in an order that the context alone decides."""
    names = ["/".join((*context, str(index))).encode() for index in range(count)]
    order = sorted(range(count), key=lambda index: hashlib.sha256(names[index]).digest())
    total = sum(rank**-skew for rank in range(1, count + 1))
    return tuple((order.index(index) + 1) ** -skew / total for index in range(count))


def _preferred(
    options: Sequence[str], *context: str, skew: float = SKEW
) -> Iterator[tuple[str, float]]:
    return zip(options, _ordered(len(options), context, skew), strict=True)


@cache
def options(state: State) -> tuple[Option, ...]:
    """All choices of a state, with probabilities that sum to 1; none leads to the same words."""
    return tuple(_CHOICES[state.slot](state.topic, state.context))


def _start(_topic: str, _context: tuple[str, ...]) -> Iterator[Option]:
    for topic, weight in TOPICS.items():
        yield Option(("The",), weight, State("adjective", topic))


def _adjective(topic: str, _context: tuple[str, ...]) -> Iterator[Option]:
    yield Option((), 1 - ADJECTIVE, State("subject", topic, ("",)))
    for word, p in _preferred(lexicon.SUBJECT_ADJECTIVES, "adjective", topic):
        yield Option((word,), ADJECTIVE * p, State("subject", topic, (word,)))


def _subject(topic: str, context: tuple[str, ...]) -> Iterator[Option]:
    forms = inflection.subjects(topic)
    for subject, p in _preferred(list(forms), "subject", topic, *context):
        for number, q in NUMBERS.items():
            following = State("attribute", topic, (subject, number))
            yield Option((forms[subject][number],), p * q, following)


def _attribute(topic: str, context: tuple[str, ...]) -> Iterator[Option]:
    following = State("verb", topic, context)
    yield Option((), 1 - ATTRIBUTE, following)
    phrases = lexicon.TOPICS[topic].attributes.split("|")
    for phrase, p in _preferred(phrases, "attribute", context[0]):
        yield Option(tuple(phrase.split()), ATTRIBUTE * p, following)


def _verb(topic: str, context: tuple[str, ...]) -> Iterator[Option]:
    subject, number = context
    for verb, p in _preferred(list(inflection.verbs(topic)), "verb", subject):
        for tense, q in TENSES.items():
            words = (
                *(["will"] if tense == "future" else []),
                inflection.inflected(topic, verb, tense, number),
            )
            yield Option(words, p * q, State("object", topic, (subject, number, tense, verb)))


def _object(topic: str, context: tuple[str, ...]) -> Iterator[Option]:
    subject, _, _, verb = context
    following = State("tail", topic, context)
    for words, p in _noun_phrases(topic, subject, verb):
        yield Option(words, p, following)


@cache
def _noun_phrases(topic: str, subject: str, verb: str) -> tuple[tuple[tuple[str, ...], float], ...]:
    """(words, probability) of every object: the noun depends on subject and verb together."""
    nouns = inflection.objects(topic)[verb]
    preferences = _ordered(len(nouns), ("object", subject, verb), PAIR_SKEW)
    return tuple(
        (words, p * q)
        for noun, p in zip(nouns, preferences, strict=True)
        for words, q in _described(noun)
    )


@cache
def _described(noun: inflection.Noun) -> tuple[tuple[tuple[str, ...], float], ...]:
    """(words, probability) of a noun with its article and perhaps an adjective."""
    indefinite = INDEFINITE if noun.counted else 0.0
    preferred = _preferred(lexicon.OBJECT_ADJECTIVES, "adjective", noun.word)
    found: list[tuple[tuple[str, ...], float]] = [((noun.word,), 1 - OBJECT_ADJECTIVE)]
    found += [((word, noun.word), OBJECT_ADJECTIVE * p) for word, p in preferred]
    phrases = []
    for words, p in found:
        phrases.append((("the", *words), p * (1 - indefinite)))
        if noun.counted:
            article = "an" if words[0][0] in "aeiou" else "a"
            phrases.append(((article, *words), p * indefinite))
    return tuple(phrases)


def _tail(topic: str, context: tuple[str, ...]) -> Iterator[Option]:
    subject, number, tense, verb = context
    time = State("time", topic, (tense,))
    yield Option((), 1 - SECOND - PLACE, time)
    places = lexicon.TOPICS[topic].places.split("|")
    for phrase, p in _preferred(places, "place", subject, verb, skew=PAIR_SKEW):
        yield Option(tuple(phrase.split()), PLACE * p, time)
    others = [other for other in inflection.verbs(topic) if other != verb]
    for other, p in _preferred(others, "second", subject, verb, skew=PAIR_SKEW):
        words = ("and", inflection.inflected(topic, other, tense, number))
        yield Option(words, SECOND * p, State("second", topic, (subject, tense, other)))


def _second(topic: str, context: tuple[str, ...]) -> Iterator[Option]:
    subject, tense, verb = context
    following = State("time", topic, (tense,))
    for words, p in _noun_phrases(topic, subject, verb):
        yield Option(words, p, following)


def _time(topic: str, context: tuple[str, ...]) -> Iterator[Option]:
    (tense,) = context
    yield Option((), 1 - TIME, State("end"))
    for phrase, p in _preferred(lexicon.TIMES[tense], "time", topic, tense):
        yield Option(tuple(phrase.split()), TIME * p, State("end"))


def _end(_topic: str, _context: tuple[str, ...]) -> Iterator[Option]:
    yield Option((".",), 1.0, None)


_CHOICES = {
    "start": _start, "adjective": _adjective, "subject": _subject, "attribute": _attribute,
    "verb": _verb, "object": _object, "tail": _tail, "second": _second, "time": _time, "end": _end,
}  # fmt: skip


@cache
def _edges(state: State) -> list[float]:
    return list(itertools.accumulate(option.probability for option in options(state)))


def sentences(count: int, generator: np.random.Generator) -> list[str]:
    """Independent sentences; each begins with "The" and ends with a full stop.

    A sentence takes `MOST_STEPS` uniform numbers, so the first ones are the same whatever `count`.
    """
    return [_sentence(row) for row in generator.random((count, MOST_STEPS)).tolist()]


def _sentence(uniforms: Sequence[float]) -> str:
    words: list[str] = []
    state: State | None = State("start")
    draws = iter(uniforms)
    while state is not None:
        choices = options(state)
        index = 0
        if len(choices) > 1:
            index = min(bisect_right(_edges(state), next(draws)), len(choices) - 1)
        words += choices[index].words
        state = choices[index].following
    return " ".join(words[:-1]) + words[-1]


def log_prob(sentence: str) -> float:
    """Exact log-probability of a sentence in nats; minus infinity where it isn't grammatical."""
    if not sentence.endswith("."):
        return -math.inf
    total = _probability([*sentence[:-1].split(" "), "."], State("start"))
    return math.log(total) if total > 0 else -math.inf


def _probability(words: list[str], state: State | None) -> float:
    """The summed probability of all derivations of the words from a state on."""
    if state is None:
        return 0.0 if words else 1.0
    return sum(
        option.probability * _probability(words[len(option.words) :], option.following)
        for option in options(state)
        if tuple(words[: len(option.words)]) == option.words
    )


def is_grammatical(text: str) -> bool:
    """Whether the grammar makes this sentence."""
    return log_prob(text) > -math.inf


def entropy(topic: str | None = None) -> float:
    """Entropy of a sentence in nats, exact; with a topic, of a sentence of that topic.

    It is summed over the automaton, whose derivations are one to one with sentences.
    """
    return _entropy(State("start") if topic is None else State("adjective", topic))


@cache
def _entropy(state: State) -> float:
    return sum(
        p * (-math.log(p) + (_entropy(following) if following else 0.0))
        for _, p, following in options(state)
    )


@cache
def _telling() -> dict[str, str]:
    """Word → topic, for the words that one topic alone has."""
    homes: dict[str, set[str]] = {}
    for name in TOPICS:
        for word in inflection.topic_words(name):
            homes.setdefault(word, set()).add(name)
    shared = {*lexicon.SUBJECT_ADJECTIVES, *lexicon.OBJECT_ADJECTIVES}
    return {w: next(iter(t)) for w, t in homes.items() if len(t) == 1 and w not in shared}


def topic_of(text: str) -> str | None:
    """The topic of a text, exact for every sentence of the grammar.

    None where no word tells a topic or where words of several topics stand together, as in what a
    poor model makes.
    """
    telling = _telling()
    words = text.replace(".", " ").split()
    found = Counter(telling[word] for word in words if word in telling)
    return next(iter(found)) if len(found) == 1 else None

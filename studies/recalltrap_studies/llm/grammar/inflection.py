"""The forms that the lexicon's words take: plurals, verbs, and which nouns take "a"."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from recalltrap_studies.llm.grammar import lexicon


class Noun(NamedTuple):
    """An object's noun; `counted`: whether it takes "a"."""

    word: str
    counted: bool


@cache
def subjects(topic: str) -> dict[str, dict[str, str]]:
    """Singular → number → form."""
    forms = {}
    for word in lexicon.TOPICS[topic].subjects.split():
        singular, _, plural = word.partition(":")
        regular = singular + ("es" if singular.endswith(("s", "x", "ch", "sh")) else "s")
        forms[singular] = {"singular": singular, "plural": plural or regular}
    return forms


def _conjugated(verb: str) -> tuple[str, str, str]:
    """Base, third person and past of a verb as the lexicon has it."""
    base, _, rest = verb.partition(":")
    third, _, past = rest.partition(":")
    stem = base[:-1] + "i" if base.endswith("y") and base[-2] not in "aeiou" else base
    hissing = base.endswith(("s", "x", "ch", "sh")) or stem != base
    third = third or stem + ("es" if hissing else "s")
    past = past or (base + "d" if base.endswith("e") else stem + "ed")
    return base, third, past


@cache
def verbs(topic: str) -> dict[str, tuple[str, str, str]]:
    """Base → (base, third person, past)."""
    found = (_conjugated(verb) for verb in lexicon.TOPICS[topic].verbs)
    return {forms[0]: forms for forms in found}


@cache
def objects(topic: str) -> dict[str, tuple[Noun, ...]]:
    """Base of a verb → what it takes."""
    found = {}
    for verb, nouns in lexicon.TOPICS[topic].verbs.items():
        taken = (Noun(noun.rstrip("~"), not noun.endswith("~")) for noun in nouns.split())
        found[verb.partition(":")[0]] = tuple(taken)
    return found


def inflected(topic: str, verb: str, tense: str, number: str) -> str:
    """A verb's form without "will"."""
    base, third, past = verbs(topic)[verb]
    if tense == "past":
        return past
    return third if tense == "present" and number == "singular" else base


def topic_words(topic: str) -> set[str]:
    """Every content word of a topic: subjects, verbs, objects; nouns of attributes and places."""
    words = {form for forms in subjects(topic).values() for form in forms.values()}
    words |= {form for forms in verbs(topic).values() for form in forms}
    words |= {noun.word for nouns in objects(topic).values() for noun in nouns}
    phrases = lexicon.TOPICS[topic].attributes + "|" + lexicon.TOPICS[topic].places
    return words | {phrase.split()[-1] for phrase in phrases.split("|")}
